"""vanishing-gradient and exploding-gradient on a live run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from watching import check, watched

RULES = ["vanishing-gradient", "exploding-gradient"]


def batches(steps: int = 60, size: int = 16, scale: float = 1.0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for _ in range(steps):
        yield scale * torch.randn(size, 4), torch.randn(size, 1)


def train(model: nn.Module, lr: float = 1e-3, **options: float) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)
    for x, y in batches(**options):  # type: ignore[arg-type]
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()


def sigmoids(depth: int) -> nn.Sequential:
    return nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.Sigmoid()) for _ in range(depth)))


# vanishing-gradient


class Deep(nn.Module):
    """Twelve sigmoids."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.deep = sigmoids(12)
        self.last = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.deep(self.first(x)))
        return out


def many_sigmoids() -> None:
    class Net(Deep):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 8)  # expect: vanishing-gradient "hardly any gradient reaches `first"

    train(Net())


def a_dead_layer_behind() -> None:
    """A gradient of exactly zero."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 8)  # expect: vanishing-gradient
            self.second = nn.Linear(8, 8)
            self.skip = nn.Linear(4, 1)
            self.last = nn.Linear(8, 1)
            self.second.bias.data.fill_(-99.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.skip(x) + self.last(torch.relu(self.second(torch.tanh(self.first(x)))))
            return out

    train(Net())


def few_sigmoids() -> None:
    train(nn.Sequential(nn.Linear(4, 8), sigmoids(2), nn.Linear(8, 1)))


def frozen_first_layer() -> None:
    model = Deep()
    model.first.requires_grad_(False)
    model.deep.requires_grad_(False)
    train(model)


def tiny_loss() -> None:
    """The scale of the loss is no matter of layers."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters())
    for x, y in batches():
        optimizer.zero_grad()
        (1e-9 * F.mse_loss(model(x), y)).backward()
        optimizer.step()


def branch_that_starts_at_zero() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(4, 8)
            self.down = nn.Linear(8, 2, bias=False)
            self.up = nn.Linear(2, 8, bias=False)
            self.last = nn.Linear(8, 1)
            nn.init.zeros_(self.up.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.stem(x)
            out: torch.Tensor = self.last(torch.relu(h + self.up(self.down(h))))
            return out

    train(Net(), lr=0.05)


def sparse_table() -> None:
    model = nn.Sequential(nn.Embedding(1000, 4, sparse=True), nn.Flatten(), nn.Linear(12, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        F.mse_loss(model(torch.randint(0, 1000, (4, 3))), torch.randn(4, 1)).backward()
        optimizer.step()


def short_run() -> None:
    model = Deep()
    train(model, steps=30)


# exploding-gradient


def spikes() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters())
    for step, (x, y) in enumerate(batches()):
        optimizer.zero_grad()
        F.mse_loss(model(x * (900 if step % 6 == 0 else 1)), y).backward()
        optimizer.step()  # expect: exploding-gradient "steps of `optimizer` have exploding gradients"


def clipped() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters())
    for step, (x, y) in enumerate(batches()):
        optimizer.zero_grad()
        F.mse_loss(model(x * (900 if step % 6 == 0 else 1)), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def a_sum_loss() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-7)
    for x, y in batches(scale=100):
        optimizer.zero_grad()
        F.mse_loss(model(x), y, reduction="sum").backward()
        optimizer.step()


def spikes_at_the_start() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters())
    for step, (x, y) in enumerate(batches()):
        optimizer.zero_grad()
        F.mse_loss(model(x * (900 if step < 20 else 1)), y).backward()
        optimizer.step()


def two_spikes() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters())
    for step, (x, y) in enumerate(batches()):
        optimizer.zero_grad()
        F.mse_loss(model(x * (900 if step in (30, 35) else 1)), y).backward()
        optimizer.step()


def scaled_by_a_scaler() -> None:
    """What the optimizer gets is unscaled; the scale falls and rises."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=5)
    for x, y in batches():
        optimizer.zero_grad()
        scaler.scale(F.mse_loss(model(x), y)).backward()
        scaler.step(optimizer)
        scaler.update()


def scaled_for_a_fused_optimizer() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=5)
    for x, y in batches():
        optimizer.zero_grad()
        scaler.scale(F.mse_loss(model(x), y)).backward()
        scaler.step(optimizer)
        scaler.update()


def never_unscaled() -> None:
    """The scale makes the spikes here: unknown."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    for step, (x, y) in enumerate(batches()):
        optimizer.zero_grad()
        scaler.scale(F.mse_loss(model(x), y)).backward()
        scaler.update(2.0**16 if step % 6 == 0 else 2.0)
        optimizer.step()


PROGRAMS = [
    many_sigmoids, a_dead_layer_behind, few_sigmoids, frozen_first_layer, tiny_loss, branch_that_starts_at_zero,
    sparse_table, short_run, spikes, clipped, a_sum_loss, spikes_at_the_start, two_spikes, scaled_by_a_scaler,
    scaled_for_a_fused_optimizer, never_unscaled,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_programs(program: Callable[[], None]) -> None:
    check(program, select=RULES)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (short_run, "not measured in 20 steps"),
        (never_unscaled, "scaled, sparse or not finite"),
        (scaled_for_a_fused_optimizer, "scaled, sparse or not finite"),
        (sparse_table, "scaled, sparse or not finite"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_unknown(program: Callable[[], None], reason: str) -> None:
    seen = watched(program, select=RULES)
    assert any(reason in gap.reason for gap in seen.out_of_sight if "vanishing-gradient" in gap.rules)


def test_a_very_short_run_is_unknown() -> None:
    seen = watched(lambda: train(Deep(), steps=8), select=RULES)
    assert any("no step after the first 20" in gap.reason for gap in seen.out_of_sight)
