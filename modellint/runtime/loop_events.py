"""What happens between two steps of one optimizer, in order.

A log takes everything down with the parameters that it concerns. When an optimizer steps, the part of the log since its
step before becomes one pass: what does not concern its parameters is left out, and clears, which have no event of their
own, are put in where their effect was seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

import torch

from modellint.facts.record import record
from modellint.facts.training_loop import EventKind
from modellint.runtime.call_site import Site

MOST_EVENTS = 2000
_MOST_REPEATED = 6


@dataclass(slots=True, eq=False)
class Noted:
    """One entry of the log."""

    kind: EventKind
    """UNKNOWN_CALL stands for a stretch in which torch functions were not seen, or gradients were changed by hand."""
    site: Site | None
    reached: set[int] = field(default_factory=set)
    """Ids of the parameters that it concerns."""
    optimizer: int = 0
    """Key of the optimizer that it concerns: the one that steps, whose gradients are unscaled, which is scheduled."""
    scaled: bool = False
    """BACKWARD: of a loss that a GradScaler multiplied. CLIP: of gradients that still carry its scale."""
    fresh: set[int] = field(default_factory=set)
    """BACKWARD: parameters whose gradient of the backward before was gone."""
    unsure: bool = False
    """BACKWARD: for some gradients that cannot be told. CLIP: they were changed by hand before."""
    versions: dict[int, int] = field(default_factory=dict)
    """BACKWARD: versions of a few of the parameters."""
    inputs: bool = False
    """FORWARD: a gradient of its input is wanted."""


@record
class Step:
    """One event of a pass, as it is compared with the passes before."""

    kind: EventKind
    site: Site | None
    optimizers: tuple[int, ...]
    scaled: bool = False


@dataclass(slots=True, eq=False)
class GradientMark:
    """The gradient of one parameter after the last backward that reached it."""

    parameter: weakref.ref[torch.Tensor]
    gradient: weakref.ref[torch.Tensor]
    version: int
    open: bool = True
    """No optimizer has used it since."""
    scaled: bool = False
    """It carries the scale of a GradScaler."""

    def intact(self) -> bool:
        """Nobody has touched it since, clipping and unscaling apart."""
        parameter, gradient = self.parameter(), self.gradient()
        return parameter is not None and gradient is not None and parameter.grad is gradient \
            and gradient._version == self.version  # fmt: skip


class EventLog:
    """The log, and the gradients that it knows."""

    def __init__(self) -> None:
        self.entries: list[Noted] = []
        self.marks: dict[int, GradientMark] = {}
        self._since: dict[int, int] = {}
        self._by_gradient: dict[int, int] = {}

    # Writing

    def note(self, entry: Noted) -> Noted:
        if len(self.entries) >= MOST_EVENTS:
            self.forget()
        self.entries.append(entry)
        return entry

    def forget(self) -> None:
        """What was noted has gaps from here on: no optimizer's pass is whole."""
        self.entries.clear()
        self._since.clear()
        self._by_gradient.clear()
        self.marks = {key: mark for key, mark in self.marks.items() if mark.parameter() is not None}

    def begin(self, optimizer: int) -> None:
        """A pass of an optimizer begins."""
        self._since[optimizer] = len(self.entries)
        first = min(self._since.values())
        if first > MOST_EVENTS // 2 or len(self._since) == 1:
            del self.entries[:first]
            self._since = {key: since - first for key, since in self._since.items()}

    def drop(self, optimizer: int) -> None:
        """An optimizer is gone, or its passes are not wanted."""
        self._since.pop(optimizer, None)

    def since(self, optimizer: int) -> list[Noted] | None:
        """What was noted since an optimizer's pass began; None when that was not seen whole."""
        start = self._since.get(optimizer)
        return None if start is None else self.entries[start:]

    # Gradients

    def accumulated(self, parameter: torch.Tensor, gradient: torch.Tensor, entry: Noted, certain: bool) -> None:
        """A backward has added to a gradient. `certain`: its identity and version tell what happened to it before."""
        key, version = id(parameter), gradient._version
        mark = self.marks.get(key)
        known = mark is not None and mark.parameter() is parameter
        if mark is not None and known and mark.open and key not in entry.reached:
            if not certain:
                entry.unsure = True
            elif mark.gradient() is not gradient or version != mark.version + 1:
                entry.fresh.add(key)
        entry.reached.add(key)
        if len(entry.versions) < 3:
            entry.versions[key] = parameter._version
        self._by_gradient[id(gradient)] = key
        if mark is None or not known:
            self.marks[key] = GradientMark(weakref.ref(parameter), weakref.ref(gradient), version, scaled=entry.scaled)
            return
        if mark.gradient() is not gradient:
            mark.gradient = weakref.ref(gradient)
        mark.scaled = entry.scaled or (mark.scaled and mark.open and key not in entry.fresh)
        mark.version, mark.open = version, True

    def changed(self, gradients: Iterable[torch.Tensor], changes: int) -> tuple[set[int], bool]:
        """Torch's own clipping or unscaling changed gradients: whose they are, and whether a hand did so before."""
        keys, by_hand = set(), False
        for gradient in gradients:
            key = self._by_gradient.get(id(gradient), 0)
            mark = self.marks.get(key)
            if mark is None or mark.gradient() is not gradient:
                by_hand = True
                continue
            by_hand = by_hand or gradient._version != mark.version + changes
            mark.version = gradient._version
            keys.add(key)
        return keys, by_hand

    def used(self, held: Iterable[int]) -> None:
        """An optimizer has stepped on the gradients of these parameters."""
        for key in held:
            mark = self.marks.get(key)
            if mark is not None:
                mark.open = False


def cleared_between(first: Noted, second: Noted, between: Sequence[Noted], held: Container[int]) -> EventKind | None:
    """What to put between two backwards of one optimizer: ZERO_GRAD where the gradients of the first were lost.

    UNKNOWN_CALL where they were cleared with a reason, or where that cannot be told; None where they were added to.
    """
    shared = [key for key in first.reached if key in second.reached and key in held]
    gone = [key for key in shared if key in second.fresh]
    if second.unsure:
        return EventKind.UNKNOWN_CALL
    if not gone:
        return None
    reasons = (
        len(gone) < len(shared),
        first.site is None or first.site != second.site,  # another purpose: an attack, a norm for the log
        any(second.versions.get(key, version) != version for key, version in first.versions.items()),  # SAM
        any(entry.kind is not EventKind.FORWARD for entry in between),  # another optimizer, or a scaler that skipped
        any(entry.inputs for entry in between),
        all(entry.kind is not EventKind.FORWARD for entry in between),  # one forward, several losses
    )
    return EventKind.UNKNOWN_CALL if any(reasons) else EventKind.ZERO_GRAD


def folded(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Without the third and further repetitions of up to six steps: the micro-batches of one pass."""
    done: list[Step] = []
    for step in steps:
        done.append(step)
        for size in range(1, _MOST_REPEATED + 1):
            last = done[-size:]
            if len(done) >= 3 * size and last == done[-2 * size : -size] == done[-3 * size : -2 * size]:
                del done[-size:]
                break
    return tuple(done)
