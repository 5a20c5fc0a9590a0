"""Rules on checkpoints, clocks and old names, on facts made by hand and on what the reader makes of programs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modellint.catalog import all_rules
from modellint.facts.checkpoint_read import CheckpointRead
from modellint.facts.old_name import OldName
from modellint.facts.span import Span
from modellint.facts.state_load import StateLoad
from modellint.facts.timed_forward import TimedForward
from modellint.facts.torch_call import UNKNOWN
from modellint.facts.torch_version import TorchVersions
from modellint.finding import Finding
from modellint.judge import judge
from tests.small_programs import Program


def at(line: int) -> Span:
    return Span("train.py", line, 1, line, 9)


def judged(rule: str, fact: object) -> list[Finding]:
    findings, failures = judge([fact], [all_rules()[rule]()])
    assert not failures
    return list(findings)


OLD = TorchVersions((2, 1), (2, 5), "requirements.txt")
NEW = TorchVersions((2, 6), None, "pyproject.toml")
READ = CheckpointRead(at(3), "args.resume", False, at(4), saved_here=False, in_test_suite=False, versions=None)


@pytest.mark.parametrize("read", [READ, replace(READ, versions=NEW), replace(READ, weights_only=None, versions=OLD)])
def test_what_is_unpickled(read: CheckpointRead) -> None:
    (finding,) = judged("unsafe-torch-load", read)
    assert "`args.resume`" in finding.message


@pytest.mark.parametrize(
    "read",
    [
        replace(READ, weights_only=True),
        replace(READ, weights_only=UNKNOWN, versions=OLD),
        replace(READ, weights_only=None),
        replace(READ, weights_only=None, versions=NEW),
        replace(READ, weights_only=None, versions=TorchVersions((2, 1), None, "pyproject.toml")),
        replace(READ, saved_here=True),
        replace(READ, in_test_suite=True),
    ],
)
def test_what_is_read_safely(read: CheckpointRead) -> None:
    assert judged("unsafe-torch-load", read) == []


LOAD = StateLoad(at(2), "net.load_state_dict", "net", "state", False, result_dropped=True, changed=False)


def test_a_partial_load_that_nobody_checks() -> None:
    (finding,) = judged("unchecked-partial-load", LOAD)
    assert finding.help.endswith("missing, unexpected = net.load_state_dict(state, strict=False)")


@pytest.mark.parametrize(
    "change", [{"strict": True}, {"strict": None}, {"strict": UNKNOWN}, {"result_dropped": False}, {"changed": True}]
)
def test_loads_that_are_checked(change: dict[str, object]) -> None:
    assert judged("unchecked-partial-load", replace(LOAD, **change)) == []  # type: ignore[arg-type]


GONE = OldName(at(5), "torch.eig", "torch.eig", (1, 13), True, "torch.linalg.eig", guarded=False, versions=None)
AGED = replace(GONE, text="torch.lu", name="torch.lu", since=(1, 11), removed=False, versions=OLD)


@pytest.mark.parametrize(("old", "what"), [(GONE, "was removed"), (AGED, "is deprecated"),
                                           (replace(GONE, versions=OLD), "was removed")])  # fmt: skip
def test_old_names(old: OldName, what: str) -> None:
    (finding,) = judged("deprecated-call", old)
    assert finding.message == f"`{old.name}` {what}"


@pytest.mark.parametrize(
    "old",
    [
        replace(GONE, guarded=True),
        replace(AGED, guarded=True),
        replace(GONE, versions=TorchVersions((1, 8), (1, 13), "setup.cfg")),
        replace(AGED, versions=None),
        replace(AGED, versions=TorchVersions((1, 10), None, "setup.cfg")),
    ],
)
def test_old_names_that_are_fine(old: OldName) -> None:
    assert judged("deprecated-call", old) == []


TIMED = TimedForward(at(9), "time() - start", at(5), "net", at(7), "cuda:0", in_test_suite=False)


def test_a_timed_forward() -> None:
    (finding,) = judged("unsynchronized-timing", TIMED)
    assert finding.message == "the time of `net` on `cuda:0` is taken before it has finished"
    assert judged("unsynchronized-timing", replace(TIMED, in_test_suite=True)) == []


TIMING = """
import time
net = nn.Linear(4, 1).to({device!r})
x = torch.randn(2, 4)
start = time.time()
{body}
seconds = time.time() - start
"""


@pytest.mark.parametrize(
    ("body", "device", "count"),
    [
        ("net(x)", "cuda", 1),
        ("net(x)", "cpu", 0),
        ("for _ in range(3): net(x)", "cuda", 1),
        ("for _ in [x, x]: net(x)", "cuda", 0),
        ("y = net(x).tolist()", "cuda", 0),
        ("y = net(x)\nprint(y)", "cuda", 0),
        ("y = net(x)\nwait()", "cuda", 0),
        ("y = net(x).relu()", "cuda", 1),
        ("net(x)\ntorch.cuda.synchronize()", "cuda", 0),
        ("pass", "cuda", 0),
    ],
)
def test_what_is_queued_between_two_readings(program: Program, body: str, device: str, count: int) -> None:
    assert len(program.all(TimedForward, TIMING.format(body=body, device=device))) == count


@pytest.mark.parametrize(
    ("code", "dropped", "changed"),
    [
        ("net.load_state_dict(torch.load('a'), strict=False)", True, False),
        ("net.load_state_dict(torch.load('a')['net'], False)", True, False),
        ("got = net.load_state_dict(torch.load('a'), strict=False)", False, False),
        ("s = torch.load('a')\nnet.load_state_dict(s['net'], strict=False)", True, False),
        ("s = torch.load('a')\ns.pop('x')\nnet.load_state_dict(s, strict=False)", True, True),
        ("s = torch.load('a')\ns['x'] = 1\nnet.load_state_dict(s, strict=False)", True, True),
        ("s = dict(torch.load('a'))\nnet.load_state_dict(s, strict=False)", True, True),
        ("net.load_state_dict(given, strict=False)", True, True),
    ],
)
def test_what_is_loaded(program: Program, code: str, dropped: bool, changed: bool) -> None:
    load = program.one(StateLoad, f"net = nn.Linear(4, 1)\n{code}")
    assert (load.strict, load.result_dropped, load.changed) == (False, dropped, changed)
