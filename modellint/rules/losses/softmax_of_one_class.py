"""softmax-of-one-class."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, Rule, SoftmaxUse


class SoftmaxOfOneClass(Rule):
    """A softmax over a single value is always 1.

    A softmax or log-softmax over an axis that the code makes of length 1: behind `Linear(..., 1)`, or of `[..., :1]`.

    Whatever the model computes, the probability is 1.0 (its logarithm 0.0) and its gradient is 0: nothing before the
    softmax learns.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn


    class Scorer(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return torch.softmax(self.head(x), dim=-1)  # expect: softmax-of-one-class


    out = Scorer()(torch.randn(16, 8))
    """
    good = """
    import torch
    from torch import nn


    class Scorer(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return torch.sigmoid(self.head(x))


    out = Scorer()(torch.randn(16, 8))
    """
    fine_when = (
        "The number of classes is configured: a model for many classes may be used with one.",
        "The softmax of attention scores `Linear(..., 1)` runs over the positions, not over the last axis.",
        "Attention over one token, a gate with a single expert.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.Softmax.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html",
    )

    def softmax_use(self, use: SoftmaxUse) -> Iterator[Finding]:
        always = "0.0" if use.log else "1.0"
        for single in use.single:
            by = f"`{single.maker}`" if not single.maker.startswith("[") else "the index"
            related = []
            if single.maker_place != single.place:
                related.append(Note(single.maker_place, "the axis is of length 1", order=1, cause=True))
            yield self.finding(
                at=single.place,
                message=f"`{use.text}` over a single value is always {always}",
                label="an axis of length 1",
                order=2 if related else None,
                related=related,
                why=f"{by} leaves one value on this axis: the result is {always} for every input, its gradient 0",
                help="for one class use sigmoid (with a binary loss); for attention take the axis of the positions",
            )
