"""Spreads entries over processes: forked workers of this machine, or an executor that somebody else runs.

A worker keeps what it has parsed for the files that follow, so it is given files that lie beside one another. It sends
every result as it comes: a worker that dies costs the file it was reading, and the rest goes to another one. When what
it holds has grown to the limit it ends and a fresh one goes on, which frees its memory at no cost.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import modellint
from modellint.config import UsageError
from modellint.entries import EntryResult, as_json, from_json, judged_entries
from modellint.facts.reading import ReaderFailure
from modellint.facts.record import record, slotted
from modellint.source.text import shown_path

if TYPE_CHECKING:  # late: a run of one job starts without them
    from concurrent.futures import Executor
    from multiprocessing.connection import Connection

_SHARES = 8
"""So many chunks a worker: few enough that neighbours stay together, enough that nobody waits long for the last one."""
_LEAST_CHUNK = 60_000
_REMOTE_CHUNK = 400_000
"""Bytes of source in one chunk for an executor, whose workers keep nothing from one chunk to the next."""
_ALONE = threading.Lock()
"""Held while a worker of an executor reads: the limit of recursion is one for all threads of a process."""


@record
class Work:
    """What every worker needs to know."""

    cwd: Path
    rules: tuple[str, ...]
    torch_version: Callable[[Path], str | None]
    limit: int
    """Parsed characters after which a worker drops what it holds."""


def can_fork() -> bool:
    """Whether a worker is this process over again, with all that it has read. Elsewhere it starts from nothing."""
    return sys.platform == "linux" and hasattr(os, "fork")


def in_this_process(paths: Sequence[Path], work: Work, reader: Any) -> Iterator[EntryResult]:
    """One file after the other. `reader` knows the project already."""
    from modellint.source.reader import with_deep_stack

    results: list[EntryResult] = []

    def run() -> None:
        results.extend(judged_entries(paths, work.cwd, work.rules, work.torch_version, reader, work.limit))

    with_deep_stack(run)
    return iter(results)


def in_processes(
    paths: Sequence[Path], sizes: Mapping[Path, int], work: Work, reader: Any, jobs: int
) -> Iterator[EntryResult]:
    """By up to `jobs` forked workers at a time; the results come as they are ready."""
    pool = _Pool(work, reader)
    waiting = chunks(paths, sizes, sum(sizes.get(path, 0) for path in paths) // (jobs * _SHARES))
    try:
        while waiting or pool.busy:
            while waiting and len(pool.busy) < jobs:
                try:
                    pool.give(waiting[0])
                except OSError:  # the system allows no further process
                    jobs = len(pool.busy)
                else:
                    waiting.pop(0)
            if not jobs:
                yield from in_this_process([path for chunk in waiting for path in chunk], work, reader)
                return
            for worker in pool.ready():
                result, rest = pool.receive(worker)
                if result is not None:
                    yield result
                if rest:
                    waiting.insert(0, rest)
    finally:
        pool.end()


def in_executor(
    paths: Sequence[Path], sizes: Mapping[Path, int], work: Work, versions: Mapping[str, str | None], executor: Executor
) -> Iterator[EntryResult]:
    """By the workers of any `concurrent.futures.Executor` that see the same files under the same paths.

    What they fail to do is done here, in a process of its own where that can be. Raises UsageError where a worker runs
    another version.
    """
    from concurrent.futures import as_completed

    rest: list[Path] = []
    futures = {}
    for chunk in chunks(paths, sizes, _REMOTE_CHUNK):
        texts = [str(path) for path in chunk]
        try:
            future = executor.submit(
                read_chunk, texts, str(work.cwd), list(work.rules), dict(versions), work.limit, modellint.__version__
            )
        except RuntimeError:  # a worker died, and the executor with it
            rest += chunk
        else:
            futures[future] = chunk
    try:
        for future in as_completed(futures):
            try:
                results = [from_json(json.loads(text)) for text in future.result()]
            except UsageError:
                raise
            except Exception:
                rest += futures[future]
            else:
                yield from results
    finally:
        for future in futures:
            future.cancel()
    if rest:
        from modellint.source.project import Project
        from modellint.source.reader import Reader

        reader = Reader(Project(work.cwd, None, work.torch_version))
        rest.sort()
        yield from in_processes(rest, sizes, work, reader, 1) if can_fork() else in_this_process(rest, work, reader)


def read_chunk(
    paths: list[str], cwd: str, rules: list[str], versions: dict[str, str | None], limit: int, version: str
) -> list[str]:
    """What a worker of an executor does: one chunk of files in, their results as JSON texts out.

    `versions` gives the torch version that the settings of a folder name, by folder.
    """
    from modellint.source.layout import project_root
    from modellint.source.reader import with_deep_stack

    if version != modellint.__version__:
        raise UsageError(f"a worker runs modellint {modellint.__version__}, not {version}")
    results: list[str] = []

    def run() -> None:
        project_root.cache_clear()  # a worker lives for long
        found = judged_entries([Path(path) for path in paths], Path(cwd), rules, by_folder(versions), limit=limit)
        results.extend(json.dumps(as_json(result)) for result in found)

    with _ALONE:
        with_deep_stack(run)
    return results


def by_folder(versions: Mapping[str, str | None]) -> Callable[[Path], str | None]:
    """What the settings of a file say about torch: those of the nearest folder above it for which that is known."""

    def find(file: Path) -> str | None:
        for folder in file.parents:
            if (name := str(folder)) in versions:
                return versions[name]
        return None

    return find


def chunks(paths: Sequence[Path], sizes: Mapping[Path, int], size: int) -> list[list[Path]]:
    """Neighbouring files in chunks of about so many bytes, the largest first."""
    size = max(size, _LEAST_CHUNK)
    result: list[list[Path]] = []
    weights: list[int] = []
    for path in paths:
        weight = sizes.get(path, 0)
        if not result or weights[-1] + weight > size:
            result.append([])
            weights.append(0)
        result[-1].append(path)
        weights[-1] += weight
    order = sorted(range(len(result)), key=lambda index: -weights[index])
    return [result[index] for index in order]


@slotted
class _Worker:
    process: Any
    pipe: Connection
    chunk: list[Path]
    """The files that it still owes, the current one first."""


class _Pool:
    """Forked workers, each with a chunk to read."""

    def __init__(self, work: Work, reader: Any) -> None:
        self._work = work
        self._reader = reader
        self.busy: list[_Worker] = []
        self._idle: list[_Worker] = []

    def give(self, chunk: list[Path]) -> None:
        """Hand a chunk to a worker that waits for one, else to a new one."""
        data = json.dumps([str(path) for path in chunk]).encode()
        while self._idle:
            worker = self._idle.pop()
            worker.chunk = list(chunk)
            self.busy.append(worker)
            try:
                worker.pipe.send_bytes(data)
                return
            except OSError:  # it was ended while it had nothing to do
                self._dismiss(worker)
        worker = self._started()
        worker.chunk = list(chunk)
        self.busy.append(worker)
        with contextlib.suppress(OSError):  # it is dead already: that shows when its results are waited for
            worker.pipe.send_bytes(data)

    def _started(self) -> _Worker:
        import multiprocessing

        context = multiprocessing.get_context("fork")
        here, there = context.Pipe()
        others = [worker.pipe for worker in (*self.busy, *self._idle)]
        process = context.Process(target=_serve, args=(there, [here, *others], self._work, self._reader), daemon=True)
        # Ctrl-C is the business of this process: a worker never sees it, not even before it has said so itself.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        except OSError:
            here.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            there.close()
        return _Worker(process, here, [])

    def ready(self) -> list[_Worker]:
        """The workers from which something came."""
        from multiprocessing.connection import Connection, wait

        pipes = {worker.pipe: worker for worker in self.busy}
        return [pipes[pipe] for pipe in wait(list(pipes)) if isinstance(pipe, Connection)]

    def receive(self, worker: _Worker) -> tuple[EntryResult | None, list[Path]]:
        """One result; and, where the worker is gone, the files that it leaves behind."""
        try:
            message = json.loads(worker.pipe.recv_bytes())
        except (EOFError, OSError):
            self._dismiss(worker)
            if not worker.chunk:
                return None, []
            path, *rest = worker.chunk
            code = worker.process.exitcode or 0
            how = f"killed by signal {-code}" if code < 0 else "the worker ended"
            failure = ReaderFailure(shown_path(path, self._work.cwd), 0, how)
            return EntryResult(str(path), reader_failure=failure), rest
        if message is None:  # it has reached its limit
            self._dismiss(worker)
            return None, worker.chunk
        worker.chunk.pop(0)
        if not worker.chunk:
            self.busy.remove(worker)
            self._idle.append(worker)
        return from_json(message), []

    def _dismiss(self, worker: _Worker) -> None:
        """Forget a worker that has ended, or is about to."""
        self.busy.remove(worker)
        worker.process.join()
        worker.pipe.close()

    def end(self) -> None:
        """End all workers, whatever they are at."""
        for worker in (*self.busy, *self._idle):
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()


def _serve(pipe: Connection, others: Sequence[Connection], work: Work, reader: Any) -> None:
    """The life of a worker: chunks in, results out, until the pipe is closed or the limit is reached."""
    from modellint.source.reader import with_deep_stack

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in others:
        other.close()  # or it would never hear that nobody listens any more

    def run() -> None:
        while True:
            paths = [Path(path) for path in json.loads(pipe.recv_bytes())]
            for number, result in enumerate(
                judged_entries(paths, work.cwd, work.rules, work.torch_version, reader), start=1
            ):
                pipe.send_bytes(json.dumps(as_json(result)).encode())
                if reader.project.parsed > work.limit and number < len(paths):
                    pipe.send_bytes(b"null")
                    return

    code = 0
    try:
        with_deep_stack(run)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    except BaseException:
        code = 1
    os._exit(code)  # what it holds need not be taken apart


__all__ = ["Work", "by_folder", "can_fork", "chunks", "in_executor", "in_processes", "in_this_process", "read_chunk"]
