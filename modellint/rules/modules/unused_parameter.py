"""unused-parameter."""

from __future__ import annotations

from collections import defaultdict

from modellint.facts.module_instance import UnusedParameter as Unused
from modellint.rule import Category, Finding, Iterator, ModuleInstance, Rule, Span
from modellint.rules._wording import attribute, listing


class UnusedParameter(Rule):
    """A parameter is created and given to the optimizer, but takes part in no forward.

    A trainable nn.Parameter whose gradient stays None while the module that owns it runs and others are trained.

    What it was meant to add (a scale, a bias, a position) is missing from the model, it is counted and saved all the
    same, and DistributedDataParallel fails on parameters without gradients.
    """

    category = Category.SUSPICIOUS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.positions = nn.Parameter(torch.zeros(1, 6, 8))  # expect: unused-parameter
            self.body = nn.Linear(8, 8)
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return self.head(torch.relu(self.body(x)).mean(dim=1))


    model = Net()
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(5):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 6, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.positions = nn.Parameter(torch.zeros(1, 6, 8))
            self.body = nn.Linear(8, 8)
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return self.head(torch.relu(self.body(x + self.positions)).mean(dim=1))


    model = Net()
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(5):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 6, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The parameter is frozen (`requires_grad=False`), or given to no optimizer.",
        "It is read by the training code: a loss weight, a temperature.",
        "It belongs to a condition that comes in later, or is kept so that old checkpoints load: say so in a comment.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html",
    )

    def module_instance(self, instance: ModuleInstance) -> Iterator[Finding]:
        if not instance.model.complete:
            return
        by_place: dict[Span, list[Unused]] = defaultdict(list)
        for parameter in instance.unused_parameters:
            if parameter.place is not None:
                by_place[parameter.place].append(parameter)
        for place, parameters in by_place.items():
            several = len(parameters) > 1
            names = listing([f"`{attribute(parameter.name)}`" for parameter in parameters])
            passes = instance.run.times if instance.run is not None else 0
            seen = f"no gradient in {passes:,} passes while the module that owns it ran" if passes else ""
            yield self.finding(
                at=place,
                message=f"{names} {'are parameters' if several else 'is a parameter'} that no forward uses",
                label=listing(list(dict.fromkeys(parameter.text for parameter in parameters))),
                why=f"parameters() and state_dict() include {'them' if several else 'it'}, but "
                f"{'their' if several else 'its'} gradient stays None",
                help="use it in forward, delete it, or freeze it with requires_grad=False",
                seen=seen,
            )
