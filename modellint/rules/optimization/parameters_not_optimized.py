"""parameters-not-optimized."""

from __future__ import annotations

from modellint.rule import Category, Certainty, Finding, Iterator, Note, OptimizerSetup, Rule
from modellint.rules._wording import listing


class ParametersNotOptimized(Rule):
    """Parameters receive gradients and belong to no optimizer.

    A model of which an optimizer holds a part, while another part receives gradients in every pass and belongs to no
    optimizer of the process, nor is changed by hand.

    These parameters keep their initial values for good; their gradients are computed for nothing.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(4, 8)
            self.gate = nn.Linear(4, 8)
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return self.head(self.body(x) * self.gate(x).sigmoid())

    model = Net()
    groups = [*model.body.parameters(), *model.head.parameters()]
    optimizer = torch.optim.SGD(groups, lr=0.01)  # expect: parameters-not-optimized
    for _ in range(6):
        model.zero_grad()
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
            self.body = nn.Linear(4, 8)
            self.gate = nn.Linear(4, 8)
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return self.head(self.body(x) * self.gate(x).sigmoid())

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        model.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "Another optimizer holds them, also one that steps later.",
        "They are frozen by `requires_grad_(False)`.",
        "They are added later by `add_param_group`.",
        "They are changed by hand.",
    )
    references = ("docs.pytorch.org/docs/stable/optim.html#per-parameter-options",)

    def optimizer_setup(self, setup: OptimizerSetup) -> Iterator[Finding]:
        if setup.foreign or setup.idle_model is not None or not setup.given or not setup.missing:
            return
        names = [part.name for part in setup.missing]
        # Only one part, or the smaller part, is trained: perhaps the rest was to be frozen.
        head_only = bool(setup.given_part) or setup.given < setup.missing_values
        name, model = setup.optimizer.text, setup.model.text
        parts = listing([f"`{part}`" for part in names], 4)
        choice = f"freeze {parts} with requires_grad_(False), or pass it to `{name}`" if head_only else ""
        yield self.finding(
            at=setup.place,
            message=f"`{name}` leaves out {parts} of `{model}`",
            label="does not get all parameters that train",
            related=[Note(part.place, f"`{part.name}` is defined here") for part in setup.missing[:4] if part.place],
            certainty=Certainty.LIKELY if head_only else Certainty.CERTAIN,
            why=f"{setup.missing_values:,} {_unit(setup)} in every pass and belong{'s' if _one(setup) else ''} "
            "to no optimizer",
            help=choice or f"pass all parameters of `{model}` to `{name}`, {parts} included",
        )


def _one(setup: OptimizerSetup) -> bool:
    return setup.missing_values == 1


def _unit(setup: OptimizerSetup) -> str:
    """What `missing_values` counts."""
    unit = "value" if setup.counted else "layer"
    return f"{unit} receives gradients" if _one(setup) else f"{unit}s receive gradients"
