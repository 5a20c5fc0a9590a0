"""shadowed-module-method."""

from __future__ import annotations

from modellint.facts.module_class import Shadow, ShadowedMethod
from modellint.rule import Category, Finding, Iterator, ModuleClass, Rule

_WHY = {
    "train": "`eval()` is `train(False)`: on this module and on every module above it, it ends in this method",
    "training": "the flag says the mode: layers that are made later, or children, have another one",
    "eval": "`model.eval()` is how everybody switches the mode",
}
_HELP = {
    "train": "rename it (`fit`), or take `mode=True` and call `super().train(mode)` first",
    "training": "keep the argument under another name and call `self.train(...)` once the layers are there",
    "eval": "rename it (`evaluate`)",
}


class ShadowedModuleMethod(Rule):
    """A subclass of nn.Module gives one of its names another meaning.

    A method `train`, `eval`, `parameters`, `children`, `modules`, `buffers`, `state_dict` or `apply` that cannot be
    called as nn.Module calls it, a `train` that leaves its layers in train mode, or a value under such a name.

    nn.Module and torch call these names themselves: `eval()` calls `train(False)` on every module below, so a `train`
    that runs epochs leaves dropout on, and norms go on learning from the test data.
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

        def forward(self, x):
            return self.fc(x)

        def train(self, batches):  # expect: shadowed-module-method
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            for x, y in batches:
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(self(x), y)
                loss.backward()
                optimizer.step()


    model = Net()
    model.train([(torch.randn(16, 8), torch.randn(16, 1)) for _ in range(4)])
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 1)

        def forward(self, x):
            return self.fc(x)

        def fit(self, batches):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            for x, y in batches:
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(self(x), y)
                loss.backward()
                optimizer.step()


    model = Net()
    model.fit([(torch.randn(16, 8), torch.randn(16, 1)) for _ in range(4)])
    """
    fine_when = (
        "`train(self, mode=True)` calls `super().train(mode)` and then freezes some layers.",
        "One instance is pinned to a mode: `self.backbone.train = lambda mode=True: self.backbone`.",
        "A framework's base class owns the name.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.train",)

    def module_class(self, cls: ModuleClass) -> Iterator[Finding]:
        for method in cls.shadowed:
            if method.how is Shadow.NO_BASE_CALL and cls.run is not None and not method.still_training:
                continue
            yield self.finding(
                at=method.place,
                message=_message(cls.name, method),
                label=f"nn.Module calls `{method.name}` itself",
                why=f"`{method.still_training}` was in train mode while the model was in eval mode"
                if method.still_training
                else _WHY.get(method.name, "torch walks the layers by this name"),
                help=_HELP.get(method.name, f"give `{method.name}` another name"),
            )


def _message(cls: str, method: ShadowedMethod) -> str:
    if method.how is Shadow.VALUE:
        return f"`self.{method.name}` of `{cls}` is set to {method.signature}: nn.Module gives the name a meaning"
    if method.how is Shadow.PROPERTY:
        return f"`{cls}.{method.name}` is a property: nn.Module calls it as a method"
    if method.how is Shadow.NO_BASE_CALL:
        return f"`{cls}.{method.name}` never calls `super().{method.name}`: it does not switch the layers"
    return f"`{cls}.{method.signature}` replaces `nn.Module.{method.name}`, which is called in another way"
