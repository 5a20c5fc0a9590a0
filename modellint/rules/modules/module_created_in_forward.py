"""module-created-in-forward."""

from __future__ import annotations

from modellint.facts.torch_call import UNKNOWN
from modellint.rule import Category, Certainty, Finding, Iterator, Rule, TorchCall


class ModuleCreatedInForward(Rule):
    """A layer is built in forward, anew at every call.

    A layer with parameters that no optimizer holds, or a dropout, that is constructed and called by every forward, with
    no test around it that keeps the first one.

    The weights start anew at every call and are never trained. A new dropout is in training mode: `eval()`,
    called on the model, does not reach it.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter = nn.Linear(4, 8)
            self.leave = nn.Linear(8, 2)

        def forward(self, x):
            hidden = torch.relu(self.enter(x))
            hidden = nn.Dropout(0.5)(hidden)  # expect: module-created-in-forward
            return self.leave(hidden)


    model = Net()
    model.eval()
    with torch.no_grad():
        for x in torch.randn(5, 3, 4):
            print(model(x).argmax(1))
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter = nn.Linear(4, 8)
            self.drop = nn.Dropout(0.5)
            self.leave = nn.Linear(8, 2)

        def forward(self, x):
            hidden = torch.relu(self.enter(x))
            hidden = self.drop(hidden)
            return self.leave(hidden)


    model = Net()
    model.eval()
    with torch.no_grad():
        for x in torch.randn(5, 3, 4):
            print(model(x).argmax(1))
    """
    fine_when = (
        "The layer has no parameters and does not depend on the mode, such as an activation.",
        "It is built once, when its size is first known.",
        "Its weights are computed by another network, or it is trained by an optimizer of its own.",
    )
    references = ("docs.pytorch.org/docs/stable/notes/modules.html",)

    def torch_call(self, call: TorchCall) -> Iterator[Finding]:
        if not call.built_each_forward or call.in_test_suite or call.stochastic_on_purpose:
            return
        share = call.argument("p")
        certain = share is None or share.constant is not UNKNOWN
        if call.has_parameters:
            why = "its weights start anew at every call, and no optimizer holds them"
            label = "another object in every forward"
        else:
            why = "a new layer is in training mode: eval() on the model does not reach it, so predictions are random"
            label = "drops in eval mode too"
        yield self.finding(
            at=call.place,
            message=f"`{call.text}` is built anew in every forward of `{call.module_class}`",
            label=label,
            why=why,
            help="build it in __init__, keep it as an attribute, and call that",
            certainty=Certainty.CERTAIN if certain else Certainty.LIKELY,
        )
