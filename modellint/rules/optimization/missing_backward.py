"""missing-backward."""

from __future__ import annotations

from functools import partial

from modellint.facts.training_loop import EventKind
from modellint.rule import Category, Finding, Iterator, Note, Rule, TrainingLoop
from modellint.rules.optimization._passes import Events, clears, holds, own_step, settled


class MissingBackward(Rule):
    """A training loop steps an optimizer and never runs backward.

    A loop whose passes run the model with gradients and step its optimizer, while no backward comes between and no
    parameter has a gradient.

    An optimizer skips parameters without a gradient: nothing is learned, and the loss stays where it was.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        optimizer.step()  # expect: missing-backward
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
        "Gradients are set by hand: evolution strategies, `autograd.grad`, federated averaging.",
        "A framework or a helper runs backward.",
        "A first step without data, such as a warm-up of the schedule or an empty replay buffer.",
    )
    references = ("docs.pytorch.org/tutorials/beginner/basics/optimization_tutorial.html",)

    def training_loop(self, loop: TrainingLoop) -> Iterator[Finding]:
        if not loop.complete or loop.framework is not None:
            return
        for optimizer in loop.optimizers:
            key = optimizer.key
            idle = loop.count(partial(_idle, key=key))
            others = any(event.kind is EventKind.BACKWARD for events in loop.passes for event in events)
            if others or (idle.times < 2 if loop.run is not None else not _always_idle(loop, key)):
                continue
            shows = _idle if loop.run is not None else _trains
            events = next(one for one in loop.passes if own_step(one, key) is not None and shows(one, key))
            forward = next(event for event in events if event.kind in (EventKind.FORWARD, EventKind.LOSS))
            yield self.finding(
                at=events[own_step(events, key) or 0].place,
                message=f"`{optimizer.text}` steps without any gradient: no backward comes before it",
                label="skips every parameter",
                related=[Note(forward.place, "the loss of this is never sent back")],
                why="all gradients are None at the step, and an optimizer skips parameters without a gradient",
                help=f"call backward() on the loss before {optimizer.text}.step()",
                evidence=loop.evidence(idle),
            )


def _always_idle(loop: TrainingLoop, key: int) -> bool:
    """Every pass with the step trains in all but backward, and nothing else runs unseen."""
    stepping = [events for events in loop.passes if own_step(events, key) is not None]
    if not stepping or not all(settled(events) for events in loop.passes):
        return False
    return all(_trains(events, key) for events in stepping)


def _trains(events: Events, key: int) -> bool:
    """Two of the three that belong to training: the model runs, a loss is computed, the gradients are cleared."""
    forward = any(event.kind is EventKind.FORWARD and key in event.optimizers for event in events)
    loss = any(event.kind is EventKind.LOSS for event in events)
    cleared = any(clears(event, key) for event in events)
    return forward + loss + cleared >= 2


def _idle(events: Events, key: int) -> bool:
    """A forward and a step, and nothing that could make a gradient."""
    if own_step(events, key) is None or not settled(events):
        return False
    return holds(events, EventKind.FORWARD, key) and not any(event.kind is EventKind.BACKWARD for event in events)
