"""accumulation-not-scaled."""

from __future__ import annotations

from modellint.facts.training_loop import Accumulation, EventKind
from modellint.rule import Category, Certainty, Finding, Iterator, Note, Rule, TrainingLoop
from modellint.rules.optimization._passes import settled_for

_ADAPTIVE = (
    "Adam",
    "AMSGrad",
    "Adafactor",
    "RMSprop",
    "Adagrad",
    "Adadelta",
    "Lion",
    "Rprop",
    "Lamb",
    "LAMB",
    "Prodigy",
)


class AccumulationNotScaled(Rule):
    """Gradients of several micro-batches are summed where their mean is meant.

    A loop that runs backward for every micro-batch and steps under `i % n == 0`, with a loss that is a mean over its
    micro-batch, while `n` divides neither the loss nor anything else.

    The gradient is n times that of one batch of the same samples: with SGD the learning rate is n times higher.
    """

    category = Category.SUSPICIOUS
    bad = """
    import torch
    from torch import nn

    accumulate = 4
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    optimizer.zero_grad()
    for i in range(24):
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()  # expect: accumulation-not-scaled
        if (i + 1) % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
    """
    good = """
    import torch
    from torch import nn

    accumulate = 4
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    optimizer.zero_grad()
    for i in range(24):
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1)) / accumulate
        loss.backward()
        if (i + 1) % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
    """
    fine_when = (
        "The loss is a sum, divided by the number of tokens of all micro-batches.",
        "The learning rate was chosen for the sum.",
        "A framework scales the loss (Accelerate, Lightning, Fabric).",
    )
    references = ("huggingface.co/docs/accelerate/usage_guides/gradient_accumulation",)

    def training_loop(self, loop: TrainingLoop) -> Iterator[Finding]:
        if not loop.complete or loop.framework is not None:
            return
        for one in loop.accumulations:
            if one.weighed or one.framework or one.cleared or not one.mean or one.number == 1:
                continue
            optimizer = next((o for o in loop.optimizers if o.key == one.optimizer), None)
            if optimizer is None or not all(settled_for(events, one.optimizer) for events in loop.passes):
                continue
            if any(event.kind is EventKind.CLIP for events in loop.passes for event in events):
                continue  # the length of the step is limited anyway
            yield self._report(one, optimizer.text, optimizer.kind)

    def _report(self, one: Accumulation, name: str, kind: str) -> Finding:
        times = f"{one.number}" if one.number is not None else f"`{one.period}`"
        adaptive = kind.startswith(_ADAPTIVE) or kind.endswith(("Adam", "AdamW"))
        why = f"a step follows the sum of {times} mean losses: its gradient is {times} times that of one large batch"
        if adaptive:
            why += f". {kind} divides by the size of its gradients, so weight decay and `eps` feel it most"
        return self.finding(
            at=one.backward,
            message=f"`{name}` steps on the sum of {times} mean losses, not on their mean",
            label="adds a whole mean",
            related=[Note(one.step, f"steps once for {times} of them")],
            certainty=Certainty.LIKELY if adaptive else Certainty.CERTAIN,
            why=why,
            help=f"divide the loss by `{one.period}` before backward()",
        )
