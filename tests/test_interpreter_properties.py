"""What holds of every program: it is read, it is read alike twice, and what changes nothing changes no finding."""

from __future__ import annotations

import re
import shutil
import time
import warnings
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from conftest import ROOT
from generated_programs import program
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modellint.config import Settings
from modellint.facts.reading import BadInput, Reading
from modellint.finding import Finding
from modellint.lint import lint
from modellint.source.reader import read_files
from modellint.source.text import parse_bytes

PROJECTS = sorted(path for path in (ROOT / "fixtures" / "projects").iterdir() if path.is_dir())
SECONDS = 20
"""For one small program: far above what it takes, far below what a user would wait."""


def examples(count: int) -> settings:
    """So many examples, the same in every run."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


seeds = st.integers(0, 2**32)


def read(source: str, folder: Path, name: str = "generated.py") -> Reading:
    """Read one program that is not on the disk, and fail when the reader fails or takes too long."""
    start = time.perf_counter()
    reading = read_files([], cwd=folder, stdin=(name, source.encode()))
    assert time.perf_counter() - start < SECONDS
    assert not reading.failures, reading.failures
    return reading


def findings(folder: Path) -> list[Finding]:
    report = lint([folder], Settings(), cwd=folder)
    assert not report.failures
    return list(report.findings)


# --- any program ------------------------------------------------------------------------------------------------------


def valid(source: str) -> bool:
    """Python compiles it; the generator does not know every rule about `yield`, `await` and `:=`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(source, "generated.py", "exec", dont_inherit=True)
        except SyntaxError:
            return False
    return True


def test_the_generator_makes_programs_that_say_something(tmp_path: Path) -> None:
    sources = [program(Random(seed)) for seed in range(60)]
    assert sum(map(valid, sources)) >= 55
    kinds = Counter(type(fact).__name__ for source in sources[:20] for fact in read(source, tmp_path).facts)
    assert {"ForwardUse", "LossUse", "ModuleClass", "ModuleInstance", "TorchCall"} <= set(kinds)
    words = {word for source in sources for word in re.findall(r"[a-z]+", source)}
    assert {
        "async",
        "await",
        "class",
        "global",
        "lambda",
        "match",
        "nonlocal",
        "try",
        "while",
        "with",
        "yield",
    } <= words


@examples(150)
@given(seeds)
def test_generated_programs_are_read_twice_alike(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    source = program(Random(seed))
    folder = tmp_path_factory.getbasetemp()
    first = read(source, folder)
    assert not (first.bad_input and valid(source))
    second = read(source, folder)
    assert [repr(fact) for fact in first.facts] == [repr(fact) for fact in second.facts]
    assert first.not_followed == second.not_followed


# --- changes that mean nothing ----------------------------------------------------------------------------------------


def copy_of(project: Path, folder: Path) -> Path:
    """A fresh copy, so that nothing of it is remembered."""
    target = folder / project.name
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(project, target)
    return target


LOOP = """\
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 8)
        self.drop = nn.Dropout(0.5)
        self.b = nn.Linear(8, {width})

    def forward(self, x):
        return {result}


{helper}def main(train_loader, val_loader):
    model = Net()
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    criterion = {criterion}
    for epoch in range(3):
        model.train()
        for x, y in train_loader:
{training}
        {before}
        with torch.no_grad():
            for x, y in val_loader:
                print(criterion(model(x), y).item())
"""
SCORES = "self.b(F.relu(self.drop(self.a(x))))"
RESULTS = {
    "nn.BCEWithLogitsLoss()": (f"torch.sigmoid({SCORES})", SCORES),
    "nn.CrossEntropyLoss()": (f"F.softmax({SCORES}, dim=1)", SCORES),
    "nn.NLLLoss()": (SCORES, f"F.log_softmax({SCORES}, dim=1)"),
}


def loop_program(body: list[str], *, helper: bool, **parts: str) -> str:
    parameters = "model, opt, criterion, x, y"
    if helper:
        lines = [f"def update({parameters}):", *(f"    {line}" for line in body), "", "", ""]
        return LOOP.format(helper="\n".join(lines), training=f"            update({parameters})", **parts)
    return LOOP.format(helper="", training="\n".join(f"            {line}" for line in body), **parts)


@examples(24)
@given(st.sampled_from(sorted(RESULTS)), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_a_loop_body_in_a_helper_is_the_same_loop_body(
    tmp_path_factory: pytest.TempPathFactory, criterion: str, wrong: bool, clears: bool, evaluates: bool, direct: bool
) -> None:
    folder = tmp_path_factory.mktemp("loop")
    forward = "model.forward(x)" if direct else "model(x)"
    body = [f"loss = criterion({forward}, y)", "loss.backward()", "opt.step()"]
    body = ["opt.zero_grad()", *body] if clears else body
    parts = {
        "criterion": criterion,
        "result": RESULTS[criterion][0 if wrong else 1],
        "width": "1" if "BCE" in criterion else "5",
        "before": "model.eval()" if evaluates else "pass",
    }
    told = []
    for helper in (False, True):
        path = folder / "main.py"
        path.write_text(loop_program(body, helper=helper, **parts))
        lines = path.read_text().splitlines()
        told.append(Counter((found.rule, lines[found.span.line - 1].strip()) for found in findings(folder)))
    inline, wrapped = told
    rules = Counter(rule for rule, _ in inline.elements())
    assert Counter(rule for rule, _ in wrapped.elements()) == rules
    assert {"missing-zero-grad", "missing-eval"} & set(rules) == (
        ({"missing-zero-grad"} if not clears else set()) | ({"missing-eval"} if not evaluates else set())
    )
    assert bool(set(rules) - {"missing-zero-grad", "missing-eval", "direct-forward-call"}) is wrong
    moved = {rule for (rule, line) in inline if (rule, line) not in wrapped}
    assert moved <= {"missing-zero-grad"}, "a finding stands at the same statement; only a loop can be another one"


@pytest.mark.parametrize("project", PROJECTS, ids=lambda path: path.name)
def test_one_file_or_the_whole_tree(tmp_path: Path, project: Path) -> None:
    folder = copy_of(project, tmp_path)

    def key(found: Finding) -> tuple[object, ...]:
        return found.rule, found.span, found.level, found.message, found.why, found.related

    whole = findings(folder)
    files = sorted(folder.rglob("*.py"))
    alone: list[Finding] = []
    for file in files:
        report = lint([file], Settings(), cwd=folder)
        assert not report.failures
        name = file.relative_to(folder).as_posix()
        alone += [found for found in report.findings if found.span.path == name]
    assert Counter(map(key, alone)) == Counter(map(key, whole))


@examples(60)
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, torch: bool) -> None:
    data = b"import torch\n" + data if torch else data
    reading = read_files([], cwd=tmp_path_factory.getbasetemp(), stdin=("any.py", data))
    assert not reading.failures
    assert reading.checked + reading.skipped == 1
    refused = isinstance(parse_bytes(data, Path("any.py"), "any.py"), BadInput)
    assert bool(reading.bad_input) is (refused and bool(reading.checked))
