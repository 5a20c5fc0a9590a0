"""requires-grad-on-module."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, ModuleClass, Rule


class RequiresGradOnModule(Rule):
    """`requires_grad` is set on a module, where it is an ordinary attribute.

    A module that has `requires_grad` among its own attributes, while parameters below it have the other value.

    Nothing is frozen (or unfrozen): the optimizer goes on training what was meant to stay as it was loaded.
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
    model.backbone.requires_grad = False  # expect: requires-grad-on-module
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
    model.backbone.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The class has an attribute or a property of this name itself.",
        "The parameters have the wanted value too: it was set on each of them as well.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.requires_grad_",)

    def module_class(self, cls: ModuleClass) -> Iterator[Finding]:
        for flag in cls.flags:
            if flag.on_parameter or flag.attribute != "requires_grad" or flag.defined_by_class:
                continue
            value = "..." if flag.value is None else flag.value
            state = {True: "still frozen", False: "still trainable", None: "as before"}[flag.value]
            count = "its parameters" if flag.parameters is None else f"{flag.parameters:,} of its parameters"
            yield self.finding(
                at=flag.place,
                message=f"`requires_grad = {value}` on the module `{flag.owner}` has no effect",
                label="a module has no such switch: it is an ordinary attribute",
                why=f"{count} are {state}",
                help=f"{flag.owner}.requires_grad_({value})",
                group=(cls.run.root, flag.attribute, flag.value) if cls.run is not None else None,
            )
