"""non-finite."""

from __future__ import annotations

from modellint.facts.non_finite import NonFinite as NonFiniteLoss
from modellint.rule import Category, Finding, Iterator, Rule


class NonFinite(Rule):
    """The loss becomes NaN or infinite, and the optimizer steps on it.

    A loss at backward that is no finite number and is followed by a step of an optimizer; or one in four of a hundred
    losses, where the steps are left out.

    The gradient of such a loss is NaN too, or means nothing. Once one parameter is NaN the outputs are, and the run has
    to be repeated from the last checkpoint before it.
    """

    category = Category.CORRECTNESS
    sides = ("runtime",)
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        x = torch.randn(16, 4)
        optimizer.zero_grad()
        loss = torch.log(model(x)).mean()
        loss.backward()  # expect: non-finite
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        x = torch.randn(16, 4)
        optimizer.zero_grad()
        loss = nn.functional.softplus(model(x)).mean()
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "A GradScaler leaves out the steps of overflowing batches, or the loop skips them itself.",
        "Scores are masked with -inf before a softmax: the loss stays finite.",
    )
    references = (
        "docs.pytorch.org/docs/stable/autograd.html#anomaly-detection",
        "docs.pytorch.org/docs/stable/notes/amp_examples.html",
    )

    def non_finite(self, loss: NonFiniteLoss) -> Iterator[Finding]:
        if loss.parameter and loss.in_gradient:
            cause = f"all parameters were finite, the gradient of `{loss.parameter}` was the first that was not"
        elif loss.parameter:
            cause = f"the parameter `{loss.parameter}` was the first that was not finite, before this step"
        elif loss.optimizer:
            cause = "the gradients of this step are no gradients of a number, whatever they are"
        else:
            cause = "one loss in four is lost: the steps after them are left out"
        after = f": `{loss.optimizer}` steps on it" if loss.optimizer else ""
        yield self.finding(
            at=loss.place,
            message=f"`{loss.loss}` is {loss.value}{after}",
            label="not a number any more",
            why=cause,
            help="look at the batch before this one for log, sqrt, division or exp of an extreme value, or a learning "
            "rate that is too high; torch.autograd.detect_anomaly() names the operation",
            evidence={"skipped": loss.skipped},
        )
