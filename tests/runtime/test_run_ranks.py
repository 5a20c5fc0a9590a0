"""Several processes that train together: one report, the rules that compare ranks, and no end that hangs."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from markers import compare, parse_file
from ranks import by_itself, free_port, in_processes
from torch import distributed

from modellint.catalog import all_rules
from modellint.facts.span import Span
from modellint.finding import Category, Certainty, Edit, Finding, Fix, FlowStep, Level, Note, Safety
from modellint.finding_data import finding_data, finding_from
from modellint.runtime.ranks import ranks_text

PROGRAMS = Path(__file__).with_name("trained_by_ranks.py")
RUN = ["-m", "modellint", "run"]
RULES = [rule for rule in all_rules().values() if rule.__module__.startswith("modellint.rules.distributed")]

pytestmark = pytest.mark.skipif(
    not distributed.is_available() or not distributed.is_gloo_available(), reason="torch without gloo"
)


def write(folder: Path, text: str) -> str:
    path = folder / "train.py"
    path.write_text(inspect.cleandoc(text) + "\n", encoding="utf-8")
    return str(path)


def document(text: str) -> dict[str, Any]:
    """The JSON that a run has written behind what the script has written."""
    found = json.loads(text[text.index("{\n") :])
    assert isinstance(found, dict)
    return found


# --- findings ---------------------------------------------------------------------------------------------------------


def test_programs() -> None:
    first, second = in_processes([*RUN, "--output-format", "json", str(PROGRAMS)])
    assert "done" in first.stdout, first.stderr
    assert second.stdout == "done\n"
    assert "modellint" not in second.stderr, "rank 0 speaks for all"
    found = document(first.stdout.replace("done\n", ""))
    findings = [_finding(data) for data in found["findings"]]
    problems = compare(parse_file(PROGRAMS), findings)
    assert not problems, "\n".join(problems)
    assert not found["failures"]
    assert (first.returncode, second.returncode) == (1, 0)
    merged = next(finding for finding in findings if finding.rule == "missing-no-grad")
    assert merged.notes == ("on ranks 0-1",)
    gaps = {(gap["reason"], *gap["rules"]) for gap in found["run"]["out_of_sight"]}
    assert gaps >= {
        ("the ranks began with different weights", "gradients-not-averaged"),
        ("a communication hook averages its gradients", "ddp-bypassed", "rank-divergence"),
        ("no other rank reported it at the same step", "gradients-not-averaged"),
    }


def _finding(data: dict[str, Any]) -> Finding:
    start, end = data["range"]["start"], data["range"]["end"]
    return Finding(
        data["rule"],
        Category(data["category"]),
        Level(data["level"]),
        Certainty(data["certainty"]),
        data["message"],
        Span(data["path"], start["line"], start["column"], end["line"], end["column"]),
        label=data["label"],
        seen=data["seen"],
        why=data["why"],
        notes=tuple(data["notes"]),
    )


EXAMPLES = """
import json
import os
import runpy
import sys

from modellint import watch

kept = []  # torch may wait for ever where a wrapped model dies after its group
ports, *paths = sys.argv[1:]
for port, path in zip(json.loads(ports), paths):
    os.environ["MASTER_PORT"] = str(port)
    name = os.path.basename(path).partition(".")[0]
    with watch(select=["ALL_DEFAULT", name]) as seen:
        kept.append(runpy.run_path(path, run_name="__main__"))
    assert not seen.failures, seen.failures
    print(json.dumps([os.path.basename(path), [[f.rule, f.span.line] for f in seen.findings]]), flush=True)
os._exit(0)
"""


def test_examples_in_in_processes(tmp_path: Path) -> None:
    """What test_examples does for the other rules, in one pair of processes."""
    expected, paths = {}, []
    for rule in RULES:
        for which, source in (("bad", rule.bad), ("good", rule.good)):
            path = tmp_path / f"{rule.name}.{which}.py"
            path.write_text(inspect.cleandoc(source) + "\n", encoding="utf-8")
            paths.append(str(path))
            expected[path.name] = [[marker.rule, marker.line] for marker in parse_file(path)]
            assert bool(expected[path.name]) is (which == "bad")
    by_default = sorted(name for name, rule in all_rules().items() if rule.category.default_on)
    script = write(tmp_path, EXAMPLES.replace('"ALL_DEFAULT"', ", ".join(map(repr, by_default))))
    ports = json.dumps([free_port() for _ in paths])
    first, second = in_processes([script, ports, *paths])
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    lines = [json.loads(line) for line in first.stdout.splitlines() if line.startswith("[")]
    assert dict(lines) == expected


# --- a watch changes nothing ------------------------------------------------------------------------------------------

TWICE = """
import hashlib
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from modellint import watch

def train():
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1)))
    torch.manual_seed(distributed.get_rank())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(50):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()
    digest = hashlib.sha256()
    for value in [*model.state_dict().values(), torch.get_rng_state()]:
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()

distributed.init_process_group("gloo")
names = ["ddp-bypassed", "gradients-not-averaged", "rank-divergence", "duplicated-rank-batches", "missing-zero-grad"]
with watch(select=names) as seen:
    watched = train()
assert not seen.findings and not seen.failures
print(watched == train())
with watch() as seen:
    watched = train()
assert not seen.findings and not seen.failures
print(watched == train())
"""


def test_a_watched_training_is_the_same_in_every_bit(tmp_path: Path) -> None:
    for rank in in_processes([write(tmp_path, TWICE)]):
        assert rank.stdout == "True\nTrue\n", rank.stderr


# --- ends -------------------------------------------------------------------------------------------------------------

ENDS = """
import os
import signal
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

distributed.init_process_group("gloo")
rank = distributed.get_rank()
model = DistributedDataParallel(nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(6):
    if rank == 1 and step == 4:
        END
    loss = model(torch.randn(8, 4)).pow(2).mean()
    loss.backward()
    optimizer.step()
distributed.destroy_process_group()
if rank == 1:
    other = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    for _ in range(6):
        other(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()
"""


def test_a_rank_that_raises(tmp_path: Path) -> None:
    script = write(tmp_path, ENDS.replace("END", "raise ValueError('no more')"))
    first, second = in_processes([*RUN, script])
    assert "ValueError: no more" in second.stderr
    assert (first.returncode, second.returncode) == (1, 1)
    assert first.stderr.count("missing-zero-grad") - first.stderr.count("explain missing-zero-grad") == 1
    assert "modellint (rank" not in second.stderr


def test_a_rank_that_is_killed(tmp_path: Path) -> None:
    script = write(tmp_path, ENDS.replace("END", "os.kill(os.getpid(), signal.SIGKILL)"))
    first, second = in_processes([*RUN, script])
    assert second.returncode == -9
    assert first.returncode == 1
    assert "rank 1 (did not report)" in first.stderr
    assert "missing-zero-grad" in first.stderr


def test_under_a_launcher(tmp_path: Path) -> None:
    """The group is destroyed before the end, and one rank does something of its own."""
    script = write(tmp_path, ENDS.replace("END", "pass"))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = by_itself([*launcher, *RUN, "--output-format", "json", script])
    assert done.returncode == 0, done.stderr
    found = document(done.stdout)
    notes = {finding["range"]["start"]["line"]: finding["notes"] for finding in found["findings"]}
    assert notes == {16: ["on ranks 0-1"], 23: ["on rank 1 of 2"]}
    assert found["run"]["out_of_sight"] == []


# --- data -------------------------------------------------------------------------------------------------------------


def test_a_finding_survives_the_way_to_rank_0() -> None:
    span, other = Span("a.py", 1, 2, 3, 4), Span("b c.py", 5, 6, 7, 8)
    fix = Fix("mend it", Safety.UNSAFE, "why", (Edit(other, "x = 1\n"),))
    finding = Finding(
        "some-rule", Category.SUSPICIOUS, Level.WARNING, Certainty.LIKELY, "`m` is wrong", span, label="here",
        primary_order=2, related=(Note(other, "there", 1, cause=True),), flow=(FlowStep(other, "through"),),
        seen="3 of 4", why="because", help="do", notes=("one", "two"), fix=fix, sides=("runtime",),
        evidence={"times": 3, "share": 0.5, "module": "norm"}, weight=2,
    )  # fmt: skip
    assert finding_from(json.loads(json.dumps(finding_data(finding)))) == finding


@pytest.mark.parametrize(
    ("ranks", "text"),
    [([1], "rank 1"), ([0, 1, 2, 3], "ranks 0-3"), ([7, 0, 2, 5, 6], "ranks 0, 2, 5-7")],
)
def test_ranks_are_named_in_short(ranks: list[int], text: str) -> None:
    assert ranks_text(ranks) == text
