"""aliased-modules."""

from __future__ import annotations

from modellint.facts.aliased_module import Aliasing
from modellint.rule import AliasedModule, Category, Certainty, Finding, Iterator, Rule
from modellint.rules._wording import listing, number

_LIKELY = frozenset({Aliasing.COMPREHENSION, Aliasing.LIST, Aliasing.MOVED, Aliasing.DEFAULT})
_HELP = {
    Aliasing.MULTIPLIED: "make each one: [{kind}(...) for _ in range(n)]",
    Aliasing.FROM_KEYS: "make each one: {{key: {kind}(...) for key in keys}}",
    Aliasing.COMPREHENSION: "construct it inside of the comprehension, or copy it: copy.deepcopy(...) for each",
    Aliasing.LIST: "build the second list by itself, with layers of its own",
    Aliasing.MOVED: "copy it first: copy.deepcopy(...)",
    Aliasing.DEFAULT: "take None as the default, and make it in the constructor",
    Aliasing.CLASS_ATTRIBUTE: "make it in __init__, after super().__init__(), and keep it on self",
    Aliasing.SELF_LOAD: "make the target with copy.deepcopy(...) of the source",
}


class AliasedModules(Rule):
    """One module with parameters stands where several were meant.

    `[X()] * n`, `dict.fromkeys(keys, X())`, a comprehension that names one module, two names for what `.to()` gave, a
    module as default argument or class attribute, and a model that is loaded with its own weights.

    All of them share every weight: a stack of n layers has the parameters of one, and a target network that is the
    policy itself always agrees with it.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Linear(8, 8)] * 4)  # expect: aliased-modules
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            for block in self.blocks:
                x = torch.relu(block(x))
            return self.head(x)


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
            self.blocks = nn.ModuleList([nn.Linear(8, 8) for _ in range(4)])
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            for block in self.blocks:
                x = torch.relu(block(x))
            return self.head(x)


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The elements have no parameters: `[nn.Identity()] * n`.",
        "Weights are shared on purpose: the layer is called in a loop, tied, handed over as `self.layer`, or given to "
        "two attributes by name (`self.a = self.b = X()`).",
        "The copies are made afterwards: `copy.deepcopy`, nn.TransformerEncoder.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.ModuleList.html",)

    def aliased_module(self, alias: AliasedModule) -> Iterator[Finding]:
        if not alias.used or (alias.in_test_suite and alias.how is Aliasing.SELF_LOAD):
            return
        if alias.slots is not None and alias.slots < 2:
            return
        named = alias.how in (Aliasing.MULTIPLIED, Aliasing.FROM_KEYS) and not alias.made_there
        yield self.finding(
            at=alias.place,
            message=_message(alias),
            label=alias.how.value,
            why=_why(alias),
            help=_HELP[alias.how].format(kind=alias.layer.kind),
            certainty=Certainty.LIKELY if alias.how in _LIKELY or named else Certainty.CERTAIN,
        )


def _message(alias: AliasedModule) -> str:
    layer = f"`{alias.layer.text}`"
    if alias.how is Aliasing.SELF_LOAD:
        return f"this `{alias.layer.kind}` is loaded with its own weights: target and source are one object"
    if alias.how is Aliasing.CLASS_ATTRIBUTE:
        return f"{layer} is an attribute of the class: `{alias.names[0]}` is one module for all instances"
    if alias.how is Aliasing.DEFAULT:
        return f"the default {layer} is one module in {number(alias.slots or 2)} instances"
    if alias.how is Aliasing.LIST:
        names = " and ".join(f"`{name}`" for name in alias.names)
        return f"{names} are one list: {number(alias.slots or 2)} containers hold the same layers, {layer} first"
    if alias.names:
        return f"{listing([f'`{name}`' for name in alias.names])} are one {layer}"
    count = number(alias.slots) if alias.slots is not None else "several"
    return f"{count} places hold one and the same {layer}"


def _why(alias: AliasedModule) -> str:
    if alias.how is Aliasing.SELF_LOAD:
        return "nothing is copied: what one of them learns, the other has learnt too"
    if alias.how is Aliasing.CLASS_ATTRIBUTE:
        return "no instance registers it: parameters(), .to() and state_dict() do not see it"
    if alias.parameters is not None and alias.slots is not None:
        return f"it has {alias.parameters:,} parameters in all, not {alias.parameters * alias.slots:,}"
    return "they share every weight, and are trained as one layer"
