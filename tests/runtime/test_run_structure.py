"""Norms, teachers, embeddings and ties on a live run."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from watching import check, watched

RULES = [
    "batchnorm-momentum", "frozen-batchnorm-updating", "teacher-in-train-mode", "embedding-padding-overwritten",
    "untied-after-load",
]  # fmt: skip


def train(model: nn.Module, steps: int = 4) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(steps):
        model.train()
        optimizer.zero_grad()
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()


class Backbone(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(self.fc(x))
        return out


class Net(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.backbone = Backbone(norm)
        self.head = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(torch.relu(self.backbone(x)))
        return out


# batchnorm-momentum


def momentum_of_another_framework() -> None:
    class Normed(Backbone):
        def __init__(self) -> None:
            super().__init__(nn.Identity())
            self.norm = nn.BatchNorm1d(4, momentum=0.9)  # expect: batchnorm-momentum "90%"

    train(Normed())


def other_momenta() -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.first = nn.BatchNorm1d(4)
            self.second = nn.BatchNorm1d(4, momentum=None)
            self.third = nn.BatchNorm1d(4, momentum=0.9, track_running_stats=False)
            self.fourth = nn.BatchNorm1d(4, momentum=0.9).eval()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.fourth.eval()
            return self.fourth(self.third(self.second(self.first(self.fc(x)))))  # type: ignore[no-any-return]

    train(Normed())


def measured_anew() -> None:
    model = Net(nn.BatchNorm1d(4))
    train(model)
    norm = model.backbone.norm
    norm.momentum = 1.0  # type: ignore[assignment]
    with torch.no_grad():
        for _ in range(2):
            model(torch.randn(8, 4))


# frozen-batchnorm-updating


def frozen_backbone() -> None:
    class Frozen(Backbone):
        def __init__(self) -> None:
            super().__init__(nn.Identity())
            self.norm = nn.BatchNorm1d(4)  # expect: frozen-batchnorm-updating "`backbone` is frozen"

    model = Net(nn.Identity())
    model.backbone = Frozen().requires_grad_(False)
    train(model)


def frozen_without_scale_and_under_no_grad() -> None:
    class Frozen(Backbone):
        def __init__(self) -> None:
            super().__init__(nn.Identity())
            self.norm = nn.BatchNorm1d(4, affine=False)  # expect: frozen-batchnorm-updating

        @torch.no_grad()
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x)

    model = Net(nn.Identity())
    model.backbone = Frozen().requires_grad_(False)
    train(model)


def several_norms_of_one_part() -> None:
    model = nn.Sequential(
        nn.Sequential(
            nn.Linear(4, 4),
            nn.BatchNorm1d(4),  # expect: frozen-batchnorm-updating "same cause at"
            nn.BatchNorm1d(4),
        ).requires_grad_(False),
        nn.Linear(4, 1),
    )
    train(model)


def trainable() -> None:
    train(Net(nn.BatchNorm1d(4)))


def held_in_eval_mode() -> None:
    class Held(Net):
        def train(self, mode: bool = True) -> Held:
            super().train(mode)
            self.backbone.eval()
            return self

    model = Held(nn.BatchNorm1d(4))
    model.backbone.requires_grad_(False)
    train(model)


def no_statistics_or_none_that_move() -> None:
    for norm in (
        nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.BatchNorm1d(4, track_running_stats=False),
        nn.BatchNorm1d(4, momentum=None), nn.BatchNorm1d(4, momentum=0.0),
    ):  # fmt: skip
        model = Net(norm)
        model.backbone.requires_grad_(False)
        train(model)


def adaptation_by_scale_and_shift() -> None:
    model = Net(nn.BatchNorm1d(4))
    model.requires_grad_(False)
    model.backbone.norm.requires_grad_(True)
    train(model)


def only_the_norm_is_frozen() -> None:
    model = Net(nn.BatchNorm1d(4))
    model.backbone.norm.requires_grad_(False)
    train(model)


def unfrozen_later() -> None:
    model = Net(nn.BatchNorm1d(4))
    model.backbone.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(4):
        if step == 2:
            model.backbone.requires_grad_(True)
        optimizer.zero_grad()
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()


def momentum_encoder_inside() -> None:
    class Contrast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query = Backbone(nn.BatchNorm1d(4))
            self.key = copy.deepcopy(self.query).requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for slow, fast in zip(self.key.parameters(), self.query.parameters(), strict=True):
                slow.data = slow.data * 0.9 + fast.data * 0.1
            return self.query(x) - self.key(x)  # type: ignore[no-any-return]

    train(Contrast())


def adapter_beside_frozen_weights() -> None:
    class Adapted(Net):
        def __init__(self) -> None:
            super().__init__(nn.BatchNorm1d(4))
            self.backbone.requires_grad_(False)
            self.lora_a = nn.Linear(4, 1)

    train(Adapted())


def one_pass_only() -> None:
    model = Net(nn.BatchNorm1d(4))
    model.backbone.requires_grad_(False)
    train(model, steps=1)


# teacher-in-train-mode


def distil(teacher: nn.Module, student: nn.Module, steps: int = 4) -> None:
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05)
    for _ in range(steps):
        x = torch.randn(8, 4)
        with torch.no_grad():
            target = teacher(x)
        optimizer.zero_grad()
        nn.functional.mse_loss(student(x), target).backward()
        optimizer.step()


def dropping(p: float = 0.5) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(p), nn.Linear(8, 2))


def teacher_with_dropout() -> None:
    teacher, student = dropping(), nn.Linear(4, 2)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05)
    for _ in range(4):
        x = torch.randn(8, 4)
        with torch.no_grad():
            target = teacher(x)  # expect: teacher-in-train-mode "`teacher` is not trained"
        optimizer.zero_grad()
        nn.functional.mse_loss(student(x), target).backward()
        optimizer.step()


def teacher_with_norm_detached() -> None:
    teacher = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)).requires_grad_(False)
    student = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05)
    for _ in range(4):
        x = torch.randn(8, 4)
        optimizer.zero_grad()
        out = student(x)
        nn.functional.mse_loss(out, teacher(x).detach()).backward()  # expect: teacher-in-train-mode
        optimizer.step()


def teacher_in_eval_mode() -> None:
    distil(dropping().eval(), nn.Linear(4, 2))


def teacher_without_modes() -> None:
    distil(nn.Linear(4, 2), nn.Linear(4, 2))
    distil(dropping(0.0), nn.Linear(4, 2))


def mean_teacher() -> None:
    student = dropping()
    teacher = copy.deepcopy(student)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05)
    for _ in range(5):
        x = torch.randn(8, 4)
        with torch.no_grad():
            target = teacher(x)
        optimizer.zero_grad()
        nn.functional.mse_loss(student(x), target).backward()
        optimizer.step()
        for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
            slow.data.mul_(0.9).add_(fast.data, alpha=0.1)


def generator_and_discriminator() -> None:
    generator = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))
    discriminator = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3), nn.Linear(4, 1))
    of_g = torch.optim.SGD(generator.parameters(), lr=0.05)
    of_d = torch.optim.SGD(discriminator.parameters(), lr=0.05)
    for _ in range(4):
        with torch.no_grad():
            fake = generator(torch.randn(8, 2))
        of_d.zero_grad()
        (discriminator(fake) - discriminator(torch.randn(8, 4))).mean().backward()
        of_d.step()
        of_g.zero_grad()
        (-discriminator(generator(torch.randn(8, 2)))).mean().backward()
        of_g.step()


def an_evaluation_now_and_then() -> None:
    other = dropping()
    train(nn.Linear(4, 2), steps=2)
    with torch.no_grad():
        for _ in range(3):
            other(torch.randn(8, 4))
    train(nn.Linear(4, 2), steps=2)


def losses_and_augmentations() -> None:
    augment, criterion = nn.Dropout(0.1), nn.MSELoss()
    student = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05)
    for _ in range(4):
        optimizer.zero_grad()
        criterion(student(augment(torch.randn(8, 4))), torch.randn(8, 2)).backward()
        optimizer.step()


# embedding-padding-overwritten


class Tokens(nn.Module):
    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.table = table
        self.head = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.table((x * 3).long().clamp(0, 5)).mean(1))
        return out


def zeroed_again_frozen_or_without_padding() -> None:
    again = nn.Embedding(6, 4, padding_idx=0)
    nn.init.normal_(again.weight)
    with torch.no_grad():
        again.weight[0].zero_()
    frozen = nn.Embedding(6, 4, padding_idx=0)
    nn.init.normal_(frozen.weight)
    frozen.requires_grad_(False)
    trained = nn.Embedding(6, 4)
    for table in (again, frozen, trained, nn.Embedding(6, 4, padding_idx=2)):
        train(Tokens(table))


def loaded_table() -> None:
    train(Tokens(nn.Embedding.from_pretrained(torch.randn(6, 4), freeze=False, padding_idx=0)))


# untied-after-load


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.second(torch.relu(self.first(x)))
        return out


def untied_by_assignment() -> None:
    class Language(Tied):
        def __init__(self) -> None:
            super().__init__()
            self.second = nn.Linear(4, 4, bias=False)  # expect: untied-after-load "`second.weight`" "`first.weight`"
            self.second.weight = self.first.weight

    model = Language()
    train(model)
    model.second.weight = nn.Parameter(model.second.weight.detach().clone())
    train(model)


def still_tied() -> None:
    model = Tied()
    train(model)
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    model.double().float()
    nn.init.normal_(model.second.weight)
    train(model)


def tied_again() -> None:
    model = Tied()
    train(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    model.second.weight = model.first.weight
    train(model)


def never_tied_or_copied() -> None:
    model = Tied()
    other = copy.deepcopy(model)
    other.second.weight = nn.Parameter(torch.randn(4, 4))
    train(model)
    train(other)


def parametrized_after_the_tie() -> None:
    model = Tied()
    train(model)
    nn.utils.parametrizations.weight_norm(model.second)
    train(model)


FOUND = [
    momentum_of_another_framework, frozen_backbone, frozen_without_scale_and_under_no_grad, several_norms_of_one_part,
    teacher_with_dropout, teacher_with_norm_detached, untied_by_assignment,
]  # fmt: skip

SILENT = [
    other_momenta, measured_anew, trainable, held_in_eval_mode, no_statistics_or_none_that_move,
    adaptation_by_scale_and_shift, only_the_norm_is_frozen, unfrozen_later, momentum_encoder_inside,
    adapter_beside_frozen_weights, one_pass_only, teacher_in_eval_mode, teacher_without_modes, mean_teacher,
    generator_and_discriminator, an_evaluation_now_and_then, losses_and_augmentations,
    zeroed_again_frozen_or_without_padding, loaded_table, still_tied, tied_again, never_tied_or_copied,
    parametrized_after_the_tie,
]  # fmt: skip


@pytest.mark.parametrize("program", FOUND)
def test_found(program: Callable[[], None]) -> None:
    check(program, select=RULES)


@pytest.mark.parametrize("program", SILENT)
def test_silent(program: Callable[[], None]) -> None:
    assert not watched(program, select=RULES).findings


@pytest.mark.parametrize(
    ("program", "rule"),
    [(one_pass_only, "frozen-batchnorm-updating"), (loaded_table, "embedding-padding-overwritten")],
)
def test_unknown_is_listed(program: Callable[[], None], rule: str) -> None:
    assert any(rule in gap.rules for gap in watched(program, select=RULES).out_of_sight)


def test_one_pass_of_a_teacher_is_unknown() -> None:
    seen = watched(lambda: distil(dropping(), nn.Linear(4, 2), steps=1), select=RULES)
    assert not seen.findings
    assert any("teacher-in-train-mode" in gap.rules for gap in seen.out_of_sight)


def test_a_compiled_norm_is_out_of_sight() -> None:
    def program() -> None:
        model = Net(nn.BatchNorm1d(4, momentum=0.9))
        model.backbone.requires_grad_(False)
        train(torch.compile(model, backend="eager"))  # type: ignore[arg-type]

    seen = watched(program, select=RULES)
    assert not seen.findings
    assert any("batchnorm-momentum" in gap.rules for gap in seen.out_of_sight)
