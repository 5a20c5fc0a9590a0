"""batchnorm-momentum."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, NormUse, Rule


class BatchnormMomentum(Rule):
    """The momentum of a norm is that of another framework.

    A norm with running statistics whose `momentum` is 0.5 or more, as constructed or in every training pass. In torch
    it is the share of the new batch; elsewhere it is the share of the old value, so that 0.99 there is 0.01 here.

    The running statistics are little more than those of the last batch: evaluation is as noisy as that batch was.
    """

    category = Category.SUSPICIOUS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)
            self.norm = nn.BatchNorm1d(8, momentum=0.99)  # expect: batchnorm-momentum
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return self.head(torch.relu(self.norm(self.fc(x))))


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)
            self.norm = nn.BatchNorm1d(8, momentum=0.01)
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return self.head(torch.relu(self.norm(self.fc(x))))


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "`momentum=None` takes the average over all batches.",
        "A high momentum only while statistics are measured anew (`momentum=1.0` in a helper), not in training passes.",
        "The norm keeps no running statistics.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html",)

    def norm_use(self, use: NormUse) -> Iterator[Finding]:
        if use.momentum is None or use.momentum < 0.5:
            return
        yield self.finding(
            at=use.place,
            message=f"`{use.layer.name or use.layer.kind}` takes {use.momentum:.0%} of its running statistics "
            "from the newest batch",
            label=f"momentum={use.momentum:g} is the share of the new batch",
            why="evaluation normalises with little more than the last training batch",
            help=f"momentum={1 - use.momentum:g} if the number comes from a framework that weighs the old value",
            group=(use.model.key, use.momentum) if use.run is not None else None,
        )
