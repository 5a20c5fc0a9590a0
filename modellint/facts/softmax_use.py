"""A softmax, and over which axis it runs."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.span import Span


@record
class SingleAxis:
    """One call in which the axis of the softmax is of length 1."""

    place: Span
    maker: str
    """What made the axis so short: `Linear(64, 1)`."""
    maker_place: Span


@record
class SoftmaxUse:
    """One softmax or log-softmax: a function that is called, or a layer that is constructed, with all its inputs."""

    place: Span
    text: str
    """`F.softmax`, `nn.LogSoftmax`."""
    log: bool
    implicit: bool
    """It was given no axis, so torch takes one by the number of axes of the input."""
    ranks: tuple[int, ...]
    """Numbers of axes of its inputs, as far as they are known."""
    every_rank_known: bool
    single: tuple[SingleAxis, ...]
