"""vanishing-gradient."""

from __future__ import annotations

from modellint.rule import Category, Finding, GradientRecord, Iterator, Rule
from modellint.rules._wording import instance_name, listing

_VANISHED = 1e-7
_ALIVE = 1e-3
_FEWEST_STEPS = 20


class VanishingGradient(Rule):
    """Almost no gradient reaches some layers, while others of the same model learn.

    Over at least 20 steps after the twentieth, the median of |gradient| / |weight| of a weight matrix is below 1e-7
    while another's is above 1e-3. The ratio is the same for any scale of the loss.

    Such a layer changes by nothing that float32 can hold: it stays as it was drawn, and the model trains around it.
    """

    category = Category.NURSERY
    sides = ("runtime",)
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 8)  # expect: vanishing-gradient
            self.deep = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.Sigmoid()) for _ in range(12)))
            self.last = nn.Linear(8, 1)

        def forward(self, x):
            return self.last(self.deep(self.first(x)))


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 8)
            self.deep = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.ReLU()) for _ in range(4)))
            self.last = nn.Linear(8, 1)

        def forward(self, x):
            return self.last(self.deep(self.first(x)))


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    for _ in range(60):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The layer is frozen, or a branch that starts at zero has not opened yet.",
        "The embedding is sparse, or few of its rows are in a batch.",
        "The part has learned what it can.",
    )
    references = ("proceedings.mlr.press/v9/glorot10a.html",)

    def gradient_record(self, record: GradientRecord) -> Iterator[Finding]:
        if not record.complete or not record.model.complete:
            return
        seen = [weight for weight in record.weights if weight.steps >= _FEWEST_STEPS]
        largest = max((weight.ratio for weight in seen), default=0.0)
        small = [weight for weight in seen if weight.ratio < _VANISHED]
        if not small or largest <= _ALIVE:
            return
        first = small[0]
        names = list(dict.fromkeys(weight.layer.name or weight.layer.text for weight in small))
        yield self.finding(
            at=first.layer.place or record.place,
            message=f"hardly any gradient reaches `{listing(names, 3)}` of `{instance_name(record.model)}`",
            seen=f"median of |gradient| / |weight| {first.ratio:.1g} over {first.steps} steps, elsewhere {largest:.1g}",
            why=f"each step changes these weights by less than {_VANISHED:g} of themselves, times the learning rate",
            help="shorten the way: residual connections, a norm per layer, ReLU or GELU for sigmoid and tanh; or "
            "start with larger weights",
            evidence={"module": first.layer.name, "ratio": first.ratio},
        )
