"""SARIF 2.1.0, as code scanning services read it."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import quote

from modellint import __version__
from modellint.facts.span import Span
from modellint.finding import Category, Finding, Fix, FlowStep, Level, RuleFailure, Safety
from modellint.report.fingerprint import FileOutline, fingerprints
from modellint.report.model import BAD_INPUT, OBSERVER, READER, LintReport, Options
from modellint.report.pages import page, summary
from modellint.report.summary import failure_text
from modellint.report.wording import counted, numbered
from modellint.rule import Rule

LARGEST = 10_000_000
"""Bytes of gzip that GitHub accepts."""
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_PRECISION = {
    Category.CORRECTNESS: "very-high",
    Category.SUSPICIOUS: "high",
    Category.PERFORMANCE: "high",
    Category.REPRODUCIBILITY: "medium",
    Category.PEDANTIC: "medium",
    Category.NURSERY: "low",
}
_SEVERITY = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "recommendation"}
_Json = dict[str, object]


def render(report: LintReport, options: Options) -> str:
    """One run. Only if it is larger than GitHub accepts do the rules with most results lose some of them."""
    results = _Results(report, options.rules)
    most = max(results.per_rule.values(), default=0)
    text = _text(results.log(most))
    # gzip never makes text larger by more than a few bytes, so most logs need no second look.
    while len(text) > LARGEST and most > 1 and len(gzip.compress(text.encode(), mtime=0)) > LARGEST:
        most //= 2
        text = _text(results.log(most))
    return text


def _text(log: _Json) -> str:
    return json.dumps(log, indent=1, default=str) + "\n"


class _Results:
    """Everything a log is made of, so that it can be made again with fewer results."""

    def __init__(self, report: LintReport, rules: Sequence[type[Rule]]) -> None:
        self._report = report
        self._places = _Places(report.lines)
        pairs = list(report.all_findings())
        digests = fingerprints((finding for finding, _ in pairs), report.lines)
        judged = [
            (finding, reason, digest)
            for (finding, reason), digest in zip(pairs, digests, strict=True)
            if finding.rule not in BAD_INPUT
        ]
        self.per_rule = Counter(finding.rule for finding, _, _ in judged)
        known = {rule.name: _described(rule) for rule in rules}
        for finding, _, _ in judged:
            # A finding whose rule was not handed over still needs a descriptor: GitHub refuses a ruleIndex without.
            known.setdefault(finding.rule, _undescribed(finding))
        self._rules = dict(sorted(known.items()))
        index = {name: number for number, name in enumerate(self._rules)}
        self._results = [
            (finding.rule, self._result(finding, reason, digest, index[finding.rule]))
            for finding, reason, digest in judged
        ]

    def log(self, most: int) -> _Json:
        """The log with at most so many results of a rule."""
        seen: Counter[str] = Counter()
        results = []
        for rule, result in self._results:
            seen[rule] += 1
            if seen[rule] <= most:
                results.append(result)
        left_out = {rule: count - most for rule, count in sorted(seen.items()) if count > most}
        driver = {
            "name": "modellint",
            "semanticVersion": __version__,
            "rules": list(self._rules.values()),
        }
        run: _Json = {
            "tool": {"driver": driver},
            "automationDetails": {"id": f"modellint/{'source' if self._report.run is None else 'runtime'}/"},
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "The folder in which modellint ran."}}},
            "invocations": [self._invocation(left_out)],
            "results": results,
        }
        return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}

    def _invocation(self, left_out: dict[str, int]) -> _Json:
        notifications = [self._bad_input(each) for each in self._report.findings if each.rule in BAD_INPUT]
        notifications += (self._failure(each) for each in self._report.failures)
        for rule, count in left_out.items():
            text = f"{counted(count, 'result')} of {rule} left out: the file would be larger than GitHub accepts"
            notifications.append(_notification("results-left-out", "warning", text))
        return {
            "executionSuccessful": not self._report.failures,
            "toolExecutionNotifications": notifications,
        }

    def _bad_input(self, finding: Finding) -> _Json:
        notification = _notification(finding.rule, "error", finding.message)
        return notification | {"locations": [{"physicalLocation": self._places.physical(finding.span)}]}

    def _failure(self, failure: RuleFailure) -> _Json:
        if failure.rule in (READER, OBSERVER):
            notification = _notification(f"{failure.rule}-failure", "error", failure_text(failure))
        else:
            notification = _notification("rule-failure", "error", failure_text(failure))
            notification["associatedRule"] = {"id": failure.rule}
        if failure.path:
            line = max(failure.line, 1)
            location = {"artifactLocation": self._places.artifact(failure.path), "region": {"startLine": line}}
            notification["locations"] = [{"physicalLocation": location}]
        return notification

    def _result(self, finding: Finding, reason: str | None, digest: str, index: int) -> _Json:
        places = self._places
        result: _Json = {
            "ruleId": finding.rule,
            "ruleIndex": index,
            "level": finding.level.value,
            "message": {"text": _message(finding)},
            "locations": [{"physicalLocation": places.statement(finding.span)}],
            "partialFingerprints": {"modellint/v1": digest},
        }
        if finding.related:
            result["relatedLocations"] = [
                {
                    "id": number,
                    "physicalLocation": places.physical(note.span),
                    "message": {"text": _literal(numbered(note.label, note.order)) or "here"},
                }
                for number, note in enumerate(finding.related, 1)
            ]
        if len(finding.flow) > 1:
            result["codeFlows"] = [self._flow(finding.flow)]
        if finding.fix is not None and finding.fix.safety is not Safety.DISPLAY and finding.fix.edits:
            result["fixes"] = [self._fix(finding.fix)]
        if self._report.suppressed:
            # Where one result says whether it is suppressed, all have to.
            result["suppressions"] = [] if reason is None else [_suppression(reason)]
        return result

    def _flow(self, flow: Iterable[FlowStep]) -> _Json:
        locations = [
            {
                "location": {
                    "physicalLocation": self._places.physical(step.span),
                    "message": {"text": _literal(step.text) or "here"},
                }
            }
            for step in flow
        ]
        return {"threadFlows": [{"locations": locations}]}

    def _fix(self, fix: Fix) -> _Json:
        changes: dict[str, list[_Json]] = {}
        for edit in fix.edits:
            replacement: _Json = {"deletedRegion": _region(edit.span)}
            if edit.text:
                replacement["insertedContent"] = {"text": edit.text}
            changes.setdefault(edit.span.path, []).append(replacement)
        text = f"{fix.title} ({fix.safety.value}: {fix.reason})" if fix.reason else fix.title
        return {
            "description": {"text": _literal(text) or "change the code"},
            "artifactChanges": [
                {"artifactLocation": self._places.artifact(path), "replacements": replacements}
                for path, replacements in changes.items()
            ],
        }


class _Places:
    """Locations, with what the disk has to say about them asked once a file."""

    def __init__(self, lines_of: Callable[[str], Sequence[str]]) -> None:
        root = os.path.realpath(".")
        self._outline = cache(lambda path: FileOutline(lines_of(path)))
        self.artifact = cache(lambda path: _artifact(path, root))

    def physical(self, span: Span) -> _Json:
        return {"artifactLocation": self.artifact(span.path), "region": _region(span)}

    def statement(self, span: Span) -> _Json:
        """The place, cut to one statement: a pull request shows an alert only if all its lines are in the diff."""
        if span.end_line > span.line:
            end = self._outline(span.path).statement(span).end
            if (span.line, span.column) < end < (span.end_line, span.end_column):
                span = span._replace(end_line=end[0], end_column=end[1])
        return self.physical(span)


def _artifact(path: str, root: str) -> _Json:
    """A URI relative to the working directory, the symlinks in it resolved; absolute only outside of it."""
    real = os.path.realpath(path)
    if Path(real).is_relative_to(root):
        relative = os.path.relpath(real, root).replace(os.sep, "/")
        return {"uri": _quoted(relative), "uriBaseId": "%SRCROOT%"}
    if os.path.isabs(path):
        return {"uri": Path(path).as_uri()}
    return {"uri": _quoted(path), "uriBaseId": "%SRCROOT%"}


def _quoted(path: str) -> str:
    return quote(path.encode(errors="surrogateescape"))


def _region(span: Span) -> _Json:
    return {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }


def _message(finding: Finding) -> str:
    """The sentence, with a link to every secondary place."""
    links = [
        f"[{_bracketed(note.label.partition(': ')[0]) or f'place {number}'}]({number})"
        for number, note in enumerate(finding.related, 1)
    ]
    sentence = _literal(finding.message)
    return f"{sentence}: {', '.join(links)}" if links else sentence


def _literal(text: str) -> str:
    """Text in which nothing can be taken for a link."""
    return re.sub(r"\[(?=[^\]]*\]\()", r"\\[", text)


def _bracketed(text: str) -> str:
    return re.sub(r"([\\\[\]])", r"\\\1", text)


def _notification(identifier: str, level: str, text: str) -> _Json:
    return {"descriptor": {"id": identifier}, "level": level, "message": {"text": _literal(text) or identifier}}


def _suppression(reason: str) -> _Json:
    return {"kind": "inSource", **({"justification": reason} if reason else {})}


def _described(rule: type[Rule]) -> _Json:
    first = summary(rule)
    text = page(rule, "text")
    markdown = page(rule, "markdown")
    return _descriptor(rule.name, first, text, markdown, rule.category)


def _undescribed(finding: Finding) -> _Json:
    text = f"Read more: modellint explain {finding.rule}"
    return _descriptor(finding.rule, finding.rule.replace("-", " "), text, text, finding.category)


def _descriptor(name: str, first: str, text: str, markdown: str, category: Category) -> _Json:
    return {
        "id": name,
        "shortDescription": {"text": first},
        "fullDescription": {"text": first},
        "help": {"text": text, "markdown": markdown},
        "defaultConfiguration": {"level": category.level.value},
        "properties": {
            "tags": ["pytorch", category.value],
            "precision": _PRECISION[category],
            "problem.severity": _SEVERITY[category.level],
        },
    }
