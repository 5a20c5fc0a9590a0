"""missing-optimizer-step."""

from __future__ import annotations

from modellint.facts.training_loop import Event, EventKind, OptimizerRef
from modellint.rule import Category, Certainty, Finding, Iterator, Note, Rule, Span, TrainingLoop


class MissingOptimizerStep(Rule):
    """Backward runs again and again, and the optimizer of these parameters never steps.

    Backward reaches parameters of an optimizer, at least three times in a run, while that optimizer never steps and
    nothing else changes the parameters; or another optimizer steps, and this one was built for nothing.

    Gradients alone change nothing: the model stays as it was initialised, or the settings given here have no effect.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
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
        if not loop.complete or loop.framework is not None or (loop.run is not None and loop.run.times < 3):
            return
        events = [event for one in loop.passes for event in one]
        for optimizer in loop.optimizers:
            backward = next((e for e in events if e.kind is EventKind.BACKWARD and optimizer.key in e.optimizers), None)
            steps = [event for event in events if event.kind is EventKind.OPTIMIZER_STEP]
            if backward is None or any(optimizer.key in step.optimizers for step in steps):
                continue
            if steps and loop.run is None and optimizer.place is not None:
                yield self._never_used(optimizer, optimizer.place, steps[0])
                continue
            if steps:
                continue
            reached = "it receives gradients in every pass of this loop, and nothing else uses them"
            if loop.run is not None:
                reached = f"{loop.run.times} backward calls reached its parameters, and none of them has changed"
            yield self.finding(
                at=backward.place,
                message=f"`{optimizer.text}` never steps on the gradients that are made here",
                label="no parameter changes",
                related=_construction(optimizer),
                why=reached,
                help=f"call `{optimizer.text}.step()` after `{backward.text}`",
            )

    def _never_used(self, optimizer: OptimizerRef, place: Span, step: Event) -> Finding:
        return self.finding(
            at=place,
            message=f"`{optimizer.text}` is built and never steps; another optimizer trains its parameters",
            label="never steps",
            related=[Note(step.place, f"this steps, with other settings than `{optimizer.text}`")],
            certainty=Certainty.LIKELY,
            why=f"the settings given to `{optimizer.text}`, its learning rate and what schedules it have no effect",
            help=f"step `{optimizer.text}`, or remove it if the other one is meant",
        )


def _construction(optimizer: OptimizerRef) -> list[Note]:
    return [Note(optimizer.place, "takes the parameters")] if optimizer.place is not None else []
