"""What is noted about shapes while running."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from modellint.facts.record import slotted
from modellint.source.interpreter.values import ModuleValue, Site

if TYPE_CHECKING:
    from modellint.source.interpreter.records import LossRecord


@slotted
class ClashRecord:
    """A layer that cannot take what it is given."""

    site: Site
    """The call; of an element of a Sequential, the element."""
    layer: ModuleValue
    root: ModuleValue | None
    """The model whose forward runs."""
    parameter: str
    given: int
    wanted: tuple[int, ...]
    made: tuple[Site, str, bool] | None
    """The layer that gave it this length, how that is written, and whether the length is a literal there."""
    axis: int = 0
    folded: bool = False
    """The batch was folded into this axis."""


@slotted
class RecutRecord:
    """A view whose axes are those of its input in another order."""

    site: Site
    text: str
    before: tuple[str, ...]
    """The axes of the input, by the names in `after`."""
    after: tuple[str, ...]
    order: tuple[int, ...] | None
    """The permutation that was meant; None where axes of length 1 stand between."""


@slotted
class FoldRecord:
    """An operation that folds the batch into the features, or rows of one sample into the batch."""

    site: Site
    text: str
    before: tuple[int | None, ...]
    rows: int | None
    width: int | None
    """Elements in a row of the result; None: one row of everything."""
    layer: ModuleValue | None = None
    """The Linear that takes the result."""


@slotted
class SoftmaxRecord:
    """One softmax function called, or one softmax layer made."""

    site: Site
    text: str
    log: bool
    implicit: bool
    """No axis was given."""
    ranks: set[int | None] = field(default_factory=set)
    """How many axes its inputs had; None among them for one that is not known."""
    single: list[tuple[Site, Site, str]] = field(default_factory=list)
    """Calls where its axis is of length 1: the call, and the layer or index that made it so."""
    made: bool = False
    """It is a layer."""


@slotted
class StarvedRecord:
    """A BatchNorm1d that is given one or two samples in train mode."""

    site: Site
    layer: ModuleValue
    root: ModuleValue
    samples: int


@slotted
class ShapeRecords:
    """All that one file yields."""

    clashes: dict[object, ClashRecord] = field(default_factory=dict)
    recuts: dict[object, RecutRecord] = field(default_factory=dict)
    folds: dict[object, FoldRecord] = field(default_factory=dict)
    softmaxes: dict[object, SoftmaxRecord] = field(default_factory=dict)
    differences: list[LossRecord] = field(default_factory=list)
    starved: dict[object, StarvedRecord] = field(default_factory=dict)
