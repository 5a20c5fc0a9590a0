"""What a fixture says about itself, and whether modellint agrees.

A marker stands at the end of the line where a finding's primary span starts::

    loss = criterion(torch.sigmoid(z), y)  # expect: sigmoid-before-logits-loss
    flat = Net(8, use_sequential=False)  # expect: unused-module "use_sequential=False", shared-batchnorm
    best = model.state_dict()  # expect-missed: state-dict-alias

- `expect`: the finding is there. A text in double quotes must appear in its message, labels, why, notes or places.
- `expect-missed`: a defect that no rule finds yet. Strict: once it is found, the marker must become `expect`.
- `expect-false`: a known false alarm. Strict: once it is gone, the marker must go too.

A rule named twice on a line means two findings there. A folder whose sources must stay as they are drawn elsewhere
keeps its markers in `expected.txt`, as `path:line  # expect: name`.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modellint.config import Selection, Settings
from modellint.finding import Finding
from modellint.lint import lint

EXPECTED_FILE = "expected.txt"

_START = re.compile(r"#\s*(expect(?:-missed|-false)?):")
_ITEM = re.compile(r'\s*([a-z][a-z0-9-]*)((?:\s*"[^"]*")*)\s*(,|$)')
_FILE_LINE = re.compile(r"(\S+\.\w+):(\d+)\s+(#.*)")


class MarkerError(ValueError):
    """A marker that does not parse: a fixture must not go quiet because of a typo."""


@dataclass(frozen=True, slots=True)
class Marker:
    """One expectation about one line."""

    kind: str
    """`expect`, `expect-missed` or `expect-false`."""
    rule: str
    path: Path
    line: int
    texts: tuple[str, ...] = ()

    def __str__(self) -> str:
        quoted = "".join(f' "{text}"' for text in self.texts)
        return f"{self.path.name}:{self.line}: {self.kind}: {self.rule}{quoted}"


def parse_comment(comment: str, path: Path, line: int) -> list[Marker]:
    """The markers in one comment; an ordinary comment has none."""
    starts = list(_START.finditer(comment))
    markers = []
    for start, following in zip(starts, [*starts[1:], None], strict=False):
        body = comment[start.end() : following.start() if following else None].strip()
        position, separator = 0, ","
        while separator == ",":
            item = _ITEM.match(body, position)
            if item is None:
                raise MarkerError(f"{path}:{line}: cannot read marker `{comment.strip()}`")
            texts = tuple(re.findall(r'"([^"]*)"', item.group(2)))
            markers.append(Marker(start.group(1), item.group(1), path, line, texts))
            position, separator = item.end(), item.group(3)
    return markers


def parse_source(source: str, path: Path) -> list[Marker]:
    """The markers of one Python source; in a source that does not tokenize, those of every line."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
        comments = [(t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT]
    except (tokenize.TokenError, SyntaxError):
        comments = [
            (number, text[text.index("#") :]) for number, text in enumerate(source.splitlines(), 1) if "#" in text
        ]
    return [marker for line, comment in comments for marker in parse_comment(comment, path, line)]


def parse_file(path: Path) -> list[Marker]:
    """The markers of one file; bytes that are not UTF-8 do not matter, markers are ASCII."""
    return parse_source(path.read_text(encoding="utf-8-sig", errors="replace"), path.resolve())


def parse_expected_file(path: Path) -> list[Marker]:
    """The markers of a folder's `expected.txt`; a line without `path:line` at its start is prose."""
    markers = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = _FILE_LINE.match(text)
        if match is None:
            if _START.search(text):
                raise MarkerError(f"{path}:{number}: a marker needs `path:line` before it")
            continue
        target = (path.parent / match.group(1)).resolve()
        if not target.is_file():
            raise MarkerError(f"{path}:{number}: no such file: {match.group(1)}")
        markers += parse_comment(match.group(3), target, int(match.group(2)))
    return markers


def parse_markers(target: Path) -> list[Marker]:
    """The markers of a file, or of every Python file in a folder."""
    if target.is_file():
        return parse_file(target)
    markers = [marker for path in sorted(target.rglob("*.py")) for marker in parse_file(path)]
    for path in sorted(target.rglob(EXPECTED_FILE)):
        markers += parse_expected_file(path)
    return markers


def spoken(finding: Finding) -> str:
    """Everything a finding says, `help` apart, and the places it points to."""
    lines = [finding.message, finding.label, finding.seen, finding.why, *finding.notes]
    lines += [f"{note.span} {note.label}" for note in finding.related]
    lines += [f"{step.span} {step.text}" for step in finding.flow]
    return "\n".join(lines)


def compare(markers: Iterable[Marker], findings: Iterable[Finding]) -> list[str]:
    """One sentence for every disagreement between what is marked and what is found; paths are compared resolved."""
    found: dict[tuple[Path, int, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        found[Path(finding.span.path).resolve(), finding.span.line, finding.rule].append(finding)
    problems = []
    wanted: Counter[tuple[Path, int, str]] = Counter()
    claimed: dict[tuple[Path, int, str], list[Finding]] = {}
    for marker in sorted(markers, key=lambda m: -len(m.texts)):
        # Markers with texts choose first, so that a bare one takes what is left.
        key = (marker.path.resolve(), marker.line, marker.rule)
        if marker.kind == "expect-missed":
            if found.get(key):
                problems.append(f"{marker}: is found now, make it `expect`")
                claimed[key] = []
            continue
        wanted[key] += 1
        left = claimed.setdefault(key, list(found.get(key, [])))
        if not left:
            gone = "the false alarm is gone, remove the marker" if marker.kind == "expect-false" else "not found"
            problems.append(f"{marker}: {gone}")
            continue
        best = min(left, key=lambda finding: sum(text not in spoken(finding) for text in marker.texts))
        left.remove(best)
        missing = [text for text in marker.texts if text not in spoken(best)]
        if missing:
            problems.append(f"{marker}: the finding does not say {missing}, it says:\n{spoken(best)}")
    for key, members in found.items():
        for finding in claimed.get(key, members):
            problems.append(f"{key[0].name}:{key[1]}: not marked: {finding.rule}: {finding.message}")
    return sorted(problems)


def check(target: Path, settings: Settings) -> None:
    """Lint a file or a folder and raise AssertionError unless exactly the marked findings appear."""
    report = lint([target], settings)
    assert not report.failures, f"rules failed: {report.failures}"
    problems = compare(parse_markers(target), report.findings)
    assert not problems, "\n".join(problems)


def check_folder(folder: Path, select: Sequence[str] | None = None) -> None:
    """`check` with the given selection and nothing else configured; None is the default selection."""
    check(folder, Settings(flags=Selection(select=None if select is None else tuple(select))))
