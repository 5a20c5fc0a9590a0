"""requires-grad-typo."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, ModuleClass, Rule


class RequiresGradTypo(Rule):
    """A misspelt `requires_grad` is set on a parameter or a module.

    A true or false attribute whose name is within two letters of `requires_grad`, on a parameter or a module that has
    no such attribute, while the parameters have the other value.

    Python makes a new attribute without a word. Nothing is frozen: the optimizer goes on training the parameters.
    """

    category = Category.CORRECTNESS
    sides = ("runtime",)
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Linear(8, 8)  # expect: requires-grad-typo
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return self.head(torch.relu(self.backbone(x)))


    model = Net()
    for parameter in model.backbone.parameters():
        parameter.require_grad = False
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
            state = "frozen" if flag.value else "trainable"
            yield self.finding(
                at=flag.place,
                message=f"`{flag.attribute} = {flag.value}` on `{flag.owner}` has no effect: "
                "the name is `requires_grad`",
                label="the parameter is not switched" if flag.on_parameter else "its parameters are not switched",
                why=f"it is still {state}" if flag.on_parameter else f"{flag.parameters:,} are still {state}",
                help=f"requires_grad = {flag.value}" if flag.on_parameter else f"requires_grad_({flag.value})",
                group=(cls.run.root if cls.run is not None else 0, flag.attribute, flag.value),
            )
