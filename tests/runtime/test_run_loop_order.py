"""The rules on the order of backward, clip, step and schedule, on a live run."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    ExponentialLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from watching import check

STEPS = 6


def batch(rows: int = 8) -> torch.Tensor:
    return torch.randn(rows, 4)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))


def sgd(*models: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD([p for model in models for p in model.parameters()], lr=0.01)


def loss_of(model: nn.Module, x: torch.Tensor | None = None) -> torch.Tensor:
    return model(batch() if x is None else x).pow(2).mean()


def grad_scaler(scale: float = 64.0, *, enabled: bool = True) -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=scale, enabled=enabled)


def steep(model: nn.Module) -> torch.Tensor:
    """A small loss with large gradients: these overflow under a large scale, the loss does not."""
    y = model(1e4 * batch())
    return (y - y.detach() + 1e-3).pow(2).mean()  # type: ignore[no-any-return]


# zero-grad-before-step


def cleared_before_the_step() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        loss_of(model).backward()
        optimizer.zero_grad()
        optimizer.step()  # expect: zero-grad-before-step "3 of 3 steps"


def cleared_in_place_before_the_step() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        loss_of(model).backward()
        optimizer.zero_grad(set_to_none=False)
        optimizer.step()  # expect: zero-grad-before-step


def cleared_by_data_before_the_step() -> None:
    # Nothing but the values says so, and they are not read for every step.
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        loss_of(model).backward()
        for p in model.parameters():
            assert p.grad is not None
            p.grad.data.zero_()
        optimizer.step()  # expect-missed: zero-grad-before-step


def cleared_before_every_micro_batch() -> None:
    model = net()
    optimizer = sgd(model)
    for index in range(3 * STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        if index % 3 == 2:
            optimizer.step()  # expect: zero-grad-before-step "last micro-batch"


def cleared_in_place_before_every_micro_batch() -> None:
    model = net()
    optimizer = sgd(model)
    for index in range(2 * STEPS):
        optimizer.zero_grad(set_to_none=False)
        loss_of(model).backward()
        if index % 2:
            optimizer.step()  # expect: zero-grad-before-step


def generator_gradients_in_the_discriminator_are_cleared() -> None:
    generator, discriminator = nn.Linear(4, 4), nn.Linear(4, 1)
    opt_g, opt_d = sgd(generator), sgd(discriminator)
    for _ in range(STEPS):
        opt_g.zero_grad()
        discriminator(generator(batch())).mean().backward()
        opt_g.step()
        opt_d.zero_grad()
        (discriminator(batch()) - discriminator(generator(batch()).detach())).mean().backward()
        opt_d.step()


def gradients_put_back() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        kept = []
        for _ in range(2):
            optimizer.zero_grad()
            loss_of(model).backward()
            kept.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        optimizer.zero_grad()
        for p, one, other in zip(model.parameters(), *kept, strict=True):
            p.grad = one + other
        optimizer.step()


def gradients_of_two_tasks_are_added_by_hand() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        kept: list[torch.Tensor] = []
        for _ in range(2):
            optimizer.zero_grad()
            loss_of(model).backward()
            if not kept:
                kept = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        for p, other in zip(model.parameters(), kept, strict=True):
            assert p.grad is not None
            p.grad.add_(other)
        optimizer.step()


def attack_before_the_training_backward() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        x = batch()
        for _ in range(2):
            x = x.detach().requires_grad_()
            optimizer.zero_grad()
            loss_of(model, x).backward()
            assert x.grad is not None
            x = x + 0.1 * x.grad.sign()
        optimizer.zero_grad()
        loss_of(model, x.detach()).backward()
        optimizer.step()


def sharpness_aware() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        x = batch()
        for climb in (True, False):
            optimizer.zero_grad()
            loss_of(model, x).backward()
            if climb:
                with torch.no_grad():
                    for p in model.parameters():
                        p.add_(0.01 * p.grad)
        optimizer.step()


def steps_skipped_by_the_scaler() -> None:
    model = nn.Linear(4, 1)
    optimizer = sgd(model)
    scaler = grad_scaler(2.0**127)
    for _ in range(4 * STEPS):
        optimizer.zero_grad()
        scaler.scale(steep(model)).backward()
        scaler.step(optimizer)
        scaler.update()


def steps_skipped_by_hand() -> None:
    model = net()
    optimizer = sgd(model)
    for index in range(3 * STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        if index % 5:
            optimizer.step()


def norm_for_the_log_first() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        sum(p.grad.norm().item() for p in model.parameters() if p.grad is not None)
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def used_by_another_optimizer() -> None:
    model = net()
    optimizer, average = sgd(model), torch.optim.SGD(model.parameters(), lr=0.0)
    for _ in range(STEPS):
        loss_of(model).backward()
        optimizer.step()
        optimizer.zero_grad()
        average.step()


def closure_that_clears_first() -> None:
    model = net()
    optimizer = sgd(model)

    def closure() -> float:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss.item()

    for _ in range(STEPS):
        loss_of(model).backward()
        optimizer.zero_grad()
        optimizer.step(closure)


def clipped_away_to_almost_nothing() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-30)
        optimizer.step()


# missing-backward


def no_backward() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model)
        optimizer.step()  # expect: missing-backward


def evolution_strategy() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        loss = loss_of(model).item()
        for p in model.parameters():
            p.grad = loss * torch.randn_like(p)
        optimizer.step()


def gradients_by_autograd_grad() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        parameters = list(model.parameters())
        for p, gradient in zip(parameters, torch.autograd.grad(loss_of(model), parameters), strict=True):
            p.grad = gradient
        optimizer.step()


def empty_replay_buffer() -> None:
    model = net()
    optimizer = sgd(model)
    for index in range(STEPS):
        optimizer.zero_grad()
        with torch.no_grad():
            model(batch())
        if index > 2:
            loss_of(model).backward()
        optimizer.step()


def backward_inside_of_the_step() -> None:
    model = net()
    optimizer = sgd(model)

    def closure() -> float:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss.item()

    for _ in range(STEPS):
        model(batch())
        optimizer.step(closure)


# missing-optimizer-step


def never_steps() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()  # expect: missing-optimizer-step "`optimizer` never steps"


def the_other_optimizer_steps_only() -> None:
    encoder, head = nn.Linear(4, 4), nn.Linear(4, 1)
    optimizer, other = sgd(encoder), sgd(head)
    for _ in range(STEPS):
        optimizer.zero_grad()
        other.zero_grad()
        head(encoder(batch())).pow(2).mean().backward()  # expect: missing-optimizer-step "`SGD` never steps"
        other.step()


def updated_by_hand() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.01 * p.grad


def updated_by_hand_behind_the_version() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        for p in model.parameters():
            assert p.grad is not None
            p.data.add_(p.grad, alpha=-0.01)


def saliency() -> None:
    model = net().eval()
    sgd(model)
    for _ in range(STEPS):
        x = batch().requires_grad_()
        loss_of(model, x).backward()


def no_optimizer_at_all() -> None:
    model = net()
    for _ in range(STEPS):
        loss_of(model).backward()


def two_backwards_only() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(model).backward()


def long_accumulation() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(2):
        optimizer.zero_grad()
        for _ in range(5):
            loss_of(model).backward()
        optimizer.step()


def all_steps_skipped_so_far() -> None:
    model = nn.Linear(4, 1)
    optimizer = sgd(model)
    scaler = grad_scaler(2.0**127)
    for _ in range(3):
        optimizer.zero_grad()
        scaler.scale(steep(model)).backward()
        scaler.step(optimizer)
        scaler.update()


# unscaled-gradient-clipping, grad-scaler-misused


def clipped_while_scaled() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = grad_scaler()
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(loss_of(model)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)  # expect: unscaled-gradient-clipping "64 times"
        scaler.step(optimizer)
        scaler.update()


def clipped_by_value_while_scaled() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = grad_scaler()
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(loss_of(model)).backward()
        nn.utils.clip_grad_value_(model.parameters(), 0.5)  # expect: unscaled-gradient-clipping
        scaler.step(optimizer)
        scaler.update()


def clipped_while_scaled_without_foreach() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = grad_scaler()
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(loss_of(model) / 2).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5, foreach=False)  # expect: unscaled-gradient-clipping
        scaler.step(optimizer)
        scaler.update()


def unscaled_then_clipped() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = grad_scaler()
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(loss_of(model)).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        scaler.step(optimizer)
        scaler.update()


def divided_by_hand_then_clipped() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = grad_scaler()
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(loss_of(model)).backward()
        for p in model.parameters():
            assert p.grad is not None
            p.grad.div_(64.0)
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()


def divided_behind_the_version_then_clipped() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = grad_scaler()
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(loss_of(model)).backward()
        scale = scaler.get_scale()
        for p in model.parameters():
            assert p.grad is not None
            p.grad.data.div_(scale)
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()


def limit_times_the_scale() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = grad_scaler()
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(loss_of(model)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5 * scaler.get_scale())
        scaler.step(optimizer)
        scaler.update()


def scaler_off() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = grad_scaler(enabled=False)
    for _ in range(STEPS):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_of(model)
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        scaler.step(optimizer)
        scaler.update()


def scale_of_one() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0, growth_interval=10_000)
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(loss_of(model)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        scaler.step(optimizer)
        scaler.update()


def norm_only() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = grad_scaler()
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(loss_of(model)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), math.inf)
        scaler.step(optimizer)
        scaler.update()
        nn.utils.clip_grad_norm_(model.parameters(), math.inf)


def fused_without_unscale() -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    scaler = grad_scaler()
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(loss_of(model)).backward()
        scaler.step(optimizer)
        scaler.update()


def one_update_for_two_optimizers() -> None:
    encoder, head = nn.Linear(4, 4), nn.Linear(4, 1)
    first, second = sgd(encoder), sgd(head)
    scaler = grad_scaler()
    for _ in range(STEPS):
        first.zero_grad()
        second.zero_grad()
        scaler.scale(head(encoder(batch())).pow(2).mean()).backward()
        scaler.step(first)
        scaler.step(second)
        scaler.update()


def one_of_two_without_the_scaler() -> None:
    encoder, head = nn.Linear(4, 4), nn.Linear(4, 1)
    first, second = sgd(encoder), sgd(head)
    scaler = grad_scaler()
    for _ in range(STEPS):
        first.zero_grad()
        second.zero_grad()
        scaler.scale(head(encoder(batch())).pow(2).mean()).backward()
        scaler.step(first)
        second.step()  # expect: grad-scaler-misused "`second`"
        scaler.update()


def step_beside_the_scaler() -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scaler = grad_scaler()
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(loss_of(model)).backward()
        optimizer.step()  # expect: grad-scaler-misused
        scaler.step(optimizer)
        scaler.update()


def several_scaled_losses() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = grad_scaler()
    for _ in range(STEPS):
        optimizer.zero_grad()
        total = sum(scaler.scale([loss_of(model), loss_of(model)]))
        assert isinstance(total, torch.Tensor)
        total.backward()
        optimizer.step()  # expect: grad-scaler-misused


def never_updated() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        scaler = grad_scaler()
        optimizer.zero_grad()
        scaler.scale(loss_of(model)).backward()
        scaler.step(optimizer)  # expect: grad-scaler-misused "never updated"


def updated_by_hand_to_a_new_scale() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = grad_scaler()
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(loss_of(model)).backward()
        scaler.step(optimizer)
        scaler.update(32.0)


def teacher_forward_between_backward_and_step() -> None:
    # A forward without gradients ends the sight of torch functions: the unscaling after it is not seen.
    model = net()
    teacher = copy.deepcopy(model).eval()
    optimizer = sgd(model)
    scaler = grad_scaler()
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(loss_of(model)).backward()
        with torch.no_grad():
            teacher(batch())
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        scaler.step(optimizer)
        scaler.update()


def scaled_accumulation() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = grad_scaler()
    for index in range(2 * STEPS):
        scaler.scale(loss_of(model) / 2).backward()
        if index % 2:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()


# misplaced-gradient-clipping


def clipped_after_the_step() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)  # expect: misplaced-gradient-clipping


def clipped_before_the_backward() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model)
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)  # expect: misplaced-gradient-clipping
        loss.backward()
        optimizer.step()


def clipped_by_value_after_the_step() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=False)
        loss_of(model).backward()
        optimizer.step()
        nn.utils.clip_grad_value_(model.parameters(), 0.5)  # expect: misplaced-gradient-clipping


def clipped_for_every_micro_batch() -> None:
    model = net()
    optimizer = sgd(model)
    for index in range(2 * STEPS):
        loss_of(model).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)  # expect: misplaced-gradient-clipping
        if index % 2:
            optimizer.step()
            optimizer.zero_grad()


def clipped_after_the_last_micro_batch() -> None:
    model = net()
    optimizer = sgd(model)
    for index in range(2 * STEPS):
        loss_of(model).backward()
        if index % 2:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()


def weights_clipped() -> None:
    critic = net()
    optimizer = sgd(critic)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(critic).backward()
        optimizer.step()
        for p in critic.parameters():
            p.data.clamp_(-0.1, 0.1)


def all_clipped_before_each_of_two_steps() -> None:
    generator, discriminator = nn.Linear(4, 4), nn.Linear(4, 1)
    opt_g, opt_d = sgd(generator), sgd(discriminator)
    both = [*generator.parameters(), *discriminator.parameters()]
    for _ in range(STEPS):
        opt_d.zero_grad()
        (discriminator(batch()) - discriminator(generator(batch()).detach())).mean().backward()
        nn.utils.clip_grad_norm_(both, 0.5)
        opt_d.step()
        opt_g.zero_grad()
        discriminator(generator(batch())).mean().backward()
        nn.utils.clip_grad_norm_(both, 0.5)
        opt_g.step()


def clipped_between_two_optimizers_of_the_same_tensors() -> None:
    model = net()
    first, second = sgd(model), sgd(model)
    for _ in range(STEPS):
        first.zero_grad()
        loss_of(model).backward()
        first.step()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        second.step()


def clipped_for_the_first_loss_only() -> None:
    # Two losses, the first of which shall not be too strong.
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        loss_of(model).backward()
        optimizer.step()


def clipped_twice_by_sharpness_aware_steps() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        x = batch()
        for climb in (True, False):
            optimizer.zero_grad()
            loss_of(model, x).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            if climb:
                with torch.no_grad():
                    for p in model.parameters():
                        p.add_(0.01 * p.grad)
        optimizer.step()


def clipped_parameter_by_parameter() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        for p in model.parameters():
            nn.utils.clip_grad_norm_(p, 0.5)
        optimizer.step()


def clipped_parameter_by_parameter_after_the_step() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
        for p in model.parameters():
            nn.utils.clip_grad_norm_(p, 0.5)  # expect: misplaced-gradient-clipping


class Clipping(torch.optim.SGD):
    """Clips by itself."""

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 0.5)
        return super().step(closure)


def clipped_inside_of_the_step() -> None:
    model = net()
    optimizer = Clipping(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def order_of_steps_inside_of_backward() -> None:
    model = nn.Linear(4, 1)
    optimizers = {p: torch.optim.SGD([p], lr=0.01) for p in model.parameters()}

    def update(p: torch.Tensor) -> None:
        optimizers[p].step()
        optimizers[p].zero_grad()
        nn.utils.clip_grad_norm_(p, 0.5)

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(update)
    for _ in range(STEPS):
        loss_of(model).backward()


# scheduler-before-optimizer


def epoch_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def scheduler_first() -> None:
    model = net()
    optimizer = sgd(model)
    scheduler = StepLR(optimizer, step_size=1)
    for _ in range(3):
        scheduler.step()  # expect: scheduler-before-optimizer
        epoch_of(model, optimizer)


def scheduler_between_backward_and_step() -> None:
    model = net()
    optimizer = sgd(model)
    scheduler = ExponentialLR(optimizer, 0.9)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        scheduler.step()  # expect: scheduler-before-optimizer
        optimizer.step()


def scheduler_last() -> None:
    model = net()
    optimizer = sgd(model)
    scheduler = OneCycleLR(optimizer, max_lr=0.1, total_steps=STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
        scheduler.step()


def constructed_schedulers_only() -> None:
    model = net()
    optimizer = sgd(model)
    scheduler = SequentialLR(
        optimizer, [ConstantLR(optimizer, total_iters=2), ExponentialLR(optimizer, 0.9)], milestones=[2]
    )
    for _ in range(3):
        epoch_of(model, optimizer)
        scheduler.step()


def chained_schedulers() -> None:
    model = net()
    optimizer = sgd(model)
    scheduler = ChainedScheduler([ConstantLR(optimizer, total_iters=2), ExponentialLR(optimizer, 0.9)])
    for _ in range(3):
        epoch_of(model, optimizer)
        scheduler.step()


def resumed() -> None:
    model = net()
    optimizer = sgd(model)
    scheduler = StepLR(optimizer, step_size=2)
    epoch_of(model, optimizer)
    for _ in range(3):
        scheduler.step()
    states = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(scheduler.state_dict())

    optimizer = sgd(model)
    scheduler = StepLR(optimizer, step_size=2)
    optimizer.load_state_dict(states[0])
    scheduler.load_state_dict(states[1])
    for _ in range(3):
        scheduler.step()
        epoch_of(model, optimizer)


def plateau_before_training() -> None:
    model = net()
    optimizer = sgd(model)
    scheduler = ReduceLROnPlateau(optimizer)
    for _ in range(3):
        with torch.no_grad():
            metric = loss_of(model).item()
        scheduler.step(metric)
        epoch_of(model, optimizer)


def first_step_skipped_by_the_scaler() -> None:
    model = nn.Linear(4, 1)
    optimizer = sgd(model)
    scheduler = ExponentialLR(optimizer, 0.9)
    scaler = grad_scaler(2.0**127)
    for _ in range(2 * STEPS):
        optimizer.zero_grad()
        scaler.scale(steep(model)).backward()
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()


FOUND = (
    cleared_before_the_step,
    cleared_in_place_before_the_step,
    cleared_by_data_before_the_step,
    cleared_before_every_micro_batch,
    cleared_in_place_before_every_micro_batch,
    no_backward,
    never_steps,
    the_other_optimizer_steps_only,
    clipped_while_scaled,
    clipped_by_value_while_scaled,
    clipped_while_scaled_without_foreach,
    one_of_two_without_the_scaler,
    step_beside_the_scaler,
    several_scaled_losses,
    never_updated,
    clipped_after_the_step,
    clipped_before_the_backward,
    clipped_by_value_after_the_step,
    clipped_for_every_micro_batch,
    clipped_parameter_by_parameter_after_the_step,
    scheduler_first,
    scheduler_between_backward_and_step,
)
SILENT = (
    generator_gradients_in_the_discriminator_are_cleared,
    gradients_put_back,
    gradients_of_two_tasks_are_added_by_hand,
    attack_before_the_training_backward,
    sharpness_aware,
    steps_skipped_by_the_scaler,
    steps_skipped_by_hand,
    norm_for_the_log_first,
    used_by_another_optimizer,
    closure_that_clears_first,
    clipped_away_to_almost_nothing,
    evolution_strategy,
    gradients_by_autograd_grad,
    empty_replay_buffer,
    backward_inside_of_the_step,
    updated_by_hand,
    updated_by_hand_behind_the_version,
    saliency,
    no_optimizer_at_all,
    two_backwards_only,
    long_accumulation,
    all_steps_skipped_so_far,
    unscaled_then_clipped,
    divided_by_hand_then_clipped,
    divided_behind_the_version_then_clipped,
    limit_times_the_scale,
    scaler_off,
    scale_of_one,
    norm_only,
    fused_without_unscale,
    one_update_for_two_optimizers,
    updated_by_hand_to_a_new_scale,
    teacher_forward_between_backward_and_step,
    scaled_accumulation,
    clipped_after_the_last_micro_batch,
    weights_clipped,
    all_clipped_before_each_of_two_steps,
    clipped_between_two_optimizers_of_the_same_tensors,
    clipped_for_the_first_loss_only,
    clipped_twice_by_sharpness_aware_steps,
    clipped_parameter_by_parameter,
    clipped_inside_of_the_step,
    order_of_steps_inside_of_backward,
    scheduler_last,
    constructed_schedulers_only,
    chained_schedulers,
    resumed,
    plateau_before_training,
    first_step_skipped_by_the_scaler,
)


def names(programs: Iterable[Callable[[], None]]) -> Iterator[str]:
    return (program.__name__ for program in programs)


@pytest.mark.filterwarnings("ignore:Detected call of:UserWarning")
@pytest.mark.parametrize("program", FOUND, ids=names(FOUND))
def test_found(program: Callable[[], None]) -> None:
    check(program)


@pytest.mark.filterwarnings("ignore:Detected call of:UserWarning")
@pytest.mark.filterwarnings("ignore:`parameters` is an empty generator:UserWarning")
@pytest.mark.parametrize("program", SILENT, ids=names(SILENT))
def test_silent(program: Callable[[], None]) -> None:
    check(program)


def test_steps_inside_of_backward_are_out_of_sight() -> None:
    seen = check(order_of_steps_inside_of_backward)
    assert any("misplaced-gradient-clipping" in gap.rules for gap in seen.out_of_sight)
