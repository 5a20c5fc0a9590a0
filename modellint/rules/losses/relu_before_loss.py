"""relu-before-loss."""

from __future__ import annotations

from math import e, log

from modellint.facts.loss_use import Expects, OutputKind
from modellint.rule import Category, Finding, Iterator, LossUse, Rule
from modellint.rules.losses._path import loss_path


class ReluBeforeLoss(Rule):
    """A loss that needs raw scores of both signs receives what a ReLU, a tanh or a sigmoid has cut.

    The output of a ReLU or tanh that reaches the input of CrossEntropyLoss or BCEWithLogitsLoss, or that of a sigmoid
    that reaches CrossEntropyLoss. A ReLU before MSE or L1 where the targets have both signs.

    After a ReLU no score can go below 0: BCEWithLogitsLoss then never sees a probability below 0.5, and a unit that
    is 0 on all samples gets no gradient any more. A sigmoid keeps the scores of a cross entropy within 1 of each other.
    """

    category = Category.SUSPICIOUS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 10), nn.ReLU())
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(16, 8), torch.randint(0, 10, (16,))
        optimizer.zero_grad()
        loss = criterion(model(x), y)  # expect: relu-before-loss
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 10))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(16, 8), torch.randint(0, 10, (16,))
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "A layer or a pooling lies between the ReLU and the loss.",
        "The loss is a regression of something that cannot be negative.",
    )
    references = (
        "github.com/pytorch/tutorials/issues/1654",
        "docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html",
    )

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        binary = use.expects is Expects.BINARY_LOGITS
        signed = use.expects is Expects.RAW and use.signed_target and use.trains
        if not binary and not signed and use.expects is not Expects.CLASS_LOGITS:
            return
        if signed and use.input is not OutputKind.NON_NEGATIVE:
            return
        if use.input is OutputKind.NON_NEGATIVE:
            given = "the output of a softplus" if "softplus" in (use.maker or "").lower() else "the output of a ReLU"
            cut = "scores below 0 are cut off here"
            why = (
                "the targets below 0 can never be reached, and where the output is 0 it gets no gradient"
                if signed
                else "no predicted probability can fall below 0.5"
                if binary
                else "the score of a wrong class cannot go below 0, and where it is 0 it gets no gradient"
            )
        elif use.input is OutputKind.TANH:
            given, cut = "the output of a tanh", "scores are squashed to [-1, 1] here"
            if binary:
                why = "the predicted probability can never leave [0.269, 0.731]"
            else:
                classes = use.classes or 10
                why = f"with {classes} classes the loss cannot fall below {log(1 + (classes - 1) / e**2):.3f}"
        elif use.input is OutputKind.PROBABILITIES and not binary:
            given, cut = "the output of a sigmoid", "scores are squashed to [0, 1] here"
            classes = use.classes or 10
            why = f"with {classes} classes the loss cannot fall below {log(1 + (classes - 1) / e):.3f}"
        else:
            return
        path = loss_path(use, made=cut, loss="this loss takes scores of both signs")
        yield self.finding(
            at=use.place,
            message=f"`{use.loss}` is given {given}, it needs {'numbers of both signs' if signed else 'raw scores'}",
            label="compared with targets of both signs" if signed else "read as raw scores",
            order=path.order,
            related=path.related,
            flow=path.flow,
            why=why,
            help="return the raw scores of the last layer, without an activation after it",
            group=path.group,
            weight=int(use.trains),
        )
