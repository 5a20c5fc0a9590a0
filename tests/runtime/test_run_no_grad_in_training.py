"""no-grad-in-training on live runs: forwards, and checkpoints in forwards, of which nothing was recorded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from watching import check, watched


def linear() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Linear(4, 2)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def gradients_off() -> None:
    model, optimizer = linear()
    scale = nn.Parameter(torch.ones(1))
    optimizer.add_param_group({"params": [scale]})
    for _ in range(5):
        optimizer.zero_grad()
        with torch.inference_mode():
            scores = model(torch.randn(6, 4))  # expect: no-grad-in-training "4 of 4 training steps"
        (scale * scores.clone()).sum().backward()
        optimizer.step()


def switched_off_and_never_on_again() -> None:
    model, optimizer = linear()
    head = nn.Parameter(torch.zeros(2))
    optimizer.add_param_group({"params": [head]})
    for _ in range(5):
        optimizer.zero_grad()
        torch.set_grad_enabled(False)
        scores = model(torch.randn(6, 4))  # expect: no-grad-in-training
        torch.set_grad_enabled(True)
        F.cross_entropy(scores + head, torch.randint(2, (6,))).backward()
        optimizer.step()


class Blocks(nn.Module):
    def __init__(self, reentrant: bool, *, enter: bool = False, frozen: bool = False) -> None:
        super().__init__()
        self.enter = nn.Linear(4, 4) if enter else None
        self.first = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.leave = nn.Linear(4, 2)
        self.reentrant = reentrant
        self.first.requires_grad_(not frozen)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.enter is not None:
            x = self.enter(x)
        x = checkpoint(self.first, x, use_reentrant=self.reentrant)
        x = checkpoint(lambda h: self.second(h), x, use_reentrant=self.reentrant)
        result: torch.Tensor = self.leave(x)
        return result


def train(model: nn.Module, *, needs_gradient: bool = False) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        x = torch.randn(6, 4, requires_grad=needs_gradient)
        F.cross_entropy(model(x), torch.randint(2, (6,))).backward()
        optimizer.step()


class Reentrant(nn.Module):
    """Both checkpoints get no input that requires a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.leave = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = checkpoint(self.first, x, use_reentrant=True)  # expect: no-grad-in-training "`first`"
        x = checkpoint(lambda h: self.second(h), x, use_reentrant=True)  # expect: no-grad-in-training "`second`"
        result: torch.Tensor = self.leave(x)
        return result


def reentrant_without_a_gradient() -> None:
    train(Reentrant())


@pytest.mark.parametrize("program", [gradients_off, switched_off_and_never_on_again])
def test_found(program: Callable[[], None]) -> None:
    check(program)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
def test_found_behind_a_checkpoint() -> None:
    # detached-module says of the layers what this rule says of the checkpoint.
    check(reentrant_without_a_gradient, beside=[Reentrant], ignore=["detached-module"])


# Silent


def checkpoint_with_a_layer_before() -> None:
    train(Blocks(True, enter=True))


def checkpoint_of_an_input_that_requires_a_gradient() -> None:
    train(Blocks(True), needs_gradient=True)


def checkpoint_without_reentry() -> None:
    train(Blocks(False))


def frozen_behind_a_checkpoint() -> None:
    model = Blocks(True, frozen=True)
    model.second.requires_grad_(False)
    train(model)


def frozen_by_no_grad_in_forward() -> None:
    class Probe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                features = self.body(x)
            result: torch.Tensor = self.head(features)
            return result

    model = Probe()
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(6, 4)).sum().backward()
        optimizer.step()


def teacher_beside_a_live_forward() -> None:
    model, optimizer = linear()
    teacher = nn.Linear(4, 2)
    for _ in range(5):
        x = torch.randn(6, 4)
        with torch.no_grad():
            wanted = teacher(x)
        optimizer.zero_grad()
        F.mse_loss(model(x), wanted).backward()
        optimizer.step()


def targets_by_the_model_itself() -> None:
    model, optimizer = linear()
    for _ in range(5):
        x = torch.randn(6, 4)
        with torch.no_grad():
            wanted = model(x + 1)
        optimizer.zero_grad()
        F.mse_loss(model(x), wanted).backward()
        optimizer.step()


def rollouts_then_recomputed() -> None:
    model, optimizer = linear()
    for _ in range(5):
        with torch.no_grad():
            actions = model(torch.randn(6, 4)).argmax(1)
        optimizer.zero_grad()
        F.cross_entropy(model.forward(torch.randn(6, 4)), actions).backward()  # hooks do not see this forward
        optimizer.step()


def gradients_on_inside() -> None:
    class Insistent(nn.Linear):
        @torch.enable_grad()
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x)

    model = Insistent(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        with torch.no_grad():
            scores = model(torch.randn(6, 4))
        scores.sum().backward()
        optimizer.step()


def input_optimised_beside_a_step() -> None:
    model, optimizer = linear()
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(6, 4)).sum().backward()
        with torch.no_grad():
            model(torch.randn(6, 4))
        optimizer.step()


@pytest.mark.parametrize(
    "program",
    [
        checkpoint_with_a_layer_before, checkpoint_of_an_input_that_requires_a_gradient, checkpoint_without_reentry,
        frozen_by_no_grad_in_forward, teacher_beside_a_live_forward, targets_by_the_model_itself,
        rollouts_then_recomputed, gradients_on_inside, input_optimised_beside_a_step,
    ],
)  # fmt: skip
def test_silent(program: Callable[[], None]) -> None:
    check(program)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
def test_silent_where_all_behind_the_checkpoint_is_frozen() -> None:
    check(frozen_behind_a_checkpoint)


def test_the_checkpoint_is_pointed_at_with_its_layers() -> None:
    with pytest.warns(UserWarning, match="None of the inputs"):
        found = watched(reentrant_without_a_gradient, select=["no-grad-in-training"]).findings
    assert [[note.label for note in finding.related] for finding in found] == [["never trained"]] * 2
