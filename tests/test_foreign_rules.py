"""Rules of other installed packages: found by their entry points, and only looked for where some package has one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

RULE = '''\
"""One that never fires."""

from modellint.rule import Category, Rule


class ForeignRule(Rule):
    category = Category.SUSPICIOUS
    bad = good = ""
'''


def install(site: Path, entry: str, *, metadata: str = "acme-1.0.dist-info") -> None:
    """A package as an installer leaves it."""
    (site / metadata).mkdir(parents=True)
    (site / metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (site / metadata / "entry_points.txt").write_text(entry)
    (site / "acme_rules.py").write_text(RULE)


def run(site: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(site)))}
    command = [sys.executable, "-m", "modellint", *args]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=site)


@pytest.mark.parametrize("metadata", ["acme-1.0.dist-info", "acme.egg-info", "EGG-INFO"])
def test_a_rule_of_another_package_is_found(tmp_path: Path, metadata: str) -> None:
    site = tmp_path / "acme.egg" if metadata == "EGG-INFO" else tmp_path
    install(site, "[modellint.rules]\nacme-rules = acme_rules:ForeignRule\n", metadata=metadata)
    done = run(site, "rules")
    assert done.returncode == 0, done.stderr
    assert "acme-rules" in done.stdout


def test_an_entry_point_that_is_no_rule_is_a_mistake(tmp_path: Path) -> None:
    install(tmp_path, "[modellint.rules]\nacme = acme_rules:Category\n")
    done = run(tmp_path, "rules")
    assert done.returncode == 2
    assert "acme_rules:Category) is not a Rule subclass" in done.stderr


def test_entry_points_of_others_cost_no_import(tmp_path: Path) -> None:
    install(tmp_path, "[console_scripts]\nacme = acme_rules:main\n")
    code = "import sys; from modellint.catalog import all_rules; assert all_rules(); print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path)))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "acme-rules" not in done.stdout
    assert not {"acme_rules", "importlib.metadata"} & set(done.stdout.split())
