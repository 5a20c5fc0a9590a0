"""autocast-not-applied."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, LayerRecord, Rule
from modellint.rules._wording import instance_name


class AutocastNotApplied(Rule):
    """A layer computes in float32 although autocast is on.

    A linear or convolution layer with float32 weights whose output is float32 in every traced call inside of an
    active autocast, and was not cast back at its end.

    The layer keeps twice the memory and runs at the slower rate that autocast was meant to avoid, and the layers after
    it may do so too.
    """

    category = Category.NURSERY
    sides = ("runtime",)
    bad = """
    import torch
    from torch import nn


    class Exact(nn.Linear):
        def forward(self, x):
            with torch.autocast("cpu", enabled=False):
                return nn.functional.linear(x.float(), self.weight, self.bias)


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(4, 8)
            self.fc2 = Exact(8, 1)  # expect: autocast-not-applied

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x)))


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(torch.randn(16, 4)).float().pow(2).mean()
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(4, 8)
            self.fc2 = nn.Linear(8, 1)

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x)))


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(torch.randn(16, 4)).float().pow(2).mean()
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The layer needs the precision (a head, a router) and its class switches autocast off by itself.",
        "Its input is float64, or the code around the layer switches autocast off: that is not reported.",
    )
    references = (
        "docs.pytorch.org/docs/stable/amp.html",
        "github.com/Lightning-AI/lightning-thunder/issues/725",
    )

    def layer_record(self, record: LayerRecord) -> Iterator[Finding]:
        autocast = record.autocast
        if autocast is None or not record.model.complete or autocast.missed < 2 or autocast.missed < autocast.calls:
            return
        yield self.finding(
            at=record.place,
            message=f"`{record.layer.name or record.layer.text}` in `{instance_name(record.model)}` computes in "
            f"float32 under autocast to {autocast.asked}",
            label="its output comes back as float32",
            why="its activations take 4 bytes a value instead of 2, and the product runs at the slower rate",
            help="let the layer's forward run under autocast: no `cast_inputs=torch.float32`, no "
            "`autocast(enabled=False)` inside; or ignore this where the precision is needed",
            evidence={"module": record.layer.name},
        )
