"""Test support for rules, your own included: `run_examples(MyRule)` runs the examples that a rule carries."""

from __future__ import annotations

import inspect
import re
import runpy
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from modellint.finding import Finding
from modellint.judge import judge
from modellint.rule import Rule

__all__ = ["run_examples"]

_MARKER = re.compile(r"#\s*expect:\s*(?P<names>[a-z0-9-]+(?:\s*,\s*[a-z0-9-]+)*)\s*$")


def run_examples(rule: type[Rule], *, beside: Sequence[type[Rule]] = (), side: str = "source") -> None:
    """Assert that `rule.bad` yields exactly the findings that it marks, and `rule.good` none.

    A line of `bad` that must be found ends in `# expect: rule-name`. The rules in `beside` judge both examples too
    and must stay silent where nothing is marked for them. With `side="runtime"` both examples are executed under
    `modellint.watch`, which needs torch. Raises AssertionError with the lines that differ.
    """
    _run(rule, "bad", rule.bad, beside, side)
    _run(rule, "good", rule.good, beside, side)


def _run(rule: type[Rule], which: str, example: str, beside: Sequence[type[Rule]], side: str) -> None:
    source = inspect.cleandoc(example) + "\n"
    expected = _expected(source)
    if which == "bad" and not any(name == rule.name for _, name in expected):
        raise AssertionError(f"{rule.name}: `bad` has no line that ends in `# expect: {rule.name}`")
    if which == "good" and expected:
        raise AssertionError(f"{rule.name}: `good` must not expect a finding")
    rules = [rule, *(other for other in beside if other is not rule and side in other.sides)]
    if side == "runtime":
        findings = _executed(source, rule, which, rules)
    else:
        findings = _read(source, rule, which, rules)
    found = Counter((finding.span.line, finding.rule) for finding in findings)
    lines = source.splitlines()
    wrong = [f"line {line}: no {name}: {lines[line - 1].strip()}" for line, name in expected - found]
    for finding in findings:
        key = (finding.span.line, finding.rule)
        if found[key] > expected[key]:
            found[key] -= 1
            wrong.append(f"line {key[0]}: unexpected {key[1]} ({finding.message}): {lines[key[0] - 1].strip()}")
    if wrong:
        raise AssertionError(f"{rule.name}: `{which}` is not judged as it says:\n  " + "\n  ".join(wrong))


def _expected(source: str) -> Counter[tuple[int, str]]:
    expected: Counter[tuple[int, str]] = Counter()
    for number, line in enumerate(source.splitlines(), start=1):
        if marker := _MARKER.search(line):
            expected.update((number, name.strip()) for name in marker["names"].split(","))
    return expected


def _executed(source: str, rule: type[Rule], which: str, rules: Sequence[type[Rule]]) -> list[Finding]:
    from modellint.runtime.watch import watch

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "example.py")
        path.write_text(source, encoding="utf-8")
        with watch(select=[one.name for one in rules]) as seen:
            runpy.run_path(str(path), run_name="__main__")
        findings = list(seen.findings)
    if seen.failures:
        raise AssertionError(f"{rule.name}: {seen.failures[0]} in `{which}`")
    return findings


def _read(source: str, rule: type[Rule], which: str, rules: Sequence[type[Rule]]) -> list[Finding]:
    from modellint.source.reader import read_files

    with tempfile.TemporaryDirectory() as folder:
        # The name must not look like a test's: some rules are silent in test suites.
        path = Path(folder, "example.py")
        path.write_text(source, encoding="utf-8")
        reading = read_files([path], cwd=Path(folder))
    if reading.bad_input:
        raise AssertionError(f"{rule.name}: `{which}` cannot be read: {reading.bad_input[0].message}")
    if reading.failures:
        raise AssertionError(f"{rule.name}: the reader raised {reading.failures[0].error} in `{which}`")
    findings, failures = judge(reading.facts, [one() for one in rules])
    if failures:
        raise AssertionError(f"{rule.name}: rule {failures[0].rule} raised {failures[0].error} in `{which}`")
    return findings
