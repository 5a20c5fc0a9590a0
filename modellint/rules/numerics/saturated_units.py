"""saturated-units."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, LayerRecord, Rule
from modellint.rules._wording import instance_name

_FEWEST_BATCHES = 20
_FEWEST_VALUES = 2000


class SaturatedUnits(Rule):
    """Most units of a layer sit where their sigmoid or tanh is flat.

    After twenty training steps, more than half of a hidden layer's units had a derivative below 0.001 in nine of ten
    values, over at least 20 batches: a sigmoid outside of 0.001 to 0.999, a tanh beyond 0.9995.

    A thousandth of the gradient, or less, passes through such a unit: what lies before it stands still.
    """

    category = Category.NURSERY
    sides = ("runtime",)
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(4, 16)  # expect: saturated-units
            self.fc2 = nn.Linear(16, 1)

        def forward(self, x):
            return self.fc2(torch.tanh(self.fc1(x)))


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(1000 * torch.randn(128, 4)), torch.randn(128, 1))
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(4, 16)
            self.fc2 = nn.Linear(16, 1)

        def forward(self, x):
            return self.fc2(torch.tanh(self.fc1(x)))


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(128, 4)), torch.randn(128, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The activation is a gate, a factor of a product that is meant to open and close.",
        "It is the output: a confident prediction is near 0 or 1.",
        "The layer is frozen, or a binary code is wanted.",
    )
    references = ("proceedings.mlr.press/v9/glorot10a.html",)

    def layer_record(self, record: LayerRecord) -> Iterator[Finding]:
        units = record.units
        if units is None or record.frozen or units.gate or units.last or not record.model.complete:
            return
        if units.batches < _FEWEST_BATCHES or units.values < _FEWEST_VALUES or 2 * units.saturated <= units.units:
            return
        edge = "|y| > 0.9995" if units.activation == "tanh" else "y < 0.001 or y > 0.999"
        yield self.finding(
            at=record.place,
            message=f"{units.saturated} of {units.units} units of `{record.layer.name or record.layer.text}` in "
            f"`{instance_name(record.model)}` are saturated behind their {units.activation}",
            seen=f"{edge} in nine of ten of {units.values:,} values from {units.batches} batches",
            why="the derivative there is below 0.001: less than a thousandth of the gradient passes",
            help="normalise the inputs, start with smaller weights, or put a norm before the activation",
            evidence={"module": record.layer.name, "saturated": units.saturated, "units": units.units},
        )
