"""nan-gradient."""

from __future__ import annotations

from modellint.facts.guarded_singularity import GuardedSingularity
from modellint.rule import Category, Finding, Iterator, Note, Rule


class NanGradient(Rule):
    """A condition keeps a singular point out of a value, but not out of its gradient.

    `torch.where(x > 0, x.sqrt(), y)` on a value that has a gradient, where the operation in a branch has no finite
    derivative at the point that the condition leaves out.

    Both branches are differentiated. The derivative of the one that was not taken is infinite there, 0 times infinity
    is NaN, and one such element makes every weight NaN at the next step.
    """

    category = Category.NURSERY
    bad = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        size = model(torch.randn(16, 4))
        root = torch.where(size > 0, torch.sqrt(size), torch.zeros_like(size))  # expect: nan-gradient
        root.mean().backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        size = model(torch.randn(16, 4))
        safe = torch.where(size > 0, size, torch.ones_like(size))
        root = torch.where(size > 0, torch.sqrt(safe), torch.zeros_like(size))
        root.mean().backward()
        optimizer.step()
    """
    fine_when = (
        "The operand is made safe before: by an inner where, clamp, softplus, `+ eps`.",
        "The value has no gradient: counts, data, code under no_grad.",
        "`x.norm()` has the derivative 0 at 0.",
    )
    references = ("github.com/pytorch/pytorch/issues/4132", "docs.pytorch.org/docs/stable/generated/torch.where.html")

    def guarded_singularity(self, use: GuardedSingularity) -> Iterator[Finding]:
        yield self.finding(
            at=use.place,
            message=f"the gradient of `{use.operation}` is NaN where `{use.operand}` is {use.at}, whatever "
            f"`{use.condition}` says",
            label="both branches are differentiated",
            related=[Note(use.operation_place, f"no finite derivative at {use.at}")],
            why=f"the branch that is not taken gets the gradient 0, and 0 times the infinite derivative at {use.at} is "
            "NaN",
            help=f"replace `{use.operand}` inside too: safe = torch.where({use.condition}, {use.operand}, "
            "torch.ones_like(...)), and compute with `safe`",
        )
