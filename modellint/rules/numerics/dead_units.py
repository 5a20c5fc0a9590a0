"""dead-units."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, LayerRecord, Rule
from modellint.rules._wording import instance_name

_FEWEST_BATCHES = 20
_FEWEST_VALUES = 2000


class DeadUnits(Rule):
    """Most units of a layer are zero behind their ReLU, for every input.

    After twenty training steps, more than half of a layer's units were exactly zero in every value of at least 20
    batches and 2,000 values each. Zeros of a unit that fires now and then do not count.

    A unit that is zero for every input gets no gradient any more: it stays dead, and the layer is that much narrower.
    """

    category = Category.NURSERY
    sides = ("runtime",)
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(4, 16)  # expect: dead-units
            self.fc2 = nn.Linear(16, 1)
            nn.init.constant_(self.fc1.bias[:12].data, -30.0)

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x)))


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(128, 4)), torch.randn(128, 1))
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
            return self.fc2(torch.relu(self.fc1(x)))


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(128, 4)), torch.randn(128, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The code is sparse on purpose: each unit fires for few inputs, which more batches would show.",
        "The layer is frozen.",
    )
    references = ("arxiv.org/abs/1903.06733", "docs.pytorch.org/docs/stable/generated/torch.nn.LeakyReLU.html")

    def layer_record(self, record: LayerRecord) -> Iterator[Finding]:
        units = record.units
        if units is None or record.frozen or not record.model.complete:
            return
        if units.batches < _FEWEST_BATCHES or units.values < _FEWEST_VALUES or 2 * units.dead <= units.units:
            return
        yield self.finding(
            at=record.place,
            message=f"{units.dead} of {units.units} units of `{record.layer.name or record.layer.text}` in "
            f"`{instance_name(record.model)}` are dead",
            label="zero behind the ReLU, for every input",
            seen=f"zero in each of {units.values:,} values from {units.batches} batches",
            why="a unit that is zero for every input gets no gradient: no further step revives it",
            help="lower the learning rate, check the inputs' scale and the bias's start, or use LeakyReLU or GELU",
            evidence={"module": record.layer.name, "dead": units.dead, "units": units.units},
        )
