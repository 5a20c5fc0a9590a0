"""unexpected-initial-loss."""

from __future__ import annotations

from math import log

from modellint.rule import Category, Finding, Iterator, ProbeRecord, Rule
from modellint.rules._wording import instance_name

_FEWEST = 64


class UnexpectedInitialLoss(Rule):
    """Before any step the cross entropy is far above that of guessing.

    `modellint.inspect` computes the loss of the batch that it is given, in train mode and before any step. A model
    that knows nothing yet should give every one of C classes about the same probability: a loss near ln C. More than
    twice that, on 64 samples or more, is reported.

    The first epochs are then spent on shrinking the weights, in a place where the gradients are large and say little;
    or the loss is not computed from what it should be.
    """

    category = Category.SUSPICIOUS
    sides = ("probe",)
    bad = """
    import modellint
    import torch
    from torch import nn


    class Net(nn.Module):  # expect: unexpected-initial-loss
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(20, 64)
            self.fc2 = nn.Linear(64, 10)
            for layer in (self.fc1, self.fc2):
                nn.init.normal_(layer.weight, 0, 1)

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x)))


    model = Net()
    x, y = torch.randn(64, 20), torch.randint(0, 10, (64,))
    seen = modellint.inspect(model, x, y, nn.CrossEntropyLoss())
    """
    good = """
    import modellint
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(20, 64)
            self.fc2 = nn.Linear(64, 10)
            for layer in (self.fc1, self.fc2):
                nn.init.xavier_normal_(layer.weight)

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x)))


    model = Net()
    x, y = torch.randn(64, 20), torch.randint(0, 10, (64,))
    seen = modellint.inspect(model, x, y, nn.CrossEntropyLoss())
    """
    fine_when = (
        "The model was trained or loaded: only a model before its first step is judged.",
        "Class weights, label smoothing and soft targets move the loss of guessing; such losses are not judged.",
        "The bias of the head is set to the logarithm of the class frequencies, and the batch is of rare classes.",
    )
    references = (
        "karpathy.github.io/2019/04/25/recipe/",
        "docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html",
    )

    def probe_record(self, probe: ProbeRecord) -> Iterator[Finding]:
        loss = probe.first_loss
        if loss is None or not probe.model.complete or loss.samples < _FEWEST:
            return
        chance = log(loss.classes)
        if loss.value > 2 * chance:
            yield self.finding(
                at=probe.place,
                message=f"the first loss of `{instance_name(probe.model)}` is {loss.value:.3g}, guessing gives "
                f"{chance:.3g}",
                seen=f"cross entropy of {loss.samples:,} samples and {loss.classes:,} classes before any step",
                why=f"equal probabilities for {loss.classes:,} classes give ln {loss.classes:,} = {chance:.3g}: the "
                "model starts sure of wrong answers",
                help="draw the weights with a standard deviation of about 1 / sqrt(inputs), as torch's layers do "
                "by themselves, and check that the inputs are normalised",
                evidence={"loss": loss.value, "classes": loss.classes},
            )
