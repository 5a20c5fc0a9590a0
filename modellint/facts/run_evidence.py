"""What a run adds to a fact: how often it was seen, since when, and the numbers measured."""

from __future__ import annotations

from modellint.facts.record import record


@record
class RunEvidence:
    """Present on every fact that a live run made, and only there."""

    times: int
    """How many of the watched passes (or forwards) showed it."""
    watched: int
    """How many were watched closely enough to show it."""
    first_step: int
    """How many optimizer steps had ended when it was first seen."""
    what: str = "passes"
    """What `times` and `watched` count: `passes`, `evaluation forwards`."""
    numbers: tuple[tuple[str, float], ...] = ()
    """Further measured numbers by name: `("calls", 240)`."""
    root: int = 0
    """The root that it concerns, by the key of its ModelRef; 0 for a fact about no single one."""
    likely: bool = False
    """The run shows it, but a reason is possible: the finding is likely, not certain."""

    def number(self, name: str) -> float | None:
        """A measured number, None when it was not measured."""
        return dict(self.numbers).get(name)
