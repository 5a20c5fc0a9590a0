"""Optimizers that hold too little of what trains, or something else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from modellint.facts.model import LayerRef
from modellint.facts.optimizer_setup import OptimizerSetup
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.training_loop import OptimizerRef
from modellint.runtime import definitions
from modellint.runtime.call_site import assigned_name
from modellint.runtime.loose_parameters import ENOUGH, LooseParameters, common_part, holds, largest_parts
from modellint.runtime.models import model_ref
from modellint.runtime.observer import Observer
from modellint.runtime.session import OptimizerRecord, ParameterRecord, RootRecord, Session, Window

_RULES = ("parameters-not-optimized", "stale-optimizer", "wrong-parameters-optimized")


@dataclass(slots=True)
class _Idle:
    """What an optimizer holds without a gradient."""

    steps: int = 0
    foreign: int = 0
    """Of which no model in use has it."""
    ruled_out: bool = False
    """One of these had a gradient at some step."""
    root: int = 0
    """Key of the one root that has all of it; 0 when there is none or when some of it had a gradient."""
    first_step: int = 0


class OptimizerSetupObserver(Observer):
    """Makes an OptimizerSetup where gradients are left to no optimizer."""

    makes = (OptimizerSetup,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._loose = LooseParameters(session)
        self._idle: dict[int, _Idle] = {}

    def step_begins(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer) -> None:
        if self.session.window.traced:
            self._look(self._idle.setdefault(record.key, _Idle()), record)

    def _look(self, idle: _Idle, record: OptimizerRecord) -> None:
        """Which of its tensors have no gradient, and whose they are."""
        live = {key: tensor for key, ref in record.held.items() if (tensor := ref()) is not None}
        without = {key for key, tensor in live.items() if tensor.grad is None}
        if not without or not self.session.window.backwards:
            idle.ruled_out = idle.ruled_out or not without
            return
        owners = {root.key: _parameters(root) for root in self.session.all_roots() if root.ref() is not None}
        owned = set().union(*owners.values()) if owners else set()
        foreign = live.keys() - owned
        if foreign - without:
            idle.ruled_out = True  # a master copy, or an input that is optimised
        whole = [key for key, parameters in owners.items() if live.keys() <= parameters]
        root = whole[0] if whole and len(without) == len(live) else 0
        if idle.steps and (root != idle.root or len(foreign) != idle.foreign):
            idle.steps = 0
        if not idle.steps:
            idle.first_step = self.session.steps
        idle.root, idle.foreign = root, len(foreign)
        idle.steps += 1

    def step_ends(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer, window: Window) -> None:
        if window.traced and window.accumulated:
            self._loose.window_ended(window.accumulated)

    def closing(self) -> None:
        self._loose.closing()

    def facts(self) -> Iterator[object]:
        stepped = [record for record in self.session.all_optimizers() if record.steps]
        for root in self.session.all_roots():
            if root.wrapper == "FullyShardedDataParallel":
                continue  # its parameters are pieces of flat ones
            missing = self._loose.of(root)
            if root.steps and 0 < self._loose.passes.get(root.key, 0) < ENOUGH:
                self.session.out_of_sight(root.text(), f"fewer than {ENOUGH} training passes", *_RULES)
            if missing and not self._loose.changed_by_hand(root):
                yield from self._facts_of(root, missing, stepped)

    def _facts_of(
        self, root: RootRecord, missing: list[ParameterRecord], stepped: list[OptimizerRecord]
    ) -> Iterator[OptimizerSetup]:
        shares = {one.key: sum(holds(one, p) for p in root.parameters.values()) for one in stepped}
        holders = sorted((one for one in stepped if shares[one.key]), key=lambda one: -shares[one.key])
        idles = [(one, idle) for one in holders or stepped if (idle := self._idled(one)) is not None]
        stale = [(one, idle) for one, idle in idles if idle.foreign]
        if stale:
            yield from (self._fact(root, missing, one, idle) for one, idle in stale)
        elif holders:
            yield self._fact(root, missing, holders[0], None)
        else:
            yield from (self._fact(root, missing, one, idle) for one, idle in idles if idle.root not in (0, root.key))

    def _idled(self, record: OptimizerRecord) -> _Idle | None:
        idle = self._idle.get(record.key)
        return idle if idle is not None and idle.steps >= 2 and not idle.ruled_out else None

    def _fact(
        self, root: RootRecord, missing: list[ParameterRecord], record: OptimizerRecord, idle: _Idle | None
    ) -> OptimizerSetup:
        site = record.site or record.step_site
        assert site is not None
        given = [p for p in root.parameters.values() if holds(record, p)]
        parts = [
            LayerRef(
                path,
                module.text if module is not None else "Parameter",
                module.kind if module is not None else "Parameter",
                definitions.place_of(self.session, root, path),
            )
            for path, module in largest_parts(root, {p.name for p in missing})
        ]
        other = next((one for one in self.session.all_roots() if idle is not None and one.key == idle.root), None)
        passes = self._loose.passes.get(root.key, 0)
        times, first = (idle.steps, idle.first_step) if idle is not None else (passes, 0)
        name = assigned_name(record.site) if record.site is not None and record.built_in_sight else ""
        return OptimizerSetup(
            place=site.span(),
            optimizer=OptimizerRef(record.key, name or record.text(), record.kind, site.span()),
            model=model_ref(self.session, root, complete=True),
            given=sum(p.numel for p in given),
            given_part=common_part(root, [p.name for p in given]),
            missing=tuple(parts),
            missing_values=sum(p.numel for p in missing),
            foreign=idle.foreign if idle is not None else 0,
            holds=len(record.held),
            idle_model=model_ref(self.session, other, complete=True) if other is not None else None,
            run=RunEvidence(times, max(times, passes), first, root=root.key if root.steps else 0),
        )


def _parameters(root: RootRecord) -> set[int]:
    """Ids of what a live root has now; its record also knows what it had before."""
    module = root.ref()
    return {id(parameter) for parameter in module.parameters()} if module is not None else set()
