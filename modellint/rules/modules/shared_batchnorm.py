"""shared-batchnorm."""

from __future__ import annotations

from collections import defaultdict

from modellint.facts.module_instance import LayerCall
from modellint.facts.run_evidence import RunEvidence
from modellint.rule import Category, Certainty, Finding, Iterator, ModuleInstance, Note, Rule
from modellint.rules._wording import instance_name, number, ordinal
from modellint.rules.modules._together import together

_STATISTICS = "one running_mean / running_var, created once"
_GAP = 0.5
"""Standard deviations between the means of a channel: 1.86 for an encoder and a decoder, 0.12 for a Siamese net."""
_VARIANCE_RATIO = 4.0


class SharedBatchnorm(Rule):
    """One normalisation with running statistics serves two different activations.

    One BatchNorm (or other norm that tracks running statistics) that a single forward of an instance calls on the
    outputs of two different layers, under whatever names and through whatever methods.

    Training normalises each batch with its own statistics and looks fine. Evaluation uses the running statistics,
    a mixture that fits neither input: measured, sharing alone turned an evaluation loss of 0.030 and accuracy of
    1.000 into 0.843 and 0.678, with the same training curve.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Twin(nn.Module):
        def __init__(self):
            super().__init__()
            self.text = nn.Linear(6, 8)
            self.image = nn.Linear(4, 8)
            self.norm = nn.BatchNorm1d(8)  # expect: shared-batchnorm

        def forward(self, text, image):
            return self.norm(self.text(text)) + self.norm(self.image(image))


    model = Twin()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        loss = model(torch.randn(32, 6), 9 + torch.randn(32, 4)).pow(2).mean()
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn


    class Twin(nn.Module):
        def __init__(self):
            super().__init__()
            self.text = nn.Linear(6, 8)
            self.image = nn.Linear(4, 8)
            self.text_norm = nn.BatchNorm1d(8)
            self.image_norm = nn.BatchNorm1d(8)

        def forward(self, text, image):
            return self.text_norm(self.text(text)) + self.image_norm(self.image(image))


    model = Twin()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        loss = model(torch.randn(32, 6), 9 + torch.randn(32, 4)).pow(2).mean()
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The same layers run on several inputs: Siamese and triplet nets, two views, several crops, real and fake.",
        "The two calls lie in branches that exclude each other.",
        "The norm keeps no running statistics (LayerNorm, GroupNorm, `track_running_stats=False`) or is frozen.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html",
        "github.com/open-mmlab/mmdetection/issues/6515",
        "github.com/pytorch/pytorch/issues/1738",
    )

    def module_instance(self, instance: ModuleInstance) -> Iterator[Finding]:
        if not instance.root or not instance.model.complete:
            return
        by_layer: dict[int, list[LayerCall]] = defaultdict(list)
        for call in instance.calls:
            if call.stateful_norm:
                by_layer[call.layer].append(call)
        for calls in by_layer.values():
            uses = together(calls)
            if len(uses) >= 2:
                sure = instance.run is None or _differ(instance.run)
                yield self._report(instance, uses, Certainty.CERTAIN if sure else Certainty.LIKELY)
            elif len(uses) == 1 and instance.run is not None and _differ(instance.run) and _several_inputs(calls):
                yield self._report(instance, calls, Certainty.LIKELY)

    def _report(self, instance: ModuleInstance, uses: list[LayerCall], certainty: Certainty) -> Finding:
        layer, model, count = uses[0].ref, instance.model, len(uses)
        times = "twice" if count == 2 else f"{number(count)} times"
        # Constant arguments decided a branch: another instance of the class may take another path and share nothing.
        at, label = layer.place or model.place or uses[0].place, _STATISTICS
        notes = []
        if model.arguments and model.place is not None:
            at, label = model.place, f"made with {model.arguments}: one forward uses the norm {times}"
            if layer.place is not None:
                notes.append(Note(layer.place, _STATISTICS, cause=True))
        notes += [
            Note(use.place, f"{ordinal(i)} use" + (f": {use.producer}" if use.producer else ""))
            for i, use in enumerate(uses, start=1)
        ]
        inside = f" in `{instance_name(model)}`" if at == model.place else ""
        blended = "both branches are" if count == 2 else "all of them are"
        blend = "the two" if count == 2 else "them"
        return self.finding(
            at=at,
            message=f"one `{layer.kind}` normalises {number(count)} different inputs{inside}",
            label=label,
            related=notes,
            why=f"each training step updates the same statistics {times}, with {number(count)} distributions; "
            f"in eval() {blended} then normalised with the blend of {blend}",
            help="create one layer per branch, or nn.GroupNorm if you want to share weights",
            certainty=certainty,
            seen=_seen(layer.name, instance.run) if instance.run is not None else "",
            evidence={"module": layer.name} if instance.run is not None else None,
            group=layer.place,
            weight=int(model.place is not None),
        )


def _differ(run: RunEvidence) -> bool:
    return (run.number("gap") or 0.0) > _GAP or (run.number("variance_ratio") or 1.0) > _VARIANCE_RATIO


def _several_inputs(calls: list[LayerCall]) -> bool:
    """The same layers run on inputs of several sizes, as the levels of a pyramid, or on what they returned themselves.

    Inputs that come as they are from outside are the pairs and crops of a Siamese net: meant to be alike.
    """
    if all(call.own_input for call in calls):
        return False
    return len({call.size for call in calls}) > 1 or sum(call.after_itself for call in calls) > 1


def _seen(name: str, run: RunEvidence) -> str:
    calls, forwards = run.number("calls") or 0, run.number("forwards") or 0
    text = f"{name.rpartition('.')[2]} ran {calls:,.0f} times in {forwards:,.0f} forward calls"
    if (run.number("gap") or 0.0) > _GAP:
        return f"{text}; branch means differ by {run.number('difference'):.2g} (std {run.number('std'):.2g})"
    if (run.number("variance_ratio") or 1.0) > _VARIANCE_RATIO:
        return f"{text}; branch variances differ by a factor of {run.number('variance_ratio'):.1f}"
    return text
