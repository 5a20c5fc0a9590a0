"""view-as-permute."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, RecutView, Rule


class ViewAsPermute(Rule):
    """A `view` or `reshape` is used to swap axes, and re-cuts the values instead.

    The sizes that were unpacked from the shape of a tensor (`b, c, h, w = x.shape`) are given to `view` or `reshape`
    of the same tensor in another order, so that no merge or split of neighbouring axes explains it, and nothing
    permuted the axes before.

    The shape is the one that was wanted, but each value stands in a wrong place: of a 2 x 3 matrix cut into 3 x 2
    only the first and the last value are where a transpose puts them. The model trains on scrambled input.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn


    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            batch, channels, height, width = x.shape
            tokens = x.view(batch, height * width, channels)  # expect: view-as-permute
            return self.head(tokens)


    out = Tokens()(torch.randn(2, 8, 6, 4))
    """
    good = """
    import torch
    from torch import nn


    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            batch, channels, height, width = x.shape
            tokens = x.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
            return self.head(tokens)


    out = Tokens()(torch.randn(2, 8, 6, 4))
    """
    fine_when = (
        "Neighbouring axes are merged or split: `x.view(b, c, h * w)`.",
        "The axes were permuted or transposed before.",
        "A moved axis is of length 1, or is given as -1.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.Tensor.view.html",
        "docs.pytorch.org/docs/stable/generated/torch.permute.html",
    )

    def recut_view(self, view: RecutView) -> Iterator[Finding]:
        before, after = ", ".join(view.before), ", ".join(view.after)
        method = "reshape" if ".reshape(" in view.text else "view"
        permute = "permute the axes first"
        if view.order is not None:
            permute = f"permute the axes first: .permute({', '.join(map(str, view.order))}).reshape({after})"
        yield self.finding(
            at=view.place,
            message=f"`{method}` to ({after}) of a tensor of ({before}) does not swap its axes",
            label="the values are cut in another place, not moved",
            why=f"`{method}` keeps the values in their order in memory: they run through the axes as ({before}), "
            f"and are now read as ({after})",
            help=permute,
        )
