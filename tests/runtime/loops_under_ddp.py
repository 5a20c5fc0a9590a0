"""Training loops under DistributedDataParallel, in a group of one process: for `test_run_loops_distributed`.

They run in a process of their own, which ends without freeing anything: torch may wait for ever where a wrapped model
dies after its group, and its group's threads must not live in the process of the tests.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from watching import check

STEPS = 6


def wrapped(*, view: bool = False) -> DistributedDataParallel:
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))
    return DistributedDataParallel(net, gradient_as_bucket_view=view)


def loss_of(model: nn.Module) -> torch.Tensor:
    return model(torch.randn(8, 4)).pow(2).mean()  # type: ignore[no-any-return]


def never_cleared() -> None:
    model = wrapped()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        loss_of(model).backward()
        optimizer.step()  # expect: missing-zero-grad


def never_cleared_in_bucket_views() -> None:
    model = wrapped(view=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        loss_of(model).backward()
        optimizer.step()  # expect: missing-zero-grad


def cleared() -> None:
    model = wrapped()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def cleared_in_place_in_bucket_views() -> None:
    model = wrapped(view=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=False)
        loss_of(model).backward()
        optimizer.step()


def cleared_in_bucket_views() -> None:
    model = wrapped(view=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()


def accumulation_without_sync() -> None:
    model = wrapped(view=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        with model.no_sync():
            for _ in range(2):
                loss_of(model).backward()
        loss_of(model).backward()
        optimizer.step()


def accumulation_with_sync() -> None:
    model = wrapped(view=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        for _ in range(3):
            loss_of(model).backward()
        optimizer.step()


def cleared_before_the_step() -> None:
    model = wrapped()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        loss_of(model).backward()
        optimizer.zero_grad()
        optimizer.step()  # expect: zero-grad-before-step


def wrapped_after_the_optimizer() -> None:
    net = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    model = DistributedDataParallel(net)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def head_forgotten() -> None:
    net = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(3, 1))
    first_layers = [*net[0].parameters(), *net[1].parameters()]
    optimizer = torch.optim.SGD(first_layers, lr=0.01)  # expect: parameters-not-optimized "`2`"
    model = DistributedDataParallel(net)
    for _ in range(STEPS):
        model.zero_grad()
        loss_of(model).backward()
        optimizer.step()


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.extra = nn.Linear(4, 4)  # expect: unused-module "`self.extra`"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)  # type: ignore[no-any-return]


def train(model: nn.Module) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def unused() -> None:
    train(DistributedDataParallel(Unused(), find_unused_parameters=True))


def second_pass_refused() -> None:
    """The reducer refuses the second forward, as a parameter of the first had no gradient."""
    with pytest.raises(RuntimeError, match="Expected to have finished reduction"):
        train(DistributedDataParallel(Unused()))


PROGRAMS = (
    never_cleared,
    never_cleared_in_bucket_views,
    cleared,
    cleared_in_place_in_bucket_views,
    cleared_in_bucket_views,
    accumulation_without_sync,
    accumulation_with_sync,
    cleared_before_the_step,
    wrapped_after_the_optimizer,
    head_forgotten,
    unused,
    second_pass_refused,
)

BESIDE = {"unused": [Unused], "second_pass_refused": [Unused]}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    distributed.init_process_group("gloo")
    for program in PROGRAMS:
        try:
            seen = check(program, BESIDE.get(program.__name__, ()))
            result = [str(finding.certainty.value) for finding in seen.findings]
        except Exception:
            result = traceback.format_exc()
        print(json.dumps([program.__name__, result]))
    sys.stdout.flush()
    os._exit(0)
