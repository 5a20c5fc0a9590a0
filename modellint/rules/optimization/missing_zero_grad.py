"""missing-zero-grad."""

from __future__ import annotations

from modellint.facts.training_loop import Event, EventKind, OptimizerRef
from modellint.rule import Category, Certainty, Finding, Iterator, Note, Rule, Span, TrainingLoop

_CLEARS_ITSELF = {"LBFGS", "SAM", "ASAM", "GSAM", "NoamOpt", "ScheduledOptim", "DeepSpeedEngine"}
"""Optimizers whose step takes a closure that clears, or clears itself."""


class MissingZeroGrad(Rule):
    """A training loop steps an optimizer whose gradients are never cleared.

    A loop whose passes run backward and then a step of an optimizer, while no pass with that step clears its
    gradients: by `zero_grad()` of the optimizer or of the model, `p.grad = None` or in place.

    `backward()` adds to `.grad`, so the step after n batches follows the sum of n gradients, old and new: the
    effective step grows and points where the data was long ago.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(5):
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()  # expect: missing-zero-grad
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "Gradient accumulation: step and clear stand under one condition.",
        "The step clears by itself, or a closure, a helper or a framework clears.",
        "A single step outside of any loop.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.zero_grad.html",
        "docs.pytorch.org/tutorials/recipes/recipes/zeroing_out_gradients.html",
    )

    def training_loop(self, loop: TrainingLoop) -> Iterator[Finding]:
        if not loop.complete or loop.framework is not None:
            return
        for optimizer in loop.optimizers:
            # A run has seen the gradients themselves: what the optimizer is called says no more.
            if loop.run is not None or optimizer.kind not in _CLEARS_ITSELF:
                yield from self._judge(loop, optimizer)

    def _judge(self, loop: TrainingLoop, optimizer: OptimizerRef) -> Iterator[Finding]:
        for place in _step_places(loop, optimizer.key):
            passes = [events for events in loop.passes if _step_index(events, place, optimizer.key) is not None]
            if loop.run is not None:
                passes = [events for events in passes if not any(e.kind is EventKind.ZERO_GRAD for e in events)]
            elif any(_may_clear(event, optimizer.key) for events in passes for event in events):
                continue
            if optimizer.fresh or _made_between(optimizer, loop.place, place):
                continue  # a fresh optimizer in every pass: nothing is left over from the pass before
            pairs = (_backward_and_step(events, place, optimizer.key) for events in passes)
            first = next((pair for pair in pairs if pair is not None), None)
            if first is not None:
                yield self._report(loop, optimizer, *first)

    def _report(self, loop: TrainingLoop, optimizer: OptimizerRef, backward: Event, step: Event) -> Finding:
        outside = [event for event in loop.cleared_outside if optimizer.key in event.optimizers]
        notes = [Note(backward.place, "adds to the gradients of the batches before", order=1)]
        notes += [Note(event.place, "cleared here, outside of this loop") for event in outside]
        never = "not cleared in this loop, only outside of it" if outside else "never cleared"
        if loop.when:
            never = f"not cleared while {loop.when}"
        return self.finding(
            at=step.place,
            message=f"`{optimizer.text}` steps on gradients that are {never}",
            label="steps on the sum of all gradients so far",
            order=2,
            related=notes,
            certainty=Certainty.CERTAIN if optimizer.kind else Certainty.LIKELY,
            why="backward() adds to .grad: after n batches each step follows the sum of n gradients",
            help=f"call {optimizer.text}.zero_grad() before `{backward.text}`, for every batch",
            group=(loop.place, optimizer.key),
        )


def _step_places(loop: TrainingLoop, key: int) -> list[Span]:
    steps = (e for events in loop.passes for e in events if e.kind is EventKind.OPTIMIZER_STEP and key in e.optimizers)
    return list(dict.fromkeys(step.place for step in steps))


def _made_between(optimizer: OptimizerRef, header: Span, step: Span) -> bool:
    made = optimizer.place
    if made is None or not made.path == header.path == step.path:
        return False
    return header.line < made.line <= step.line


def _step_index(events: tuple[Event, ...], place: Span, key: int) -> int | None:
    for index, event in enumerate(events):
        if event.kind is EventKind.OPTIMIZER_STEP and event.place == place and key in event.optimizers:
            return index
    return None


def _may_clear(event: Event, key: int) -> bool:
    """An event that clears, or may clear, this optimizer's gradients; one without optimizers may concern any."""
    return event.kind in (EventKind.ZERO_GRAD, EventKind.UNKNOWN_CALL) and (
        not event.optimizers or key in event.optimizers
    )


def _backward_and_step(events: tuple[Event, ...], place: Span, key: int) -> tuple[Event, Event] | None:
    """The first backward that reaches this optimizer's parameters before the step."""
    index = _step_index(events, place, key)
    for event in events[:index]:
        if event.kind is EventKind.BACKWARD and key in event.optimizers and index is not None:
            return event, events[index]
    return None
