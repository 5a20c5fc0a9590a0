"""Every rule that judges a run is tried on a run: found in a program of its own, and executed in its examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from modellint.catalog import all_rules

ON_A_RUN = [name for name, rule in all_rules().items() if "runtime" in rule.sides]
PROGRAMS = "\n".join(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("test_run_*.py")))


@pytest.mark.parametrize("name", ON_A_RUN)
def test_a_program_expects_it(name: str) -> None:
    assert f"expect: {name}" in PROGRAMS or f'"{name}"' in PROGRAMS
