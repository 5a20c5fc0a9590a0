"""Layers that one forward calls more than once: what each call gets its input from, and how far those inputs differ.

Of interest are norms that keep running statistics and PReLU: one object serves all places where it stands. The
statistics of a norm's inputs are read only once a forward has called it twice, in three forwards at most.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from modellint.runtime import graph, torch_internals
from modellint.runtime.call_site import Site, capture
from modellint.runtime.models import tracks_statistics
from modellint.runtime.session import ModuleCall, ModuleRecord, RootCall, RootRecord
from modellint.runtime.value_read import may_read, reading

_MOST_CALLS = 8
"""Of one layer in one forward, compared with each other."""
_MOST_PATTERNS = 3
_MOST_READS = 3
_RECURRENCE_NODES = 256
_SURE = 4.0
"""So many standard errors away from chance: the largest of a thousand channels stays below."""
_PIXELS = 4
"""What the pixels of one sample count for: they are alike, the samples of a batch are not."""


@dataclass(slots=True, eq=False)
class Use:
    """One call of such a layer."""

    site: Site | None
    layers: frozenset[str]
    """What made its input: paths of layers, or names of parameters; empty where that was no layer."""
    inputs: frozenset[int]
    """Positions of the arguments of forward that it was given as they are."""
    unseen: bool
    """Something without a graph took part."""
    graph: bool
    """The origin comes from the graph, not from the identity of the input."""
    size: tuple[int, ...]
    own_input: bool
    after_itself: bool

    @property
    def known(self) -> bool:
        return bool(self.layers or self.inputs)


@dataclass(slots=True, eq=False)
class Gap:
    """How far apart two inputs of one norm are, at the channel where they differ most."""

    gap: float = 0.0
    difference: float = 0.0
    std: float = 0.0
    variance_ratio: float = 1.0


@dataclass(slots=True, eq=False)
class Shared:
    """One layer that a forward called more than once."""

    root: RootRecord
    record: ModuleRecord
    norm: bool
    first_step: int
    forwards: int = 0
    calls: int = 0
    patterns: list[list[Use]] = field(default_factory=list)
    """The calls of the first such forwards."""
    statistics: list[torch.Tensor] = field(default_factory=list)
    """Of the forwards that were read: (calls, 2, channels) means and variances, on the CPU."""
    samples: float = 0.0
    """How many independent values stand behind each mean, all forwards together."""

    def gap(self, first: int, second: int) -> Gap | None:
        """The measured gap between two calls of one forward, as far as it is not chance; None when not measured."""
        if not self.statistics or max(first, second) >= self.statistics[0].shape[0] or not self.samples:
            return None
        with reading():
            means, variances = torch.stack(self.statistics).mean(0).unbind(1)
            one, two = variances[first].clamp_min(1e-12), variances[second].clamp_min(1e-12)
            difference = (means[first] - means[second]).abs()
            spread = (one + two).sqrt()
            far = difference / spread
            far = torch.where(far > _SURE / math.sqrt(self.samples), far, torch.zeros_like(far)).nan_to_num(0.0)
            ratio = (one / two).log().abs()
            ratio = torch.where(ratio > _SURE * 2 / math.sqrt(self.samples), ratio, torch.zeros_like(ratio))
            channel = int(far.argmax())
            return Gap(
                float(far[channel]),
                float(difference[channel]),
                float(spread[channel]) / math.sqrt(2),
                math.exp(min(float(ratio.nan_to_num(0.0).max()), 50.0)),
            )


class SharedLayers:
    """Notes the calls of norms and PReLUs in the traced forwards of training."""

    def __init__(self) -> None:
        self.shared: dict[tuple[int, int], Shared] = {}
        """By the keys of root and layer."""
        self.forwards: dict[int, int] = {}
        """Traced training forwards by root."""
        self._kinds: dict[type, int] = {}
        self._wanted: dict[int, bool] = {}
        self._call = 0
        """The number of the root call that is followed, 0 for none."""
        self._uses: dict[int, list[Use]] = {}
        self._statistics: dict[int, list[tuple[torch.Tensor, float]]] = {}
        self._arguments: dict[int, tuple[weakref.ref[torch.Tensor], int]] = {}
        self._made: dict[int, tuple[weakref.ref[torch.Tensor], frozenset[str]]] = {}
        """Outputs without a graph, and the layers that made them."""
        self._given: dict[int, tuple[bool, int]] = {}
        """Of each module call: whether its first tensor is an argument of forward, and how many it was given."""

    def root_begins(self, call: RootCall) -> None:
        self._forget()
        root = call.root
        if not (call.detail and call.training and call.grad):
            return
        self.forwards[root.key] = self.forwards.get(root.key, 0) + 1
        wanted = self._wanted.get(root.key)
        if wanted is None:
            wanted = self._wanted[root.key] = any(self._kind(record.cls) for record in root.modules)
        if wanted:
            self._call = call.number

    def begins(self, call: ModuleCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        if call.root_call.number != self._call:
            return
        if call.path == "":
            self._arguments = {
                id(tensor): (weakref.ref(tensor), position)
                for position, tensor in enumerate(graph.tensors_in(args, most=16))
                if torch_internals.is_plain(tensor)
            }
            return
        tensors = list(graph.tensors_in(args, most=4))
        self._given[call.ordinal] = (bool(tensors) and self._argument(tensors[0]) is not None, len(tensors))
        kind = self._kind(type(module))
        if not kind or call.record is None or not tensors or not torch_internals.is_plain(tensors[0]):
            return
        if kind == _NORM:
            if not (call.training and tracks_statistics(module)) or getattr(module, "momentum", None) == 0.0:
                return
        elif not any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
            return
        uses = self._uses.setdefault(call.key, [])
        if len(uses) < _MOST_CALLS:
            uses.append(self._use(call, tensors[0], repeated=bool(uses)))
        if kind == _NORM:
            self._read(call, module, tensors[0])

    def ends(self, call: ModuleCall, args: tuple[Any, ...], output: Any) -> None:
        """Remember which layers made an output that has no graph, of a frozen part for example."""
        if call.root_call.number != self._call or not isinstance(output, torch.Tensor) or output.grad_fn is not None:
            return
        if call.record is None or not torch_internals.is_plain(output):
            return
        if call.record.own:
            origin: frozenset[str] | None = frozenset((call.record.path,))
        else:
            before = next(graph.tensors_in(args, most=1), None)
            origin = self._made_by(before) if before is not None else None
        if origin is not None and self._made_by(output) is None:
            self._made[id(output)] = (weakref.ref(output), origin)

    def root_ends(self, call: RootCall, output: Any) -> None:
        """Keep what was called twice."""
        if call.number != self._call:
            return
        for key, uses in self._uses.items():
            if len(uses) < 2 or output is None:
                continue
            record = call.root.by_id.get(key)
            if record is None:
                continue
            known = self.shared.get((call.root.key, key))
            if known is None or known.record is not record:
                norm = self._kind(record.cls) == _NORM
                known = self.shared[call.root.key, key] = Shared(call.root, record, norm, call.step)
            known.forwards += 1
            known.calls += len(uses)
            if len(known.patterns) < _MOST_PATTERNS:
                known.patterns.append(uses)
            self._keep(known, self._statistics.get(key, []))
        self._forget()

    def _forget(self) -> None:
        self._call = 0
        self._uses, self._statistics, self._arguments, self._made, self._given = {}, {}, {}, {}, {}

    def _kind(self, cls: type) -> int:
        kind = self._kinds.get(cls)
        if kind is None:
            norm = issubclass(cls, nn.modules.batchnorm._NormBase)
            kind = self._kinds[cls] = _NORM if norm else _SLOPE if issubclass(cls, nn.PReLU) else 0
        return kind

    # Where an input comes from

    def _use(self, call: ModuleCall, tensor: torch.Tensor, *, repeated: bool) -> Use:
        site = capture(3)
        around = list(_around(call))
        own_input = any(self._given.get(entry.ordinal, (False, 0))[0] for entry in around)
        layers: frozenset[str] = frozenset()
        inputs: frozenset[int] = frozenset()
        unseen = after_itself = False
        argument = self._argument(tensor)
        node = tensor.grad_fn
        if argument is not None:
            inputs = frozenset((argument,))
        elif node is None:
            layers = self._made_by(tensor) or frozenset()
        else:
            found = graph.behind(node, call.root_call.number)
            if found is not None:
                unseen = found.unseen
                leaves = [self._leaf(call.root_call.root, leaf) for leaf in found.leaves]
                if None not in leaves:
                    layers = found.layers | {leaf for leaf in leaves if isinstance(leaf, str)}
                    inputs = frozenset(leaf for leaf in leaves if isinstance(leaf, int))
            joins = len(layers) > 1 or any(self._given.get(entry.ordinal, (False, 0))[1] > 1 for entry in around)
            if repeated and joins and call.record is not None:
                tags, _ = graph.tags_behind([node], call.root_call.number, _RECURRENCE_NODES)
                after_itself = call.record.path in tags
        return Use(site, layers, inputs, unseen, node is not None, tuple(tensor.shape[2:]), own_input, after_itself)

    def _argument(self, tensor: torch.Tensor) -> int | None:
        known = self._arguments.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else None

    def _made_by(self, tensor: torch.Tensor) -> frozenset[str] | None:
        known = self._made.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else None

    def _leaf(self, root: RootRecord, leaf: torch.Tensor) -> str | int | None:
        parameter = root.parameter(leaf)
        return parameter.name if parameter is not None else self._argument(leaf)

    # What an input looks like

    def _read(self, call: ModuleCall, module: nn.Module, tensor: torch.Tensor) -> None:
        known = self.shared.get((call.root_call.root.key, call.key))
        if known is None or len(known.statistics) >= _MOST_READS or tensor.dim() < 2 or not may_read(tensor):
            return
        channels = getattr(module, "num_features", None)
        taken = self._statistics.setdefault(call.key, [])
        if tensor.shape[1] != channels or len(taken) >= _MOST_CALLS:
            return
        with reading():
            values = tensor.detach()
            values = values if values.dtype is torch.float64 else values.float()
            dimensions = [0, *range(2, values.dim())]
            variance, mean = torch.var_mean(values, dim=dimensions, correction=0)
            pixels = math.prod(tensor.shape[2:])
            taken.append((torch.stack((mean, variance)), tensor.shape[0] * min(pixels, _PIXELS)))

    def _keep(self, known: Shared, taken: list[tuple[torch.Tensor, float]]) -> None:
        if len(taken) < 2:
            return
        with reading():
            values = torch.stack([value for value, _ in taken]).cpu().double()
        if known.statistics and known.statistics[0].shape != values.shape:
            known.statistics, known.samples = [], 0.0
        known.statistics.append(values)
        known.samples += min(samples for _, samples in taken)


_NORM, _SLOPE = 1, 2


def _around(call: ModuleCall) -> Iterator[ModuleCall]:
    """The call and the module calls around it, without the root's own."""
    entry: ModuleCall | None = call
    while entry is not None and entry.path != "":
        yield entry
        entry = entry.parent
