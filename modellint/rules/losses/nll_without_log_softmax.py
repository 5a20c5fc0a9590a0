"""nll-without-log-softmax."""

from __future__ import annotations

from modellint.facts.loss_use import Expects, OutputKind
from modellint.rule import Category, Finding, Iterator, LossUse, Rule
from modellint.rules.losses._path import loss_path


class NllWithoutLogSoftmax(Rule):
    """A loss that needs log-probabilities receives raw scores or probabilities.

    The output of a Linear or convolution, or of a softmax, that reaches the input of NLLLoss, F.nll_loss or CTCLoss.

    NLLLoss is minus the value of the target class. Given raw scores it goes negative without bound and never
    settles. Given probabilities it stays in [-1, 0], and a confident mistake (probability 0.01) gets a gradient of
    0.0099 where log-probabilities give 0.99.
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
    criterion = nn.NLLLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        x, y = torch.randn(16, 8), torch.randint(0, 10, (16,))
        optimizer.zero_grad()
        loss = criterion(model(x), y)  # expect: nll-without-log-softmax
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
            return torch.log_softmax(self.fc(x), dim=1)


    model = Classifier()
    criterion = nn.NLLLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        x, y = torch.randn(16, 8), torch.randint(0, 10, (16,))
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The input is `log(softmax(x))`, `log(p + eps)` or the log-probability of a distribution.",
        "skorch's NeuralNetClassifier takes the logarithm itself before its default NLLLoss.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.CTCLoss.html",
        "github.com/skorch-dev/skorch/issues/519",
    )

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        loss = use.loss.lower()
        if use.expects is not Expects.LOG_PROBABILITIES or not ("nll" in loss or "ctc" in loss):
            return
        if use.input is OutputKind.DISTRIBUTION:
            given, made = "probabilities", "made probabilities here"
            bounds = "the loss stays in [-1, 0], and at a probability of 0.01 the gradient is 0.0099 instead of 0.99"
        elif use.input is OutputKind.LOGITS and use.model is not None and use.model.complete:
            given, made = "raw scores", "raw scores made here"
            bounds = "the loss goes negative without bound as the scores grow"
        else:
            return
        path = loss_path(use, made=made, loss="this loss only picks values, it takes no logarithm")
        if "ctc" in loss:
            why = "CTC adds up logarithms of probabilities; with other values the loss goes negative and misleads"
        else:
            why = f"the loss is minus the value of the target class: {bounds}"
        yield self.finding(
            at=use.place,
            message=f"`{use.loss}` is given {given}, it needs log-probabilities",
            label=f"{given} are read as log-probabilities",
            order=path.order,
            related=path.related,
            flow=path.flow,
            why=why,
            help="apply torch.log_softmax(..., dim=...) to the raw scores, or use CrossEntropyLoss on them"
            if "nll" in loss
            else "apply torch.log_softmax(..., dim=...) to the raw scores",
            group=path.group,
            weight=int(use.trains),
        )
