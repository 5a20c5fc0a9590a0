"""loss-kept-with-graph on a live run."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from watching import check, watched


class Trainer:
    """A model, an optimizer and whatever a program keeps."""

    def __init__(self) -> None:
        self.model = nn.Linear(4, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)

    def step(self, loss: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def summed() -> None:
    trainer = Trainer()
    total: torch.Tensor | float = 0.0
    for step in range(60):
        output = trainer.model(torch.randn(8, 4))  # expect: loss-kept-with-graph
        loss = output.pow(2).mean()
        trainer.step(loss)
        total = total + loss
        if step == 50:
            gc.collect()


def listed() -> None:
    trainer, losses = Trainer(), []
    for step in range(60):
        loss = trainer.model(torch.randn(8, 4)).pow(2).mean()  # expect: loss-kept-with-graph
        trainer.step(loss)
        losses.append(loss)
        if step == 50:
            gc.collect()


def numbers_kept() -> None:
    trainer, losses, total = Trainer(), [], 0.0
    for step in range(60):
        loss = trainer.model(torch.randn(8, 4)).pow(2).mean()
        trainer.step(loss)
        losses.append(loss.detach())
        total += loss.item()
        if step == 50:
            gc.collect()


def micro_batches() -> None:
    trainer = Trainer()
    for step in range(4):
        losses = [trainer.model(torch.randn(8, 4)).pow(2).mean() for _ in range(40)]
        trainer.step(torch.stack(losses).sum())
        gc.collect()
        assert step < 4


def several_losses() -> None:
    trainer = Trainer()
    for step in range(60):
        output = trainer.model(torch.randn(8, 4))
        trainer.step(output.pow(2).mean() + output.abs().mean() + F.softplus(output).mean())
        if step == 50:
            gc.collect()


def through_time() -> None:
    cell, head = nn.GRUCell(4, 4), nn.Linear(4, 1)
    optimizer = torch.optim.SGD([*cell.parameters(), *head.parameters()], lr=0.01)
    state = torch.zeros(2, 4)
    for step in range(60):
        state = cell(torch.randn(2, 4), state.detach())
        optimizer.zero_grad()
        head(state).mean().backward()
        optimizer.step()
        if step == 50:
            gc.collect()


def fewer_than_a_long_list() -> None:
    trainer, last = Trainer(), []
    for step in range(60):
        loss = trainer.model(torch.randn(8, 4)).pow(2).mean()
        trainer.step(loss)
        last = [*last[-19:], loss]
        if step == 50:
            gc.collect()


def held_by_a_cycle() -> None:
    """Nobody holds the losses, but only a collection finds that out."""
    trainer = Trainer()
    for _ in range(60):
        loss = trainer.model(torch.randn(8, 4)).pow(2).mean()
        trainer.step(loss)
        ring: list[object] = [loss]
        ring.append(ring)


@pytest.mark.parametrize(
    "program",
    [
        summed, listed, numbers_kept, micro_batches, several_losses, through_time, fewer_than_a_long_list,
        held_by_a_cycle,
    ],
)  # fmt: skip
def test_programs(program: Callable[[], None]) -> None:
    check(program)


def never_collected() -> None:
    trainer, losses = Trainer(), []
    for _ in range(60):
        loss = trainer.model(torch.randn(8, 4)).pow(2).mean()  # expect: loss-kept-with-graph
        trainer.step(loss)
        losses.append(loss)


def test_one_collection_of_our_own_decides() -> None:
    """Python would go thousands of steps without one."""
    gc.collect()
    gc.disable()
    before = gc.get_stats()[2]["collections"]
    try:
        check(never_collected)
    finally:
        gc.enable()
    assert gc.get_stats()[2]["collections"] == before + 1


def test_an_epoch_that_keeps_its_losses_is_seen_at_the_next_loader() -> None:
    """The sum is dropped at the start of the next epoch; the loader of the evaluation comes before that."""

    def program() -> None:
        data = torch.utils.data.DataLoader(torch.randn(50, 4), batch_size=1, shuffle=True)
        trainer = Trainer()
        for _ in range(2):
            total: torch.Tensor | float = 0.0
            for x in data:
                loss = trainer.model(x).pow(2).mean()
                trainer.step(loss)
                total = total + loss
            gc.collect()
            assert sum(1 for _ in data) == 50

    assert [finding.rule for finding in watched(program).findings] == ["loss-kept-with-graph"]
