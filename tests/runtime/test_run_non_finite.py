"""non-finite on a live run."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from watching import check, watched


def train(loss: Callable[[int], torch.Tensor], model: nn.Module, steps: int = 6) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(steps):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()


def nan_from_the_first_step() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        loss = torch.sqrt(model(torch.randn(8, 4))).mean()
        loss.backward()  # expect: non-finite "gradient of `weight`" "6 of 6 backward calls"
        optimizer.step()


def infinite() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        output = model(torch.randn(8, 4))
        loss = (output * output.new_tensor(math.inf)).abs().mean()
        loss.backward()  # expect: non-finite "inf"
        optimizer.step()


def late_in_an_untraced_window() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(30):
        optimizer.zero_grad()
        output = model(torch.randn(8, 4)).pow(2).mean()
        loss = output * math.nan if step == 20 else output
        loss.backward()  # expect: non-finite "first after 20 steps"
        optimizer.step()


def broken_weights() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with torch.no_grad():
        model.bias.fill_(math.nan)
    for _ in range(6):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).pow(2).mean().backward()  # expect: non-finite "the parameter `bias`"
        optimizer.step()


def finite_gradients_of_a_lost_loss() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        loss = torch.log(model(torch.randn(8, 4))).mean()
        loss.backward()  # expect: non-finite "no gradients of a number"
        optimizer.step()


def one_micro_batch() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(4):
        optimizer.zero_grad()
        for micro in range(3):
            loss = model(torch.randn(8, 4)).mean() * (math.nan if (step, micro) == (2, 1) else 1.0)
            loss.backward()  # expect: non-finite
        optimizer.step()


def too_many_left_out() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(110):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).mean() * (math.nan if step % 2 else 1.0)
        loss.backward()  # expect: non-finite "left out"
        if loss.isfinite():
            optimizer.step()


def overflown_by_the_scale() -> None:
    """The scaled loss is infinite for the first steps, some of them with finite gradients."""
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    for _ in range(24):
        optimizer.zero_grad()
        loss = 8 + model(torch.randn(8, 4)).pow(2).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()


def scaler_skips() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for step in range(30):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).pow(2).mean() * (math.inf if step % 8 == 0 else 1.0)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()


def fused_scaler_skips() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for step in range(12):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).pow(2).mean() * (math.inf if step % 8 == 0 else 1.0)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()


def guarded_by_the_loop() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(12):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).mean() * (math.nan if step % 6 == 3 else 1.0)
        loss.backward()
        if math.isfinite(loss.item()):
            optimizer.step()


def cleared_before_the_step() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(12):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).mean() * (math.nan if step % 6 == 3 else 1.0)
        loss.backward()
        if not loss.isfinite():
            optimizer.zero_grad(set_to_none=False)
        optimizer.step()


def masked_scores() -> None:
    model = nn.Linear(4, 5)
    mask = torch.zeros(8, 5, dtype=torch.bool)
    mask[:, 3:] = True
    labels = torch.arange(8) % 3
    train(lambda _: F.cross_entropy(model(torch.randn(8, 4)).masked_fill(mask, -math.inf), labels), model)


def infinite_metric() -> None:
    model = nn.Linear(4, 1)

    def loss(step: int) -> torch.Tensor:
        output = model(torch.randn(8, 4))
        assert (output.detach() / 0).abs().mean().item() == math.inf
        return output.pow(2).mean()

    train(loss, model)


def gradient_of_a_vector() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        output = model(torch.randn(8, 4))
        output.backward(torch.ones_like(output))
        optimizer.step()


@pytest.mark.parametrize(
    "program",
    [
        nan_from_the_first_step, infinite, late_in_an_untraced_window, broken_weights,
        finite_gradients_of_a_lost_loss, one_micro_batch, too_many_left_out,
    ],
)  # fmt: skip
def test_found(program: Callable[[], None]) -> None:
    check(program, select=["non-finite"])


@pytest.mark.parametrize(
    "program",
    [
        overflown_by_the_scale, scaler_skips, fused_scaler_skips, guarded_by_the_loop, cleared_before_the_step,
        masked_scores, infinite_metric, gradient_of_a_vector,
    ],
)  # fmt: skip
def test_silent(program: Callable[[], None]) -> None:
    assert not [finding for finding in watched(program).findings if finding.rule == "non-finite"]


def test_times_zero_spots_what_is_no_number() -> None:
    """What an accelerator's losses are added up with: nothing but NaN and infinity leaves a trace."""
    poison = torch.zeros(())
    for value in (1.0, -3e38, 0.0):
        torch.add(poison, torch.tensor(value), alpha=0, out=poison)
    assert poison.item() == 0
    for value in (math.nan, math.inf, -math.inf):
        assert math.isnan(torch.add(poison, torch.tensor(value), alpha=0).item())
