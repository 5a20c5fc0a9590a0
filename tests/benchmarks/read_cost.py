"""What modellint costs beside the parse: paired runs, medians and ratios.

    python tests/benchmarks/read_cost.py [--pairs N] DIRECTORY...

For each directory, N times in turn: `libcst.parse_module` and `ast.parse` over the files whose bytes mention torch,
then a whole `python -m modellint DIRECTORY` process, start-up and report included. The ratio is taken pair by pair, so
that a machine whose speed drifts gives the same figure. Also the start-up: `modellint --version` beside
`python -c pass`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

PARSE = """
import ast, sys, time, libcst
from pathlib import Path
sources = [path.read_bytes() for path in sorted(Path(sys.argv[1]).rglob("*.py"))]
texts = [data.decode("utf-8", "replace") for data in sources if b"torch" in data]
start = time.perf_counter()
for text in texts:
    libcst.parse_module(text)
middle = time.perf_counter()
for text in texts:
    ast.parse(text)
print(len(texts), sum(text.count("\\n") for text in texts), middle - start, time.perf_counter() - middle)
"""


def parse_times(directory: Path) -> tuple[int, int, float, float]:
    """Files, lines, seconds of libcst and of ast, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", PARSE, str(directory)], capture_output=True, text=True, check=True)
    files, lines, libcst_seconds, ast_seconds = done.stdout.split()
    return int(files), int(lines), float(libcst_seconds), float(ast_seconds)


def wall(command: list[str]) -> float:
    """Seconds of a whole process, whatever its exit status."""
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, check=False)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directories", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    print("directory                       files   lines  libcst    ast  modellint  ratio to libcst (min median max)")
    for directory in options.directories:
        ratios, modellint, libcst, plain = [], [], [], []
        for _ in range(options.pairs):
            files, lines, libcst_seconds, ast_seconds = parse_times(directory)
            seconds = wall([sys.executable, "-m", "modellint", str(directory), "--isolated", "-s"])
            ratios.append(seconds / libcst_seconds)
            modellint.append(seconds)
            libcst.append(libcst_seconds)
            plain.append(ast_seconds)
        print(
            f"{directory.name[:30]:30} {files:6} {lines:7}"
            f" {statistics.median(libcst):6.2f}s {statistics.median(plain):5.2f}s {statistics.median(modellint):8.2f}s"
            f"   {min(ratios):.2f} {statistics.median(ratios):.2f} {max(ratios):.2f}"
        )
    starts = [
        wall([sys.executable, "-m", "modellint", "--version"]) / wall([sys.executable, "-c", "pass"])
        for _ in range(5 * options.pairs)
    ]
    print(f"start-up: modellint --version is {statistics.median(starts):.1f} x python -c pass (median)")


if __name__ == "__main__":
    main()
