"""What changes nothing in a program changes no finding: every change of `metamorphic`, over every fixture.

The same over real files: `python tests/metamorphic.py --over DIR...`.
"""

from __future__ import annotations

import ast
import shutil
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from conftest import ROOT
from metamorphic import CHANGES, Change, Files, Refused, commented, differences, extracted, findings_of_files, renamed

from modellint.config import Settings
from modellint.finding import Finding
from modellint.lint import lint

FIXTURES = ROOT / "fixtures"
PROJECTS = sorted(path for path in (FIXTURES / "projects").iterdir() if path.is_dir())
GROUPS = sorted(path for path in (FIXTURES / "rules").iterdir() if path.is_dir())
KNOWN: dict[tuple[str, str], str] = {}
"""Changes that do change what is found in a fixture, and why that is right."""


def files_of(folder: Path) -> Files:
    """The Python files below a folder that Python can read."""
    result = {}
    for path in sorted(folder.rglob("*.py")):
        try:
            source = path.read_bytes().decode()
            ast.parse(source)
        except (SyntaxError, ValueError):
            continue
        result[path.relative_to(folder).as_posix()] = source
    return result


def units(folder: Path) -> dict[str, Files]:
    """What is read by itself: a project in a folder, or one file."""
    found: dict[str, Files] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name[0] not in "._":
            found[path.name] = files_of(path)
    found |= {name: {name: source} for name, source in files_of(folder).items() if "/" not in name}
    return {name: files for name, files in found.items() if files}


def check(name: str, files: Files, label: str, folder: Path) -> int:
    """Compare what is found before and after; how many findings there were."""
    try:
        change = CHANGES[name](files, Random(f"{name} {label}"))
    except Refused:
        return 0
    counted: list[int] = []

    def findings(sources: Files) -> list[Finding]:
        where = folder / f"{label}{len(counted)}"
        where.mkdir(parents=True)
        found = findings_of_files(sources, where)
        counted.append(len(found))
        return found

    lost, gained = differences(change, findings)
    assert (name, label) in KNOWN or (not lost and not gained), f"{name} {label}"
    return counted[0]


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_over_projects(tmp_path: Path, name: str, project: Path) -> None:
    check(name, files_of(project), project.name, tmp_path)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("group", GROUPS, ids=lambda path: path.name)
def test_over_the_cases_of_a_rule(tmp_path: Path, name: str, group: Path) -> None:
    for label, files in units(group).items():
        check(name, files, f"{group.name}/{label}", tmp_path)


@pytest.mark.parametrize("name", CHANGES)
def test_over_clean_code(tmp_path: Path, name: str) -> None:
    for label, files in units(FIXTURES / "clean").items():
        assert check(name, files, label, tmp_path) == 0
