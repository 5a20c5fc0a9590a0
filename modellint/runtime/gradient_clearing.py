"""Whether gradients are cleared between two steps of an optimizer, seen by effect.

After a step each parameter's `.grad` is remembered by identity and version; when the next backward adds to the same
object, and its version grew by that addition alone, nothing cleared it. `p.grad.data.zero_()` hides from the version
counter, so the first suspicion is confirmed by reading one gradient at the entry of every backward until the next step.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch

from modellint.runtime import torch_internals, value_read
from modellint.runtime.session import OptimizerRecord, Session, Window


@dataclass(slots=True)
class _Mark:
    """One parameter's gradient at one moment."""

    parameter: weakref.ref[torch.Tensor]
    gradient: weakref.ref[torch.Tensor]
    version: int


@dataclass(slots=True)
class Clearing:
    """What is known about the gradients of one optimizer."""

    suspect: _Mark | None = None
    """A gradient that was added to without being cleared, since the last step."""
    before: _Mark | None = None
    """The same of the step before, if no backward since found it to be zero."""
    clears: bool = False
    """It was seen to be zero at a backward: the loop clears behind the version counter."""
    confirmed: bool = False
    windows: int = 0
    """Traced windows in which its parameters received gradients."""
    suspicions: int = 0
    first_step: int = 0
    """How many optimizer steps had ended at the first suspicion."""
    unseen: str = ""
    """Why its gradients cannot be followed."""

    @property
    def times(self) -> int:
        """How often it stepped on gradients that nobody had cleared."""
        return self.suspicions if self.confirmed and not self.clears else 0


class GradientClearing:
    """Follows the gradients of all optimizers."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._of: dict[int, Clearing] = {}
        self._snapshots: dict[int, _Mark] = {}
        self._pending: dict[int, _Mark] = {}
        self._in_step: set[int] = set()

    def of(self, record: OptimizerRecord) -> Clearing:
        """What is known about one optimizer."""
        return self._of.setdefault(record.key, Clearing())

    def accumulated(self, parameter: torch.Tensor) -> None:
        key = id(parameter)
        mark = self._snapshots.pop(key, None) or self._pending.pop(key, None)
        gradient = parameter.grad
        if mark is None or mark.parameter() is not parameter or gradient is None or gradient is not mark.gradient():
            return
        if gradient._version == mark.version + 1:
            self._pending[key] = _Mark(mark.parameter, mark.gradient, gradient._version)
        elif gradient._version == mark.version and torch_internals.in_backward():
            self._snapshots[key] = mark  # an optimizer stepped inside of this backward, before this hook ran

    def backward_begins(self) -> None:
        for key, clearing in self._of.items():
            if clearing.confirmed or clearing.clears:
                continue
            suspect = clearing.suspect or (clearing.before if key in self._in_step else None)
            gradient = suspect.gradient() if suspect is not None else None
            if gradient is None or not value_read.may_read(gradient):
                continue
            with value_read.reading():
                clearing.clears = not gradient.any().item()

    def step_begins(self, record: OptimizerRecord) -> None:
        clearing = self.of(record)
        clearing.before, clearing.suspect = clearing.suspect, None
        if torch_internals.in_backward():
            self._take_over(record)
        self._confirm(record, clearing)
        for key in record.held:
            self._pending.pop(key, None)
        self._in_step.add(record.key)

    def step_ends(self, record: OptimizerRecord, window: Window) -> bool:
        """Returns whether it stepped on gradients that nobody seems to have cleared."""
        clearing = self.of(record)
        if record.key in self._in_step:
            self._confirm(record, clearing)  # a closure made the gradients inside of the step
            self._in_step.discard(record.key)
        if window.traced and any(key in record.held for key in window.accumulated):
            clearing.windows += 1
        following = self.session.window.traced
        for key, ref in record.held.items():
            self._pending.pop(key, None)
            self._snapshots.pop(key, None)
            parameter = ref() if following else None
            gradient = parameter.grad if parameter is not None else None
            if gradient is None:
                continue
            # A distributed tensor changes its version by other things too.
            if type(gradient) is not torch.Tensor or type(parameter) not in (torch.nn.Parameter, torch.Tensor):
                clearing.unseen = f"its parameters are of class {type(parameter).__name__}"
            elif gradient.layout is torch.strided:
                self._snapshots[key] = _Mark(ref, weakref.ref(gradient), gradient._version)
        return clearing.suspect is not None

    def _take_over(self, record: OptimizerRecord) -> None:
        """A step inside of a backward may run before our hook: what was added is seen by the version alone."""
        for key in record.held:
            mark = self._snapshots.get(key)
            gradient = mark.gradient() if mark is not None else None
            if mark is not None and gradient is not None and gradient._version == mark.version + 1:
                self._pending[key] = self._snapshots.pop(key)

    def _confirm(self, record: OptimizerRecord, clearing: Clearing) -> None:
        """Whether a gradient of this optimizer was added to, and to nothing but what the last step had used."""
        if clearing.clears or clearing.suspect is not None:
            return
        for key, ref in record.held.items():
            mark, parameter = self._pending.get(key), ref()
            if mark is None or parameter is None or parameter.grad is None or parameter.grad is not mark.gradient():
                continue
            clearing.confirmed = clearing.confirmed or clearing.before is not None
            clearing.first_step = clearing.first_step if clearing.suspicions else self.session.steps
            clearing.suspicions += 1
            clearing.suspect = mark
            return
