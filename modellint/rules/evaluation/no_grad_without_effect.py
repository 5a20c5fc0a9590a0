"""no-grad-without-effect."""

from __future__ import annotations

from modellint.rule import Category, DiscardedValue, Finding, Iterator, Rule

_LEFT = {
    "torch.amp.autocast": "everything after it runs in full precision",
    "torch.enable_grad": "gradients stay off where they were off",
}


class NoGradWithoutEffect(Rule):
    """A context that switches gradients or precision is made but never entered.

    `torch.no_grad()`, `torch.inference_mode()` or `torch.autocast(...)` as a statement of its own, and
    `@torch.no_grad()` on a class.

    The object is made and dropped: gradients are recorded as before, which for an evaluation keeps every activation of
    the model in memory. On a class it covers the construction only, none of the methods.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 2).eval()
    torch.no_grad()  # expect: no-grad-without-effect
    print(model(torch.randn(3, 4)).sum().item())
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 2).eval()
    with torch.no_grad():
        print(model(torch.randn(3, 4)).sum().item())
    """
    fine_when = (
        "The context is stored and entered later, returned, or given to an ExitStack.",
        "torch.set_grad_enabled acts when it is called.",
        "`@torch.no_grad` without parentheses on a function works since torch 2.0.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.no_grad.html",)

    def discarded_value(self, value: DiscardedValue) -> Iterator[Finding]:
        if value.role == "context" and not value.excused:
            left = _LEFT.get(value.attribute, "gradients are recorded as before")
            yield self.finding(
                at=value.place,
                message=f"`{value.text}` is made but never entered",
                label="has no effect as a statement",
                why=f"a context acts inside its `with` block: here {left}",
                help=f"write `with {value.text}:` around the code that it is meant for",
            )
        elif value.role == "class":
            yield self.finding(
                at=value.place,
                message=f"`@{value.text}` on the class `{value.receiver}` covers its construction only",
                label="no method is decorated by this",
                why="the decorator wraps the making of an object: its methods record gradients as before",
                help="decorate the methods that predict, or use `with torch.no_grad():` inside them",
            )
