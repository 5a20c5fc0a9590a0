"""The loss of a run at every backward: is it still a number.

On the CPU the loss is read. On an accelerator it is added, times zero, to a number of our own, which stays zero unless
a loss was NaN or infinite and which is read in traced windows only. After a loss that is none, the parameters and
gradients of the next step are read once, to name the first that is not finite. A loss whose step was left out (a
GradScaler, a guard in the loop) is forgiven, unless it comes in a quarter of a hundred backwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from modellint.facts.non_finite import NonFinite
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.runtime import torch_internals, value_read
from modellint.runtime.call_site import Site
from modellint.runtime.observer import Observer
from modellint.runtime.session import OptimizerRecord, Session

_STRETCH = 100
_MOST_IN_STRETCH = 25
_MOST_READS = 20


@record
class _Found:
    """The loss that a finding is about."""

    value: str
    site: Site
    step: int
    parameter: str = ""
    in_gradient: bool = False
    optimizer: OptimizerRecord | None = None
    root: int = 0


class NonFiniteObserver(Observer):
    """Makes a NonFinite of the first loss that was none and that was stepped on."""

    makes = (NonFinite,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._poison: dict[torch.device, torch.Tensor] = {}
        self._backwards = self._bad = self._bad_in_stretch = self._skipped = self._reads = 0
        self._pending: tuple[str, Site] | None = None
        """The value and the backward of the first bad loss since the last step."""
        self._last: tuple[str, Site] | None = None
        """The same of the last bad loss."""
        self._last_was_bad = False
        self._found: _Found | None = None

    def quiet_events(self) -> frozenset[str]:
        return frozenset({"backward_begins"})

    def backward_begins(self, tensors: Sequence[torch.Tensor], site: Site | None) -> None:
        loss = tensors[0] if tensors else None
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.dtype.is_floating_point:
            return
        self._backwards += 1
        self._last_was_bad = False
        if self._backwards % _STRETCH == 0:
            self._end_stretch()
        if loss.is_cpu:
            if torch_internals.is_plain(loss) and not math.isfinite(loss.item()):
                self._note(str(loss.item()), site)
        elif value_read.may_read(loss):
            self._add(loss, site)

    def _add(self, loss: torch.Tensor, site: Site | None) -> None:
        """Without waiting for the accelerator: zero times NaN is NaN, zero times infinity too."""
        with value_read.reading():
            poison = self._poison.get(loss.device)
            if poison is None:
                poison = self._poison[loss.device] = torch.zeros((), device=loss.device)
            torch.add(poison, loss.detach().reshape(()), alpha=0, out=poison)
            if site is not None and not math.isfinite(poison.item()):
                poison.zero_()
                self._note("nan or inf", site)

    def _note(self, value: str, site: Site | None) -> None:
        site = site or self.session.site()
        self._bad += 1
        self._bad_in_stretch += 1
        self._last_was_bad = True
        self.session.quiet = False
        if site is not None:
            self._last = value, site
            self._pending = self._pending or self._last

    def _end_stretch(self) -> None:
        if self._bad_in_stretch >= _MOST_IN_STRETCH and self._found is None and self._last is not None:
            self._found = _Found(*self._last, self.session.steps)
        self._bad_in_stretch = 0

    def step_begins(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer) -> None:
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        if self._found is not None or self._reads >= _MOST_READS:
            return
        if getattr(optimizer, "found_inf", None) is not None:
            self._skipped += 1  # a fused optimizer leaves the step out by itself
            return
        self._reads += 1
        found = self._look(record, _Found(*pending, self.session.steps, optimizer=record))
        if found is None:
            self._skipped += 1
        self._found = found

    def _look(self, record: OptimizerRecord, found: _Found) -> _Found | None:
        """Name the first parameter that is not finite; None when the bad loss was cleared away before this step."""
        held = [tensor for tensor in (ref() for ref in record.held.values()) if tensor is not None]
        parameters = [one for one in held if value_read.may_read(one) and one.dtype.is_floating_point]
        receivers = [one for one in parameters if one.grad is not None and value_read.may_read(one.grad)]
        if not receivers:
            return None
        with value_read.reading():
            gradients = [one.grad.detach() for one in receivers if one.grad is not None]
            # The largest entry, not the sum of squares: that overflows in half precision.
            numbers = value_read.numbers(
                torch._foreach_norm([one.detach() for one in parameters] + gradients, math.inf)
            )
        names = {
            id(one): (known.name, root.key)
            for root in self.session.all_roots()
            for one in parameters
            if (known := root.parameter(one)) is not None
        }
        for index, one in enumerate(parameters + receivers):
            if not math.isfinite(numbers[index]):
                name, root = names.get(id(one), ("", 0))
                return replace(found, parameter=name, in_gradient=index >= len(parameters), root=root)
        # An infinite loss with finite gradients is one that the scale of a GradScaler has overflown.
        if self._last_was_bad and "nan" in found.value and any(numbers[len(parameters) :]):
            return replace(found, root=names.get(id(parameters[0]), ("", 0))[1])
        return None

    def facts(self) -> Iterator[object]:
        found = self._found
        if found is None:
            return
        yield NonFinite(
            place=found.site.span(),
            loss=found.site.receiver(),
            value=found.value,
            parameter=found.parameter,
            in_gradient=found.in_gradient,
            optimizer=found.optimizer.text() if found.optimizer is not None else "",
            skipped=self._skipped,
            run=RunEvidence(self._bad, self._backwards, found.step, "backward calls", root=found.root),
        )
