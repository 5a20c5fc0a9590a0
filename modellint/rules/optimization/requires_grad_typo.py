"""requires-grad-typo."""

from __future__ import annotations

from modellint.facts.module_class import StrayFlag
from modellint.rule import Category, Finding, Iterator, ModuleClass, Rule


class RequiresGradTypo(Rule):
    """A misspelt `requires_grad` is set on a parameter or a module.

    A true or false attribute whose name is within two letters of `requires_grad`, on a parameter or a module that has
    no such attribute, while the parameters have the other value.

    Python makes a new attribute without a word. Nothing is frozen: the optimizer goes on training the parameters.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Linear(8, 8)
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return self.head(torch.relu(self.backbone(x)))


    model = Net()
    for parameter in model.backbone.parameters():
        parameter.require_grad = False  # expect: requires-grad-typo
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
            self.backbone = nn.Linear(8, 8)
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return self.head(torch.relu(self.backbone(x)))


    model = Net()
    for parameter in model.backbone.parameters():
        parameter.requires_grad = False
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The class has an attribute or a property of this name itself.",
        "The parameters have the wanted value too.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.Tensor.requires_grad.html",)

    def module_class(self, cls: ModuleClass) -> Iterator[Finding]:
        for flag in cls.flags:
            if flag.attribute == "requires_grad" or flag.defined_by_class:
                continue
            value = "..." if flag.value is None else flag.value
            yield self.finding(
                at=flag.place,
                message=f"`{flag.attribute} = {value}` on `{flag.owner}` has no effect: the name is `requires_grad`",
                label="the parameter is not switched" if flag.on_parameter else "its parameters are not switched",
                why=_why(flag),
                help=f"requires_grad = {value}" if flag.on_parameter else f"requires_grad_({value})",
                group=(cls.run.root, flag.attribute, flag.value) if cls.run is not None else None,
            )


def _why(flag: StrayFlag) -> str:
    state = {True: "still frozen", False: "still trainable", None: "as before"}[flag.value]
    if flag.on_parameter:
        return f"Python makes a new attribute: `{flag.owner}` is {state}"
    if flag.parameters is None:
        return f"Python makes a new attribute: its parameters are {state}"
    return f"{flag.parameters:,} parameters are {state}"
