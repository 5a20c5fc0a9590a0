"""One entered file: read, judged, and kept as plain data that can be stored or sent to another process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modellint.facts.reading import BadInput, NotFollowed, ReaderFailure
from modellint.facts.record import record
from modellint.facts.span import Span
from modellint.finding import (
    Category,
    Certainty,
    Edit,
    Finding,
    Fix,
    FlowStep,
    Level,
    Note,
    RuleFailure,
    Safety,
)


@record
class Rests:
    """What an entry's result rests on, as texts: paths are absolute."""

    files: tuple[str, ...] = ()
    """Their content."""
    words: tuple[str, ...] = ()
    """No other file of the project has these in it."""
    lookups: tuple[str, ...] = ()
    """Whether modules and packages of these names are there, and of which kind."""
    graph: bool = False
    """Which files of the project import which."""


@record
class EntryResult:
    """What entering one file gave."""

    path: str
    """Absolute."""
    findings: tuple[Finding, ...] = ()
    """Not yet merged with those of other entries."""
    rule_failures: tuple[RuleFailure, ...] = ()
    reader_failure: ReaderFailure | None = None
    bad_input: BadInput | None = None
    not_followed: tuple[NotFollowed, ...] = ()
    rests: Rests = Rests()


def judged_entries(
    paths: Sequence[Path],
    cwd: Path,
    rules: Sequence[str],
    torch_version: Callable[[Path], str | None],
    reader: Any = None,
    limit: int | None = None,
) -> Iterator[EntryResult]:
    """Enter files and judge what they yield by the rules of these names.

    `reader` is a `modellint.source.reader.Reader` that knows the project already. After `limit` parsed characters
    what was parsed is dropped, which bounds the memory. Runs on the stack of the caller: see
    `modellint.source.reader.with_deep_stack`.
    """
    import gc

    from modellint import catalog
    from modellint.judge import Hooks, findings_of
    from modellint.source.project import Project
    from modellint.source.reader import Reader

    hooks = Hooks([catalog.all_rules()[name]() for name in rules])
    if reader is None:
        reader = Reader(Project(cwd, None, torch_version))
    for path in paths:
        entry = reader.read(path)
        findings, failures = findings_of(entry.facts, hooks)
        asked = entry.asked
        yield EntryResult(
            str(path),
            tuple(_without_keys(finding, str(path)) for finding in findings),
            tuple(failures),
            entry.failure,
            entry.bad_input,
            tuple(dict.fromkeys(entry.not_followed)),
            Rests(
                tuple(sorted(map(str, asked.files))),
                tuple(sorted(asked.words)),
                tuple(sorted(map(str, asked.lookups))),
                asked.graph,
            ),
        )
        if limit is not None and reader.project.parsed > limit:
            reader.forget()
            gc.collect()


def _without_keys(finding: Finding, entry: str) -> Finding:
    """The finding with a group that means the same wherever the file was entered.

    The numbers of models and optimizers in a group tell apart what one entry made: they say nothing to another.
    """
    from dataclasses import replace

    if finding.group is None:
        return finding
    text = repr(finding.group)
    if _has_number(finding.group):
        text = f"{entry}\n{text}"
    return replace(finding, group=hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest())


def _has_number(group: object) -> bool:
    if isinstance(group, Span):
        return False
    if isinstance(group, tuple):
        return any(_has_number(part) for part in group)
    return isinstance(group, int) and not isinstance(group, bool)


# ---------------------------------------------------------------- as JSON


def as_json(result: EntryResult) -> dict[str, Any]:
    """A result as JSON values; what is empty is left out."""
    data: dict[str, Any] = {"path": result.path}
    if result.findings:
        data["findings"] = [_finding_as_json(finding) for finding in result.findings]
    if result.rule_failures:
        data["rule_failures"] = [[f.rule, f.path, f.line, f.error] for f in result.rule_failures]
    if result.reader_failure is not None:
        data["reader_failure"] = [result.reader_failure.path, result.reader_failure.line, result.reader_failure.error]
    if result.bad_input is not None:
        data["bad_input"] = [result.bad_input.rule, result.bad_input.message, list(result.bad_input.span)]
    if result.not_followed:
        data["not_followed"] = [[list(item.span), item.text, item.reason] for item in result.not_followed]
    rests = result.rests
    data["rests"] = [list(rests.files), list(rests.words), list(rests.lookups), rests.graph]
    return data


def from_json(data: Mapping[str, Any]) -> EntryResult:
    """The result that `as_json` wrote. Raises KeyError, TypeError, ValueError or AttributeError for anything else."""
    failure, bad = data.get("reader_failure"), data.get("bad_input")
    files, words, lookups, graph = data["rests"]
    return EntryResult(
        _text(data["path"]),
        tuple(_finding_from_json(item) for item in data.get("findings", ())),
        tuple(RuleFailure(_text(r), _text(p), int(n), _text(e)) for r, p, n, e in data.get("rule_failures", ())),
        ReaderFailure(_text(failure[0]), int(failure[1]), _text(failure[2])) if failure is not None else None,
        BadInput(_text(bad[0]), _text(bad[1]), _span(bad[2])) if bad is not None else None,
        tuple(NotFollowed(_span(s), _text(t), _text(r)) for s, t, r in data.get("not_followed", ())),
        Rests(tuple(map(_text, files)), tuple(map(_text, words)), tuple(map(_text, lookups)), bool(graph)),
    )


def _finding_as_json(finding: Finding) -> dict[str, Any]:
    data: dict[str, Any] = {
        "rule": finding.rule,
        "category": finding.category.value,
        "level": finding.level.value,
        "certainty": finding.certainty.value,
        "message": finding.message,
        "span": list(finding.span),
    }
    for name in ("label", "primary_order", "seen", "why", "help", "weight", "group"):
        value = getattr(finding, name)
        if value:
            data[name] = value
    if finding.related:
        data["related"] = [[list(note.span), note.label, note.order, note.cause] for note in finding.related]
    if finding.flow:
        data["flow"] = [[list(step.span), step.text] for step in finding.flow]
    if finding.notes:
        data["notes"] = list(finding.notes)
    if finding.sides != ("source",):
        data["sides"] = list(finding.sides)
    if finding.evidence:
        data["evidence"] = dict(finding.evidence)
    if finding.fix is not None:
        edits = [[list(edit.span), edit.text] for edit in finding.fix.edits]
        data["fix"] = [finding.fix.title, finding.fix.safety.value, finding.fix.reason, edits]
    return data


def _finding_from_json(data: Mapping[str, Any]) -> Finding:
    fix = data.get("fix")
    order = data.get("primary_order")
    return Finding(
        rule=_text(data["rule"]),
        category=Category(data["category"]),
        level=Level(data["level"]),
        certainty=Certainty(data["certainty"]),
        message=_text(data["message"]),
        span=_span(data["span"]),
        label=_text(data.get("label", "")),
        primary_order=int(order) if order is not None else None,
        related=tuple(
            Note(_span(span), _text(label), int(number) if number is not None else None, bool(cause))
            for span, label, number, cause in data.get("related", ())
        ),
        flow=tuple(FlowStep(_span(span), _text(text)) for span, text in data.get("flow", ())),
        seen=_text(data.get("seen", "")),
        why=_text(data.get("why", "")),
        help=_text(data.get("help", "")),
        notes=tuple(map(_text, data.get("notes", ()))),
        fix=Fix(_text(fix[0]), Safety(fix[1]), _text(fix[2]), tuple(Edit(_span(s), _text(t)) for s, t in fix[3]))
        if fix is not None
        else None,
        sides=tuple(map(_text, data.get("sides", ("source",)))),
        evidence=dict(data.get("evidence", {})),
        group=data.get("group"),
        weight=int(data.get("weight", 0)),
    )


def _span(data: Any) -> Span:
    path, *numbers = data
    line, column, end_line, end_column = map(int, numbers)
    return Span(_text(path), line, column, end_line, end_column)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is expected")
    return value
