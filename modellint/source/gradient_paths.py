"""Works out which optimizers step without any gradient, and why. Several readers ask."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.record import slotted
from modellint.facts.training_loop import OptimizerRef
from modellint.source.interpreter.reach import DECISION, NO_GRAD, BackwardNote, Cut, GraphNotes, SetupNote, StepNote
from modellint.source.interpreter.reach_values import has_trainable
from modellint.source.interpreter.records import ForwardRecord
from modellint.source.interpreter.values import ModuleValue, OptimizerValue
from modellint.source.places import Places


@slotted
class Untrained:
    """An optimizer of which no backward reaches any parameter."""

    setup: SetupNote
    backward: BackwardNote
    """The last backward before its step."""
    cut: Cut | None
    """What ends the way from that backward to what the optimizer holds."""
    forward: ForwardRecord | None
    """The call of the model before the cut."""


class GradientPaths:
    """What was noted about gradients in one file."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.notes: GraphNotes = places.records.graph
        self.setups = [setup for setup in self.notes.setups if not _is_odd(setup)]
        self.steps: dict[int, list[StepNote]] = {}
        for step in self.notes.steps:
            self.steps.setdefault(id(step.optimizer), []).append(step)

    def followed(self, entries: set[int]) -> bool:
        """All gradients in these parts of a run are made by backwards whose way is known."""
        if entries & self.notes.by_hand:
            return False
        return not any(note.reach.open and note.entry in entries for note in self.notes.backwards)

    def entries(self, setup: SetupNote) -> set[int]:
        """The parts of a run that an optimizer appears in."""
        return {setup.entry, *(step.entry for step in self.steps.get(id(setup.optimizer), ()))}

    def untouched(self, setup: SetupNote) -> bool:
        """What an optimizer holds goes nowhere that was not followed, and nobody writes to it."""
        for _, part in setup.parts.values():
            if part.state.get("escaped") or part.state.get("written"):
                return False
        keys = held(setup)
        return not any(
            record.escaped and _shares(record.model, keys)
            for record in self.places.records.forwards
            if record.grad is not False
        )

    def untrained(self) -> list[Untrained]:
        """Optimizers that step on nothing."""
        known: list[Untrained] | None = self.notes.made.get("untrained")
        if known is None:
            known = self.notes.made["untrained"] = list(self._untrained())
        return known

    def _untrained(self) -> Iterator[Untrained]:
        for setup in self.setups:
            steps = self.steps.get(id(setup.optimizer))
            if not steps or not setup.complete or not setup.roots:
                continue
            keys = held(setup)
            entries = self.entries(setup)
            if any(keys & note.below.keys() for note in self.notes.backwards):
                continue
            if not self.followed(entries) or not self.untouched(setup):
                continue
            if not any(trains(root) for root in setup.roots):
                continue
            last = max(step.moment for step in steps)
            before = [n for n in self.notes.backwards if n.steps and n.entry in entries and n.moment < last]
            if not before:
                continue
            yield self._why(setup, before, keys)

    def _why(self, setup: SetupNote, before: list[BackwardNote], keys: set[int]) -> Untrained:
        for note in reversed(before):
            for cut in sorted(note.reach.cuts, key=_order):
                for record in sorted(cut.forwards, key=lambda r: getattr(r.site.node, "lineno", 0)):
                    recorded = record.grad is True or cut.how == NO_GRAD
                    if recorded and _shares(record.model, keys):
                        return Untrained(setup, note, cut, record)
        note = before[-1]
        ran = (r for r in self.places.records.forwards if r.grad is True and _shares(r.model, keys))
        return Untrained(setup, note, None, next(ran, None) if note.reach.leaf else None)

    def reference(self, optimizer: OptimizerValue) -> OptimizerRef:
        """An optimizer in the words of the facts."""
        return OptimizerRef(optimizer.key, optimizer.text, optimizer.kind, self.places.optional(optimizer.site))


def unrecorded_forwards(places: Places) -> set[int]:
    """Forwards without gradients, by id, that are all a backward comes from: their model was meant to train."""
    if not places.records.graph.backwards:
        return set()
    return {
        id(case.forward)
        for case in GradientPaths(places).untrained()
        if case.forward is not None
        and case.cut is not None
        and case.cut.how == NO_GRAD
        and not case.backward.below
        and case.setup.roots
    }


def held(setup: SetupNote) -> set[int]:
    """Keys of all modules of which an optimizer holds parameters."""
    return setup.held | {key for key, _ in setup.names}


def own_parts(module: ModuleValue) -> set[int]:
    """Keys of a module and all below it."""
    inner = module.state.get("wrapped") or module
    return {part.key for _, part in inner.walk()}


def trains(module: ModuleValue) -> bool:
    """Something below it is known to require a gradient."""
    return has_trainable(module.state.get("wrapped") or module) is True


def _shares(module: ModuleValue, keys: set[int]) -> bool:
    return bool(own_parts(module) & keys)


def _is_odd(setup: SetupNote) -> bool:
    """An optimizer of a model that nobody constructs here, of which nothing is known."""
    return setup.optimizer.site is None


def _order(cut: Cut) -> tuple[int, int]:
    return ({NO_GRAD: 2, DECISION: 1}.get(cut.how, 0), getattr(cut.site.node, "lineno", 0))
