"""Weights that start with equal units, read once at the first forward of a root and again after its third pass.

The first four numbers of each row say which layers are worth a closer look: in a random matrix no two rows agree in
them. What is kept of a suspect is its place in the model, the numbers of equal rows and a sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from modellint.facts.model import LayerRef
from modellint.facts.parameter_fill import FilledLayer, FillPattern, ParameterFill
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.runtime import definitions, graph
from modellint.runtime.models import layer_ref, model_ref
from modellint.runtime.observer import Observer
from modellint.runtime.session import ModuleCall, ModuleRecord, OptimizerRecord, ParameterRecord, RootRecord, Window
from modellint.runtime.value_read import may_compare, numbers, reading

_PASSES = 3
"""After so many passes the rows are looked at again."""
_COLUMNS = 4
_FACTORS = (1_000_003, 15_485_863, 32_452_843, 49_979_687)
"""Primes, one for each column."""
_MOST_COPIES = 256
_MOST_NUMBERS = 1 << 24
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_LAYERS = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.RNNBase, nn.RNNCellBase)


@dataclass(slots=True, eq=False)
class _Suspect:
    """One weight whose units started alike."""

    record: ModuleRecord
    parameter: ParameterRecord
    name: str
    pattern: FillPattern
    value: float
    depthwise: bool
    bias_set_per_unit: bool
    tied: bool
    copies: tuple[tuple[int, ...], ...] = ()
    sums: tuple[float, ...] = ()
    trained: bool = False
    """An optimizer that holds it has stepped on a gradient of it."""
    passes: int = 0
    kept: bool | None = None
    """Its rows are still alike."""
    stuck: bool = False
    """They are still zero."""
    producers: set[str] = field(default_factory=set)
    """Paths of the weight layers that feed it."""


@dataclass(slots=True, eq=False)
class _Start:
    """What is known of the start of one root."""

    root: RootRecord
    suspects: list[_Suspect]
    layers: dict[str, ModuleRecord]
    """All its weight layers by path."""
    called: list[str] = field(default_factory=list)
    """Paths of those that its first forward called, in this order."""
    watched_call: int = 0


class ParameterFillObserver(Observer):
    """Makes a ParameterFill of the layers of a trained root that start alike in the same way."""

    makes = (ParameterFill,)

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self._starts: dict[int, _Start] = {}

    def root_registered(self, root: RootRecord, module: nn.Module) -> None:
        layers = {r.path: r for r in root.modules if issubclass(r.cls, _LAYERS)}
        rows: list[tuple[ModuleRecord, nn.Module, str, torch.Tensor]] = []
        hidden = False
        for record in layers.values():
            layer = record.ref()
            for name, parameter in layer._parameters.items() if layer is not None else ():
                if layer is None or parameter is None or "weight" not in name or not parameter.requires_grad:
                    continue
                if isinstance(parameter, nn.parameter.UninitializedParameter) or not may_compare(parameter):
                    hidden = True
                elif parameter.dim() >= 2:
                    rows.append((record, layer, name, _rows(layer, parameter)))
        if hidden:
            self.session.out_of_sight(root.text(), "weights that cannot be read at the first forward", *_RULES)
        with reading():
            suspects = [one for one in (_suspect(root, *row) for row in _alike(rows)) if one is not None]
        if suspects:
            self._starts[root.key] = _Start(root, suspects, layers)

    def module_begins(self, call: ModuleCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not self._starts or call.record is None:
            return
        start = self._starts.get(call.root_call.root.key)
        if start is None or not call.root_call.training or call.path not in start.layers:
            return
        start.watched_call = start.watched_call or call.root_call.number
        if start.watched_call != call.root_call.number:
            return
        start.called.append(call.record.path)
        for suspect in start.suspects:
            if suspect.record is call.record and not suspect.value and suspect.pattern is FillPattern.CONSTANT:
                suspect.producers |= _producers(args, start)

    def pass_ended(self, root: RootRecord, record: OptimizerRecord, window: Window) -> None:
        start = self._starts.get(root.key)
        if start is None:
            return
        for suspect in start.suspects:
            weight = suspect.parameter.ref()
            if weight is None or suspect.kept is not None or suspect.parameter.key not in window.accumulated:
                continue
            suspect.trained = suspect.trained or record.holds(weight)
            if record.holds(weight) and _learns(record, weight):
                suspect.passes += 1
                if suspect.passes >= _PASSES and may_compare(weight):
                    _look_again(suspect, weight)

    def facts(self) -> Iterator[object]:
        for start in self._starts.values():
            root = start.root
            if not root.steps:
                continue
            if root.opaque or not start.called:
                self.session.out_of_sight(root.text(), "its forward is not seen layer by layer", *_RULES)
                continue
            nonzero = [s for s in start.suspects if s.pattern is not FillPattern.COPIED_ROWS and s.value]
            groups: dict[tuple[FillPattern, float], list[_Suspect]] = {}
            for suspect in nonzero:
                groups.setdefault((suspect.pattern, suspect.value), []).append(suspect)
            for members in groups.values():
                yield from self._fact(start, members, nonzero)
            zeros = [s for s in start.suspects if s.pattern is FillPattern.CONSTANT and not s.value]
            yield from self._zeros(start, zeros)
            for suspect in start.suspects:
                if suspect.pattern is FillPattern.COPIED_ROWS and suspect.kept:
                    yield from self._fact(start, [suspect], [suspect])

    def _zeros(self, start: _Start, zeros: list[_Suspect]) -> Iterator[ParameterFill]:
        """Zero layers count only where no step moves them: the whole model, or one behind the other."""
        called = set(start.called)
        seen = [s for s in zeros if s.record.path in called]
        if any(s.kept is None for s in seen) and len(seen) > 1:
            self.session.out_of_sight(start.root.text(), "fewer than three passes after a zero start", *_RULES)
        if seen and {s.record.path for s in seen} == called and len(called) > 1:
            if any(s.kept for s in seen):
                yield from self._fact(start, seen, seen)
            return
        stuck = {s.record.path: s for s in seen if s.stuck}
        series = [s for s in stuck.values() if s.producers & stuck.keys()]
        behind = {path for s in series for path in s.producers & stuck.keys()}
        members = [s for s in seen if s in series or s.record.path in behind]
        if members:
            yield from self._fact(start, members, members, in_series=True)

    def _fact(
        self, start: _Start, members: list[_Suspect], filled: list[_Suspect], *, in_series: bool = False
    ) -> Iterator[ParameterFill]:
        root, first = start.root, members[0]
        place = _place(self, start, members)
        if place is None:
            return
        last = start.called[-1]
        paths = {s.record.path for s in filled}
        others = [start.layers[path] for path in dict.fromkeys(start.called) if path not in paths]
        seen = [s.kept for s in members if s.record.path in start.called]
        kept = None if not seen or any(one is None for one in seen) else any(seen)
        yield ParameterFill(
            place=place,
            text="",
            value=first.value,
            model=model_ref(self.session, root, complete=True),
            layers=tuple(self._layer(start, suspect, last) for suspect in members),
            others=tuple(self._ref(start, record) for record in others),
            applied_place=None,
            trained=True,
            trained_place=None,
            overwritten=(),
            in_test_suite=False,
            pattern=first.pattern,
            kept=kept,
            in_series=in_series,
            copies=sum(len(group) - 1 for group in first.copies),
            run=RunEvidence(
                times=max(s.passes for s in members) if kept else 0,
                watched=max(s.passes for s in members),
                first_step=root.first_step,
                root=root.key,
            ),
        )

    def _layer(self, start: _Start, suspect: _Suspect, last: str) -> FilledLayer:
        return FilledLayer(
            ref=self._ref(start, suspect.record),
            parameter=suspect.name,
            called=suspect.record.path in start.called,
            frozen=suspect.tied or not suspect.trained,
            depthwise=suspect.depthwise,
            last=suspect.record.path == last,
            bias_set_per_unit=suspect.bias_set_per_unit,
        )

    def _ref(self, start: _Start, record: ModuleRecord) -> LayerRef:
        return layer_ref(self.session, start.root, record)


_RULES = ("constant-weight-init", "symmetric-units")


def _rows(layer: nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """One row a unit."""
    transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
    return (weight.detach().transpose(0, 1) if transposed else weight.detach()).flatten(1)


def _alike(
    rows: Sequence[tuple[ModuleRecord, nn.Module, str, torch.Tensor]],
) -> Iterator[tuple[ModuleRecord, nn.Module, str, torch.Tensor]]:
    """The weights of which two rows begin alike, or whose only row may be zero; one transfer a device."""
    starts: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for index, (*_, units) in enumerate(rows):
        starts.setdefault((units.device, units.dtype), []).append(index)
    found: list[int] = []
    for indices in starts.values():
        heads = [rows[index][3][:, :_COLUMNS] for index in indices]
        flat = torch.cat([nn.functional.pad(head, (0, _COLUMNS - head.shape[1])) for head in heads])
        # Whole numbers: equal rows give equal sums whatever the order of the additions.
        bits = (flat.cpu().float() + 0.0).view(torch.int32).to(torch.int64)
        sums = (bits * torch.tensor(_FACTORS, device="cpu")).sum(1)
        sizes = [head.shape[0] for head in heads]
        layers = torch.arange(len(sizes), device="cpu").repeat_interleave(torch.tensor(sizes, device="cpu"))
        keys = sums + _FACTORS[0] * layers
        if 1 not in sizes and _distinct(keys) == len(keys):
            continue
        first = 0
        for index, size in zip(indices, sizes, strict=True):
            own = sums[first : first + size]
            if _distinct(own) < size or (size == 1 and not own.any()):
                found.append(index)
            first += size
    return (rows[index] for index in sorted(found))


def _distinct(values: torch.Tensor) -> int:
    found: torch.Tensor = torch.unique(values)
    return found.numel()


def _suspect(
    root: RootRecord, record: ModuleRecord, layer: nn.Module, name: str, rows: torch.Tensor
) -> _Suspect | None:
    parameter = layer._parameters[name]
    known = root.parameter(parameter) if parameter is not None else None
    if known is None:
        return None
    equal, low, high = numbers([(rows == rows[:1]).all(), rows.amin(), rows.amax()])
    tied = sum(known in other.own for other in root.modules) > 1
    groups = getattr(layer, "groups", 1)
    depthwise = isinstance(groups, int) and groups > 1 and (
        groups == getattr(layer, "in_channels", 0) or groups == getattr(layer, "out_channels", 0)
    )  # fmt: skip
    suspect = _Suspect(
        record=record,
        parameter=known,
        name=name,
        pattern=FillPattern.CONSTANT if low == high else FillPattern.EQUAL_ROWS,
        value=low if low == high else math.nan,
        depthwise=depthwise,
        bias_set_per_unit=_bias_set_per_unit(layer, rows),
        tied=tied,
    )
    if equal:
        return suspect if rows.shape[0] > 1 or low == high == 0 else None
    if tied or groups != 1 or isinstance(layer, nn.RNNBase | nn.RNNCellBase) or rows.numel() > _MOST_NUMBERS:
        return None
    suspect.pattern, suspect.copies = FillPattern.COPIED_ROWS, _copies(rows)
    suspect.sums = tuple(_sums(rows, suspect.copies))
    return suspect if suspect.copies else None


def _copies(rows: torch.Tensor) -> tuple[tuple[int, ...], ...]:
    """The numbers of rows that are equal and not zero."""
    own = rows.cpu()
    _, inverse, counts = torch.unique(own, dim=0, return_inverse=True, return_counts=True)
    groups: dict[int, list[int]] = {}
    several = (counts > 1)[inverse] & own.any(dim=1)
    for index in several.nonzero().flatten().tolist()[:_MOST_COPIES]:
        groups.setdefault(int(inverse[index]), []).append(index)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _sums(rows: torch.Tensor, copies: Sequence[Sequence[int]]) -> list[float]:
    return numbers([rows[group[0]].float().sum() for group in copies])


def _bias_set_per_unit(layer: nn.Module, rows: torch.Tensor) -> bool:
    """Larger than torch's own random bias and not the same everywhere: somebody set it unit by unit."""
    bias = layer._parameters.get("bias")
    if bias is None or not may_compare(bias):
        return False
    low, high = numbers([bias.detach().amin(), bias.detach().amax()])
    return low != high and max(-low, high) > 1.001 / math.sqrt(rows.shape[1])


def _look_again(suspect: _Suspect, weight: torch.Tensor) -> None:
    layer = suspect.record.ref()
    if layer is None:
        return
    with reading():
        rows = _rows(layer, weight)
        if suspect.pattern is not FillPattern.COPIED_ROWS:
            equal, moved = numbers([(rows == rows[:1]).all(), rows.any()])
            suspect.kept, suspect.stuck = bool(equal), not moved
            return
        sums = _sums(rows, suspect.copies)
        left = [
            group
            for group, before, now in zip(suspect.copies, suspect.sums, sums, strict=True)
            # Rows that never move are dead, not copies.
            if before != now and bool((rows[list(group)] == rows[group[0]]).all())
        ]
        suspect.copies, suspect.kept = tuple(left), bool(left)


def _learns(record: OptimizerRecord, weight: torch.Tensor) -> bool:
    """The optimizer gives it a learning rate above zero (a warm-up begins with zero)."""
    optimizer = record.ref()
    for group in optimizer.param_groups if optimizer is not None else ():
        if any(one is weight for one in group["params"]):
            rate = group.get("lr", 1.0)
            return isinstance(rate, torch.Tensor) or rate > 0
    return False


def _producers(args: tuple[Any, ...], start: _Start) -> set[str]:
    """The weight layers whose outputs feed these arguments, through everything that is none."""
    found: set[str] = set()
    open_nodes = [tensor.grad_fn for tensor in graph.tensors_in(args) if tensor.grad_fn is not None]
    seen = 0
    while open_nodes and seen < graph.MOST_NODES:
        node, seen = open_nodes.pop(0), seen + 1
        tag = graph.tag_of(node)
        if tag is not None and tag[0] in start.layers:
            found.add(tag[0])
            continue
        open_nodes += [behind for behind, _ in node.next_functions if behind is not None]
    return found


def _place(observer: Observer, start: _Start, members: Sequence[_Suspect]) -> Span | None:
    """The layer's definition; of several in one container the container's."""
    root = start.root
    counted = [s.record for s in members if s.record.path in start.called] or [s.record for s in members]
    path = counted[0].path
    if len(counted) > 1:
        around = [r for r in root.modules if r.path and all(c.path.startswith(r.path + ".") for c in counted)]
        container = max(around, key=lambda r: len(r.path), default=None)
        if container is not None and issubclass(container.cls, _CONTAINERS):
            path = container.path
    found = definitions.place_of(observer.session, root, path)
    if found is None and root.site is not None:
        found = root.site.span()
    return found
