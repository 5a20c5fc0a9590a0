"""Paths in, report out: find the files, read them into facts, judge, keep what concerns them, apply the comments."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modellint import catalog
from modellint.cache import Cache, of_package
from modellint.config import Configuration, Settings, UsageError
from modellint.discovery import Found, find_files
from modellint.entries import EntryResult
from modellint.evidence import Evidence, join
from modellint.facts.reading import BadInput, NotFollowed
from modellint.finding import Category, Certainty, Finding, RuleFailure
from modellint.gitignore import IgnoreList
from modellint.judge import merge
from modellint.report.model import BAD_INPUT, READER, LintReport
from modellint.rule import Rule
from modellint.source.layout import Layout, project_root
from modellint.source.survey import Contents, Survey
from modellint.source.text import SourceText, lenient_lines, parse_bytes, read_bytes, shown_path
from modellint.source.torch_version import declared
from modellint.suppress import MARKER, suppress

if TYPE_CHECKING:
    from concurrent.futures import Executor

STDIN = "<stdin>"
"""How the standard input is called where the user gave it no name."""


LIMIT = 3_000_000
"""Characters of source that one process keeps parsed before it starts afresh: about 60 bytes of memory each."""
_LARGEST = 20
"""So many times the largest file is added to that: a tree of large files shares more between them."""
_WORTH_A_WORKER = 150_000
"""Bytes of source that take longer to read than a process to start."""
_MANY = 40


@dataclass(frozen=True, slots=True)
class How:
    """Where the work is done, and what is kept of it. None of it changes an answer."""

    jobs: int | None = None
    """So many worker processes at a time, where that pays and the system can fork; None: all in this process."""
    cache: Path | None = None
    """The folder for results of earlier runs."""
    executor: Executor | None = None
    """Whose workers do the work instead: any that see the same files under the same paths."""


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
    how: How | None = None,
) -> LintReport:
    """Check files and folders.

    Without `settings` the configuration files above the checked files hold. `stdin` is a name and a content that is
    checked as well. `how` says where the work is done and what is kept of it: in this process and nothing, if left
    out. A path that does not exist, or a configuration with a mistake, raises `modellint.config.UsageError`.
    """
    where = Path.cwd() if cwd is None else cwd
    configuration = settings if isinstance(settings, Configuration) else Configuration(where, settings=settings)
    named = [str(path) for path in paths]
    found = find_files(named, configuration, force_exclude=force_exclude)
    return check(Input(found, stdin), configuration, tuple(named), how=how)


def check(
    inputs: Input,
    configuration: Configuration,
    paths: tuple[str, ...],
    evidence: Evidence | None = None,
    how: How | None = None,
) -> LintReport:
    """Check files that are already found; `evidence` is what runs of them saw."""
    run = CheckedFiles(inputs, configuration)
    rules = run.rules()
    checked, entries, skipped = _entered(inputs, configuration, [rule.name for rule in rules], how or How())
    failures = [*_reader_failures(entries), *sorted({f for entry in entries for f in entry.rule_failures}, key=_place)]
    judged = merge(finding for entry in entries for finding in entry.findings)
    findings = run.selected([finding for finding in judged if run.concerns(finding)])
    if evidence is not None:
        findings = join(findings, evidence, run.lines, run.at_full_level)
    # What a failed rule, or any rule in a file that was not read to its end, would have found is not known: a comment
    # that might have silenced it is not called unused.
    not_read = any(entry.reader_failure is not None for entry in entries)
    failed = frozenset(catalog.all_rules()) if not_read else {failure.rule for failure in failures}
    failed |= {name for name, rule in catalog.all_rules().items() if "source" not in rule.sides}  # nor what a run finds
    outcome = suppress(
        findings,
        run.passed,
        run.open_marked,
        lambda path: run.enabled(path) - failed,
        [*catalog.all_rules(), catalog.UNUSED_IGNORE],
    )
    bad = [_bad_finding(entry.bad_input) for entry in entries if entry.bad_input is not None]
    bad = [finding for finding in bad if finding.span.path in run.passed]
    shown = sorted([*outcome.kept, *outcome.unused, *bad], key=lambda finding: (finding.span, finding.rule))
    return LintReport(
        findings=tuple(shown),
        suppressed=tuple(outcome.suppressed),
        failures=tuple(failures),
        checked=checked,
        skipped=skipped,
        ignored=inputs.found.ignored,
        rules=len(rules),
        paths=paths,
        not_followed=_followable(entries, run.passed),
        read_lines=run.lines,
    )


def _entered(
    inputs: Input, configuration: Configuration, rules: Sequence[str], how: How
) -> tuple[int, list[EntryResult], int]:
    """How many files were checked; what entering them and those that import them gave; how many never use torch."""
    cwd = configuration.cwd
    given = {cwd / inputs.stdin[0]: inputs.stdin[1]} if inputs.stdin is not None else {}
    survey = Survey(Contents(given), Layout())
    wanted = [*inputs.found.files, *given]
    project_root.cache_clear()  # of an earlier run in this process
    cache = None
    if how.cache is not None and not given:
        cache = Cache(how.cache, [str(cwd), *rules, *_foreign(rules)])
        for root in sorted({project_root(path.parent) for path in wanted}):
            cache.project(root, survey)  # before anything is asked about it
    own, others, skipped = survey.entries(wanted)
    known: dict[Path, EntryResult] = {}
    settings: dict[Path, str] = {}
    versions: dict[str, str | None] = {}
    for root in {project_root(path.parent) for path in [*own, *others]}:
        folders = {folder: _torch_version(folder, configuration) for folder in survey.layout.project_folders(root)}
        settings[root] = json.dumps([[str(folder), said, str(declared(folder))] for folder, said in folders.items()])
        versions |= {str(folder): said for folder, said in folders.items()}
    versions |= {str(path.parent): _torch_version(path.parent, configuration) for path in own}
    if cache is not None:
        for path in [*own, *others]:
            root = project_root(path.parent)
            result = cache.project(root, survey).get(path, settings[root])
            if result is not None:
                known[path] = result
    missing = sorted(path for path in [*own, *others] if path not in known)
    if missing:
        for result in _read(missing, survey, configuration, rules, versions, how):
            path = Path(result.path)
            known[path] = result
            if cache is not None:
                root = project_root(path.parent)
                cache.project(root, survey).put(result, settings[root])
    if cache is not None:
        cache.save()
    passed = set(own)
    entries = [known[path] for path in sorted(known)]
    entries = [e if e.bad_input is None or Path(e.path) in passed else replace(e, bad_input=None) for e in entries]
    return len(own), entries, skipped


def _read(
    paths: Sequence[Path],
    survey: Survey,
    configuration: Configuration,
    rules: Sequence[str],
    versions: Mapping[str, str | None],
    how: How,
) -> Iterator[EntryResult]:
    """Enter files, here or elsewhere."""
    from modellint import jobs
    from modellint.source.project import Project
    from modellint.source.reader import Reader

    sizes = {path: _size(path) for path in paths}
    limit = LIMIT + _LARGEST * max(sizes.values())
    work = jobs.Work(configuration.cwd, tuple(rules), jobs.by_folder(versions), limit)
    if how.executor is not None and not survey.contents.given:
        yield from jobs.in_executor(paths, sizes, work, versions, how.executor)
        return
    reader = Reader(Project(configuration.cwd, None, work.torch_version, survey))
    total = sum(sizes.values())
    count = min(how.jobs or 1, len(paths), 1 + total // _WORTH_A_WORKER)
    if how.jobs is None or survey.contents.given or (count == 1 and total < limit) or not jobs.can_fork():
        yield from jobs.in_this_process(paths, work, reader)
        return
    if len(paths) > _MANY:
        for root in sorted({project_root(path.parent) for path in paths}):
            survey.groups(root)  # once for all workers
            survey.index(root)
    yield from jobs.in_processes(paths, sizes, work, reader, count)


def _torch_version(folder: Path, configuration: Configuration) -> str | None:
    """What the settings of a folder say about torch; nothing where they are wrong and hold for no checked file."""
    try:
        return configuration.for_folder(folder).torch_version
    except UsageError:
        return None


def _foreign(rules: Sequence[str]) -> list[str]:
    """What changes whenever the rules of other packages do."""
    modules = {catalog.all_rules()[name].__module__.partition(".")[0] for name in rules} - {"modellint"}
    files = [Path(getattr(sys.modules[name], "__file__", None) or "") for name in sorted(modules)]
    return [
        of_package(file.parent) if file.name == "__init__.py" else f"{file}:{_size(file)}:{file.stat().st_mtime_ns}"
        for file in files
        if file.is_file()
    ]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


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
            return read_bytes(self._file(path))
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


def _reader_failures(entries: Sequence[EntryResult]) -> list[RuleFailure]:
    """One a file: a file that stops the reader stops it once for every entry point."""
    failures = [entry.reader_failure for entry in entries if entry.reader_failure is not None]
    first = {failure.path: failure for failure in reversed(failures)}
    return [RuleFailure(READER, path, failure.line, failure.error) for path, failure in sorted(first.items())]


def _place(failure: RuleFailure) -> tuple[str, int, str]:
    return failure.path, failure.line, failure.rule


def _followable(entries: Sequence[EntryResult], passed: Collection[str]) -> tuple[NotFollowed, ...]:
    items = {item for entry in entries for item in entry.not_followed if item.span.path in passed}
    return tuple(sorted(items, key=lambda item: (item.span, item.text, item.reason)))


class _CallableModule(types.ModuleType):
    """`modellint.lint` is the public function and this module at once, whichever was imported first."""

    def __call__(self, *args: object, **kwargs: object) -> LintReport:
        return lint(*args, **kwargs)  # type: ignore[arg-type]


sys.modules[__name__].__class__ = _CallableModule
