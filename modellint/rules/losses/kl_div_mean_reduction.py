"""kl-div-mean-reduction."""

from __future__ import annotations

from modellint.rule import Category, Certainty, Finding, Iterator, LossUse, Note, Rule


class KlDivMeanReduction(Rule):
    """A KL divergence is averaged over the classes too.

    KLDivLoss or F.kl_div with `reduction="mean"`, which is the default, that a backward reaches and that nothing
    multiplies by the number of classes; or that is scaled by the square of a temperature.

    The mean divides the divergence of each sample by the number of classes: with 1000 classes the term is 1000 times
    too small beside another loss, and its weight means something else on every data set.
    """

    category = Category.SUSPICIOUS
    bad = """
    import torch
    from torch import nn
    from torch.nn import functional as F

    student, teacher = nn.Linear(8, 5), nn.Linear(8, 5).eval()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(16, 8), torch.randint(0, 5, (16,))
        with torch.no_grad():
            wanted = teacher(x).softmax(dim=1)
        scores = student(x)
        term = F.kl_div(scores.log_softmax(dim=1), wanted)  # expect: kl-div-mean-reduction
        loss = F.cross_entropy(scores, y) + 0.5 * term
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn
    from torch.nn import functional as F

    student, teacher = nn.Linear(8, 5), nn.Linear(8, 5).eval()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(16, 8), torch.randint(0, 5, (16,))
        with torch.no_grad():
            wanted = teacher(x).softmax(dim=1)
        scores = student(x)
        term = F.kl_div(scores.log_softmax(dim=1), wanted, reduction="batchmean")
        loss = F.cross_entropy(scores, y) + 0.5 * term
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The reduction is `sum`, `none` or `batchmean`, with a division of one's own.",
        "The result is multiplied by the number of classes, or by something that may be it.",
        "The weight of the term was tuned with the mean, and the number of classes never changes.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.KLDivLoss.html",
        "github.com/facebookresearch/deit/issues/61",
    )

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        if use.run is not None or "kl" not in use.loss.lower() or use.reduction != "mean":
            return
        if use.scaled or not use.recorded or not (use.trains or use.tempered):
            return
        related = [Note(use.loss_place, "constructed here")] if use.loss_place is not None else []
        times = f"{use.classes} classes: it is {use.classes}" if use.classes else "number of classes C: it is C"
        yield self.finding(
            at=use.place,
            message=f"`{use.loss}` averages over the classes"
            + ("" if use.reduction_given else ": `reduction` is `mean` by default"),
            label="divided by the number of classes as well",
            related=related,
            why=f"the divergence of each sample is divided by the {times} times too small beside the other terms",
            help='pass reduction="batchmean", and weigh the term anew',
            # What its caller does with it is not known; the square of a temperature is what it is scaled with at last.
            certainty=Certainty.CERTAIN if use.trains else Certainty.LIKELY,
            group=(use.place, use.loss_place),
        )
