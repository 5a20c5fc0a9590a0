"""softmax-without-dim."""

from __future__ import annotations

from modellint.rule import Category, Certainty, Finding, Iterator, Rule, SoftmaxUse


class SoftmaxWithoutDim(Rule):
    """A softmax is given no axis, and takes one by the number of axes of its input.

    F.softmax, F.log_softmax, F.softmin or their layers without `dim`, where the input is not known to have one or two
    axes.

    The axis is 0 for an input of 0, 1 or 3 axes and 1 for all others. For (batch, time, classes) it is the batch: the
    samples of a batch share one probability, and the prediction for one depends on the others.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn


    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.score = nn.Linear(8, 4)

        def forward(self, x):
            return nn.functional.softmax(self.score(x))  # expect: softmax-without-dim


    out = Attention()(torch.randn(2, 6, 8))
    """
    good = """
    import torch
    from torch import nn


    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.score = nn.Linear(8, 4)

        def forward(self, x):
            return nn.functional.softmax(self.score(x), dim=-1)


    out = Attention()(torch.randn(2, 6, 8))
    """
    fine_when = (
        "The axis is given, by name or by position.",
        "The input has one or two axes: then the choice is the usual one.",
        "It is a function of the project, of numpy or of scipy.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.functional.softmax.html",
        "github.com/pytorch/pytorch/blob/main/torch/nn/functional.py",
    )

    def softmax_use(self, use: SoftmaxUse) -> Iterator[Finding]:
        if not use.implicit or (use.every_rank_known and set(use.ranks) <= {1, 2}):
            return
        wrong = next((rank for rank in use.ranks if rank not in (1, 2)), None)
        if wrong is not None:
            axis = 0 if wrong in (0, 1, 3) else 1
            why = f"its input has {wrong} axes, so it runs over axis {axis}" + (", the batch" if axis == 0 else "")
        else:
            why = "it runs over axis 0, the batch, if the input has 3 axes, and over axis 1 if it has 2 or 4"
        yield self.finding(
            at=use.place,
            message=f"`{use.text}` without `dim` picks an axis by the number of axes",
            label="no dim",
            why=why,
            help="say which axis holds the classes: dim=-1 where they come last",
            certainty=Certainty.CERTAIN if wrong == 3 else Certainty.LIKELY,
        )
