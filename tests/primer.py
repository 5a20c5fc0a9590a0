"""What modellint finds in real repositories, as a table, and what a change has added and taken away.

    python tests/primer.py DIR... --save before.json
    (change something)
    python tests/primer.py DIR... --against before.json

Every directory is checked in a process of its own with the default rules and without its own configuration; `--select`
chooses others. The list below the table is there to be read finding by finding: the share of wrong ones is what counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
Row = dict[str, Any]
"""What one directory came to: `lines`, `seconds`, `findings`, `failures`."""


def checked(directory: Path, select: str | None) -> Row:
    """Check one directory."""
    command = [sys.executable, "-m", "modellint", ".", "--isolated", "--output-format", "json", "--exit-zero"]
    if select is not None:
        command += ["--select", select]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, env=_environment())
    seconds = time.perf_counter() - start
    if not done.stdout:
        sys.exit(f"{directory}: {done.stderr.strip()}")
    document = json.loads(done.stdout)
    findings = [
        {
            "rule": finding["rule"],
            "category": finding["category"],
            "certainty": finding["certainty"],
            "path": finding["path"],
            "line": finding["range"]["start"]["line"],
            "message": finding["message"],
        }
        for finding in document["findings"]
    ]
    return {
        "files": document["summary"]["checked"],
        "lines": _lines(directory),
        "seconds": round(seconds, 1),
        "findings": findings,
        "failures": document["failures"],
    }


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _lines(directory: Path) -> int:
    """Lines of the Python files that mention torch."""
    total = 0
    for path in directory.rglob("*.py"):
        if path.is_file() and b"torch" in (data := path.read_bytes()):
            total += data.count(b"\n")
    return total


def table(rows: dict[str, Row]) -> str:
    """One line a directory."""
    lines = [
        "| directory | files | lines with torch | seconds | findings | correctness | per 2,000 lines | rules |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        correct = sum(finding["category"] == "correctness" for finding in row["findings"])
        counts = Counter(finding["rule"] for finding in row["findings"])
        rules = ", ".join(f"{rule} {count}" for rule, count in counts.most_common()) or "-"
        per = 2000 * correct / row["lines"] if row["lines"] else 0.0
        lines.append(
            f"| {name} | {row['files']} | {row['lines']:,} | {row['seconds']} | {len(row['findings'])} | {correct} "
            f"| {per:.2f} | {rules} |"
        )
    return "\n".join(lines)


def listing(rows: dict[str, Row]) -> list[str]:
    """One line a finding, in a form that is the same as long as the finding is."""
    return [
        f"{name}/{f['path']}:{f['line']}: {f['rule']} ({f['certainty']}): {f['message']}"
        for name, row in rows.items()
        for f in row["findings"]
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", metavar="DIR", nargs="+", type=Path)
    parser.add_argument("--select", help="rules instead of the default ones")
    parser.add_argument("--save", type=Path, help="keep the result as JSON")
    parser.add_argument("--against", type=Path, help="show only what differs from an earlier result")
    options = parser.parse_args(arguments)
    rows = {directory.name: checked(directory, options.select) for directory in options.directories}
    print(table(rows))
    print()
    now = listing(rows)
    if options.against is not None:
        earlier: dict[str, Row] = json.loads(options.against.read_text())
        before = Counter(listing({name: row for name, row in earlier.items() if name in rows}))
        added = [f"+ {line}" for line in (Counter(now) - before).elements()]
        gone = [f"- {line}" for line in (before - Counter(now)).elements()]
        print("\n".join(added + gone) or "no difference")
    else:
        print("\n".join(now))
    if options.save is not None:
        options.save.write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if any(row["failures"] for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
