"""Where a run watched and found nothing: for a finding from code that the run cannot confirm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum

from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.report.model import Gap, Quiet
from modellint.rule import HOOKS, Rule

FEWEST = 10
"""Less often watched says too little."""

_Line = tuple[str, str, int]
"""Rule, path, line."""


def quiet_lines(facts: Iterable[object], rules: Sequence[Rule], gaps: Iterable[Gap]) -> tuple[Quiet, ...]:
    """The lines of facts that a rule judged and said nothing about.

    A line is left out where something about it is unknown: the fact is incomplete, the rule is unknown for something
    that was out of sight, or another fact about the same line made it speak.
    """
    unknown = {name for gap in gaps for name in gap.rules}
    judging = [rule for rule in rules if rule.name not in unknown]
    watched: dict[_Line, tuple[int, str]] = {}
    loud: set[_Line] = set()
    for fact in facts:
        run: RunEvidence | None = getattr(fact, "run", None)
        if run is None:
            continue
        lines, complete, hook = set(_lines(fact)), _complete(fact), HOOKS[type(fact)]
        for rule in judging:
            if getattr(type(rule), hook) is getattr(Rule, hook):
                continue
            keys = {(rule.name, path, line) for path, line in lines}
            if not complete or _speaks(rule, hook, fact):
                loud |= keys
                continue
            for key in keys:
                watched[key] = max(watched.get(key, (0, "")), (run.watched, run.what))
    grouped: dict[tuple[str, str, int, str], list[int]] = {}
    for (name, path, line), (times, what) in watched.items():
        if times >= FEWEST and (name, path, line) not in loud:
            grouped.setdefault((name, path, times, what), []).append(line)
    return tuple(
        Quiet(name, path, tuple(sorted(lines)), times, what)
        for (name, path, times, what), lines in sorted(grouped.items())
    )


def _complete(fact: object) -> bool:
    """Nothing in the fact is unknown: a rule that stays silent does so because of what it knows."""
    model = getattr(fact, "model", None)
    return (
        getattr(fact, "complete", True) is True
        and getattr(model, "complete", True) is True
        and not any(isinstance(part, Enum) and part.name == "UNKNOWN" for part in _parts(fact))
    )


def _speaks(rule: Rule, hook: str, fact: object) -> bool:
    try:
        return any(True for _ in getattr(rule, hook)(fact))
    except Exception:  # reported where the fact is judged
        return True


def _lines(fact: object) -> Iterator[tuple[str, int]]:
    """Path and line of every place in a fact."""
    for part in _parts(fact):
        if isinstance(part, Span) and part.path and not part.path.startswith("<"):
            yield part.path, part.line


def _parts(value: object) -> Iterator[object]:
    """A value and everything in it."""
    yield value
    if isinstance(value, tuple) and not isinstance(value, Span):
        for part in value:
            yield from _parts(part)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _parts(getattr(value, field.name))
