"""softmax-before-cross-entropy."""

from __future__ import annotations

from math import e, log

from modellint.facts.loss_use import Expects, OutputKind
from modellint.rule import Category, Finding, Iterator, LossUse, Rule
from modellint.rules.losses._path import loss_path


class SoftmaxBeforeCrossEntropy(Rule):
    """A cross entropy that applies softmax itself receives values that went through softmax already.

    The output of softmax / nn.Softmax over the class axis that reaches the input of CrossEntropyLoss or
    F.cross_entropy.

    Softmax of values in [0, 1] cannot become sharp: the loss cannot fall below ln(1 + (C - 1) / e), which is 0.313
    for 2 classes, 1.461 for 10 and 5.909 for 1000, and gradients shrink with it.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 10)

        def forward(self, x):
            return torch.softmax(self.fc(x), dim=1)


    model = Classifier()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        x, y = torch.randn(16, 8), torch.randint(0, 10, (16,))
        optimizer.zero_grad()
        loss = criterion(model(x), y)  # expect: softmax-before-cross-entropy
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn


    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 10)

        def forward(self, x):
            return self.fc(x)


    model = Classifier()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        x, y = torch.randn(16, 8), torch.randint(0, 10, (16,))
        optimizer.zero_grad()
        logits = model(x)
        loss = criterion(logits, y)
        loss.backward()
        optimizer.step()
        confidence = torch.softmax(logits, dim=1).max(dim=1).values
    """
    fine_when = (
        "The softmax makes soft targets, attention or mixture weights, or numbers for metrics.",
        "A temperature or a scale lies between the softmax and the loss.",
        "The softmax runs over another axis than the classes.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.functional.cross_entropy.html",
    )

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        if use.expects is not Expects.CLASS_LOGITS or use.input is not OutputKind.DISTRIBUTION:
            return
        if use.softmax_dim not in (None, 1, -1) or use.classes == 1:
            return
        path = loss_path(use, made="turned into probabilities here", loss="this loss applies softmax itself")
        if use.classes is None:
            bound = "the loss cannot fall below 0.313 with 2 classes, 1.461 with 10, 5.909 with 1000"
        else:
            bound = f"with {use.classes} classes the loss cannot fall below {log(1 + (use.classes - 1) / e):.3f}"
        source = "return the raw scores from forward" if use.model is not None else "give the loss the raw scores"
        yield self.finding(
            at=use.place,
            message=f"`{use.loss}` is given probabilities, it needs raw scores",
            label="probabilities are read as raw scores",
            order=path.order,
            related=path.related,
            flow=path.flow,
            why=f"softmax is applied twice: {bound}",
            help=f"{source} and call torch.softmax only when you predict",
            group=path.group,
            weight=int(use.trains),
        )
