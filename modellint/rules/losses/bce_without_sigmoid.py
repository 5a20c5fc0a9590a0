"""bce-without-sigmoid."""

from __future__ import annotations

from modellint.facts.loss_use import Expects, OutputKind
from modellint.rule import Category, Finding, Iterator, LossUse, Rule
from modellint.rules.losses._path import loss_path


class BceWithoutSigmoid(Rule):
    """A loss that needs probabilities receives the raw output of a layer.

    The output of a Linear or convolution that reaches the input of BCELoss or F.binary_cross_entropy.

    BCELoss takes the logarithm of each value, so a value outside [0, 1] raises an error: on the CPU at the first
    such batch, on a GPU as a device-side assert that ends the process. Until then the loss has no meaning.
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
            nn.init.constant_(self.head.bias, 0.5)

        def forward(self, x):
            return self.head(x)


    model = Scorer()
    criterion = nn.BCELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        x, y = 0.1 * torch.randn(16, 8), torch.randint(0, 2, (16,)).float()
        optimizer.zero_grad()
        score = model(x).squeeze(1)
        loss = criterion(score, y)  # expect: bce-without-sigmoid
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
            return torch.sigmoid(self.head(x))


    model = Scorer()
    criterion = nn.BCELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        x, y = torch.randn(16, 8), torch.randint(0, 2, (16,)).float()
        optimizer.zero_grad()
        loss = criterion(model(x).squeeze(1), y)
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The output is clamped, exponentiated, averaged from probabilities or a cosine rescaled to [0, 1].",
        "The model's output could not be followed to a layer.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html",
    )

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        if use.expects is not Expects.PROBABILITIES or use.input is not OutputKind.LOGITS:
            return
        if use.model is None or not use.model.complete:
            return
        path = loss_path(use, made="raw scores made here", loss="this loss applies no sigmoid")
        yield self.finding(
            at=use.place,
            message=f"`{use.loss}` is given raw scores, it needs probabilities",
            label="a raw score is read as a probability",
            order=path.order,
            related=path.related,
            flow=path.flow,
            why="the loss takes the logarithm of each value: the first score outside [0, 1] raises an error",
            help="use BCEWithLogitsLoss on the raw scores, or apply torch.sigmoid to them first",
            group=path.group,
            weight=int(use.trains),
        )
