"""The rules on training loops under DistributedDataParallel, in a group of one process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT
from loops_under_ddp import PROGRAMS
from ranks import in_processes
from torch import distributed

LIKELY = {"second_pass_refused"}

pytestmark = pytest.mark.skipif(
    not distributed.is_available() or not distributed.is_gloo_available(), reason="torch without gloo"
)


@pytest.fixture(scope="module")
def results() -> dict[str, object]:
    """What each program came to: the certainties of its findings, or a traceback."""
    here = Path(__file__).parent
    paths = f"{ROOT}:{here}:{here.parent}"
    (done,) = in_processes([str(here / "loops_under_ddp.py")], count=1, PYTHONPATH=paths)
    found = dict(json.loads(line) for line in done.stdout.splitlines())
    assert len(found) == len(PROGRAMS), done.stderr
    return found


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_programs(results: dict[str, object], program: Callable[[], None]) -> None:
    found = results[program.__name__]
    assert isinstance(found, list), found
    assert set(found) <= {"likely" if program.__name__ in LIKELY else "certain"}
