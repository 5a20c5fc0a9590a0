"""untied-after-load."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, Rule, WeightTie


class UntiedAfterLoad(Rule):
    """Tied weights have come apart.

    Two layers share one parameter at the first forward, and hold two different ones when the model trains later:
    `load_state_dict(assign=True)`, `to_empty`, a new initialisation or a copy has replaced one of them.

    Each is trained by itself from then on: the model has more parameters than it was meant to have, and in half of the
    cases one of the two is not in the optimizer at all.
    """

    category = Category.SUSPICIOUS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(20, 8)
            self.head = nn.Linear(8, 20, bias=False)  # expect: untied-after-load
            self.head.weight = self.table.weight

        def forward(self, x):
            return self.head(self.table(x))


    model = Net()
    model(torch.randint(20, (2, 5)))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        x = torch.randint(20, (16, 5))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), x.flatten())
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(20, 8)
            self.head = nn.Linear(8, 20, bias=False)
            self.head.weight = self.table.weight

        def forward(self, x):
            return self.head(self.table(x))


    model = Net()
    model(torch.randint(20, (2, 5)))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    model.head.weight = model.table.weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        x = torch.randint(20, (16, 5))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), x.flatten())
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The weights are tied again afterwards (`tie_weights()`).",
        "Values are copied in place, or moved by `.to()`: the parameter stays one object.",
        "They are untied on purpose; then tie them only where they stay so.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.load_state_dict",
        "github.com/facebookresearch/lingua/issues/74",
    )

    def weight_tie(self, tie: WeightTie) -> Iterator[Finding]:
        if tie.lost_place is not None:
            label = "the layer whose parameter is replaced"
            why = f"`{tie.lost_by}` puts a new parameter into each of the two, and the model is trained after that"
        else:
            label = f"another parameter since step {tie.lost_after:,}"
            why = f"they were one parameter at the first forward, and two in the {tie.steps_since:,} steps since"
        related = (Note(tie.lost_place, "the tie is lost here", cause=True),) if tie.lost_place is not None else ()
        yield self.finding(
            at=tie.place,
            message=f"`{tie.changed}` is no longer tied with `{tie.other}`",
            label=label,
            related=related,
            why=why,
            help=f"tie them again after loading: {tie.model.text}.{tie.changed} = {tie.model.text}.{tie.other}, "
            "and before the optimizer is made",
        )
