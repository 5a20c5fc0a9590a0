"""shared-batchnorm and shared-prelu on a live run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from watching import check, watched

from modellint.finding import Certainty

RULES = ("shared-batchnorm", "shared-prelu")


def train(model: nn.Module, *shapes: Sequence[int], steps: int = 5, apart: float = 0.0, calls: int = 1) -> None:
    """A few steps on random inputs; the mean of each further input is `apart` from the one before."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(calls):
            inputs = [torch.randn(32, *shape) + index * apart for index, shape in enumerate(shapes or [(4,)])]
            output = model(*inputs)
            outputs = output if isinstance(output, (tuple, list)) else [output]
            torch.stack([one.pow(2).mean() for one in outputs]).sum().backward()
        optimizer.step()


class Branches(nn.Module):
    """Two branches and one norm; subclasses choose the norm."""

    def __init__(self, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.text = nn.Linear(4, 8)
        self.image = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8) if norm is None else norm  # expect: shared-batchnorm

    def forward(self, text: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return self.norm(self.text(text)) + self.norm(self.image(image))


# Found


def two_branches() -> None:
    train(Branches(), (4,), (4,), apart=9.0)


def through_activations_and_dropout() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text = nn.Conv1d(4, 8, 3, padding=1)
            self.image = nn.Conv1d(4, 8, 1)
            self.act = nn.ReLU()
            self.drop = nn.Dropout(0.1)
            self.norm = nn.BatchNorm1d(8)  # expect: shared-batchnorm

        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.drop(self.act(self.text(x))).flatten(2))

        def decode(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(F.avg_pool1d(self.act(self.image(x)), 2).contiguous())

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.encode(x).mean() + self.decode(y).mean()

    train(Net(), (4, 6), (4, 6), apart=5.0)


def one_norm_at_two_places_of_a_sequential() -> None:
    norm = nn.BatchNorm1d(8)
    model = nn.Sequential(
        nn.Linear(4, 8),
        norm,  # expect: shared-batchnorm
        nn.ReLU(),
        nn.Linear(8, 8),
        norm,
    )
    train(model)


def norm_in_a_loop_over_layers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
            self.norm = nn.BatchNorm1d(4)  # expect: shared-batchnorm "three different inputs"

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = torch.relu(self.norm(layer(x)))
            return x

    train(Net())


def tracked_instance_norm() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text = nn.Conv1d(4, 8, 1)
            self.image = nn.Conv1d(4, 8, 1)
            self.norm = nn.InstanceNorm1d(8, track_running_stats=True)  # expect: shared-batchnorm

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.norm(self.text(x)) + self.norm(self.image(y))

    train(Net(), (4, 6), (4, 6), apart=5.0)


def behind_frozen_layers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text = nn.Linear(4, 8).requires_grad_(False)
            self.image = nn.Linear(4, 8).requires_grad_(False)
            self.act = nn.ReLU()
            self.norm = nn.BatchNorm1d(8)  # expect: shared-batchnorm

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.norm(self.act(self.text(x))) + self.norm(self.image(y))

    train(Net(), (4,), (4,), apart=5.0)


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)  # expect: shared-batchnorm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))


class Pyramid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = Head()

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.head(level) for level in (x, F.avg_pool2d(x, 2), F.avg_pool2d(x, 4))]


def head_over_pyramid_levels() -> None:
    train(Pyramid(), (1, 16, 16))


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.new = nn.Linear(4, 8)
        self.old = nn.Linear(8, 8)
        self.norm = nn.BatchNorm1d(8)  # expect: shared-batchnorm

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return F.softplus(self.norm(self.new(x) + self.old(state)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(4, 8)
        self.cell = Cell()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = self.start(x[:, 0])
        for step in range(4):
            state = self.cell(x[:, step] * 4**step, state)
        return state


def norm_of_a_recurrent_cell() -> None:
    train(Recurrent(), (4, 4))


def kept_apart_by_a_wrapper() -> None:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Branches()

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.inner(x, y)

    train(Wrapper(), (4,), (4,), apart=9.0)


def shared_slope() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.second = nn.Linear(4, 4)
            self.act = nn.PReLU()  # expect: shared-prelu

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(self.second(self.act(self.first(x))))

    train(Net())


@pytest.mark.parametrize(
    ("program", "beside"),
    [
        (two_branches, [Branches]),
        (through_activations_and_dropout, []),
        (one_norm_at_two_places_of_a_sequential, []),
        (norm_in_a_loop_over_layers, []),
        (tracked_instance_norm, []),
        (behind_frozen_layers, []),
        (head_over_pyramid_levels, [Head]),
        (norm_of_a_recurrent_cell, [Cell]),
        (kept_apart_by_a_wrapper, [Branches]),
        (shared_slope, []),
    ],
)
def test_found(program: Callable[[], None], beside: Sequence[Callable[[], object]]) -> None:
    check(program, beside=beside)


def test_what_it_says() -> None:
    (finding,) = watched(two_branches).findings
    assert finding.certainty is Certainty.CERTAIN
    assert finding.message == "one `BatchNorm1d` normalises two different inputs"
    assert finding.seen.startswith("norm ran 8 times in 4 forward calls; branch means differ by ")
    assert [note.label for note in finding.related] == ["1st use: output of Linear(4, 8)"] * 1 + [
        "2nd use: output of Linear(4, 8)"
    ]
    assert finding.evidence["calls"] == 8
    gap = finding.evidence["gap"]
    assert isinstance(gap, float)
    assert gap > 0.5


def test_without_a_gap_it_is_likely() -> None:
    model = Branches()
    model.image.load_state_dict(model.text.state_dict())
    (finding,) = watched(lambda: train(model, (4,), (4,))).findings
    assert (finding.rule, finding.certainty) == ("shared-batchnorm", Certainty.LIKELY)
    assert finding.seen == "norm ran 8 times in 4 forward calls"


def test_the_levels_of_a_pyramid_are_likely() -> None:
    (finding,) = watched(head_over_pyramid_levels).findings
    assert finding.certainty is Certainty.LIKELY
    assert "variances differ by a factor of" in finding.seen


# Unknown


def overlapping_producers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(4, 4)
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            for layer in self.layers:
                x = x + layer(self.norm(x))
            return x

    train(Net())


def frozen_stem_before_residuals() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(4, 4).requires_grad_(False)
            self.layer = nn.Linear(4, 4)
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            x = x + self.layer(self.norm(x))
            return self.norm(x)

    train(Net())


def input_and_residual() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + self.layer(self.norm(x))
            return self.norm(x)

    train(Net())


def unrecorded_input_without_gradients() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.layer(x)) + self.norm(x * 3 + 9)

    train(Net())


class Around(nn.Module):
    """One use of the norm lies inside of a checkpoint."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.stem = nn.Linear(4, 4)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)

    def part(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(torch.sigmoid(x) * 5)) * 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.norm(checkpoint(self.part, x, use_reentrant=True)) + self.first(x) + self.second(x)


def reentrant_checkpoint_around_one_use() -> None:
    train(Around(reentrant=True))


def one_forward_only() -> None:
    train(Branches(), (4,), (4,), steps=1, apart=9.0)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (overlapping_producers, "told apart"),
        (frozen_stem_before_residuals, "told apart"),
        (input_and_residual, "told apart"),
        (unrecorded_input_without_gradients, "told apart"),
        (reentrant_checkpoint_around_one_use, "told apart"),
        (one_forward_only, "one forward only"),
    ],
)
def test_unknown(program: Callable[[], None], reason: str) -> None:
    seen = watched(program)
    assert [finding for finding in seen.findings if finding.rule in RULES] == []
    assert any(reason in gap.reason and set(gap.rules) & set(RULES) for gap in seen.out_of_sight), seen.out_of_sight


@pytest.mark.filterwarnings("ignore")
def test_compiled_is_unknown() -> None:
    seen = watched(lambda: train(torch.compile(Branches(), backend="eager"), (4,), (4,), apart=9.0))
    assert [finding for finding in seen.findings if finding.rule in RULES] == []
    assert any(gap.reason == "compiled" and "shared-batchnorm" in gap.rules for gap in seen.out_of_sight)


# Silent


class Encoder(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.linear(x)))


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()

    def forward(self, *views: torch.Tensor) -> list[torch.Tensor]:
        return [self.encoder(view) for view in views]


def siamese() -> None:
    train(Siamese(), (4,), (4,))


def triplet() -> None:
    train(Siamese(), (4,), (4,), (4,))


def siamese_of_unlike_views() -> None:
    train(Siamese(), (4,), (4,), apart=4.0)


class CropEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = Head()

    def forward(self, *crops: torch.Tensor) -> list[torch.Tensor]:
        return [self.head(crop) for crop in crops]


def multi_crop() -> None:
    train(CropEncoder(), (1, 16, 16), (1, 8, 8), apart=2.0)


class Gan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Linear(2, 4)
        self.critic = Encoder()

    def forward(self, z: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.critic(self.generator(z) + 5), self.critic(real)


def real_and_fake() -> None:
    train(Gan(), (2,), (4,))


class Cycle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.there = Encoder()
        self.back = Encoder()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.back(self.there(x)), self.there(self.back(y)), self.there(y)


def cycle_consistency() -> None:
    train(Cycle(), (4,), (4,), apart=2.0)


def a_pair_for_each_level() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.levels = nn.ModuleList(Encoder() for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for level in self.levels:
                x = level(x)
            return x

    train(Net())


def block_repeated() -> None:
    train(nn.Sequential(*[Encoder()] * 3))


def residual_block_repeated() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(4, 4)
            self.block = Encoder()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            for _ in range(4):
                x = x + self.block(x)
            return x

    train(Net())


def a_norm_for_each_domain() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text = nn.Linear(4, 4)
            self.image = nn.Linear(4, 4)
            self.norms = nn.ModuleList(nn.BatchNorm1d(4) for _ in range(2))

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.norms[0](self.text(x)) + self.norms[1](self.image(y))

    train(Net(), (4,), (4,), apart=9.0)


def two_raw_inputs() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4)
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.layer(self.norm(x)) + self.layer(self.norm(y))

    train(Net(), (4,), (4,), apart=9.0)


def norms_without_statistics() -> None:
    for norm in (nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.BatchNorm1d(8, track_running_stats=False)):
        train(Branches(norm), (4,), (4,), apart=9.0)


def norm_in_eval() -> None:
    model = Branches()
    model.norm.eval()
    train(model, (4,), (4,), apart=9.0)


def frozen_momentum() -> None:
    train(Branches(nn.BatchNorm1d(8, momentum=0.0)), (4,), (4,), apart=9.0)


def recomputed(reentrant: bool) -> Callable[[], None]:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(4, 4)
            self.block = Encoder()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(self.block, self.stem(x), use_reentrant=reentrant)

    return lambda: train(Net())


def shared_activation() -> None:
    act = nn.ReLU()
    train(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), act, nn.Linear(4, 4), nn.BatchNorm1d(4), act))


def several_forwards_in_a_step() -> None:
    train(Encoder(), calls=3)


def either_branch() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text = nn.Linear(4, 4)
            self.image = nn.Linear(4, 4)
            self.norm = nn.BatchNorm1d(4)
            self.count = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count += 1
            return self.norm(self.text(x)) if self.count % 2 else self.norm(self.image(x))

    train(Net(), steps=6)


def second_use_in_one_forward_only() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.text = nn.Linear(4, 4)
            self.image = nn.Linear(4, 4)
            self.norm = nn.BatchNorm1d(4)
            self.count = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count += 1
            x = self.norm(self.text(x))
            return self.norm(self.image(x)) if self.count == 2 else self.image(x)

    train(Net(), steps=6)


def frozen_slope() -> None:
    act = nn.PReLU().requires_grad_(False)
    train(nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act))


def a_slope_for_each_place() -> None:
    train(nn.Sequential(nn.Linear(4, 4), nn.PReLU(), nn.Linear(4, 4), nn.PReLU()))


def the_same_block_with_a_slope() -> None:
    block = nn.Sequential(nn.Linear(4, 4), nn.PReLU())
    train(nn.Sequential(block, block))


@pytest.mark.parametrize(
    "program",
    [
        siamese,
        triplet,
        siamese_of_unlike_views,
        multi_crop,
        real_and_fake,
        cycle_consistency,
        a_pair_for_each_level,
        block_repeated,
        residual_block_repeated,
        a_norm_for_each_domain,
        two_raw_inputs,
        norms_without_statistics,
        norm_in_eval,
        frozen_momentum,
        recomputed(True),
        recomputed(False),
        shared_activation,
        several_forwards_in_a_step,
        either_branch,
        second_use_in_one_forward_only,
        frozen_slope,
        a_slope_for_each_place,
        the_same_block_with_a_slope,
    ],
    ids=lambda program: program.__qualname__.partition(".")[0],
)
def test_silent(program: Callable[[], None]) -> None:
    assert [finding for finding in watched(program).findings if finding.rule in RULES] == []
