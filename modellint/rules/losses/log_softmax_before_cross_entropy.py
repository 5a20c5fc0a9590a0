"""log-softmax-before-cross-entropy."""

from __future__ import annotations

from modellint.facts.loss_use import Expects, OutputKind
from modellint.rule import Category, Finding, Iterator, LossUse, Rule
from modellint.rules.losses._path import loss_path


class LogSoftmaxBeforeCrossEntropy(Rule):
    """A cross entropy that applies log-softmax itself receives log-probabilities.

    The output of log_softmax over the class axis that reaches the input of CrossEntropyLoss or F.cross_entropy.

    The numbers stay the same, because a second log-softmax changes nothing. It costs a pass over the scores, and it
    hides which of the two, the model or the loss, is meant to apply it.
    """

    category = Category.PEDANTIC
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(8, 10), nn.LogSoftmax(dim=1))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(16, 8), torch.randint(0, 10, (16,))
        optimizer.zero_grad()
        loss = criterion(model(x), y)  # expect: log-softmax-before-cross-entropy
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(8, 10), nn.LogSoftmax(dim=1))
    criterion = nn.NLLLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(16, 8), torch.randint(0, 10, (16,))
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The same output also goes to a loss that needs log-probabilities, such as NLLLoss or KLDivLoss.",
        "The targets are soft, or the labels are smoothed.",
        "Always: the result is the same. The rule is for those who want to say it once.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.LogSoftmax.html",
    )

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        if use.expects is not Expects.CLASS_LOGITS or use.input is not OutputKind.LOG_PROBABILITIES:
            return
        if use.softmax_dim not in (None, 1, -1):
            return
        if use.feeds_log_loss or use.label_smoothing or use.target is not OutputKind.UNKNOWN:
            return
        path = loss_path(use, made="turned into log-probabilities here", loss="this loss applies log-softmax itself")
        yield self.finding(
            at=use.place,
            message=f"`{use.loss}` is given log-probabilities, it takes raw scores",
            label="log-softmax is applied a second time",
            order=path.order,
            related=path.related,
            flow=path.flow,
            why="log-softmax of log-probabilities is the same log-probabilities: the second one is redundant",
            help="use NLLLoss on the log-probabilities, or return the raw scores",
            group=path.group,
        )
