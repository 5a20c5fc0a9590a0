"""One forward of a model: who is called with what, in which mode, and what the result carries."""

from __future__ import annotations

import ast

from modellint.facts.training_loop import EventKind
from modellint.source.interpreter.expressions import CallArguments, positional
from modellint.source.interpreter.layers import Layers
from modellint.source.interpreter.machine import ForwardFrame, Frame, taints
from modellint.source.interpreter.modules import copied_tensor
from modellint.source.interpreter.records import (
    ForwardRecord,
)
from modellint.source.interpreter.values import (
    UNMOVED,
    Cells,
    Choice,
    Const,
    ContextValue,
    DictValue,
    External,
    FunctionValue,
    ModuleValue,
    ObjectValue,
    SequenceValue,
    Site,
    Tensor,
    Trail,
    Unknown,
    Value,
    sequence,
)
from modellint.source.torch_api.frameworks import framework_of
from modellint.source.torch_api.names import canonical


class Forward(Layers):
    """Runs forwards."""

    called_wrapper: ModuleValue | None = None
    """The wrapper whose call is running."""

    def note_ranks(self, record: ForwardRecord, module: ModuleValue) -> None:
        raise NotImplementedError

    def call_module(self, module: ModuleValue, call: CallArguments, node: ast.AST, direct: bool = False) -> Value:
        """`module(...)`: one forward."""
        self.tick(2)
        if (
            module.spec is not None
            and module.spec.family == "loss"
            and (module.cls is None or module.cls.lookup("forward") is None)
        ):
            return self.call_loss(module, None, call, node)
        if module.state.get("wrapped") is not None:
            wrapped = module.state["wrapped"]
            outer, self.called_wrapper = self.called_wrapper, module
            try:
                return self.call_module(wrapped, call, node, direct)
            finally:
                self.called_wrapper = outer
        if self.forwards:
            return self._nested_forward(module, call, node)
        owner = self._method_around(module)
        if owner is not None:
            return self._forward_in_method(owner, module, call, node)
        if module.cls is None and module.spec is not None and not (module.is_container or module.spec.parametric):
            return self._layer(module, call, node)
        return self._root_forward(module, call, node)

    def forward_ended(self, record: ForwardRecord, frame: ForwardFrame) -> None:
        """A forward has run: what it called is in its frame."""

    def _method_around(self, module: ModuleValue) -> Frame | None:
        """The outermost running method of a module that contains this one: `encode()` called from a loop."""
        for frame in self.frames:
            owner = frame.module
            if owner is module:
                return None  # `self(x)` in a method is a forward of its own
            if owner is not None and not owner.constructing and frame.site is not None:
                if any(part is module for part in owner.walk_values()):
                    return frame
                if isinstance(module.attrs, Cells) and module.attrs.born > frame.mark[1]:
                    return frame  # the method has built the layer itself
        return None

    def _forward_in_method(self, frame: Frame, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        """A layer called in a method of its model: all such calls of one run of the method are one forward."""
        owner = frame.module
        assert owner is not None
        assert frame.site is not None
        if frame.forward is None:
            outer = CallArguments(frame.site.node)
            file, self.file = self.file, frame.site.file
            try:
                record = self._forward_record(owner, outer, frame.site.node)
            finally:
                self.file = file
            depth = self.frames.index(frame)
            record.functions = tuple((f.name, f.site) for f in self.frames[:depth] if f.function is not None)
            record.loops, record.loop_depth = frame.loops, len(frame.loops)
            frame.forward = (record, ForwardFrame(owner))
            self.records.forwards.append(record)
            self.event(EventKind.FORWARD, node, modules=(owner,), forward=record)
            # `encode()` and `decode()` called one after the other in one pass are one forward of the model.
            around = self.frames[depth - 1] if depth else None
            place = (owner.key, around, frame.loops[-1] if frame.loops else None)
            self.records.method_calls.setdefault(place, (owner, []))[1].append(frame.forward[1].calls)
        record, forward = frame.forward
        self.forwards.append(forward)
        trace, self.trace = self.trace, []
        try:
            result = self._nested_forward(module, call, node)
        finally:
            self.forwards.pop()
            self.trace = trace
        record.mode_dependent = self._mode_dependent(owner, forward)
        self.forward_ended(record, forward)
        if isinstance(result, Tensor):
            kind = result
            tagged = self.tag(result, record, owner, frame.site.node)
            if isinstance(tagged, Tensor):
                tagged.trail = kind.trail
            return tagged
        return self.tag(result, record, owner, frame.site.node)

    def _nested_forward(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        module.state["called"] = True
        if self.flow["grad"][0] is not False:
            module.state["called_with_gradients"] = True
        frame = self.forwards[-1]
        if frame.stack.count(module) > 1 or len(frame.stack) > 25:
            return self.unknown(node, "a recursive forward", *call.values())
        frame.stack.append(module)
        try:
            return self._run_forward(module, call, node)
        finally:
            frame.stack.pop()

    def _root_forward(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        record = self._forward_record(module, call, node)
        frame = ForwardFrame(module)
        self.forwards.append(frame)
        trace, self.trace = self.trace, []
        try:
            result = self._run_forward(module, call, node)
        finally:
            self.forwards.pop()
            self.trace = trace
        record.mode_dependent = self._mode_dependent(module, frame)
        self.forward_ended(record, frame)
        if frame.moves_input:
            record.input_device = record.model_device = None
        if module.forward_runs < 2:
            self.records.instances.append((module, frame.calls))
        module.forward_runs += 1
        self.records.forwards.append(record)
        self.event(EventKind.FORWARD, node, modules=(module,), forward=record)
        return self.tag(result, record, module, node)

    def _forward_record(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> ForwardRecord:
        first = call.positional[0] if call.positional else next(iter(call.keywords.values()), None)
        first_node = call.positional_nodes[0] if call.positional else next(iter(call.keyword_nodes.values()), None)
        grad, grad_site = self._grad_of(module, node)
        functions = tuple((f.name, f.site) for f in self.frames if f.function is not None)
        function = node.func if isinstance(node, ast.Call) else node
        spelled = hasattr(function, "lineno") and not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        text = self.file.text.segment(function) if spelled else module.name
        device = module.state.get("device", UNMOVED if self._made_here(module) else None)
        if module.state.get("scattered") or (device is UNMOVED and self._moved_in_part(module)):
            device = None  # DataParallel moves each batch itself; a part that was moved before takes the rest along
        record = ForwardRecord(
            site=self.site(node), model=module, text=text.removesuffix(".forward"),
            modes=module.state.get("modes", frozenset()),
            grad=grad, grad_site=grad_site, assumed=self.assumptions(), branches=self.path, functions=functions,
            loop_depth=len(self.loops), input=first,
            input_site=self.site(first_node) if first_node is not None else None, model_device=device,
            input_device=first.device if isinstance(first, Tensor) else None, framework=self.framework(),
            mode_dependent=(), loops=self.loops,
            function=self.frame.function.node if self.frame.function is not None else None,
        )  # fmt: skip
        self.note_ranks(record, module)
        return record

    def _moved_in_part(self, module: ModuleValue) -> bool:
        return self.flow.get("default_device") is not None or any(
            part.state.get("device", UNMOVED) is not UNMOVED
            # What nobody constructs here, such as a model read from a file, may have been moved there.
            or (part.is_container and any(isinstance(child, Unknown) for child in part.attrs.values()))
            for part in module.walk_values()
        )

    def _grad_of(self, module: ModuleValue, node: ast.AST) -> tuple[bool | None, Site | None]:
        """Whether a forward records: what holds at the call, unless the forward is decorated itself."""
        forward = module.cls.lookup("forward") if module.cls is not None else None
        for decorator in forward.decorators if isinstance(forward, FunctionValue) else ():
            switched = decorator if isinstance(decorator, ContextValue) else None
            if isinstance(decorator, External):
                switched = self.switch_grad(decorator.name, None, node)
            if switched is not None:
                return switched.enabled, switched.site
        grad, site = self.flow["grad"]
        return grad, site

    @staticmethod
    def _made_here(module: ModuleValue) -> bool:
        return not module.from_outside and module.known_library is None

    def framework(self) -> str | None:
        """The framework that drives the code that is running."""
        for frame in reversed(self.frames):
            cls = frame.function.owner if frame.function is not None else None
            if cls is None:
                continue
            for base in cls.library_bases:
                spec = framework_of(canonical(base))
                if spec is not None and spec.drives(canonical(base)):
                    return spec.name
        return None

    def _mode_dependent(self, module: ModuleValue, frame: ForwardFrame) -> tuple[tuple[str, ModuleValue, bool], ...]:
        names = {id(part): name for name, part in module.walk()}
        root_modes = self.modes_of(module)
        result: dict[int, tuple[str, ModuleValue, bool]] = {}
        for call in frame.calls:
            certain = self.depends_on_mode(call.module)
            if certain is None or (self.modes_of(call.module) != root_modes and call.module is not module):
                continue
            result.setdefault(id(call.module), (names.get(id(call.module), ""), call.module, certain))
        for key, (part, _, certain) in frame.mode_reads.items():
            if self.modes_of(part) == root_modes or part is module:
                result.setdefault(key, (names.get(key, ""), part, certain))
        if module.known_library is not None and (certain := self.depends_on_mode(module)) is not None:
            result.setdefault(id(module), ("", module, certain))
        return tuple(result.values())

    def depends_on_mode(self, module: ModuleValue) -> bool | None:
        """Whether a layer acts differently in train and eval: True for sure, False perhaps, None not at all."""
        spec = module.spec
        if module.known_library is not None:
            return True if module.known_library.mode_dependent else False if module.known_library.likely else None
        if spec is None:
            return None
        family = spec.family
        if family == "norm_running":
            return True
        if family == "norm_instance":
            tracked = module.arguments.get("track_running_stats")
            if tracked is None:
                return None
            return (
                True
                if isinstance(tracked, Const) and tracked.value
                else (None if isinstance(tracked, Const) else False)
            )
        if family == "rrelu":
            return True
        if family == "transformer" and "dropout" not in spec.signature:
            inner = [self.depends_on_mode(child) for _, child in module.children()]
            return True if True in inner else (False if False in inner else None)
        if family in ("dropout", "attention", "transformer", "recurrent"):
            name = "p" if family == "dropout" else "dropout"
            given = module.arguments.get(name)
            if family == "recurrent":
                layers = module.arguments.get("num_layers")
                if given is None or not (
                    isinstance(layers, Const) and isinstance(layers.value, int) and layers.value > 1
                ):
                    return None
            if given is None:
                return True if spec.defaults.get(name) else None
            if isinstance(given, Const):
                return True if given.value else None
            return False
        return None

    def tag(self, value: Value, record: ForwardRecord, module: ModuleValue, node: ast.AST) -> Value:
        """Mark a result as made by this forward."""
        if isinstance(value, Tensor):
            result = copied_tensor(value)
            result.forwards = value.forwards | {record}
            result.model, result.model_site = module, self.site(node)
            if value.trail is not None:
                returned = Trail(value.trail.site, "return", value.trail, value.trail.length + 1)
                text = f"{record.text}(...)"
                result.trail = Trail(self.site(node), text, returned, returned.length + 1)
            result.origin = None
            return result
        if isinstance(value, SequenceValue | DictValue | Choice | ObjectValue):
            if id(value) in self._tagging:
                return value  # `losses["all"] = losses`
            self._tagging.add(id(value))
            try:
                return self._tag_parts(value, record, module, node)
            finally:
                self._tagging.discard(id(value))
        if isinstance(value, Const):
            return value
        forwards, losses = taints((value,))
        return Unknown("the result of a model", forwards | {record}, losses)

    def _tag_parts(
        self,
        value: SequenceValue | DictValue | Choice | ObjectValue,
        record: ForwardRecord,
        module: ModuleValue,
        node: ast.AST,
    ) -> Value:
        if isinstance(value, SequenceValue):
            items = tuple(self.tag(item, record, module, node) for item in value.items)
            return sequence(value.kind, items, value.complete, value.site)
        if isinstance(value, DictValue):
            return DictValue(
                Cells({k: self.tag(v, record, module, node) for k, v in value.items.items()}),
                Cells(value.box),
                value.site,
            )
        if isinstance(value, Choice):
            return Choice(tuple(self.tag(option, record, module, node) for option in value.options))
        attrs = {name: self.tag(item, record, module, node) for name, item in value.attrs.items()}
        return ObjectValue(value.cls, value.site, Cells(attrs))

    def _run_forward(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        forward = module.cls.lookup("forward") if module.cls is not None else None
        module.state["ran"] = True
        if isinstance(forward, FunctionValue):
            return self.call_function(forward, module, self._relabelled(module, forward, call, node), node)
        if module.cls is not None and module.cls.unknown_base and module.spec is None:
            module.reads.add("*")
        return self._library_forward(module, call, node)

    def _library_forward(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        if module.is_container:
            if not self._is_sequential(module):
                return self.unknown(node, "a container that has no forward", *call.values())
            value: Value = call.positional[0] if call.positional else Unknown("no input")
            module.reads.add("*")
            file = self.file
            for name, child in list(module.attrs.items()):
                if name == "?" or not isinstance(child, ModuleValue | Choice | Unknown | FunctionValue):
                    continue
                site = module.element_sites.get(name) or (child.site if isinstance(child, ModuleValue) else None)
                if site is not None and not isinstance(child, ModuleValue):
                    site = None
                self.file = site.file if site is not None else file
                try:
                    value = self.call(
                        child, positional(site.node if site is not None else node, value), site.node if site else node
                    )
                finally:
                    self.file = file
            return value
        if module.spec is not None:
            return self._layer(module, call, node)
        forwards, losses = taints(call.values())
        if module.known_library is not None:
            if module is not self.forwards[-1].root and _depends_inside(module):
                certain = bool(module.known_library.mode_dependent) and not module.attrs
                self.forwards[-1].mode_reads.setdefault(id(module), (module, "a model of a library", certain))
            for value in call.positional:
                if isinstance(value, Tensor):
                    value.nature.known = True
            return Tensor(
                forwards=forwards, losses=losses, producer=module.key, producer_text=f"output of {module.name}"
            )
        return Unknown("a forward that is not in the project", forwards, losses)

    def _is_sequential(self, module: ModuleValue) -> bool:
        if module.cls is not None:
            return self._layer_spec(module.cls) == "torch.nn.Sequential"
        return module.name == "torch.nn.Sequential"

    def inherited_forward(
        self, module: ModuleValue, forward: FunctionValue, call: CallArguments, node: ast.AST
    ) -> CallArguments:
        """The arguments of `super().forward(x)`: all of them are the one input of what the base class does."""
        if not self.forwards:
            return call
        return self._relabelled(module, forward, call, node, "super().forward: ")

    def _relabelled(
        self, module: ModuleValue, forward: FunctionValue, call: CallArguments, node: ast.AST, prefix: str = ""
    ) -> CallArguments:
        """Inputs as this module sees them: made by `argument x`, whatever made them outside."""
        arguments = forward.node.args
        names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)][1:]
        result = CallArguments(node)
        result.open = call.open
        result.positional_nodes = call.positional_nodes
        result.keyword_nodes = call.keyword_nodes
        for index, value in enumerate(call.positional):
            name = names[index] if index < len(names) else f"#{index}"
            result.positional.append(self._input(module, prefix + name, value, index == 0))
        for name, value in call.keywords.items():
            result.keywords[name] = self._input(module, prefix + name, value, False)
        return result

    def _input(self, module: ModuleValue, name: str, value: Value, first: bool) -> Value:
        if isinstance(value, Unknown) and first and not value.children and not isinstance(value.origin, tuple):
            value = Tensor(forwards=value.forwards, losses=value.losses, origin=value.origin)
        if isinstance(value, Tensor):
            value = copied_tensor(value)
            value.producer = ("argument", module.key, name)
            value.producer_text = f"argument `{name}`"
        return value


_ONLY_DROPOUT = ("alexnet", "squeezenet", "vgg")
"""Models of torchvision whose `classifier` holds all that depends on the mode, unless they have norms (`vgg16_bn`)."""


def _depends_inside(module: ModuleValue) -> bool:
    """Whether a library's model that a project's model calls acts differently in train and eval, perhaps."""
    known = module.known_library
    if known.detector or known.varied or not (known.mode_dependent or known.likely):
        return False
    if module.name.startswith(_ONLY_DROPOUT) and not module.name.endswith("_bn"):
        return "classifier" not in module.attrs
    return True
