"""The README says what is true: its drawing is what modellint prints, its commands are those that are there."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT, CommandLine

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


@pytest.mark.parametrize("command", ["check", "explain", "rules", "facts"])
def test_every_command_is_named(modellint: CommandLine, command: str) -> None:
    assert f"`modellint {command}" in README
    assert modellint(command, "--help", cwd=ROOT).returncode == 0


def test_every_format_is_named() -> None:
    assert not [name for name in FORMATS if name != "statistics" and f"`{name}`" not in README]
