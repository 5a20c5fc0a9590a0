"""The data of one evaluation beside the data that the same model is trained on."""

from __future__ import annotations

from enum import Enum

from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


class Overlap(Enum):
    """What two loaders have in common, for sure."""

    UNKNOWN = "UNKNOWN"
    """Nothing, or it is not known."""
    SAME = "SAME"
    """Both read the same dataset object."""
    WHOLE = "WHOLE"
    """The evaluation reads all of what training reads a part of."""
    PART = "PART"
    """The evaluation reads a part of what training reads all of."""


@record
class Normalization:
    """One Normalize step of a transform."""

    place: Span
    mean: tuple[float, ...] | None
    """None where the constants were not followed."""
    std: tuple[float, ...] | None


@record
class DrawnStep:
    """One random transform."""

    name: str
    """`RandomCrop`."""
    place: Span


@record
class EvaluationData:
    """One loop that evaluates and one that trains the same model."""

    place: Span
    """Where the evaluation's loader is made; the loop's header where it is training's loader as well."""
    text: str
    """The evaluation's loader as its loop writes it."""
    train_place: Span
    """Where training's loader is made."""
    train_text: str
    overlap: Overlap
    split_place: Span | None
    """Where the parts were made."""
    held_out: bool
    """A name says that the evaluation is one on held-out data: `val_loader`, `def validate`."""
    training_meant: bool
    """A name says that it is meant to be on training data."""
    sampled: bool
    """A sampler chooses what one of the loaders reads, or one of them was not followed."""
    on_purpose: bool
    """A name says that it is so on purpose: overfitting a batch, folds, support and query sets, averaged views."""
    separate_parts: bool
    """The two read different parts of one dataset object, and nothing trains on the evaluation's part."""
    drawn: tuple[DrawnStep, ...]
    """Random transforms that the evaluation reads through."""
    lost: tuple[DrawnStep, ...]
    """Random transforms that the dataset behind both parts had, and that were replaced after the split."""
    lost_place: Span | None
    """Where they were replaced."""
    same_kind: bool
    """Both datasets are of one class, and what they give reaches the model as it is."""
    train_steps: tuple[Normalization, ...] | None
    """Normalize steps that training reads through; None when its transform was not followed to the end."""
    steps: tuple[Normalization, ...] | None
    """The same of the evaluation."""
    transform_place: Span | None
    """The evaluation's transform."""
    train_transform_place: Span | None
    in_test_suite: bool
    run: RunEvidence | None = None
