"""missing-zero-grad on a live run: every way to clear, and every way not to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from watching import check, watched

STEPS = 6


def batch(rows: int = 8) -> torch.Tensor:
    return torch.randn(rows, 4)


def loss_of(model: nn.Module, x: torch.Tensor | None = None) -> torch.Tensor:
    return model(batch() if x is None else x).pow(2).mean()


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1))


# Found


def never_cleared() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        loss_of(model).backward()
        optimizer.step()  # expect: missing-zero-grad "3 of 4 steps"


def never_cleared_adamw() -> None:
    model = net()
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(STEPS):
        loss_of(model).backward()
        optimizer.step()  # expect: missing-zero-grad


def never_cleared_fused() -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    for _ in range(STEPS):
        loss_of(model).backward()
        optimizer.step()  # expect: missing-zero-grad


def never_cleared_foreach() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, foreach=True)
    for _ in range(STEPS):
        loss_of(model).backward()
        optimizer.step()  # expect: missing-zero-grad


def never_cleared_with_clipping() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        loss_of(model).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()  # expect: missing-zero-grad


def never_cleared_with_scaler() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    for _ in range(STEPS):
        scaler.scale(loss_of(model)).backward()
        scaler.step(optimizer)  # expect: missing-zero-grad "`optimizer` steps"
        scaler.update()


def never_cleared_with_closure() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def closure() -> float:
        loss = loss_of(model)
        loss.backward()
        return loss.item()

    for _ in range(STEPS):
        optimizer.step(closure)  # expect: missing-zero-grad


def never_cleared_lbfgs() -> None:
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)

    def closure() -> torch.Tensor:
        loss = loss_of(model)
        loss.backward()
        return loss

    for _ in range(STEPS):
        optimizer.step(closure)  # expect: missing-zero-grad


def one_of_two_optimizers() -> None:
    encoder, head = nn.Linear(4, 4), nn.Linear(4, 1)
    first = torch.optim.SGD(encoder.parameters(), lr=0.01)
    second = torch.optim.SGD(head.parameters(), lr=0.01)
    for _ in range(STEPS):
        first.zero_grad()
        head(encoder(batch())).pow(2).mean().backward()
        first.step()
        second.step()  # expect: missing-zero-grad "`second`"


def once_per_epoch() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        for _ in range(4):
            loss_of(model).backward()
            optimizer.step()  # expect: missing-zero-grad


def in_backward_without_clear() -> None:
    model = nn.Linear(4, 1)
    optimizers = {p: torch.optim.SGD([p], lr=0.01) for p in model.parameters()}

    def update(p: torch.Tensor) -> None:
        optimizers[p].step()  # expect: missing-zero-grad

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(update)
    for _ in range(2 * STEPS):
        loss_of(model).backward()


def accumulated_and_never_cleared() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for index in range(3 * STEPS):
        loss_of(model).backward()
        if index % 3 == 2:
            optimizer.step()  # expect: missing-zero-grad


def never_cleared_under_checkpoint() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        checkpoint(model, batch(), use_reentrant=False).pow(2).mean().backward()
        optimizer.step()  # expect: missing-zero-grad


# Silent


def clearing_loop(clear: Callable[[nn.Module, torch.optim.Optimizer], object], lr: float = 0.01) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(STEPS):
        clear(model, optimizer)
        loss_of(model).backward()
        optimizer.step()


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [p.grad for p in model.parameters() if p.grad is not None]


def delete(model: nn.Module) -> None:
    for p in model.parameters():
        del p.grad


CLEARS: dict[str, Callable[[nn.Module, torch.optim.Optimizer], object]] = {
    "to_none": lambda model, optimizer: optimizer.zero_grad(),
    "in_place": lambda model, optimizer: optimizer.zero_grad(set_to_none=False),
    "by_the_model": lambda model, optimizer: model.zero_grad(),
    "by_the_model_in_place": lambda model, optimizer: model.zero_grad(set_to_none=False),
    "assigned_none": lambda model, optimizer: [setattr(p, "grad", None) for p in model.parameters()],
    "deleted": lambda model, optimizer: delete(model),
    "zero_": lambda model, optimizer: [g.zero_() for g in gradients(model)],
    "data_zero_": lambda model, optimizer: [g.data.zero_() for g in gradients(model)],
    "detach_zero_": lambda model, optimizer: [g.detach().zero_() for g in gradients(model)],
    "fill_": lambda model, optimizer: [g.fill_(0.0) for g in gradients(model)],
    "copy_": lambda model, optimizer: [g.copy_(torch.zeros_like(g)) for g in gradients(model)],
    "data_copy_": lambda model, optimizer: [g.data.copy_(torch.zeros_like(g)) for g in gradients(model)],
    "slice": lambda model, optimizer: [g.__setitem__(slice(None), 0.0) for g in gradients(model)],  # type: ignore[func-returns-value]
    "multiplied_by_zero": lambda model, optimizer: [g.mul_(0.0) for g in gradients(model)],
    "foreach_zero": lambda model, optimizer: torch._foreach_zero_(gradients(model)) if gradients(model) else None,
    "decayed": lambda model, optimizer: [g.mul_(0.9) for g in gradients(model)],
    "new_tensor": lambda model, optimizer: [setattr(p, "grad", torch.zeros_like(p)) for p in model.parameters()],
}


@pytest.mark.parametrize("name", CLEARS)
def test_every_way_to_clear(name: str) -> None:
    assert not watched(lambda: clearing_loop(CLEARS[name])).findings


def data_zero_after_the_step() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        loss_of(model).backward()
        optimizer.step()
        for p in model.parameters():
            assert p.grad is not None
            p.grad.data.zero_()


def data_zero_in_a_closure() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def closure() -> float:
        for g in gradients(model):
            g.data.zero_()
        loss = loss_of(model)
        loss.backward()
        return loss.item()

    for _ in range(STEPS):
        optimizer.step(closure)


def data_zero_in_a_gan() -> None:
    # Between the step of the discriminator and its clear comes a backward of the generator.
    generator, discriminator = nn.Linear(4, 4), nn.Linear(4, 1)
    opt_g = torch.optim.SGD(generator.parameters(), lr=0.01)
    opt_d = torch.optim.SGD(discriminator.parameters(), lr=0.01)
    for _ in range(STEPS):
        for g in gradients(discriminator):
            g.data.zero_()
        fake = generator(batch())
        (discriminator(batch()) - discriminator(fake.detach())).mean().backward()
        opt_d.step()
        opt_g.zero_grad()
        discriminator(fake).mean().backward()
        opt_g.step()


def accumulation() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for index in range(3 * STEPS):
        loss_of(model).backward()
        if index % 3 == 2:
            optimizer.step()
            optimizer.zero_grad()


def accumulation_of_growing_length() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for count in range(1, STEPS):
        optimizer.zero_grad(set_to_none=False)
        for _ in range(count):
            loss_of(model).backward()
        optimizer.step()


def double_backward_with_retain_graph() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward(retain_graph=True)
        loss.backward()
        optimizer.step()


def two_optimizers() -> None:
    encoder, head = nn.Linear(4, 4), nn.Linear(4, 1)
    first = torch.optim.SGD(encoder.parameters(), lr=0.01)
    second = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(STEPS):
        first.zero_grad()
        second.zero_grad(set_to_none=False)
        head(encoder(batch())).pow(2).mean().backward()
        first.step()
        second.step()


def two_optimizers_over_the_same_tensors() -> None:
    model = net()
    first = torch.optim.SGD(model.parameters(), lr=0.01)
    second = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    for _ in range(STEPS):
        first.zero_grad(set_to_none=False)
        loss_of(model).backward()
        first.step()
        second.step()


def two_optimizers_over_the_same_tensors_in_turn() -> None:
    model = net()
    first = torch.optim.SGD(model.parameters(), lr=0.01)
    second = torch.optim.SGD(model.parameters(), lr=0.001)
    for index in range(2 * STEPS):
        optimizer = second if index % 2 else first
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def two_steps_on_one_gradient() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
        optimizer.step()


def backward_after_the_step_for_the_log() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()
        loss_of(model).backward()
        sum(g.norm().item() for g in gradients(model))


def closure_that_clears() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def closure() -> float:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss.item()

    for _ in range(STEPS):
        optimizer.step(closure)


def lbfgs() -> None:
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4, line_search_fn="strong_wolfe")
    x = batch()

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = loss_of(model, x)
        loss.backward()
        return loss

    for _ in range(STEPS):
        optimizer.step(closure)


class Sharp(torch.optim.Optimizer):
    """Climbs first, then steps with the gradient from there (SAM)."""

    def __init__(self, params: Iterable[torch.Tensor], inner: type[torch.optim.Optimizer], **options: Any) -> None:
        super().__init__(params, options)
        self.inner = inner(self.param_groups, **options)
        self.param_groups = self.inner.param_groups

    @torch.no_grad()
    def climb(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["e"] = 0.05 * p.grad / (p.grad.norm() + 1e-12)
                p.add_(self.state[p]["e"])
        self.zero_grad()

    @torch.no_grad()
    def descend(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(self.state[p]["e"])
        self.inner.step()
        self.zero_grad()


def sam() -> None:
    model = net()
    optimizer = Sharp(model.parameters(), torch.optim.SGD, lr=0.01)
    for _ in range(STEPS):
        x = batch()
        loss_of(model, x).backward()
        optimizer.climb()
        loss_of(model, x).backward()
        optimizer.descend()


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


def gradient_penalty() -> None:
    critic = net()
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        x = batch().requires_grad_()
        score = critic(x)
        (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=True)
        (score.mean() + (gradient.norm(dim=1) - 1).pow(2).mean()).backward()
        optimizer.step()


def scaler_that_skips_steps() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    for _ in range(3 * STEPS):
        optimizer.zero_grad()
        scaler.scale(1e3 * loss_of(model)).backward()
        scaler.step(optimizer)
        scaler.update()


def optimizer_in_backward() -> None:
    model = net()
    optimizers = {p: torch.optim.SGD([p], lr=0.01) for p in model.parameters()}

    def update(p: torch.Tensor) -> None:
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(update)
    for _ in range(STEPS):
        loss_of(model).backward()


def sparse_gradients() -> None:
    table = nn.Embedding(10, 3, sparse=True)
    optimizer = torch.optim.SparseAdam(list(table.parameters()), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        table(torch.randint(10, (4,))).pow(2).mean().backward()
        optimizer.step()


def unfrozen_later() -> None:
    model = net()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for index in range(STEPS):
        if index == 2:
            model[0].requires_grad_(True)
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def compiled() -> None:
    model = torch.compile(nn.Linear(4, 1), backend="aot_eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def never_cleared_compiled() -> None:
    model = torch.compile(nn.Linear(4, 1), backend="aot_eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        loss_of(model).backward()
        optimizer.step()  # expect: missing-zero-grad


def reentrant_checkpoint() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=False)
        x = batch().requires_grad_()
        checkpoint(model, x, use_reentrant=True).pow(2).mean().backward()
        optimizer.step()


def other_checkpoint() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=False)
        checkpoint(model, batch(), use_reentrant=False).pow(2).mean().backward()
        optimizer.step()


def by_hand_without_optimizer() -> None:
    model = net()
    for _ in range(STEPS):
        loss_of(model).backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.01 * p.grad


class Doubled(torch.Tensor):
    """Some tensor subclass, as a distributed tensor is one."""


def gradients_of_another_class() -> None:
    weight = nn.Parameter(torch.ones(3).as_subclass(Doubled))
    optimizer = torch.optim.SGD([weight], lr=0.01, foreach=False)
    for _ in range(STEPS):
        (weight * torch.randn(3)).sum().backward()
        optimizer.step()


FOUND = (
    never_cleared,
    never_cleared_adamw,
    never_cleared_fused,
    never_cleared_foreach,
    never_cleared_with_clipping,
    never_cleared_with_scaler,
    never_cleared_with_closure,
    never_cleared_lbfgs,
    one_of_two_optimizers,
    once_per_epoch,
    in_backward_without_clear,
    accumulated_and_never_cleared,
    never_cleared_under_checkpoint,
    never_cleared_compiled,
)
SILENT = (
    data_zero_after_the_step,
    data_zero_in_a_closure,
    data_zero_in_a_gan,
    accumulation,
    accumulation_of_growing_length,
    double_backward_with_retain_graph,
    two_optimizers,
    two_optimizers_over_the_same_tensors,
    two_optimizers_over_the_same_tensors_in_turn,
    two_steps_on_one_gradient,
    backward_after_the_step_for_the_log,
    closure_that_clears,
    lbfgs,
    sam,
    gan,
    gradient_penalty,
    scaler_that_skips_steps,
    optimizer_in_backward,
    sparse_gradients,
    unfrozen_later,
    compiled,
    reentrant_checkpoint,
    other_checkpoint,
    by_hand_without_optimizer,
)


def names(programs: Iterable[Callable[[], None]]) -> Iterator[str]:
    return (program.__name__ for program in programs)


@pytest.mark.parametrize("program", FOUND, ids=names(FOUND))
def test_found(program: Callable[[], None]) -> None:
    check(program)


@pytest.mark.parametrize("program", SILENT, ids=names(SILENT))
def test_silent(program: Callable[[], None]) -> None:
    check(program)


def test_gradients_of_another_class_are_out_of_sight() -> None:
    seen = check(gradients_of_another_class)
    assert any("missing-zero-grad" in gap.rules for gap in seen.out_of_sight)
