"""A boolean mask that attention is given, and which tokens it is True for."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.span import Span


@record
class MaskUse:
    """One mask argument of one call of attention."""

    callee: str
    """`MultiheadAttention`, `F.scaled_dot_product_attention`."""
    place: Span
    """The argument."""
    parameter: str
    """`key_padding_mask`."""
    true_ignores: bool
    """True in this argument means: leave this position out. False: attend to it."""
    true_for_padding: bool
    """The mask is True for padding: `ids == 0`. False: for the tokens: `ids != 0`, `positions < lengths`."""
    made: Span
    made_text: str
