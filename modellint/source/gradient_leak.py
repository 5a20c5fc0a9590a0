"""Reads `GradientLeak`: gradients of one backward that a later step of another optimizer finds as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint.facts.gradient_leak import GradientLeak
from modellint.facts.training_loop import EventKind
from modellint.source.forward_order import in_order
from modellint.source.gradient_paths import GradientPaths, held, own_parts
from modellint.source.interpreter.reach import DETACH, NO_GRAD, BackwardNote, SetupNote
from modellint.source.interpreter.records import EventRecord, LoopRecord
from modellint.source.places import Places
from modellint.source.training_loop import passes


def read(places: Places) -> Iterator[GradientLeak]:
    """One fact for each backward and optimizer that it pollutes."""
    if len(places.records.graph.setups) < 2:
        return
    paths = GradientPaths(places)
    setups = [s for s in paths.setups if s.complete and not s.others and s.roots and paths.untouched(s)]
    seen: set[object] = set()
    for loop in places.records.loops:
        for fact in _of_loop(places, paths, loop, setups):
            if (fact.place, fact.polluted.place) not in seen:
                seen.add((fact.place, fact.polluted.place))
                yield fact


def _of_loop(
    places: Places, paths: GradientPaths, loop: LoopRecord, setups: Sequence[SetupNote]
) -> Iterator[GradientLeak]:
    for items in loop.rounds[-1:]:
        for events, end in passes(items)[0]:
            stepping = {id(o) for e in events if e.kind is EventKind.OPTIMIZER_STEP for o in e.optimizers}
            if end in ("raise", "return") or len(stepping) < 2:
                continue
            for setup in setups:
                if id(setup.optimizer) in stepping:
                    yield from _of_pass(places, paths, events, setup, setups)


def _of_pass(
    places: Places, paths: GradientPaths, events: Sequence[EventRecord], setup: SetupNote, setups: Sequence[SetupNote]
) -> Iterator[GradientLeak]:
    """Two rounds of a pass: what is in the gradients of one optimizer when it steps in the second."""
    keys = held(setup)
    if not any(_clears(event, setup, keys) for event in events):
        return  # never cleared at all: that is another defect
    filled: list[tuple[BackwardNote, SetupNote | None]] = []
    for number, event in enumerate([*events, *events]):
        if event.kind is EventKind.UNKNOWN_CALL and (event.everything or setup.optimizer in event.optimizers):
            return
        if event.kind is EventKind.BACKWARD:
            note = event.gradient
            if note is None or note.reach.open:
                return
            if keys & note.below.keys():
                filled.append((note, None))
        elif _clears(event, setup, keys):
            filled.clear()
        elif event.kind is EventKind.OPTIMIZER_STEP and setup.optimizer in event.optimizers:
            if number >= len(events):
                fact = _judge(places, paths, filled, setup, event)
                if fact is not None:
                    yield fact
        elif event.kind is EventKind.OPTIMIZER_STEP:
            other = next((s for s in setups if s.optimizer in event.optimizers), None)
            if other is not None:
                filled = [(note, user or _user(note, other)) for note, user in filled]


def _user(note: BackwardNote, other: SetupNote) -> SetupNote | None:
    return other if held(other) & note.below.keys() else None


def _judge(
    places: Places,
    paths: GradientPaths,
    filled: list[tuple[BackwardNote, SetupNote | None]],
    setup: SetupNote,
    step: EventRecord,
) -> GradientLeak | None:
    own = next((note for note, user in reversed(filled) if user is None), None)
    if own is None:
        return None
    for note, user in filled:
        if user is None or note is own or held(user) & held(setup) or note.site == own.site:
            continue
        others = held(user)
        through = bool(others & own.below.keys())
        kept_out = any(
            cut.how in (DETACH, NO_GRAD) and any(own_parts(record.model) & others for record in cut.forwards)
            for cut in own.reach.cuts
        )
        record = next((r for r in in_order(note.forwards) if own_parts(r.model) & held(setup)), None)
        if record is None or not (through or kept_out) or any(r.needs_gradient for r in note.forwards):
            continue
        return GradientLeak(
            place=places.span(note.site),
            text=note.text,
            trained=paths.reference(user.optimizer),
            polluted=paths.reference(setup.optimizer),
            model=places.model(record.model, record.text),
            model_place=places.span(record.site),
            own_place=places.span(own.site),
            own_text=own.text,
            step_place=places.span(step.site),
        )
    return None


def _clears(event: EventRecord, setup: SetupNote, keys: set[int]) -> bool:
    if event.kind is not EventKind.ZERO_GRAD:
        return False
    if event.everything or setup.optimizer in event.optimizers:
        return True
    touched: set[int] = set()
    for module in event.modules:
        touched |= own_parts(module)
    return bool(keys & touched)
