"""One entered file: read, judged, and kept as plain data that can be stored or sent to another process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modellint.facts.reading import BadInput, NotFollowed, ReaderFailure
from modellint.facts.record import record
from modellint.facts.span import Span
from modellint.finding import Finding, RuleFailure
from modellint.finding_data import finding_data, finding_from, span_from, text_from


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
        data["findings"] = [finding_data(finding) for finding in result.findings]
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
        text_from(data["path"]),
        tuple(finding_from(item) for item in data.get("findings", ())),
        tuple(
            RuleFailure(text_from(r), text_from(p), int(n), text_from(e))
            for r, p, n, e in data.get("rule_failures", ())
        ),
        ReaderFailure(text_from(failure[0]), int(failure[1]), text_from(failure[2])) if failure is not None else None,
        BadInput(text_from(bad[0]), text_from(bad[1]), span_from(bad[2])) if bad is not None else None,
        tuple(NotFollowed(span_from(s), text_from(t), text_from(r)) for s, t, r in data.get("not_followed", ())),
        Rests(tuple(map(text_from, files)), tuple(map(text_from, words)), tuple(map(text_from, lookups)), bool(graph)),
    )
