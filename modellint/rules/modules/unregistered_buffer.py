"""unregistered-buffer."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, ModuleClass, Rule


class UnregisteredBuffer(Rule):
    """A tensor that forward uses is an ordinary attribute of a module that was moved to another device.

    A tensor with at least one axis in an ordinary attribute on the CPU, beside parameters that are all elsewhere, and
    read by a method that does not move it.

    `.to(device)` leaves it behind, so its use fails or copies it at every call; no checkpoint contains it.
    """

    category = Category.SUSPICIOUS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    device = "cuda" if torch.cuda.is_available() else "meta"


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 1)
            self.order = torch.randperm(8)  # expect: unregistered-buffer

        def forward(self, x):
            return self.fc(x[:, self.order])


    model = Net().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8, device=device)), torch.randn(16, 1, device=device))
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    device = "cuda" if torch.cuda.is_available() else "meta"


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 1)
            self.register_buffer("order", torch.randperm(8))

        def forward(self, x):
            return self.fc(x[:, self.order])


    model = Net().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8, device=device)), torch.randn(16, 1, device=device))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The methods that read it move it: `self.mean.to(x.device)`.",
        "The model stays on the CPU.",
        "It has no axis: such a tensor works on every device.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.register_buffer",)

    def module_class(self, cls: ModuleClass) -> Iterator[Finding]:
        for tensor in cls.tensors:
            if tensor.trainable or tensor.registered or not tensor.used_in_forward or tensor.moved_at_use:
                continue
            if not tensor.module_device or tensor.device == tensor.module_device:
                continue
            yield self.finding(
                at=tensor.place,
                message=f"`self.{tensor.attribute}` is on `{tensor.device}`, the parameters of `{cls.name}` are on "
                f"`{tensor.module_device}`",
                label="an ordinary attribute: .to() and state_dict() do not see it",
                why="the move of the model left it behind, and no checkpoint contains it",
                help=f'register it: self.register_buffer("{tensor.attribute}", ...)',
            )
