"""Reads `TrainingLoop`: every path through the body of a loop that trains."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from modellint.facts.training_loop import Event, EventKind, OptimizerRef, ScalerRef, TrainingLoop
from modellint.source.accumulation import accumulations
from modellint.source.first_events import schedule_start
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.path_tests import PathTest
from modellint.source.interpreter.records import EventRecord, LoopRecord
from modellint.source.interpreter.values import Key, ModuleValue, OptimizerValue, ScalerValue, Site, Tensor
from modellint.source.loop_paths import Held, Path, layer_keys, paths
from modellint.source.places import Places
from modellint.source.tree import walk
from modellint.source.unused_optimizer import unused_optimizers

_SHOWN = 60


def passes(items: Sequence[Any]) -> tuple[list[tuple[list[EventRecord], str | None]], bool]:
    """Every path through a trace with what ended it; False when there are too many. Inner loops are left out."""
    found, complete = paths(items, "skip")
    return [(path.events, path.end) for path in found], complete


def read(places: Places) -> Iterator[TrainingLoop]:
    """One fact for each loop whose own body runs backward or an optimizer step, and for each optimizer that never
    steps."""
    merged: dict[object, TrainingLoop] = {}
    for record in places.records.loops:
        for fact in _facts(places, record):
            merged.setdefault((fact.place, tuple(o.key for o in fact.optimizers), fact.passes), fact)
    yield from merged.values()
    yield from unused_optimizers(places)


def _facts(places: Places, record: LoopRecord) -> Iterator[TrainingLoop]:
    """One fact, or two where a test of an outer loop's variable decides what every round of this one does."""
    found: dict[object, Path] = {}
    complete = True
    for items in record.rounds:
        ways, whole = paths(items)
        complete = complete and whole
        for path in ways:
            if path.end not in ("raise", "return"):
                path.holds = _by_text(path)
                known = found.setdefault(tuple((id(e.site.node), e.optimizers) for e in path.events), path)
                if known is not path:
                    known.holds = {
                        key: held
                        for key, held in known.holds.items()
                        if key in path.holds and path.holds[key].outcome is held.outcome
                    }
    ways = list(found.values())
    outer = _outer_test(record, ways)
    if outer is None:
        fact = _fact(places, record, ways, complete, "")
        if fact is not None:
            yield fact
        return
    key, test = outer
    for outcome in (True, False):
        part = [path for path in ways if key not in path.holds or path.holds[key].outcome is outcome]
        said = "true" if test.outcome is outcome else "false"
        fact = _fact(places, record, part, complete, f"`{test.site.file.text.segment(test.site.node)}` is {said}")
        if fact is not None:
            yield fact


def _by_text(path: Path) -> dict[Key, Held]:
    """The tests of a path by their words: rounds test other values with the same words."""
    result: dict[Key, Held] = {}
    unsure: set[Key] = set()
    for key, held in path.holds.items():
        if key[0] == "test":
            short = ("test", key[1])
            if result.setdefault(short, held).outcome is not held.outcome:
                unsure.add(short)
    return {key: held for key, held in result.items() if key not in unsure}


def _outer_test(record: LoopRecord, ways: list[Path]) -> tuple[Key, PathTest] | None:
    """A test that stands in this loop and reads nothing but the variables of loops around it."""
    if record.parent is None:
        return None
    for path in ways:
        for key, held in path.holds.items():
            if held.test is not None and _reads_outer_variable(record, held.test):
                return key, held.test
    return None


def _reads_outer_variable(record: LoopRecord, test: PathTest) -> bool:
    if not _inside(test.site, record.site):
        return False
    names = {part.id for part in walk(test.site.node) if isinstance(part, ast.Name)}
    outer = record.parent
    while outer is not None and names:
        node = outer.site.node
        if isinstance(node, ast.For) and _inside(record.site, outer.site):
            names -= {part.id for part in walk(node.target) if isinstance(part, ast.Name)}
            if not names:
                return True
        outer = outer.parent
    return False


def _inside(inner: Site, outer: Site) -> bool:
    one: Any = inner.node
    other: Any = outer.node
    return inner.file is outer.file and other.lineno < one.lineno and one.end_lineno <= other.end_lineno


def _fact(places: Places, record: LoopRecord, ways: list[Path], complete: bool, when: str) -> TrainingLoop | None:
    events = [event for path in ways for event in path.events]
    kinds = {event.kind for event in events}
    if EventKind.BACKWARD not in kinds and EventKind.OPTIMIZER_STEP not in kinds:
        return None
    optimizers = {o.key: o for event in events for o in event.optimizers if event.kind is EventKind.OPTIMIZER_STEP}
    outside: list[EventRecord] = []
    outer: LoopRecord | None = record
    while outer is not None:
        for path in paths(outer.before)[0]:
            outside.extend(event for event in path.events if event.kind is EventKind.ZERO_GRAD)
        outer = outer.parent
    held = list(optimizers.values())
    fresh = _made_anew(record)
    below = {o.key: (layer_keys(o.modules), o) for o in held}
    return TrainingLoop(
        place=places.span(record.site),
        passes=tuple(dict.fromkeys(_pass(places, path.events, below) for path in ways)),
        complete=complete,
        optimizers=tuple(replace(reference(places, o), fresh=o.key in fresh) for o in held),
        cleared_outside=tuple(dict.fromkeys(_event(places, event, below) for event in outside)),
        framework=record.framework,
        start=schedule_start(places, record, held),
        when=when,
        scalers=_scalers(places, ways, below),
        accumulations=accumulations(places, ways, held, lambda e: _event(places, e, below)),
    )


def _made_anew(record: LoopRecord) -> set[int]:
    """The optimizers that were made in a round and are gone in the next one."""
    rounds: dict[int, set[int]] = {}
    for number, items in enumerate(record.rounds):
        for path in paths(items)[0]:
            for event in path.events:
                for optimizer in event.optimizers:
                    rounds.setdefault(optimizer.key, set()).add(number)
    return {key for key, seen in rounds.items() if len(seen) == 1 and key > record.first_key}


def reference(places: Places, optimizer: OptimizerValue) -> OptimizerRef:
    """One optimizer in the words of the facts."""
    return OptimizerRef(optimizer.key, optimizer.text, optimizer.kind, places.optional(optimizer.site))


_Below = dict[int, tuple[set[int], OptimizerValue]]


def _pass(places: Places, path: list[EventRecord], below: _Below) -> tuple[Event, ...]:
    """The events of one pass; clears that touch none of the optimizers are left out."""
    cleared = _of_all([module for e in path if e.kind is EventKind.ZERO_GRAD for module in e.modules])
    together = {key for key, (held, o) in below.items() if o.modules and o.complete and held <= cleared}
    result: list[Event] = []
    scaled: set[int] = set()
    for record in path:
        event = _event(places, record, below)
        concerned = set(event.optimizers)
        if record.kind is EventKind.ZERO_GRAD:
            if record.modules and together:
                # Each clears a part; in this pass all parts are cleared.
                event = replace(event, optimizers=tuple(sorted({*event.optimizers, *together})))
            if not event.optimizers:
                continue
        elif record.kind is EventKind.BACKWARD:
            scaled = scaled | concerned if event.scaled else scaled - concerned
        elif record.kind in (EventKind.UNSCALE, EventKind.UNKNOWN_CALL):
            scaled = scaled - concerned if concerned else set()
        elif record.kind is EventKind.CLIP and concerned & scaled:
            event = replace(event, scaled=True)
        result.append(event)
    return tuple(result)


def _event(places: Places, event: EventRecord, below: _Below) -> Event:
    concerned = {o.key for o in event.optimizers}
    for key in below:
        if event.everything or _concerns(event, *below[key]):
            concerned.add(key)
    text = event.text if len(event.text) <= _SHOWN else f"{event.text[: _SHOWN - 3]}..."
    subject = event.subject
    scaled, sure = False, event.sure
    if event.kind is EventKind.BACKWARD and isinstance(subject, Tensor) and subject.scaler is not None:
        scaled = subject.scaler.enabled is not False
        sure = sure and subject.scaler.enabled is not None
    elif event.kind is EventKind.OPTIMIZER_STEP:
        scaled = isinstance(subject, ScalerValue) and subject.enabled is not False
    return Event(event.kind, places.span(event.site), text, tuple(sorted(concerned)), scaled, sure)


def _concerns(event: EventRecord, held: set[int], optimizer: OptimizerValue) -> bool:
    """Whether an event that names modules touches the parameters that an optimizer holds."""
    if not event.modules:
        return False
    if not optimizer.modules or not optimizer.complete:
        return True
    touched = layer_keys(event.modules)
    if event.kind is EventKind.ZERO_GRAD:
        # Clearing a part of what the optimizer holds leaves the rest.
        return held <= touched
    return bool(held & touched)


def _of_all(modules: Sequence[ModuleValue]) -> set[int]:
    return layer_keys(tuple(dict.fromkeys(modules)))


def _scalers(places: Places, ways: list[Path], below: _Below) -> tuple[ScalerRef, ...]:
    """The scalers that step here, with what is known of the gradients they take the scale off."""
    result: dict[object, ScalerRef] = {}
    for path in ways:
        last: dict[int, EventRecord] = {}
        for event in path.events:
            if event.kind is EventKind.BACKWARD:
                last.update(dict.fromkeys(_event(places, event, below).optimizers, event))
            scaler = event.subject
            if event.kind is not EventKind.OPTIMIZER_STEP or not isinstance(scaler, ScalerValue):
                continue
            if scaler.enabled is False:
                continue
            for optimizer in event.optimizers:
                fed = last.get(optimizer.key)
                known = result.get((id(scaler), optimizer.key))
                scales = fed is None or _may_be_scaled(fed, scaler) or (known is not None and known.scales)
                result[id(scaler), optimizer.key] = ScalerRef(
                    scaler.text, optimizer.key, places.span(event.site), scales, scaler.updates,
                    scaler.enabled is True, not scaler.escaped,
                )  # fmt: skip
    return tuple(result.values())


def _may_be_scaled(backward: EventRecord, scaler: ScalerValue) -> bool:
    """Whether the loss may carry the scale: it is only known not to where no loss in it was ever scaled."""
    value = backward.subject
    if not isinstance(value, Tensor) or value.scaler is not None or backward.library:
        return True
    losses = taints((value,))[1]
    return not losses or bool(losses & scaler.scaled)
