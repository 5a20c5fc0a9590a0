"""symmetric-units."""

from __future__ import annotations

from modellint.facts.parameter_fill import FillPattern
from modellint.rule import Category, Finding, Iterator, ParameterFill, Rule
from modellint.rules._wording import instance_name


class SymmetricUnits(Rule):
    """Some units of a layer are copies of others, and training keeps them so.

    Rows of a weight that were equal at the first forward, that moved, and that are still equal in every bit after
    three training steps. A layer whose units all start equal is constant-weight-init.

    Two units with equal weights in and equal weights out get equal gradients for good: the layer has the capacity of
    one of them, at the price of both.
    """

    category = Category.CORRECTNESS
    sides = ("runtime",)
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self, narrow):
            super().__init__()
            self.fc1 = nn.Linear(4, 16)  # expect: symmetric-units
            self.fc2 = nn.Linear(16, 1)
            self.fc1.weight.data = narrow.weight.data.repeat(2, 1)
            self.fc1.bias.data = narrow.bias.data.repeat(2)
            nn.init.ones_(self.fc2.weight)

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x)))


    model = Net(nn.Linear(4, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self, narrow):
            super().__init__()
            self.fc1 = nn.Linear(4, 16)
            self.fc2 = nn.Linear(16, 1)
            self.fc1.weight.data = narrow.weight.data.repeat(2, 1)
            self.fc1.weight.data += 0.01 * torch.randn(16, 4)
            self.fc1.bias.data = narrow.bias.data.repeat(2)
            nn.init.ones_(self.fc2.weight)

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x)))


    model = Net(nn.Linear(4, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The rows do not move: frozen, pruned to zero, or dead behind a ReLU.",
        "The layer is the last one: two classes that no batch has shown yet get equal gradients.",
        "The weight is tied to another layer's, or each filter of a depthwise convolution has an input of its own.",
    )
    references = ("docs.pytorch.org/docs/stable/nn.init.html", "arxiv.org/abs/1511.05641")

    def parameter_fill(self, fill: ParameterFill) -> Iterator[Finding]:
        if fill.pattern is not FillPattern.COPIED_ROWS or not (fill.trained and fill.kept and fill.model.complete):
            return
        for layer in fill.layers:
            if layer.called and not (layer.frozen or layer.depthwise or layer.last):
                yield self.finding(
                    at=fill.place,
                    message=f"{fill.copies} units of `{layer.ref.name}` in `{instance_name(fill.model)}` "
                    "are copies of other units",
                    label="their rows of the weight are still equal in every bit",
                    why="equal units with equal weights behind them get equal gradients: they stay copies for good",
                    help="add a little noise to the copied rows, or draw each row at random",
                )
