"""discarded-result."""

from __future__ import annotations

from modellint.rule import Category, DiscardedValue, Finding, Iterator, Rule

_LEFT = {
    **dict.fromkeys(("to", "cuda", "cpu"), "the tensor stays where it was"),
    "detach": "the tensor keeps its graph",
}


class DiscardedResult(Rule):
    """The result of an operation that changes nothing in place is dropped.

    `x.to(device)`, `x.unsqueeze(1)`, `x.clamp(0, 1)`, `F.relu(x)`, `self.dropout(x)` as a statement, where `x` is a
    tensor and is read afterwards; and a name in a forward that holds such a result and is never read.

    These operations return a new tensor and leave theirs alone. What follows works with the old one: not moved, not
    clamped, without the dropout, and nothing warns.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn
    from torch.nn import functional as F


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(8, 8)
            self.last = nn.Linear(8, 2)

        def forward(self, x):
            x = self.first(x)
            F.relu(x)  # expect: discarded-result
            return self.last(x)


    net = Net()
    print(net(torch.randn(3, 8)).shape)
    """
    good = """
    import torch
    from torch import nn
    from torch.nn import functional as F


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(8, 8)
            self.last = nn.Linear(8, 2)

        def forward(self, x):
            x = self.first(x)
            x = F.relu(x)
            return self.last(x)


    net = Net()
    print(net(torch.randn(3, 8)).shape)
    """
    fine_when = (
        "The receiver is a module (`model.to(device)` works in place) or an object of a class of one's own.",
        "The operation works in place: `relu_`, `inplace=True`, `out=`.",
        "It is run for the shape check, for a timing, or is expected to fail.",
        "It is the last expression of a notebook cell.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.Tensor.to.html",)

    def discarded_value(self, value: DiscardedValue) -> Iterator[Finding]:
        if value.role not in ("tensor", "layer", "unread") or value.excused or not value.known or not value.read_later:
            return
        if value.role == "unread":
            yield self.finding(
                at=value.place,
                message=f"`{value.name}` is never read: `{value.receiver}` is used without `{value.attribute}`",
                label=f"its result is only in `{value.name}`",
                why=f"`{value.attribute}` returns a new tensor, and what follows reads `{value.receiver}`",
                help=f"read `{value.name}` where `{value.receiver}` is read, or assign to `{value.receiver}`",
            )
            return
        left = _LEFT.get(value.attribute, f"`{value.receiver}` stays as it is")
        yield self.finding(
            at=value.place,
            message=f"the result of `{_shortened(value.text)}` is dropped",
            label=left,
            why=f"`{value.attribute}` returns a new tensor; `{value.receiver}` is read afterwards, unchanged",
            help=f"assign it: `{value.receiver} = {_shortened(value.text)}`",
        )


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."
