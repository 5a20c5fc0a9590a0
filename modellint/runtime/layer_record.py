"""Units behind ReLU, sigmoid and tanh over many batches, and layers that autocast did not reach.

Nothing is read while the training runs: the counts are added up where the values are, one small tensor a layer, and
read at the end. Values are looked at after twenty steps only: much that looks dead at the start is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from modellint.facts.layer_record import AutocastRecord, LayerRecord, UnitRecord
from modellint.facts.run_evidence import RunEvidence
from modellint.runtime import graph
from modellint.runtime.models import layer_ref, model_ref
from modellint.runtime.observer import Observer
from modellint.runtime.session import ModuleCall, ModuleRecord, RootCall, RootRecord, Session
from modellint.runtime.value_read import may_read, numbers, reading

FIRST_STEP = 20
"""Before it no value is looked at."""
FEWEST_BATCHES = 20

_ACTIVATIONS: Mapping[Callable[..., Any], str] = {
    F.relu: "relu",
    torch.relu: "relu",
    torch.relu_: "relu",
    torch.Tensor.relu: "relu",
    torch.Tensor.relu_: "relu",
    torch.sigmoid: "sigmoid",
    torch.Tensor.sigmoid: "sigmoid",
    torch.tanh: "tanh",
    torch.Tensor.tanh: "tanh",
}
_PRODUCTS: frozenset[Callable[..., Any]] = frozenset(
    {
        torch.mul, torch.multiply, torch.Tensor.mul, torch.Tensor.mul_, torch.Tensor.multiply, torch.Tensor.__rmul__,
        torch.lerp, torch.Tensor.lerp, torch.addcmul, torch.Tensor.addcmul,
    }
)  # fmt: skip
_STEEP = {"sigmoid": 0.499, "tanh": 0.9995}
"""How far from the middle the derivative falls below 0.001."""
_MOSTLY = 0.9
_MARK = "modellint activation"
_MOST_LINKS = 4
_LOOKED_THROUGH = ("View", "Unsqueeze", "Squeeze", "Reshape", "ToCopy", "Transpose", "Permute", "Expand", "Slice",
                   "Select", "Unbind", "Split", "Chunk")  # fmt: skip
_LAST_AXIS = (nn.Linear, nn.Bilinear, nn.LayerNorm)
_SECOND_AXIS = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)
_COMPUTES_LOW = (nn.Linear, nn.modules.conv._ConvNd)
"""What autocast gives to the faster dtype."""


@dataclass(slots=True, eq=False)
class _Units:
    """The counts behind one activation of one layer."""

    root: RootRecord
    record: ModuleRecord
    activation: str
    counts: torch.Tensor
    """Of each unit: how many values were not zero (relu), or lay where it is flat."""
    batches: int = 0
    values: int = 0
    call: int = 0
    """Number of the last root call that was counted."""
    weights_before: int = 0
    """How many layers with parameters had run in that call."""
    gate: bool = False
    last: bool = False
    first_step: int = 0


@dataclass(slots=True, eq=False)
class _Autocast:
    root: RootRecord
    record: ModuleRecord
    asked: str
    calls: int = 0
    missed: int = 0
    first_step: int = 0


class LayerRecordObserver(Observer):
    """Makes a LayerRecord of every layer with an activation, and of every layer that ran under autocast."""

    makes = (LayerRecord,)
    functions = frozenset(_ACTIVATIONS) | _PRODUCTS
    traced_windows = range(FIRST_STEP, FIRST_STEP + 40)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._units: dict[tuple[int, str, str], _Units] = {}
        self._autocast: dict[tuple[int, str], _Autocast] = {}
        self._weights = 0

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._weights = 0

    def module_ends(self, call: ModuleCall, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        record, root_call = call.record, call.root_call
        if record is None or not record.own or not (root_call.traced and root_call.training and call.grad):
            return
        self._weights += 1
        if isinstance(module, _COMPUTES_LOW) and isinstance(output, torch.Tensor):
            self._note_autocast(root_call, record, module, output)

    def _note_autocast(self, call: RootCall, record: ModuleRecord, module: nn.Module, output: torch.Tensor) -> None:
        device = output.device.type
        weight = module._parameters.get("weight")
        if weight is None or weight.dtype != torch.float32 or not torch.is_autocast_enabled(device):
            return
        asked = torch.get_autocast_dtype(device)
        if asked == torch.float32:
            return
        key = (call.root.key, record.path)
        known = self._autocast.setdefault(key, _Autocast(call.root, record, str(asked).removeprefix("torch.")))
        known.calls += 1
        node = output.grad_fn
        # Computed low and turned back on purpose: the last node is the copy.
        if output.dtype == torch.float32 and node is not None and "ToCopy" not in node.name():
            known.first_step = known.first_step if known.missed else self.session.steps
            known.missed += 1

    def function_called(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        call = self.session.root_call
        if call is None or not call.traced or not call.training or call.root.steps < FIRST_STEP:
            return
        if function in _PRODUCTS:
            self._note_gates(args)
            return
        if not isinstance(result, torch.Tensor) or result.grad_fn is None or not may_read(result):
            return
        record = _producer(result.grad_fn, call)
        axis = _unit_axis(record, result) if record is not None else None
        if record is not None and axis is not None:
            self._count(call, record, _ACTIVATIONS[function], result, axis)

    def _count(self, call: RootCall, record: ModuleRecord, activation: str, result: torch.Tensor, axis: int) -> None:
        key = (call.root.key, record.path, activation)
        with reading():
            values = result.detach().movedim(axis, 0).flatten(1)
            if activation == "relu":
                counted = (values != 0).sum(1)
            else:
                middle = 0.5 if activation == "sigmoid" else 0.0
                counted = ((values - middle).abs() > _STEEP[activation]).sum(1)
            known = self._units.get(key)
            if known is None or known.counts.shape != counted.shape or known.counts.device != counted.device:
                known = self._units[key] = _Units(
                    call.root, record, activation, torch.zeros_like(counted), first_step=self.session.steps
                )
            known.counts += counted
        known.values += values.shape[1]
        known.batches += known.call != call.number
        known.call, known.weights_before = call.number, self._weights
        if activation != "relu" and not known.gate:
            graph.metadata_of(result.grad_fn)[_MARK] = key

    def _note_gates(self, args: tuple[Any, ...]) -> None:
        for factor in args[:3]:
            node = factor.grad_fn if isinstance(factor, torch.Tensor) else None
            for _ in range(_MOST_LINKS):
                if node is None:
                    break
                known = self._units.get(graph.metadata_of(node).get(_MARK))  # type: ignore[arg-type]
                if known is not None:
                    known.gate = True
                    break
                node = node.next_functions[0][0] if node.name().startswith(_LOOKED_THROUGH) else None

    def root_ends(self, call: RootCall, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        for known in self._units.values():
            if known.call == call.number:
                known.last = known.weights_before == self._weights

    def facts(self) -> Iterator[object]:
        short = {u.root.key: u.root for u in self._units.values() if u.batches < FEWEST_BATCHES}
        seen = {u.root.key for u in self._units.values()}
        for root in (*short.values(), *(root for root in self.session.trained_roots() if root.key not in seen)):
            reason = f"its values were not seen in {FEWEST_BATCHES} batches after step {FIRST_STEP}"
            self.session.out_of_sight(root.text(), reason, "dead-units", "saturated-units")
        for known in self._units.values():
            if known.batches >= FEWEST_BATCHES:
                yield from self._fact(known, _unit_record(known), None)
        for autocast in self._autocast.values():
            asked = AutocastRecord(autocast.asked, autocast.missed, autocast.calls)
            yield from self._fact(autocast, None, asked)

    def _fact(
        self, known: _Units | _Autocast, units: UnitRecord | None, autocast: AutocastRecord | None
    ) -> Iterator[LayerRecord]:
        root, record = known.root, known.record
        layer = layer_ref(self.session, root, record)
        place = layer.place or (root.site.span() if root.site is not None else None)
        if place is None:
            return
        count = units.batches if units is not None else autocast.calls if autocast is not None else 0
        times = autocast.missed if autocast is not None else count
        what = "calls" if autocast is not None else "training batches"
        yield LayerRecord(
            place=place,
            model=model_ref(self.session, root, complete=not root.hidden(record.path)),
            layer=layer,
            frozen=not any(parameter.trainable for parameter in record.own),
            units=units,
            autocast=autocast,
            run=RunEvidence(times, count, known.first_step, what, root=root.key),
        )


def _producer(node: Any, call: RootCall) -> ModuleRecord | None:
    """The layer with parameters right before an activation, shape changes looked through."""
    for _ in range(_MOST_LINKS):
        following = node.next_functions
        node = following[0][0] if following else None
        if node is None:
            return None
        tag = graph.tag_of(node)
        if tag is not None:
            path = tag[0]
            return next((r for r in call.root.modules if r.path == path), None) if tag[1] == call.number else None
        if not node.name().startswith(_LOOKED_THROUGH):
            return None
    return None


def _unit_axis(record: ModuleRecord, result: torch.Tensor) -> int | None:
    """Which axis of the activation counts the layer's units; None where that is not sure."""
    layer = record.ref()
    if layer is None or result.dim() < 2:
        return None
    weight = layer._parameters.get("weight")
    units = getattr(layer, "out_features", getattr(layer, "out_channels", None))
    if units is None and weight is not None:
        units = weight.shape[-1]
    axis = -1 if isinstance(layer, _LAST_AXIS) else 1 if isinstance(layer, _SECOND_AXIS) else None
    return axis if axis is not None and result.shape[axis] == units and units > 1 else None


def _unit_record(known: _Units) -> UnitRecord:
    relu = known.activation == "relu"
    with reading():
        found = (known.counts == 0) if relu else (known.counts >= _MOSTLY * known.values)
        (count,) = numbers([found.sum()])
    return UnitRecord(
        activation=known.activation,
        units=known.counts.numel(),
        batches=known.batches,
        values=known.values,
        dead=int(count) if relu else 0,
        saturated=0 if relu else int(count),
        gate=known.gate,
        last=known.last,
    )
