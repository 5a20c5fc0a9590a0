"""grad-scaler-misused."""

from __future__ import annotations

from functools import partial

from modellint.facts.training_loop import Event, EventKind, OptimizerRef, ScalerRef
from modellint.rule import Category, Certainty, Finding, Iterator, Note, Rule, TrainingLoop
from modellint.rules.optimization._passes import Events, backwards, own_step, settled, settled_for


class GradScalerMisused(Rule):
    """An optimizer steps on gradients that a GradScaler has scaled and nobody has unscaled.

    A pass that runs backward on a scaled loss and calls `optimizer.step()` instead of, or beside,
    `scaler.step(optimizer)`; or passes of a scaler that never call `scaler.update()`.

    Each step is thousands of times too long, or, with Adam, is never checked for infinite gradients; without an update
    the scale never adapts.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        scaler.scale(loss).backward()
        optimizer.step()  # expect: grad-scaler-misused
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    """
    fine_when = (
        "The scaler is off (`enabled=False`).",
        "A fused optimizer receives the scale and takes it off by itself.",
        "One `update()` for several optimizers.",
    )
    references = ("docs.pytorch.org/docs/stable/amp.html#gradient-scaling",)

    def training_loop(self, loop: TrainingLoop) -> Iterator[Finding]:
        if loop.framework is not None:
            return
        for optimizer in loop.optimizers:
            key = optimizer.key
            scaled = loop.count(partial(_scaled_step, key=key))
            pair = next((pair for events in loop.passes if (pair := _scaled_step(events, key)) is not None), None)
            if pair is not None:
                yield self.finding(
                    at=pair[1].place,
                    message=f"`{optimizer.text}` steps on gradients that still carry the scale of the loss",
                    label="the scale was not taken off",
                    order=2,
                    related=[Note(pair[0].place, "makes scaled gradients", order=1)],
                    why="the scale is 65,536 by default, and only scaler.step() skips infinite gradients",
                    help=f"call `scaler.step({optimizer.text})` instead, and `scaler.update()` after it",
                    certainty=Certainty.CERTAIN if pair[0].sure else Certainty.LIKELY,
                    evidence=loop.evidence(scaled),
                )
            if loop.run is not None:
                yield from self._never_updated(loop, key)
            else:
                yield from self._in_code(loop, optimizer)

    def _in_code(self, loop: TrainingLoop, optimizer: OptimizerRef) -> Iterator[Finding]:
        key = optimizer.key
        twice = next((pair for events in loop.passes if (pair := _second_step(events, key)) is not None), None)
        if twice is not None:
            yield self.finding(
                at=twice[1].place,
                message=f"`{optimizer.text}` steps twice: `{twice[0].text}` has already called it",
                label="the second step on the same gradients",
                order=2,
                related=[Note(twice[0].place, "steps unless a gradient is infinite", order=1)],
                why="scaler.step() calls the step of the optimizer and leaves it out if a gradient is infinite",
                help=f"remove `{twice[1].text}`",
            )
        for scaler in loop.scalers:
            if scaler.optimizer == key and scaler.complete:
                yield from self._of_scaler(loop, optimizer, scaler)

    def _of_scaler(self, loop: TrainingLoop, optimizer: OptimizerRef, scaler: ScalerRef) -> Iterator[Finding]:
        certainty = Certainty.CERTAIN if scaler.on else Certainty.LIKELY
        key = optimizer.key
        fed = [events for events in loop.passes if own_step(events, key) is not None and backwards(events, key)]
        if not scaler.scales and fed and all(settled_for(events, key) for events in loop.passes):
            reached = backwards(fed[0][: own_step(fed[0], key)], key)
            if not reached:
                return
            backward = fed[0][reached[-1]]
            yield self.finding(
                at=backward.place,
                message=f"`{scaler.text}` steps on gradients that it has not scaled",
                label="backward on a loss without the scale",
                order=1,
                related=[Note(scaler.step, "divides the gradients by the scale first", order=2)],
                certainty=certainty,
                why="the scale is 65,536 by default: gradients that never carried it become that much too small",
                help=f"run backward on the scaled loss: `{scaler.text}.scale(loss).backward()`",
            )
        elif scaler.scales and not scaler.updates:
            yield self.finding(
                at=scaler.step,
                message=f"`{scaler.text}` is never updated",
                certainty=certainty,
                why="update() makes the scale smaller after infinite gradients and larger after 2,000 good steps; "
                "where the scaler is on, a second step() without it raises",
                help=f"call `{scaler.text}.update()` once at the end of each pass",
            )

    def _never_updated(self, loop: TrainingLoop, key: int) -> Iterator[Finding]:
        unscaled = loop.count(lambda events: any(_is(event, EventKind.UNSCALE, key) for event in events))
        updated = any(event.kind is EventKind.SCALER_UPDATE for events in loop.passes for event in events)
        if unscaled.times < 3 or updated or not all(settled(events) for events in loop.passes):
            return
        step = next(e for events in loop.passes for e in events if _is(e, EventKind.OPTIMIZER_STEP, key))
        yield self.finding(
            at=step.place,
            message=f"the scaler of `{step.text}` is never updated",
            why="update() makes the scale smaller after infinite gradients and larger after 2,000 good steps",
            help="call `scaler.update()` once at the end of each pass",
            evidence=loop.evidence(unscaled),
        )


def _is(event: Event, kind: EventKind, key: int) -> bool:
    return event.kind is kind and (not event.optimizers or key in event.optimizers)


def _second_step(events: Events, key: int) -> tuple[Event, Event] | None:
    """A step by a scaler, and a plain one on the same gradients after it."""
    first: Event | None = None
    for event in events:
        if event.kind is EventKind.OPTIMIZER_STEP and key in event.optimizers:
            if first is not None and not event.scaled:
                return first, event
            first = event if event.scaled else None
        elif event.kind in (EventKind.BACKWARD, EventKind.UNKNOWN_CALL, EventKind.ZERO_GRAD):
            first = None
    return None


def _scaled_step(events: Events, key: int) -> tuple[Event, Event] | None:
    """A backward of a scaled loss, and a step before anything has taken the scale off."""
    backward: Event | None = None
    for event in events:
        if _is(event, EventKind.BACKWARD, key):
            backward = event if event.scaled else None
        elif _is(event, EventKind.UNSCALE, key) or _is(event, EventKind.UNKNOWN_CALL, key):
            backward = None
        elif _is(event, EventKind.OPTIMIZER_STEP, key) and backward is not None:
            if event.scaled:
                return None  # from code: the scaler takes the scale off
            return backward, event
    return None
