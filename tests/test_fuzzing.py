"""Whatever the program: it is read within its budget, and neither the reader nor a rule fails.

The same over many more programs, and over real files: `python tests/scale.py`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch_programs import damaged_file, growth, programs, shapes, training

from modellint import catalog
from modellint.facts.reading import BadInput, Reading
from modellint.finding import Finding
from modellint.judge import judge
from modellint.source.interpreter.entry import Interpreter
from modellint.source.project import SourceFile
from modellint.source.reader import read_files
from modellint.source.text import mentions_torch, parse_bytes
from modellint.source.tree import statements

SECONDS = 20
"""For one small program: far above what it takes, far below what a user would wait."""
FIXTURES = sorted(path for path in (ROOT / "fixtures").rglob("*.py") if path.read_bytes().strip())


def examples(count: int) -> settings:
    """So many examples, the same in every run."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )


@pytest.fixture(autouse=True)
def _within_budget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is entered in a file takes no more steps than the file has, over all its entry points."""
    run_file = Interpreter.run_file
    too_long: list[tuple[int, int]] = []

    def counted(self: Interpreter, file: SourceFile) -> None:
        before = self.total_steps
        run_file(self, file)
        allowed = self.SCRIPT_BUDGET * (1 + len(file.main_blocks))
        allowed += 3 * (self.LIBRARY_FLOOR + self.LIBRARY_STEPS * len(statements(file.text.tree)))
        if self.total_steps - before > allowed:
            too_long.append((self.total_steps - before, allowed))

    monkeypatch.setattr(Interpreter, "run_file", counted)
    yield
    assert not too_long, "steps taken and allowed"


def read_and_judge(data: bytes, folder: Path) -> tuple[Reading, list[Finding]]:
    """Read one file that is not on the disk, judge it with every rule, and fail when either fails or takes too long."""
    rules = [rule() for rule in catalog.all_rules().values() if "source" in rule.sides]
    start = time.perf_counter()
    reading = read_files([], cwd=folder, stdin=("generated.py", data))
    findings, failures = judge(reading.facts, rules)
    assert time.perf_counter() - start < SECONDS
    assert not reading.failures
    assert not failures
    return reading, findings


@pytest.mark.parametrize("maker", [training, shapes, growth])
def test_the_programs_are_mostly_valid_and_say_something(tmp_path: Path, maker: object) -> None:
    assert callable(maker)
    sources = [maker(Random(seed)).encode() for seed in range(40)]
    assert sum(not isinstance(parse_bytes(s, Path("x.py"), "x.py"), BadInput) for s in sources) >= 36
    assert all(map(mentions_torch, sources))
    readings = [read_and_judge(source, tmp_path) for source in sources[:20]]
    rules = {finding.rule for _, findings in readings for finding in findings}
    kinds = {type(fact).__name__ for reading, _ in readings for fact in reading.facts}
    assert len(rules) >= (0 if maker is growth else 2)
    assert len(kinds) >= (2 if maker is growth else 8)


@examples(150)
@given(programs(training))
def test_any_training_is_read(tmp_path_factory: pytest.TempPathFactory, source: str) -> None:
    read_and_judge(source.encode(), tmp_path_factory.getbasetemp())


@examples(250)
@given(programs(shapes))
def test_any_sizes_are_read(tmp_path_factory: pytest.TempPathFactory, source: str) -> None:
    read_and_judge(source.encode("utf-8", "surrogatepass"), tmp_path_factory.getbasetemp())


@examples(120)
@given(programs(growth))
def test_programs_that_cost_much_are_read(tmp_path_factory: pytest.TempPathFactory, source: str) -> None:
    read_and_judge(source.encode(), tmp_path_factory.getbasetemp())


@examples(150)
@given(st.sampled_from(FIXTURES), st.integers(0, 2**32))
def test_what_is_left_of_a_damaged_file_is_read(
    tmp_path_factory: pytest.TempPathFactory, path: Path, seed: int
) -> None:
    data = damaged_file(path.read_bytes(), Random(seed))
    reading, _ = read_and_judge(data, tmp_path_factory.getbasetemp())
    refused = isinstance(parse_bytes(data, Path("x.py"), "x.py"), BadInput)
    assert bool(reading.bad_input) is (refused and bool(reading.checked))


MENDED = {
    "a number that Python does not print": "class A(nn.Module):\n    def __init__(self):\n"
    f"        super().__init__()\n        self.a = nn.Linear(0x{'f' * 5000}, 1)\n        self.b = nn.ReLU()\n"
    f"    def forward(self, x):\n        return self.b(x)\nA()(torch.ones(1))\nprint(f'{{0x{'f' * 5000}}}')",
    "a number that is no float": f"drop = nn.Dropout({'9' * 400})\nx = torch.where(x > {'9' * 400}, 1 / x, x)",
    "an infinite number of layers": "rnn = nn.LSTM(8, 8, 1e400, dropout=0.5)\nrnn(x)",
    "very many layers": "class A(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        self.rnn = nn.LSTM(8, 8, 10**11)\n        self.t = nn.Transformer(8, 2, 10**11)\n"
    "    def forward(self, x):\n        return self.t(self.rnn(x)[0])\nnet = A()\nnet.apply(print)",
    "a list that doubles": "x = [0]\n" + "x = x + x\n" * 60 + "y = [0]\n" + "y = y * 20\n" * 20,
    "parameters that double": "p = nn.Linear(1, 1).parameters()\n" + "p = p + p\n" * 60,
    "a text that doubles": "x = 'a'\n" + "x = x.replace('a', 'aa')\n" * 60,
    "wide formats": "".join(f"a = '%99999999{i}d' % 1\nb = '{{:>99999999{i}}}'.format(1)\n" for i in range(10, 50)),
    "digits rounded away": "x = round(5, -10**9)\nnet = nn.Linear(x, x)",
    "a number from text": f"net = nn.Linear(int('{'f' * 5000}', 16), 1)",
    "a range of four": "for i in range(1, 2, 3, 4): net(i)\nrange(-2**62, 2**62, 1)",
    "a range without end": f"n = len(range(-{2**62}, {2**63 - 1}))",
    "a slice without a step": "x = [1, 2][::0]\ny = nn.Sequential(nn.ReLU())[::0]\nz = torch.ones(2).shape[::0]",
    "a shape cut far away": "x = x.shape[-10**11:]\ny = net(z).shape[-10**11:]\nw = net(z).size()[:10**11]",
    "a place far away": f"x = [1]\nx.insert(0x{'f' * 40}, 2)\nx[0x{'f' * 40}]",
    "a copy of a list that holds itself": "import copy\nx = []\nx.append(x)\ny = copy.deepcopy(x)",
    "a copy of a list that holds a list often": "import copy\nx = [1]\n" + "x = [x, x]\n" * 60 + "copy.deepcopy(x)",
    "dicts that hold dicts": "x = {}\n" + "x = {**x, len(x): x}\n" * 200 + "x = torch.cat(x)\n",
    "a tower of classes": "class C0: pass\n" + "".join(f"class C{i + 1}(C{i}): a = C{i}\n" for i in range(2000)),
    "a class of many costly methods": "class A:\n"
    + "".join(
        f"    def m{i}(self, x):\n"
        + "".join(f"{'    ' * depth}for a{depth} in x:\n" for depth in range(2, 12))
        + f"{'    ' * 12}x = self.f(x)\n"
        for i in range(100)
    ),
    "very many layers in a row": f"net = nn.Sequential({'nn.Linear(1, 1), ' * 3000})\nnet(torch.ones(1))",
}


@pytest.mark.parametrize("body", MENDED.values(), ids=MENDED)
def test_what_once_failed_or_took_for_ever(tmp_path: Path, body: str) -> None:
    source = f"import torch\nimport torch.nn as nn\n{body}\n"
    start = time.perf_counter()
    reading, _ = read_and_judge(source.encode(), tmp_path)
    assert not reading.bad_input
    assert time.perf_counter() - start < SECONDS / 2
