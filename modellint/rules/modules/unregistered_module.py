"""unregistered-module."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, ModuleClass, Note, Rule


class UnregisteredModule(Rule):
    """Layers are kept in a plain list, tuple, dict or set, where nn.Module does not see them.

    An attribute that holds modules with parameters in a plain container, used in forward and registered nowhere.

    `parameters()` leaves them out, so they keep their random weights; `.to(device)` does not move them,
    `state_dict()` does not save them and `eval()` does not switch them.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = [nn.Linear(8, 8) for _ in range(3)]  # expect: unregistered-module
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            for block in self.blocks:
                x = torch.relu(block(x))
            return self.head(x)


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
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
            self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            for block in self.blocks:
                x = torch.relu(block(x))
            return self.head(x)


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The same modules are registered too: `nn.Sequential(*self.layers)`, `add_module`, another attribute.",
        "The list hides a module that came from outside on purpose: `self.teacher = [teacher]`.",
        "The elements have no parameters: activations, losses, metrics, classes.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.ModuleList.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.ModuleDict.html",
    )

    def module_class(self, cls: ModuleClass) -> Iterator[Finding]:
        for hidden in cls.hidden:
            if not hidden.has_parameters or not hidden.used_in_forward:
                continue
            if hidden.registered_later or hidden.hidden_on_purpose:
                continue
            related = []
            if hidden.element_place != hidden.place:
                related.append(Note(hidden.element_place, f"{hidden.element.text} is created here", cause=True))
            wrapper = "nn.ModuleDict" if hidden.container == "dict" else "nn.ModuleList"
            yield self.finding(
                at=hidden.place,
                message=f"`self.{hidden.attribute}` holds modules in a plain {hidden.container}: "
                "they are not registered",
                label="parameters(), .to(), state_dict() and eval() do not see them",
                related=related,
                why="the optimizer never gets their parameters: they stay as they were drawn at random, "
                "and no checkpoint contains them",
                help=f"wrap them in {wrapper} (the checkpoint gains their keys)",
            )
