"""unregistered-parameter."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, ModuleClass, Rule


class UnregisteredParameter(Rule):
    """A trainable tensor is an ordinary attribute of a module, where nn.Module does not see it.

    An attribute, or an element of a plain container, that requires a gradient, takes part in the forward and is in no
    module's `parameters()`. `nn.Parameter(...).cuda()` and `nn.Parameter(...) * 0.1` are results, not parameters.

    The optimizer never gets it, so it stays as it was drawn; `.to(device)` does not move it and no checkpoint holds it.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 1)
            self.scale = torch.ones(8, requires_grad=True)  # expect: unregistered-parameter

        def forward(self, x):
            return self.fc(self.scale * x)


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
            self.fc = nn.Linear(8, 1)
            self.scale = nn.Parameter(torch.ones(8))

        def forward(self, x):
            return self.fc(self.scale * x)


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "An optimizer holds the tensor, or the loop changes it by hand.",
        "It is an alias or a view of a parameter that is registered.",
        "It is a cache that forward writes anew each time.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html",)

    def module_class(self, cls: ModuleClass) -> Iterator[Finding]:
        for tensor in cls.tensors:
            if not (tensor.trainable and tensor.used_in_forward) or tensor.registered or tensor.trained:
                continue
            shape = ""
            if tensor.shape is not None:
                shape = f" ({' x '.join(str(size) for size in tensor.shape) or 'scalar'})"
            inside = f" holds a trainable tensor{shape} in a plain {tensor.container}"
            plain = f" is a trainable tensor{shape} that is not registered"
            result = f" is computed from a parameter{shape}: the result is not registered"
            yield self.finding(
                at=tensor.place,
                message=f"`self.{tensor.attribute}`"
                + (inside if tensor.container else plain if tensor.leaf else result),
                label="parameters(), .to() and state_dict() do not see it",
                why="no optimizer gets it: it stays as it was drawn, and no checkpoint contains it",
                help="make it an nn.Parameter, or keep several in an nn.ParameterList or nn.ParameterDict"
                if tensor.leaf
                else "assign the nn.Parameter itself, and move or scale it before it is wrapped",
            )
