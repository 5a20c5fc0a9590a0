"""The README says what is true: its drawing is what modellint prints, its commands are those that are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT, CommandLine
from markers import parse_file

from modellint.report import FORMATS

README = (ROOT / "README.md").read_text()
TWIN = ROOT / "fixtures" / "projects" / "twin"


def test_the_drawing_is_what_modellint_prints(modellint: CommandLine) -> None:
    drawn = re.search(r"```console\n\$ cd fixtures/projects/twin && modellint\n(.*?)\n\.\.\.\n```", README, re.DOTALL)
    assert drawn
    done = modellint(cwd=TWIN)
    assert done.returncode == 1
    assert f"\n\n{drawn[1]}\n\n" in f"\n\n{done.stdout.decode()}"


def test_the_number_of_findings(modellint: CommandLine) -> None:
    said = re.search(r"it has (\w+) bugs", README)
    assert said
    done = modellint("fixtures/projects/twin", "--output-format", "json-lines", cwd=ROOT)
    assert done.stdout.count(b'"rule":') == {"three": 3, "four": 4, "five": 5}[said[1]]


@pytest.mark.parametrize("command", ["check", "explain", "rules", "facts", "run"])
def test_every_command_is_named(modellint: CommandLine, command: str) -> None:
    assert f"`modellint {command}" in README
    assert modellint(command, "--help", cwd=ROOT).returncode == 0


def test_every_format_is_named() -> None:
    assert not [name for name in FORMATS if name != "statistics" and f"`{name}`" not in README]


def test_the_story_table_is_that_of_the_markers() -> None:
    """A row for every marked line of the stories; `missed` on the side of the run only where that is marked."""
    marked = {
        (path.stem, marker.rule): marker.kind
        for path in sorted((ROOT / "fixtures" / "runs").glob("*.py"))
        for marker in parse_file(path)
    }
    rows = re.findall(r"^\| (\w+) \| ([a-z-]+) \| (\w+) \| (\w+) \|$", README, re.MULTILINE)[1:]
    assert {(story, rule) for story, rule, _, _ in rows} == set(marked)
    for story, rule, _, run in rows:
        assert (run == "missed") == (marked[story, rule] == "expect-missed"), story


def test_the_drawn_run_is_what_modellint_prints() -> None:
    drawn = re.search(r"modellint run start.py\n\.\.\.\n(modellint: .*?)\n```", README, re.DOTALL)
    assert drawn
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "modellint", "run", "start.py"]
    done = subprocess.run(command, cwd=TWIN, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert drawn[1].strip() == done.stderr.strip()
