"""Wherever the work is done, the answer is the same to the byte; and what becomes of it when a worker dies."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from modellint import cli, jobs
from modellint.config import UsageError
from modellint.lint import How, lint
from modellint.report import render
from modellint.source.reader import EntryReading, Reader

forks = pytest.mark.skipif(not jobs.can_fork(), reason="workers are forked on Linux only")
LINT = sys.modules["modellint.lint"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Fixture projects in one folder; one declares another torch, in its configuration."""
    folder = tmp_path / "tree"
    for name in ("factory", "story_xor", "trainer_class", "twin", "two_files_criterion", "two_files_loop"):
        shutil.copytree(ROOT / "fixtures" / "projects" / name, folder / name)
    (folder / "factory" / "modellint.toml").write_text('torch-version = "1.8"\n')
    (folder / "old").mkdir()
    (folder / "old" / "modellint.toml").write_text('torch-version = "2.1"\n')
    (folder / "old" / "a.py").write_text('import torch\nstate = torch.load("x.pt")\nd = torch.device("gpu")\n')
    (folder / "broken.py").write_text("import torch\nx = (\n")
    return folder


class Seen:
    """What the pool did."""

    def __init__(self) -> None:
        self.workers: list[int] = []
        self.chunks: list[list[Path]] = []
        self.restarts = 0


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Many small chunks, and a limit that is reached: on a small tree happens what else takes a large one."""
    monkeypatch.setattr(LINT, "_WORTH_A_WORKER", 1)
    monkeypatch.setattr(LINT, "LIMIT", 5_000)
    monkeypatch.setattr(LINT, "_LARGEST", 0)
    monkeypatch.setattr(jobs, "_LEAST_CHUNK", 2_500)
    monkeypatch.setattr(jobs, "_REMOTE_CHUNK", 6_000)
    found = Seen()
    started, give, receive = jobs._Pool._started, jobs._Pool.give, jobs._Pool.receive

    def counted(self: jobs._Pool) -> jobs._Worker:
        worker = started(self)
        found.workers.append(worker.process.pid)
        return worker

    def noted(self: jobs._Pool, chunk: list[Path]) -> None:
        found.chunks.append(chunk)
        give(self, chunk)

    def watched(self: jobs._Pool, worker: jobs._Worker) -> Any:
        result, rest = receive(self, worker)
        found.restarts += result is None and bool(rest)
        return result, rest

    monkeypatch.setattr(jobs._Pool, "_started", counted)
    monkeypatch.setattr(jobs._Pool, "give", noted)
    monkeypatch.setattr(jobs._Pool, "receive", watched)
    return found


def shown(folder: Path, how: How | None = None, *paths: str) -> str:
    return render("json", lint(paths or (".",), cwd=folder, how=how))


@forks
def test_any_number_of_workers(tree: Path, tmp_path: Path, seen: Seen) -> None:
    expected = shown(tree)
    rules = {finding["rule"] for finding in json.loads(expected)["findings"]}
    assert len(rules) > 7
    assert "syntax-error" in rules
    assert shown(tree, How(cache=tmp_path / "one")) == expected
    assert not seen.workers
    for count in (1, 2, 4):
        assert shown(tree, How(count, tmp_path / f"cache{count}")) == expected
        assert len(seen.workers) >= count
        assert len(seen.chunks) > count
        assert seen.restarts, "the limit was reached"
        before = len(seen.workers)
        assert shown(tree, How(count, tmp_path / f"cache{count}")) == expected
        assert len(seen.workers) == before, "warm, there is nothing to do"
        seen.workers.clear()
        seen.chunks.clear()
        seen.restarts = 0


@forks
def test_a_file_that_is_passed_alone(tree: Path, tmp_path: Path, seen: Seen) -> None:
    """It has the findings that a run over everything has in it; those that its importers bring included."""
    everything = json.loads(shown(tree))["findings"]
    for name in ("twin/models/twin.py", "trainer_class/trainer.py", "old/a.py"):
        expected = shown(tree, None, name)
        own = [finding for finding in everything if finding["path"] == name]
        assert own
        assert [finding for finding in json.loads(expected)["findings"] if finding["path"] == name] == own
        for how in (How(2, tmp_path / "c"), How(1, tmp_path / "c"), How(executor=Here())):
            assert shown(tree, how, name) == expected
    assert seen.workers


class Here(Executor):
    """Does everything at once, and what it is told to fail not at all."""

    def __init__(self, fails: Callable[[list[str]], Exception | None] = lambda paths: None) -> None:
        self.fails = fails
        self.calls = 0

    def submit(self, function: Any, /, *args: Any, **_: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.calls += 1
        error = self.fails(args[0])
        try:
            if error is not None:
                raise error
            future.set_result(function(*args))
        except Exception as failure:
            future.set_exception(failure)
        return future


def test_threads_of_one_process(tree: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take turns: the limit of recursion, which reading raises, is one for all of them."""
    expected = shown(tree)
    read, active = jobs.judged_entries, []

    def alone(*args: Any, **more: Any) -> Iterator[Any]:
        active.append(1)
        time.sleep(0.05)
        assert len(active) == 1
        yield from read(*args, **more)
        active.pop()

    monkeypatch.setattr(jobs, "judged_entries", alone)
    monkeypatch.setattr(jobs, "in_processes", None)  # what the threads fail to do would be done there
    with ThreadPoolExecutor(4) as executor:
        assert shown(tree, How(executor=executor)) == expected


@pytest.mark.slow
def test_processes_that_know_nothing(tree: Path, tmp_path: Path, seen: Seen) -> None:
    expected = shown(tree)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        assert shown(tree, How(executor=executor)) == expected
        assert shown(tree, How(executor=executor, cache=tmp_path / "c")) == expected
    assert shown(tree, How(executor=executor, cache=tmp_path / "c")) == expected, "it takes nothing, and need not"
    (tree / "twin" / "more.py").write_text("import torch\n")
    assert json.loads(shown(tree, How(executor=executor)))["findings"] == json.loads(expected)["findings"], "read here"


def test_an_executor_that_fails(tree: Path, seen: Seen) -> None:
    expected = shown(tree)
    failing = Here(lambda paths: OSError("lost") if any("twin" in path for path in paths) else None)
    assert shown(tree, How(executor=failing)) == expected
    assert failing.calls > 3
    assert shown(tree, How(executor=Here(lambda paths: OSError("lost")))) == expected


def test_a_worker_of_another_version(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"a worker runs modellint .*, not 0\.0\.0"):
        jobs.read_chunk([], str(tree), [], {}, 1, "0.0.0")
    with pytest.raises(UsageError, match="not this one"):
        lint(cwd=tree, how=How(executor=Here(lambda paths: UsageError("not this one"))))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_a_dask_cluster(tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.chdir(tree)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    arguments = ["--no-cache", "--output-format", "json"]
    assert cli.run(arguments) == 1
    expected = capsys.readouterr().out
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster:
        address = cluster.scheduler_address.removeprefix("tcp://")
        monkeypatch.setattr(jobs, "_REMOTE_CHUNK", 1)
        monkeypatch.setattr(jobs, "_LEAST_CHUNK", 6_000)
        assert cli.run([*arguments, "--executor", f"dask:{address}"]) == 1
        assert capsys.readouterr().out == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ray:somewhere", "expected dask:ADDRESS"),
        ("dask", "expected dask:ADDRESS"),
        ("dask:", "expected dask:ADDRESS"),
    ],
)
def test_no_such_executor(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str, message: str
) -> None:
    monkeypatch.chdir(tree)
    assert cli.run(["--executor", value]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: --executor {value}: {message}")
    assert err.count("\n") == 1


# ---------------------------------------------------------------- workers that die

OUTSIDE = os.getpid()


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file called killer.py ends the worker that reads it."""
    read = Reader.read

    def dying(self: Reader, path: Path) -> EntryReading:
        if path.name == "killer.py" and os.getpid() != OUTSIDE:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, path)

    monkeypatch.setattr(Reader, "read", dying)


@forks
@pytest.mark.parametrize("count", ["1", "2"])
def test_a_worker_is_killed(
    tree: Path,
    seen: Seen,
    deadly: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    count: str,
) -> None:
    monkeypatch.chdir(tree)
    assert cli.run(["--no-cache", "--output-format", "json"]) == 1
    before = json.loads(capsys.readouterr().out)["findings"]
    (tree / "twin" / "killer.py").write_text("import torch\nd = torch.device('gpu')\n")
    (tree / "killer.py").write_text("import torch\n")
    for cache in (["--no-cache"], [], []):  # what was not read is tried again
        if cache == [] and count == "1":
            break  # so little is read in this process
        assert cli.run(["-j", count, "--output-format", "json", *cache]) == 3
        document = json.loads(capsys.readouterr().out)
        failures = [(failure["path"], failure["message"]) for failure in document["failures"]]
        assert failures == [("killer.py", "killed by signal 9"), ("twin/killer.py", "killed by signal 9")]
        assert [finding for finding in document["findings"] if finding["path"] != "twin/killer.py"] == before
    assert cli.run(["-j", count, "-q", "--no-cache"]) == 3
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert lines == [
        f"internal error: the reader failed on {name} (killed by signal 9); the other files were read. Please report it"
        for name in ("killer.py", "twin/killer.py")
    ]


@forks
def test_a_worker_that_waits_is_killed(tree: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two chunks: nobody owes anything, another one goes on."""
    expected = shown(tree)
    give = jobs._Pool.give
    killed: list[int] = []

    def killing(self: jobs._Pool, chunk: list[Path]) -> None:
        for worker in self._idle:
            worker.process.kill()
            worker.process.join()
            killed.append(worker.process.pid)
        give(self, chunk)

    monkeypatch.setattr(jobs._Pool, "give", killing)
    monkeypatch.setattr(LINT, "LIMIT", 10**9)
    assert shown(tree, How(2)) == expected
    assert killed


@forks
@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_no_further_process(tree: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    """Then it is done by those that there are, and at last by this one."""
    expected = shown(tree)
    start = get_context("fork").Process.start
    started: list[object] = []

    def refused(self: Any) -> None:
        if len(started) == allowed:
            raise BlockingIOError("Resource temporarily unavailable")
        started.append(self)
        start(self)

    monkeypatch.setattr(get_context("fork").Process, "start", refused)
    assert shown(tree, How(2)) == expected
    assert len(started) == allowed


SLOW = """
import os, sys, time
from pathlib import Path
from modellint import cli, jobs
from modellint.lint import How
from modellint.source.reader import Reader

sys.modules["modellint.lint"]._WORTH_A_WORKER = 1
jobs._LEAST_CHUNK = 1
read, outside = Reader.read, os.getpid()

def slow(self, path):
    if os.getpid() != outside or sys.argv[3] == "1":
        Path(sys.argv[1], str(os.getpid())).touch()
        time.sleep(0.2 if path.name == "quick.py" else float(sys.argv[2]))
    return read(self, path)

Reader.read = slow
code = cli.run(["-j", sys.argv[3], "--output-format", "concise"])
sys.stdout.flush()
os._exit(code)
"""


@contextlib.contextmanager
def slow_run(tmp_path: Path, seconds: float, count: int = 2) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A run of workers that are at a file now, in a process group of its own."""
    code, marks = tmp_path / "code", tmp_path / "workers"
    code.mkdir()
    marks.mkdir()
    for name in "abcd":
        (code / f"{name}.py").write_text("import torch\nd = torch.device('gpu')\n")
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(marks), str(seconds), str(count)],
        cwd=code,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert eventually(lambda: len(list(marks.iterdir())) == count)
        yield process, [int(mark.name) for mark in marks.iterdir()]
    finally:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def eventually(condition: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet asked for its status does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@forks
@pytest.mark.parametrize("count", [1, 2])
def test_an_interrupt_ends_the_workers(tmp_path: Path, count: int) -> None:
    """And the reading in this process, where so little is to be done."""
    with slow_run(tmp_path, 600, count) as (process, workers):
        assert all(map(alive, workers))
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err.strip()) == (130, b"", b"interrupted")
        assert not any(map(alive, workers))


@forks
def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    with slow_run(tmp_path, 1) as (process, workers):
        process.kill()
        process.wait()
        assert eventually(lambda: not any(map(alive, workers))), "after the file at hand"
