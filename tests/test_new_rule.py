"""The files that `python -m modellint.new_rule` writes."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from modellint.config import UsageError
from modellint.finding import Category
from modellint.new_rule import create


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the package, with its fixtures folder."""
    shutil.copytree(ROOT / "modellint", tmp_path / "modellint", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "fixtures").mkdir()
    return tmp_path


def start(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modellint.new_rule", *arguments]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=60)


def test_a_new_rule_is_listed_and_its_page_is_formatted(checkout: Path) -> None:
    done = start(checkout, "loss-of-nothing", "--judges", "LossUse", "--topic", "losses")
    assert (done.returncode, done.stderr) == (0, "")
    written = [line.removeprefix("wrote ") for line in done.stdout.splitlines() if line.startswith("wrote ")]
    assert written == [
        "modellint/rules/losses/loss_of_nothing.py",
        "fixtures/rules/loss-of-nothing/fires_plain.py",
        "fixtures/rules/loss-of-nothing/silent_plain.py",
    ]
    listed = subprocess.run(
        [sys.executable, "-m", "modellint", "rules"], cwd=checkout, capture_output=True, text=True, timeout=60
    )
    assert "loss-of-nothing" in listed.stdout
    page = checkout / written[0]
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", "--line-length", "120", str(page)], capture_output=True
    )
    assert checked.returncode == 0, checked.stderr
    (cls,) = (node for node in ast.parse(page.read_text()).body if isinstance(node, ast.ClassDef))
    assert cls.name == "LossOfNothing"
    assert [node.name for node in cls.body if isinstance(node, ast.FunctionDef)] == ["loss_use"]
    assert start(checkout, "loss-of-nothing", "--judges", "LossUse").stderr.startswith("error: there is a rule")


@pytest.mark.parametrize(
    ("name", "fact", "topic", "message"),
    [
        ("no-such-thing", "LossUses", "losses", "unknown fact `LossUses`; did you mean `LossUse`"),
        ("no-such-thing", "LossUse", "loses", "unknown topic `loses`; did you mean `losses`"),
        ("missing-eval", "LossUse", "losses", "there is a rule `missing-eval` already"),
        ("unused-ignore", "LossUse", "losses", "there is a rule `unused-ignore` already"),
        ("Loss", "LossUse", "losses", "`Loss` is no rule name"),
        ("../../x-y", "LossUse", "losses", "is no rule name"),
    ],
)
def test_what_is_refused_writes_nothing(tmp_path: Path, name: str, fact: str, topic: str, message: str) -> None:
    for folder in ("losses", "modules"):
        (tmp_path / "modellint" / "rules" / folder).mkdir(parents=True)
        (tmp_path / "modellint" / "rules" / folder / "__init__.py").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError) as caught:
        create(tmp_path, name, fact, topic, Category.NURSERY)
    assert message in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "modellint" / "rules" / "losses").mkdir(parents=True)
    (tmp_path / "modellint" / "rules" / "losses" / "__init__.py").touch()
    mine = tmp_path / "fixtures" / "rules" / "a-b" / "silent_plain.py"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        create(tmp_path, "a-b", "LossUse", "losses", Category.NURSERY)
    assert mine.read_text() == "mine"
    assert not (tmp_path / "modellint" / "rules" / "losses" / "a_b.py").exists()


def test_it_works_in_a_checkout_only(checkout: Path) -> None:
    (checkout / "fixtures").rmdir()
    done = start(checkout, "loss-of-nothing", "--judges", "LossUse")
    assert done.returncode == 2
    assert (
        done.stderr == "error: a rule is written in a checkout of modellint: there is no fixtures/ beside the package\n"
    )
