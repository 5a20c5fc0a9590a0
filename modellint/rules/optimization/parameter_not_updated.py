"""parameter-not-updated."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, ParameterUpdate, Rule
from modellint.rules._wording import listing


class ParameterNotUpdated(Rule):
    """A step of the optimizer leaves a parameter as it was, although it has a gradient.

    A parameter whose gradient is not zero and whose learning rate is not zero, of which no bit changes in two watched
    steps or more.

    The parameter does not learn: the step skips it, or the update is too small for the precision of the weight.
    """

    category = Category.NURSERY
    sides = ("runtime",)
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1).to(torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-12)  # expect: parameter-not-updated
    for _ in range(6):
        optimizer.zero_grad()
        loss = model(torch.randn(16, 4, dtype=torch.bfloat16) + 1.0).mean()
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1).to(torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-1)
    for _ in range(6):
        optimizer.zero_grad()
        loss = model(torch.randn(16, 4, dtype=torch.bfloat16) + 1.0).mean()
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The learning rate is zero, as at the start of a warm-up.",
        "A GradScaler skips the step.",
        "The optimizer updates some parameters every few steps only.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.step.html",)

    def parameter_update(self, update: ParameterUpdate) -> Iterator[Finding]:
        if update.run is None or not update.unchanged:
            return
        name = update.optimizer.text
        reason = f"check the step of `{update.optimizer.kind}`: it skips them"
        if update.low_precision:
            reason = "keep the weights in float32 (autocast the forward), or raise the learning rate"
        yield self.finding(
            at=update.place,
            message=f"the steps of `{name}` do not change {listing([f'`{one}`' for one in update.unchanged], 4)}",
            label=f"{update.changed} other parameters do change" if update.changed else "",
            why=f"the gradient is not zero, and not one bit was different after {update.run.times} steps",
            help=reason,
        )
