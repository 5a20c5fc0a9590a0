"""Silent errors from public issues, executed under a watch: the buggy training is found, its mended twin is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from markers import compare, parse_file
from stories import SILENT, STORIES, found_by_run, found_by_source, several_processes

IN_PROCESS = [path for path in STORIES if not several_processes(path)]


@pytest.mark.parametrize("path", IN_PROCESS, ids=lambda path: path.stem)
def test_a_run_finds_what_is_marked(path: Path) -> None:
    problems = compare(parse_file(path), found_by_run(path))
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("path", SILENT, ids=lambda path: path.stem)
def test_a_good_training_is_silent(path: Path) -> None:
    assert not [f"{finding.span}: {finding.rule}: {finding.message}" for finding in found_by_run(path)]


@pytest.mark.parametrize("path", [*STORIES, *SILENT], ids=lambda path: path.stem)
def test_the_source_reader_raises_no_false_alarm(path: Path) -> None:
    marked = {(marker.rule, marker.line) for marker in parse_file(path) if marker.kind == "expect"}
    false = [f for f in found_by_source(path) if (f.rule, f.span.line) not in marked]
    assert not [f"{finding.span}: {finding.rule}: {finding.message}" for finding in false]


def test_every_story_has_a_mended_twin() -> None:
    for path in STORIES:
        marked = parse_file(path)
        if path.stem.endswith("_mended"):
            assert not marked, path
        elif marked:
            assert path.with_name(f"{path.stem}_mended.py").exists(), path
