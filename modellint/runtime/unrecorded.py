"""Training forwards of which autograd recorded nothing, so that no backward reaches the parameters.

Either the whole forward ran with gradients off: then a window holds forwards, a backward and a step, and not one
parameter of the root received a gradient. Or a reentrant checkpoint was given no input that requires a gradient: it
runs its layers with gradients off and counts on a second run in backward, which then never comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from modellint.facts.forward_use import ForwardUse, Mode, ModeState, Purpose, Unrecorded
from modellint.facts.run_evidence import RunEvidence
from modellint.runtime.call_site import Site
from modellint.runtime.checkpoint import checkpoint_site
from modellint.runtime.forward_fate import tensors_of
from modellint.runtime.models import layer_ref, model_ref
from modellint.runtime.observer import Observer
from modellint.runtime.root_use import run_use
from modellint.runtime.session import ModuleCall, ModuleRecord, OptimizerRecord, RootCall, RootRecord, Session, Window

_FEWEST = 2


@dataclass(slots=True, eq=False)
class _Layer:
    """A layer that a reentrant checkpoint ran, without an input that requires a gradient."""

    record: ModuleRecord
    site: Site
    training: bool
    passes: int = 0
    first_step: int = 0
    reached: bool = False


@dataclass(slots=True, eq=False)
class _Blind:
    """A root whose forwards recorded nothing."""

    root: RootRecord
    site: Site | None = None
    training: bool = True
    windows: int = 0
    """Traced windows in which that was looked at."""
    passes: int = 0
    first_step: int = 0
    layers: dict[int, _Layer] = field(default_factory=dict)


class UnrecordedObserver(Observer):
    """Makes a ForwardUse of every training forward, or part of one, that recorded nothing."""

    makes = (ForwardUse,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._roots: dict[int, _Blind] = {}
        self._without: dict[int, RootCall] = {}
        """By root: its last forward of this window without a graph."""
        self._with = False
        """A forward of this window has a graph."""
        self._blind: dict[int, RootCall] = {}
        """The forwards before a backward of this window, if none of them has a graph."""
        self._now: dict[int, list[_Layer]] = {}
        """By root: layers in checkpoints of this window."""

    def root_ends(self, call: RootCall, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not call.root.parameters or output is None or not self.session.window.traced:
            return
        tensors, whole = tensors_of(output)
        if not whole or any(tensor.requires_grad for tensor in tensors):
            self._with = True
        else:
            self._without[call.root.key] = call

    def backward_begins(self, tensors: Sequence[torch.Tensor], site: Site | None) -> None:
        if self._without and not self._with:
            self._blind = dict(self._without)

    def module_begins(self, call: ModuleCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        if call.grad or not call.root_call.grad or call.record is None:
            return
        if call.parent is not None and not call.parent.grad:
            return  # inside of one that was looked at
        if any(tensor.requires_grad for tensor in tensors_of(args)[0]):
            return
        blind = self._roots.setdefault(call.root_call.root.key, _Blind(call.root_call.root))
        layer = blind.layers.get(call.key)
        if layer is None or layer.record is not call.record:
            site = checkpoint_site()
            if site is None:
                return
            layer = blind.layers[call.key] = _Layer(call.record, site, call.training)
        self._now.setdefault(blind.root.key, []).append(layer)

    def step_ends(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer, window: Window) -> None:
        if window.traced:
            for call in self._blind.values():
                self._judge_root(call, record, window)
            for key, layers in self._now.items():
                self._judge_layers(self._roots[key], layers, record, window)
        self._without, self._blind, self._with, self._now = {}, {}, False, {}

    def _judge_root(self, call: RootCall, record: OptimizerRecord, window: Window) -> None:
        keys = _trained_keys(call.root, record)
        if not keys or call.site is None:
            return
        blind = self._roots.setdefault(call.root.key, _Blind(call.root))
        blind.windows += 1
        if keys & window.accumulated:
            return
        if not blind.passes:
            blind.site, blind.training, blind.first_step = call.site, call.training, window.number
        blind.passes += 1

    def _judge_layers(self, blind: _Blind, layers: list[_Layer], record: OptimizerRecord, window: Window) -> None:
        if not _trained_keys(blind.root, record) & window.accumulated:
            return  # no pass of this root
        for layer in {id(layer): layer for layer in layers}.values():
            keys = _trained_keys(blind.root, record, layer.record.path)
            if not keys:
                continue
            if keys & window.accumulated:
                layer.reached = True
                continue
            layer.first_step = layer.first_step if layer.passes else window.number
            layer.passes += 1

    def facts(self) -> Iterator[object]:
        for blind in self._roots.values():
            root = blind.root
            if blind.passes >= _FEWEST and blind.site is not None:
                yield self._use(root, blind.site, blind.training, blind.passes, blind.windows, blind.first_step)
            places: dict[Site, list[_Layer]] = {}
            for layer in blind.layers.values():
                if layer.passes >= _FEWEST and not layer.reached:
                    places.setdefault(layer.site, []).append(layer)
            for site, layers in places.items():
                first = layers[0]
                use = self._use(root, site, first.training, first.passes, root.passes, first.first_step)
                refs = tuple(layer_ref(self.session, root, layer.record) for layer in layers)
                yield replace(use, unrecorded=Unrecorded.CHECKPOINT, unrecorded_layers=refs)

    def _use(
        self, root: RootRecord, site: Site, training: bool, times: int, watched: int, first_step: int
    ) -> ForwardUse:
        model = model_ref(self.session, root, complete=True)
        state = ModeState(Mode.TRAIN if training else Mode.EVAL, None, "", False)
        evidence = RunEvidence(times, watched, first_step, "training steps", root=root.key)
        use = run_use(site, model, Purpose.TRAIN, (state,), False, evidence)
        return replace(use, backwarded=False, unrecorded=Unrecorded.GRAD_OFF)


def _trained_keys(root: RootRecord, record: OptimizerRecord, path: str = "") -> set[int]:
    """Ids of the trainable parameters at and below a path that an optimizer holds."""
    found: set[int] = set()
    for module in root.below(path):
        for parameter in module.own:
            tensor = parameter.ref()
            if tensor is not None and tensor.requires_grad and record.holds(tensor):
                found.add(id(tensor))
    return found
