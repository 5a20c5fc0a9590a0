"""What is noted about modules while the interpreter runs: attributes set on them, layers built, copies that are none.

Kept apart from the layers that do the work, which call one function here each. Nothing is judged, and nothing that
costs is computed: the readers do that after the run.
"""

from __future__ import annotations

import ast
from dataclasses import field
from functools import cache
from typing import TYPE_CHECKING

from modellint.facts.record import slotted
from modellint.source.interpreter.alias_notes import RepeatRecord
from modellint.source.interpreter.values import (
    Const,
    LazyImport,
    ModuleValue,
    ParameterValue,
    SequenceValue,
    Site,
    Tensor,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from modellint.source.interpreter.expressions import CallArguments
    from modellint.source.interpreter.machine import Machine

FLAG = "requires_grad"
_LETTERS_OFF = 2


@slotted
class FlagRecord:
    """`target.require_grad = value`, or `requires_grad` on a module."""

    site: Site
    """`target.require_grad`."""
    name: str
    target: Value
    value: Value
    known_child: bool = False
    """The target is a layer that the class of a library is known to have."""


@slotted
class TensorMark:
    """A tensor that requires a gradient, or was computed from a parameter that nobody keeps."""

    value: Value
    """Kept, so that its identity stays its own."""
    site: Site
    leaf: bool


@slotted
class BuiltRecord:
    """A layer that a running forward constructs."""

    module: ModuleValue
    site: Site
    owner: ModuleValue | None
    """The module whose forward runs."""
    chain: tuple[tuple[ast.AST, ast.AST], ...]
    """From the construction out to the forward: a function, and the node in it that leads here."""
    function: str
    framework: str | None


@slotted
class TieRecord:
    """`owner.name = other.other_name`: two layers share a parameter."""

    owner: ModuleValue
    name: str
    other: ModuleValue
    other_name: str
    site: Site


@slotted
class UntiedRecord:
    """What replaced one side of a tie."""

    site: Site
    text: str
    root: ModuleValue
    root_text: str


@slotted
class ModuleNotes:
    """All of one entry point."""

    flags: dict[ast.AST, FlagRecord] = field(default_factory=dict)
    marks: dict[int, TensorMark] = field(default_factory=dict)
    """By identity of the tensor."""
    with_axes: dict[int, Value] = field(default_factory=dict)
    """Tensors that were created with at least one axis, by identity."""
    registered: dict[int, Value] = field(default_factory=dict)
    """Fresh parameters that became an attribute of some module, by identity."""
    built: list[BuiltRecord] = field(default_factory=list)
    norms: list[ModuleValue] = field(default_factory=list)
    """Norms that were given a momentum."""
    repeats: list[RepeatRecord] = field(default_factory=list)
    filled: dict[int, tuple[ModuleValue, int]] = field(default_factory=dict)
    """Modules that one container holds more than once, by identity: the container, and how often."""
    lists: list[tuple[Site, tuple[str, ...], SequenceValue]] = field(default_factory=list)
    """Lists that have two names."""
    holders: dict[int, list[ModuleValue]] = field(default_factory=dict)
    """The containers that were filled with a module, by its identity."""
    ties: list[TieRecord] = field(default_factory=list)


# ---------------------------------------------------------------- requires_grad


@cache
def is_flag(name: str) -> bool:
    """`requires_grad`, or something within two letters of it."""
    if not len(FLAG) - _LETTERS_OFF <= len(name) <= len(FLAG) + _LETTERS_OFF:
        return False
    before = list(range(len(FLAG) + 1))
    for row, letter in enumerate(name, start=1):
        now = [row]
        for column, other in enumerate(FLAG, start=1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (letter != other)))
        before = now
    return before[-1] <= _LETTERS_OFF


_LIBRARY_LAYERS = frozenset(
    ["features", "classifier", "layer1", "layer2", "layer3", "layer4", "conv1", "bn1", "avgpool", "backbone", "heads"]
)
"""Attributes of the models of torchvision that are modules, whatever the model."""


def note_flag(machine: Machine, target: Value, name: str, value: Value, node: ast.AST) -> None:
    """An attribute that is, or looks like, `requires_grad` is set."""
    if name == FLAG and isinstance(target, Tensor) and isinstance(value, Const) and value.value is True:
        mark(machine, target, node, leaf=True)
    if name == FLAG and isinstance(target, ParameterValue | Tensor):
        return
    known_child = False
    if isinstance(target, Unknown) and isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
        owner = machine_value(machine, node.value.value)
        known_child = (
            isinstance(owner, ModuleValue)
            and owner.known_library is not None
            and node.value.attr in (*_LIBRARY_LAYERS, "fc")
        )
        target = owner if known_child and owner is not None else target
    if name == FLAG and not isinstance(target, ModuleValue):
        return
    machine.records.module_notes.flags[node] = FlagRecord(machine.site(node), name, target, value, known_child)


def machine_value(machine: Machine, node: ast.AST) -> Value | None:
    """What a plain name, or `self.name`, is bound to: read without running anything."""
    if isinstance(node, ast.Name):
        scope = machine.frames[-1].scope if machine.frames else None
        while scope is not None:
            value = scope.names.get(node.id)
            if value is not None:
                return value.value() if isinstance(value, LazyImport) else value
            scope = scope.parent
        return None
    if isinstance(node, ast.Attribute):
        owner = machine_value(machine, node.value)
        attrs = getattr(owner, "attrs", None)
        value = attrs.get(node.attr) if isinstance(attrs, dict) else None
        return value if isinstance(value, Value) else None
    return None


# ---------------------------------------------------------------- tensors that require a gradient


def mark(machine: Machine, tensor: Value, node: ast.AST, *, leaf: bool) -> None:
    """Remember a tensor that requires a gradient."""
    if hasattr(node, "lineno"):
        machine.records.module_notes.marks[id(tensor)] = TensorMark(tensor, machine.site(node), leaf)


_ALWAYS_AXES = frozenset({
    "arange", "linspace", "logspace", "eye", "randperm", "hann_window", "hamming_window", "from_numpy", "tril",
    "triu",
})  # fmt: skip


def note_created(machine: Machine, tensor: Value, name: str, call: CallArguments) -> None:
    """`torch.ones(8, requires_grad=True)`, or a constant with at least one axis."""
    wanted = call.keywords.get(FLAG)
    if wanted is not None and isinstance(wanted, Const) and wanted.value is True:
        mark(machine, tensor, call.node, leaf=True)
    last = name.rpartition(".")[2]
    first = call.positional[0] if call.positional else None
    if isinstance(first, SequenceValue):
        axes = bool(first.items)
    else:
        axes = last in _ALWAYS_AXES or (first is not None and last in ("zeros", "ones", "rand", "randn", "empty"))
    if axes and isinstance(tensor, Tensor):
        machine.records.module_notes.with_axes[id(tensor)] = tensor


_RESULTS = frozenset({
    "to", "cuda", "half", "double", "view", "view_as", "reshape", "flatten", "unflatten", "t", "transpose",
    "permute", "unsqueeze", "squeeze", "expand", "repeat", "clone", "mul", "div", "add", "sub", "abs", "exp",
    "sigmoid", "tanh", "softmax", "repeat_interleave",
})  # fmt: skip
"""Methods whose result is another tensor than the parameter itself; `float()` and `contiguous()` may give it back."""


def result_of_parameter(
    machine: Machine, value: ParameterValue, name: str, call: CallArguments, node: ast.AST
) -> Tensor | None:
    """`nn.Parameter(...).cuda()`: a result, no parameter. None for what may give the parameter itself."""
    if value.targets or name not in _RESULTS or not value.trainable:
        return None
    if name == "to":
        target = call.get(0, "device")
        device = machine.device_of(target)  # type: ignore[attr-defined]
        if target is None or (device is not None and not device.may_be_other_than_cpu):
            return None
        if device is None and not isinstance(target, Unknown):
            return None
    result = Tensor()
    mark(machine, result, node, leaf=False)
    return result


def note_operation(machine: Machine, node: ast.AST, left: Value, right: Value) -> Tensor | None:
    """`nn.Parameter(...) * 0.1`: the tensor that it gives, None where no fresh parameter takes part."""
    for value, other in ((left, right), (right, left)):
        if isinstance(value, ParameterValue) and not value.targets and value.trainable and isinstance(other, Const):
            result = Tensor()
            mark(machine, result, node, leaf=False)
            return result
    return None


# ---------------------------------------------------------------- layers built in a forward


def note_built(machine: Machine, module: ModuleValue, node: ast.AST) -> None:
    """A layer is constructed while a forward runs."""
    chain: list[tuple[ast.AST, ast.AST]] = []
    inner = node
    stack = machine.forwards[-1].stack
    for frame in reversed(machine.frames):
        if frame.function is None or (frame.module is not None and frame.module.constructing):
            return
        chain.append((frame.function.node, inner))
        if frame.name in ("forward", "__call__") and frame.module is not None and frame.module in stack:
            machine.records.module_notes.built.append(
                BuiltRecord(
                    module, machine.site(node), frame.module, tuple(chain), machine.frames[-1].name,
                    machine.framework(),  # type: ignore[attr-defined]
                )
            )  # fmt: skip
            return
        if frame.site is None:
            return
        inner = frame.site.node


# ---------------------------------------------------------------- ties


def note_tie(machine: Machine, owner: ModuleValue, name: str, value: ParameterValue, node: ast.AST) -> None:
    """A parameter of one layer becomes that of another."""
    if len(value.targets) != 1:
        return
    other, other_name = value.targets[0]
    if other is not owner and "." not in other_name and other_name != "*":
        machine.records.module_notes.ties.append(TieRecord(owner, name, other, other_name, machine.site(node)))
        machine.put(owner.state, f"untied:{name}", None)
        machine.put(other.state, f"untied:{other_name}", None)


def untie(machine: Machine, module: ModuleValue, node: ast.AST) -> None:
    """Every parameter below a module is replaced by another one: `to_empty`, `load_state_dict(assign=True)`."""
    for tie in machine.records.module_notes.ties:
        below = module.walk_values()
        if tie.owner in below and tie.other in below:
            text = machine.file.text.segment(node)
            receiver = node.func.value if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else node
            machine.put(
                tie.owner.state,
                f"untied:{tie.name}",
                UntiedRecord(machine.site(node), text, module, machine.file.text.segment(receiver)),
            )
