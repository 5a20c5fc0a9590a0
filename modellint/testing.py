"""Test support: `assert_clean` for models, runs and files; `run_examples` for rules, your own included."""

from __future__ import annotations

import inspect
import re
import runpy
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from modellint.finding import Finding, Level
from modellint.judge import judge
from modellint.report.model import LintReport, Options
from modellint.report.wording import counted, joined
from modellint.rule import Rule

__all__ = ["ModelLintError", "assert_clean", "run_examples"]

_MARKER = re.compile(r"#\s*expect:\s*(?P<names>[a-z0-9-]+(?:\s*,\s*[a-z0-9-]+)*)\s*$")
_FILES_NAMED = 2


class ModelLintError(AssertionError):
    """Findings where a test wants none. Its first line is the whole story: test runners cut the rest."""


ModelLintError.__module__ = "modellint"  # as users import it, and as test runners show it


def assert_clean(
    target: object,
    fail_on: str = "error",
    ignore: Sequence[str] = (),
    *,
    _silence: str = 'ignore=["{}"]',
) -> None:
    """Raise ModelLintError if there are findings at or above a level.

    `target` is a watch (it is closed), a module (looked at as it is, not run) or the paths of source files. `ignore`
    names rules. An unknown name or level is a `modellint.config.UsageError`; a failure inside of modellint is an
    error too: a test that could not judge has not passed.
    """
    __tracebackhide__ = True
    report, subject = _judged(target)
    check_report(report, subject, fail_on, ignore, _silence)


def check_report(report: LintReport, subject: str, fail_on: str, ignore: Sequence[str], silence: str) -> None:
    """The same for a report; `silence` is how the caller leaves a rule out, with `{}` for its name."""
    __tracebackhide__ = True
    from modellint.report.full import blocks
    from modellint.report.summary import failure_line

    level = _level(fail_on)
    ignored = _ignored(ignore)
    failing = [f for f in report.findings if not f.level < level and f.rule not in ignored]
    rules = list(dict.fromkeys(finding.rule for finding in failing))
    if failing:
        last = f"{counted(len(failing), 'finding')} at or above `{level.value}`. Silence one with {silence}"
        text = [f"{', '.join(rules)} in {subject}", *blocks(failing, report, Options())]
        raise ModelLintError("\n".join([*text, last.format(rules[0])]))
    if report.failures:
        raise ModelLintError("\n".join(failure_line(failure) for failure in report.failures))


def _judged(target: object) -> tuple[LintReport, str]:
    """The report on a target, and what it is called."""
    if isinstance(target, str | Path):
        target = [target]
    if isinstance(target, Sequence):
        from modellint.lint import lint

        report = lint(target)
        return report, named_files(report)
    from modellint.runtime.watch import Watch, is_module, look_at

    if isinstance(target, Watch):
        return target.verdict.report, joined(target.models) or "the run"
    if is_module(target):
        return look_at(target).report, type(target).__name__
    raise TypeError(f"assert_clean takes a watch, a module or paths, not {type(target).__name__}")


def named_files(report: LintReport) -> str:
    """The files that have findings: `train.py`, or how many they are."""
    files = sorted({finding.span.path for finding in report.findings})
    return joined(files) if len(files) <= _FILES_NAMED else f"{len(files)} files"


def _level(name: str) -> Level:
    from modellint.config import UsageError

    try:
        return Level(name)
    except ValueError:
        raise UsageError(f"fail_on={name!r}: expected error, warning or note") from None


def _ignored(names: Sequence[str]) -> frozenset[str]:
    from modellint import catalog
    from modellint.config import NameUse, Settings

    catalog.check_names(Settings(names=tuple(NameUse(name, "", " in ignore") for name in names)))
    return catalog.named(names)


def run_examples(rule: type[Rule], *, beside: Sequence[type[Rule]] = (), side: str = "source") -> None:
    """Assert that `rule.bad` yields exactly the findings that it marks, and `rule.good` none.

    A line of `bad` that must be found ends in `# expect: rule-name`. The rules in `beside` judge both examples too
    and must stay silent where nothing is marked for them. With `side="runtime"` both examples are executed under
    `modellint.watch`, which needs torch; with `side="probe"` they are executed and call `modellint.inspect` themselves.
    Raises AssertionError with the lines that differ.
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
    elif side == "probe":
        findings = _inspected(source, rule, which, rules)
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


def _inspected(source: str, rule: type[Rule], which: str, rules: Sequence[type[Rule]]) -> list[Finding]:
    """Execute an example that calls `modellint.inspect` itself, and take what its watches found."""
    from modellint.runtime.watch import Watch

    names = {one.name for one in rules}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "example.py")
        path.write_text(source, encoding="utf-8")
        values = runpy.run_path(str(path), run_name="__main__").values()
        watches = [value for value in values if isinstance(value, Watch)]
        findings = [finding for seen in watches for finding in seen.findings if finding.rule in names]
    if not watches:
        raise AssertionError(f"{rule.name}: `{which}` keeps no watch of `modellint.inspect`")
    for seen in watches:
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
