"""missing-optimizer-step."""

from __future__ import annotations

from modellint.facts.training_loop import EventKind, OptimizerRef
from modellint.rule import Category, Finding, Iterator, Note, Rule, TrainingLoop


class MissingOptimizerStep(Rule):
    """Backward runs again and again, and the optimizer of these parameters never steps.

    At least three backward calls that reach parameters of an optimizer, while that optimizer never steps and nothing
    else changes the parameters.

    Gradients alone change nothing: the model stays as it was initialised.
    """

    category = Category.CORRECTNESS
    sides = ("runtime",)
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()  # expect: missing-optimizer-step
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The gradients themselves are wanted: saliency, Fisher information, federated training.",
        "The parameters are changed by hand.",
        "`scaler.step(optimizer)` or a framework steps.",
    )
    references = ("docs.pytorch.org/docs/stable/optim.html#taking-an-optimization-step",)

    def training_loop(self, loop: TrainingLoop) -> Iterator[Finding]:
        if loop.run is None or not loop.complete or loop.run.times < 3:
            return
        events = [event for one in loop.passes for event in one]
        for optimizer in loop.optimizers:
            backward = next((e for e in events if e.kind is EventKind.BACKWARD and optimizer.key in e.optimizers), None)
            if backward is None or any(event.kind is EventKind.OPTIMIZER_STEP for event in events):
                continue
            yield self.finding(
                at=backward.place,
                message=f"`{optimizer.text}` never steps on the gradients that are made here",
                label="no parameter changes",
                related=_construction(optimizer),
                why=f"{loop.run.times} backward calls reached its parameters, and none of them has changed",
                help=f"call `{optimizer.text}.step()` after `{backward.text}`",
            )


def _construction(optimizer: OptimizerRef) -> list[Note]:
    return [Note(optimizer.place, "takes the parameters")] if optimizer.place is not None else []
