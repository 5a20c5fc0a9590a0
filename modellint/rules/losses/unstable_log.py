"""unstable-log."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, LogUse, Note, Rule

_BETTER = {
    "softmax": ("torch.log_softmax", "a class whose score lies 104 below the largest (18 in float16) gives -inf"),
    "sigmoid": ("torch.nn.functional.logsigmoid", "a score below -104 (-18 in float16) gives -inf"),
    "sum of exp": ("torch.logsumexp", "exp overflows to inf above 88.7 in float32 and above 11 in float16"),
}


class UnstableLog(Rule):
    """A logarithm is taken of something for whose logarithm torch has a function of its own.

    `log(softmax(x))`, `log(sigmoid(x))` and `log(exp(x).sum())` in one expression, or through a local name that
    nothing else reads, where gradients are recorded.

    The probability underflows to 0 before its logarithm is taken: the loss is -inf or NaN as soon as the model is sure.
    In float32 gradients are NaN from a gap of 88 between two scores on, in float16 from one of 18.
    """

    category = Category.SUSPICIOUS
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(8, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(16, 8), torch.randint(0, 5, (16,))
        loss = nn.functional.nll_loss(torch.log(torch.softmax(model(x), dim=1)), y)  # expect: unstable-log
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(8, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(16, 8), torch.randint(0, 5, (16,))
        loss = nn.functional.nll_loss(torch.log_softmax(model(x), dim=1), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "Something keeps the argument away from 0: `log(p + 1e-8)`, a clamp.",
        "The probabilities themselves are needed and read as well.",
        "It is a metric under no_grad, or computed in float64 on purpose.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.functional.log_softmax.html",
        "docs.pytorch.org/docs/stable/generated/torch.logsumexp.html",
    )

    def log_use(self, use: LogUse) -> Iterator[Finding]:
        if not use.single_use or not use.recorded or use.double:
            return
        better, when = _BETTER[use.of]
        what = "a sum of exponentials" if use.of == "sum of exp" else f"a {use.of}"
        related = [Note(use.made_place, "made here and read nowhere else", cause=True)] if use.made_place else []
        yield self.finding(
            at=use.place,
            message=f"`{_shortened(use.text)}` takes the logarithm of {what}",
            label="underflows before the logarithm is taken" if use.of != "sum of exp" else "overflows first",
            related=related,
            why=f"{when}, and the gradient there is NaN",
            help=f"use {better}, which computes both in one step",
        )


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."
