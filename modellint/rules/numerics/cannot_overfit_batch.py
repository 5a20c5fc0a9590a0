"""cannot-overfit-batch."""

from __future__ import annotations

from modellint.rule import Category, Certainty, Finding, Iterator, ProbeRecord, Rule
from modellint.rules._wording import instance_name

_LEFT = 0.1
_NO_DROP = 0.001


class CannotOverfitBatch(Rule):
    """Model, loss and optimizer together cannot learn a few samples by heart.

    `modellint.inspect` trains a copy for 200 steps on at most 16 samples of the batch, dropout off. If the lowest
    loss of these steps is still above a tenth of the first, that is likely a defect; if it fell by less than a
    thousandth, it is certain that nothing is learned.

    What cannot memorise 16 samples will not learn a data set: a detached branch, a wrong learning rate, a loss that
    does not depend on the output.
    """

    category = Category.NURSERY
    sides = ("probe",)
    bad = """
    import modellint
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(4, 16)
            self.fc2 = nn.Linear(16, 3)

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x)))


    x, y = torch.randn(16, 4), torch.arange(16) % 3
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-7)
    loss = nn.CrossEntropyLoss()
    select = ["cannot-overfit-batch"]
    seen = modellint.inspect(model, x, y, loss, optimizer, select=select)  # expect: cannot-overfit-batch
    """
    good = """
    import modellint
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(4, 64)
            self.fc2 = nn.Linear(64, 3)

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x)))


    x, y = torch.randn(16, 4), torch.arange(16) % 3
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    loss = nn.CrossEntropyLoss()
    select = ["cannot-overfit-batch"]
    seen = modellint.inspect(model, x, y, loss, optimizer, select=select)
    """
    fine_when = (
        "The loss has a floor: soft or noisy targets, label smoothing, regularisers, equal inputs with unequal labels.",
        "The loss is drawn anew in every step (diffusion, contrastive pairs, adversarial).",
        "The learning rate of the optimizer is that of a warm-up, or only a head is trained on purpose.",
    )
    references = ("karpathy.github.io/2019/04/25/recipe/",)

    def probe_record(self, probe: ProbeRecord) -> Iterator[Finding]:
        trial = probe.overfit
        if trial is None or not probe.model.complete or trial.first <= 0:
            return
        left = trial.lowest / trial.first
        if left <= _LEFT:
            return
        nothing = left > 1 - _NO_DROP
        yield self.finding(
            at=probe.place,
            message=f"`{instance_name(probe.model)}` does not learn {trial.samples} samples by heart with "
            f"`{trial.optimizer}`",
            certainty=Certainty.CERTAIN if nothing else Certainty.LIKELY,
            seen=f"loss {trial.first:.4g} at the first step, never below {trial.lowest:.4g} in {trial.steps} steps",
            why=f"{left:.1%} of the loss is left after {trial.steps} steps on the same {trial.samples} samples",
            help="check that every layer gets a gradient, then raise the learning rate; "
            "if the loss has a floor above zero, ignore this rule",
            evidence={"first": trial.first, "lowest": trial.lowest},
        )
