"""Runs the reader and every rule over very many inputs, and tells what crashes, hangs or is slow. Run by hand.

    python tests/scale.py files DIR... [--limit 20000] [--seconds-per-file 20] [--seed N]
    python tests/scale.py programs [--count 50000] [--first SEED]
    python tests/scale.py damaged DIR... [--limit 2000]

`files` reads each Python file below the directories by itself, as a project of one file, and makes the reader take
those too that never mention torch. `programs` reads programs that are made by chance, `damaged` real files with a few
statements deleted, swapped or doubled. Each input has its seconds; a worker that exceeds them, or dies, is replaced.
Exit status 1 when anything crashed, hung, or made the reader or a rule fail.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import multiprocessing.connection
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from modellint import catalog, judge  # noqa: E402
from modellint.source import reader  # noqa: E402

GIGABYTES = 6
"""Of memory for one worker: what needs more counts as a failure."""
GRACE = 30.0
"""Seconds after which a worker that did not notice its own alarm is ended."""


@dataclass(frozen=True)
class Result:
    """What one input came to."""

    name: str
    seconds: float
    lines: int
    refused: bool
    """Python itself refuses it."""
    problems: tuple[str, ...] = ()
    findings: int = 0
    spoilt: bool = False
    """The reader is still at it: this worker is of no more use."""


class TooSlow(Exception):
    """The alarm of one input."""


def read_everything() -> None:
    """Files that never mention torch are read as well."""
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("modellint") and hasattr(module, "mentions_torch"):
            vars(module)["mentions_torch"] = lambda data: True


_TRACES: list[str] = []


def keep_traces() -> None:
    """The reader and the judge keep no traceback of what they caught; here it is wanted."""
    for module, name in ((reader, "ReaderFailure"), (judge, "RuleFailure")):
        plain = getattr(module, name)

        def failure(*arguments: object, plain: Callable[..., object] = plain, **named: object) -> object:
            if sys.exc_info()[0] is not None:
                _TRACES.append(shortened(traceback.format_exc()))
            return plain(*arguments, **named)

        setattr(module, name, failure)


def shortened(trace: str) -> str:
    """The last places of a traceback and the error."""
    places = [line.strip() for line in trace.splitlines() if line.startswith("  File ")]
    shown = [place.removeprefix("File ").replace(f"{ROOT}/", "") for place in places[-4:]]
    return " | ".join([trace.strip().splitlines()[-1][:200], *reversed(shown)])


def check(data: bytes, name: str, folder: Path, seconds: float) -> Result:
    """Read one input and judge it with every rule."""
    rules = [rule() for rule in catalog.all_rules().values() if "source" in rule.sides]
    problems: list[str] = []
    _TRACES.clear()
    start = time.perf_counter()
    findings, refused = 0, False

    def late(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlow

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        reading = reader.read_files([], cwd=folder, stdin=("input.py", data))
        judged, failures = judge.judge(reading.facts, rules)
        findings, refused = len(judged), bool(reading.bad_input)
        problems += [f"reader: {item.error} at line {item.line}" for item in reading.failures]
        problems += [f"rule {item.rule}: {item.error} at line {item.line}" for item in failures]
        problems += _TRACES
    except TooSlow:
        problems.append(f"more than {seconds:g} s | {where_the_reader_is()}")
    except BaseException as error:
        problems.append(f"raised {type(error).__name__} | {shortened(traceback.format_exc())}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    seconds = time.perf_counter() - start
    spoilt = any(thread.name == "modellint-reader" for thread in threading.enumerate())
    return Result(name, seconds, data.count(b"\n") + 1, refused, tuple(problems), findings, spoilt)


def where_the_reader_is() -> str:
    """The innermost places of the reader's thread."""
    frames = sys._current_frames()
    for thread in threading.enumerate():
        if thread.name == "modellint-reader" and thread.ident in frames:
            stack = traceback.extract_stack(frames[thread.ident])
            return " < ".join(f"{Path(place.filename).name}:{place.lineno} {place.name}" for place in stack[:-9:-1])
    return "not in the reader"


# --- workers ----------------------------------------------------------------------------------------------------------

Input = tuple[str, bytes | None]
"""A name and a content; a name without a content is a path to read."""


def work(connection: multiprocessing.connection.Connection, seconds: float) -> None:
    """A worker: inputs come, results go."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES << 30, GIGABYTES << 30))
    with tempfile.TemporaryDirectory() as folder:
        while (item := connection.recv()) is not None:
            name, data = item
            try:
                content = Path(name).read_bytes() if data is None else data
            except OSError:
                content = b""
            result = check(content, name, Path(folder), seconds)
            gc.collect()
            connection.send(result)
            if result.spoilt:
                os._exit(0)


@dataclass
class Worker:
    process: multiprocessing.process.BaseProcess
    connection: multiprocessing.connection.Connection
    name: str = ""
    since: float = 0.0


def started(seconds: float) -> Worker:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=work, args=(there, seconds), daemon=True)
    process.start()
    there.close()
    return Worker(process, here)


def over(inputs: Iterator[Input], jobs: int, seconds: float) -> Iterator[Result]:
    """The results of all inputs, as they come."""
    workers = [started(seconds) for _ in range(jobs)]
    busy: list[Worker] = []
    idle = list(workers)
    done = False
    while True:
        while idle and not done:
            following = next(inputs, None)
            if following is None:
                done = True
                break
            worker = idle.pop()
            worker.name, worker.since = following[0], time.perf_counter()
            worker.connection.send(following)
            busy.append(worker)
        if not busy:
            break
        ready = multiprocessing.connection.wait([worker.connection for worker in busy], timeout=1.0)
        for worker in list(busy):
            took = time.perf_counter() - worker.since
            if worker.connection in ready:
                busy.remove(worker)
                try:
                    result = worker.connection.recv()
                    yield result
                    idle.append(started(seconds) if result.spoilt else worker)
                except (EOFError, OSError):
                    worker.process.join()
                    yield Result(worker.name, took, 0, False, (f"the process died: {worker.process.exitcode}",))
                    idle.append(started(seconds))
            elif took > seconds + GRACE:
                busy.remove(worker)
                worker.process.kill()
                yield Result(worker.name, took, 0, False, ("did not even hear its alarm",))
                idle.append(started(seconds))
    for worker in idle:
        try:
            worker.connection.send(None)
        except OSError:
            continue
        worker.process.join(5)


# --- inputs -----------------------------------------------------------------------------------------------------------


def python_files(directories: Sequence[Path], first: int, limit: int, seed: int) -> list[Path]:
    """Every Python file once, shuffled by `seed`: at most `limit` of them, from the `first` on."""
    paths = sorted({path for directory in directories for path in directory.rglob("*.py") if path.is_file()})
    Random(seed).shuffle(paths)
    return paths[first : first + limit]


def programs(first: int, count: int) -> Iterator[Input]:
    from torch_programs import any_program

    for seed in range(first, first + count):
        yield f"program {seed}", any_program(Random(seed)).encode()


def damaged(paths: Sequence[Path], seed: int) -> Iterator[Input]:
    from torch_programs import damaged_file

    for path in paths:
        yield f"{path} damaged with {seed}", damaged_file(path.read_bytes(), Random(f"{seed} {path}"))


# --- report -----------------------------------------------------------------------------------------------------------


def report(results: Iterator[Result], total: int) -> int:
    """Print what is bad as it comes, then counts and the slowest."""
    start = time.perf_counter()
    read: list[Result] = []
    kinds: Counter[str] = Counter()
    try:
        for result in results:
            read.append(result)
            if result.problems:
                kinds[result.problems[-1]] += 1
                if kinds[result.problems[-1]] <= 3:
                    print(f"{result.name}: {result.seconds:.1f} s", *result.problems, sep="\n    ", flush=True)
            if len(read) % 1000 == 0:
                print(f"... {len(read)} of {total}, {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("ended early")
    bad = [result for result in read if result.problems]
    lines = sum(result.lines for result in read)
    seconds = sum(result.seconds for result in read)
    print(f"\n{len(read)} inputs, {lines} lines, {seconds:.0f} s of work")
    print(f"{sum(r.refused for r in read)} refused by Python, {sum(r.findings for r in read)} findings")
    print(f"{len(bad)} with a crash, a hang or an internal error")
    for kind, count in kinds.most_common():
        print(f"  {count:5}  {kind}")
    print("slowest:")
    for result in sorted(read, key=lambda r: -r.seconds)[:15]:
        print(f"  {result.seconds:6.2f} s  {result.lines:6} lines  {result.name}")
    print("slowest by line (300 lines and more): seconds per 1,000 lines")
    long = [result for result in read if result.lines >= 300]
    for result in sorted(long, key=lambda r: -r.seconds / r.lines)[:15]:
        each = 1000 * result.seconds / result.lines
        print(f"  {each:6.2f}  {result.seconds:6.2f} s  {result.lines:6} lines  {result.name}")
    return 1 if bad else 0


def main() -> int:
    """Read the arguments, run, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("mode", choices=("files", "programs", "damaged"))
    parser.add_argument("directories", nargs="*", type=Path)
    parser.add_argument("--limit", type=int, default=20_000, help="at most so many files")
    parser.add_argument("--count", type=int, default=50_000, help="so many programs")
    parser.add_argument("--first", type=int, default=0, help="the first program's seed, or files to leave out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds-per-file", type=float, default=20.0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    read_everything()
    keep_traces()
    catalog.all_rules()
    if options.mode == "programs":
        inputs, total = programs(options.first, options.count), options.count
    else:
        paths = python_files(
            [path.resolve() for path in options.directories], options.first, options.limit, options.seed
        )
        total = len(paths)
        inputs = iter((str(path), None) for path in paths) if options.mode == "files" else damaged(paths, options.seed)
    print(f"{total} inputs", flush=True)
    return report(over(inputs, options.jobs, options.seconds_per_file), total)


if __name__ == "__main__":
    sys.exit(main())
