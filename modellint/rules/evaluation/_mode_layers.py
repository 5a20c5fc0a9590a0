"""What the layers that depend on the mode do, in words."""

from __future__ import annotations

from modellint.facts.model import LayerRef, ModelRef
from modellint.rules._wording import line_of


def norm_family(layer: LayerRef) -> str | None:
    """`BatchNorm` or `InstanceNorm` for a layer that keeps running statistics, else None."""
    return next((family for family in ("BatchNorm", "InstanceNorm") if family in layer.kind), None)


def drops(layer: LayerRef) -> bool:
    """Whether the layer is of the dropout family."""
    return "drop" in layer.kind.lower()


def telling_layer(model: ModelRef) -> LayerRef:
    """The layer that explains best why the mode matters: a norm, then a dropout, then the first."""
    layers = model.mode_dependent
    norm = next((layer for layer in layers if norm_family(layer)), None)
    return norm or next((layer for layer in layers if drops(layer)), layers[0])


def contains(model: ModelRef, layer: LayerRef) -> str:
    """`Twin contains BatchNorm1d (models/twin.py:8)`."""
    place = f" ({line_of(layer.place)})" if layer.place is not None else ""
    if not layer.name:
        return f"{layer.kind}{place} depends on the mode"
    return f"{model.class_name} contains {layer.kind}{place}"
