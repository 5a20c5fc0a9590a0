"""xavier-with-relu."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, Rule, XavierFill


class XavierWithRelu(Rule):
    """Xavier initialisation with gain 1 on a layer that a ReLU follows.

    `xavier_uniform_` or `xavier_normal_` without a gain on the weights of layers whose output goes into a ReLU and
    nowhere else.

    Xavier keeps the variance for activations that are linear around zero. A ReLU drops half of it, so it halves with
    each layer: after ten layers about a thousandth is left. With few layers or an adaptive optimizer it does not
    matter, and some nets train better with it.
    """

    category = Category.PEDANTIC
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(32, 64)
            self.fc2 = nn.Linear(64, 10)
            nn.init.xavier_uniform_(self.fc1.weight)  # expect: xavier-with-relu

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x)))


    print(Net()(torch.randn(4, 32)).shape)
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(32, 64)
            self.fc2 = nn.Linear(64, 10)
            nn.init.kaiming_uniform_(self.fc1.weight, nonlinearity="relu")

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x)))


    print(Net()(torch.randn(4, 32)).shape)
    """
    fine_when = (
        'A gain is given: `gain=nn.init.calculate_gain("relu")`.',
        "A norm stands between the layer and the ReLU, or the activation is another one.",
        "The net is shallow, or was found to train better this way.",
    )
    references = (
        "docs.pytorch.org/docs/stable/nn.init.html",
        "arxiv.org/abs/1502.01852",
    )

    def xavier_fill(self, fill: XavierFill) -> Iterator[Finding]:
        if fill.gain_given or not fill.rectified:
            return
        texts = list(dict.fromkeys(f"`{layer.text}`" for layer in fill.rectified))
        first = texts[0] if len(texts) == 1 else f"{texts[0]} and {len(fill.rectified) - 1} more"
        yield self.finding(
            at=fill.place,
            message=f"`{fill.function}` with gain 1 on {first}, which ReLU follows",
            label="keeps the variance only without ReLU",
            related=[Note(layer.place, "filled by it") for layer in fill.rectified[:3] if layer.place is not None],
            why="a ReLU drops half of the variance, and the gain of 1 does not make up for it",
            help='use nn.init.kaiming_uniform_ or kaiming_normal_ with nonlinearity="relu"',
            group=fill.place,
        )
