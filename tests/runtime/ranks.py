"""Starts a script in processes that train together, as a launcher would."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from conftest import ROOT

LIMIT = 60
"""Seconds until a process that hangs is killed."""


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """The variables of a process that is not in a group yet."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return {**variables, **more}


def in_processes(
    command: Sequence[str], *, count: int = 2, cwd: Path = ROOT, **variables: str
) -> list[subprocess.CompletedProcess[str]]:
    """Run `python COMMAND` as rank 0 to `count - 1` of one group."""
    group = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), **variables}
    return _finished(
        [_start(command, cwd, environment(RANK=str(rank), LOCAL_RANK=str(rank), **group)) for rank in range(count)]
    )


def by_itself(command: Sequence[str], cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `python COMMAND`, which starts its own group."""
    (done,) = _finished([_start(command, cwd, environment())])
    return done


def _start(command: Sequence[str], cwd: Path, variables: dict[str, str]) -> subprocess.Popen[str]:
    """A session of its own: with it ends whatever it has started, which else holds the pipes open for ever."""
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _finished(started: list[subprocess.Popen[str]]) -> list[subprocess.CompletedProcess[str]]:
    """Their output; a process that hangs is killed and says so."""
    end = time.monotonic() + LIMIT
    outputs = []
    for process in started:
        try:
            outputs.append(process.communicate(timeout=max(end - time.monotonic(), 1.0)))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            outputs.append((output, f"{errors}\nkilled after {LIMIT} seconds"))
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *output)
        for process, output in zip(started, outputs, strict=True)
    ]
