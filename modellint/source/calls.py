"""Calls and attributes: binding arguments, running project functions, constructing objects, Python's builtins."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from modellint.facts.forward_use import SignKind
from modellint.facts.training_loop import EventKind
from modellint.source.expressions import UNROLL, CallArguments, positional
from modellint.source.machine import Frame, taints
from modellint.source.project import SourceFile
from modellint.source.records import CallTrace
from modellint.source.statements import RAISE, Statements
from modellint.source.values import (
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
    RangeValue,
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

_WRAPPED_ITERATION = frozenset({"tqdm.tqdm", "tqdm.auto.tqdm", "tqdm.notebook.tqdm", "tqdm.trange",
                                "rich.progress.track",
                                "tqdm.std.tqdm", "alive_progress.alive_it"})  # fmt: skip
_CONTEXT_MANAGERS = frozenset({"contextlib.contextmanager", "contextlib.asynccontextmanager"})
_PROPERTIES = frozenset({"property", "functools.cached_property", "torch.jit.unused"})
_BUILTIN_NAMES = frozenset(
    [
        "len",
        "range",
        "enumerate",
        "zip",
        "reversed",
        "sorted",
        "list",
        "tuple",
        "set",
        "dict",
        "isinstance",
        "issubclass",
        "getattr",
        "setattr",
        "hasattr",
        "super",
        "type",
        "int",
        "float",
        "str",
        "bool",
        "max",
        "min",
        "sum",
        "abs",
        "round",
        "any",
        "all",
        "map",
        "filter",
        "print",
        "iter",
        "next",
        "id",
        "vars",
        "property",
        "staticmethod",
        "classmethod",
        "open",
        "repr",
        "format",
        "callable",
        "divmod",
        "pow",
        "slice",
        "object",
        "frozenset",
        "hash",
        "input",
        "ord",
        "chr",
        "exit",
        "quit",
    ]
)
_CONSTANT_BUILTINS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (int, float, str, bool, abs, round, len, max, min)
}


class Calls(Statements):
    """Dispatches calls by what is called."""

    # What the class below provides.

    def call_external(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        raise NotImplementedError

    def call_method(self, receiver: Value, name: str, call: CallArguments, node: ast.AST) -> Value:
        raise NotImplementedError

    def call_module(self, module: ModuleValue, call: CallArguments, node: ast.AST, direct: bool = False) -> Value:
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

    def write_parameter(self, target: Value, index: Value | None, value: Value, node: ast.AST) -> None:
        raise NotImplementedError

    def tag_returned(self, function: FunctionValue, value: Value) -> None:
        raise NotImplementedError

    def isinstance_of(self, value: Value, cls: Value) -> bool | None:
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
                return self.join([self.call(option, arguments, node) for option in options])
            return self.choose([lambda o=o: self.call(o, arguments, node) for o in options])  # type: ignore[misc]
        if isinstance(function, ObjectValue):
            method = function.cls.lookup("__call__")
            if isinstance(method, FunctionValue):
                return self.call_function(method, function, arguments, node)
        return self.unknown_call(function, arguments, node)

    def _external(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        if "." not in name and name in _BUILTIN_NAMES:
            return self._call_builtin(name, call, node)
        if name in _WRAPPED_ITERATION:
            if call.positional:
                return call.positional[0] if name != "tqdm.trange" else self._range(call)
            return Unknown("a progress bar")
        if name in ("functools.partial", "functools.partialmethod") and call.positional:
            return PartialValue(call.positional[0], tuple(call.positional[1:]), dict(call.keywords))
        if name in ("collections.OrderedDict", "collections.defaultdict"):
            return self._make_dict(call, node)
        if name == "itertools.chain":
            if call.positional and all(isinstance(v, ParametersOf) for v in call.positional):
                parts = [v for v in call.positional if isinstance(v, ParametersOf)]
                return ParametersOf(tuple(m for p in parts for m in p.modules), all(p.complete for p in parts))
            return IterationValue("chain", tuple(call.positional))
        if name in ("copy.deepcopy", "copy.copy") and call.positional:
            return self.copy(call.positional[0], node) if name == "copy.deepcopy" else call.positional[0]
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
            return sequence(
                value.kind, tuple(self.copy(item, node) for item in value.items), value.complete, self.site(node)
            )
        return value

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
        if (
            len(self.frames) >= self.CALL_DEPTH
            or sum(f.function is not None and f.function.node is function.node for f in self.frames) > 1
        ):
            self.not_followed(node, function.name, "the call chain is too deep or recursive")
            return self.unknown(node, "a call chain that is too deep", *call.values())
        body = function.node
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
        assumed = dict(self.assumed)
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
            is_generator = _is_generator(function.node)
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
        names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
        values = list(call.positional)
        if receiver is not None:
            values.insert(0, receiver)
        bound: dict[str, Value] = {}
        for name, value in zip(names, values, strict=False):
            bound[name] = value
        if arguments.vararg is not None:
            extra = tuple(values[len(names) :])
            bound[arguments.vararg.arg] = sequence("tuple", extra, not call.open, self.site(node))
        keywords = dict(call.keywords)
        known = {*names, *(a.arg for a in arguments.kwonlyargs)}
        for name in list(keywords):
            if name in known:
                bound.setdefault(name, keywords.pop(name))
        if arguments.kwarg is not None:
            rest: dict[object, Value] = dict(keywords.items())
            bound[arguments.kwarg.arg] = DictValue(Cells(rest), Cells({"complete": not call.open}), self.site(node))
        first_default = len(names) - len(function.defaults)
        for index, name in enumerate(names):
            if name not in bound:
                if call.open:
                    bound[name] = Unknown("a starred argument")
                elif index >= first_default:
                    bound[name] = function.defaults[index - first_default]
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
            for statement in base.node.body:
                target = statement.target if isinstance(statement, ast.AnnAssign) else None
                if isinstance(target, ast.Name) and target.id not in names:
                    names.append(target.id)
        for index, name in enumerate(names):
            value = call.get(index, name)
            if value is None:
                value = cls.lookup(name) or Unknown("a field without a value")
                if isinstance(value, External | Unknown) or call.open:
                    value = Unknown("a field")
            self.put(instance.attrs, name, value)
        post = cls.lookup("__post_init__")
        if isinstance(post, FunctionValue):
            self.call_function(post, instance, positional(call.node), call.node)

    def get_attribute(self, value: Value, name: str, node: ast.AST) -> Value:
        """`value.name`."""
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
            return self.join([self.get_attribute(option, name, node) for option in options])
        if isinstance(value, FunctionValue):
            return const(value.name) if name == "__name__" else Unknown("an attribute of a function")
        if isinstance(value, DictValue) and name not in _DICT_METHODS and name in value.items:
            return value.items[name]
        if isinstance(value, LibraryObject):
            known = value.attrs.get(name)
            if known is not None:
                return known
        if isinstance(value, LoaderValue) and name == "dataset" and value.dataset is not None:
            return value.dataset
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
            if known.owner is None and not isinstance(known.node, ast.Lambda) and known.node not in cls.node.body:
                return BoundMethod(known, instance)
            return BoundMethod(known, instance)
        return known

    def _super_attribute(self, value: SuperValue, name: str) -> Value:
        receiver = value.receiver
        cls = receiver.cls if isinstance(receiver, ModuleValue | ObjectValue) else receiver
        if isinstance(cls, ClassValue) and value.owner in cls.mro:
            following = cls.mro[cls.mro.index(value.owner) + 1 :]
            for base in following:
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
        if name == "requires_grad" and isinstance(target, ParameterValue):
            for module, parameter in target.targets:
                self.put(module.state, f"frozen:{parameter}", self.truth(value) is False)
        elif name == "grad" and isinstance(target, ParameterValue | Unknown):
            modules = tuple(m for m, _ in target.targets) if isinstance(target, ParameterValue) else ()
            self.event(EventKind.ZERO_GRAD, node, modules=modules, everything=not modules)
        elif isinstance(target, ModuleValue):
            self.set_module_attribute(target, name, value, node)
        elif isinstance(target, (ObjectValue | LibraryObject, ClassValue)):
            self.put(target.attrs, name, value)
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
                self.put(target.items, ("unknown key", id(node)), value)
                self.put(target.box, "complete", False)
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

    # ---------------------------------------------------------------- contexts

    def enter_context(self, value: Value, node: ast.AST) -> tuple[Value, Callable[[], None] | None]:
        """Enter a `with`: what `as` binds, and what leaving it does."""
        if isinstance(value, ContextValue):
            if value.what == "grad":
                saved = self.flow["grad"]
                self.put(self.flow, "grad", (value.enabled, value.site))
                return value, lambda: self.put(self.flow, "grad", saved)
            return value, None
        if isinstance(value, External):
            switched = self.switch_grad(value.name, None, node)
            if switched is not None:
                return self.enter_context(switched, node)
        if isinstance(value, ContextFunction):
            return self._enter_generator(value, node)
        if isinstance(value, ObjectValue):
            enter, leave = value.cls.lookup("__enter__"), value.cls.lookup("__exit__")
            entered: Value = value
            if isinstance(enter, FunctionValue):
                entered = self.call_function(enter, value, positional(node), node)
            if isinstance(leave, FunctionValue):
                return entered, lambda: self._leave_object(leave, value, node)
            return entered, None
        return (value if isinstance(value, Unknown | LibraryObject) else Unknown("a context")), None

    def _leave_object(self, leave: FunctionValue, value: ObjectValue, node: ast.AST) -> None:
        self.call_function(leave, value, positional(node, NONE, NONE, NONE), node)

    def _enter_generator(self, value: ContextFunction, node: ast.AST) -> tuple[Value, Callable[[], None] | None]:
        """A `@contextmanager`: run it to its `yield` now, the rest when the `with` ends."""
        function = value.function
        split = _split_at_yield(function.node.body) if not isinstance(function.node, ast.Lambda) else None
        if split is None:
            return Unknown("a context"), None
        before, yielded, after = split
        entered: list[Callable[[], None]] = []
        names = self._bind_parameters(function, value.receiver, value.call, node)
        scope = Scope(names, function.closure, function.file)
        result: list[Value] = [NONE]

        def first() -> None:
            for part in before:
                if isinstance(part, ast.withitem):
                    _, leave_part = self.enter_context(self.eval(part.context_expr), part.context_expr)
                    if leave_part is not None:
                        entered.append(leave_part)
                elif self.run_block([part]) is not None:
                    return
            if yielded is not None:
                result[0] = self.eval(yielded)

        def rest() -> None:
            for leave_part in reversed(entered):
                leave_part()
            self.run_block(after)

        self._in_frame(function, value.receiver, scope, node, first)

        def leave() -> None:
            self._in_frame(function, value.receiver, scope, node, rest)

        return result[0], leave

    # ---------------------------------------------------------------- builtins

    def builtin(self, name: str) -> Value | None:
        """A name of Python's builtins."""
        if name in _BUILTIN_NAMES:
            return External(name)
        if name == "__name__":
            return const("__main__")
        if name == "__file__":
            return Unknown("`__file__`")
        return None

    def _range(self, call: CallArguments) -> Value:
        numbers = [v.value if isinstance(v, Const) and isinstance(v.value, int) else None for v in call.positional]
        if not numbers or any(n is None for n in numbers) or call.open:
            return RangeValue(None)
        exact = range(*[n for n in numbers if n is not None]) if 0 not in numbers[2:] else range(0)
        return RangeValue(len(exact), exact.start, exact.step)

    def _make_dict(self, call: CallArguments, node: ast.AST) -> Value:
        items: dict[object, Value] = {}
        complete = not call.open
        for value in call.positional:
            if isinstance(value, DictValue):
                items.update(value.items)
                complete = complete and bool(value.box["complete"])
            elif isinstance(value, External | Const):
                continue
            else:
                exact, elements = self.iterate(value, node)
                complete = complete and exact
                for element in elements:
                    if (
                        isinstance(element, SequenceValue)
                        and len(element.items) == 2
                        and isinstance(element.items[0], Const)
                    ):
                        items[element.items[0].value] = element.items[1]
                    else:
                        complete = False
        items.update(call.keywords)
        return DictValue(Cells(items), Cells({"complete": complete}), self.site(node))

    def _call_builtin(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        values = call.positional
        first = values[0] if values else None
        if name == "isinstance" and len(values) == 2:
            outcome = self.isinstance_of(values[0], values[1])
            return self._test_result(values[0], node) if outcome is None else const(outcome)
        if name == "range":
            return self._range(call)
        if name in ("enumerate", "reversed") and first is not None:
            return IterationValue(name, (first,))
        if name == "zip":
            return IterationValue("zip", tuple(values))
        if name == "getattr" and len(values) >= 2:
            return self._getattr(values, node)
        if name == "setattr" and len(values) == 3:
            if isinstance(values[1], Const) and isinstance(values[1].value, str):
                self.set_attribute(values[0], values[1].value, values[2], node)
            elif isinstance(values[0], ModuleValue):
                values[0].reads.add("*")
                self.set_attribute(values[0], f"?{len(values[0].attrs)}", values[2], node)
            return NONE
        if name == "hasattr" and len(values) == 2:
            return self._hasattr(values, node)
        if name in ("list", "tuple", "set", "sorted", "frozenset"):
            return self._make_sequence(name, first, node)
        if name == "dict":
            return self._make_dict(call, node)
        if name == "len" and first is not None:
            return self._length(first)
        if name == "type" and len(values) == 1:
            return self._type_of(values[0])
        if name == "print":
            return NONE
        if name in ("next", "iter") and first is not None:
            if name == "iter":
                return first
            _, elements = self.iterate(first, node)
            return elements[0] if elements else Unknown("an element")
        if name in ("map", "filter") and len(values) == 2:
            return self._map(name, values, node)
        if name in ("sum", "max", "min", "abs", "round", "int", "float", "bool", "str", "any", "all"):
            return self._reduce(name, values, node)
        if name in ("exit", "quit"):
            return Unknown("the end of the program")
        if name in ("vars", "iter") and isinstance(first, ModuleValue):
            first.reads.add("*")
        if name == "classmethod" or name == "staticmethod":
            return first if first is not None else Unknown(name)
        return self.unknown(node, f"the result of `{name}`", *values)

    def _test_result(self, value: Value, node: ast.AST) -> Value:
        """The undecided result of a test of an Unknown: the same for the same test of the same value."""
        if isinstance(value, Unknown) and isinstance(node, ast.Call):
            known: str | None = getattr(node, "_modellint_text", None)
            if known is None:
                known = node._modellint_text = ast.unparse(node)  # type: ignore[attr-defined]
            return value.child(("test", known))
        return Unknown("a test")

    def _getattr(self, values: list[Value], node: ast.AST) -> Value:
        target, name = values[0], values[1]
        if isinstance(name, Const) and isinstance(name.value, str):
            result = self.get_attribute(target, name.value, node)
            if isinstance(result, Unknown) and len(values) == 3 and isinstance(target, ModuleValue | ObjectValue):
                return values[2]
            return result
        if isinstance(target, ModuleValue):
            target.reads.add("*")
        return self.unknown(node, "`getattr` with an unknown name", target)

    def _hasattr(self, values: list[Value], node: ast.AST) -> Value:
        target, name = values
        if isinstance(target, ModuleValue | ObjectValue) and isinstance(name, Const) and isinstance(name.value, str):
            if name.value in target.attrs or (target.cls is not None and target.cls.lookup(name.value)):
                return const(True)
            if isinstance(target, ModuleValue) and target.spec is not None:
                if name.value in ("weight", "bias"):
                    return const(target.spec.parametric)
                return (
                    const(False)
                    if target.cls is None and name.value not in target.spec.signature
                    else Unknown("hasattr")
                )
            if (
                isinstance(target, ModuleValue)
                and target.complete
                and target.cls is not None
                and not target.cls.unknown_base
            ):
                return const(False)
        return self._test_result(target, node)

    def _make_sequence(self, name: str, first: Value | None, node: ast.AST) -> Value:
        kind = {"sorted": "list", "frozenset": "set"}.get(name, name)
        if first is None:
            return sequence(kind, (), True, self.site(node))
        if isinstance(first, ParametersOf):
            return first
        if isinstance(first, Unknown | Tensor | LoaderValue):
            return first
        exact, elements = self.iterate(first, node)
        return sequence(kind, tuple(elements), exact, self.site(node))

    def _length(self, value: Value) -> Value:
        if isinstance(value, SequenceValue) and value.complete:
            return const(len(value.items))
        if isinstance(value, DictValue) and value.box["complete"]:
            return const(len(value.items))
        if isinstance(value, ModuleValue) and value.is_container and value.complete:
            return const(sum(1 for _ in value.children()))
        if isinstance(value, Const) and isinstance(value.value, str | bytes | tuple):
            return const(len(value.value))
        if isinstance(value, RangeValue) and value.count is not None:
            return const(value.count)
        if isinstance(value, Unknown):
            return value.child("__len__")
        return Unknown("a length")

    def _type_of(self, value: Value) -> Value:
        if isinstance(value, ModuleValue):
            return value.cls if value.cls is not None else External(value.name)
        if isinstance(value, ObjectValue):
            return value.cls
        return Unknown("a type")

    def _map(self, name: str, values: list[Value], node: ast.AST) -> Value:
        exact, elements = self.iterate(values[1], node)
        if name == "filter":
            if isinstance(values[1], ParametersOf):
                return values[1]
            return sequence("list", tuple(elements), False, self.site(node))
        results = tuple(self.call(values[0], positional(node, element), node) for element in elements)
        return sequence("list", results, exact, self.site(node))

    def _reduce(self, name: str, values: list[Value], node: ast.AST) -> Value:
        function = _CONSTANT_BUILTINS.get(name)
        if function is not None and values and all(isinstance(v, Const) for v in values):
            try:
                result = function(*(v.value for v in values if isinstance(v, Const)))
            except Exception:
                return Unknown(f"`{name}` that fails")
            if isinstance(result, int | float | str | bool):
                return const(result)
        forwards, losses = taints(values)
        if name == "sum" and len(values) >= 1 and isinstance(values[0], SequenceValue) and values[0].items:
            total = values[0].items[0]
            for item in values[0].items[1:UNROLL]:
                total = self.binary_operation(node, ast.Add(), total, item)
            return total
        if name in ("any", "all") and isinstance(values[0] if values else None, SequenceValue):
            items = values[0].items  # type: ignore[attr-defined]
            truths = [self.truth(item) for item in items]
            if values[0].complete and None not in truths:  # type: ignore[attr-defined]
                return const(any(truths) if name == "any" else all(truths))
        if name in ("max", "min", "round", "abs") and forwards:
            self.sign(forwards, SignKind.METRIC, node)
        return Unknown(f"the result of `{name}`", forwards, losses)

    # ---------------------------------------------------------------- files

    def load(self, file: SourceFile) -> None:
        """Evaluate the top level of a file, once. Its main block is kept for when the file itself is run."""
        if file.state != "new":
            return
        file.state = "loading"
        saved = (
            self.file, self.frames, self.forwards, self.path, self.undecided, self.assumed, self.flow, self.trace,
            self.records, self.loops, self.loop_exits, self.log, self.steps, self.budget,
        )  # fmt: skip
        from modellint.source.machine import OutOfBudget
        from modellint.source.records import Records

        self.file = file
        file.scope = Scope({}, None, file)
        self.frames, self.forwards, self.path, self.undecided, self.assumed = [], [], (), 0, {}
        self.flow, self.trace, self.loops, self.loop_exits, self.log = {"grad": (True, None)}, [], (), [], []
        self.records = file.records = Records()
        self.steps, self.budget = 0, self.SCRIPT_BUDGET
        self.frames.append(Frame("", file.scope, self.mark(), 0))
        try:
            for statement in file.text.tree.body:
                if _is_main_guard(statement):
                    file.main_blocks.append(statement)  # type: ignore[arg-type]
                elif self.run_block([statement]) == RAISE:
                    break
        except OutOfBudget:
            self.records.cut((0,) * len(self.records.sizes()))
            self.not_followed(file.text.tree.body[0], file.text.path, "the budget of this file is used up")
        finally:
            file.state = "loaded"
            (
                self.file, self.frames, self.forwards, self.path, self.undecided, self.assumed, self.flow, self.trace,
                self.records, self.loops, self.loop_exits, self.log, self.steps, self.budget,
            ) = saved  # fmt: skip

    SCRIPT_BUDGET = 0

    def import_member(self, source: Value, name: str) -> Value:
        """A name of another file."""
        if isinstance(source, FileValue) and source.file is not None and source.file.scope is None:
            self.load(source.file)
        return super().import_member(source, name)


class ContextFunction(Value):
    """The result of calling a `@contextmanager` function: nothing has run yet."""

    __slots__ = ("call", "function", "receiver", "site")

    def __init__(self, function: FunctionValue, receiver: Value | None, call: CallArguments, site: Site) -> None:
        self.function = function
        self.receiver = receiver
        self.call = call
        self.site = site


_DICT_METHODS = frozenset(dir(dict))


def _acts_on_itself(value: Value) -> bool:
    receiver = value.receiver if isinstance(value, Method | BoundMethod) else value
    return isinstance(receiver, ModuleValue | OptimizerValue)


def _is_main_guard(node: ast.stmt) -> bool:
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
        return False
    sides = [node.test.left, *node.test.comparators]
    return any(isinstance(s, ast.Name) and s.id == "__name__" for s in sides) and any(
        isinstance(s, ast.Constant) and s.value == "__main__" for s in sides
    )


def _is_generator(node: ast.AST) -> bool:
    stack: list[ast.AST] = list(ast.iter_child_nodes(node))
    while stack:
        part = stack.pop()
        if isinstance(part, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            stack.extend(ast.iter_child_nodes(part))
    return False


def _split_at_yield(
    body: list[ast.stmt],
) -> tuple[list[ast.stmt | ast.withitem], ast.AST | None, list[ast.stmt]] | None:
    """What runs before the `yield`, what it yields, the statements after it; through `try` and `with`."""
    for index, statement in enumerate(body):
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Yield):
            return [*body[:index]], statement.value.value, body[index + 1 :]
        if isinstance(statement, ast.Try):
            inner = _split_at_yield(statement.body)
            if inner is not None:
                before, yielded, after = inner
                return [*body[:index], *before], yielded, [*after, *statement.finalbody, *body[index + 1 :]]
        if isinstance(statement, ast.With):
            inner = _split_at_yield(statement.body)
            if inner is not None:
                before, yielded, after = inner
                return [*body[:index], *statement.items, *before], yielded, [*after, *body[index + 1 :]]
    return None


__all__ = ["Calls", "ContextFunction", "OptimizerValue", "ScalerValue", "SchedulerValue"]
