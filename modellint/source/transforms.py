"""torchvision's transforms as the readers about data see them: which steps, and whether one draws."""

from __future__ import annotations

from modellint.source.interpreter.values import Const, LibraryObject, SequenceValue, Value

_RANDOM = frozenset({
    "ColorJitter", "AutoAugment", "RandAugment", "TrivialAugmentWide", "AugMix", "ElasticTransform", "ScaleJitter",
})  # fmt: skip


def pipeline(value: Value | None) -> list[LibraryObject] | None:
    """The steps of a transform in order, those of a Compose one by one; None when one of them is not known."""
    if not isinstance(value, LibraryObject) or not value.name.startswith("torchvision.transforms."):
        return None
    if value.name.rpartition(".")[2] != "Compose":
        return [value]
    inner = value.attrs.get("transforms")
    if not isinstance(inner, SequenceValue) or not inner.complete:
        return None
    steps: list[LibraryObject] = []
    for item in inner.items:
        below = pipeline(item)
        if below is None:
            return None
        steps.extend(below)
    return steps


def some_steps(value: Value | None) -> list[LibraryObject]:
    """The steps that are known, whatever else there is."""
    if not isinstance(value, LibraryObject) or not value.name.startswith("torchvision.transforms."):
        return []
    inner = value.attrs.get("transforms")
    if value.name.rpartition(".")[2] != "Compose" or not isinstance(inner, SequenceValue):
        return [value]
    return [step for item in inner.items for step in some_steps(item)]


def short_name(step: LibraryObject) -> str:
    """`RandomCrop`."""
    return step.name.rpartition(".")[2]


def is_random(step: LibraryObject) -> bool:
    """It draws, and so gives another result each time."""
    name = short_name(step)
    if not (name.startswith("Random") or name in _RANDOM):
        return False
    chance = step.attrs.get("p")
    return not (isinstance(chance, Const) and chance.value in (0, 1) and "Flip" in name)
