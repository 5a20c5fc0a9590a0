"""The command line: options in, one call, text and exit code out. No logic of its own.

Nothing but click is imported at the start; every command imports what it needs.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

if TYPE_CHECKING:
    from modellint.config import Configuration, Flags
    from modellint.lint import How, Input
    from modellint.report.model import LintReport

OK, FOUND, USAGE, INTERNAL = 0, 1, 2, 3
"""Exit codes: clean, findings at or above `--fail-on`, a mistake of the user, a failure of modellint."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Commands(click.Group):
    """The first word is a command if it equals one, else everything belongs to `check`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("--help", "-h", "--version")):
            args = ["check", *args]
        return super().parse_args(ctx, args)


def run(args: Sequence[str]) -> int:
    """Run one command line; the exit code is the return value. Never raises and never shows a traceback."""
    if args[:1] != ["run"]:  # the streams of a script are its own until it has ended
        _make_streams_lenient()
        if sys.stdout is None:  # closed by the shell
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    from modellint.config import UsageError

    try:
        code = commands.main(list(args), prog_name="modellint", standalone_mode=False)
        code = code if isinstance(code, int) else OK
    except UsageError as error:
        code = _fail(str(error))
    except click.UsageError as error:
        message = error.format_message().rstrip(".")
        code = _fail(f"{message[:1].lower()}{message[1:]} (see `modellint --help`)")
    except click.ClickException as error:
        code = _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        code = 130
    except BrokenPipeError:
        code = OK
    except Exception as error:  # whatever it is: one line, not a traceback
        code = _internal_error(error)
    return _flushed(code)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    options_metavar="",
    subcommand_metavar="[COMMAND] [PATHS | OPTIONS]...",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, help="Show versions and exit.",
              callback=lambda ctx, _, value: _show_version(ctx, value))  # fmt: skip
def commands() -> None:
    """Find the PyTorch bugs that do not crash.

    `modellint [PATHS]` is `modellint check [PATHS]`: see `modellint check --help` for its options. The first word is
    a command if it equals one, else a path: `modellint ./explain` checks a folder of that name.
    """


def _check_options(function: _Function) -> _Function:
    """The options of `check`, in the order in which --help shows them."""
    for option in reversed(
        (
            click.argument("paths", nargs=-1, type=click.Path()),
            click.option("--select", multiple=True, metavar="NAMES", help="Only these rules, categories or ALL."),
            click.option("--extend-select", multiple=True, metavar="NAMES", help="These rules as well."),
            click.option("--ignore", multiple=True, metavar="NAMES", help="Not these rules or categories."),
            click.option("--per-file-ignores", multiple=True, metavar="PATTERN:NAMES",
                         help="Not these rules in the files that match."),
            click.option("--fail-on", metavar="LEVEL", help="Exit 1 from this level on: error, warning, note."),
            click.option("--exit-zero", is_flag=True, help="Exit 0 even with findings."),
            click.option("--output-format", metavar="FORMAT", help="full (default), concise, json, github, sarif ..."),
            click.option("-o", "--output-file", type=click.Path(dir_okay=False), help="Write there, not to stdout."),
            click.option("--evidence", multiple=True, metavar="RUN.json",
                         help="Join the JSON report of a `modellint run`."),
            click.option("--exclude", multiple=True, metavar="PATTERNS", help="Leave these out, not the defaults."),
            click.option("--extend-exclude", multiple=True, metavar="PATTERNS", help="Leave these out as well."),
            click.option("--force-exclude", is_flag=True, help="Apply excludes and .gitignore to named paths too."),
            click.option("--config", multiple=True, metavar="FILE|KEY=VALUE", help="Configuration file, or one value."),
            click.option("--isolated", is_flag=True, help="Read no configuration file."),
            click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N",
                         help="So many worker processes; default: one a processor."),
            click.option("--executor", metavar="dask:ADDRESS", help="Let the workers of a cluster do the reading."),
            click.option("--cache-dir", type=click.Path(file_okay=False), help="Keep results of earlier runs there."),
            click.option("--no-cache", is_flag=True, help="Read every file anew and keep nothing."),
            click.option("--show-files", is_flag=True, help="List the files and exit; with -v also those left out."),
            click.option("--statistics", is_flag=True, help="Count findings by rule."),
            click.option("--color", metavar="WHEN", help="auto (default), always, never."),
            click.option("-q", "--quiet", is_flag=True, help="Findings only."),
            click.option("-s", "--silent", is_flag=True, help="Exit status only."),
            click.option("-v", "--verbose", is_flag=True, help="Also what was skipped, and what was not followed."),
            click.option("--stdin-filename", metavar="NAME", help="How the standard input (`-`) is called."),
        )
    ):  # fmt: skip
        function = option(function)
    return function


@commands.command()
@_check_options
def check(**options: Any) -> int:
    """Check files and folders (default: the current folder); `-` reads the standard input.

    Exit codes: 0 nothing at or above --fail-on, 1 findings, 2 a mistake in the command line or the configuration,
    3 a rule or the reading of a file failed (everything else still reports).
    """
    from modellint.cache import refusal
    from modellint.catalog import check_names
    from modellint.config import Configuration
    from modellint.evidence import read_evidence
    from modellint.lint import check as check_files
    from modellint.lint import fails

    configuration = Configuration(Path.cwd(), _flags(options))
    paths = options["paths"] or (".",)
    inputs = _inputs(paths, configuration, options)
    first = configuration.for_folder(_folder_of(paths[0], configuration.cwd))
    check_names(first)
    explicit = bool(options["output_format"] or os.environ.get("MODELLINT_OUTPUT_FORMAT"))
    format_name = _known_format(first.output_format)
    evidence = read_evidence(options["evidence"], configuration.cwd) if options["evidence"] else None
    if options["show_files"]:
        return _show_files(inputs, configuration, verbose=options["verbose"])
    with _how(options, first.cache_dir) as how:
        report = check_files(inputs, configuration, tuple(paths), evidence, how)
    if options["verbose"]:
        for path, reason in inputs.found.left_out:
            _say(f"skipped: {path}: {reason}")
        refused = refusal(how.cache) if how.cache is not None else None
        if refused is not None:
            _say(f"no cache: {how.cache}: {refused}")
    _write_report(report, "statistics" if options["statistics"] else format_name, options, explicit=explicit)
    if report.failures:
        return INTERNAL
    return FOUND if fails(report, configuration) and not options["exit_zero"] else OK


@contextlib.contextmanager
def _how(options: dict[str, Any], cache: Path | None) -> Iterator[How]:
    """Where the work is done, and what is kept of it."""
    from modellint.lint import How

    jobs = options["jobs"] or _processors()
    cache = None if options["no_cache"] else cache
    if options["executor"] is None:
        yield How(jobs, cache)
        return
    from modellint.integrations.dask import executor

    with executor(options["executor"]) as found:
        yield How(jobs, cache, found)


def _processors() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


@commands.command()
@click.argument("names", nargs=-1)
@click.option("--output-format", type=click.Choice(["text", "markdown", "json"]), default="text")
def explain(names: tuple[str, ...], output_format: str) -> None:
    """Show the pages of rules; without a name, the list of rules."""
    from modellint.catalog import BUILT_IN, all_rules, rule_named
    from modellint.report import pages

    if not names:
        _page(pages.rule_table(list(all_rules().values()), output_format))
        return
    shown = []
    for name in names:
        if name in BUILT_IN and name not in all_rules():
            shown.append(f"{name}\n{BUILT_IN[name]}\n")
        else:
            shown.append(pages.page(rule_named(name), output_format))
    _page("\n".join(shown))


@commands.command()
@click.option("--output-format", type=click.Choice(["text", "markdown", "json"]), default="text")
def rules(output_format: str) -> None:
    """List the rules: name, category, level, sides, fix and since when."""
    from modellint.catalog import all_rules
    from modellint.report import pages

    click.echo(pages.rule_table(list(all_rules().values()), output_format), nl=False)


@commands.command()
@click.argument("file", type=click.Path())
@click.option("--output-format", type=click.Choice(["text", "json"]), default="text")
def facts(file: str, output_format: str) -> int:
    """Show what modellint sees in FILE, and what it could not follow."""
    from modellint import fact_list

    listing = fact_list.read(file, Path.cwd())
    click.echo(fact_list.as_json(listing) if output_format == "json" else fact_list.as_text(listing), nl=False)
    return INTERNAL if listing.failures else OK


@commands.command()
@click.option("--cache-dir", type=click.Path(file_okay=False), help="Where it is.")
@click.option("--config", multiple=True, metavar="FILE|KEY=VALUE", help="Configuration file, or one value.")
@click.option("--isolated", is_flag=True, help="Read no configuration file.")
def clean(cache_dir: str | None, config: tuple[str, ...], isolated: bool) -> None:
    """Delete the cache: the results of earlier runs."""
    from modellint import cache
    from modellint.config import Configuration, Flags
    from modellint.report.cells import visible

    flags = Flags(cache_dir=cache_dir, config=config, isolated=isolated)
    folder = Configuration(Path.cwd(), flags).for_folder(Path.cwd()).cache_dir
    assert folder is not None
    try:
        deleted = cache.clean(folder)
    except OSError as error:
        raise click.ClickException(f"cannot delete {folder}: {error.strerror}") from None
    _write(visible(f"deleted {folder}" if deleted else f"no cache in {folder}") + "\n")


@commands.command("run", context_settings={"allow_interspersed_args": False})
@click.argument("script", metavar="SCRIPT")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("-m", "module", is_flag=True, help="SCRIPT is the name of a module, as in `python -m`.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Watch only the first N optimizer steps.")
@click.option("--select", multiple=True, metavar="NAMES", help="Only these rules, categories or ALL.")
@click.option("--extend-select", multiple=True, metavar="NAMES", help="These rules as well.")
@click.option("--ignore", multiple=True, metavar="NAMES", help="Not these rules or categories.")
@click.option(
    "--per-file-ignores", multiple=True, metavar="PATTERN:NAMES", help="Not these rules in the files that match."
)
@click.option("--fail-on", metavar="LEVEL", help="Exit 1 from this level on: error, warning, note.")
@click.option("--exit-zero", is_flag=True, help="Exit 0 even with findings.")
@click.option("--output-format", metavar="FORMAT", help="Report as full, concise, json, github, sarif ... instead.")
@click.option("-o", "--output-file", type=click.Path(dir_okay=False), help="Write the report there.")
@click.option("--config", multiple=True, metavar="FILE|KEY=VALUE", help="Configuration file, or one value.")
@click.option("--isolated", is_flag=True, help="Read no configuration file.")
@click.option("--color", metavar="WHEN", help="auto (default), always, never.")
@click.option("-q", "--quiet", is_flag=True, help="Findings only.")
@click.option("-s", "--silent", is_flag=True, help="Exit status only.")
@click.option("-v", "--verbose", is_flag=True, help="Also what was out of sight, with the rules it concerns.")
def run_script(script: str, args: tuple[str, ...], **options: Any) -> int:
    """Run a training script and report what it does wrong.

    The script runs unchanged, as under `python SCRIPT ARGS`; options of modellint stand before SCRIPT, everything
    after it is the script's. The report goes to the standard error. A format named with --output-format goes to the
    standard output; with --output-file it is written there, beside the report. Its `json` is what `modellint check
    --evidence` reads.

    Exit codes: that of the script if it fails (130 after Ctrl-C), else as for `check`. Under an elastic launcher
    (torchrun) findings change it only with --fail-on.
    """
    from modellint.catalog import check_names
    from modellint.config import Configuration
    from modellint.lint import fails
    from modellint.runtime.script import exit_status, run_script

    _color(options["color"])
    configuration = Configuration(Path.cwd(), _flags(options))
    settings = configuration.for_folder(configuration.cwd)
    check_names(settings)
    format_name = _known_format(settings.output_format)
    explicit = bool(options["output_format"] or os.environ.get("MODELLINT_OUTPUT_FORMAT") or format_name != "full")
    target = options["output_file"] and os.path.abspath(options["output_file"])
    elastic = "TORCHELASTIC_RUN_ID" in os.environ and not options["fail_on"]
    outcome = run_script(script, args, module=options["module"], steps=options["steps"], configuration=configuration)
    _make_streams_lenient()
    found = outcome.report is not None and fails(outcome.report, configuration) and not options["exit_zero"]
    if outcome.report is not None:
        options = {**options, "output_file": target, "verbosity": _verbosity(options)}
        last = _ELASTIC if elastic and (found or outcome.report.failures) else ""
        _write_run(outcome.report, format_name if explicit else None, options, last)
    return exit_status(outcome, found=found, elastic=elastic)


_ELASTIC = "the exit status is that of the script: an elastic launcher would start it again. --fail-on changes that"


def _write_run(report: LintReport, format_name: str | None, options: dict[str, Any], last: str) -> None:
    """The block on the standard error, and the format that was asked for where it was asked for."""
    from modellint.report import run_block
    from modellint.report.model import Options
    from modellint.runtime.script import rank

    number = rank()
    if number:  # the first of several processes writes what was asked for; the others speak up only for a finding
        if report.told or (not report.findings and not report.failures):
            return
        format_name, options = None, {**options, "output_file": None}
    if format_name is not None:
        _write_report(report, format_name, options, explicit=True)
    if (format_name is not None and options["output_file"] is None) or options["silent"]:
        return
    name = "" if number is None else f"rank {number}"
    lines = [last] if last else []
    stream = _error_stream()
    if stream is not None:
        color = _color(options["color"], stream)
        _write_error(stream, "\n" + run_block.render(report, Options(color, options["verbosity"]), lines, name))
    if format_name is None and options["output_file"] is not None:
        text = run_block.render(report, Options(False, options["verbosity"]), lines, name)
        _write_file(options["output_file"], text)


def _flags(options: dict[str, Any]) -> Flags:
    from modellint.config import Flags

    return Flags(
        select=_split(options["select"]) or None,
        extend_select=_split(options["extend_select"]),
        ignore=_split(options["ignore"]),
        per_file_ignores=options["per_file_ignores"],
        exclude=_split(options.get("exclude", ())) or None,
        extend_exclude=_split(options.get("extend_exclude", ())),
        fail_on=options["fail_on"],
        output_format=options["output_format"],
        cache_dir=options.get("cache_dir"),
        config=options["config"],
        isolated=options["isolated"],
    )


def _split(values: Sequence[str]) -> tuple[str, ...]:
    """`--select a,b --select c` gives three names."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def _inputs(paths: Sequence[str], configuration: Configuration, options: dict[str, Any]) -> Input:
    """The files below the paths, and the standard input if `-` is among them."""
    from modellint.discovery import find_files
    from modellint.lint import STDIN, Input
    from modellint.source.text import shown_path

    stdin = None
    if "-" in paths:
        name = options["stdin_filename"]
        shown = shown_path(Path(os.path.abspath(configuration.cwd / name)), configuration.cwd) if name else STDIN
        stdin = (shown, sys.stdin.buffer.read())
    named = [path for path in paths if path != "-"]
    words = list(commands.commands)
    found = find_files(named, configuration, force_exclude=options["force_exclude"], commands=words)
    return Input(found, stdin)


def _folder_of(path: str, cwd: Path) -> Path:
    """The folder whose configuration holds for the output."""
    if path == "-":
        return cwd
    absolute = Path(os.path.abspath(cwd / path))
    return absolute if absolute.is_dir() else absolute.parent


def _known_format(name: str) -> str:
    from modellint.config import UsageError, nearest
    from modellint.report import FORMATS

    if name not in FORMATS:
        raise UsageError(f"unknown output format `{name}`{nearest(name, FORMATS)} (known: {', '.join(FORMATS)})")
    return name


def _show_files(inputs: Input, configuration: Configuration, *, verbose: bool) -> int:
    from modellint.report.cells import visible
    from modellint.source.text import shown_path

    _write("".join(f"{visible(shown_path(file, configuration.cwd))}\n" for file in inputs.found.files))
    if verbose:
        for path, reason in inputs.found.left_out:
            _say(f"skipped: {path}: {reason}")
    return OK


def _write_report(report: LintReport, format_name: str, options: dict[str, Any], *, explicit: bool) -> None:
    """Render and write; a reader that went away (`| head -1`) does not change the exit code."""
    from modellint.catalog import all_rules
    from modellint.report import render

    target = options["output_file"]
    verbosity = _verbosity(options)
    color = target is None and _color(options["color"])
    text = render(
        format_name,
        report,
        color=color,
        verbosity=verbosity,
        explicit=explicit,
        rules=tuple(all_rules().values()),
        fixable=False,
    )
    if target is not None:
        _write_file(target, text)
    elif not options["silent"]:
        _write(text)


def _verbosity(options: dict[str, Any]) -> int:
    return -2 if options["silent"] else -1 if options["quiet"] else 1 if options["verbose"] else 0


def _write_file(target: str, text: str) -> None:
    from modellint.output_file import replace

    try:
        replace(target, text.encode("utf-8", "replace"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise click.ClickException(f"cannot write {target}: {reason}") from None


def _error_stream() -> TextIO | None:
    """The standard error; the first one where a script has closed it or put something else in its place."""
    for stream in (sys.stderr, sys.__stderr__):
        if stream is not None and not getattr(stream, "closed", False):
            return stream
    return None


def _write_error(stream: TextIO, text: str) -> None:
    """Behind all that the script has written."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        stream.write(text)
        stream.flush()


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
    except OSError as error:  # a full disk
        _drop_stdout()
        raise click.ClickException(f"cannot write to the standard output: {error.strerror}") from None


def _color(when: str | None, stream: TextIO | None = None) -> bool:
    """--color, then NO_COLOR, then FORCE_COLOR and CLICOLOR_FORCE, then whether a terminal that can do it reads."""
    if when not in (None, "auto", "always", "never"):
        raise click.UsageError(f"--color {when}: expected auto, always or never")
    if when in ("always", "never"):
        return when == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return (stream or sys.stdout).isatty() and os.environ.get("TERM") != "dumb"


def _page(text: str) -> None:
    """Through a pager only on a terminal, and only when the text is longer than it."""
    import shutil

    if sys.stdout.isatty() and len(text.splitlines()) >= shutil.get_terminal_size().lines:
        click.echo_via_pager(text)
    else:
        _write(text)


def _show_version(ctx: click.Context, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from modellint.version import describe

        click.echo(describe())
        ctx.exit()


def _make_streams_lenient() -> None:
    """A character that the terminal's encoding lacks is replaced: it is never a reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            with contextlib.suppress(ValueError):  # a script has closed it
                reconfigure(errors="replace")


def _fail(message: str) -> int:
    _say(f"error: {message}")
    return USAGE


def _say(text: str) -> None:
    """One line on the standard error: what of it comes from the user's files stays inert."""
    from modellint.report.cells import visible

    with contextlib.suppress(OSError):
        click.echo(visible(text), err=True)


def _internal_error(error: Exception) -> int:
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    _say(f"internal error: {type(error).__name__}: {error}{place}. Please report it")
    return INTERNAL


def _flushed(code: int) -> int:
    """Flush here, where a reader that went away is no error, and not at the interpreter's end, where it is."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
    except OSError as error:
        _drop_stdout()
        return _fail(f"cannot write to the standard output: {error.strerror}") if code in (OK, FOUND) else code
    except (AttributeError, ValueError):
        pass  # a script that was run has closed or replaced it
    return code


def _drop_stdout() -> None:
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
