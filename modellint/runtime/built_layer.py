"""Layers that are built anew in every forward: registered nowhere, or registered again each time."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from modellint.facts.run_evidence import RunEvidence
from modellint.facts.torch_call import TorchCall
from modellint.runtime.call_site import Site
from modellint.runtime.mode_parts import drops_now
from modellint.runtime.observer import Observer
from modellint.runtime.session import ModuleCall, ModuleRecord, RootRecord, Session, layer_text
from modellint.runtime.torch_call import run_call

_FEWEST = 3
"""Forwards, each with another object."""


@dataclass(slots=True, eq=False)
class _Stranger:
    """The layers that one call finds unregistered, as far as they drop or have parameters."""

    root: RootRecord
    site: Site
    text: str
    kind: str
    owner: str
    last: weakref.ref[nn.Module]
    forward: int
    first_step: int
    forwards: int = 1
    builds: int = 1
    trains: bool = False
    """It has parameters that no optimizer holds."""
    dropped: int = 0
    """Forwards of a root in eval mode in which it dropped."""


@dataclass(slots=True, eq=False)
class _Path:
    """The layers that were called under one path."""

    root: RootRecord
    record: ModuleRecord
    owner: str
    forward: int
    first_step: int
    builds: int = 1
    site: Site | None = None
    """Where the last one was registered."""
    stays: bool = False
    """It was the same object in two forwards."""


class BuiltLayerObserver(Observer):
    """Makes a TorchCall of every layer that is another object in each forward."""

    makes = (TorchCall,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._strangers: dict[tuple[int, Site], _Stranger] = {}
        self._paths: dict[tuple[int, str], _Path] = {}

    def module_begins(self, call: ModuleCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        record = call.record
        if record is None:
            if call.parent is None or call.parent.record is not None:
                self._note_stranger(call, module)
        elif record.own and call.root_call.grad:
            self._note_path(call, record, module)

    def _note_stranger(self, call: ModuleCall, module: nn.Module) -> None:
        root_call = call.root_call
        root = root_call.root
        own = [p for p in module.parameters() if p.is_leaf and p.requires_grad and root.parameter(p) is None]
        drops = drops_now(module)
        site = self.session.site() if own or drops else None
        if site is None:
            return
        known = self._strangers.get((root.key, site))
        if known is None:
            text, kind, owner = layer_text(module), type(module).__name__, _owner(call)
            known = _Stranger(
                root, site, text, kind, owner, weakref.ref(module), root_call.number, first_step=root_call.step
            )
            self._strangers[root.key, site] = known
        elif known.forward != root_call.number:
            known.forwards += 1
            known.builds += known.last() is not module
            known.last, known.forward = weakref.ref(module), root_call.number
        known.trains |= bool(own) and root_call.grad and not self._held(own)
        if drops and module.training and not root_call.training:
            known.first_step = known.first_step if known.dropped or known.trains else root_call.step
            known.dropped += 1

    def _note_path(self, call: ModuleCall, record: ModuleRecord, module: nn.Module) -> None:
        root_call = call.root_call
        known = self._paths.get((root_call.root.key, record.path))
        if known is None:
            self._paths[root_call.root.key, record.path] = _Path(
                root_call.root, record, _owner(call), root_call.number, root_call.step
            )
            return
        if known.stays or known.forward == root_call.number:
            return
        known.forward = root_call.number
        if known.record is record or self._held([p for p in module.parameters() if p.requires_grad]):
            known.stays = True
            return
        known.record = record
        known.builds += 1
        if call.parent is not None:
            registered = self.session.registered.get((call.parent.key, record.path.rpartition(".")[2]))
            known.site = registered[1] if registered is not None and registered[0]() is module else None

    def _held(self, parameters: list[nn.Parameter]) -> bool:
        optimizers = self.session.optimizers.values()
        return any(optimizer.holds(parameter) for optimizer in optimizers for parameter in parameters)

    def facts(self) -> Iterator[object]:
        for stranger in self._strangers.values():
            if stranger.builds < _FEWEST or stranger.builds < stranger.forwards:
                continue
            if stranger.trains:
                times, watched, what = stranger.builds, stranger.forwards, "forwards built a new one"
            elif stranger.dropped >= 2:
                times, watched, what = stranger.dropped, stranger.dropped, "forwards in eval mode dropped"
            else:
                continue
            evidence = RunEvidence(times, watched, stranger.first_step, what, root=stranger.root.key)
            yield _fact(stranger.kind, stranger.text, stranger.site, stranger.owner, evidence, trains=stranger.trains)
        for path in self._paths.values():
            if path.stays or path.builds < _FEWEST or path.site is None:
                continue
            evidence = RunEvidence(
                path.builds, path.builds, path.first_step, "forwards built a new one", root=path.root.key
            )
            yield _fact(path.record.kind, path.record.text, path.site, path.owner, evidence, trains=True)


def _owner(call: ModuleCall) -> str:
    """The class in whose forward the call stands."""
    parent = call.parent.record if call.parent is not None else None
    return parent.kind if parent is not None else call.root_call.root.cls.__name__


def _fact(kind: str, text: str, site: Site, owner: str, evidence: RunEvidence, *, trains: bool) -> TorchCall:
    fact = run_call(f"torch.nn.{kind}", text, site, (), owner, evidence)
    return replace(fact, receiver_kind="module", built_each_forward=True, has_parameters=trains)
