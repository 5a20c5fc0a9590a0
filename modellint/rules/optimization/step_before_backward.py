"""step-before-backward."""

from __future__ import annotations

from modellint.facts.training_loop import EventKind
from modellint.rule import Category, Finding, Iterator, Note, Rule, TrainingLoop
from modellint.rules.optimization._passes import Events, backwards, clears, own_step, settled_for


class StepBeforeBackward(Rule):
    """An optimizer steps before the backward of the same pass.

    A loop in which every pass that steps runs its only backward after the step, while nothing clears the gradients
    between the two.

    The step uses the gradients of the batch before, or none: where the pass begins with a clear, every step finds no
    gradient at all, and nothing is learned.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        optimizer.step()  # expect: step-before-backward
        loss.backward()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The update is delayed on purpose: the step comes first, and the gradients are cleared right after it.",
        "The loss of the pass before is sent back first.",
        "A closure runs backward inside of the step.",
    )
    references = ("docs.pytorch.org/docs/stable/optim.html#taking-an-optimization-step",)

    def training_loop(self, loop: TrainingLoop) -> Iterator[Finding]:
        if not loop.complete or loop.framework is not None:
            return
        for optimizer in loop.optimizers:
            key = optimizer.key
            stepping = [events for events in loop.passes if own_step(events, key) is not None]
            if not stepping or not all(settled_for(events, key) for events in loop.passes):
                continue
            if not all(_reversed(events, key) for events in stepping):
                continue
            step = stepping[0][own_step(stepping[0], key) or 0]
            backward = stepping[0][backwards(stepping[0], key)[0]]
            cleared = all(any(clears(event, key) for event in events) for events in stepping)
            yield self.finding(
                at=step.place,
                message=f"`{optimizer.text}` steps before `{backward.text}` has run",
                label="no gradient of this batch is there yet",
                order=1,
                related=[Note(backward.place, "makes the gradients, too late for the step", order=2)],
                why="the gradients are cleared before the next step: it finds none and skips every parameter"
                if cleared
                else "each step follows the gradients of the batches before, at the weights of an earlier step",
                help=f"call `{step.text}` after `{backward.text}`",
            )


def _reversed(events: Events, key: int) -> bool:
    """One step, then one backward; a clear between them would be a delayed update."""
    step, reached = own_step(events, key), backwards(events, key)
    if step is None or len(reached) != 1 or reached[0] < step:
        return False
    computed = any(event.kind is EventKind.LOSS for event in events[:step])
    between = events[step : reached[0]]
    return computed and not any(event.kind is EventKind.ZERO_GRAD and key in event.optimizers for event in between)
