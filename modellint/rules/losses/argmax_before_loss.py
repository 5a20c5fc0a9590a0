"""argmax-before-loss."""

from __future__ import annotations

from modellint.facts.backward_use import BackwardUse
from modellint.rule import Category, Finding, Iterator, Note, Rule


class ArgmaxBeforeLoss(Rule):
    """A loss is computed on a decision (argmax, round, comparison), which has no gradient.

    A backward of which every way to the model leads through argmax, a comparison, rounding or a cast to whole numbers,
    while the optimizer that steps after it holds the parameters of that model.

    The derivative of a step function is 0 wherever it exists: rounding passes on zeros, argmax and comparisons nothing
    at all, and the weights stay as they were initialised.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        x, y = torch.randn(16, 4), torch.randint(0, 2, (16, 1)).float()
        optimizer.zero_grad()
        guess = torch.round(torch.sigmoid(model(x)))  # expect: argmax-before-loss
        loss = nn.functional.mse_loss(guess, y)
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        x, y = torch.randn(16, 4), torch.randint(0, 2, (16, 1)).float()
        optimizer.zero_grad()
        scores = model(x)
        loss = nn.functional.binary_cross_entropy_with_logits(scores, y)
        loss.backward()
        optimizer.step()
        accuracy = (torch.sigmoid(scores).round() == y).float().mean()
    """
    fine_when = (
        "The decision is the target (pseudo-labels), or it is counted for a metric.",
        "A straight-through sum adds a way that has a gradient: `x + (x.round() - x).detach()`.",
        "The decision picks what a second model computes with, and that model trains.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.round.html",
        "docs.pytorch.org/docs/stable/notes/autograd.html",
    )

    def backward_use(self, use: BackwardUse) -> Iterator[Finding]:
        if not use.decides or use.cut_place is None:
            return
        owner, optimizer = use.model.text, use.optimizer.text
        notes = [Note(use.place, "this backward reaches no parameter", order=3)]
        if use.model_place is not None:
            notes.append(Note(use.model_place, f"`{owner}` runs here with gradients", order=1))
        yield self.finding(
            at=use.cut_place,
            message=f"`{use.loss}` depends on `{owner}` only through `{use.cut}`, which has no gradient",
            label="no gradient comes back from here",
            order=2,
            related=notes,
            why=f"no parameter of `{owner}` receives a gradient other than 0: the steps of `{optimizer}` change "
            "nothing",
            help="give the loss the raw scores (cross_entropy, binary_cross_entropy_with_logits), and decide only for "
            "metrics and prediction",
            group=(use.place, use.optimizer.key),
        )
