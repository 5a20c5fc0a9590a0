"""The TrainingLoop that the passes of one optimizer make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modellint.facts.run_evidence import RunEvidence
from modellint.facts.training_loop import Event, EventKind, OptimizerRef, PassCount, TrainingLoop
from modellint.runtime.call_site import Site
from modellint.runtime.gradient_clearing import Clearing
from modellint.runtime.loop_events import Noted, Step
from modellint.runtime.session import OptimizerRecord, Session

_ORDER_RULES = ("zero-grad-before-step", "missing-backward", "misplaced-gradient-clipping", "grad-scaler-misused")


@dataclass(slots=True)
class LoopRecord:
    """What is known about the loop of one optimizer."""

    record: OptimizerRecord
    backward_site: Site | None = None
    """A backward that reached its parameters."""
    root: int = 0
    passes: dict[tuple[Step, ...], PassCount] = field(default_factory=dict)
    before_step: list[Noted] = field(default_factory=list)
    """What the gradients showed when the step that runs began."""
    entries_before: int = 0
    reads: int = 0
    """Gradients that were read to see whether they are zero."""
    in_backward: bool = False
    """It steps inside of backward."""
    too_many: bool = False
    scheduled: list[Site] = field(default_factory=list)
    """Steps of schedulers before its first one."""


def loop_fact(session: Session, loop: LoopRecord, clearing: Clearing, numbers: Mapping[str, float]) -> TrainingLoop:
    """The TrainingLoop of one optimizer, which has stepped."""
    record, step_site = loop.record, loop.record.step_site
    assert step_site is not None
    passes = _passes(loop, step_site, cleared=not clearing.times)
    if clearing.unseen:
        session.out_of_sight(record.text(), clearing.unseen, "missing-zero-grad", "zero-grad-before-step")
    if loop.in_backward:
        session.out_of_sight(record.text(), "it steps inside of backward", *_ORDER_RULES)
    elif loop.too_many:
        session.out_of_sight(record.text(), "its passes differ too much", *_ORDER_RULES)
    scaled = any(step.kind is EventKind.CLIP and step.scaled for steps in loop.passes for step in steps)
    start = [_event(Step(EventKind.SCHEDULER_STEP, site, (record.key,)), step_site) for site in loop.scheduled]
    end = _event(Step(EventKind.OPTIMIZER_STEP, step_site, (record.key,)), step_site)
    return TrainingLoop(
        place=step_site.span(),
        passes=tuple(tuple(_event(step, step_site) for step in steps) for steps in passes),
        complete=not clearing.unseen and not loop.too_many,
        optimizers=(_optimizer_ref(record),),
        cleared_outside=(),
        framework=None,
        run=RunEvidence(
            clearing.times,
            clearing.windows,
            clearing.first_step,
            "steps",
            numbers=tuple(numbers.items()) if scaled else (),
            root=loop.root,
        ),
        counts=tuple(passes.values()),
        start=(*start, end) if start else (),
    )


def _passes(loop: LoopRecord, step_site: Site, *, cleared: bool) -> dict[tuple[Step, ...], PassCount]:
    """The passes that were counted; where there is none, a backward and a step of which the order is not known."""
    clear = Step(EventKind.ZERO_GRAD, step_site, (loop.record.key,))
    passes: dict[tuple[Step, ...], PassCount] = {}
    for steps, count in loop.passes.items():
        if cleared and any(step.kind is EventKind.BACKWARD for step in steps) and steps[0] != clear:
            steps = (clear, *steps)  # a suspicion that was not confirmed
        known = passes.get(steps, PassCount(0, count.first_step))
        passes[steps] = PassCount(known.times + count.times, min(known.first_step, count.first_step))
    if not passes and loop.backward_site is not None:
        backward = Step(EventKind.BACKWARD, loop.backward_site, (loop.record.key,))
        step = Step(EventKind.OPTIMIZER_STEP, step_site, (loop.record.key,))
        passes[(clear, backward, step) if cleared else (backward, step)] = PassCount(0, 0)
    return passes


def _event(step: Step, otherwise: Site) -> Event:
    site = step.site or otherwise
    text = "" if step.kind in (EventKind.ZERO_GRAD, EventKind.UNKNOWN_CALL) else site.text()
    return Event(step.kind, site.span(), text, step.optimizers, step.scaled)


def _optimizer_ref(record: OptimizerRecord) -> OptimizerRef:
    place = record.site.span() if record.site is not None else None
    return OptimizerRef(record.key, record.text(), record.kind, place)
