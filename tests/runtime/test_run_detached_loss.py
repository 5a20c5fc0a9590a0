"""detached-loss on a live run."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from watching import check, watched


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(16, 4), torch.randn(16, 1)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def rewrapped_number() -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(6):
        x, y = pair()
        optimizer.zero_grad()
        loss = torch.tensor(F.mse_loss(model(x), y).item(), requires_grad=True)
        loss.backward()  # expect: detached-loss "no operation made"
        optimizer.step()


def requires_grad_switched_on() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(6):
        x, y = pair()
        loss = F.mse_loss(model(x), y).detach()
        loss.requires_grad = True
        optimizer.zero_grad()
        loss.backward()  # expect: detached-loss
        optimizer.step()


def output_detached_before_a_live_scale() -> None:
    model, scale = net(), nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    other = torch.optim.SGD(scale.parameters(), lr=0.1)
    for _ in range(6):
        x, y = pair()
        optimizer.zero_grad()
        other.zero_grad()
        loss = F.mse_loss(scale(model(x).detach()), y)
        loss.backward()  # expect: detached-loss "`model` runs here"
        optimizer.step()
        other.step()


def generator_on_a_detached_sample() -> None:
    painter, judge = nn.Linear(2, 4), nn.Linear(4, 1)
    painter_optimizer = torch.optim.Adam(painter.parameters())
    judge_optimizer = torch.optim.Adam(judge.parameters())
    for _ in range(6):
        fake = painter(torch.randn(8, 2))
        judge_optimizer.zero_grad()
        (F.softplus(judge(fake.detach())) + F.softplus(-judge(torch.randn(8, 4)))).mean().backward()
        judge_optimizer.step()
        painter_optimizer.zero_grad()
        verdict = judge(fake.detach())
        F.softplus(-verdict).mean().backward()  # expect: detached-loss "painter_optimizer"
        painter_optimizer.step()


def argmax_before_the_loss() -> None:
    model, table = nn.Linear(4, 5), nn.Embedding(5, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    second = torch.optim.SGD(table.parameters(), lr=0.1)
    for _ in range(6):
        x, y = pair()
        optimizer.zero_grad()
        second.zero_grad()
        F.mse_loss(table(model(x).argmax(1)), y).backward()  # expect: detached-loss
        optimizer.step()
        second.step()


FOUND = [
    rewrapped_number, requires_grad_switched_on, output_detached_before_a_live_scale, generator_on_a_detached_sample,
    argmax_before_the_loss,
]  # fmt: skip


def input_optimised() -> None:
    model = net().requires_grad_(False)
    x = torch.randn(16, 4, requires_grad=True)
    optimizer = torch.optim.Adam([x])
    for _ in range(6):
        optimizer.zero_grad()
        model(x).mean().backward()
        optimizer.step()


def input_optimised_beside_a_trained_model() -> None:
    model = net()
    x = torch.randn(16, 4, requires_grad=True)
    inner, outer = torch.optim.Adam([x]), torch.optim.Adam(model.parameters())
    for _ in range(4):
        inner.zero_grad()
        model(x).mean().backward()
        inner.step()
        outer.zero_grad()
        model(x.detach()).pow(2).mean().backward()
        outer.step()


def a_single_parameter_is_the_loss() -> None:
    value = nn.Parameter(torch.tensor(3.0))
    optimizer = torch.optim.SGD([value], lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


def policy_with_a_baseline() -> None:
    policy, critic = nn.Linear(4, 2), nn.Linear(4, 1)
    optimizer = torch.optim.Adam([*policy.parameters(), *critic.parameters()])
    for _ in range(6):
        state, reward = torch.randn(8, 4), torch.randn(8)
        value = critic(state).squeeze(1)
        logp = policy(state).log_softmax(1)[:, 0]
        optimizer.zero_grad()
        (-(logp * (reward - value.detach())).mean() + F.mse_loss(value, reward)).backward()
        optimizer.step()


def straight_through() -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(6):
        x, y = pair()
        soft = model(x)
        hard = soft + (soft.round() - soft).detach()
        optimizer.zero_grad()
        F.mse_loss(hard, y).backward()
        optimizer.step()


def stop_gradient_of_a_target_network() -> None:
    online = nn.Linear(4, 3)
    target = copy.deepcopy(online)
    predictor = nn.Linear(3, 3)
    optimizer = torch.optim.SGD([*online.parameters(), *predictor.parameters()], lr=0.1)
    for _ in range(6):
        first, second = torch.randn(8, 4), torch.randn(8, 4)
        wanted = target(second).detach()
        optimizer.zero_grad()
        (1 - F.cosine_similarity(predictor(online(first)), wanted)).mean().backward()
        optimizer.step()


def frozen_extractor() -> None:
    body, head = nn.Linear(4, 8).requires_grad_(False), nn.Linear(8, 1)
    optimizer = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=0.1)
    for _ in range(6):
        x, y = pair()
        optimizer.zero_grad()
        F.mse_loss(head(body(x)), y).backward()
        optimizer.step()


def frozen_extractor_with_its_own_optimizer() -> None:
    body, head = nn.Linear(4, 8).requires_grad_(False), nn.Linear(8, 1)
    slow, fast = torch.optim.SGD(body.parameters(), lr=0.01), torch.optim.SGD(head.parameters(), lr=0.1)
    for _ in range(6):
        x, y = pair()
        fast.zero_grad()
        F.mse_loss(head(body(x)), y).backward()
        fast.step()
        slow.step()


def taking_turns() -> None:
    first, second = nn.Linear(4, 1), nn.Linear(4, 1)
    optimizers = [torch.optim.SGD(one.parameters(), lr=0.1) for one in (first, second)]
    for step in range(8):
        x, y = pair()
        outputs = [first(x), second(x)]
        F.mse_loss(outputs[step % 2], y).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def gradients_by_hand() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(6):
        x, y = pair()
        optimizer.zero_grad()
        gradients = torch.autograd.grad(F.mse_loss(model(x), y), list(model.parameters()))
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()


def closure() -> None:
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)
    x, y = pair()

    def compute() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss

    for _ in range(4):
        optimizer.step(compute)


def optimizer_in_backward() -> None:
    model = net()
    for parameter in model.parameters():
        one = torch.optim.SGD([parameter], lr=0.01)

        def step(tensor: torch.Tensor, one: torch.optim.Optimizer = one) -> None:
            one.step()
            one.zero_grad()

        parameter.register_post_accumulate_grad_hook(step)
    for _ in range(6):
        x, y = pair()
        F.mse_loss(model(x), y).backward()


def two_optimizers_after_one_backward() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 1)
    optimizers = [torch.optim.SGD(one.parameters(), lr=0.1) for one in (first, second)]
    for _ in range(6):
        x, y = pair()
        for optimizer in optimizers:
            optimizer.zero_grad()
        F.mse_loss(second(first(x)), y).backward()
        for optimizer in optimizers:
            optimizer.step()


def one_pass_only() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(5):
        x, y = pair()
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        if step == 2:
            loss = torch.tensor(loss.item(), requires_grad=True)
        loss.backward()
        optimizer.step()


SILENT = [
    input_optimised, input_optimised_beside_a_trained_model, a_single_parameter_is_the_loss, policy_with_a_baseline,
    straight_through, stop_gradient_of_a_target_network, frozen_extractor, frozen_extractor_with_its_own_optimizer,
    taking_turns, gradients_by_hand, closure, optimizer_in_backward, two_optimizers_after_one_backward, one_pass_only,
]  # fmt: skip


@pytest.mark.parametrize("program", FOUND, ids=lambda program: program.__name__)
def test_found(program: Callable[[], None]) -> None:
    check(program)


@pytest.mark.parametrize("program", SILENT, ids=lambda program: program.__name__)
def test_silent(program: Callable[[], None]) -> None:
    assert not [finding for finding in watched(program).findings if finding.rule == "detached-loss"]
