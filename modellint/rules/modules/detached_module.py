"""detached-module."""

from __future__ import annotations

from collections import defaultdict

from modellint.facts.module_instance import DetachedLayer
from modellint.rule import Category, Certainty, Finding, Iterator, ModuleInstance, Note, Rule, Span
from modellint.rules._wording import attribute, listing


class DetachedModule(Rule):
    """A layer runs in every forward and is given to the optimizer, but no gradient ever reaches it.

    A module that is called with gradients on and whose parameters never receive any, while other parameters of the
    same model do: its output was detached, went through numpy or Python numbers, was only compared or sorted, or is
    returned and used by no loss.

    The layer keeps its random initial weights: the rest of the model learns to live with noise from it.
    """

    category = Category.SUSPICIOUS
    sides = ("runtime",)
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(8, 8)
            self.context = nn.Linear(8, 8)  # expect: detached-module
            self.head = nn.Linear(16, 1)

        def forward(self, x):
            context = torch.tensor(self.context(x).tolist())
            return self.head(torch.cat([torch.relu(self.body(x)), context], dim=1))


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
            self.body = nn.Linear(8, 8)
            self.context = nn.Linear(8, 8)
            self.head = nn.Linear(16, 1)

        def forward(self, x):
            return self.head(torch.cat([torch.relu(self.body(x)), self.context(x)], dim=1))


    model = Net()
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(5):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The layer is frozen, or runs under no_grad, as a teacher or a target network does.",
        "Its weights are changed by hand, as those of a moving average are.",
        "It is an auxiliary head whose loss comes in later: then the finding is only likely.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.Tensor.detach.html",
        "github.com/Tsinghua-MARS-Lab/DenseTNT/issues/11",
    )

    def module_instance(self, instance: ModuleInstance) -> Iterator[Finding]:
        if not instance.model.complete:
            return
        by_place: dict[Span, list[DetachedLayer]] = defaultdict(list)
        for layer in instance.detached:
            if layer.ref.place is not None:
                by_place[layer.ref.place].append(layer)
        for place, layers in by_place.items():
            yield self._report(instance, place, layers)

    def _report(self, instance: ModuleInstance, place: Span, layers: list[DetachedLayer]) -> Finding:
        several = len(layers) > 1
        names = listing([f"`{attribute(layer.ref.name)}`" for layer in layers])
        returned = any(layer.returned for layer in layers)
        sizes = [layer.parameters for layer in layers]
        share = ""
        if None not in sizes:
            total = f" of {instance.parameters:,}" if instance.parameters is not None else ""
            share = f"{sum(size or 0 for size in sizes):,}{total} parameters"
        verb, subject = ("run", "their") if several else ("runs", "its")
        what = f"no gradient ever reaches {'them' if several else 'it'}"
        if returned:
            what = f"what {'they return' if several else 'it returns'} reaches no loss"
        passes = instance.run.times if instance.run is not None else 0
        return self.finding(
            at=place,
            message=f"{names} {verb}, but {what}",
            label=share,
            related=[Note(layer.call, "called here") for layer in layers[:4] if layer.call is not None],
            why=f"{subject} weights stay as they were initialised, while other layers of "
            f"`{instance.model.class_name}` train",
            help="add a loss for it, or delete it"
            if returned
            else "look for detach(), numpy, tolist() or argmax between the call and the loss; freeze the layer with "
            "requires_grad_(False) if that is meant",
            certainty=Certainty.CERTAIN if all(layer.returned is False for layer in layers) else Certainty.LIKELY,
            seen=f"called with gradients on, no gradient in {passes:,} passes",
        )
