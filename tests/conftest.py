"""What many tests need: a world without the configuration of whoever runs them, and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest
from small_programs import Program

ROOT = Path(__file__).resolve().parent.parent

_VARIABLES = ("MODELLINT_OUTPUT_FORMAT", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "PYTHONIOENCODING", "PYTHONUTF8")


@pytest.fixture(autouse=True)
def _nobody_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No user-level configuration and no variable of this shell reaches a test."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    # One cache a test: none appears in the folders that are checked, and no test sees what another one found.
    monkeypatch.setenv("MODELLINT_CACHE_DIR", str(home / "cache"))


class CommandLine(Protocol):
    """Runs `modellint` in a process of its own."""

    def __call__(
        self,
        *args: str,
        cwd: Path,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[bytes]: ...


@pytest.fixture
def modellint() -> CommandLine:
    """`modellint("check", "x.py", cwd=folder)`: the finished process, its output as bytes."""

    def run(
        *args: str, cwd: Path, stdin: bytes = b"", env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        variables = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        command: Sequence[str] = [sys.executable, "-m", "modellint", *args]
        return subprocess.run(command, cwd=cwd, input=stdin, env=variables, capture_output=True, timeout=timeout)

    return run


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """`program.one(LossUse, source)`: the fact that the source side makes of a small program."""
    return Program(tmp_path)
