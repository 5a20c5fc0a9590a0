"""scheduler-never-stepped."""

from __future__ import annotations

from modellint.facts.training_loop import OptimizerRef
from modellint.rule import Category, Finding, Iterator, Note, Rule, SchedulerSetup, Span


class SchedulerNeverStepped(Rule):
    """A learning rate scheduler is built, and the learning rate never changes.

    A scheduler that no code steps, passes on, returns or saves, in a program that trains its optimizer; or one that
    steps, but was built on another optimizer than the one that trains.

    The whole run keeps the first learning rate; with a warm-up, which begins low, it stays that low.
    """

    category = Category.SUSPICIOUS
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2)  # expect: scheduler-never-stepped
    for _ in range(6):
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
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2)
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
        scheduler.step()
    """
    fine_when = (
        "A framework or a callback steps it.",
        "It is a member of SequentialLR or ChainedScheduler.",
        "It only shows what a schedule looks like, with no training.",
    )
    references = ("docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate",)

    def scheduler_setup(self, setup: SchedulerSetup) -> Iterator[Finding]:
        optimizer = setup.optimizer
        if optimizer is None or setup.framework is not None:
            return
        if not setup.steps and setup.untouched and (setup.trains or setup.other is not None):
            yield self.finding(
                at=setup.place,
                message=f"`{setup.text}` is never stepped",
                label="changes no learning rate",
                why=f"a {setup.kind} changes the learning rate of `{optimizer.text}` only when it is stepped",
                help=f"call `{setup.text}.step()` once after each epoch, or after each batch if it counts batches",
            )
        elif setup.steps and setup.other is not None and setup.other_step is not None:
            yield self._of_another(setup, optimizer, setup.other, setup.other_step)

    def _of_another(self, setup: SchedulerSetup, own: OptimizerRef, other: OptimizerRef, step: Span) -> Finding:
        return self.finding(
            at=setup.place,
            message=f"`{setup.text}` schedules `{own.text}`, and `{other.text}` trains the parameters",
            label=f"built on `{own.text}`",
            related=[Note(step, f"steps `{other.text}`"), Note(setup.steps[0].place, "changes the other one")],
            why=f"`{own.text}` never steps: its learning rate has no effect",
            help=f"build `{setup.text}` on `{other.text}`",
        )
