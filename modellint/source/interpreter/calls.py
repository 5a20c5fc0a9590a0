"""Calls and attributes: binding arguments, running project functions, constructing objects, Python's builtins."""

from __future__ import annotations

import ast
from collections.abc import Callable

from modellint.facts.forward_use import SignKind
from modellint.facts.training_loop import EventKind
from modellint.source.interpreter import alias_notes, module_notes
from modellint.source.interpreter.context_function import ContextFunction
from modellint.source.interpreter.expressions import CallArguments, positional
from modellint.source.interpreter.loop_order import gradient_set, note_handed
from modellint.source.interpreter.machine import Frame, taints
from modellint.source.interpreter.named_tuples import named_tuple_class
from modellint.source.interpreter.python_builtins import BUILTIN_NAMES, PythonBuiltins
from modellint.source.interpreter.records import CallTrace
from modellint.source.interpreter.values import (
    END_OF_PROGRAM,
    NONE,
    BoundMethod,
    Cells,
    Choice,
    ClassValue,
    Const,
    ContextValue,
    DictValue,
    External,
    FileValue,
    FunctionValue,
    IterationValue,
    LibraryObject,
    LoaderValue,
    Method,
    ModuleValue,
    ObjectValue,
    OptimizerValue,
    ParametersOf,
    ParameterValue,
    PartialValue,
    ScalerValue,
    SchedulerValue,
    Scope,
    SequenceValue,
    Site,
    SuperValue,
    Tensor,
    Unknown,
    Value,
    const,
    sequence,
)
from modellint.source.torch_api.module_methods import MODULE_METHODS
from modellint.source.tree import children

_WRAPPED_ITERATION = frozenset({"tqdm.tqdm", "tqdm.auto.tqdm", "tqdm.notebook.tqdm", "tqdm.trange",
                                "rich.progress.track",
                                "tqdm.std.tqdm", "alive_progress.alive_it"})  # fmt: skip
_OF_PYTHON = _WRAPPED_ITERATION | {
    "functools.partial", "functools.partialmethod", "dict.fromkeys", "collections.OrderedDict",
    "collections.defaultdict", "collections.namedtuple", "itertools.chain", "copy.deepcopy", "copy.copy", "sys.exit",
    "os._exit", "dataclasses.field", "types.SimpleNamespace", "easydict.EasyDict", "argparse.Namespace",
    "functools.wraps", "functools.lru_cache", "functools.cache", "functools.transparent", "typing.cast",
}  # fmt: skip
"""Names whose calls are told here."""
_CONTEXT_MANAGERS = frozenset({"contextlib.contextmanager", "contextlib.asynccontextmanager"})
_PROPERTIES = frozenset({"property", "functools.cached_property", "torch.jit.unused"})


class Calls(PythonBuiltins):
    """Dispatches calls by what is called."""

    # What the class below provides.

    def call_external(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        raise NotImplementedError

    def call_method(self, receiver: Value, name: str, call: CallArguments, node: ast.AST) -> Value:
        raise NotImplementedError

    def call_module(self, module: ModuleValue, call: CallArguments, node: ast.AST, direct: bool = False) -> Value:
        raise NotImplementedError

    def inherited_forward(
        self, module: ModuleValue, forward: FunctionValue, call: CallArguments, node: ast.AST
    ) -> CallArguments:
        raise NotImplementedError

    def construct_module(self, cls: ClassValue, call: CallArguments, node: ast.AST) -> Value:
        raise NotImplementedError

    def module_attribute(self, module: ModuleValue, name: str, node: ast.AST) -> Value:
        raise NotImplementedError

    def tensor_attribute(self, value: Tensor | ParameterValue, name: str, node: ast.AST) -> Value:
        raise NotImplementedError

    def set_module_attribute(self, module: ModuleValue, name: str, value: Value, node: ast.AST) -> None:
        raise NotImplementedError

    def switch_grad(self, name: str, call: CallArguments | None, node: ast.AST) -> ContextValue | None:
        raise NotImplementedError

    def unknown_call(self, function: Value, call: CallArguments, node: ast.AST) -> Value:
        raise NotImplementedError

    def data_attribute(self, value: LoaderValue, name: str) -> Value:
        raise NotImplementedError

    def copied_data(self, value: Value) -> Value | None:
        raise NotImplementedError

    def write_parameter(self, target: Value, index: Value | None, value: Value, node: ast.AST) -> None:
        raise NotImplementedError

    def tag_returned(self, function: FunctionValue, value: Value) -> None:
        raise NotImplementedError

    def event(self, kind: EventKind, node: ast.AST, **details: object) -> None:
        raise NotImplementedError

    # ---------------------------------------------------------------- dispatch

    def call(self, function: Value, arguments: CallArguments, node: ast.AST) -> Value:
        """`function(arguments)`."""
        kind = type(function)
        if kind is External:
            return self._external(function.name, arguments, node)  # type: ignore[attr-defined]
        if kind is Method:
            return self.call_method(function.receiver, function.name, arguments, node)  # type: ignore[attr-defined]
        if isinstance(function, ModuleValue):
            return self.call_module(function, arguments, node)
        if isinstance(function, FunctionValue):
            return self.call_function(function, None, arguments, node)
        if isinstance(function, BoundMethod):
            if function.function.name == "forward" and isinstance(function.receiver, ModuleValue):
                arguments = self.inherited_forward(function.receiver, function.function, arguments, node)
            return self.call_function(function.function, function.receiver, arguments, node)
        if isinstance(function, ClassValue):
            return self.construct(function, arguments, node)
        if isinstance(function, PartialValue):
            merged = CallArguments(node)
            merged.positional = [*function.arguments, *arguments.positional]
            merged.positional_nodes = [node] * len(function.arguments) + arguments.positional_nodes
            merged.keywords = {**function.keywords, **arguments.keywords}
            merged.keyword_nodes = dict.fromkeys(function.keywords, node) | arguments.keyword_nodes
            merged.open = arguments.open
            return self.call(function.function, merged, node)
        if isinstance(function, Choice):
            options = [o for o in function.options if not (isinstance(o, Const) and o.value is None)]
            if len(options) == 1:
                return self.call(options[0], arguments, node)
            if all(_acts_on_itself(option) for option in options):
                # Whichever object it is, that one is called: each is switched, stepped or run for sure.
                return self.join(self.call_each(options, arguments, node))
            return self.choose([lambda o=o: self.call(o, arguments, node) for o in options])  # type: ignore[misc]
        if isinstance(function, ObjectValue):
            method = function.cls.lookup("__call__")
            if isinstance(method, FunctionValue):
                return self.call_function(method, function, arguments, node)
        return self.unknown_call(function, arguments, node)

    def call_each(self, options: list[Value], arguments: CallArguments, node: ast.AST) -> list[Value]:
        """What each of a few callables makes of the arguments, where nobody knows which of them it is."""
        return [self.call(option, arguments, node) for option in options]

    def _external(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name in BUILTIN_NAMES:
            return self._call_builtin(name, call, node)
        if name not in _OF_PYTHON:
            return self.call_external(name, call, node)
        if name in _WRAPPED_ITERATION:
            if call.positional:
                return call.positional[0] if name != "tqdm.trange" else self._range(call)
            return Unknown("a progress bar")
        if name in ("functools.partial", "functools.partialmethod") and call.positional:
            return PartialValue(call.positional[0], tuple(call.positional[1:]), dict(call.keywords))
        if name == "dict.fromkeys" and len(call.positional) == 2:
            return alias_notes.from_keys(self, call, node)
        if name in ("collections.OrderedDict", "collections.defaultdict"):
            return self._make_dict(call, node)
        if name == "collections.namedtuple":
            return named_tuple_class(call, node, self.file) or Unknown("a named tuple")
        if name == "itertools.chain":
            if call.positional and all(isinstance(v, ParametersOf) for v in call.positional):
                parts = [v for v in call.positional if isinstance(v, ParametersOf)]
                return ParametersOf(tuple(m for p in parts for m in p.modules), all(p.complete for p in parts))
            return IterationValue("chain", tuple(call.positional))
        if name in ("copy.deepcopy", "copy.copy") and call.positional:
            first = call.positional[0]
            return self.copy(first, node) if name == "copy.deepcopy" else self.copied_data(first) or first
        if name in ("sys.exit", "os._exit"):
            return END_OF_PROGRAM
        if name == "dataclasses.field":
            return LibraryObject(name, self.site(node), Cells(call.keywords))
        if name in ("types.SimpleNamespace", "easydict.EasyDict", "argparse.Namespace") and not call.open:
            given = call.positional[0].items if call.positional and isinstance(call.positional[0], DictValue) else {}
            named = {str(key): value for key, value in given.items()} | call.keywords
            return LibraryObject(name, self.site(node), Cells(named))
        if name in ("functools.wraps", "functools.lru_cache", "functools.cache"):
            return External("functools.transparent")
        if name == "functools.transparent":
            return call.positional[0] if call.positional else Unknown("a decorator")
        if name in ("typing.cast",) and len(call.positional) > 1:
            return call.positional[1]
        return self.call_external(name, call, node)

    def copy(self, value: Value, node: ast.AST) -> Value:
        """A deep copy: new module objects at new places."""
        if isinstance(value, ModuleValue):
            return self._copy_module(value, node, {})
        if isinstance(value, SequenceValue):
            return self._copy_sequence(value, node)
        return self.copied_data(value) or value

    def _copy_sequence(self, value: SequenceValue, node: ast.AST) -> Value:
        # A list may hold another one several times, and itself.
        outermost = not self._copies
        try:
            copied = self._copies.get(id(value))
            if copied is None:
                self._copies[id(value)] = value
                items = tuple(self.copy(item, node) for item in value.items)
                copied = self._copies[id(value)] = sequence(value.kind, items, value.complete, self.site(node))
            return copied
        finally:
            if outermost:
                self._copies = {}

    def _copy_module(self, module: ModuleValue, node: ast.AST, known: dict[int, ModuleValue]) -> ModuleValue:
        copied = known.get(id(module))
        if copied is None:
            copied = ModuleValue(self.new_key(), module.name, module.cls, module.site, module.spec, module.arguments)
            known[id(module)] = copied
            copied.state.update(module.state)
            copied.element_sites = module.element_sites
            copied.complete = module.complete
            copied.from_outside = module.from_outside
            copied.known_library = module.known_library
            copied.reads = module.reads  # what is read through one copy is no dead code in the other
            copied.decided = module.decided
            for name, value in module.attrs.items():
                copied.attrs[name] = self._copy_module(value, node, known) if isinstance(value, ModuleValue) else value
        return copied

    # ---------------------------------------------------------------- project functions

    def call_function(
        self, function: FunctionValue, receiver: Value | None, call: CallArguments, node: ast.AST
    ) -> Value:
        """Run a function of the project with these arguments."""
        self.tick(2)
        body = function.node
        running = 0
        for frame in self.frames:
            if frame.function is not None and frame.function.node is body:
                running += 1
        if len(self.frames) >= self.CALL_DEPTH or running > 1:
            self.not_followed(node, function.name, "the call chain is too deep or recursive")
            return self.unknown(node, "a call chain that is too deep", *call.values())
        note_handed(self, function, call, node)  # type: ignore[arg-type]
        for decorator in function.decorators:
            if isinstance(decorator, External) and decorator.name in _CONTEXT_MANAGERS:
                return ContextFunction(function, receiver, call, Site(self.file, node))
        scope = Scope(self._bind_parameters(function, receiver, call, node), function.closure, function.file)
        if isinstance(body, ast.Lambda):
            return self._in_frame(function, receiver, scope, node, lambda: self._lambda_body(body))
        switched: ContextValue | None = None
        for decorator in function.decorators:
            if isinstance(decorator, ContextValue):
                switched = decorator
            elif isinstance(decorator, External):
                switched = self.switch_grad(decorator.name, None, node) or switched
        if switched is not None:
            saved = self.flow["grad"]
            self.put(self.flow, "grad", (switched.enabled, switched.site))
            value = self._in_frame(function, receiver, scope, node, lambda: self._function_body(body))
            self.put(self.flow, "grad", saved)
            return value
        return self._in_frame(function, receiver, scope, node, lambda: self._function_body(body))

    def _lambda_body(self, node: ast.Lambda) -> None:
        self.leave_function(self.eval(node.body))

    def _function_body(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        end = self.run_block(node.body)
        if end is None:
            self.leave_function(NONE)

    def _in_frame(
        self, function: FunctionValue, receiver: Value | None, scope: Scope, node: ast.AST, run: Callable[[], None]
    ) -> Value:
        module = receiver if isinstance(receiver, ModuleValue) else None
        frame = Frame(function.name, scope, self.mark(), self.undecided, function, module, Site(self.file, node))
        frame.loops = self.loops
        file, path, trace, loop_exits = self.file, self.path, self.trace, self.loop_exits
        assumed = dict(self.assumed) if self.assumed else {}
        self.frames.append(frame)
        self.file = function.file
        self.trace = []
        self.loop_exits = []
        function.file.entered.add(function.node)
        if function.file is not file:
            file.entered.add(function.node)
        try:
            run()
            return self._result(frame, function)
        finally:
            if self.trace:
                trace.append(CallTrace(self.trace))
            self.frames.pop()
            self.file, self.path, self.trace, self.loop_exits = file, path, trace, loop_exits
            if self.assumed:
                for key in [key for key in self.assumed if key not in assumed]:
                    self.drop(self.assumed, key)

    def _result(self, frame: Frame, function: FunctionValue) -> Value:
        """Join the ways out of a function, state and value."""
        values: list[Value] = [value for value, _ in frame.exits]
        if frame.exits:
            ends = [changes for _, changes in frame.exits]
            if frame.definite:
                ends.insert(0, self.take(frame.mark))
            else:
                self.take(frame.mark)
            self.write_join(ends)
        if frame.definite and frame.returned is not None:
            values.insert(0, frame.returned)
        is_generator = getattr(function.node, "_modellint_generator", None)
        if is_generator is None:
            is_generator = "yield" in function.file.text.text and _is_generator(function.node)
            function.node._modellint_generator = is_generator  # type: ignore[union-attr]
        if is_generator:
            return Unknown("a generator")
        if not values:
            return Unknown("a function that does not return")
        value = self.join(values)
        self.tag_returned(function, value)
        return value

    def _bind_parameters(
        self, function: FunctionValue, receiver: Value | None, call: CallArguments, node: ast.AST
    ) -> dict[str, Value]:
        arguments = function.node.args
        names, known = _parameter_names(arguments)
        values = call.positional if receiver is None else [receiver, *call.positional]
        bound: dict[str, Value] = dict(zip(names, values, strict=False))
        if arguments.vararg is not None:
            extra = tuple(values[len(names) :])
            bound[arguments.vararg.arg] = sequence("tuple", extra, not call.open, self.site(node))
        rest: dict[object, Value] = {}
        for name, value in call.keywords.items():
            if name in known:
                bound.setdefault(name, value)
            else:
                rest[name] = value
        if arguments.kwarg is not None:
            bound[arguments.kwarg.arg] = DictValue(Cells(rest), Cells({"complete": not call.open}), self.site(node))
        first_default = len(names) - len(function.defaults)
        for index, name in enumerate(names):
            if name not in bound:
                if call.open:
                    bound[name] = Unknown("a starred argument")
                elif index >= first_default:
                    bound[name] = given = function.defaults[index - first_default]
                    if type(given) is ModuleValue and given.site is not None:
                        alias_notes.note_default(self, given, receiver, given.site)
                else:
                    bound[name] = Unknown(f"no argument for `{name}`")
        for argument in arguments.kwonlyargs:
            if argument.arg not in bound:
                default = function.keyword_defaults.get(argument.arg)
                bound[argument.arg] = default if default is not None and not call.open else Unknown("no argument")
        return bound

    # ---------------------------------------------------------------- objects

    def construct(self, cls: ClassValue, call: CallArguments, node: ast.AST) -> Value:
        """An instance of a project class."""
        if cls.is_module:
            return self.construct_module(cls, call, node)
        if any(base in ("enum.Enum", "enum.IntEnum", "enum.StrEnum") for base in cls.library_bases):
            return Unknown("an enum member")
        instance = ObjectValue(cls, self.site(node))
        init = cls.lookup("__init__")
        if isinstance(init, FunctionValue):
            self.call_function(init, instance, call, node)
        elif any(isinstance(statement, ast.AnnAssign) for statement in cls.node.body):
            self._fill_fields(cls, instance, call)
        return instance

    def _fill_fields(self, cls: ClassValue, instance: ObjectValue, call: CallArguments) -> None:
        """The attributes of a dataclass or NamedTuple."""
        names: list[str] = []
        for base in reversed(cls.mro):
            names.extend(name for name in _annotated_names(base.node) if name not in names)
        for index, name in enumerate(names):
            value = call.get(index, name)
            if value is None:
                value = cls.lookup(name) or Unknown("a field without a value")
                if isinstance(value, LibraryObject) and value.name == "dataclasses.field":
                    factory, default = value.attrs.get("default_factory"), value.attrs.get("default")
                    value = default or Unknown("a field")
                    if factory is not None:
                        value = self.call(factory, CallArguments(call.node), call.node)
                if isinstance(value, External | Unknown) or call.open:
                    value = Unknown("a field")
            self.put(instance.attrs, name, value)
        post = cls.lookup("__post_init__")
        if isinstance(post, FunctionValue):
            self.call_function(post, instance, positional(call.node), call.node)

    def get_attribute(self, value: Value, name: str, node: ast.AST) -> Value:
        """`value.name`."""
        if type(value) is Unknown:
            return value.child(name)
        if isinstance(value, ModuleValue):
            return self.module_attribute(value, name, node)
        if isinstance(value, External):
            if name == "__name__":
                return const(value.name.rpartition(".")[2])
            return External(f"{value.name}.{name}")
        if isinstance(value, Tensor | ParameterValue):
            return self.tensor_attribute(value, name, node)
        if isinstance(value, Unknown):
            return value.child(name)
        if isinstance(value, ObjectValue):
            known = value.attrs.get(name)
            if known is not None:
                return known
            return self.class_attribute(value.cls, value, name, node)
        if isinstance(value, FileValue):
            return self.import_member(value, name)
        if isinstance(value, ClassValue):
            if name == "__name__":
                return const(value.name)
            known = value.lookup(name)
            if isinstance(known, FunctionValue) and self._is_decorated(known, "classmethod"):
                return BoundMethod(known, value)
            if known is not None:
                return known
            if value.is_module:
                return External(f"torch.nn.Module.{name}")
            return Unknown(f"`{value.name}.{name}`")
        if isinstance(value, SuperValue):
            return self._super_attribute(value, name)
        if isinstance(value, Choice):
            options = [o for o in value.options if not (isinstance(o, Const) and o.value is None)]
            if not options:
                return Unknown("an attribute of None")
            if any(isinstance(o, ModuleValue) for o in options) and name in MODULE_METHODS:
                # A list has no `train()`: where the call succeeds, the value is the module.
                options = [o for o in options if not isinstance(o, SequenceValue | DictValue)]
            return self.join([self.get_attribute(option, name, node) for option in options])
        if isinstance(value, FunctionValue):
            return const(value.name) if name == "__name__" else Unknown("an attribute of a function")
        if isinstance(value, DictValue) and name not in _DICT_METHODS and name in value.items:
            return value.items[name]
        if isinstance(value, LibraryObject):
            known = value.attrs.get(name)
            if known is not None:
                return known
        if isinstance(value, LoaderValue):
            return self.data_attribute(value, name)
        return Method(value, name)

    @staticmethod
    def _is_decorated(function: FunctionValue, name: str) -> bool:
        return any(isinstance(d, External) and d.name == name for d in function.decorators)

    def class_attribute(self, cls: ClassValue, instance: Value, name: str, node: ast.AST) -> Value:
        """An attribute found on the class of an instance: a method is bound, a property is run."""
        if name == "__class__":
            return cls
        known = cls.lookup(name)
        if known is None:
            getter = cls.lookup("__getattr__")
            return Unknown(f"`{name}` of {cls.name}" if getter is None else f"`__getattr__` of {cls.name}")
        if isinstance(known, FunctionValue):
            for decorator in known.decorators:
                if isinstance(decorator, External):
                    if decorator.name in _PROPERTIES:
                        return self.call_function(known, instance, positional(node), node)
                    if decorator.name == "staticmethod":
                        return known
                    if decorator.name == "classmethod":
                        return BoundMethod(known, cls)
            return BoundMethod(known, instance)
        return known

    def _super_attribute(self, value: SuperValue, name: str) -> Value:
        receiver = value.receiver
        cls = receiver.cls if isinstance(receiver, ModuleValue | ObjectValue) else receiver
        if isinstance(cls, ClassValue) and value.owner in cls.mro:
            following = cls.mro[cls.mro.index(value.owner) + 1 :]
            for base in following:
                if name == "__init__" and not base.is_module and self.behind_module(cls, base):
                    break
                known = base.attrs.get(name)
                if isinstance(known, FunctionValue):
                    if self._is_decorated(known, "staticmethod"):
                        return known
                    return BoundMethod(known, receiver)
                if known is not None:
                    return known
        if isinstance(receiver, ModuleValue):
            return Method(receiver, f"super.{name}")
        return Unknown(f"`super().{name}`")

    def set_attribute(self, target: Value, name: str, value: Value, node: ast.AST) -> None:
        """`target.name = value`."""
        if name[:1] == "r" and module_notes.is_flag(name):
            module_notes.note_flag(self, target, name, value, node)
        if name == "requires_grad" and isinstance(target, ParameterValue):
            for module, parameter in target.targets:
                self.put(module.state, f"frozen:{parameter}", self.truth(value) is False)
        elif name == "requires_grad" and isinstance(target, Tensor | Unknown) and self.truth(value):
            self.records.gradient_functions.add(self.frame.function.node if self.frame.function is not None else None)
        elif name == "grad" and isinstance(target, ParameterValue | Unknown | Tensor):
            gradient_set(self, target, value, node)  # type: ignore[arg-type]
        elif isinstance(target, ModuleValue):
            self.set_module_attribute(target, name, value, node)
        elif isinstance(target, (ObjectValue | LibraryObject | LoaderValue, ClassValue)):
            self.put(target.attrs, name, value)
            if name.endswith(("transform", "transforms")):
                self.records.data.writes.append((target, name, value, self.site(node)))
        elif isinstance(target, ParameterValue | Tensor):
            self.write_parameter(target, None, value, node) if name == "data" else None
        elif isinstance(target, Unknown):
            children = target.children if target.children is not None else {}
            target.children = children
            self.put(children, name, value if isinstance(value, Unknown) else Unknown("an attribute that was set"))
        elif isinstance(target, Choice):
            for option in target.options:
                if isinstance(option, ModuleValue | ObjectValue):
                    self.set_attribute(option, name, self.join([value, Unknown("one of several")]), node)

    def set_item(self, target: Value, index: Value, value: Value, node: ast.AST) -> None:
        """`target[index] = value`."""
        if isinstance(target, DictValue):
            if isinstance(index, Const):
                self.put(target.items, index.value, value)
            else:
                self.put(
                    target.items, ("unknown key", getattr(node, "lineno", 0), getattr(node, "col_offset", 0)), value
                )
                self.put(target.box, "complete", False)
            if isinstance(value, ClassValue | FunctionValue) and self.frame.function is not None:
                self.put(target.box, "registry", True)  # other files may enter more
            self.note_first(target.box, value, node)
            self._collected(target, value, node)
        elif isinstance(target, SequenceValue):
            items = target.items
            if isinstance(index, Const) and isinstance(index.value, int) and -len(items) <= index.value < len(items):
                changed = list(items)
                changed[index.value] = value
                self.put(target.box, "items", tuple(changed))
            else:
                self.put(target.box, "complete", False)
            self._collected(target, value, node)
        elif isinstance(target, ModuleValue):
            key = index.value if isinstance(index, Const) else None
            if key is None:
                self.put(target.attrs, f"?{len(target.attrs)}", value)
            elif isinstance(key, int) and key < 0:
                names = [n for n, v in target.attrs.items() if isinstance(v, ModuleValue | Choice)]
                if names and -key <= len(names):
                    self.put(target.attrs, names[key], value)
            else:
                self.put(target.attrs, str(key), value)
                target.element_sites[str(key)] = self.site(node)
        elif isinstance(target, ParameterValue):
            self.write_parameter(target, index, value, node)
        elif isinstance(target, LibraryObject | Tensor):
            forwards, losses = taints((value,))
            if forwards or losses:
                self.sign(forwards, SignKind.COLLECTED, node)
            if isinstance(target, Tensor):
                target.forwards |= forwards
                target.losses |= losses
        else:
            forwards, _ = taints((value,))
            self.sign(forwards, SignKind.COLLECTED, node)

    def _collected(self, target: Value, value: Value, node: ast.AST) -> None:
        forwards, _ = taints((value,))
        if forwards:
            self.sign(forwards, SignKind.COLLECTED, node)


_DICT_METHODS = frozenset(dir(dict))


def _annotated_names(node: ast.ClassDef) -> tuple[str, ...]:
    """The names that the body of a class annotates, each once."""
    known: tuple[str, ...] | None = getattr(node, "_modellint_annotated", None)
    if known is None:
        targets = [statement.target for statement in node.body if isinstance(statement, ast.AnnAssign)]
        known = tuple(dict.fromkeys(target.id for target in targets if isinstance(target, ast.Name)))
        node._modellint_annotated = known  # type: ignore[attr-defined]
    return known


def _parameter_names(arguments: ast.arguments) -> tuple[list[str], frozenset[str]]:
    """The parameters that positions bind, in order, and all that keywords bind."""
    known: tuple[list[str], frozenset[str]] | None = getattr(arguments, "_modellint_names", None)
    if known is None:
        names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
        known = names, frozenset({*names, *(a.arg for a in arguments.kwonlyargs)})
        arguments._modellint_names = known  # type: ignore[attr-defined]
    return known


def _acts_on_itself(value: Value) -> bool:
    receiver = value.receiver if isinstance(value, Method | BoundMethod) else value
    return isinstance(receiver, ModuleValue | OptimizerValue)


def _is_generator(node: ast.AST) -> bool:
    stack: list[ast.AST] = list(children(node))
    while stack:
        part = stack.pop()
        if isinstance(part, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            stack.extend(children(part))
    return False


__all__ = ["Calls", "ContextFunction", "OptimizerValue", "ScalerValue", "SchedulerValue"]
