"""scheduler-before-optimizer."""

from __future__ import annotations

from modellint.facts.training_loop import EventKind
from modellint.rule import Category, Finding, Iterator, Note, Rule, TrainingLoop


class SchedulerBeforeOptimizer(Rule):
    """A learning rate scheduler steps before its optimizer has stepped once.

    A loop that calls `scheduler.step()` first and `optimizer.step()` later.

    Constructing the scheduler sets the first learning rate; a step before the optimizer's replaces it unused. The whole
    schedule runs one step early.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import warnings
    import torch
    from torch import nn

    warnings.simplefilter("ignore")
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    for _ in range(3):
        scheduler.step()  # expect: scheduler-before-optimizer
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
        scheduler.step()
    """
    fine_when = (
        "Training is resumed: the schedule is set to where it was.",
        "`ReduceLROnPlateau` is told a metric before training.",
        "A GradScaler skipped the first step of the optimizer.",
    )
    references = ("docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate",)

    def training_loop(self, loop: TrainingLoop) -> Iterator[Finding]:
        if not loop.start or loop.framework is not None:
            return
        step = loop.start[-1]
        early = next((event for event in loop.start if event.kind is EventKind.SCHEDULER_STEP), None)
        if early is None or step.kind is not EventKind.OPTIMIZER_STEP:
            return
        name = next(optimizer.text for optimizer in loop.optimizers if optimizer.key in step.optimizers)
        yield self.finding(
            at=early.place,
            message=f"`{early.text}` comes before the first step of `{name}`",
            label="the first learning rate is skipped",
            order=1,
            related=[Note(step.place, "the first step, with the second learning rate", order=2)],
            why="constructing a scheduler sets the first learning rate; this step replaces it before it was used",
            help=f"call `{early.text}` after the steps of `{name}` that it counts, at the end of the loop",
            evidence={"times": 1, "watched": 1, "first_step": 0} if loop.run is not None else None,
        )
