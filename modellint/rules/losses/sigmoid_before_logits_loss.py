"""sigmoid-before-logits-loss."""

from __future__ import annotations

from modellint.facts.loss_use import Expects, OutputKind
from modellint.rule import Category, Finding, Iterator, LossUse, Rule
from modellint.rules.losses._path import loss_path


class SigmoidBeforeLogitsLoss(Rule):
    """A loss that applies sigmoid itself receives values that went through sigmoid or softmax already.

    A value that passed through sigmoid / nn.Sigmoid / .sigmoid() (or softmax) and reaches the input of
    BCEWithLogitsLoss, binary_cross_entropy_with_logits, sigmoid_focal_loss, ... through assignments, returns,
    reshapes and calls in the project.

    The model can only predict probabilities between 0.500 and 0.731. Training looks healthy, the loss of a balanced
    problem stops near 0.5, and a confident mistake gets 76 times less gradient (0.013 instead of 0.982 for a
    negative sample at a raw score of 4).
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Scorer(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return torch.sigmoid(self.head(x))


    model = Scorer()
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        x, y = torch.randn(16, 8), torch.randint(0, 2, (16,)).float()
        optimizer.zero_grad()
        score = model(x).squeeze(1)
        loss = criterion(score, y)  # expect: sigmoid-before-logits-loss
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn


    class Scorer(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return self.head(x)


    model = Scorer()
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        x, y = torch.randn(16, 8), torch.randint(0, 2, (16,)).float()
        optimizer.zero_grad()
        logits = model(x).squeeze(1)
        loss = criterion(logits, y)
        loss.backward()
        optimizer.step()
        accuracy = ((torch.sigmoid(logits) > 0.5).float() == y).float().mean()
    """
    fine_when = (
        "BCELoss after a sigmoid is right: it takes probabilities.",
        "The loss bypasses the sigmoid (`self.head[0](x)`, another output of the model), or the sigmoid is only for "
        "metrics and prediction.",
        "A gate that ends in sigmoid and is turned back with torch.logit, scaled or added to is not reported.",
        "The sigmoid is on the target or on the weight.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy_with_logits.html",
        "github.com/cvg/glue-factory/issues/89",
    )

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        if use.expects is not Expects.BINARY_LOGITS:
            return
        if use.input not in (OutputKind.PROBABILITIES, OutputKind.DISTRIBUTION):
            return
        softmax = use.input is OutputKind.DISTRIBUTION
        path = loss_path(use, made="squashed to [0, 1] here", loss="this loss applies sigmoid itself")
        squashed = "sigmoid is applied to the output of a softmax" if softmax else "sigmoid is applied twice"
        why = f"{squashed}: the predicted probability can never leave [0.500, 0.731]"
        if "focal" not in use.loss:  # a focal loss weighs its terms: it has other bounds
            why += ", so the loss cannot fall below 0.313 on positives and 0.693 on negatives"
        name = "softmax" if softmax else "sigmoid"
        source = "return the raw scores from forward" if use.model is not None else "give the loss the raw scores"
        yield self.finding(
            at=use.place,
            message=f"`{use.loss}` is given probabilities, it needs raw scores",
            label="a value in [0, 1] is read as a raw score",
            order=path.order,
            related=path.related,
            flow=path.flow,
            why=why,
            help=f"{source} and call torch.{name} only when you predict",
            group=path.group,
            weight=int(use.trains),
        )
