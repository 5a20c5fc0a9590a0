"""kl-div-input-not-log."""

from __future__ import annotations

from modellint.facts.loss_use import Expects, OutputKind
from modellint.rule import Category, Finding, Iterator, LossUse, Note, Rule
from modellint.rules.losses._path import loss_path

_GIVEN = {
    OutputKind.DISTRIBUTION: "probabilities",
    OutputKind.PROBABILITIES: "probabilities",
    OutputKind.LOGITS: "raw scores",
}


class KlDivInputNotLog(Rule):
    """A KL divergence receives probabilities or raw scores where it needs log-probabilities.

    The output of a softmax, of a Linear or of a convolution that is the first argument of KLDivLoss or F.kl_div; or
    log-probabilities as the second argument without `log_target=True`.

    The loss is the sum of t * (log t - input): it is linear in the input, so it falls without bound for raw scores,
    and for probabilities it ends within 1 of the entropy of the target, whatever the model has learned.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn
    from torch.nn import functional as F

    student, teacher = nn.Linear(8, 5), nn.Linear(8, 5).eval()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    for _ in range(4):
        x = torch.randn(16, 8)
        with torch.no_grad():
            wanted = teacher(x).softmax(dim=1)
        optimizer.zero_grad()
        loss = F.kl_div(student(x).softmax(dim=1), wanted, reduction="batchmean")  # expect: kl-div-input-not-log
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
        x = torch.randn(16, 8)
        with torch.no_grad():
            wanted = teacher(x).softmax(dim=1)
        optimizer.zero_grad()
        loss = F.kl_div(student(x).log_softmax(dim=1), wanted, reduction="batchmean")
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The input is `log(p)`, `log(p + eps)` or a log-softmax; the target may be either, see `log_target`.",
        "A KL divergence in closed form, as in a variational autoencoder, is no use of this loss.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.KLDivLoss.html",)

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        if use.expects is not Expects.LOG_PROBABILITIES or "kl" not in use.loss.lower():
            return
        if use.run is None and use.target is OutputKind.LOG_PROBABILITIES and use.log_target is False:
            yield self._target_is_log(use)
        given = _GIVEN.get(use.input)
        if given is None:
            return
        if use.input is OutputKind.LOGITS and (use.model is None or not use.model.complete):
            return
        path = loss_path(use, made=f"{given} made here", loss="this loss takes no logarithm of its input")
        bound = "falls without bound as the scores grow" if given == "raw scores" else "moves by 1 at most"
        yield self.finding(
            at=use.place,
            message=f"the input of `{use.loss}` is {given}, it needs log-probabilities",
            label=f"{given} are read as log-probabilities",
            order=path.order,
            related=path.related,
            flow=path.flow,
            why=f"the loss adds up target * (log(target) - input): given {given} it {bound}",
            help="apply torch.log_softmax(..., dim=...) to the raw scores",
            group=path.group,
            weight=int(use.trains),
        )

    def _target_is_log(self, use: LossUse) -> Finding:
        """Log-probabilities stand where probabilities are wanted."""
        related = [Note(use.loss_place, "made without log_target=True")] if use.loss_place is not None else []
        return self.finding(
            at=use.place,
            message=f"the target of `{use.loss}` is log-probabilities, it needs probabilities",
            label="the loss takes the logarithm of it once more",
            related=related,
            why="the loss adds up target * (log(target) - input): the logarithm of a negative number is NaN (0 in old "
            "versions of torch), and the gradient has the wrong sign",
            help="pass log_target=True, or give it softmax instead of log_softmax",
            group=(use.place, use.loss_place, "target"),
            weight=int(use.trains),
        )
