"""unused-module."""

from __future__ import annotations

from collections import defaultdict

from modellint.facts.module_instance import Branch, UnusedLayer
from modellint.rule import Category, Finding, Iterator, ModuleInstance, Note, Rule, Span
from modellint.rules._wording import attribute, instance_name, listing

_NOTES = 8


class UnusedModule(Rule):
    """A layer with parameters is created, counted, saved and trained on paper, but no forward calls it.

    A registered layer that a complete trace of forward neither calls nor reads, and that nothing else in the
    project reads; or that only lies behind a branch which this instance's arguments exclude.

    The capacity that was meant to be there is not, DistributedDataParallel fails on parameters without gradients,
    and creating the layer draws random numbers, so all later layers start from other weights.
    """

    category = Category.SUSPICIOUS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(8, 8)
            self.aux = nn.Linear(8, 8)  # expect: unused-module
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return self.head(torch.relu(self.body(x)))


    model = Net()
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(3):
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
            self.aux = nn.Linear(8, 8)
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return self.head(torch.relu(self.aux(torch.relu(self.body(x)))))


    model = Net()
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The weights are used without calling the layer: `F.linear(x, self.head.weight)`, weight tying.",
        "An auxiliary head, another task, an export method, a subclass or another class uses the layer.",
        "The layer is kept so that old checkpoints load: say so in an ignore comment.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html",
        "github.com/pytorch/pytorch/issues/41463",
    )

    def module_instance(self, instance: ModuleInstance) -> Iterator[Finding]:
        if not instance.model.complete:
            return
        names = {layer.ref.name for layer in instance.unused}
        unused = [layer for layer in instance.unused if not _has_parent_in(layer.ref.name, names)]
        by_place: dict[Span, list[UnusedLayer]] = defaultdict(list)
        excluded = []
        for layer in unused:
            if layer.excluded_by:
                excluded.append(layer)
            elif layer.ref.place is not None:
                by_place[layer.ref.place].append(layer)
        for place, layers in by_place.items():
            yield self._unread(instance, place, layers)
        if excluded and instance.model.place is not None:
            yield self._excluded(instance, instance.model.place, excluded)

    def _unread(self, instance: ModuleInstance, place: Span, layers: list[UnusedLayer]) -> Finding:
        several, run = len(layers) > 1, instance.run
        path = "path through forward" if run is None else "forward that was watched"
        names = listing([f"`{attribute(layer.ref.name)}`" for layer in layers])
        return self.finding(
            at=place,
            message=f"{names} {'are' if several else 'is'} created but no {path} uses " + ("them" if several else "it"),
            label=_share(instance, layers),
            why=_why(instance, several),
            help="delete it, or silence with `# modellint: ignore[unused-module] reason`",
            seen=f"no call and no gradient in {run.times:,} passes" if run is not None else "",
            evidence={"module": ", ".join(layer.ref.name for layer in layers)} if run is not None else None,
        )

    def _excluded(self, instance: ModuleInstance, place: Span, layers: list[UnusedLayer]) -> Finding:
        several = len(layers) > 1
        names = listing([layer.ref.name for layer in layers])
        branches: dict[Branch, None] = {branch: None for layer in layers for branch in layer.excluded_by}
        notes = [Note(b.place, f"`{b.test}` is {'true' if b.taken else 'false'} for this instance") for b in branches]
        places = {layer.ref.place: layer for layer in layers if layer.ref.place is not None}
        notes += [Note(at, f"{layer.ref.name} is created here") for at, layer in list(places.items())[:_NOTES]]
        because = ", ".join(dict.fromkeys(branch.because for branch in branches if branch.because))
        name = f"{instance.model.class_name}({because})" if because else instance_name(instance.model)
        return self.finding(
            at=place,
            message=f"`{names}` of `{name}` "
            f"{'are' if several else 'is'} created but this instance never calls {'them' if several else 'it'}",
            label=_share(instance, layers),
            related=notes,
            why=_why(instance, several),
            help="create only the layers of the branch that this instance takes",
            notes=(f"{len(places) - _NOTES} more of these layers are created elsewhere",)
            if len(places) > _NOTES
            else (),
        )


def _has_parent_in(name: str, names: set[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:i]) in names for i in range(1, len(parts)))


def _share(instance: ModuleInstance, layers: list[UnusedLayer]) -> str:
    sizes = [layer.parameters for layer in layers if layer.parameters is not None]
    if len(sizes) < len(layers):
        return ""
    total = f" of {instance.parameters:,}" if instance.parameters is not None else ""
    return f"{sum(sizes):,}{total} parameters"


def _why(instance: ModuleInstance, several: bool) -> str:
    never = "these layers never get" if several else "this layer never gets"
    if instance.optimizer is not None and instance.optimizer_place is not None:
        path = instance.optimizer_place.path
        return f"`{path}` passes all parameters to {instance.optimizer}; {never} a gradient"
    return f"parameters() and state_dict() include them, but {never} a gradient"
