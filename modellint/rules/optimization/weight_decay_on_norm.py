"""weight-decay-on-norm."""

from __future__ import annotations

from modellint.rule import Category, DecayedNorms, Finding, Iterator, Note, Rule
from modellint.rules._wording import listing


class WeightDecayOnNorm(Rule):
    """Weight decay shrinks the scales of norms and all biases, too.

    An optimizer with `weight_decay` above zero (0.01 is the default of AdamW) that was given all parameters of a model
    with norms in one group.

    A norm's scale sets how large its output is and a bias shifts it: neither overfits, and pulling them to zero only
    works against what was learned. Most recipes leave them out; the gain is small, often below 0.5 % accuracy.
    """

    category = Category.PEDANTIC
    bad = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)  # expect: weight-decay-on-norm
    """
    good = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 1))
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    """
    fine_when = (
        "The parameters are given in groups, or the decay is 0.",
        "A framework leaves norms and biases out by itself.",
    )
    references = (
        "arxiv.org/abs/1812.01187",
        "docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html",
    )

    def decayed_norms(self, setup: DecayedNorms) -> Iterator[Finding]:
        if not setup.norms or setup.in_test_suite:
            return
        names = listing([layer.name or layer.kind for layer in setup.norms], 3)
        default = "" if setup.decay_given else f", the default of {setup.optimizer}"
        place = setup.norms[0].place
        yield self.finding(
            at=setup.place,
            message=f"weight decay also shrinks the norms of `{setup.model.class_name}`: `{names}`",
            label=f"weight_decay={setup.decay:g}{default}",
            related=[Note(place, setup.norms[0].text)] if place is not None else [],
            why="the scale of a norm and a bias cannot overfit: decay only pulls them away from what was learned",
            help="give two groups: weights with two or more axes with decay, all others with weight_decay=0",
        )
