"""What changes nothing in a program changes no finding: every change of `metamorphic`, over every fixture.

The same over real files: `python tests/metamorphic.py --over DIR...`.
"""

from __future__ import annotations

import ast
import functools
import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from conftest import ROOT
from metamorphic import CHANGES, Files, Refused, differences, everything, findings_of_files, same

from modellint.finding import Finding

FIXTURES = ROOT / "fixtures"
PROJECTS = sorted(path for path in (FIXTURES / "projects").iterdir() if path.is_dir())
GROUPS = sorted(path for path in (FIXTURES / "rules").iterdir() if path.is_dir())
_BY_TEXT = "what is known by the text of one function is not known of the helper"
KNOWN = {
    ("extracted", "discarded-result/silent_effects.py"): f"{_BY_TEXT}: it is timed",
    ("extracted", "missing-zero-grad/fires_plain.py"): f"{_BY_TEXT}: what it tests is the outer loop's variable",
    ("extracted", "requires-grad-on-module/silent_tensors.py"): f"{_BY_TEXT}: the parameters are set as well",
    ("extracted", "requires-grad-typo/fires_spellings.py"): f"{_BY_TEXT}: what it is given are parameters",
    ("extracted", "softmax-before-cross-entropy/fires_match.py"): f"{_BY_TEXT}: a loop that appends counts each round",
    ("extracted", "unregistered-module/fires_two_files"): "the helper of a forward is not asked which layer comes next",
    ("extracted", "unused-module/silent_reached_otherwise.py"): "the helper of a forward is not asked which comes next",
    ("extracted", "channel-mismatch/silent_one_of_several.py"): "only in the helper it is seen which layer comes next",
}
"""Where a change does change what is found, and why; a difference that is gone must go from here."""
UNRELATED = """\
import torch
import torch.nn as nn


class QuiteOther(nn.Module):
    def __init__(self):
        super().__init__()
        self.quite_other_part = nn.Linear(3, 5)

    def forward(self, quite_other_input):
        return torch.sigmoid(self.quite_other_part(quite_other_input))


quite_other = QuiteOther()
quite_other_optimizer = torch.optim.SGD(quite_other.parameters(), lr=0.1)
for quite_other_batch in [torch.randn(2, 3)]:
    nn.BCEWithLogitsLoss()(quite_other(quite_other_batch), torch.ones(2, 5)).backward()
    quite_other_optimizer.step()
"""


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


@functools.cache
def found_in(files: tuple[tuple[str, str], ...]) -> tuple[Finding, ...]:
    """What is found in these files, in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        return tuple(findings_of_files(dict(files), Path(folder)))


def problems(name: str, files: Files, label: str) -> list[str]:
    """What differs before and after a change."""
    try:
        change = CHANGES[name](files, Random(f"{name} {label}"))
    except Refused:
        return []
    lost, gained = differences(change, lambda sources: found_in(tuple(sorted(sources.items()))))
    if (name, label) in KNOWN:
        return [] if lost or gained else [f"{label}: no longer differs"]
    return [f"{label}: lost {key}" for key in lost] + [f"{label}: gained {key}" for key in gained]


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
@pytest.mark.parametrize("name", CHANGES)
def test_over_projects(name: str, project: Path) -> None:
    assert not problems(name, files_of(project), project.name)


@pytest.mark.parametrize("group", GROUPS, ids=lambda path: path.name)
@pytest.mark.parametrize("name", CHANGES)
def test_over_the_cases_of_a_rule(name: str, group: Path) -> None:
    different = [p for label, files in units(group).items() for p in problems(name, files, f"{group.name}/{label}")]
    assert not different


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_a_file_that_nothing_imports_changes_nothing_elsewhere(project: Path) -> None:
    files = files_of(project)
    names = ("aaa_quite_other.py", "zzz_quite_other.py")
    more = found_in(tuple(sorted({**files, **dict.fromkeys(names, UNRELATED)}.items())))
    others = [finding for finding in more if finding.span.path in names]
    assert {finding.rule for finding in others} >= {"missing-zero-grad", "sigmoid-before-logits-loss"}
    rest = [everything(finding, lambda span: span, same) for finding in more if finding not in others]
    assert rest == [everything(f, lambda span: span, same) for f in found_in(tuple(sorted(files.items())))]


def test_each_change_changes_something() -> None:
    sources = files_of(PROJECTS[[path.name for path in PROJECTS].index("twin")])
    for name, make in CHANGES.items():
        changes = [make(sources, Random(seed)) for seed in range(6)]
        assert any(change.before != change.after for change in changes), name
    with pytest.raises(Refused):
        CHANGES["extracted"]({"a.py": "x = 1\n"}, Random(0))


def test_comments_give_no_budget() -> None:
    """What is entered of a long library does not depend on how its code is laid out."""
    blocks = "".join(f"{'    ' * depth}for a{depth} in x:\n" for depth in range(1, 8)) + f"{'    ' * 8}x = g(x)\n"
    costly = "".join(f"def f{index}(x):\n{blocks}" for index in range(40))
    last = "def last(x):\n    x.softmax\n    return torch.nn.Softmax()(x)\n"
    plain = f"import torch\n{costly}{last}"
    spaced = f"import torch\n{costly}" + "# nothing\n" * 20_000 + last
    found = [[finding.rule for finding in found_in((("a.py", source),))] for source in (plain, spaced)]
    assert found[0] == found[1]


def test_a_lost_finding_is_a_difference() -> None:
    files = {"main.py": UNRELATED}
    change = CHANGES["renamed"](files, Random(0))
    spoilt = replace(change, after={"main.py": change.after["main.py"].replace("torch.sigmoid", "")})
    lost, gained = differences(spoilt, lambda sources: found_in(tuple(sources.items())))
    assert [key[0] for key in lost] == ["sigmoid-before-logits-loss"]
    assert not gained
    assert differences(change, lambda sources: found_in(tuple(sources.items()))) == ([], [])


@pytest.mark.parametrize("name", CHANGES)
def test_over_clean_code(name: str) -> None:
    different = [p for label, files in units(FIXTURES / "clean").items() for p in problems(name, files, label)]
    assert not different
