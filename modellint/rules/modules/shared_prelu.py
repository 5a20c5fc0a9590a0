"""shared-prelu."""

from __future__ import annotations

from collections import defaultdict

from modellint.facts.module_instance import LayerCall
from modellint.rule import Category, Finding, Iterator, ModuleInstance, Note, Rule
from modellint.rules._wording import number, ordinal
from modellint.rules.modules._together import together


class SharedPrelu(Rule):
    """One PReLU stands at several places, so that all of them learn one slope.

    One PReLU object that a single forward of an instance calls on the outputs of different layers.

    PReLU is the activation with a parameter: its slope is learned for the place where it stands. One object at
    several places learns one compromise, and weight decay and checkpoints treat it as one layer.
    """

    category = Category.SUSPICIOUS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(8, 8)
            self.second = nn.Linear(8, 8)
            self.head = nn.Linear(8, 1)
            self.act = nn.PReLU()  # expect: shared-prelu

        def forward(self, x):
            return self.head(self.act(self.second(self.act(self.first(x)))))


    model = Net()
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(5):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(8, 8)
            self.first_act = nn.PReLU()
            self.second = nn.Linear(8, 8)
            self.second_act = nn.PReLU()
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return self.head(self.second_act(self.second(self.first_act(self.first(x)))))


    model = Net()
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(5):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The activation has no parameters: one ReLU or GELU may stand anywhere.",
        "The same layers run on several inputs: Siamese nets, a block that is applied several times.",
        "The slope is frozen.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.PReLU.html",
        "github.com/pyg-team/pytorch_geometric/issues/4978",
    )

    def module_instance(self, instance: ModuleInstance) -> Iterator[Finding]:
        if not instance.root or not instance.model.complete:
            return
        by_layer: dict[int, list[LayerCall]] = defaultdict(list)
        for call in instance.calls:
            if call.trained_slope:
                by_layer[call.layer].append(call)
        for calls in by_layer.values():
            uses = together(calls)
            if len(uses) >= 2:
                yield self._report(instance, uses)

    def _report(self, instance: ModuleInstance, uses: list[LayerCall]) -> Finding:
        layer, model, count = uses[0].ref, instance.model, len(uses)
        run = instance.run
        # Constant arguments decided a branch: another instance of the class may share nothing.
        at, label, notes = layer.place or uses[0].place, "one slope, created once", []
        if model.arguments and model.place is not None:
            at, label = model.place, f"made with {model.arguments}"
            if layer.place is not None:
                notes.append(Note(layer.place, "one slope, created once", cause=True))
        return self.finding(
            at=at,
            message=f"one `{layer.kind}` is the activation of {number(count)} different layers",
            label=label,
            related=[
                *notes,
                *(
                    Note(use.place, f"{ordinal(i)} use" + (f": {use.producer}" if use.producer else ""))
                    for i, use in enumerate(uses, start=1)
                ),
            ],
            why=f"{number(count)} places learn one slope together, and none of them its own",
            help=f"create one {layer.kind} per place",
            seen=f"{layer.name.rpartition('.')[2]} ran {run.number('calls') or 0:,.0f} times in "
            f"{run.number('forwards') or 0:,.0f} forward calls"
            if run is not None
            else "",
            group=layer.place,
        )
