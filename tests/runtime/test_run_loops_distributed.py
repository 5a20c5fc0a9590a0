"""The rules on training loops under DistributedDataParallel, in a group of one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from watching import check

STEPS = 6

pytestmark = [
    pytest.mark.skipif(not distributed.is_available(), reason="torch without distributed"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def _group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    file: Path = tmp_path_factory.mktemp("group") / "store"
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


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
)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_programs(program: Callable[[], None]) -> None:
    check(program)
