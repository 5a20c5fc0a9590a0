"""batchnorm-starved."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Rule, StarvedNorm


class BatchnormStarved(Rule):
    """A batch norm over the batch alone is trained with one or two samples at a time.

    A BatchNorm1d in train mode whose input has two axes, of which the first, the batch, is of length 1 or 2 in the
    code, in a model that is trained.

    Of two samples the norm keeps only which one is larger: every feature becomes +1 or -1. Of one sample it has no
    variance, and torch raises an error.
    """

    category = Category.NURSERY
    bad = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))  # expect: batchnorm-starved
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(2, 8), torch.randn(2, 1)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(32, 8), torch.randn(32, 1)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The norm is in eval mode, or also averages over positions (BatchNorm2d of images).",
        "The small batch only tries the model out: nothing is trained with it.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html",)

    def starved_norm(self, norm: StarvedNorm) -> Iterator[Finding]:
        if not norm.trains:
            return
        count = "one sample" if norm.samples == 1 else f"{norm.samples} samples"
        yield self.finding(
            at=norm.place,
            message=f"`{norm.layer.text}` normalises over {count}",
            why=f"a batch of {count} has no useful variance: "
            + ("torch raises an error" if norm.samples == 1 else "every feature becomes +1 or -1"),
            help="train with larger batches, or use LayerNorm or GroupNorm",
        )
