"""What an optimizer was given, and what its steps do, on a live run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from watching import check

STEPS = 6


def batch(rows: int = 8) -> torch.Tensor:
    return torch.randn(rows, 4)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.gate = nn.Linear(4, 8)
        self.head = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.body(x) * self.gate(x).sigmoid())
        return out


def train(model: nn.Module, *optimizers: torch.optim.Optimizer, steps: int = STEPS) -> None:
    for _ in range(steps):
        model.zero_grad()
        model(batch()).pow(2).mean().backward()
        for optimizer in optimizers:
            optimizer.step()


# parameters-not-optimized


def gate_forgotten() -> None:
    model = Net()
    parameters = [*model.body.parameters(), *model.head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01)  # expect: parameters-not-optimized "leaves out `gate`"
    train(model, optimizer)


def biases_forgotten() -> None:
    model = Net()
    weights = [p for p in model.parameters() if p.dim() > 1]
    optimizer = torch.optim.SGD(weights, lr=0.01)  # expect: parameters-not-optimized "`body.bias`"
    train(model, optimizer)


def head_only() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)  # expect: parameters-not-optimized
    train(model, optimizer)


def container_of_parameters_forgotten() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.layer(x) * self.scale
            return out

    model = Scaled()
    layers = [p for child in model.children() for p in child.parameters()]
    optimizer = torch.optim.SGD(layers, lr=0.01)  # expect: parameters-not-optimized "`scale`"
    train(model, optimizer)


def second_optimizer_steps_later() -> None:
    model = Net()
    first = torch.optim.SGD([*model.body.parameters(), *model.head.parameters()], lr=0.01)
    second = torch.optim.SGD(model.gate.parameters(), lr=0.01)
    train(model, first, steps=5)
    train(model, first, second, steps=3)


def second_optimizer_made_before_the_watch() -> Callable[[], None]:
    model = Net()
    second = torch.optim.SGD(model.gate.parameters(), lr=0.01)

    def program() -> None:
        first = torch.optim.SGD([*model.body.parameters(), *model.head.parameters()], lr=0.01)
        for _ in range(STEPS):
            first.zero_grad()
            second.zero_grad()
            model(batch()).pow(2).mean().backward()  # expect: missing-optimizer-step "`SGD`"
            first.step()

    return program


def second_optimizer_never_steps() -> None:
    # It is there: the step is missing, not the parameters.
    model = Net()
    first = torch.optim.SGD([*model.body.parameters(), *model.head.parameters()], lr=0.01)
    second = torch.optim.SGD(model.gate.parameters(), lr=0.01)
    for _ in range(STEPS):
        first.zero_grad()
        second.zero_grad()
        model(batch()).pow(2).mean().backward()  # expect: missing-optimizer-step "`second`"
        first.step()


def group_added_later() -> None:
    model = Net()
    optimizer = torch.optim.SGD([*model.body.parameters(), *model.head.parameters()], lr=0.01)
    train(model, optimizer)
    optimizer.add_param_group({"params": list(model.gate.parameters())})
    train(model, optimizer, steps=2)


def group_added_much_later() -> None:
    model = Net()
    optimizer = torch.optim.SGD([*model.body.parameters(), *model.head.parameters()], lr=0.01)
    train(model, optimizer, steps=20)
    optimizer.add_param_group({"params": list(model.gate.parameters())})
    train(model, optimizer, steps=2)


def frozen_body() -> None:
    model = Net()
    model.body.requires_grad_(False)
    model.gate.requires_grad_(False)
    train(model, torch.optim.SGD(model.head.parameters(), lr=0.01))


def perceptual_loss() -> None:
    # The net behind the loss is neither frozen nor trained.
    model, features = Net(), nn.Linear(1, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        features(model(batch())).pow(2).mean().backward()
        optimizer.step()


def averaged_and_target_nets() -> None:
    model = Net()
    average, target = AveragedModel(model), copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        x = batch()
        with torch.no_grad():
            wanted = target(x)
        (model(x) - wanted + 1.0).pow(2).mean().backward()
        optimizer.step()
        average.update_parameters(model)


def rest_updated_by_hand() -> None:
    model = Net()
    optimizer = torch.optim.SGD([*model.body.parameters(), *model.head.parameters()], lr=0.01)
    for _ in range(STEPS):
        model.zero_grad()
        model(batch()).pow(2).mean().backward()
        optimizer.step()
        with torch.no_grad():
            for p in model.gate.parameters():
                p -= 0.01 * p.grad


def rest_updated_behind_the_version() -> None:
    model = Net()
    optimizer = torch.optim.SGD([*model.body.parameters(), *model.head.parameters()], lr=0.01)
    for _ in range(STEPS):
        model.zero_grad()
        model(batch()).pow(2).mean().backward()
        optimizer.step()
        for p in model.gate.parameters():
            assert p.grad is not None
            p.data.sub_(0.01 * p.grad)


def unused_layer() -> None:
    class Spare(Net):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Linear(3, 3)

    model = Spare()
    used = [p for name, p in model.named_parameters() if not name.startswith("spare")]
    train(model, torch.optim.SGD(used, lr=0.01))


def gan() -> None:
    generator, discriminator = nn.Linear(4, 4), nn.Linear(4, 1)
    opt_g = torch.optim.SGD(generator.parameters(), lr=0.01)
    opt_d = torch.optim.SGD(discriminator.parameters(), lr=0.01)
    for _ in range(STEPS):
        opt_d.zero_grad()
        fake = generator(batch())
        (discriminator(batch()) - discriminator(fake.detach())).mean().backward()
        opt_d.step()
        opt_g.zero_grad()
        discriminator(fake).mean().backward()
        opt_g.step()


def two_passes_only() -> None:
    model = Net()
    train(model, torch.optim.SGD(model.head.parameters(), lr=0.01), steps=2)


# stale-optimizer


def head_replaced() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)  # expect: stale-optimizer "2 of its 6 tensors"
    model.head = nn.Linear(8, 1)
    train(model, optimizer)


def head_replaced_after_a_first_forward() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)  # expect: stale-optimizer
    model(batch())
    model.head = nn.Linear(8, 1)
    train(model, optimizer)


def whole_model_converted() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)  # expect: stale-optimizer "only tensors"
    model = copy.deepcopy(model)
    train(model, optimizer)


def head_replaced_and_passed() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model.head = nn.Linear(8, 1)
    optimizer.add_param_group({"params": list(model.head.parameters())})
    train(model, optimizer)


def master_weights() -> None:
    model = Net().to(torch.bfloat16)
    masters = [p.detach().float().requires_grad_() for p in model.parameters()]
    optimizer = torch.optim.SGD(masters, lr=0.01)
    for _ in range(STEPS):
        model.zero_grad()
        model(batch().to(torch.bfloat16)).float().pow(2).mean().backward()
        for master, p in zip(masters, model.parameters(), strict=True):
            assert p.grad is not None
            master.grad = p.grad.float()
        optimizer.step()
        with torch.no_grad():
            for master, p in zip(masters, model.parameters(), strict=True):
                p.copy_(master)


def optimised_input() -> None:
    model = Net()
    x = batch().requires_grad_()
    optimizer = torch.optim.SGD([x], lr=0.1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(x).pow(2).mean().backward()
        optimizer.step()


def moved_to_another_type() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model.to(torch.float64)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(batch().double()).pow(2).mean().backward()
        optimizer.step()


def new_model_for_each_fold() -> None:
    for _ in range(3):
        model = Net()
        train(model, torch.optim.SGD(model.parameters(), lr=0.01), steps=3)


# wrong-parameters-optimized


def teacher_optimised() -> None:
    teacher, student = Net(), Net()
    optimizer = torch.optim.SGD(teacher.parameters(), lr=0.01)  # expect: wrong-parameters-optimized "`student`"
    for _ in range(STEPS):
        student.zero_grad()
        x = batch()
        with torch.no_grad():
            wanted = teacher(x)
        (student(x) - wanted + 1.0).pow(2).mean().backward()
        optimizer.step()


def trained_in_turn() -> None:
    first, second = Net(), Net()
    opt_1 = torch.optim.SGD(first.parameters(), lr=0.01)
    opt_2 = torch.optim.SGD(second.parameters(), lr=0.01)
    train(first, opt_1, steps=3)
    train(second, opt_2, steps=3)
    train(first, opt_1, steps=3)


def both_step_while_one_trains() -> None:
    first, second = Net(), Net()
    opt_1 = torch.optim.SGD(first.parameters(), lr=0.01)
    opt_2 = torch.optim.SGD(second.parameters(), lr=0.01)
    for _ in range(STEPS):
        opt_2.zero_grad()
        with torch.no_grad():
            first(batch())
        second(batch()).pow(2).mean().backward()
        opt_1.step()
        opt_2.step()


def delayed_policy() -> None:
    actor, critic = nn.Linear(4, 2), nn.Linear(6, 1)
    opt_a = torch.optim.SGD(actor.parameters(), lr=0.01)
    opt_c = torch.optim.SGD(critic.parameters(), lr=0.01)
    for index in range(4 * STEPS):
        state = batch()
        opt_c.zero_grad()
        critic(torch.cat([state, actor(state).detach()], dim=1)).pow(2).mean().backward()
        opt_c.step()
        if index % 3 == 2:
            opt_a.zero_grad()
            critic(torch.cat([state, actor(state)], dim=1)).mean().backward()
            opt_a.step()


def adapted_by_hand() -> None:
    # The copy of each task is trained by hand, the original gets the difference as its gradient.
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(STEPS):
        learner = copy.deepcopy(model)
        for _ in range(3):
            learner.zero_grad()
            learner(batch()).pow(2).mean().backward()
            with torch.no_grad():
                for p in learner.parameters():
                    p -= 0.01 * p.grad
        for p, own in zip(model.parameters(), learner.parameters(), strict=True):
            p.grad = p.detach() - own.detach()
        optimizer.step()


# parameter-not-updated


class Lazy(torch.optim.Optimizer):
    """Updates matrices only."""

    def __init__(self, params: Iterable[torch.Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and p.dim() > 1:
                    p.sub_(p.grad, alpha=group["lr"])


def biases_skipped() -> None:
    model = Net()
    optimizer = Lazy(model.parameters(), lr=0.1)  # expect: parameter-not-updated "`body.bias`"
    train(model, optimizer)


def too_small_for_the_type() -> None:
    model = nn.Linear(4, 1).to(torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)  # expect: parameter-not-updated
    for _ in range(STEPS):
        optimizer.zero_grad()
        (model(torch.ones(8, 4, dtype=torch.bfloat16)) - 3.0).pow(2).mean().backward()
        optimizer.step()


def learning_rate_of_zero() -> None:
    model = Net()
    train(model, torch.optim.SGD(model.parameters(), lr=0.0))


def no_gradient_and_zero_gradient() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (0.0 * model.gate(batch()) + model.body(batch())).pow(2).mean().backward()
        optimizer.step()


def fused_adam() -> None:
    model = Net()
    train(model, torch.optim.Adam(model.parameters(), fused=True))


def closure() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loss() -> float:
        optimizer.zero_grad()
        value = model(batch()).pow(2).mean()
        value.backward()
        return value.item()  # type: ignore[no-any-return]

    for _ in range(STEPS):
        optimizer.step(loss)


def skipped_by_the_scaler() -> None:
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    for _ in range(2 * STEPS):
        optimizer.zero_grad()
        scaler.scale(1e3 * model(batch()).pow(2).mean()).backward()
        scaler.step(optimizer)
        scaler.update()


SETUPS = (
    gate_forgotten,
    biases_forgotten,
    head_only,
    container_of_parameters_forgotten,
    second_optimizer_steps_later,
    second_optimizer_never_steps,
    group_added_later,
    group_added_much_later,
    frozen_body,
    perceptual_loss,
    averaged_and_target_nets,
    rest_updated_by_hand,
    rest_updated_behind_the_version,
    unused_layer,
    gan,
    head_replaced,
    head_replaced_after_a_first_forward,
    whole_model_converted,
    head_replaced_and_passed,
    master_weights,
    optimised_input,
    moved_to_another_type,
    new_model_for_each_fold,
    teacher_optimised,
    trained_in_turn,
    both_step_while_one_trains,
    delayed_policy,
    adapted_by_hand,
)
UPDATES = (
    biases_skipped,
    too_small_for_the_type,
    learning_rate_of_zero,
    no_gradient_and_zero_gradient,
    fused_adam,
    closure,
    skipped_by_the_scaler,
)


def names(programs: Iterable[Callable[[], None]]) -> Iterator[str]:
    return (program.__name__ for program in programs)


@pytest.mark.parametrize("program", SETUPS, ids=names(SETUPS))
def test_setups(program: Callable[[], None]) -> None:
    check(program)


@pytest.mark.parametrize("program", UPDATES, ids=names(UPDATES))
def test_updates(program: Callable[[], None]) -> None:
    check(program, select=["parameter-not-updated"])


def test_an_optimizer_from_before_the_watch() -> None:
    check(second_optimizer_made_before_the_watch())


def test_too_few_passes_are_out_of_sight() -> None:
    seen = check(two_passes_only)
    assert any("parameters-not-optimized" in gap.rules for gap in seen.out_of_sight)


def test_the_head_alone_is_likely_only() -> None:
    from modellint.finding import Certainty

    found = [finding for finding in check(head_only).findings if finding.rule == "parameters-not-optimized"]
    assert [finding.certainty for finding in found] == [Certainty.LIKELY]
