"""missing-zero-grad on a live run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from watching import check


def never_cleared() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(6):
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()  # expect: missing-zero-grad


def cleared() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(6):
        optimizer.zero_grad(set_to_none=False)
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()


@pytest.mark.parametrize("program", [never_cleared, cleared])
def test_programs(program: Callable[[], None]) -> None:
    check(program)
