"""Parameters that two layers share at the first forward, and that come apart later."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from modellint.facts.run_evidence import RunEvidence
from modellint.facts.weight_tie import WeightTie
from modellint.runtime import definitions
from modellint.runtime.models import model_ref
from modellint.runtime.observer import Observer
from modellint.runtime.session import ModuleRecord, OptimizerRecord, RootRecord, Session, Window


@dataclass(slots=True, eq=False)
class _Tie:
    """One parameter under two names."""

    root: RootRecord
    ref: weakref.ref[torch.Tensor]
    first: ModuleRecord
    first_name: str
    second: ModuleRecord
    second_name: str
    lost_after: int = -1
    """-1 while they are one parameter."""
    changed_first: bool = False
    last_step: int = 0


class WeightTieObserver(Observer):
    """Makes a WeightTie of every tie that was lost for good."""

    makes = (WeightTie,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._ties: list[_Tie] = []

    def root_registered(self, root: RootRecord, module: nn.Module) -> None:
        owners: dict[int, list[tuple[ModuleRecord, str]]] = {}
        for record in root.modules:
            owner = record.ref()
            for name, parameter in owner._parameters.items() if owner is not None else ():
                if parameter is not None and not root.hidden(record.path):
                    owners.setdefault(id(parameter), []).append((record, name))
        for key, (first, *others) in owners.items():
            known = root.parameters.get(key)
            for other in others if known is not None else ():
                if known is not None:
                    self._ties.append(_Tie(root, known.ref, *first, *other))

    def step_ends(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer, window: Window) -> None:
        for tie in self._ties:
            self._look(tie)

    def _look(self, tie: _Tie) -> None:
        first, second = tie.first.ref(), tie.second.ref()
        if first is None or second is None:
            return
        one, other = first._parameters.get(tie.first_name), second._parameters.get(tie.second_name)
        if one is None or other is None or one is other:
            tie.lost_after = -1  # tied again, or a parametrization has taken the place
        elif tie.lost_after < 0:
            # This step is the first one after the change.
            tie.lost_after, tie.changed_first = self.session.steps - 1, other is tie.ref()
        tie.last_step = self.session.steps

    def facts(self) -> Iterator[object]:
        for tie in self._ties:
            if tie.lost_after < 0:
                continue
            names = [_name(tie.first, tie.first_name), _name(tie.second, tie.second_name)]
            if tie.changed_first:
                names.reverse()
            changed = tie.first if tie.changed_first else tie.second
            place = definitions.place_of(self.session, tie.root, changed.path)
            if place is None:
                continue
            since = tie.last_step - tie.lost_after
            yield WeightTie(
                place=place,
                model=model_ref(self.session, tie.root, complete=True),
                changed=names[1],
                other=names[0],
                lost_after=tie.lost_after,
                steps_since=since,
                run=RunEvidence(since, tie.last_step, tie.lost_after, "steps", root=tie.root.key),
            )


def _name(record: ModuleRecord, name: str) -> str:
    return f"{record.path}.{name}" if record.path else name
