"""exploding-init."""

from __future__ import annotations

from math import sqrt

from modellint.facts.initial_spread import SpreadLayer
from modellint.rule import Category, Finding, InitialSpread, Iterator, Note, Rule
from modellint.rules._wording import listing

_WIDE, _NARROW = 5.0, 0.01


class ExplodingInit(Rule):
    """Weights are drawn so widely that the outputs explode, or so narrowly that they vanish.

    The last fill of a Linear or convolution with a known number of inputs draws from a normal or uniform distribution
    with a fixed width, and that width times the square root of the inputs is above 5, or below 0.01 in every layer.

    With `normal_(w, 0, 1)` and 400 inputs the logits have a standard deviation of 236 and the first loss is 106 where
    0.69 is what knowing nothing costs: the first epochs only shrink weights, or the units saturate and never learn.
    """

    category = Category.SUSPICIOUS
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(400, 120)
            self.fc2 = nn.Linear(120, 2)
            for m in self.modules():
                if isinstance(m, nn.Linear):
                    nn.init.normal_(m.weight, 0, 1)  # expect: exploding-init

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x)))


    print(Net()(torch.randn(16, 400)))
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(400, 120)
            self.fc2 = nn.Linear(120, 2)
            for m in self.modules():
                if isinstance(m, nn.Linear):
                    nn.init.kaiming_normal_(m.weight)

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x)))


    print(Net()(torch.randn(16, 400)))
    """
    fine_when = (
        "A normalisation follows the layer, or its output is divided (NTK scaling, equalised learning rates).",
        "Embeddings: a standard deviation of 1 is their default.",
        "Fixed random features: the layer is frozen.",
    )
    references = (
        "docs.pytorch.org/docs/stable/nn.init.html",
        "arxiv.org/abs/1502.01852",
    )

    def initial_spread(self, spread: InitialSpread) -> Iterator[Finding]:
        if spread.in_test_suite:
            return
        layers = [one for one in spread.layers if not (one.normed or one.scaled or one.frozen)]
        wide = [one for one in layers if spread.spread * sqrt(one.fan_in) > _WIDE]
        narrow = [one for one in layers if spread.spread * sqrt(one.fan_in) < _NARROW]
        if wide:
            widest = max(wide, key=lambda one: one.fan_in)
            growth = spread.spread * sqrt(widest.fan_in)
            yield self.finding(
                at=spread.place,
                message=f"the weights of `{_names(wide)}` start too large: standard deviation {spread.spread:.3g}",
                label=f"{widest.fan_in:,} inputs: each output is {growth:.3g} times as wide as an input",
                related=_notes(wide),
                why=f"sums of {widest.fan_in:,} inputs grow by {growth:.3g} in one layer, so the first loss is far "
                "above chance and gradients explode or units saturate",
                help=f"std={1 / sqrt(widest.fan_in):.2g} keeps the width, or use nn.init.kaiming_normal_",
            )
        elif len(narrow) > 1 and len(narrow) == len(spread.layers) and not spread.other_layers and spread.spread:
            least = min(narrow, key=lambda one: one.fan_in)
            factor = spread.spread * sqrt(least.fan_in)
            yield self.finding(
                at=spread.place,
                message=f"the weights of `{_names(narrow)}` start too small: standard deviation {spread.spread:.3g}",
                label="in every layer",
                related=_notes(narrow),
                why=f"each layer shrinks its input to {factor:.2g} of its width, so outputs and gradients vanish",
                help=f"std={1 / sqrt(least.fan_in):.2g} keeps the width, or use nn.init.kaiming_normal_",
            )


def _names(layers: list[SpreadLayer]) -> str:
    return listing([one.ref.name or one.ref.text for one in layers])


def _notes(layers: list[SpreadLayer]) -> list[Note]:
    return [Note(one.ref.place, one.ref.text) for one in layers[:3] if one.ref.place is not None]
