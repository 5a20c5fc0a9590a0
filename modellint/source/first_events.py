"""What comes first for an optimizer: its own step, or one of its scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modellint.facts.training_loop import Event, EventKind
from modellint.source.interpreter.records import Alternatives, CallTrace, EventRecord, LoopRecord
from modellint.source.interpreter.values import OptimizerValue, SchedulerValue
from modellint.source.loop_paths import flat_events, paths
from modellint.source.places import Places

_OF_ITS_OWN = frozenset(
    {"ReduceLROnPlateau", "ChainedScheduler", "SequentialLR", "LambdaLR", "MultiplicativeLR", "SWALR"}
)
"""Schedules whose author decides what a step before the first one means."""


def schedule_start(places: Places, record: LoopRecord, optimizers: list[OptimizerValue]) -> tuple[Event, ...]:
    """A scheduler's step and the optimizer's first one after it, where every way to that step goes so."""
    if not places.records.order.schedulers:
        return ()
    outermost = record
    while outermost.parent is not None:
        outermost = outermost.parent
    inside = {id(event.site.node) for event in flat_events(outermost) if event.kind is EventKind.OPTIMIZER_STEP}
    for optimizer in optimizers:
        first = next((site for known, site in places.records.steps if known is optimizer), None)
        if first is None or id(first.node) not in inside:
            continue
        pair = _pair(outermost, optimizer)
        if pair is not None and not _steps_before(outermost, optimizer):
            return tuple(Event(event.kind, places.span(event.site), event.text, (optimizer.key,)) for event in pair)
    return ()


def _steps_before(record: LoopRecord, optimizer: OptimizerValue) -> bool:
    """Whether it may step before the loop, or its scheduler be set there."""
    wanted = (EventKind.OPTIMIZER_STEP, EventKind.UNKNOWN_CALL)
    return any(event.kind in wanted and optimizer in event.optimizers for event in flat_events(record.before))


def _pair(record: LoopRecord, optimizer: OptimizerValue) -> tuple[EventRecord, EventRecord] | None:
    ways, complete = paths(_first_rounds(record.rounds[0], optimizer), "once")
    if not complete:
        return None
    found: tuple[EventRecord, EventRecord] | None = None
    for way in ways:
        step = next((i for i, e in enumerate(way.events) if e.kind is EventKind.OPTIMIZER_STEP), None)
        if step is None:
            continue
        early = next((event for event in way.events[:step] if event.kind is not EventKind.OPTIMIZER_STEP), None)
        if early is None or early.kind is EventKind.UNKNOWN_CALL or not _counts(early):
            return None
        found = found or (early, way.events[step])
    return found


def _counts(event: EventRecord) -> bool:
    scheduler = event.subject
    if event.given or not isinstance(scheduler, SchedulerValue):
        return False
    return scheduler.kind not in _OF_ITS_OWN and not scheduler.arguments.keys() & {"last_epoch", "*"}


def _first_rounds(items: Sequence[Any], optimizer: OptimizerValue) -> list[Any]:
    """The steps of an optimizer and of its schedulers in a trace, loops inside gone through once."""
    result: list[Any] = []
    for item in items:
        if isinstance(item, EventRecord):
            if item.kind in _WANTED and optimizer in item.optimizers:
                result.append(item)
        elif isinstance(item, CallTrace):
            inner = _first_rounds(item.items, optimizer)
            if inner:
                result.append(CallTrace(inner))
        elif isinstance(item, Alternatives):
            arms = [(_first_rounds(arm, optimizer), end) for arm, end in item.arms]
            if any(arm or end for arm, end in arms):
                result.append(Alternatives(arms, item.conditions, item.test))
        elif isinstance(item, LoopRecord) and item.rounds:
            rounds = [_first_rounds(item.rounds[0], optimizer)]
            result.append(LoopRecord(item.site, rounds, item.parent, item.before))
    return result


_WANTED = (EventKind.SCHEDULER_STEP, EventKind.OPTIMIZER_STEP, EventKind.UNKNOWN_CALL)
