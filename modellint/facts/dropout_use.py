"""One dropout, as it is made or called."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.span import Span


@record
class DropoutUse:
    """A dropout layer, a functional dropout, or the dropout argument of a recurrent layer."""

    text: str
    """`Dropout(0.0)`, `F.dropout`, `LSTM(64, 128, dropout=0.5)`."""
    place: Span
    kind: str
    """`Dropout2d`, `LSTM`, `dropout`."""
    rate: float | None
    """Written as a number at this place; None when it is not."""
    layers: int | None
    """Of a recurrent layer: the number of layers, where it is written or left at its default; None otherwise."""
    holds_a_place: bool = False
    """It is an element of a Sequential before others: without it they would have other names in checkpoints."""
    in_test_suite: bool = False
    flat_input: Span | None = None
    """Of a dropout of whole channels: where it is given a value with two axes, rows and features."""
