"""loss-broadcast."""

from __future__ import annotations

from math import prod

from modellint.rule import Category, Finding, Iterator, LossUse, Rule


class LossBroadcast(Rule):
    """An element-wise loss compares every prediction with every target.

    An element-wise loss (MSE, L1, Huber, KL divergence, ...) or a subtraction written by hand, of a prediction and a
    target that hold equally many numbers in different shapes, which broadcasting turns into all pairs: (N, 1) against
    (N,) gives N x N.

    The loss pulls every prediction to all targets of its batch at once: the model learns to answer with their mean.
    Most losses of torch do this without a warning.
    """

    category = Category.CORRECTNESS
    sides = ("runtime",)
    bad = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(16, 4), torch.randn(16)
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()  # expect: loss-broadcast
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(16, 4), torch.randn(16)
        optimizer.zero_grad()
        loss = ((model(x).squeeze(1) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "One side grows: a scalar target, a weight per channel, a centre that is subtracted.",
        "An axis was added right before (`unsqueeze`, `[:, None]`): pairwise distances, anchors, quantile losses.",
        "The difference is only logged.",
    )
    references = (
        "github.com/pytorch/pytorch/issues/16045",
        "docs.pytorch.org/docs/stable/notes/broadcasting.html",
    )

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        given, target = use.input_shape, use.target_shape
        if not use.element_wise or use.aligned or given is None or target is None:
            return
        made = _broadcast(given, target)
        if made is None or prod(given) != prod(target) or prod(made) <= prod(given):
            return
        if len(given) == len(target) and (len(given) > 2 or use.reduction not in ("mean", "sum")):
            return  # both were shaped for all pairs: distances, quantile losses
        yield self.finding(
            at=use.place,
            message=f"`{use.loss}` compares every prediction with every target",
            label=f"{_shown(given)} against {_shown(target)} becomes {_shown(made)}",
            why=f"{_shown(given)} and {_shown(target)} are broadcast to {_shown(made)}: {prod(made):,} differences "
            f"instead of {prod(given):,}, and the model learns the mean of the batch",
            help="give both the same shape: prediction.squeeze(...) or target.view_as(prediction)",
        )


def _broadcast(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape that two shapes are broadcast to, None where they do not fit."""
    rank = max(len(first), len(second))
    pairs = list(zip((1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second, strict=True))
    if any(a != b and 1 not in (a, b) for a, b in pairs):
        return None
    return tuple(b if a == 1 else a for a, b in pairs)


def _shown(shape: tuple[int, ...]) -> str:
    """`(16, 1)`, `(16,)`."""
    return str(tuple(shape))
