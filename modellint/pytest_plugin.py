"""The pytest plugin: a fixture, a marker and an option. Imports nothing but pytest until one of them is used.

def test_twin_is_clean(modellint):
    model = Twin()
    with modellint.watch(model) as seen:
        train_two_epochs(model)
    modellint.assert_clean(seen)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from modellint.report.model import LintReport

_LEVELS = ("error", "warning", "note")
_MARKER = "modellint(select=None, ignore=(), fail_on=None): which rules judge this test, and from which level on"
_SILENCE = '@pytest.mark.modellint(ignore=["{}"])'


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("modellint")
    group.addoption(
        "--modellint",
        action="store_true",
        dest="modellint_files",
        help="check the collected Python files for PyTorch bugs, one test a file",
    )
    parser.addini("modellint_fail_on", "level from which on modellint fails a test: error, warning or note", default="")
    parser.addini("modellint_select", "rules and categories that modellint judges", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    _known_level(config.getini("modellint_fail_on") or "error", "modellint_fail_on")


_mistake = pytest.StashKey[str]()


def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """A name that is no rule is a mistake in the tests, said before the first one runs."""
    marked = [item for item in items if item.get_closest_marker("modellint") is not None]
    if not marked and not config.getini("modellint_select"):
        return
    try:
        _check_names(config, marked)
    except pytest.UsageError as error:
        if not hasattr(config, "workerinput"):
            raise
        config.stash[_mistake] = str(error)  # a worker of xdist has no way to say it now


def pytest_runtest_setup(item: pytest.Item) -> None:
    mistake = item.config.stash.get(_mistake, None)
    if mistake is not None:
        pytest.fail(mistake, pytrace=False)


def _check_names(config: pytest.Config, marked: Sequence[pytest.Item]) -> None:
    from modellint.catalog import check_names
    from modellint.config import NameUse, Settings, UsageError

    names = dict.fromkeys((name, "modellint_select") for name in config.getini("modellint_select"))
    for item in marked:
        wanted = _Wanted(item)
        where = f"the marker of {item.nodeid}"
        names.update(dict.fromkeys((name, where) for name in (*(wanted.select or ()), *wanted.ignore)))
    try:
        check_names(Settings(names=tuple(NameUse(name, "", f" in {where}") for name, where in names)))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


class _Wanted:
    """What the markers and the ini file say about one test."""

    def __init__(self, item: pytest.Item) -> None:
        self.select: tuple[str, ...] | None = tuple(item.config.getini("modellint_select")) or None
        self.fail_on: str = item.config.getini("modellint_fail_on") or ""
        ignore: list[str] = []
        # The outermost first, so that the marker of a test beats the one of its module.
        for marker in reversed(list(item.iter_markers("modellint"))):
            unknown = set(marker.kwargs) - {"select", "ignore", "fail_on"}
            if marker.args or unknown:
                raise pytest.UsageError(f"the marker of {item.nodeid}: expected {_MARKER.partition(':')[0]}")
            if marker.kwargs.get("select") is not None:
                self.select = _names(marker.kwargs["select"])
            ignore += _names(marker.kwargs.get("ignore", ()))
            if marker.kwargs.get("fail_on"):
                self.fail_on = _known_level(marker.kwargs["fail_on"], f"the marker of {item.nodeid}")
        self.ignore = tuple(ignore)


class Checker:
    """What the fixture `modellint` is: `watch`, `inspect`, `lint` and `assert_clean` with the settings of the test."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._wanted = _Wanted(item)
        self._seen: list[Any] = []

    def watch(
        self, model: Any = None, *, select: Sequence[str] | None = None, ignore: Sequence[str] = (), **options: Any
    ) -> Any:
        """As `modellint.watch`; closed at the end of the test at the latest."""
        __tracebackhide__ = True
        from modellint import watch

        seen = watch(model, select=self._select(select), ignore=self._ignore(ignore), **options)
        self._seen.append(seen)
        return seen

    def inspect(
        self,
        model: Any,
        inputs: Any,
        *args: Any,
        select: Sequence[str] | None = None,
        ignore: Sequence[str] = (),
        **options: Any,
    ) -> Any:
        """As `modellint.inspect`."""
        __tracebackhide__ = True
        from modellint import inspect

        seen = inspect(model, inputs, *args, select=self._select(select), ignore=self._ignore(ignore), **options)
        self._seen.append(seen)
        return seen

    def lint(self, *paths: str | Path) -> LintReport:
        """As `modellint.lint`, with the settings of the test on top of the configuration."""
        __tracebackhide__ = True
        report = _linted(paths, self._wanted)
        _record(self._item, report)
        return report

    def assert_clean(self, target: Any, fail_on: str | None = None, ignore: Sequence[str] = ()) -> None:
        """As `modellint.testing.assert_clean`; also takes what `lint` returned."""
        __tracebackhide__ = True
        from modellint.report.model import LintReport
        from modellint.testing import assert_clean, check_report, named_files

        level = fail_on or self._wanted.fail_on or "error"
        if isinstance(target, str | Path):
            target = [target]
        if isinstance(target, Sequence):
            target = self.lint(*target)
        if isinstance(target, LintReport):
            check_report(target, named_files(target), level, self._ignore(ignore), _SILENCE)
        else:
            assert_clean(target, level, self._ignore(ignore), _silence=_SILENCE)

    def close(self) -> None:
        """Close what is open and remember what was found for the summary."""
        for seen in self._seen:
            _record(self._item, seen.verdict.report)
        self._seen.clear()

    def _select(self, given: Sequence[str] | None) -> Sequence[str] | None:
        return given if given is not None else self._wanted.select

    def _ignore(self, given: Sequence[str]) -> tuple[str, ...]:
        return (*self._wanted.ignore, *_names(given))

    def __repr__(self) -> str:
        return "<modellint>"


@pytest.fixture
def modellint(request: pytest.FixtureRequest) -> Iterator[Checker]:
    """Find PyTorch bugs: `watch`, `inspect`, `lint`, `assert_clean`."""
    checker = Checker(request.node)
    yield checker
    checker.close()


# --modellint


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if not parent.config.getoption("modellint_files") or file_path.suffix != ".py":
        return None
    from modellint.config import Configuration, UsageError
    from modellint.discovery import find_files

    try:
        found = find_files([str(file_path)], Configuration(Path.cwd()), force_exclude=True)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    return CheckedFile.from_parent(parent, path=file_path) if found.files else None


class CheckedFile(pytest.File):
    """One file that is checked."""

    def collect(self) -> Iterable[pytest.Item]:
        yield FileCheck.from_parent(self, name="modellint")


class FileCheck(pytest.Item):
    """The check of one file."""

    def runtest(self) -> None:
        from modellint.testing import check_report

        wanted = _Wanted(self)
        report = _linted([self.path], wanted)
        _record(self, report)
        check_report(report, _shown(self), wanted.fail_on or "error", wanted.ignore, "# modellint: ignore[{}] reason")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any, **kwargs: Any) -> Any:
        from modellint.testing import ModelLintError

        if isinstance(excinfo.value, ModelLintError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, *args, **kwargs)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"modellint: {_shown(self)}"


def _shown(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _linted(paths: Sequence[str | Path], wanted: _Wanted) -> LintReport:
    from modellint.config import Configuration, Flags
    from modellint.lint import lint

    return lint(paths, Configuration(Path.cwd(), Flags(select=wanted.select, ignore=wanted.ignore)))


# The summary


def _record(item: pytest.Item, report: LintReport) -> None:
    """Hand what was found to the process that prints: reports travel there with their properties."""
    for finding in report.findings:
        text = f"{finding.level.value} {finding.rule} {finding.span.path}:{finding.span.line}"
        if ("modellint", text) not in item.user_properties:
            item.user_properties.append(("modellint", text))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One table for all tests and all processes."""
    tests: dict[str, list[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "teardown":
                for name, text in report.user_properties:
                    if name == "modellint":
                        tests.setdefault(text, []).append(report.nodeid)
    if not tests:
        return
    terminalreporter.section("modellint")
    rows = [(*text.split(" ", 2), where) for text, where in tests.items()]
    rows.sort(key=lambda row: (_LEVELS.index(row[0]), row[1], row[2]))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for level, rule, place, where in rows:
        more = f" and {len(where) - 1} more" if len(where) > 1 else ""
        columns = (f"{text:{width}}" for text, width in zip((level, rule, place), widths, strict=True))
        terminalreporter.write_line(f"{'  '.join(columns)}  {where[0]}{more}".rstrip())


def _names(value: str | Iterable[str]) -> tuple[str, ...]:
    """A name alone, or several."""
    return (value,) if isinstance(value, str) else tuple(value)


def _known_level(name: str, where: str) -> str:
    if name not in _LEVELS:
        raise pytest.UsageError(f"{where}: unknown level `{name}`; expected {', '.join(_LEVELS)}")
    return name
