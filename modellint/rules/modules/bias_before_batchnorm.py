"""bias-before-batchnorm."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, LayerFlow, Note, Rule
from modellint.rules._wording import attribute

_NORMS = {"norm_running": "batch", "norm_instance": "sample's"}


class BiasBeforeBatchnorm(Rule):
    """The bias of a layer is taken away again by the normalisation behind it.

    A convolution or Linear with a bias whose whole output goes straight into a BatchNorm or InstanceNorm that is
    trained.

    The norm subtracts the mean of each channel, and the bias with it: in training the bias changes nothing, and its
    gradient is rounding noise (2e-5, where that of the weight is 131). The norm has a bias of its own.
    """

    category = Category.PEDANTIC
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3)  # expect: bias-before-batchnorm
            self.norm = nn.BatchNorm2d(16)

        def forward(self, x):
            return torch.relu(self.norm(self.conv(x)))


    print(Net()(torch.randn(4, 3, 8, 8)).shape)
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3, bias=False)
            self.norm = nn.BatchNorm2d(16)

        def forward(self, x):
            return torch.relu(self.norm(self.conv(x)))


    print(Net()(torch.randn(4, 3, 8, 8)).shape)
    """
    fine_when = (
        "An activation stands between, or the output is used elsewhere too.",
        "The norm is frozen or in eval mode: it then subtracts a constant, and the bias counts.",
        "The weights come from a checkpoint that has the bias.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html",
        "docs.pytorch.org/tutorials/recipes/recipes/tuning_guide.html",
    )

    def layer_flow(self, flow: LayerFlow) -> Iterator[Finding]:
        if flow.next_family not in _NORMS or flow.bias is not True or flow.through or not flow.next_trains:
            return
        if flow.loaded or flow.replaced_weight or flow.statistics_read or flow.disagrees or flow.layer.place is None:
            return
        norm = attribute(flow.next.name) if flow.next.name else flow.next.text
        notes = [Note(flow.next.place, "this norm takes it away")] if flow.next.place is not None else []
        yield self.finding(
            at=flow.layer.place,
            message=f"the bias of `{flow.layer.text}` has no effect: `{flow.next.kind}` follows",
            label="a bias that is learned for nothing",
            related=notes,
            why=f"`{norm}` subtracts the mean of each channel over the {_NORMS[flow.next_family]} values, "
            "and a bias is part of that mean",
            help=f"pass bias=False{' where the norm follows' if flow.sometimes else ''}"
            + (": the norm has a bias of its own" if flow.next_family == "norm_running" else ""),
            group=flow.layer.place,
        )
