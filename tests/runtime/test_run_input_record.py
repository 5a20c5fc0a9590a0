"""batch-size-mismatch on a live run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from watching import check

RULES = ["batch-size-mismatch"]


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(6, 8)
        self.right = nn.Linear(4, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(torch.relu(self.left(left) + self.right(right)))
        return out


class Words(nn.Module):
    """Ids and something beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.places = nn.Embedding(20, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, ids: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
        hidden = self.words(ids)
        if beside.dtype == torch.long:
            hidden = hidden + self.places(beside)
        elif beside.dim() == 3:
            hidden = beside.softmax(-1) @ hidden
        else:
            hidden = hidden * beside[..., None]
        out: torch.Tensor = self.head(hidden.mean(1))
        return out


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(4, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.rnn(x, state)[0][:, -1])
        return out


def ids() -> torch.Tensor:
    return torch.randint(0, 20, (16, 5))


def one_text() -> None:
    model = Pair()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        out = model(torch.randn(1, 6), torch.randn(16, 4))  # expect: batch-size-mismatch "`left` holds one sample"
        F.cross_entropy(out, torch.randint(0, 3, (16,))).backward()
        optimizer.step()


def by_keyword() -> None:
    model = Pair()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        out = model(left=torch.randn(16, 6), right=torch.randn(1, 4))  # expect: batch-size-mismatch "`right` holds"
        F.cross_entropy(out, torch.randint(0, 3, (16,))).backward()
        optimizer.step()


def train(model: nn.Module, inputs: Callable[[], tuple[Any, ...]], batch: int = 16) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(model(*inputs()), torch.randint(0, 3, (batch,))).backward()
        optimizer.step()


def whole_batches() -> None:
    train(Pair(), lambda: (torch.randn(16, 6), torch.randn(16, 4)))


def batch_of_one() -> None:
    train(Pair(), lambda: (torch.randn(1, 6), torch.randn(1, 4)), 1)


def positions() -> None:
    train(Words(), lambda: (ids(), torch.arange(5)[None]))


def a_boolean_mask() -> None:
    train(Words(), lambda: (ids(), torch.ones(1, 5, dtype=torch.bool)))


def an_attention_mask() -> None:
    train(Words(), lambda: (ids(), torch.zeros(1, 5, 5)))


def one_tensor_for_all() -> None:
    query = torch.randn(1, 6)
    train(Pair(), lambda: (query, torch.randn(16, 4)))


def a_state_with_the_layers_first() -> None:
    train(Cell(), lambda: (torch.randn(16, 3, 4), torch.zeros(1, 16, 8)))


def a_last_batch_of_one() -> None:
    """Only some calls differ."""
    sizes = iter((16, 1, 16, 1))
    train(Pair(), lambda: (torch.randn(next(sizes), 6), torch.randn(16, 4)))


def a_number_for_all() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(x + time)
            return out

    train(Net(), lambda: (torch.randn(16, 4), torch.rand(1)))


PROGRAMS = [
    one_text, by_keyword, whole_batches, batch_of_one, positions, a_boolean_mask, an_attention_mask,
    one_tensor_for_all, a_state_with_the_layers_first, a_last_batch_of_one, a_number_for_all,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_programs(program: Callable[[], None]) -> None:
    check(program, select=RULES)
