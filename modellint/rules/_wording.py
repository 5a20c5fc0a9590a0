"""Small pieces of text that several rules say the same way."""

from __future__ import annotations

from collections.abc import Sequence

from modellint.facts.model import ModelRef
from modellint.facts.span import Span

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def instance_name(model: ModelRef) -> str:
    """`Net(use_sequential=False)`: the class with the arguments that decided something, if any did."""
    return f"{model.class_name}({model.arguments})" if model.arguments else model.class_name


def line_of(span: Span) -> str:
    """`models/twin.py:8`."""
    return f"{span.path}:{span.line}"


def listing(names: Sequence[str], limit: int = 6) -> str:
    """`lin1, lin2, lin3`, folded to `lin1, ..., lin6 and 3 more` where there are many."""
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"


def number(count: int) -> str:
    """`two`; figures above ten."""
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def ordinal(position: int) -> str:
    """`1st`, `2nd`, `3rd`, `4th`."""
    if position % 100 not in (11, 12, 13):
        return f"{position}{({1: 'st', 2: 'nd', 3: 'rd'}).get(position % 10, 'th')}"
    return f"{position}th"


def attribute(name: str) -> str:
    """`self.encoder[0]` for the dotted path `encoder.0`."""
    text = "self"
    for part in name.split("."):
        text += f"[{part}]" if part.isdigit() else f".{part}"
    return text
