"""exploding-gradient."""

from __future__ import annotations

from modellint.rule import Category, Finding, GradientRecord, Iterator, Rule
from modellint.rules._wording import instance_name

_SPIKES = 3


class ExplodingGradient(Rule):
    """Single steps have gradients many times larger than the others.

    After the twentieth step, at least three traced steps whose gradients together have a norm above 1,000 and more
    than ten times the median of the steps before; unscaled, and as the optimizer gets them.

    One such step can undo the work of hundreds, and leaves the running averages of Adam wrong for as long.
    """

    category = Category.NURSERY
    sides = ("runtime",)
    bad = """
    import torch
    from torch import nn


    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for step in range(60):
        x = torch.randn(16, 4) * (500 if step % 7 == 6 else 1)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), torch.randn(16, 1))
        loss.backward()
        optimizer.step()  # expect: exploding-gradient
    """
    good = """
    import torch
    from torch import nn


    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for step in range(60):
        x = torch.randn(16, 4) * (500 if step % 7 == 6 else 1)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), torch.randn(16, 1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    """
    fine_when = (
        "The gradients are clipped before the step: what is judged is what the optimizer gets.",
        "The loss is a sum over the batch: its norm is large in every step alike.",
        "Spikes belong to the method: a gradient penalty, returns in reinforcement learning.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html",
        "arxiv.org/abs/1211.5063",
    )

    def gradient_record(self, record: GradientRecord) -> Iterator[Finding]:
        if not record.complete or not record.model.complete or record.spikes < _SPIKES:
            return
        yield self.finding(
            at=record.place,
            message=f"{record.spikes} of {record.steps} steps of `{record.optimizer}` have exploding gradients",
            seen=f"norm up to {record.largest_norm:,.0f}, median {record.median_norm:.3g} over {record.steps} steps",
            why=f"such a step is more than ten times as long as the others of `{instance_name(record.model)}`",
            help="clip with torch.nn.utils.clip_grad_norm_ between backward and step, and look at the batches of "
            "these steps",
            evidence={"largest": record.largest_norm, "median": record.median_norm},
        )
