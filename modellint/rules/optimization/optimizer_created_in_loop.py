"""optimizer-created-in-loop."""

from __future__ import annotations

from modellint.facts.optimizer_rebuild import OptimizerRebuild
from modellint.rule import Category, Finding, Iterator, Note, Rule


class OptimizerCreatedInLoop(Rule):
    """An optimizer is made anew in every epoch or for every batch.

    The construction of an optimizer in each round of a loop over epochs or batches, with the same settings, for a model
    that was made before the loop and whose weights go on.

    Moments and step counts begin at zero each time: Adam made anew for every batch moves each weight by the learning
    rate times the sign of the gradient, momentum never builds up, and schedules start over.
    """

    category = Category.SUSPICIOUS
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    for _ in range(5):
        x, y = torch.randn(16, 4), torch.randn(16, 1)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)  # expect: optimizer-created-in-loop
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(5):
        x, y = torch.randn(16, 4), torch.randn(16, 1)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "Each fold, trial or task has a model of its own, or starts from weights that are set again.",
        "A restart on purpose: other settings, other parameters, or only in some rounds.",
        "Plain SGD without momentum keeps nothing from step to step.",
        "The inputs are optimised, and they are made in the loop.",
    )
    references = (
        "docs.pytorch.org/docs/stable/optim.html#constructing-it",
        "github.com/alan-turing-institute/deepsensor/issues/47",
    )

    def optimizer_rebuild(self, rebuild: OptimizerRebuild) -> Iterator[Finding]:
        if not rebuild.momentum or rebuild.settings_change or rebuild.weights_change:
            return
        name, kind = rebuild.optimizer.text, rebuild.optimizer.kind
        often = "every batch" if rebuild.each_batch else "every epoch"
        why = f"what {kind} remembers from step to step is lost after "
        yield self.finding(
            at=rebuild.place,
            message=f"`{name}` is made anew for {often}",
            label="begins without any history",
            related=[Note(rebuild.loop, "in each round of this loop"), Note(rebuild.step_place, "steps here")],
            why=why + ("1 step: its averages never build up" if rebuild.each_batch else "1 epoch"),
            help=f"make `{name}` once, before the loop",
        )
