"""`modellint run`: the user's script, unchanged, under a watch.

The script finds what `python SCRIPT` gives it: its own `sys.argv`, `sys.path[0]` and `__main__`, its exit status and
its traceback. Torch is not imported before the script does: what a script sets first (`OMP_NUM_THREADS`) still counts.
The watch begins at the end of that import, so before anything can be constructed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

import modellint
from modellint.config import Configuration, UsageError
from modellint.facts.record import record
from modellint.finding import RuleFailure
from modellint.report.model import OBSERVER, LintReport, RunSummary

if TYPE_CHECKING:
    from modellint.runtime.watch import Watch

INTERRUPTED = 130
_OWN_FOLDER = os.path.dirname(os.path.realpath(modellint.__file__)) + os.sep


@record
class Outcome:
    """How a watched script ended."""

    status: int
    """Its exit status: 0 when it came to its end."""
    report: LintReport | None
    """None in a process that the script forked: the report is its parent's."""


def run_script(
    target: str, args: Sequence[str], *, module: bool, steps: int | None, configuration: Configuration
) -> Outcome:
    """Run a script, or a module by its name, to its end and judge what was seen.

    A target that does not exist, and an environment without torch, is a UsageError. Everything that the script raises
    is shown as Python shows it and becomes the status.
    """
    if "torch" not in sys.modules and importlib.util.find_spec("torch") is None:
        raise UsageError(
            "modellint run needs PyTorch in this environment (pip install torch); the static checks do not"
        )
    file = None if module else _script_file(target)
    process, folder = os.getpid(), os.getcwd()
    beginning = _Beginning(steps, configuration)
    try:
        status = _run(lambda: _as_module(target, args) if file is None else _as_script(target, file, args))
        if os.getpid() != process:
            return Outcome(status, None)
    finally:
        beginning.cancel()
    here = _working_directory()
    with contextlib.suppress(OSError):
        os.chdir(folder)  # places are shown relative to where the user stands
    try:
        report = beginning.report(target)
    finally:
        if here is not None:
            os.chdir(here)
    return Outcome(status, report)


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # the script removed it
        return None


class _NoSuchModule(UsageError):
    """Tells a mistake in the command line from a usage error that the script itself raises."""


def _run(program: Callable[[], None]) -> int:
    """The exit status that Python would give."""
    try:
        program()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except _NoSuchModule:
        raise
    except BaseException as error:
        _show(error)
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _show(error: BaseException) -> None:
    """The traceback without our frames, by the hook that the script may have set."""
    _without_own_frames(error, set())
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except BaseException:
        sys.__excepthook__(type(error), error, error.__traceback__)


def _without_own_frames(error: BaseException | None, seen: set[int]) -> None:
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    kept: list[TracebackType] = []
    at = error.__traceback__
    while at is not None:
        if not os.path.realpath(at.tb_frame.f_code.co_filename).startswith(_OWN_FOLDER):
            kept.append(at)
        at = at.tb_next
    for frame, following in zip(kept, [*kept[1:], None], strict=False):
        frame.tb_next = following
    error.__traceback__ = kept[0] if kept else None
    _without_own_frames(error.__cause__, seen)
    _without_own_frames(error.__context__, seen)
    for inner in getattr(error, "exceptions", ()):
        if isinstance(inner, BaseException):
            _without_own_frames(inner, seen)


# The program


def _script_file(target: str) -> str:
    """The absolute path of a script; of `__main__.py` for a folder."""
    file = os.path.abspath(target)
    if os.path.isdir(file):
        file = os.path.join(file, "__main__.py")
    if not os.path.isfile(file):
        missing = target if not os.path.isdir(target) else os.path.join(target, "__main__.py")
        raise UsageError(f"no such file or directory: {missing}")
    return file


def _as_script(target: str, file: str, args: Sequence[str]) -> None:
    sys.argv[:] = [target, *args]
    _set_first_path(file if os.path.isdir(target) else os.path.realpath(file))
    main = _fresh_main()
    # No spec: a DataLoader worker that is started by spawn then imports the script again from its file.
    vars(main).update(
        __file__=file, __spec__=None, __package__=None, __cached__=None, __loader__=SourceFileLoader("__main__", file)
    )
    with io.open_code(file) as opened:
        source = opened.read()
    exec(compile(source, file, "exec", dont_inherit=True), vars(main))


def _as_module(name: str, args: Sequence[str]) -> None:
    sys.argv[:] = ["-m", *args]  # as Python has it while it looks for the module
    _set_first_path(None)
    spec, code = _found(name)
    sys.argv[0] = spec.origin or name
    main = _fresh_main()
    vars(main).update(
        __file__=spec.origin, __spec__=spec, __package__=spec.parent, __cached__=spec.cached, __loader__=spec.loader
    )
    exec(code, vars(main))


def _found(name: str) -> tuple[ModuleSpec, CodeType]:
    """The spec of a module, of `__main__` in it for a package, and its code; the packages above it are imported."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        spec = None
    except ValueError:
        spec = None
    if spec is None:
        raise _NoSuchModule(f"no module named {name}")
    if spec.submodule_search_locations is not None:
        if name.endswith(".__main__"):
            raise _NoSuchModule(f"{name} cannot be run: it is a package")
        return _found(f"{name}.__main__")
    code: CodeType | None = getattr(spec.loader, "get_code", lambda name: None)(spec.name)
    if code is None:
        raise _NoSuchModule(f"no code in module {name}")
    return spec, code


def _fresh_main() -> ModuleType:
    main = ModuleType("__main__")
    vars(main)["__builtins__"] = sys.modules["builtins"]
    sys.modules["__main__"] = main
    return main


def _set_first_path(file: str | None) -> None:
    """Python puts the folder of the script, or for `-m` the working directory, in front; not in safe mode."""
    if not sys.flags.safe_path and sys.path:
        sys.path[0] = os.getcwd() if file is None else os.path.dirname(file)


# The watch


class _Beginning(MetaPathFinder):
    """Opens the watch as soon as torch has been imported."""

    def __init__(self, steps: int | None, configuration: Configuration) -> None:
        self._steps = steps
        self._configuration = configuration
        self._watch: Watch | None = None
        self._failure: Exception | None = None
        if "torch" in sys.modules:
            self.open()
        else:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "torch":
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find is not None and finder is not self else None
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Followed(spec.loader, self.open)
                return spec
        return None

    def open(self) -> None:
        """Begin to watch. The script goes on, whatever happens here."""
        self.cancel()
        if self._watch is not None:
            return
        try:
            from modellint.runtime.watch import Watch

            self._watch = Watch(None, None, self._steps, None, (), self._configuration)
        except Exception as error:
            self._failure = error

    def cancel(self) -> None:
        """Wait for torch no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def report(self, script: str) -> LintReport:
        """What was seen; closes the watch."""
        if self._watch is not None:
            report = self._watch.verdict.report
            run = report.run or RunSummary(script, (), 0, 0, 0, 0)
            return replace(report, run=replace(run, script=script))
        error = self._failure
        failures = () if error is None else (RuleFailure(OBSERVER, "", 0, type(error).__name__),)
        return LintReport((), (), failures, 0, 0, 0, 0, (), (), lambda path: (), RunSummary(script, (), 0, 0, 0, 0))


class _Followed(Loader):
    """A loader that says when its module has been executed, and then leaves no trace."""

    def __init__(self, loader: Any, then: Callable[[], None]) -> None:
        self._loader = loader
        self._then = then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._then()


# The end


def exit_status(outcome: Outcome, *, found: bool, elastic: bool) -> int:
    """The script's failure, else a failure of ours (3), else whether something was found (1).

    An elastic launcher takes a status other than 0 for a crash and may start the worker again: there ours is 0 unless
    the user asked for it.
    """
    report = outcome.report
    if outcome.status or report is None or elastic:
        return outcome.status
    return 3 if report.failures else int(found)


def rank() -> int | None:
    """The number of this process among those that train together, None when it is alone."""
    text = os.environ.get("RANK", "")
    return int(text) if text.isdigit() and os.environ.get("WORLD_SIZE", "1") != "1" else None
