"""How what modellint costs grows with its input: `python tests/benchmarks/growth.py [--rounds N] [--only NAMES]`.

Each kind of input is generated at 1, 2, 4 and 8 times its smallest size and checked in a process of its own, cold and
with one job. Shown are the median CPU seconds without Python's and modellint's start, the ratio to half the size (2 is
linear, 4 is quadratic; a budget that ends the reading of one function or file shows as less than 2), and the peak
memory of the smallest and the largest. `--show KIND` prints the smallest input of a kind instead.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STEPS = (1, 2, 4, 8)

CHECK = """
import resource, sys, time
from modellint.cli import run
flags = ["check", "--isolated", "-s", "--no-cache", "--jobs", "1"]
run([*flags, sys.argv[1]])
start = time.process_time()
code = run([*flags, sys.argv[2]])
seconds = time.process_time() - start
unit = 2**20 if sys.platform == "darwin" else 2**10
print(code, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
"""
"""Checks a small file first, which imports all that is needed, and then the input."""

Files = Mapping[str, str]

HEADER = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n\n\n"

MODEL = """\
class Net{i}(nn.Module):
    def __init__(self, width=64, classes=10):
        super().__init__()
        self.first = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.drop = nn.Dropout(0.1)
        self.last = nn.Linear(width, classes)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)))
        return self.last(self.drop(x))


"""

TRAINING = """\
def train{i}(loader, validation, epochs=3):
    model = Net{i}()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        correct = 0
        with torch.no_grad():
            for x, y in validation:
                correct += (model(x).argmax(1) == y).sum().item()
        print(epoch, correct)
    return model


"""

TRAIN_STEP = """\
def train(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


"""


def lines(size: int) -> Files:
    """One file with 10 to 80 models, each with its training."""
    return {"all.py": HEADER + "".join((MODEL + TRAINING).format(i=i) for i in range(10 * size))}


def files(size: int) -> Files:
    """20 to 160 pairs of files: a model, and a training that imports it."""
    made = {}
    for i in range(20 * size):
        made[f"models/net{i}.py"] = HEADER + MODEL.format(i=i)
        made[f"train{i}.py"] = HEADER + f"from models.net{i} import Net{i}\n\n\n" + TRAINING.format(i=i)
    return made


def shared(size: int) -> Files:
    """50 to 400 trainings that import the same model and the same step."""
    made = {"shared.py": HEADER + MODEL.format(i="") + TRAIN_STEP}
    for i in range(50 * size):
        made[f"run{i}.py"] = f"import torch\nfrom shared import Net, train\n\ntrain(Net({i + 8}), torch.load('{i}'))\n"
    return made


def import_chain(size: int) -> Files:
    """50 to 400 files, each importing the next."""
    last = 50 * size
    made = {f"part{last}.py": HEADER + MODEL.format(i="") + TRAIN_STEP}
    for i in range(last):
        made[f"part{i}.py"] = (
            f"import torch\nfrom part{i + 1} import Net, train\n\n\ndef make{i}():\n    return Net()\n"
        )
    return made


def unrelated(size: int) -> Files:
    """One training beside 250 to 2,000 files that never mention torch."""
    made = {"all.py": HEADER + (MODEL + TRAINING).format(i="")}
    for i in range(250 * size):
        made[f"other{i}.py"] = f"import json\n\n\ndef read{i}(path):\n    return json.loads(path.read_text())\n" * 10
    return made


def _nested(opening: str, depth: int) -> Files:
    text = HEADER + "def work(model, x, flags):\n"
    for level in range(depth):
        text += "  " * (level + 1) + opening.format(level=level) + "\n"
    text += "  " * (depth + 1) + "x = model(x)\n  return x\n"
    return {"deep.py": text}


def nested_ifs(size: int) -> Files:
    """10 to 80 `if` inside each other."""
    return _nested("if flags[{level}]:", 10 * size)


def nested_loops(size: int) -> Files:
    """4 to 32 loops inside each other."""
    return _nested("for i{level} in range(flags[{level}]):", 4 * size)


def nested_calls(size: int) -> Files:
    """10 to 80 calls as arguments of each other."""
    depth = 10 * size
    return {"deep.py": HEADER + f"def work(x):\n    return {'F.relu(' * depth}x{')' * depth}\n"}


def long_sum(size: int) -> Files:
    """A sum of 500 to 4,000 terms."""
    return {"sum.py": HEADER + f"def work(x):\n    return {' + '.join('x' for _ in range(500 * size))}\n"}


def branches(size: int) -> Files:
    """50 to 400 `if` after each other, each with a call of a layer."""
    text = HEADER + MODEL.format(i="") + "def work(flags, x):\n    model = Net()\n"
    for i in range(50 * size):
        text += f"    if flags[{i}]:\n        x = model(x)\n    else:\n        x = x * {i}\n"
    return {"branches.py": text + "    return x\n"}


def call_chain(size: int) -> Files:
    """A chain of 25 to 200 functions, each calling the next."""
    text = HEADER
    for i in range(25 * size):
        text += f"def step{i}(model, x):\n    return step{i + 1}(model, x + {i})\n\n\n"
    return {
        "chain.py": text + f"def step{25 * size}(model, x):\n    return model(x)\n\n\nstep0(nn.Linear(2, 2), None)\n"
    }


def call_tree(size: int) -> Files:
    """4 to 32 functions, each calling the next twice."""
    text = HEADER
    for i in range(4 * size):
        text += f"def step{i}(model, x):\n    return step{i + 1}(model, x) + step{i + 1}(model, x * 2)\n\n\n"
    return {"tree.py": text + f"def step{4 * size}(model, x):\n    return model(x)\n\n\nstep0(nn.Linear(2, 2), None)\n"}


def hierarchy(size: int) -> Files:
    """A class with 20 to 160 bases above each other, each with a layer."""
    text = HEADER
    for i in range(20 * size):
        base = f"Part{i - 1}" if i else "nn.Module"
        text += f"class Part{i}({base}):\n    def __init__(self):\n        super().__init__()\n"
        text += f"        self.layer{i} = nn.Linear(4, 4)\n\n    def forward(self, x):\n"
        text += f"        return self.layer{i}({'super().forward(x)' if i else 'x'})\n\n\n"
    return {"bases.py": text + f"Part{20 * size - 1}()(torch.randn(2, 4))\n"}


def subclasses(size: int) -> Files:
    """50 to 400 subclasses of one class, each made and called."""
    text = HEADER + MODEL.format(i="")
    for i in range(50 * size):
        text += f"class Kind{i}(Net):\n    def __init__(self):\n        super().__init__({i + 2})\n\n\n"
        text += f"Kind{i}()(torch.randn(2, {i + 2}))\n\n\n"
    return {"kinds.py": text}


def layers(size: int) -> Files:
    """A model of 100 to 800 layers."""
    text = HEADER + "class Deep(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    text += "".join(f"        self.layer{i} = nn.Linear(4, 4)\n" for i in range(100 * size))
    text += "\n    def forward(self, x):\n"
    text += "".join(f"        x = F.relu(self.layer{i}(x))\n" for i in range(100 * size))
    return {"deep.py": text + "        return x\n\n\n" + TRAIN_STEP + "train(Deep(), torch.load('data'))\n"}


def calls(size: int) -> Files:
    """One model called 100 to 800 times in a function."""
    text = HEADER + MODEL.format(i="") + "def work(x):\n    model = Net()\n"
    return {"calls.py": text + "".join(f"    y{i} = model(x)\n" for i in range(100 * size)) + "    return y0\n"}


KINDS: Mapping[str, Callable[[int], Files]] = {
    "lines": lines, "files": files, "shared": shared, "import-chain": import_chain, "unrelated": unrelated,
    "nested-ifs": nested_ifs, "nested-loops": nested_loops, "nested-calls": nested_calls, "long-sum": long_sum,
    "branches": branches, "call-chain": call_chain, "call-tree": call_tree, "hierarchy": hierarchy,
    "subclasses": subclasses, "layers": layers, "calls": calls,
}  # fmt: skip


def write(made: Files, folder: Path) -> None:
    for name, text in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def check(folder: Path, small: Path, limit: float) -> tuple[float, float] | None:
    """CPU seconds and peak megabytes of one process; None over the limit."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's Python keeps what it compiled
    command = [sys.executable, "-c", CHECK, str(small), str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=environment, cwd=folder)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise SystemExit(done.stderr)
    code, seconds, megabytes = done.stdout.split()
    if code not in ("0", "1"):
        raise SystemExit(f"exit code {code} on {folder.name}\n{done.stderr}")
    return float(seconds), float(megabytes)


def measure(folders: Mapping[int, Path], small: Path, rounds: int, limit: float) -> str:
    """The cells of one kind, its sizes measured in turn."""
    runs: dict[int, list[tuple[float, float]]] = {step: [] for step in STEPS}
    slow: set[int] = set()
    for _ in range(rounds):
        for step, folder in folders.items():
            if slow and step >= min(slow):
                continue
            done = check(folder, small, limit)
            if done is None:
                slow.add(step)
            else:
                runs[step].append(done)
    cells: list[str] = []
    before = first = 0.0
    for step in STEPS:
        if slow and step >= min(slow):
            cells.append(f"over {limit:.0f}")
            continue
        seconds = statistics.median(run[0] for run in runs[step])
        cells.append(f"{seconds:.2f} (x {seconds / before:.1f})" if before else f"{seconds:.2f}")
        before, first = seconds, first or seconds
    peaks = [statistics.median(run[1] for run in runs[step]) for step in STEPS if runs[step] and step not in slow]
    cells.append("" if slow else f"{before / first:.1f}")
    return " | ".join([*cells, f"{peaks[0]:.0f} to {peaks[-1]:.0f}" if peaks else ""])


def main() -> None:
    """Generate, measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", metavar="NAMES", help=f"of {', '.join(KINDS)}, with commas between")
    parser.add_argument("--limit", type=float, default=120, metavar="SECONDS", help="the longest that a run may take")
    parser.add_argument("--show", choices=list(KINDS), help="print the smallest input of a kind")
    options = parser.parse_args()
    if options.show:
        for name, text in KINDS[options.show](1).items():
            print(f"# {name}\n{text}")
        return
    only = options.only.split(",") if options.only else list(KINDS)
    print(
        "| CPU seconds (times half the size) | x 1 | x 2 | x 4 | x 8 | x 8 / x 1 | MB |\n|---|---|---|---|---|---|---|"
    )
    for name in only:
        made = KINDS[name]
        with tempfile.TemporaryDirectory() as temporary:
            top = Path(temporary).resolve()
            folders = {step: top / f"{name}-{step}" for step in STEPS}
            for step, folder in folders.items():
                folder.mkdir()
                write(made(step), folder)
                (folder / "pyproject.toml").write_text("")
            small = top / "small"
            write({"small.py": HEADER + MODEL.format(i=""), "pyproject.toml": ""}, small)
            cells = measure(folders, small, options.rounds, options.limit)
            label = (made.__doc__ or name).rstrip(".")
            print(f"| {label[:1].lower()}{label[1:]} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
