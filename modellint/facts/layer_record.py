"""Numbers of one layer over many training batches: units that stay zero, saturated units, the dtype of its output."""

from __future__ import annotations

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class UnitRecord:
    """What the units of a layer gave behind one activation."""

    activation: str
    """`relu`, `sigmoid` or `tanh`."""
    units: int
    batches: int
    """Training batches that were looked at."""
    values: int
    """Values of one unit in all of them."""
    dead: int
    """Units that were exactly zero in every value; counted behind `relu` only."""
    saturated: int
    """Units of which nine values in ten have a derivative below 0.001; counted behind `sigmoid` and `tanh` only."""
    gate: bool
    """The activation is a factor of a product."""
    last: bool
    """No layer with parameters comes after it in the model's forward."""


@record
class AutocastRecord:
    """A layer whose weights are float32, called with autocast on."""

    asked: str
    """The dtype that autocast computes in: `bfloat16`."""
    missed: int
    """Calls whose output came back as float32, not as `asked`."""
    calls: int


@record
class LayerRecord:
    """One layer of a model that is trained. Made by a run, of selected rules only."""

    place: Span
    """The layer's definition."""
    model: ModelRef
    layer: LayerRef
    frozen: bool
    """None of its own parameters is trained."""
    units: UnitRecord | None = None
    autocast: AutocastRecord | None = None
    run: RunEvidence | None = None
