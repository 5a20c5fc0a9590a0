"""grad-scaler-misused."""

from __future__ import annotations

from functools import partial

from modellint.facts.training_loop import Event, EventKind
from modellint.rule import Category, Finding, Iterator, Note, Rule, TrainingLoop
from modellint.rules.optimization._passes import Events, settled


class GradScalerMisused(Rule):
    """An optimizer steps on gradients that a GradScaler has scaled and nobody has unscaled.

    A pass that runs backward on a scaled loss and calls `optimizer.step()` instead of, or beside,
    `scaler.step(optimizer)`; or passes of a scaler that never call `scaler.update()`.

    Each step is thousands of times too long, or, with Adam, is never checked for infinite gradients; without an update
    the scale never adapts.
    """

    category = Category.CORRECTNESS
    sides = ("runtime",)
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
                    evidence=loop.evidence(scaled),
                )
            yield from self._never_updated(loop, key)

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


def _scaled_step(events: Events, key: int) -> tuple[Event, Event] | None:
    """A backward of a scaled loss, and a step before anything has taken the scale off."""
    backward: Event | None = None
    for event in events:
        if _is(event, EventKind.BACKWARD, key):
            backward = event if event.scaled else None
        elif _is(event, EventKind.UNSCALE, key) or _is(event, EventKind.UNKNOWN_CALL, key):
            backward = None
        elif _is(event, EventKind.OPTIMIZER_STEP, key) and backward is not None:
            return backward, event
    return None
