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
    sides = ("source", "runtime")
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
        if not use.element_wise or use.aligned or use.input_shape is None or use.target_shape is None:
            return
        given, target = _filled(use.input_shape, use.target_shape), _filled(use.target_shape, use.input_shape)
        made = _broadcast(given, target)
        if made is None or prod(given) != prod(target) or prod(made) <= prod(given):
            return
        if len(given) == len(target) and (len(given) > 2 or use.reduction not in ("mean", "sum")):
            return  # both were shaped for all pairs: distances, quantile losses
        known = None not in (*use.input_shape, *use.target_shape)
        shapes = [_shown(shape, known) for shape in (given, target, made)]
        differences = f"{prod(made):,} differences instead of {prod(given):,}" if known else "N differences for each"
        yield self.finding(
            at=use.place,
            message=f"`{use.loss}` compares every prediction with every target",
            label=f"{shapes[0]} against {shapes[1]} becomes {shapes[2]}",
            why=f"{shapes[0]} and {shapes[1]} are broadcast to {shapes[2]}: {differences}, and the model learns the "
            "mean of the batch",
            help="give both the same shape: prediction.squeeze(...) or target.view_as(prediction)",
        )


_BATCH = 7919
"""Stands for a length that is not known: no other length is this one."""


def _filled(shape: tuple[int | None, ...], other: tuple[int | None, ...]) -> tuple[int, ...]:
    """The shape with the same number for what is not known: that of the other shape, if it is known there."""
    known = [length for length in other if length is not None and length > 1]
    unknown = known[0] if len(known) == len([n for n in other if n != 1]) == 1 else _BATCH
    return tuple(unknown if length is None else length for length in shape)


def _broadcast(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape that two shapes are broadcast to, None where they do not fit."""
    rank = max(len(first), len(second))
    pairs = list(zip((1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second, strict=True))
    if any(a != b and 1 not in (a, b) for a, b in pairs):
        return None
    return tuple(b if a == 1 else a for a, b in pairs)


def _shown(shape: tuple[int, ...], known: bool) -> str:
    """`(16, 1)`, `(16,)`; with N for the batch where its length is not known."""
    text = str(tuple(shape))
    return text if known else text.replace(str(_BATCH), "N")
