"""scheduler-wrong-interval."""

from __future__ import annotations

from modellint.facts.scheduler_setup import Interval, SchedulePlace
from modellint.rule import Category, Certainty, Finding, Iterator, Note, Rule, SchedulerSetup


class SchedulerWrongInterval(Rule):
    """A schedule that counts epochs is stepped for every batch, or the other way round.

    A scheduler whose sizes are the number of epochs, or lie within it, stepped in the loop over batches; one that
    counts batches, as OneCycleLR with `steps_per_epoch`, stepped once per epoch; or one that both loops step.

    A schedule of 90 epochs that steps per batch has run out after 90 batches: a StepLR then trains at a vanishing
    learning rate, and a cosine goes up and down. The other way round, training never leaves the warm-up.
    """

    category = Category.SUSPICIOUS
    bad = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    epochs = 10
    data = TensorDataset(torch.randn(64, 4), torch.randn(64, 1))
    loader = DataLoader(data, batch_size=8, shuffle=True)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()  # expect: scheduler-wrong-interval
    """
    good = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    epochs = 10
    data = TensorDataset(torch.randn(64, 4), torch.randn(64, 1))
    loader = DataLoader(data, batch_size=8, shuffle=True)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        scheduler.step()
    """
    fine_when = (
        "The sizes are iterations: `T_max=epochs * len(loader)`.",
        "A framework steps the scheduler at the interval that it was told.",
        "A schedule of one's own (LambdaLR), or sizes that the code does not show.",
    )
    references = ("docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate",)

    def scheduler_setup(self, setup: SchedulerSetup) -> Iterator[Finding]:
        if setup.framework is not None:
            return
        per_batch = [step for step in setup.steps if step.interval is Interval.BATCH]
        per_epoch = [step for step in setup.steps if step.interval is Interval.EPOCH]
        known = {step.interval for step in setup.steps}
        if Interval.UNKNOWN in known:
            return
        if len(known) == 2:
            if per_batch[0].always and per_epoch[0].always:
                yield self._both(setup, per_batch[0], per_epoch[0])
        elif per_batch and setup.counts is Interval.EPOCH:
            yield self._wrong(setup, per_batch[0], "epochs", "every batch", "after the loop over batches")
        elif per_epoch and setup.counts is Interval.BATCH:
            yield self._wrong(setup, per_epoch[0], "batches", "every epoch", "in the loop over batches")

    def _wrong(self, setup: SchedulerSetup, step: SchedulePlace, counts: str, stepped: str, where: str) -> Finding:
        return self.finding(
            at=step.place,
            message=f"`{setup.text}` counts {counts} and is stepped after {stepped}",
            label=f"steps after {stepped}",
            related=[Note(setup.place, f"a schedule of {counts}")],
            certainty=Certainty.LIKELY if setup.kind == "ExponentialLR" else Certainty.CERTAIN,
            why=f"{setup.shown}; {setup.kind} counts its own steps, whatever they stand for",
            help=f"call `{step.text}` {where}, or give {setup.kind} its sizes in the other unit",
        )

    def _both(self, setup: SchedulerSetup, batch: SchedulePlace, epoch: SchedulePlace) -> Finding:
        return self.finding(
            at=epoch.place,
            message=f"`{setup.text}` is stepped after every batch, and again after every epoch",
            label="one step more per epoch",
            related=[Note(batch.place, "steps after every batch"), Note(setup.place, "built here")],
            certainty=Certainty.LIKELY,
            why="a scheduler counts its steps: those of an epoch come on top of those of its batches",
            help=f"keep one of the two calls of `{setup.text}.step()`",
        )
