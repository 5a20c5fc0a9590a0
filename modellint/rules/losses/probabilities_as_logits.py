"""probabilities-as-logits."""

from __future__ import annotations

from modellint.facts.loss_use import OutputKind
from modellint.facts.torch_call import Argument
from modellint.rule import Category, Finding, Iterator, Note, Rule, TorchCall

_SECOND = ("Bernoulli", "Categorical", "OneHotCategorical", "Geometric", "ContinuousBernoulli")
_THIRD = ("Multinomial", "Binomial", "NegativeBinomial", "RelaxedBernoulli", "RelaxedOneHotCategorical")
_GUMBEL = "torch.nn.functional.gumbel_softmax"


class ProbabilitiesAsLogits(Rule):
    """Probabilities are given where a distribution takes raw scores.

    The output of a softmax or sigmoid as `logits=` of Categorical, Bernoulli and their relatives in
    torch.distributions, or as the first argument of F.gumbel_softmax.

    The distribution applies softmax or sigmoid once more: a Bernoulli can never leave [0.500, 0.731], and the most
    likely of 10 classes gets 0.232 at most. A policy keeps exploring whatever it has learned.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn
    from torch.distributions import Categorical

    policy = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=-1))
    action = Categorical(logits=policy(torch.randn(16, 4))).sample()  # expect: probabilities-as-logits
    """
    good = """
    import torch
    from torch import nn
    from torch.distributions import Categorical

    policy = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=-1))
    action = Categorical(probs=policy(torch.randn(16, 4))).sample()
    """
    fine_when = (
        "`probs=`, which is the first parameter of Categorical and Bernoulli.",
        "Log-probabilities: they are valid as logits.",
        "Scores in [0, 1] that are divided by a temperature on purpose.",
    )
    references = (
        "docs.pytorch.org/docs/stable/distributions.html#categorical",
        "docs.pytorch.org/docs/stable/generated/torch.nn.functional.gumbel_softmax.html",
    )

    def torch_call(self, call: TorchCall) -> Iterator[Finding]:
        given = _logits(call)
        if given is None or given.kind not in (OutputKind.DISTRIBUTION, OutputKind.PROBABILITIES):
            return
        gumbel = call.name == _GUMBEL
        function = "softmax" if given.kind is OutputKind.DISTRIBUTION else "sigmoid"
        if gumbel or "Categorical" in call.name or "Multinomial" in call.name:
            why = "softmax is applied again: the most likely of 10 classes gets 0.232 at most"
        else:
            why = "sigmoid is applied again: the probability can never leave [0.500, 0.731]"
        related = []
        if given.maker_place is not None and given.maker_place != given.place:
            related.append(Note(given.maker_place, "turned into probabilities here", order=1, cause=True))
        yield self.finding(
            at=given.place,
            message=f"`{call.text}` is given probabilities as logits",
            label=f"the output of a {function}",
            order=2 if related else None,
            related=related,
            why=why,
            help="give it the raw scores" if gumbel else "pass them as `probs=`, or give the raw scores",
        )


def _logits(call: TorchCall) -> Argument | None:
    """The argument that is read as logits."""
    if call.name == _GUMBEL:
        return call.argument("logits")
    if not call.name.startswith("torch.distributions."):
        return None
    kind = call.name.rpartition(".")[2]
    position = 1 if kind in _SECOND else (2 if kind in _THIRD else None)
    if position is None:
        return None
    return call.argument("logits") or call.argument(f"*{position}")
