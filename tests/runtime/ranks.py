"""Starts a script in two processes that train together, as a launcher would."""

from __future__ import annotations

import os
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


def two_processes(command: Sequence[str], cwd: Path = ROOT) -> list[subprocess.CompletedProcess[str]]:
    """Run `python COMMAND` as rank 0 and rank 1; a process that hangs is killed and says so."""
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=cwd,
            env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **group),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    end = time.monotonic() + LIMIT
    outputs = []
    for process in started:
        try:
            outputs.append(process.communicate(timeout=max(end - time.monotonic(), 1.0)))
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            outputs.append((output, f"{errors}\nkilled after {LIMIT} seconds"))
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *output)
        for process, output in zip(started, outputs, strict=True)
    ]
