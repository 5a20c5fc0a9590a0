"""What an `nn.Module` does: construction, registration, modes, its methods, one forward."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from modellint.facts.forward_use import Mode
from modellint.facts.loss_use import OutputKind
from modellint.facts.training_loop import EventKind
from modellint.source.calls import Calls
from modellint.source.expressions import CallArguments, positional
from modellint.source.machine import ForwardFrame, Frame, taints
from modellint.source.records import (
    CallRecord,
    ConstructionRecord,
    EventRecord,
    FillRecord,
    ForwardRecord,
)
from modellint.source.torch_api.frameworks import framework_of
from modellint.source.torch_api.layers import LAYERS
from modellint.source.torch_api.names import canonical
from modellint.source.values import (
    NONE,
    TRUE,
    UNMOVED,
    BoundMethod,
    Cells,
    Choice,
    ClassValue,
    Const,
    ContextValue,
    DeviceMove,
    DeviceValue,
    DictValue,
    External,
    FunctionValue,
    IterationValue,
    Method,
    ModeEntry,
    ModuleValue,
    ParametersOf,
    ParameterValue,
    RangeValue,
    SequenceValue,
    Site,
    Tensor,
    Trail,
    Unknown,
    Value,
    const,
    sequence,
)

_DIMENSIONS = {"linear": 2, "bilinear": 3, "embedding": 2, "recurrent": 2, "recurrent_cell": 2}
_KINDS = {
    "sigmoid": OutputKind.PROBABILITIES,
    "softmax": OutputKind.DISTRIBUTION,
    "log_softmax": OutputKind.LOG_PROBABILITIES,
    "non_negative": OutputKind.NON_NEGATIVE,
    "tanh": OutputKind.TANH,
}
_WEIGHT_FAMILIES = frozenset({"linear", "conv", "conv_transpose", "bilinear"})
_TRANSPARENT_FAMILIES = frozenset({"dropout", "shape"})
_MODULE_LIMIT = 200
_CONSTRUCTED = "constructed here"


class Modules(Calls):
    """Modules: built on the tables, judged by nobody here."""

    applied: Site | None = None
    """The `.apply(fn)` that is running."""

    # ---------------------------------------------------------------- construction

    def library_is_module(self, name: str) -> bool:
        """Whether a class from outside the project is an nn.Module."""
        known = canonical(name)
        if known in LAYERS or known == "torch.nn.Module" or known.startswith("torch.nn.modules."):
            return True
        spec = framework_of(known)
        return spec is not None and spec.is_module(known)

    def _layer_spec(self, cls: ClassValue) -> str | None:
        for name in cls.library_bases:
            known = canonical(name)
            if known in LAYERS:
                return known
        return None

    def construct_module(self, cls: ClassValue, call: CallArguments, node: ast.AST) -> Value:
        """An instance of a project's module class: run its constructor."""
        base = self._layer_spec(cls)
        module = ModuleValue(self.new_key(), cls.name, cls, self.site(node), LAYERS[base] if base else None, {})
        module.call = call
        module.complete = not cls.unknown_base
        self._start_mode(module)
        record = ConstructionRecord(module, "called", None, None, None)
        module.state["super"] = "absent"
        self.records.constructions.append(record)
        module.state["construction"] = record
        module.constructing = True
        init = cls.lookup("__init__")
        try:
            if isinstance(init, FunctionValue):
                self.call_function(init, module, call, node)
            else:
                self._library_init(module, call, node)
        finally:
            module.constructing = False
        if cls.unknown_base:
            record.super_state = "unknown"
        if "__new__" in cls.attrs:
            record.super_state = "unknown"
        return module

    def _start_mode(self, module: ModuleValue, mode: Mode = Mode.TRAIN, text: str = _CONSTRUCTED) -> None:
        module.state["modes"] = frozenset({ModeEntry(mode, module.site, text, True, frozenset())})

    def _library_init(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> None:
        """`__init__` of the torch class below a project class (or of nn.Module itself)."""
        record = module.state.get("construction")
        if isinstance(record, ConstructionRecord):
            if record.super_state == "absent":
                record.super_state, record.super_site = "late", self.site(node)
            self.put(module.state, "super", "called")
        if module.spec is not None:
            module.arguments.update(call.bound(module.spec.signature))
            if module.is_container:
                self._fill_container(module, call, node)

    def construct_layer(self, name: str, call: CallArguments, node: ast.AST) -> ModuleValue:
        """An instance of a torch layer."""
        spec = LAYERS[name]
        module = ModuleValue(self.new_key(), name, None, self.site(node), spec, call.bound(spec.signature))
        module.call = call
        module.complete = not call.open
        self._start_mode(module)
        if module.is_container:
            self._fill_container(module, call, node)
        else:
            for key, value in module.arguments.items():
                if isinstance(value, ModuleValue):
                    module.attrs[key] = value  # a TransformerEncoder copies the layer it is given
        return module

    def _fill_container(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> None:
        values, nodes = list(call.positional), list(call.positional_nodes)
        if call.open:
            module.complete = False
        for value in values:
            if isinstance(value, SequenceValue | ModuleValue | DictValue | Choice | IterationValue):
                continue
            module.complete = False
        is_sequential = (module.spec is not None and module.spec.signature == ()) or module.name.endswith("Sequential")
        if is_sequential and not (len(values) == 1 and isinstance(values[0], DictValue)):
            for index, (value, value_node) in enumerate(zip(values, nodes, strict=True)):
                self._add_child(module, str(index), value, value_node)
            return
        if not values:
            return
        self._extend_container(module, values[0], nodes[0])

    def _extend_container(self, module: ModuleValue, value: Value, node: ast.AST) -> None:
        if isinstance(value, DictValue):
            for key, item in value.items.items():
                self._add_child(module, str(key), item, node)
            if not value.box["complete"]:
                module.complete = False
            return
        exact, items = self.iterate(value, node)
        if not exact:
            module.complete = False
        for item in items:
            if isinstance(item, SequenceValue) and len(item.items) == 2 and isinstance(item.items[0], Const):
                self._add_child(module, str(item.items[0].value), item.items[1], node)
            else:
                self._add_child(module, str(len(module.attrs)), item, node)

    def _add_child(self, module: ModuleValue, name: str, value: Value, node: ast.AST) -> None:
        self.put(module.attrs, name, value)
        module.element_sites[name] = self.site(node)
        if not isinstance(value, ModuleValue):
            module.complete = False
        else:
            self._note_registration(module, name, node)

    def _note_registration(self, module: ModuleValue, name: str, node: ast.AST) -> None:
        record = module.state.get("construction")
        if isinstance(record, ConstructionRecord) and module.constructing and record.first_registration is None:
            # `super` is None where a branch that calls the base met one that does not.
            state = module.state.get("super")
            if state != "called":
                record.super_state = "late" if state is None else "absent"
                record.first_registration, record.first_registration_site = name, self.site(node)

    def library_model(self, name: str, node: ast.AST, known: object, mode: Mode) -> ModuleValue:
        """A model that a known library constructs."""
        module = ModuleValue(self.new_key(), name.rpartition(".")[2], None, self.site(node), None, {})
        module.known_library = known
        self._start_mode(module, mode, _CONSTRUCTED if mode is Mode.TRAIN else f"`{name}` returns it in eval mode")
        return module

    # ---------------------------------------------------------------- attributes

    def module_attribute(self, module: ModuleValue, name: str, node: ast.AST) -> Value:
        """`module.name`."""
        if not module.constructing:
            module.reads.add(name)
        value = module.attrs.get(name)
        if value is not None:
            return value
        if name == "training":
            return self._training(module)
        if name == "forward":
            return Method(module, name)
        if module.cls is not None and name != "__class__" and module.cls.lookup(name) is not None:
            return self.class_attribute(module.cls, module, name, node)
        if name == "__class__":
            return module.cls if module.cls is not None else External(module.name)
        if name in ("_modules", "_parameters", "_buffers", "__dict__"):
            module.reads.add("*")
            return Unknown(f"`{name}`")
        spec = module.spec
        if spec is not None:
            if name in ("weight", "bias") or name.startswith(("weight_", "bias_", "in_proj_", "out_proj")):
                if name == "bias" and isinstance(module.arguments.get("bias"), Const):
                    bias = module.arguments["bias"]
                    if isinstance(bias, Const) and not bias.value:
                        return NONE
                return ParameterValue(((module, name),), self.parameter_dimensions(module, name), name=name)
            if name in spec.signature:
                given = module.arguments.get(name)
                if given is not None:
                    return given
                if name in spec.defaults:
                    return const(spec.defaults[name])
                return Unknown("an argument")
        if name in _MODULE_METHODS:
            return Method(module, name)
        if module.cls is not None:
            getter = module.cls.lookup("__getattr__")
            if not module.cls.unknown_base and getter is None and not module.cls.library_bases:
                return Unknown(f"`{name}` is not set")
            return Unknown(f"`{name}` of a base class")
        return Method(module, name) if module.known_library is None else Unknown(f"`{name}` of {module.name}")

    def parameter_dimensions(self, module: ModuleValue, name: str) -> int | None:
        """How many axes a parameter of a torch layer has."""
        spec = module.spec
        if spec is None:
            return None
        if "bias" in name or spec.family in ("norm", "norm_running", "norm_instance"):
            return 1
        if spec.family in ("conv", "conv_transpose"):
            digits = [c for c in module.name if c.isdigit()]
            if not digits and module.cls is not None:
                base = self._layer_spec(module.cls) or ""
                digits = [c for c in base if c.isdigit()]
            return int(digits[-1]) + 2 if digits else None
        return _DIMENSIONS.get(spec.family)

    def _training(self, module: ModuleValue) -> Value:
        # One symbol for each set of modes: two tests of `training` agree as long as nothing switches between them, and
        # `train(was_training)` can restore what was read.
        modes: frozenset[ModeEntry] = module.state.get("modes", frozenset())
        symbols: dict[frozenset[ModeEntry], Unknown] = module.state.setdefault("training", {})
        symbol = symbols.get(modes)
        if symbol is None:
            symbol = symbols[modes] = Unknown("`training`", origin=("modes", modes), text="training")
        if self.forwards:
            self.forwards[-1].mode_reads.setdefault(id(module), (module, "reads `self.training`", True))
        return symbol

    def set_module_attribute(self, module: ModuleValue, name: str, value: Value, node: ast.AST) -> None:
        """`module.name = value`."""
        if name == "training":
            return
        if isinstance(value, ModuleValue):
            self._note_registration(module, name, node)
        elif isinstance(value, ParameterValue):
            self._note_registration(module, name, node)
            if not value.targets:
                value = ParameterValue(
                    ((module, name),), value.dimensions, value.fill, value.random, value.elements, name=name
                )
                if value.fill is not None or value.random:
                    self.fill(value, value.fill, node)
        if isinstance(value, ParameterValue) and module.spec is not None and name in ("weight", "bias"):
            for owner, _ in value.targets:
                if owner is not module:
                    owner.state["tied"] = module.state["tied"] = True
            self.fill(ParameterValue(((module, name),)), value.fill, node)
        if isinstance(value, SequenceValue | DictValue):
            module.element_sites[name] = self.site(node)
            if not value.items:
                value.box.setdefault("owners", []).append((module, name))
        self.put(module.attrs, name, value)

    # ---------------------------------------------------------------- fills

    def fill(self, target: ParameterValue, value: float | None, node: ast.AST) -> None:
        """Write `value` into all elements of parameters; None for anything but a constant."""
        site = self.site(node)
        text = self.file.text.segment(node) if hasattr(node, "lineno") else ""
        for module, name in target.targets:
            key = f"fill:{name}"
            previous = module.state.get(key)
            self.put(module.state, key, FillRecord(site, text, value, self.applied, previous))

    def write_parameter(self, target: Value, index: Value | None, value: Value, node: ast.AST) -> None:
        """`p.data = value` or `p[index] = value`."""
        if not isinstance(target, ParameterValue):
            return
        whole = (
            index is None
            or (isinstance(index, Unknown) and index.reason == "a slice")
            or (isinstance(index, Const) and index.value is Ellipsis)
        )
        constant: float | None = None
        if whole and isinstance(value, Const) and isinstance(value.value, int | float):
            constant = float(value.value)
        elif whole and isinstance(value, Tensor | ParameterValue) and value.fill is not None:
            constant = value.fill
        statement = node
        self.fill(target, constant, statement)

    # ---------------------------------------------------------------- modes and moves

    def set_modes(self, module: ModuleValue, entries: Iterable[ModeEntry]) -> None:
        """Switch a module and all below it."""
        modes = frozenset(entries)
        for _, part in module.walk():
            self.put(part.state, "modes", modes)

    def mode_entry(self, mode: Mode, node: ast.AST) -> ModeEntry:
        """A mode switched at `node` on the current path."""
        return ModeEntry(mode, self.site(node), self.file.text.segment(node), False, self.assumptions())

    def _train(self, module: ModuleValue, flag: Value | None, node: ast.AST) -> None:
        if flag is None:
            flag = TRUE
        truth = self.truth(flag)
        if truth is not None:
            self.set_modes(module, [self.mode_entry(Mode.TRAIN if truth else Mode.EVAL, node)])
        elif isinstance(flag, Unknown) and isinstance(flag.origin, tuple) and flag.origin[0] == "modes":
            self.set_modes(module, flag.origin[1])
        elif isinstance(flag, Unknown):
            assumed = self.assumptions()
            key = ("truth", id(flag))
            site, text = self.site(node), self.file.text.segment(node)
            self.set_modes(
                module,
                [
                    ModeEntry(Mode.TRAIN, site, text, False, assumed | {(key, True)}),
                    ModeEntry(Mode.EVAL, site, text, False, assumed | {(key, False)}),
                ],
            )
        else:
            self.set_modes(module, [self.mode_entry(Mode.UNKNOWN, node)])

    def lose_mode(self, value: Value, node: ast.AST) -> None:
        """A module went where it may be switched: its mode is unknown from here."""
        for option in value.options if isinstance(value, Choice) else (value,):
            if isinstance(option, ModuleValue):
                self.put(option.state, "modes", frozenset({self.mode_entry(Mode.UNKNOWN, node)}))
                self.put(option.state, "device", None)

    def device_of(self, value: Value | None) -> DeviceMove | None:
        """What a device argument means; None when that is unknown."""
        if isinstance(value, DeviceValue):
            return DeviceMove(value.text, None, value.may_be_other_than_cpu)
        if isinstance(value, Const) and isinstance(value.value, str):
            kind = value.value.split(":")[0]
            return DeviceMove(value.value, None, kind != "cpu") if kind.isalpha() else None
        if isinstance(value, Const) and isinstance(value.value, int) and not isinstance(value.value, bool):
            return DeviceMove(f"cuda:{value.value}", None, True)
        if isinstance(value, Choice):
            moves = [self.device_of(option) for option in value.options]
            known = [move for move in moves if move is not None]
            if len(known) == len(moves):
                return DeviceMove(known[0].text, None, any(move.may_be_other_than_cpu for move in known))
        return None

    def move_module(self, module: ModuleValue, device: DeviceMove | None, node: ast.AST) -> None:
        """`module.to(device)`: in place."""
        site = self.site(node)
        for _, part in module.walk():
            move = DeviceMove(device.text, site, device.may_be_other_than_cpu) if device is not None else None
            self.put(part.state, "device", move)

    # ---------------------------------------------------------------- methods

    def call_module_method(self, module: ModuleValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        """A method that nn.Module (or a torch container) gives."""
        if name.startswith("super."):
            name = name[6:]
            if name == "__init__":
                self._library_init(module, call, node)
                return NONE
            if name == "__setattr__" and len(call.positional) == 2:
                attribute = call.positional[0]
                if isinstance(attribute, Const) and isinstance(attribute.value, str):
                    self.set_module_attribute(module, attribute.value, call.positional[1], node)
                return NONE
            if name == "forward":
                return self._library_forward(module, call, node)
        first = call.positional[0] if call.positional else None
        if name == "eval":
            override = module.cls.lookup("train") if module.cls is not None else None
            if isinstance(override, FunctionValue):
                self.set_modes(module, [self.mode_entry(Mode.EVAL, node)])
            else:
                self._train(module, const(False), node)
            return module
        if name == "train":
            self._train(module, call.get(0, "mode"), node)
            return module
        if name in (
            "to",
            "cuda",
            "cpu",
            "xpu",
            "half",
            "float",
            "double",
            "bfloat16",
            "to_empty",
            "type",
            "share_memory",
        ):
            return self._move_by_method(module, name, call, node)
        if name in ("parameters", "named_parameters"):
            return ParametersOf((module,), named=name.startswith("named"))
        if name in ("modules", "named_modules", "children", "named_children"):
            return self._below(module, name, node)
        if name == "apply" and first is not None:
            return self._apply(module, first, node)
        if name in ("forward", "__call__"):
            return self.call_module(module, call, node, direct=name == "forward")
        if name == "zero_grad":
            self.event(EventKind.ZERO_GRAD, node, modules=(module,))
            return NONE
        if name in ("requires_grad_", "freeze"):
            flag = call.get(0, "requires_grad")
            frozen = False if flag is None else not self.truth(flag)
            for _, part in module.walk():
                self.put(part.state, "frozen", frozen)
            return module
        if name == "load_state_dict":
            for _, part in module.walk():
                for key in [key for key in part.state if key.startswith("fill:")]:
                    self.put(part.state, key, FillRecord(self.site(node), "", None, None, None))
            return Unknown("the result of load_state_dict")
        if name in ("add_module", "register_module", "register_parameter", "register_buffer", "__setattr__"):
            return self._register(module, name, call, node)
        if name in ("append", "extend", "insert", "update", "items", "keys", "values", "pop", "clear"):
            return self._container_method(module, name, call, node)
        if name in ("get_submodule", "get_parameter", "__getattr__") and isinstance(first, Const):
            value: Value = module
            for step in str(first.value).split("."):
                value = self.get_attribute(value, step, node)
            return value
        if name in ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"):
            return Unknown("a hook handle")
        if name == "compile":
            return NONE
        if name in ("state_dict", "named_buffers", "buffers", "extra_repr", "__repr__", "train_mode"):
            return Unknown(f"the result of `{name}`")
        return self.unknown(node, f"the result of `{name}`", *call.values())

    def _move_by_method(self, module: ModuleValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name == "cuda":
            self.move_module(module, DeviceMove("cuda", None, True), node)
        elif name == "cpu":
            self.move_module(module, DeviceMove("cpu", None, False), node)
        elif name == "to":
            target = call.get(0, "device")
            if target is not None and not (isinstance(target, External) and not target.name.startswith("torch.device")):
                self.move_module(module, self.device_of(target), node)
        return module

    def _below(self, module: ModuleValue, name: str, node: ast.AST) -> Value:
        module.reads.add("*")
        if name.endswith("children"):
            pairs = list(module.children())
        else:
            pairs = list(module.walk())
        items: list[Value] = []
        for path, part in pairs[:_MODULE_LIMIT]:
            items.append(sequence("tuple", (const(path), part)) if name.startswith("named") else part)
        return IterationValue("pairs", tuple(items))

    def _apply(self, module: ModuleValue, function: Value, node: ast.AST) -> Value:
        saved, self.applied = self.applied, self.site(node)
        try:
            for _, part in list(module.walk(_MODULE_LIMIT))[::-1]:
                self.call(function, positional(node, part), node)
        finally:
            self.applied = saved
        return module

    def _register(self, module: ModuleValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        if len(call.values()) < 2:
            return NONE
        attribute = call.get(0, "name")
        value = call.get(1, {"register_parameter": "param", "register_buffer": "tensor"}.get(name, "module"))
        if value is None:
            return NONE
        if isinstance(attribute, Const) and isinstance(attribute.value, str):
            self._note_registration(module, attribute.value, node)
            if name == "__setattr__" and isinstance(value, ModuleValue | SequenceValue):
                self.put(module.attrs, attribute.value, Unknown("hidden on purpose"))
            else:
                self.set_module_attribute(module, attribute.value, value, node)
                module.element_sites[attribute.value] = self.site(node)
        else:
            module.reads.add("*")
            self.put(module.attrs, f"?{len(module.attrs)}", value)
        return NONE

    def _container_method(self, module: ModuleValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        values, nodes = call.positional, call.positional_nodes
        children = [(n, v) for n, v in module.attrs.items() if isinstance(v, ModuleValue | Choice | Unknown)]
        if name == "append" and values:
            self._add_child(module, str(len(module.attrs)), values[0], nodes[0])
        elif name in ("extend", "update") and values:
            self._extend_container(module, values[0], nodes[0])
        elif name == "insert" and len(values) == 2:
            self._add_child(module, str(len(module.attrs)), values[1], nodes[1])
            module.complete = False
        elif name == "items":
            return IterationValue("pairs", tuple(sequence("tuple", (const(n), v)) for n, v in children))
        elif name == "values":
            return IterationValue("pairs", tuple(v for _, v in children))
        elif name == "keys":
            return IterationValue("pairs", tuple(const(n) for n, _ in children))
        elif name in ("pop", "clear"):
            module.complete = False
        return module if name in ("append", "extend", "insert") else NONE

    # ---------------------------------------------------------------- parameters

    def parameters_below(self, modules: Iterable[ModuleValue]) -> list[tuple[str, ParameterValue]]:
        """The parameters of the torch layers below some modules, and free parameters, with dotted names."""
        result: list[tuple[str, ParameterValue]] = []
        for module in modules:
            for path, part in module.walk(_MODULE_LIMIT):
                prefix = f"{path}." if path else ""
                if part.spec is not None and part.spec.parametric:
                    names = ["weight"]
                    bias = part.arguments.get("bias")
                    if not (isinstance(bias, Const) and not bias.value):
                        names.append("bias")
                    if part.spec.family in ("recurrent", "recurrent_cell"):
                        suffix = "_l0" if part.spec.family == "recurrent" else ""
                        names = [f"weight_ih{suffix}", f"weight_hh{suffix}", f"bias_ih{suffix}", f"bias_hh{suffix}"]
                    for name in names:
                        value = ParameterValue(
                            ((part, name),), self.parameter_dimensions(part, name), name=prefix + name
                        )
                        result.append((prefix + name, value))
                for name, attribute in part.attrs.items():
                    if isinstance(attribute, ParameterValue):
                        result.append((prefix + name, attribute))
        return result

    def iterate_parameters(self, value: ParametersOf) -> tuple[bool, list[Value]]:
        """One round for each group of parameters that look alike to the loop's body."""
        below = self.parameters_below(value.modules)
        if not below:
            return False, [Unknown("a parameter")]
        if value.named or len(below) <= 8:
            items: list[Value] = []
            for name, parameter in below[:60]:
                items.append(sequence("tuple", (const(name), parameter)) if value.named else parameter)
            return value.complete and len(below) <= 60, items
        groups: dict[int | None, list[tuple[ModuleValue, str]]] = {}
        for _, parameter in below:
            groups.setdefault(parameter.dimensions, []).extend(parameter.targets)
        return value.complete, [ParameterValue(tuple(targets), dimensions) for dimensions, targets in groups.items()]

    # ---------------------------------------------------------------- events

    def event(self, kind: EventKind, node: ast.AST, **details: object) -> None:
        """Note what happens in a loop."""
        text = self.file.text.segment(node) if hasattr(node, "lineno") else ""
        self.trace.append(EventRecord(kind, self.site(node), text, **details))  # type: ignore[arg-type]

    # ---------------------------------------------------------------- forward

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
            return self.call_module(wrapped, call, node, direct)
        if self.forwards:
            return self._nested_forward(module, call, node)
        owner = self._method_around(module)
        if owner is not None:
            return self._forward_in_method(owner, module, call, node)
        if module.cls is None and module.spec is not None and not (module.is_container or module.spec.parametric):
            return self._layer(module, call, node)
        return self._root_forward(module, call, node)

    def _method_around(self, module: ModuleValue) -> Frame | None:
        """The outermost running method of a module that contains this one: `encode()` called from a loop."""
        for frame in self.frames:
            owner = frame.module
            if owner is not None and not owner.constructing and frame.site is not None:
                if any(part is module for part in owner.walk_values()):
                    return frame
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
        record, forward = frame.forward
        self.forwards.append(forward)
        trace, self.trace = self.trace, []
        try:
            result = self._nested_forward(module, call, node)
        finally:
            self.forwards.pop()
            self.trace = trace
        record.mode_dependent = self._mode_dependent(owner, forward)
        if module is owner:
            return self.tag(result, record, owner, node)
        if isinstance(result, Tensor):
            kind = result
            tagged = self.tag(result, record, owner, frame.site.node)
            if isinstance(tagged, Tensor):
                tagged.trail = kind.trail
            return tagged
        return self.tag(result, record, owner, frame.site.node)

    def _nested_forward(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
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
        text = self.file.text.segment(function) if hasattr(function, "lineno") else module.name
        device = module.state.get("device", UNMOVED if self._made_here(module) else None)
        if module.state.get("scattered"):
            device = None  # DataParallel moves each batch itself
        return ForwardRecord(
            site=self.site(node), model=module, text=text.removesuffix(".forward"),
            modes=module.state.get("modes", frozenset()),
            grad=grad, grad_site=grad_site, assumed=self.assumptions(), branches=self.path, functions=functions,
            loop_depth=len(self.loops), input=first,
            input_site=self.site(first_node) if first_node is not None else None, model_device=device,
            input_device=first.device if isinstance(first, Tensor) else None, framework=self.framework(),
            mode_dependent=(), loops=self.loops,
        )  # fmt: skip

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
        if module.known_library is not None and module.known_library.mode_dependent:
            result.setdefault(id(module), ("", module, True))
        return tuple(result.values())

    def depends_on_mode(self, module: ModuleValue) -> bool | None:
        """Whether a layer acts differently in train and eval: True for sure, False perhaps, None not at all."""
        spec = module.spec
        if module.known_library is not None:
            return True if module.known_library.mode_dependent else None
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
            result = _copied(value)
            result.forwards = value.forwards | {record}
            result.model, result.model_site = module, self.site(node)
            if value.trail is not None:
                returned = Trail(value.trail.site, "return", value.trail, value.trail.length + 1)
                text = f"{record.text}(...)"
                result.trail = Trail(self.site(node), text, returned, returned.length + 1)
            result.origin = None
            return result
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
        if isinstance(value, Const):
            return value
        forwards, losses = taints((value,))
        return Unknown("the result of a model", forwards | {record}, losses)

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
            return Tensor(
                forwards=forwards, losses=losses, producer=module.key, producer_text=f"output of {module.name}"
            )
        return Unknown("a forward that is not in the project", forwards, losses)

    def _is_sequential(self, module: ModuleValue) -> bool:
        if module.cls is not None:
            return self._layer_spec(module.cls) == "torch.nn.Sequential"
        return module.name == "torch.nn.Sequential"

    def _relabelled(
        self, module: ModuleValue, forward: FunctionValue, call: CallArguments, node: ast.AST
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
            result.positional.append(self._input(module, name, value, index == 0))
        for name, value in call.keywords.items():
            result.keywords[name] = self._input(module, name, value, False)
        return result

    def _input(self, module: ModuleValue, name: str, value: Value, first: bool) -> Value:
        if isinstance(value, Unknown) and first and not value.children and not isinstance(value.origin, tuple):
            value = Tensor(forwards=value.forwards, losses=value.losses, origin=value.origin)
        if isinstance(value, Tensor):
            value = _copied(value)
            value.producer = ("argument", module.key, name)
            value.producer_text = f"argument `{name}`"
        return value

    # ---------------------------------------------------------------- layers

    def _layer(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        """What one torch layer makes of its input."""
        spec = module.spec
        assert spec is not None
        value = call.positional[0] if call.positional else next(iter(call.keywords.values()), Unknown("no input"))
        if isinstance(value, Choice):
            value = self.join([o for o in value.options if not (isinstance(o, Const) and o.value is None)] or [NONE])
        tensor = value if isinstance(value, Tensor) else None
        family = spec.family
        forwards, losses = taints((value,))
        self._note_call(module, tensor, node)
        if family in _TRANSPARENT_FAMILIES or spec.output == "transparent":
            return self.through(value, node, _short(module))
        if spec.output in _KINDS:
            dim = module.arguments.get("dim")
            return self.activated(value, spec.output, node, _short(module), dim)
        result = Tensor(forwards=forwards, losses=losses, device=tensor.device if tensor else None)
        if family in ("activation", "pool", "rrelu") and not spec.parametric:
            if tensor is not None:
                result.producer, result.producer_text = tensor.producer, tensor.producer_text
            return result
        result.producer = module.key
        result.producer_text = f"output of {self.layer_text(module)}"
        if family in _WEIGHT_FAMILIES:
            result.kind = OutputKind.LOGITS
            result.maker = self.layer_text(module)
            result.maker_site = self.site(node)
            result.trail = Trail(self.site(node), result.maker, None, 1)
            size = module.arguments.get("out_features") or module.arguments.get("out_channels")
            if isinstance(size, Const) and isinstance(size.value, int):
                result.classes = size.value
        if family in ("recurrent", "attention"):
            return sequence("tuple", (result, Unknown("a state", forwards, losses)))
        return result

    def _note_call(self, module: ModuleValue, tensor: Tensor | None, node: ast.AST) -> None:
        if not self.forwards:
            return
        spec = module.spec
        assert spec is not None
        if not (
            spec.parametric
            or spec.family
            in ("dropout", "rrelu", "norm_instance", "norm_running", "attention", "transformer", "recurrent")
        ):
            return
        frame = self.forwards[-1]
        stateful = spec.family in ("norm_running", "norm_instance")
        if stateful:
            tracked = module.arguments.get("track_running_stats")
            if spec.family == "norm_instance":
                stateful = isinstance(tracked, Const) and bool(tracked.value)
            elif tracked is not None and not (isinstance(tracked, Const) and tracked.value):
                stateful = False
            if module.state.get("frozen"):
                stateful = False
            modes = self.modes_of(module)
            if modes != {Mode.TRAIN} and modes != self.modes_of(frame.root):
                stateful = False
        producer = tensor.producer if tensor is not None else None
        frame.calls.append(
            CallRecord(
                module,
                self.site(node),
                producer,
                tensor.producer_text if tensor is not None else None,
                self.path,
                stateful,
            )
        )

    def through(self, value: Value, node: ast.AST, text: str) -> Value:
        """The value after an operation that keeps its kind."""
        if isinstance(value, Tensor):
            result = _copied(value)
            if value.trail is not None:
                result.trail = Trail(self.site(node), text, value.trail, value.trail.length + 1)
            return result
        if isinstance(value, Choice):
            return self.join([self.through(o, node, text) for o in value.options])
        forwards, losses = taints((value,))
        return Tensor(forwards=forwards, losses=losses)

    def activated(self, value: Value, output: str, node: ast.AST, text: str, dim: Value | None = None) -> Value:
        """The value after an activation."""
        forwards, losses = taints((value,))
        tensor = value if isinstance(value, Tensor) else Tensor(forwards=forwards, losses=losses)
        result = _copied(tensor)
        kind = _KINDS.get(output, OutputKind.UNKNOWN)
        if kind is OutputKind.PROBABILITIES and tensor.kind is OutputKind.UNKNOWN and tensor.comparison:
            kind = OutputKind.UNKNOWN
        result.kind = kind
        result.maker = text if kind is not OutputKind.UNKNOWN else None
        result.maker_site = self.site(node) if result.maker else None
        result.trail = Trail(self.site(node), text, None, 1) if result.maker else None
        result.softmax_dim = dim.value if isinstance(dim, Const) and isinstance(dim.value, int) else None
        if kind is OutputKind.DISTRIBUTION and dim is not None and not isinstance(dim, Const):
            result.kind, result.maker = OutputKind.UNKNOWN, None
        result.fill = None
        return result

    def layer_text(self, module: ModuleValue) -> str:
        """`Linear(64, 10)`: the class with its arguments, constants as they are, the rest as written."""
        text = module.state.get("text")
        if isinstance(text, str):
            return text
        parts: list[str] = []
        call: CallArguments | None = module.call
        if call is not None:
            file = module.site.file if module.site is not None else None
            pairs: list[tuple[str, Value, ast.AST | None]] = [
                ("", v, n) for v, n in zip(call.positional, call.positional_nodes, strict=True)
            ]
            pairs += [(f"{k}=", v, call.keyword_nodes.get(k)) for k, v in call.keywords.items()]
            for prefix, value, node in pairs:
                if isinstance(value, Const):
                    parts.append(f"{prefix}{value.value!r}")
                elif file is not None and node is not None and hasattr(node, "lineno"):
                    segment = file.text.segment(node)
                    parts.append(f"{prefix}{segment}" if len(segment) <= 30 else f"{prefix}...")
                else:
                    parts.append(f"{prefix}...")
        if module.is_container and module.cls is None:
            parts = ["..."] if parts else []
        result = f"{_short_name(module)}({', '.join(parts)})"
        module.state["text"] = result
        return result

    def call_loss(self, module: ModuleValue | None, name: str | None, call: CallArguments, node: ast.AST) -> Value:
        raise NotImplementedError


def _copied(value: Tensor) -> Tensor:
    return Tensor(
        value.kind, value.maker, value.maker_site, value.trail, value.producer, value.producer_text, value.forwards,
        value.losses, value.origin, value.device, value.classes, value.softmax_dim, None, False, value.model,
        value.model_site, value.text, value.comparison,
    )  # fmt: skip


def _short_name(module: ModuleValue) -> str:
    return module.name.rpartition(".")[2]


def _short(module: ModuleValue) -> str:
    name = _short_name(module)
    return f"nn.{name}" if module.cls is None else name


_MODULE_METHODS = frozenset(
    [
        "eval",
        "train",
        "to",
        "cuda",
        "cpu",
        "xpu",
        "half",
        "float",
        "double",
        "bfloat16",
        "to_empty",
        "type",
        "share_memory",
        "parameters",
        "named_parameters",
        "modules",
        "named_modules",
        "children",
        "named_children",
        "apply",
        "forward",
        "__call__",
        "zero_grad",
        "requires_grad_",
        "load_state_dict",
        "state_dict",
        "add_module",
        "register_module",
        "register_parameter",
        "register_buffer",
        "append",
        "extend",
        "insert",
        "update",
        "items",
        "keys",
        "values",
        "pop",
        "clear",
        "get_submodule",
        "get_parameter",
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "compile",
        "buffers",
        "named_buffers",
        "extra_repr",
        "_get_name",
        "set_submodule",
        "get_buffer",
        "register_module_full_backward_hook",
        "register_state_dict_pre_hook",
        "register_load_state_dict_post_hook",
    ]
)

__all__ = ["BoundMethod", "Modules", "RangeValue"]
