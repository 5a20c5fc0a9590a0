"""What several facts say about one constructed model: which one, and what it is made of."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.span import Span


@record
class LayerRef:
    """One layer of an instance: `norm BatchNorm1d(64)` constructed at `place`."""

    name: str
    """Dotted path from the instance (`encoder.0`), empty for the instance itself."""
    text: str
    """As a reader would write it: `BatchNorm1d(64)`."""
    kind: str
    """Class name without its module: `BatchNorm1d`, or the name of a project class."""
    place: Span | None


@record
class ModelRef:
    """One constructed model (an instance, not a class)."""

    key: int
    """The same number in two facts of one reading means the same instance."""
    text: str
    """The user's expression for it at this place: `model`, `self.net`."""
    class_name: str
    class_place: Span | None
    """The class statement, None for a library class."""
    place: Span | None
    """The construction, None when nobody in the project constructs it."""
    arguments: str
    """The constant arguments that decided a branch of its code: `use_sequential=False`; empty when none did."""
    complete: bool
    """Everything its constructor and forward do was followed."""
    mode_dependent: tuple[LayerRef, ...] = ()
    """Layers of its forward that act differently under train() and eval(); dropout with p=0 is left out."""
    certain_mode_dependent: bool = False
    """At least one of `mode_dependent` is so for sure (a dropout whose p is unknown is not)."""
    mode_matters: bool = False
    """One layer of them is so for sure, or only wrappers (DataParallel) keep the model from being complete; and no
    class in it has a base that was not followed: the mode matters whatever the rest is."""
    losses_in_training: bool = False
    """In training mode, and only there, its forward takes the targets and returns losses, as detectors do: a loss on
    held-out data can only be had in training mode."""
    trainable: bool | None = None
    """It has parameters that require a gradient; None when that was not followed."""
