"""Reads `TrainingLoop`: every path through the body of a loop that trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from modellint.facts.training_loop import Event, EventKind, OptimizerRef, TrainingLoop
from modellint.source.interpreter.records import Alternatives, CallTrace, EventRecord, LoopRecord
from modellint.source.interpreter.values import ModuleValue, OptimizerValue
from modellint.source.places import Places

PASS_LIMIT = 64
_EVENT_LIMIT = 200


def passes(items: Sequence[Any]) -> tuple[list[tuple[list[EventRecord], str | None]], bool]:
    """Every path through a trace with what ended it; False when there are too many. Inner loops are left out."""
    paths: list[tuple[list[EventRecord], str | None]] = [([], None)]
    complete = True
    for item in items:
        if isinstance(item, EventRecord):
            for path, end in paths:
                if end is None and len(path) < _EVENT_LIMIT:
                    path.append(item)
        elif isinstance(item, CallTrace):
            inner, inner_complete = passes(item.items)
            inner = [(path, None if end == "return" else end) for path, end in inner]
            paths, complete = _extended(paths, inner, complete and inner_complete)
        elif isinstance(item, Alternatives):
            inner = []
            for arm, end in item.arms:
                arm_paths, arm_complete = passes(arm)
                complete = complete and arm_complete
                inner.extend((path, path_end or end) for path, path_end in arm_paths)
            paths, complete = _extended(paths, inner, complete)
        elif isinstance(item, LoopRecord):
            flat = _flat_events(item)
            if not any(event.kind in _TRAINING for event in flat):
                # `for p in parameters: p.grad = None`: a loop that only prepares happens as a whole.
                for path, end in paths:
                    if end is None and len(path) < _EVENT_LIMIT:
                        path.extend(flat)
    return paths, complete


_TRAINING = (EventKind.BACKWARD, EventKind.OPTIMIZER_STEP)


def _flat_events(items: Any) -> list[EventRecord]:
    """All events below a part of a trace, in order."""
    result: list[EventRecord] = []
    stack: list[Any] = [items]
    while stack:
        item = stack.pop()
        if isinstance(item, EventRecord):
            result.append(item)
        elif isinstance(item, list):
            stack.extend(reversed(item))
        elif isinstance(item, CallTrace):
            stack.extend(reversed(item.items))
        elif isinstance(item, Alternatives):
            stack.extend(reversed([arm for arm, _ in item.arms]))
        elif isinstance(item, LoopRecord):
            stack.extend(reversed(item.rounds))
    return result


def _extended(
    paths: list[tuple[list[EventRecord], str | None]], inner: list[tuple[list[EventRecord], str | None]], complete: bool
) -> tuple[list[tuple[list[EventRecord], str | None]], bool]:
    distinct: dict[object, tuple[list[EventRecord], str | None]] = {}
    for path, end in inner:
        distinct.setdefault((tuple(id(e.site.node) for e in path), end), (path, end))
    result: list[tuple[list[EventRecord], str | None]] = [p for p in paths if p[1] is not None]
    for path, end in paths:
        if end is None:
            result.extend(([*path, *more], more_end) for more, more_end in distinct.values())
    return result[:PASS_LIMIT], complete and len(result) <= PASS_LIMIT


def read(places: Places) -> Iterator[TrainingLoop]:
    """One fact for each loop whose own body runs backward or an optimizer step."""
    merged: dict[object, TrainingLoop] = {}
    for record in places.records.loops:
        fact = _loop(places, record)
        if fact is not None:
            merged.setdefault((fact.place, tuple(o.key for o in fact.optimizers), fact.passes), fact)
    yield from merged.values()


def _loop(places: Places, record: LoopRecord) -> TrainingLoop | None:
    paths: dict[object, list[EventRecord]] = {}
    complete = True
    for items in record.rounds:
        found, whole = passes(items)
        complete = complete and whole
        for path, end in found:
            if end not in ("raise", "return"):
                paths.setdefault(tuple((id(e.site.node), e.optimizers) for e in path), path)
    events = [event for path in paths.values() for event in path]
    kinds = {event.kind for event in events}
    if EventKind.BACKWARD not in kinds and EventKind.OPTIMIZER_STEP not in kinds:
        return None
    optimizers = {o.key: o for event in events for o in event.optimizers if event.kind is EventKind.OPTIMIZER_STEP}
    outside: list[EventRecord] = []
    outer: LoopRecord | None = record
    while outer is not None:
        for path, _ in passes(outer.before)[0]:
            outside.extend(event for event in path if event.kind is EventKind.ZERO_GRAD)
        outer = outer.parent
    return TrainingLoop(
        place=places.span(record.site),
        passes=tuple(_pass(places, path, list(optimizers.values())) for path in paths.values()),
        complete=complete,
        optimizers=tuple(OptimizerRef(o.key, o.text, o.kind, places.optional(o.site)) for o in optimizers.values()),
        cleared_outside=tuple(dict.fromkeys(_event(places, event, list(optimizers.values())) for event in outside)),
        framework=record.framework,
    )


def _pass(places: Places, path: list[EventRecord], optimizers: list[OptimizerValue]) -> tuple[Event, ...]:
    """The events of one pass; clears that touch none of the optimizers are left out."""
    cleared = _below([module for e in path if e.kind is EventKind.ZERO_GRAD for module in e.modules])
    together = {o.key for o in optimizers if o.modules and o.complete and _below(o.modules) <= cleared}
    result: list[Event] = []
    for record in path:
        event = _event(places, record, optimizers)
        if record.kind is EventKind.ZERO_GRAD and record.modules and together:
            # Each clears a part; in this pass all parts are cleared.
            event = replace(event, optimizers=tuple(sorted({*event.optimizers, *together})))
        if event.kind is EventKind.ZERO_GRAD and not event.optimizers:
            continue
        result.append(event)
    return tuple(result)


def _event(places: Places, event: EventRecord, optimizers: list[OptimizerValue]) -> Event:
    concerned = {o.key for o in event.optimizers}
    for optimizer in optimizers:
        if event.everything or _concerns(event, optimizer):
            concerned.add(optimizer.key)
    text = event.text if len(event.text) <= 60 else f"{event.text[:57]}..."
    return Event(event.kind, places.span(event.site), text, tuple(sorted(concerned)))


def _concerns(event: EventRecord, optimizer: OptimizerValue) -> bool:
    """Whether an event that names modules touches the parameters that an optimizer holds."""
    if not event.modules:
        return False
    if not optimizer.modules or not optimizer.complete:
        return True
    touched = _below(event.modules)
    held = _below(optimizer.modules)
    if event.kind is EventKind.ZERO_GRAD:
        # Clearing a part of what the optimizer holds leaves the rest.
        return held <= touched
    return bool(held & touched)


def _below(modules: Sequence[ModuleValue]) -> set[int]:
    """Keys of the torch layers below some modules (of the modules themselves where there are none)."""
    result: set[int] = set()
    for module in modules:
        inner = module.state.get("wrapped") or module
        for _, part in inner.walk():
            if part.spec is None or part.spec.parametric:
                result.add(part.key)
    return result
