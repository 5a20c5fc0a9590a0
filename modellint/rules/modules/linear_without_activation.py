"""linear-without-activation."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, LayerFlow, Note, Rule
from modellint.rules._wording import attribute, instance_name


class LinearWithoutActivation(Rule):
    """Two Linear layers follow each other with nothing non-linear between.

    A Linear layer of an instance whose whole output goes into one other Linear layer of the same instance, through
    nothing but dropout, Identity or a change of device or type.

    Two linear maps in a row are one linear map: the pair can express nothing that one Linear cannot, and the
    parameters of the first one are spent for nothing (Linear(64, 256) and Linear(256, 10): 19,210 instead of 650).
    """

    category = Category.SUSPICIOUS
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Linear(64, 256)
            self.dropout = nn.Dropout(0.2)
            self.head = nn.Linear(256, 10)  # expect: linear-without-activation

        def forward(self, x):
            return self.head(self.dropout(self.hidden(x)))


    print(Net()(torch.randn(4, 64)).shape)
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Linear(64, 256)
            self.dropout = nn.Dropout(0.2)
            self.head = nn.Linear(256, 10)

        def forward(self, x):
            return self.head(self.dropout(torch.relu(self.hidden(x))))


    print(Net()(torch.randn(4, 64)).shape)
    """
    fine_when = (
        "The first layer makes fewer features than there are on both sides: a low-rank factor.",
        "The first layer has no bias: a projection.",
        "Its output is used elsewhere too, or is added to, multiplied or reshaped on the way.",
        "It stands in a test suite, where what the net computes does not matter.",
        "Deep linear networks are what the file is about: say so in a comment or in its docstring.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html",
        "docs.pytorch.org/tutorials/beginner/basics/buildmodel_tutorial.html",
    )

    def layer_flow(self, flow: LayerFlow) -> Iterator[Finding]:
        if flow.family != "linear" or flow.next_family != "linear" or flow.layer.place is None:
            return
        if not flow.same_owner or not flow.exclusive or flow.bottleneck is not False:
            return
        if flow.bias is False:
            return  # a projection: whoever leaves the bias out has thought about what comes next
        if flow.loaded or flow.replaced_weight or flow.said_linear or flow.in_test_suite:
            return
        at, label, notes = flow.next.place or flow.next_call, "takes the first one's output as it is", []
        notes.append(Note(flow.layer.place, "the first of the two", cause=True))
        inside = ""
        owner = flow.owner
        if flow.disagrees:
            if owner is None or owner.place is None or not owner.arguments:
                return  # other instances differ, and nothing shows by what
            notes.append(Note(at, label))
            at, label, inside = owner.place, f"made with {owner.arguments}", f" in `{instance_name(owner)}`"
        notes.append(Note(flow.next_call, "called here"))
        first = attribute(flow.layer.name) if flow.layer.name else flow.layer.text
        second = attribute(flow.next.name) if flow.next.name else flow.next.text
        dropped = " (dropout is none)" if flow.through else ""
        yield self.finding(
            at=at,
            message=f"nothing non-linear stands between `{first}` and `{second}`{inside}",
            label=label,
            related=notes,
            why=f"`{flow.layer.text}` and `{flow.next.text}` in a row are one linear map: "
            "they can express nothing that a single Linear cannot",
            help=f"put an activation such as nn.ReLU() between them{dropped}, or use one Linear",
            group=(flow.layer.place, flow.next.place),
        )
