"""Weights that were loaded and initialised again before anything used them."""

from __future__ import annotations

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.span import Span


@record
class OverwrittenLoad:
    """One initialisation that runs over layers that had been loaded."""

    place: Span
    """The initialisation: the `apply(...)` that runs it, or the write itself."""
    text: str
    fill_place: Span
    fill_text: str
    """`nn.init.xavier_uniform_(m.weight)`."""
    model: ModelRef
    """The model that the weights were loaded into."""
    load_place: Span
    load_text: str
    layers: tuple[LayerRef, ...]
    """Layers with a weight matrix whose loaded weights are gone."""
    loaded_layers: int
    """How many such layers the load reached."""
    reloaded: bool
    """Weights were loaded again afterwards."""
    library: bool
    """A library's constructor loaded them: `layers` stands for all convolutions of its model."""
    in_test_suite: bool
