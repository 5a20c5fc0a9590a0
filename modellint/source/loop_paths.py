"""Every path through the trace of a loop's round; paths that contradict themselves are left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from typing import Any, Literal, NamedTuple

from modellint.facts.record import slotted
from modellint.facts.training_loop import EventKind
from modellint.source.interpreter.path_tests import PathTest, contradict
from modellint.source.interpreter.records import Alternatives, CallTrace, EventRecord, LoopRecord
from modellint.source.interpreter.values import Key, ModuleValue

PASS_LIMIT = 64
_EVENT_LIMIT = 200
Inner = Literal["skip", "fold", "once"]
_TRAINING = frozenset({EventKind.BACKWARD, EventKind.OPTIMIZER_STEP})


class Held(NamedTuple):
    """The outcome of a test on a path."""

    outcome: bool
    test: PathTest | None


@slotted
class Path:
    """One way through: what happens on it, what ended it, what its tests gave."""

    events: list[EventRecord] = field(default_factory=list)
    end: str | None = None
    holds: dict[Key, Held] = field(default_factory=dict)

    def then(self, other: Path) -> Path | None:
        """This one and then another; None where their tests cannot both be."""
        if not self.holds or not other.holds:
            holds = self.holds or other.holds
        else:
            for key, held in other.holds.items():
                known = self.holds.get(key)
                if known is not None and known.outcome is not held.outcome:
                    return None
                if key[0] == "equals":
                    if any(contradict(key, held.outcome, other_key, h.outcome) for other_key, h in self.holds.items()):
                        return None
            holds = {**self.holds, **other.holds}
        events = [*self.events, *other.events] if other.events else self.events
        return Path(events, other.end, holds)


def paths(items: Sequence[Any], inner: Inner = "fold") -> tuple[list[Path], bool]:
    """Every path through a trace; False when there are too many.

    A loop inside that only prepares (`for p in parameters: p.grad = None`) happens as a whole. Of the others, `fold`
    goes once through one that runs backward and no step, while one that steps stands for anything its optimizers may
    see; `once` goes once through each; `skip` leaves them out.
    """
    found = [Path()]
    complete = True
    for item in items:
        if isinstance(item, EventRecord):
            ways: list[Path] = [Path([item])]
        elif isinstance(item, CallTrace):
            ways, whole = paths(item.items, inner)
            complete = complete and whole
            for way in ways:
                way.end = None if way.end == "return" else way.end
        elif isinstance(item, Alternatives):
            ways, whole = _arms(item, inner)
            complete = complete and whole
        elif isinstance(item, LoopRecord):
            ways, whole = _loop_inside(item, inner)
            complete = complete and whole
        else:
            continue
        found, whole = _extended(found, ways)
        complete = complete and whole
    return found, complete


def _arms(item: Alternatives, inner: Inner) -> tuple[list[Path], bool]:
    ways: list[Path] = []
    complete = True
    for index, (arm, end) in enumerate(item.arms):
        start = Path(holds=dict(_holds(item, index)))
        arm_paths, whole = paths(arm, inner)
        complete = complete and whole
        for path in arm_paths:
            way = start.then(path)
            if way is not None:
                way.end = path.end or end
                ways.append(way)
    return ways, complete


def _holds(item: Alternatives, index: int) -> Iterator[tuple[Key, Held]]:
    conditions = item.conditions[index] if index < len(item.conditions) else ()
    test: PathTest | None = item.test
    for key, outcome in conditions:
        yield key, Held(outcome, test)
    if test is not None:
        yield test.key, Held(test.outcome is (index == 0), test)


def _loop_inside(item: LoopRecord, inner: Inner) -> tuple[list[Path], bool]:
    flat = flat_events(item)
    kinds = {event.kind for event in flat}
    if not kinds & _TRAINING and inner != "once":
        return [Path(flat)], True
    if inner == "skip":
        return [Path()], True
    if EventKind.OPTIMIZER_STEP not in kinds or inner == "once":
        ways, complete = paths(item.rounds[0], inner)
        for way in ways:
            way.end = way.end if way.end in ("return", "raise") else None
            way.holds = {}  # what its tests give differs from round to round
        return ways, complete
    stepped = [o for event in flat if event.kind is EventKind.OPTIMIZER_STEP for o in event.optimizers]
    anything = EventRecord(EventKind.UNKNOWN_CALL, item.site, "", tuple(dict.fromkeys(stepped)))
    return [Path([anything])], True


def flat_events(items: Any) -> list[EventRecord]:
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


def _extended(found: list[Path], ways: list[Path]) -> tuple[list[Path], bool]:
    if len(ways) == 1 and ways[0].end is None and not ways[0].holds:
        for path in found:
            if path.end is None and len(path.events) < _EVENT_LIMIT:
                path.events = [*path.events, *ways[0].events]
        return found, True
    result = [path for path in found if path.end is not None]
    for path in found:
        if path.end is None:
            result.extend(longer for way in _distinct(ways) if (longer := path.then(way)) is not None)
    return result[:PASS_LIMIT], len(result) <= PASS_LIMIT


def _distinct(ways: Iterable[Path]) -> list[Path]:
    """Paths on which the same happens are one, with the tests that they agree on."""
    known: dict[object, Path] = {}
    for way in ways:
        key = (tuple(id(event.site.node) for event in way.events), tuple(e.optimizers for e in way.events), way.end)
        same = known.get(key)
        if same is None:
            known[key] = way
        else:
            holds = {k: h for k, h in same.holds.items() if k in way.holds and way.holds[k].outcome is h.outcome}
            known[key] = Path(same.events, same.end, holds)
    return list(known.values())


def layer_keys(modules: Sequence[ModuleValue]) -> set[int]:
    """Keys of the torch layers below some modules (of the modules themselves where there are none)."""
    result: set[int] = set()
    for module in modules:
        inner = module.state.get("wrapped") or module
        for _, part in inner.walk():
            if part.spec is None or part.spec.parametric:
                result.add(part.key)
    return result
