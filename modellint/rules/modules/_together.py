"""Which calls of one layer happen in one forward."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from modellint.facts.module_instance import LayerCall


def together(calls: Iterable[LayerCall]) -> list[LayerCall]:
    """The calls of one layer that surely happen in one forward, the first of each producer.

    Calls in the same arms of the same undecided branches happen together; whether others do is not known.
    """
    groups: dict[tuple[tuple[int, int], ...], dict[object, LayerCall]] = defaultdict(dict)
    for call in calls:
        if call.producer_key is not None:
            groups[call.branches].setdefault(call.producer_key, call)
    return max((list(group.values()) for group in groups.values()), key=len, default=[])
