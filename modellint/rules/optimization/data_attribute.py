"""data-attribute."""

from __future__ import annotations

from modellint.facts.data_attribute import DataAttribute as Read
from modellint.rule import Category, Finding, Iterator, Rule


class DataAttribute(Rule):
    """A tensor is read through `.data`, which autograd does not see.

    `.data` of an activation, an output or a loss. Parameters are left out: initialisation, weight clipping, moving
    averages and optimizers write through it on purpose.

    Autograd cannot check what happens to `.data`: `x.data *= 5` between forward and backward makes the gradient of
    x * x at 1 a wrong 10 instead of 2, where the same edit of `x.detach()` raises an error.
    """

    category = Category.PEDANTIC
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 2)
    loss = model(torch.randn(3, 4)).pow(2).mean()
    print(loss.data)  # expect: data-attribute
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 2)
    loss = model(torch.randn(3, 4)).pow(2).mean()
    print(loss.detach())
    """
    fine_when = (
        "The weights of a model: initialisation, clipping, a moving average, an optimizer of one's own.",
        "The code must run on torch before 0.4.",
    )
    references = ("docs.pytorch.org/docs/stable/notes/autograd.html#in-place-correctness-checks",)

    def data_attribute(self, attribute: Read) -> Iterator[Finding]:
        if attribute.read_as_number:
            why, instead = "`.item()` alone gives the same number", f"{attribute.receiver}.item()"
        else:
            why = "an edit through `.data` is not seen by autograd, and a backward after it gives a wrong gradient"
            instead = f"{attribute.receiver}.detach()"
        yield self.finding(
            at=attribute.place,
            message=f"`{attribute.text}` hides the tensor from autograd",
            label="an activation in a forward" if attribute.in_forward else "",
            why=why,
            help=f"write `{instead}`",
        )
