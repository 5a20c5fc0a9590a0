"""What modellint costs beside the parse and beside other tools: rounds of paired runs, medians and ratios.

    python tests/benchmarks/cost.py [--rounds N] [--tools BIN] [--only NAMES] [--cpu] [--each] DIRECTORY...

The Python files and the project files of the directories are copied into a temporary folder first, so that nothing is
written into what is measured, and several directories count as one tree (`--each` also measures each by itself). A
round runs every measure once, one after the other, each in a process of its own, and a ratio is taken to the
`libcst.parse_module` of the same round: a machine whose speed drifts gives the same figures. Shown are the medians,
with the smallest and the largest ratio in brackets.

- Reading, `ast.parse` and `libcst.parse_module` get the files whose bytes mention torch and are timed inside their
  process, so that what they take does not include Python's start; reading is finding and reading all the files.
- Everything else is a whole process that gets the tree, from its start to its end, report included. modellint runs
  with `--isolated`: cold is without a cache, warm with the cache of the run before, nothing changed; for one changed
  file a comment is appended to the file of median size among those that mention torch.
- Other tools are taken from `--tools` or else from the path, those that are installed. They run with one job where
  they have such an option.
- Memory is the peak of the largest process, in MB.
- On a machine that others use, `--cpu` counts the CPU seconds of all processes of a measure.

The second table is the start-up, beside `python -c pass`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PARSE = """
import ast, os, sys, time
kind, paths = sys.argv[1], sys.argv[2:]
start, cpu = time.perf_counter(), time.process_time()
sources = []
for path in paths:
    for folder, _, names in os.walk(path):
        for name in names:
            if name.endswith(".py"):
                with open(os.path.join(folder, name), "rb") as file:
                    data = file.read()
                if b"torch" in data:
                    sources.append(data)
if kind != "reading":
    parse = ast.parse
    if kind != "ast":
        import libcst
        parse = libcst.parse_module
    if kind == "largest":
        sources = [max(sources, key=len)]
    texts = [data.decode("utf-8", "replace") for data in sources]
    start, cpu = time.perf_counter(), time.process_time()
    for text in texts:
        try:
            parse(text)
        except Exception:
            pass
print(time.perf_counter() - start, time.process_time() - cpu)
"""
"""One file at a time, the tree of the last dropped: holding them all would cost memory and nothing in time."""

PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt")
"""What tells modellint and others where a project begins."""

SMALL = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, x):
        return self.layer(x)


def train(loader):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
"""


@dataclass
class Run:
    """One process that has ended."""

    seconds: float
    megabytes: float
    code: int
    output: str


@dataclass
class Measure:
    """One row of the table."""

    name: str
    label: str
    command: Callable[[Sequence[str]], list[str]]
    """From the folders of the tree."""
    inside: bool = False
    """The process prints how long it took, and its CPU seconds."""
    fine: Callable[[int], bool] = lambda code: code in (0, 1)
    before: Callable[[], None] = lambda: None
    runs: list[Run] = field(default_factory=list)
    failure: str = ""


@dataclass
class Tree:
    """Copied folders that are measured as one."""

    name: str
    folders: list[str]
    files: int
    torch_files: int
    lines: int
    """Lines of the files that mention torch."""
    middle: Path
    """The file that is changed."""


class Bench:
    """The processes of one benchmark, in a temporary folder."""

    def __init__(self, folder: Path, limit: float, cpu: bool) -> None:
        self.folder = folder
        self.cpu = cpu
        self._limit = limit
        self._environment = dict(os.environ)
        # A user's Python keeps what it compiled; tools that keep files do it in the temporary folder.
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._environment["PYTHONPATH"] = str(ROOT)
        self._environment["PYLINTHOME"] = str(folder / "pylint")
        self._environment["XDG_CACHE_HOME"] = str(folder / "caches")

    def run(self, command: Sequence[str]) -> Run | None:
        """Run to the end; None over the limit."""
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            start = time.perf_counter()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=self.folder,
                env=self._environment,
                start_new_session=True,
            )
            over = threading.Event()

            def stop() -> None:
                over.set()
                os.killpg(process.pid, signal.SIGKILL)

            clock = threading.Timer(self._limit, stop)
            clock.start()
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            clock.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)  # so that nobody waits for it again
            if over.is_set():
                return None
            output.seek(0)
            errors.seek(0)
            text = output.read().decode("utf-8", "replace")
            if process.returncode not in (0, 1):
                text += errors.read().decode("utf-8", "replace")
            unit = 2**20 if sys.platform == "darwin" else 2**10
            if self.cpu:
                seconds = usage.ru_utime + usage.ru_stime
            return Run(seconds, usage.ru_maxrss / unit, process.returncode, text)

    def measure(self, measure: Measure, folders: Sequence[str]) -> Run | None:
        """One run of one measure; what fails or takes too long is not tried again."""
        if measure.failure:
            return None
        measure.before()
        done = self.run(measure.command(folders))
        if done is None:
            measure.failure = f"over {self._limit:.0f} s"
            return None
        if not measure.fine(done.code):
            last = done.output.strip().splitlines()[-1:] or [""]
            measure.failure = f"failed with exit code {done.code}: {last[0][:60]}"
            return None
        if measure.inside:
            done.seconds = float(done.output.split()[self.cpu])
        measure.runs.append(done)
        return done


def copy_tree(directory: Path, target: Path) -> None:
    """The Python files and the project files of a directory; hidden folders stay behind."""
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        taken = [name for name in names if name.endswith(".py") or name in PROJECT_FILES]
        if taken:
            goal = target / os.path.relpath(folder, directory)
            goal.mkdir(parents=True, exist_ok=True)
            for name in taken:
                shutil.copyfile(os.path.join(folder, name), goal / name)


def tree_of(name: str, folders: Sequence[Path]) -> Tree:
    """Count what a tree holds and choose its file of median size."""
    files, lines = 0, 0
    sizes: list[tuple[int, Path]] = []
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            data = path.read_bytes()
            files += 1
            if b"torch" in data:
                sizes.append((len(data), path))
                lines += data.count(b"\n")
    if not sizes:
        raise SystemExit(f"no file in {name} mentions torch")
    sizes.sort()
    middle = sizes[len(sizes) // 2][1]
    return Tree(name, [str(folder) for folder in folders], files, len(sizes), lines, middle)


def modellint(*flags: str) -> list[str]:
    return [sys.executable, "-m", "modellint", "check", "--isolated", "-s", *flags]


def own_measures(bench: Bench, tree: Tree) -> list[Measure]:
    """Reading, parsing and modellint itself."""
    cache = bench.folder / f"cache-{tree.name}"
    cold = modellint("--no-cache")
    warm = modellint("--cache-dir", str(cache), "--jobs", "1")

    def parse(kind: str) -> Callable[[Sequence[str]], list[str]]:
        return lambda folders: [sys.executable, "-c", PARSE, kind, *folders]

    def fill() -> None:
        if not cache.exists():
            bench.run([*warm, *tree.folders])

    def change() -> None:
        fill()
        with tree.middle.open("a", encoding="utf-8") as file:
            file.write("# changed\n")

    def checks(code: int) -> bool:
        return code in (0, 1, 3)  # 3: some file stopped the reader; the report tells, and the figure stands

    return [
        Measure("reading", "reading the files", parse("reading"), inside=True),
        Measure("ast", "`ast.parse`", parse("ast"), inside=True),
        Measure("libcst", "`libcst.parse_module`", parse("libcst"), inside=True),
        Measure("largest", "`libcst.parse_module`, the largest file alone", parse("largest"), inside=True),
        Measure("cold", "modellint, cold, 1 job", lambda folders: [*cold, "--jobs", "1", *folders], fine=checks),
        Measure("cold2", "modellint, cold, 2 jobs", lambda folders: [*cold, "--jobs", "2", *folders], fine=checks),
        Measure("warm", "modellint, warm", lambda folders: [*warm, *folders], fine=checks, before=fill),
        Measure(
            "changed", "modellint, one changed file", lambda folders: [*warm, *folders], fine=checks, before=change
        ),
    ]


def tool_measures(folder: str | None) -> list[Measure]:
    """The other tools that are installed."""
    found: list[Measure] = []

    def add(name: str, label: str, *options: str, fine: Callable[[int], bool] = lambda code: code in (0, 1)) -> None:
        program = shutil.which(name, path=folder) if folder else shutil.which(name)
        if program is not None:
            found.append(Measure(name, label, lambda folders: [program, *options, *folders], fine=fine))

    add("torch-preflight", "torch-preflight, 1 job", "check", "-j", "1", "-q")
    add("torchfix", "TorchFix, all its rules, 1 job", "--select", "ALL", "-j", "1")
    add("fixit", "Fixit, its default rules, all cores", "lint")
    add("pylint", "pylint, its default rules, 1 job", "--score=n", "--reports=n", fine=lambda code: 0 <= code < 32)
    add("ruff", "ruff, its default rules, all cores", "check", "--isolated", "--no-cache", "-q")
    return found


def versions(bench: Bench, measures: Sequence[Measure]) -> str:
    """Which versions were measured."""
    import importlib.metadata

    names = [f"Python {sys.version.split()[0]}", f"libcst {importlib.metadata.version('libcst')}"]
    for measure in measures:
        program = measure.command([])[0]
        done = bench.run([program, "--version"])
        text = done.output.strip().splitlines()[0] if done is not None and done.output.strip() else "?"
        names.append(f"{measure.name} {text.split()[-1]}")
    return ", ".join(names)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """`1.31 (1.28 to 1.40)`."""
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) < 2 else f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(bench: Bench, tree: Tree, measures: Sequence[Measure], rounds: int) -> None:
    """Measure one tree in rounds and print its table."""
    ratios: dict[str, list[float]] = {measure.name: [] for measure in measures}
    for number in range(rounds):
        seconds: dict[str, float] = {}
        for measure in measures:
            done = bench.measure(measure, tree.folders)
            if done is not None:
                seconds[measure.name] = done.seconds
                print(f"round {number + 1}: {measure.name} {done.seconds:.2f}", file=sys.stderr, flush=True)
        for name, taken in seconds.items():
            if "libcst" in seconds:
                ratios[name].append(taken / seconds["libcst"])
    print(f"\n{tree.name}: {tree.files:,} files, of which {tree.torch_files:,} mention torch ({tree.lines:,} lines)\n")
    print(
        f"| median of {rounds} round{'s' if rounds > 1 else ''} | {'CPU ' * bench.cpu}seconds | times libcst | MB |\n"
        "|---|---|---|---|"
    )
    for measure in measures:
        cells = [measure.failure or "not run", "", ""]
        if measure.runs and not measure.failure:
            ratio = spread(ratios[measure.name]) if ratios[measure.name] and measure.name != "largest" else ""
            megabytes = statistics.median(run.megabytes for run in measure.runs)
            cells = [f"{statistics.median(run.seconds for run in measure.runs):.2f}", ratio, f"{megabytes:.0f}"]
        print(f"| {measure.label} | {' | '.join(cells)} |", flush=True)
    if any(measure.name == "changed" for measure in measures):
        shown = tree.middle.relative_to(bench.folder).as_posix()
        print(f"\nThe changed file: {shown}, {tree.middle.stat().st_size:,} bytes")


def start_up(bench: Bench, rounds: int) -> None:
    """How long the small calls take, beside Python's own start."""
    small = bench.folder / "small" / "small.py"
    small.parent.mkdir()
    small.write_text(SMALL, encoding="utf-8")
    python = [sys.executable, "-m", "modellint"]
    commands: Mapping[str, list[str]] = {
        "`python -c pass`": [sys.executable, "-c", "pass"],
        "`modellint --version`": [*python, "--version"],
        "`modellint explain`": [*python, "explain"],
        "`modellint explain missing-eval`": [*python, "explain", "missing-eval"],
        "one small file, cold": [*modellint("--no-cache"), str(small)],
        "one small file, warm": [*modellint("--cache-dir", str(bench.folder / "cache-small")), str(small)],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            done = bench.run(command)
            if done is None or done.code not in (0, 1):
                raise SystemExit(f"{name}: {done.output if done is not None else 'too slow'}")
            if number:  # the first round fills the caches of the disk and of Python
                times[name].append(done.seconds * 1000)
    print(f"\n| start-up, median of {rounds} rounds | {'CPU ' * bench.cpu}ms | times `python -c pass` |\n|---|---|---|")
    for name, taken in times.items():
        beside = [one / other for one, other in zip(taken, times["`python -c pass`"], strict=True)]
        print(f"| {name} | {spread(taken, 0)} | {spread(beside, 1)} |")


def main() -> None:
    """Copy, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directories", nargs="*", type=Path, metavar="DIRECTORY")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tools", metavar="BIN", help="the folder in which the other tools are installed")
    parser.add_argument("--only", metavar="NAMES", help="only these measures, with commas between (libcst stays)")
    parser.add_argument("--limit", type=float, default=600, metavar="SECONDS", help="the longest that a run may take")
    parser.add_argument("--cpu", action="store_true", help="CPU seconds of all processes instead of the clock's")
    parser.add_argument("--each", action="store_true", help="also measure each directory by itself")
    parser.add_argument("--start-rounds", type=int, default=15, metavar="N", help="0 leaves the start-up out")
    options = parser.parse_args()
    only = {"libcst", *options.only.split(",")} if options.only else None
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name).resolve(), options.limit, options.cpu)
        folders: list[Path] = []
        for directory in options.directories:
            folder = bench.folder / "trees" / directory.resolve().name
            folders.append(folder.with_name(f"{folder.name}-{len(folders)}") if folder in folders else folder)
            copy_tree(directory, folders[-1])
        trees = [tree_of(folder.name, [folder]) for folder in folders] if options.each or len(folders) == 1 else []
        if len(folders) > 1:
            trees.append(tree_of(" + ".join(folder.name for folder in folders), folders))
        print(
            versions(bench, [measure for measure in tool_measures(options.tools) if not only or measure.name in only])
        )
        for tree in trees:
            measures = [*own_measures(bench, tree), *tool_measures(options.tools)]
            table(bench, tree, [measure for measure in measures if not only or measure.name in only], options.rounds)
        if options.start_rounds:
            start_up(bench, options.start_rounds)


if __name__ == "__main__":
    main()
