"""loss-broadcast on a live run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from watching import check, watched

ROW = torch.randn(16)
COLUMN = ROW.clone()[:, None].clone()


def inputs() -> torch.Tensor:
    return torch.randn(16, 4)


def train(loss: Callable[[], torch.Tensor], *modules: nn.Module, steps: int = 5) -> None:
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


def mse_column_against_row() -> None:
    net, criterion = nn.Linear(4, 1), nn.MSELoss()

    def loss() -> torch.Tensor:
        return criterion(net(inputs()), ROW)  # expect: loss-broadcast "(16, 1)" "256 differences instead of 16"

    train(loss, net)


def mse_row_against_column() -> None:
    net = nn.Linear(4, 1)

    def loss() -> torch.Tensor:
        return F.mse_loss(net(inputs()).squeeze(1), target=COLUMN)  # expect: loss-broadcast

    train(loss, net)


def mse_column_against_reshaped_row() -> None:
    net = nn.Linear(4, 1)

    def loss() -> torch.Tensor:
        return F.mse_loss(net(inputs()), COLUMN.t().contiguous())  # expect: loss-broadcast

    train(loss, net)


def absolute() -> None:
    net = nn.Linear(4, 1)

    def loss() -> torch.Tensor:
        return F.l1_loss(net(inputs()), ROW)  # expect: loss-broadcast

    train(loss, net)


def smooth_absolute() -> None:
    net = nn.Linear(4, 1)

    def loss() -> torch.Tensor:
        return F.smooth_l1_loss(net(inputs()), ROW)  # expect: loss-broadcast

    train(loss, net)


def huber() -> None:
    net, criterion = nn.Linear(4, 1), nn.HuberLoss()

    def loss() -> torch.Tensor:
        return criterion(net(inputs()), ROW)  # expect: loss-broadcast

    train(loss, net)


def gaussian() -> None:
    net = nn.Linear(4, 1)

    def loss() -> torch.Tensor:
        return F.gaussian_nll_loss(net(inputs()), ROW, torch.ones(16, 1))  # expect: loss-broadcast

    train(loss, net)


def poisson() -> None:
    net, criterion = nn.Linear(4, 1), nn.PoissonNLLLoss()

    def loss() -> torch.Tensor:
        return criterion(net(inputs()), ROW.abs())  # expect: loss-broadcast

    train(loss, net)


def hinge_embedding() -> None:
    net = nn.Linear(4, 1)

    def loss() -> torch.Tensor:
        return F.hinge_embedding_loss(net(inputs()), ROW.sign())  # expect: loss-broadcast

    train(loss, net)


def divergence() -> None:
    net = nn.Linear(4, 1)

    def loss() -> torch.Tensor:
        return F.kl_div(F.logsigmoid(net(inputs())), ROW.abs(), reduction="sum")  # expect: loss-broadcast

    train(loss, net)


def multilabel() -> None:
    net = nn.Linear(4, 1)

    def loss() -> torch.Tensor:
        return F.multilabel_soft_margin_loss(net(inputs()), ROW.sign())  # expect: loss-broadcast

    train(loss, net)


def images() -> None:
    net = nn.Conv2d(1, 1, 3, padding=1)

    def loss() -> torch.Tensor:
        batch = torch.randn(3, 1, 5, 5)
        return F.mse_loss(net(batch), batch.squeeze(1))  # expect: loss-broadcast

    train(loss, net)


def by_hand() -> None:
    net = nn.Linear(4, 1)

    def loss() -> torch.Tensor:
        prediction = net(inputs())
        return ((prediction - ROW) ** 2).mean()  # expect: loss-broadcast "`prediction - ROW`"

    train(loss, net)


def by_hand_target_first() -> None:
    net = nn.Linear(4, 1)

    def loss() -> torch.Tensor:
        difference = torch.sub(COLUMN, net(inputs()).flatten())  # expect: loss-broadcast
        return difference.abs().mean() / 2

    train(loss, net)


FOUND = [
    mse_column_against_row, mse_row_against_column, mse_column_against_reshaped_row, absolute, smooth_absolute, huber,
    gaussian, poisson, hinge_embedding, divergence, multilabel, images, by_hand, by_hand_target_first,
]  # fmt: skip


def equal_shapes() -> None:
    net = nn.Linear(4, 1)
    train(lambda: F.mse_loss(net(inputs()), COLUMN) + ((net(inputs()).squeeze(1) - ROW) ** 2).mean(), net)


def scalar_target() -> None:
    net = nn.Linear(4, 1)
    train(lambda: F.mse_loss(net(inputs()), torch.tensor(1.0)) + (net(inputs()) - 1).pow(2).mean(), net)


def target_of_one() -> None:
    net = nn.Linear(4, 1)
    train(lambda: F.mse_loss(net(inputs()), torch.ones(1)) + (net(inputs()) - torch.ones(1)).pow(2).mean(), net)


def rows_against_one_row() -> None:
    net, goal = nn.Linear(4, 3), torch.randn(3)
    train(lambda: F.mse_loss(net(inputs()), goal) + (net(inputs()) - goal).abs().mean(), net)


def distances_to_prototypes() -> None:
    net, prototypes = nn.Linear(4, 3), torch.randn(5, 3)

    def loss() -> torch.Tensor:
        codes = net(inputs())
        nearest = (codes.unsqueeze(1) - prototypes).pow(2).sum(2).min(1).values
        one_step = net(inputs()[:, None])  # (16, 1, 3) without an unsqueeze behind it
        return nearest.mean() + (one_step - prototypes).pow(2).mean()

    train(loss, net)


def as_many_prototypes_as_samples() -> None:
    net, prototypes = nn.Linear(4, 3), torch.randn(16, 3)
    train(lambda: (net(inputs()).unsqueeze(1) - prototypes).pow(2).sum(2).min(1).values.mean(), net)


def pairwise_ranking() -> None:
    net = nn.Linear(4, 1)

    def loss() -> torch.Tensor:
        score = net(inputs())
        return F.softplus(score.squeeze(1) - score).mean()  # both have gradients: all pairs are meant

    train(loss, net)


def anchors() -> None:
    net, centres = nn.Linear(4, 1), torch.randn(16)

    def loss() -> torch.Tensor:
        offset = net(inputs()).squeeze(1)
        return (centres[:, None] - offset).pow(2).min(0).values.mean() + F.l1_loss(offset, centres[:, None])

    train(loss, net)


def centre() -> None:
    net = nn.Linear(4, 3)

    def loss() -> torch.Tensor:
        x = net(inputs())
        return (x - x.mean(0)).pow(2).mean() + (x - x.detach().mean(1, keepdim=True)).pow(2).mean()

    train(loss, net)


def quantile_huber() -> None:
    net, wanted = nn.Linear(4, 5), torch.randn(16, 5)

    def loss() -> torch.Tensor:
        quantiles = net(inputs())
        pairs = F.smooth_l1_loss(quantiles.view(16, 1, 5), wanted.view(16, 5, 1), reduction="none")
        return pairs.sum(1).mean() + (quantiles[:, None] - wanted[:, :, None]).abs().mean()

    train(loss, net)


def weights_per_channel() -> None:
    net, weight = nn.Conv2d(1, 3, 3, padding=1), torch.rand(3, 1, 1)
    train(lambda: (weight * F.mse_loss(net(torch.randn(2, 1, 5, 5)), torch.ones(2, 3, 5, 5), reduction="none")).mean(),
          net)  # fmt: skip


def batch_of_one() -> None:
    net = nn.Linear(4, 1)
    train(lambda: F.mse_loss(net(inputs()[:1]), ROW[:1]) + (net(inputs()[:1]) - ROW[:1]).pow(2).mean(), net)


def only_logged() -> None:
    net = nn.Linear(4, 1)

    def loss() -> torch.Tensor:
        prediction = net(inputs())
        logged = ((prediction - ROW) ** 2).mean().item() + F.mse_loss(prediction, ROW).item()
        assert logged >= 0
        return F.mse_loss(prediction, COLUMN)

    train(loss, net)


class Standardised(nn.Module):
    """Broadcasts a difference inside of the model: what lies behind its last layer is no loss."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 1), nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x) - ROW)


def inside_of_the_model() -> None:
    net = Standardised()
    train(lambda: F.mse_loss(net(inputs()), COLUMN), net)


SILENT = [
    equal_shapes, scalar_target, target_of_one, rows_against_one_row, distances_to_prototypes,
    as_many_prototypes_as_samples, pairwise_ranking, anchors, centre, quantile_huber, weights_per_channel,
    batch_of_one, only_logged, inside_of_the_model,
]  # fmt: skip


@pytest.mark.parametrize("program", FOUND + SILENT, ids=lambda program: program.__name__)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_programs(program: Callable[[], None]) -> None:
    check(program)


@pytest.mark.filterwarnings("default")
def test_compiled_losses_are_not_judged() -> None:
    net = nn.Linear(4, 1)
    difference = torch.compile(lambda prediction, target: ((prediction - target) ** 2).mean(), backend="aot_eager")
    assert not watched(lambda: train(lambda: difference(net(inputs()), ROW), net)).findings
