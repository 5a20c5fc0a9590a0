"""Schedulers that step before the first step of their optimizer."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from modellint.runtime.call_site import Site
from modellint.runtime.session import OptimizerRecord, Session


class EarlySchedule:
    """The first step of each scheduler, where its optimizer has not stepped yet."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._sites: dict[int, tuple[weakref.ref[torch.optim.Optimizer], list[Site]]] = {}
        self._seen: set[int] = set()

    def stepped(self, scheduler: Any, optimizer: torch.optim.Optimizer, site: Site, *, scaling: bool) -> None:
        """A scheduler stepped; `scaling`: a GradScaler is in use, which may have skipped steps of the optimizer."""
        first = id(scheduler) not in self._seen
        self._seen.add(id(scheduler))
        record = self._session.optimizers.get(id(optimizer))
        if record is not None and record.ref() is optimizer and record.steps:
            return
        if first and self._is_early(scheduler, optimizer, scaling):
            self._sites.setdefault(id(optimizer), (weakref.ref(optimizer), []))[1].append(site)

    def _is_early(self, scheduler: Any, optimizer: torch.optim.Optimizer, scaling: bool) -> bool:
        """It is the scheduler's first step, and no step of the optimizer can have come before or have been skipped."""
        if isinstance(scheduler, ReduceLROnPlateau) or getattr(scheduler, "last_epoch", 0) != 1:
            return False
        if getattr(optimizer, "_opt_called", False) or optimizer.state:
            return False
        # A GradScaler skips a step on inf: without it, or before any backward, nothing is skipped.
        return not self._session.window.backwards or (self._session.functions_seen and not scaling)

    def before(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer) -> list[Site]:
        """The steps of schedulers before the first step of an optimizer, which is about to come."""
        known = self._sites.get(id(optimizer))
        return known[1] if known is not None and known[0]() is optimizer and not record.steps else []
