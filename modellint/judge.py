"""Facts and rules in, findings out. A rule that raises becomes one RuleFailure; the others go on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from modellint.facts.run_evidence import RunEvidence
from modellint.finding import Certainty, Finding, RuleFailure
from modellint.rule import HOOKS, Rule, times_seen

_COUNTS = ("times", "watched", "first_step")


def judge(facts: Iterable[object], rules: Sequence[Rule]) -> tuple[list[Finding], list[RuleFailure]]:
    """Judge every fact by every rule that has a hook for it; findings come merged and sorted."""
    findings, failures = findings_of(facts, Hooks(rules))
    return merge(findings), failures


class Hooks(dict[type, list[tuple[Rule, str]]]):
    """For each type of fact the rules that judge it, with their method; found when the type is first asked for."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        super().__init__()
        self._rules = rules

    def __missing__(self, fact_type: type) -> list[tuple[Rule, str]]:
        hook = HOOKS[fact_type]
        found = [(rule, hook) for rule in self._rules if getattr(type(rule), hook) is not getattr(Rule, hook)]
        self[fact_type] = found
        return found


def findings_of(facts: Iterable[object], hooks: Hooks) -> tuple[list[Finding], list[RuleFailure]]:
    """Judge every fact by every rule that has a hook for it; findings come as they are."""
    findings: list[Finding] = []
    failures: dict[tuple[str, str, int, str], RuleFailure] = {}
    for fact in facts:
        for rule, hook in hooks[type(fact)]:
            try:
                findings.extend(_with_evidence(finding, fact) for finding in getattr(rule, hook)(fact))
            except Exception as error:
                place = getattr(fact, "place", None)
                path, line = (place.path, place.line) if place is not None else ("", 0)
                failure = RuleFailure(rule.name, path, line, type(error).__name__)
                failures.setdefault((failure.rule, failure.path, failure.line, failure.error), failure)
    return findings, sorted(failures.values(), key=lambda f: (f.path, f.line, f.rule))


def _with_evidence(finding: Finding, fact: object) -> Finding:
    """What a live run says of the fact: its side, how often it was seen, and whether it is sure."""
    run: RunEvidence | None = getattr(fact, "run", None)
    if run is None:
        return finding
    if run.likely and finding.certainty is Certainty.CERTAIN:
        finding = replace(finding, certainty=Certainty.LIKELY, level=finding.level.lowered())
    counted: dict[str, Any] = {name: value for name, value in finding.evidence.items() if name in _COUNTS}
    run = replace(run, **counted)  # a rule may have counted by itself
    evidence = {name: getattr(run, name) for name in _COUNTS} | dict(finding.evidence) | dict(run.numbers)
    seen = finding.seen or (times_seen(run) if run.watched else "")  # else it was looked at and not run
    return replace(finding, sides=("runtime",), evidence=evidence, seen=seen)


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """One finding a cause: equal groups of one rule become one with notes, equal places of one rule become one."""
    by_place: dict[object, Finding] = {}
    for finding in findings:
        key = (finding.rule, finding.span)
        known = by_place.get(key)
        if known is None or _preference(finding) < _preference(known):
            by_place[key] = finding
    groups: dict[object, list[Finding]] = {}
    for finding in by_place.values():
        group = finding.span if finding.group is None else finding.group
        groups.setdefault((finding.rule, group), []).append(finding)
    merged = []
    for members in groups.values():
        members.sort(key=_preference)
        first, others = members[0], members[1:]
        if others:
            places = ", ".join(str(f.span) for f in sorted(others, key=lambda f: f.span))
            first = replace(first, notes=(*first.notes, f"same cause at {places}"))
        merged.append(first)
    return sorted(merged, key=lambda f: (f.span, f.rule))


def _preference(finding: Finding) -> tuple[object, ...]:
    """The heavier, the surer, the better explained, then the first in the files."""
    return (
        -finding.weight,
        finding.certainty.value,
        -len(finding.related),
        finding.span,
        tuple(n.span for n in finding.related),
        finding.message,
        finding.why,
    )
