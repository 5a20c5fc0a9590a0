"""inplace-on-skip-connection."""

from __future__ import annotations

from modellint.rule import Category, Finding, InplaceRead, Iterator, Note, Rule


class InplaceOnSkipConnection(Rule):
    """An in-place activation overwrites the value that the skip connection adds later.

    An in-place activation (`ReLU(inplace=True)`, `F.relu(x, True)`, `x.relu_()`) on a value that the code afterwards
    adds to what it made of the activated one.

    The skip connection was meant to carry x and carries relu(x): all negative values are lost on the path that
    should keep them, half of a centred input. Nothing crashes, as the in-place write happens before the sum.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn


    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.ReLU(inplace=True),  # expect: inplace-on-skip-connection
                nn.Conv2d(8, 8, 3, padding=1),
            )

        def forward(self, x):
            return x + self.body(x)


    print(Block()(torch.randn(2, 8, 6, 6)).shape)
    """
    good = """
    import torch
    from torch import nn


    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(8, 8, 3, padding=1),
            )

        def forward(self, x):
            return x + self.body(x)


    print(Block()(torch.randn(2, 8, 6, 6)).shape)
    """
    fine_when = (
        "The in-place activation works on a fresh tensor: behind a convolution or norm, or on a clone.",
        "The activated value is meant for both paths: bind it to the name that both read (`x = relu(x)`).",
        "The input is never negative: the activation changes nothing.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.ReLU.html",
        "docs.pytorch.org/docs/stable/notes/autograd.html#in-place-operations-with-autograd",
    )

    def inplace_read(self, read: InplaceRead) -> Iterator[Finding]:
        if read.unchanged or read.grad is False:
            return
        notes = [Note(read.read, "adds the value as the activation left it")]
        if read.call != read.place:
            notes.insert(0, Note(read.call, "writes into its input here"))
        yield self.finding(
            at=read.place,
            message=f"`{read.text}` overwrites the value that `{read.read_text}` adds later",
            label="works in place",
            related=notes,
            why="the skip connection carries the activated value, not the input: what was negative is lost",
            help="use inplace=False here" if read.layer is not None else "use the form that is not in place",
            group=read.place,
        )
