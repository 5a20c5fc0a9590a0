"""Paths in, report out: find the files, read them into facts, judge, keep what concerns them, apply the comments."""

from __future__ import annotations

import sys
import types
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modellint import catalog
from modellint.config import Configuration, Settings
from modellint.discovery import Found, find_files
from modellint.evidence import Evidence, join
from modellint.facts.reading import BadInput, NotFollowed, Reading
from modellint.finding import Category, Certainty, Finding, RuleFailure
from modellint.gitignore import IgnoreList
from modellint.judge import judge
from modellint.report.model import BAD_INPUT, READER, LintReport
from modellint.rule import Rule
from modellint.source.text import SourceText, lenient_lines, parse_bytes, shown_path
from modellint.suppress import MARKER, suppress

STDIN = "<stdin>"
"""How the standard input is called where the user gave it no name."""


@dataclass(frozen=True, slots=True)
class Input:
    """What one run reads."""

    found: Found
    stdin: tuple[str, bytes] | None = None
    """The shown name and the content of the standard input."""


def lint(
    paths: Sequence[str | Path] = (".",),
    settings: Settings | Configuration | None = None,
    *,
    cwd: Path | None = None,
    stdin: tuple[str, bytes] | None = None,
    force_exclude: bool = False,
) -> LintReport:
    """Check files and folders.

    Without `settings` the configuration files above the checked files hold. `stdin` is a name and a content that is
    checked as well. A path that does not exist, or a configuration with a mistake, raises
    `modellint.config.UsageError`.
    """
    where = Path.cwd() if cwd is None else cwd
    configuration = settings if isinstance(settings, Configuration) else Configuration(where, settings=settings)
    named = [str(path) for path in paths]
    found = find_files(named, configuration, force_exclude=force_exclude)
    return check(Input(found, stdin), configuration, tuple(named))


def check(
    inputs: Input, configuration: Configuration, paths: tuple[str, ...], evidence: Evidence | None = None
) -> LintReport:
    """Check files that are already found; `evidence` is what runs of them saw."""
    from modellint.source.reader import read_files  # late: a usage error needs no reader

    run = CheckedFiles(inputs, configuration)
    rules = run.rules()
    reading = read_files(
        inputs.found.files,
        cwd=configuration.cwd,
        stdin=inputs.stdin,
        torch_version=lambda file: configuration.for_file(file).torch_version,
    )
    judged, rule_failures = judge(reading.facts, rules)
    failures = [*_reader_failures(reading), *rule_failures]
    findings = run.selected([finding for finding in judged if run.concerns(finding)])
    if evidence is not None:
        findings = join(findings, evidence, run.lines, run.at_full_level)
    # What a failed rule, or any rule in a file that was not read to its end, would have found is not known: a comment
    # that might have silenced it is not called unused.
    failed = frozenset(catalog.all_rules()) if reading.failures else {failure.rule for failure in rule_failures}
    failed |= {name for name, rule in catalog.all_rules().items() if "source" not in rule.sides}  # nor what a run finds
    outcome = suppress(
        findings,
        run.passed,
        run.open_marked,
        lambda path: run.enabled(path) - failed,
        [*catalog.all_rules(), catalog.UNUSED_IGNORE],
    )
    bad = [_bad_finding(item) for item in reading.bad_input if item.span.path in run.passed]
    shown = sorted([*outcome.kept, *outcome.unused, *bad], key=lambda finding: (finding.span, finding.rule))
    return LintReport(
        findings=tuple(shown),
        suppressed=tuple(outcome.suppressed),
        failures=tuple(failures),
        checked=reading.checked,
        skipped=reading.skipped,
        ignored=inputs.found.ignored,
        rules=len(rules),
        paths=paths,
        not_followed=_followable(reading, run.passed),
        read_lines=run.lines,
    )


def fails(report: LintReport, configuration: Configuration) -> bool:
    """Whether a finding is at or above the `fail-on` level of its file."""
    for finding in report.findings:
        if not finding.level < configuration.for_file(configuration.cwd / finding.span.path).fail_on:
            return True
    return False


class CheckedFiles:
    """The files of one run and what their settings say."""

    def __init__(self, inputs: Input, configuration: Configuration) -> None:
        self._cwd = configuration.cwd
        self._configuration = configuration
        self._stdin = inputs.stdin
        self._files = {shown_path(file, self._cwd): file for file in inputs.found.files}
        self.passed = frozenset(self._files) | ({inputs.stdin[0]} if inputs.stdin else frozenset())
        self._lines: dict[str, list[str]] = {}
        self._enabled: dict[str, frozenset[str]] = {}
        self._names: dict[int, frozenset[str]] = {}
        self._specs: dict[object, IgnoreList] = {}

    def rules(self) -> list[Rule]:
        """Every rule that some file of the run asks for."""
        enabled: set[str] = set()
        folders = {self._file(path).parent for path in self.passed} or {self._cwd}
        for folder in sorted(folders):
            settings = self._configuration.for_folder(folder)
            enabled |= self._enabled_by(settings)
        return [rule() for name, rule in catalog.all_rules().items() if name in enabled and "source" in rule.sides]

    def settings_of(self, path: str) -> Settings:
        return self._configuration.for_file(self._file(path))

    def enabled(self, path: str) -> frozenset[str]:
        """The rules that hold in a file: selected there, and not taken out by a per-file ignore."""
        known = self._enabled.get(path)
        if known is None:
            settings = self.settings_of(path)
            file = self._file(path)
            matching = [
                ignore
                for ignore in settings.per_file_ignores
                if self._matches(ignore.patterns.root, ignore.patterns.lines, file)
            ]
            known = self._enabled[path] = self._enabled_by(settings) - catalog.ignored_names(matching)
        return known

    def selected(self, findings: Sequence[Finding]) -> list[Finding]:
        """The findings that the settings of their files select, at the levels that these give."""
        return [catalog.with_level(f, self.settings_of(f.span.path)) for f in findings if self.allows(f)]

    def at_full_level(self, finding: Finding) -> Finding:
        """The finding at the level of its rule, as if it had never been likely."""
        plain = replace(finding, level=finding.category.level)
        return catalog.with_level(plain, self.settings_of(finding.span.path))

    def allows(self, finding: Finding) -> bool:
        """Whether the settings of the finding's file select its rule."""
        return finding.rule in self.enabled(finding.span.path)

    def concerns(self, finding: Finding) -> bool:
        """Whether a finding's primary place or a cause lies in a file that was passed."""
        if finding.span.path in self.passed:
            return True
        return any(note.cause and note.span.path in self.passed for note in finding.related)

    def open_marked(self, path: str) -> SourceText | None:
        """A file that has ignore comments, parsed."""
        data = self._bytes(path)
        if data is None or MARKER not in data:
            return None
        source = parse_bytes(data, self._file(path), path)
        return None if isinstance(source, BadInput) else source

    def lines(self, path: str) -> Sequence[str]:
        """The lines of a file as they are shown."""
        known = self._lines.get(path)
        if known is None:
            data = self._bytes(path)
            known = self._lines[path] = lenient_lines(data) if data is not None else []
        return known

    def _file(self, path: str) -> Path:
        return self._files.get(path) or self._cwd / path

    def _bytes(self, path: str) -> bytes | None:
        if self._stdin is not None and path == self._stdin[0]:
            return self._stdin[1]
        try:
            return self._file(path).read_bytes()
        except OSError:
            return None

    def _enabled_by(self, settings: Settings) -> frozenset[str]:
        # Settings are kept by the configuration for the whole run, so their identity names them.
        known = self._names.get(id(settings))
        if known is None:
            catalog.check_names(settings)
            known = self._names[id(settings)] = catalog.enabled_names(settings)
        return known

    def _matches(self, root: Path, lines: tuple[str, ...], file: Path) -> bool:
        try:
            relative = file.relative_to(root).as_posix()
        except ValueError:
            return False
        spec = self._specs.get(lines)
        if spec is None:
            spec = self._specs[lines] = IgnoreList(lines)
        return spec.covers(relative)


def _bad_finding(item: BadInput) -> Finding:
    assert item.rule in BAD_INPUT
    return Finding(
        rule=item.rule,
        category=Category.CORRECTNESS,
        level=Category.CORRECTNESS.level,
        certainty=Certainty.CERTAIN,
        message=item.message,
        span=item.span,
    )


def _reader_failures(reading: Reading) -> list[RuleFailure]:
    """One a file: a file that stops the reader stops it once for every entry point."""
    first = {failure.path: failure for failure in reversed(reading.failures)}
    return [RuleFailure(READER, path, failure.line, failure.error) for path, failure in sorted(first.items())]


def _followable(reading: Reading, passed: Collection[str]) -> tuple[NotFollowed, ...]:
    items = {item for item in reading.not_followed if item.span.path in passed}
    return tuple(sorted(items, key=lambda item: (item.span, item.text, item.reason)))


class _CallableModule(types.ModuleType):
    """`modellint.lint` is the public function and this module at once, whichever was imported first."""

    def __call__(self, *args: object, **kwargs: object) -> LintReport:
        return lint(*args, **kwargs)  # type: ignore[arg-type]


sys.modules[__name__].__class__ = _CallableModule
