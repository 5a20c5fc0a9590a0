"""What a run adds to findings from code: the JSON report of `modellint run`, joined by rule and place.

A finding that the run made too becomes certain and carries what was seen. A run never takes a finding away: where it
watched the place and saw nothing, the finding says so, and one that was only likely drops a level.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modellint.config import UsageError
from modellint.facts.record import record
from modellint.finding import Certainty, Finding

_VERSION = 1
_Place = tuple[str, str, int]
"""Rule, path, line."""


@record
class _Seen:
    """One finding of a run."""

    seen: str
    evidence: Mapping[str, object]


@record
class Evidence:
    """What the runs say, by fingerprint and by place."""

    by_fingerprint: Mapping[str, _Seen]
    by_place: Mapping[_Place, _Seen]
    quiet: Mapping[_Place, tuple[int, str]]
    """How often a place was watched without a finding, and what was counted."""


def read_evidence(paths: Sequence[str], cwd: Path) -> Evidence:
    """Read the reports of runs. Anything else is a UsageError."""
    import json  # late, as in `join`: most checks are given no evidence

    by_fingerprint: dict[str, _Seen] = {}
    by_place: dict[_Place, _Seen] = {}
    quiet: dict[_Place, tuple[int, str]] = {}
    for path in paths:
        try:
            document = json.loads((cwd / path).read_bytes())
            run = document["run"]
            if document["version"] != _VERSION or run is None:
                raise ValueError
            for finding in document["findings"]:
                seen = _Seen(finding["seen"], finding["evidence"])
                by_fingerprint[finding["fingerprint"]] = seen
                by_place[finding["rule"], finding["path"], finding["range"]["start"]["line"]] = seen
            for each in run["quiet"]:
                for line in each["lines"]:
                    key = (each["rule"], each["path"], line)
                    quiet[key] = max(quiet.get(key, (0, "")), (each["times"], each["what"]))
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from None
        except (ValueError, LookupError, TypeError, RecursionError):
            raise UsageError(
                f"{path} is no report of a run; `modellint run --output-format json -o {path} SCRIPT` makes one"
            ) from None
    return Evidence(by_fingerprint, by_place, quiet)


def join(
    findings: Sequence[Finding],
    evidence: Evidence,
    lines_of: Callable[[str], Sequence[str]],
    certain: Callable[[Finding], Finding],
) -> list[Finding]:
    """The findings with what the runs saw. `certain` gives a finding that is no longer likely its level."""
    from modellint.report.fingerprint import fingerprints

    ordered = sorted(findings, key=lambda finding: (finding.span, finding.rule))
    digests = fingerprints(ordered, lines_of)
    joined = []
    for finding, digest in zip(ordered, digests, strict=True):
        # A run may stand where the code shows another part of the same: the forward whose graph is kept, not the list.
        spans = (finding.span, *(note.span for note in finding.related))
        places = [(finding.rule, span.path, span.line) for span in spans]
        seen = evidence.by_fingerprint.get(digest) or next(filter(None, map(evidence.by_place.get, places)), None)
        if seen is not None:
            joined.append(_confirmed(finding, seen, certain))
        elif places[0] in evidence.quiet:
            joined.append(_unconfirmed(finding, *evidence.quiet[places[0]]))
        else:
            joined.append(finding)
    return joined


def _confirmed(finding: Finding, seen: _Seen, certain: Callable[[Finding], Finding]) -> Finding:
    changes: dict[str, Any] = {"sides": ("source", "runtime"), "seen": seen.seen, "evidence": dict(seen.evidence)}
    if finding.certainty is Certainty.LIKELY:
        finding = certain(replace(finding, certainty=Certainty.CERTAIN))
    return replace(finding, **changes)


def _unconfirmed(finding: Finding, times: int, what: str) -> Finding:
    level = finding.level.lowered() if finding.certainty is Certainty.LIKELY else finding.level
    note = f"not seen in {times:,} {what} of a run that watched this place"
    return replace(finding, level=level, notes=(*finding.notes, note))
