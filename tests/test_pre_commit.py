"""The pre-commit hook, installed and run as pre-commit does it; and what installing the core brings in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("git") is None, reason="pre-commit needs git")]

SHIPPED = ("modellint", "pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml")

MODEL = "import torch\n\n\ndef device():\n    return torch.device('gpu')\n"


def call(*command: str, cwd: Path, code: int = 0, **variables: str) -> str:
    """Run a command; its whole output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def repository(folder: Path) -> Path:
    """A git repository with everything in it committed."""
    folder.mkdir(exist_ok=True)
    call("git", "init", "-q", cwd=folder)
    call("git", "config", "user.name", "Test", cwd=folder)
    call("git", "config", "user.email", "test@example.invalid", cwd=folder)
    call("git", "add", "-A", cwd=folder)
    call("git", "commit", "-q", "--allow-empty", "-m", "first", cwd=folder)
    return folder


@pytest.fixture
def hooks(tmp_path: Path) -> Path:
    """This project as a repository of hooks."""
    folder = tmp_path / "hooks"
    folder.mkdir()
    for name in SHIPPED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return repository(folder)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A project with a bug, a bug in an excluded folder, and a clean file."""
    folder = tmp_path / "scratch"
    (folder / "gen").mkdir(parents=True)
    (folder / "bug.py").write_text(MODEL)
    (folder / "gen" / "made.py").write_text(MODEL)
    (folder / "clean.py").write_text("import torch\n")
    (folder / "pyproject.toml").write_text("[tool.modellint]\nextend-exclude = ['gen']\n")
    return repository(folder)


def pre_commit(*args: str, cwd: Path, store: Path, code: int = 0) -> str:
    # A hook's environment must come from its own repository, not from the one that is being tested.
    return call(
        sys.executable, "-m", "pre_commit", *args, cwd=cwd, code=code, PRE_COMMIT_HOME=str(store), PYTHONPATH=""
    )


def test_manifest_is_valid(tmp_path: Path) -> None:
    pre_commit("validate-manifest", str(ROOT / ".pre-commit-hooks.yaml"), cwd=tmp_path, store=tmp_path / "store")


def test_try_repo(hooks: Path, scratch: Path, tmp_path: Path) -> None:
    output = pre_commit(
        "try-repo", str(hooks), "modellint", "--files", "bug.py", "gen/made.py", "clean.py",
        cwd=scratch, store=tmp_path / "store", code=1,
    )  # fmt: skip
    assert "exit code: 1" in output
    assert "error[invalid-device]" in output
    assert "bug.py:5:" in output
    assert "gen/made.py" not in output, "excluded files stay excluded when pre-commit names them"


def test_one_staged_file_and_the_whole_project(hooks: Path, scratch: Path, tmp_path: Path) -> None:
    revision = call("git", "rev-parse", "HEAD", cwd=hooks).strip()
    (scratch / ".pre-commit-config.yaml").write_text(
        f"repos:\n- repo: {hooks.as_uri()}\n  rev: {revision}\n  hooks:\n  - id: modellint\n  - id: modellint-project\n"
    )
    (scratch / "clean.py").write_text("import torch\n\nx = torch.zeros(1)\n")
    call("git", "add", "clean.py", ".pre-commit-config.yaml", cwd=scratch)
    store = tmp_path / "store"
    output = pre_commit("run", "modellint", cwd=scratch, store=store)
    assert "Passed" in output, "only the staged file is checked"
    output = pre_commit("run", "modellint-project", "--hook-stage", "pre-push", cwd=scratch, store=store, code=1)
    assert "bug.py:5:" in output
    check_installed(store)


def check_installed(store: Path) -> None:
    """The environment that was made for the hook: no torch, under 25 MB."""
    (packages,) = store.glob("repo*/py_env-*/lib*/python3*/site-packages")
    names = {path.name.split("-")[0].lower() for path in packages.iterdir()}
    assert {"modellint", "click", "libcst"} <= names
    assert not names & {"torch", "numpy", "rich", "pydantic"}
    # virtualenv puts pip in; pip installs our own code as a wheel, compiled.
    installer = ("pip", "setuptools", "wheel", "_virtualenv", "distutils-precedence")
    files = [
        path
        for entry in packages.iterdir()
        if not entry.name.startswith(installer)
        for path in (entry.rglob("*") if entry.is_dir() else [entry])
    ]
    size = sum(path.stat().st_size for path in files if path.is_file())
    assert 500_000 < size < 25_000_000, size
