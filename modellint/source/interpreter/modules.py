"""What an `nn.Module` does: construction, registration, modes, its methods, one forward."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from modellint.facts.forward_use import Mode
from modellint.facts.training_loop import EventKind
from modellint.source.interpreter import alias_notes, module_notes
from modellint.source.interpreter.contexts import Contexts
from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.records import (
    ConstructionRecord,
    EventRecord,
    FillRecord,
    LoopRecord,
)
from modellint.source.interpreter.values import (
    NONE,
    TRUE,
    BoundMethod,
    Choice,
    ClassValue,
    Const,
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
    PartialValue,
    RangeValue,
    SequenceValue,
    Site,
    Tensor,
    Unknown,
    Value,
    const,
)
from modellint.source.torch_api.frameworks import framework_of
from modellint.source.torch_api.layers import LAYERS
from modellint.source.torch_api.library_layers import LIBRARY_LAYERS, RENAMED
from modellint.source.torch_api.module_methods import MODULE_METHODS
from modellint.source.torch_api.names import canonical

_DIMENSIONS = {"linear": 2, "bilinear": 3, "embedding": 2, "recurrent": 2, "recurrent_cell": 2}
MODULE_LIMIT = 200
_CONSTRUCTED = "constructed here"


class Modules(Contexts):
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
        if self.forwards:
            module_notes.note_built(self, module, node)
        module.constructing = True
        init = cls.lookup("__init__")
        try:
            maker = init.owner if isinstance(init, FunctionValue) else None
            if maker is not None and not maker.is_module and self.behind_module(cls, maker):
                init = None  # nn.Module's own comes first, and calls no other
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
        spec = LAYERS.get(name) or LIBRARY_LAYERS[name]
        arguments = {RENAMED.get(key, key): value for key, value in call.bound(spec.signature).items()}
        module = ModuleValue(self.new_key(), name, None, self.site(node), spec, arguments)
        module.call = call
        module.complete = not call.open
        if self.forwards:
            module_notes.note_built(self, module, node)
        if "momentum" in module.arguments:
            self.records.module_notes.norms.append(module)
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
            alias_notes.note_filled(self, module)
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
            alias_notes.note_filled(self, module)
            return
        exact, items = self.iterate(value, node)
        if not exact:
            module.complete = False
        for item in items:
            if isinstance(item, SequenceValue) and len(item.items) == 2 and isinstance(item.items[0], Const):
                self._add_child(module, str(item.items[0].value), item.items[1], node)
            else:
                self._add_child(module, str(len(module.attrs)), item, node)
        alias_notes.note_filled(self, module)

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
        if name in ("__getattr__", "__getattribute__"):
            return PartialValue(External("getattr"), (module,), {})
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
        if name in MODULE_METHODS:
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
                self.records.module_notes.registered[id(value)] = value
                module.element_sites[name] = self.site(node)
                value = ParameterValue(
                    ((module, name),), value.dimensions, value.fill, value.random, value.elements, value.trainable, name
                )
                if value.fill is not None or value.random:
                    self.fill(value, value.fill, node)
        if isinstance(value, ParameterValue) and module.spec is not None and name in ("weight", "bias"):
            for owner, _ in value.targets:
                if owner is not module:
                    owner.state["tied"] = module.state["tied"] = True
            module_notes.note_tie(self, module, name, value, node)
            self.fill(ParameterValue(((module, name),)), value.fill, node)
        if isinstance(value, SequenceValue | DictValue):
            module.element_sites[name] = self.site(node)
            if not value.items:
                value.box.setdefault("owners", []).append((module, name))
        elif isinstance(value, Tensor | Const | ParametersOf):
            module.element_sites[name] = self.site(node)
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
        text = self.file.text.segment(node)
        return ModeEntry(mode, self.site(node), text, False, self.assumptions(), self.mode_loops())

    def mode_loops(self) -> tuple[object, ...]:
        """The loops around what is running."""
        return tuple(loop for loop in self.loops if isinstance(loop, LoopRecord))

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
            key = ("truth", flag)
            site, text = self.site(node), self.file.text.segment(node)
            self.set_modes(
                module,
                [
                    ModeEntry(Mode.TRAIN, site, text, False, assumed | {(key, True)}, self.mode_loops()),
                    ModeEntry(Mode.EVAL, site, text, False, assumed | {(key, False)}, self.mode_loops()),
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
            if move is not None and move.may_be_other_than_cpu:
                part.state["left_cpu"] = move

    # ---------------------------------------------------------------- events

    def event(self, kind: EventKind, node: ast.AST, **details: object) -> None:
        """Note what happens in a loop."""
        text = self.file.text.segment(node) if hasattr(node, "lineno") else ""
        self.trace.append(EventRecord(kind, self.site(node), text, **details))  # type: ignore[arg-type]

    # ---------------------------------------------------------------- layers

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
        result = f"{short_name(module)}({', '.join(parts)})"
        module.state["text"] = result
        return result

    def call_loss(self, module: ModuleValue | None, name: str | None, call: CallArguments, node: ast.AST) -> Value:
        raise NotImplementedError


def copied_tensor(value: Tensor) -> Tensor:
    return Tensor(
        value.kind, value.maker, value.maker_site, value.trail, value.producer, value.producer_text, value.forwards,
        value.losses, value.origin, value.device, value.classes, value.softmax_dim, None, False, value.model,
        value.model_site, value.text, value.comparison, nature=value.nature, node=value.node,
        sizes=value.sizes, scaler=value.scaler, weighed=value.weighed, reach=value.reach,
    )  # fmt: skip


def short_name(module: ModuleValue) -> str:
    return module.name.rpartition(".")[2]


def short_text(module: ModuleValue) -> str:
    name = short_name(module)
    return f"nn.{name}" if module.cls is None else name


__all__ = ["BoundMethod", "Modules", "RangeValue"]
