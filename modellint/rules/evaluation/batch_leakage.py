"""batch-leakage."""

from __future__ import annotations

from modellint.facts.probe_record import BatchLeak
from modellint.rule import Category, Certainty, Finding, Iterator, ProbeRecord, Rule
from modellint.rules._wording import instance_name


class BatchLeakage(Rule):
    """In eval mode the prediction for one sample depends on the other samples of its batch.

    `modellint.inspect` differentiates a random projection of one output by the inputs of the others, in eval mode; a
    derivative that is not exactly zero, also in double precision, is a leak. Integers have no derivative: there one
    sample is replaced, and the outputs of the others must not move.

    A softmax or a view along the wrong axis, a layer that takes time first: the model learns from what it will not be
    given in use, and its predictions change with the batch that they are made in.
    """

    category = Category.CORRECTNESS
    sides = ("probe",)
    bad = """
    import modellint
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 4)
            self.attention = nn.MultiheadAttention(4, 2)  # expect: batch-leakage
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            x = self.fc(x)
            x, _ = self.attention(x, x, x)
            return self.head(x.mean(dim=1))


    model = Net()
    seen = modellint.inspect(model, torch.randn(8, 5, 6))
    """
    good = """
    import modellint
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 4)
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            x = self.fc(x)
            x, _ = self.attention(x, x, x)
            return self.head(x.mean(dim=1))


    model = Net()
    seen = modellint.inspect(model, torch.randn(8, 5, 6))
    """
    fine_when = (
        "The samples are meant to see each other: set and graph batches, contrastive heads, attention across samples.",
        "Experts with a capacity, or quantisation with a scale per batch, take a little of the whole batch.",
        "The batch is not the first axis of the inputs: pass inputs that have it there.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html",
        "karpathy.github.io/2019/04/25/recipe/",
    )

    def probe_record(self, probe: ProbeRecord) -> Iterator[Finding]:
        leak = probe.leak
        if leak is None or not probe.model.complete:
            return
        layer = f"`{leak.layer.name}` in " if leak.layer is not None else ""
        how = "the gradient of" if leak.by_gradient else "replacing a sample and comparing"
        yield self.finding(
            at=probe.place,
            message=f"{layer}`{instance_name(probe.model)}` mixes the samples of a batch in eval mode",
            label=f"`{leak.layer.text}` is the first layer that mixes them" if leak.layer is not None else "",
            certainty=Certainty.CERTAIN if leak.exact else Certainty.LIKELY,
            seen=f"{how} output {leak.affected} of {leak.batch}: sample {leak.changed} counts too, {_share(leak)}",
            why=f"the prediction for sample {leak.affected} changes when sample {leak.changed} of the batch does",
            help="look for an axis that is taken for the batch's, or the reverse: `batch_first`, `dim=`, a `view`",
            evidence={"module": leak.layer.name} if leak.layer is not None else {},
        )


def _share(leak: BatchLeak) -> str:
    if leak.change > 1e6:
        return "its own sample does not"
    return f"{leak.change:.2g} times as much as its own sample"
