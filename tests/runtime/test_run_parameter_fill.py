"""constant-weight-init and symmetric-units on a live run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from watching import check, watched

from modellint.finding import Certainty


def train(model: nn.Module, size: int = 4, outputs: int = 1, steps: int = 5, lr: float = 0.05) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(torch.randn(16, size)), torch.randn(16, outputs)).backward()
        optimizer.step()


class Mlp(nn.Module):
    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.fc1 = nn.Linear(4, 8)
        self.fc2 = nn.Linear(8, 8)
        self.fc3 = nn.Linear(8, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc3(torch.tanh(self.fc2(torch.tanh(self.fc1(x)))))
        return out


def one_constant_layer() -> None:
    class Net(Mlp):
        def __init__(self) -> None:
            super().__init__()
            self.fc2 = nn.Linear(8, 8)  # expect: constant-weight-init "all weights of `fc2` in `Net` start at 0.5"
            nn.init.constant_(self.fc2.weight, 0.5)

    train(Net())


def all_layers_constant() -> None:
    class Net(Mlp):
        def __init__(self) -> None:
            super().__init__(outputs=3)
            self.fc1 = nn.Linear(4, 8)  # expect: constant-weight-init "`fc1, fc2, fc3`" "still so after 3"
            for parameter in self.parameters():
                nn.init.constant_(parameter, 0.1)

    train(Net(), outputs=3)


def layers_of_one_container() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(  # expect: constant-weight-init
                nn.Linear(4, 8),
                nn.Tanh(),
                nn.Linear(8, 8),
            )
            self.head = nn.Linear(8, 1)
            for layer in (self.body[0], self.body[2]):
                nn.init.ones_(layer.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.body(x))
            return out

    train(Net())


def equal_rows() -> None:
    class Net(Mlp):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(4, 8)  # expect: constant-weight-init "all rows of the weights of `fc1`"
            self.fc1.weight.data = torch.randn(1, 4).repeat(8, 1)

    train(Net())


def constant_convolution() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 4, 3)  # expect: constant-weight-init
            self.up = nn.ConvTranspose1d(4, 4, 3)  # expect: constant-weight-init
            self.fc = nn.Linear(16, 1)
            nn.init.constant_(self.conv.weight, 0.3)
            nn.init.constant_(self.up.weight, 0.2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(torch.relu(self.up(torch.relu(self.conv(x.unsqueeze(1))))).flatten(1))
            return out

    train(Net())


def constant_recurrence() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(4, 8, batch_first=True)  # expect: constant-weight-init
            self.fc = nn.Linear(8, 1)
            nn.init.constant_(self.rnn.weight_ih_l0, 0.1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(self.rnn(x.unsqueeze(1))[0].flatten(1))
            return out

    train(Net())


def zeros_everywhere() -> None:
    class Net(Mlp):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(4, 8)  # expect: constant-weight-init "start at 0"
            for parameter in self.parameters():
                nn.init.zeros_(parameter)

    train(Net())


def two_zeros_in_series() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.gate = nn.Sequential(  # expect: constant-weight-init "`gate.0, gate.2`"
                nn.Linear(4, 4, bias=False),
                nn.ReLU(),
                nn.Linear(4, 4, bias=False),
            )
            self.head = nn.Linear(4, 1)
            nn.init.zeros_(self.gate[0].weight)
            nn.init.zeros_(self.gate[2].weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.fc(x)
            out: torch.Tensor = self.head(x + self.gate(x))
            return out

    train(Net())


def copied_rows() -> None:
    class Net(Mlp):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(4, 8)  # expect: symmetric-units "4 units of `fc1`"
            with torch.no_grad():
                self.fc1.weight[4:] = self.fc1.weight[:4]
                self.fc1.bias[4:] = self.fc1.bias[:4]
                self.fc2.weight[:, 4:] = self.fc2.weight[:, :4]

    train(Net())


FOUND = [
    one_constant_layer, all_layers_constant, layers_of_one_container, equal_rows, constant_convolution,
    constant_recurrence, zeros_everywhere, two_zeros_in_series, copied_rows,
]  # fmt: skip


def default_weights() -> None:
    train(Mlp())


def constant_biases() -> None:
    model = Mlp()
    for layer in (model.fc1, model.fc2, model.fc3):
        nn.init.constant_(layer.bias, -4.6)
    train(model)


def gains_and_gates() -> None:
    class Net(Mlp):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8)
            nn.init.zeros_(self.norm.weight)
            self.scale = nn.Parameter(torch.full((8,), 1e-4))
            self.table = nn.Parameter(torch.zeros(1, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = self.fc1(x)
            hidden = hidden + self.norm(self.fc2(hidden)) + self.scale * hidden + self.table
            out: torch.Tensor = self.fc3(hidden)
            return out

    train(Net())


def zero_head() -> None:
    model = Mlp(outputs=3)
    nn.init.zeros_(model.fc3.weight)
    nn.init.zeros_(model.fc3.bias)
    train(model, outputs=3)


def zero_end_of_a_residual_branch() -> None:
    class Net(Mlp):
        def __init__(self) -> None:
            super().__init__()
            nn.init.zeros_(self.fc2.weight)
            nn.init.zeros_(self.fc2.bias)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = torch.tanh(self.fc1(x))
            out: torch.Tensor = self.fc3(hidden + self.fc2(hidden))
            return out

    train(Net())


def two_zero_branches() -> None:
    class Net(Mlp):
        def __init__(self) -> None:
            super().__init__()
            self.other = nn.Linear(8, 8)
            nn.init.zeros_(self.fc2.weight)
            nn.init.zeros_(self.other.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = torch.tanh(self.fc1(x))
            hidden = hidden + self.fc2(hidden)
            out: torch.Tensor = self.fc3(hidden + self.other(hidden))
            return out

    train(Net())


def two_zero_heads_without_labels_yet() -> None:
    class Net(Mlp):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(8, 2)
            self.second = nn.Linear(8, 2)
            nn.init.zeros_(self.first.weight)
            nn.init.zeros_(self.second.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = torch.tanh(self.fc2(torch.tanh(self.fc1(x))))
            out: torch.Tensor = self.fc3(hidden) + 0.0 * (self.first(hidden) + self.second(hidden)).sum(1, True)
            return out

    train(Net())


def low_rank_adapter() -> None:
    class Net(Mlp):
        def __init__(self) -> None:
            super().__init__()
            for parameter in self.parameters():
                parameter.requires_grad_(False)
            self.a = nn.Linear(8, 2, bias=False)
            self.b = nn.Linear(2, 8, bias=False)
            nn.init.zeros_(self.b.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = torch.tanh(self.fc1(x))
            out: torch.Tensor = self.fc3(torch.tanh(self.fc2(hidden) + self.b(self.a(hidden))))
            return out

    train(Net())


def linear_regression() -> None:
    model = nn.Linear(4, 3)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    train(model, outputs=3)


def constant_linear_model() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    nn.init.constant_(model[0].weight, 0.1)
    train(model, outputs=3)


def one_unit() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    nn.init.constant_(model[2].weight, 0.1)
    train(model)


def depthwise() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.smooth = nn.Conv1d(4, 4, 3, padding=1, groups=4)
            self.fc = nn.Linear(16, 1)
            nn.init.constant_(self.smooth.weight, 1 / 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(self.smooth(x.unsqueeze(2) * torch.ones(4)).flatten(1))
            return out

    train(Net())


def frozen_kernel() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blur = nn.Conv1d(1, 2, 3)
            self.fc = nn.Linear(4, 1)
            nn.init.constant_(self.blur.weight, 1 / 3).requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(self.blur(x.unsqueeze(1)).flatten(1))
            return out

    train(Net())


def identity_and_dirac() -> None:
    model = Mlp()
    nn.init.eye_(model.fc2.weight)
    train(model)


def bias_of_its_own_for_each_unit() -> None:
    model = Mlp()
    nn.init.constant_(model.fc2.weight, 0.1)
    with torch.no_grad():
        model.fc2.bias.copy_(torch.linspace(-6, -2, 8))
    train(model)


def embedding_of_ones() -> None:
    class Net(Mlp):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(10, 4)
            nn.init.ones_(self.table.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x + self.table(torch.arange(16) % 10))

    train(Net())


def filled_and_never_trained() -> None:
    target = Mlp()
    for parameter in target.parameters():
        nn.init.constant_(parameter, 0.5)
    train(Mlp())
    with torch.no_grad():
        target(torch.randn(2, 4))


def filled_and_never_called() -> None:
    class Net(Mlp):
        def __init__(self) -> None:
            super().__init__()
            nn.init.constant_(self.fc2.weight, 0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc3(torch.tanh(self.fc1(x)))
            return out

    train(Net())


def warm_up_from_a_rate_of_zero() -> None:
    model = Mlp(outputs=3)
    nn.init.zeros_(model.fc2.weight)
    nn.init.zeros_(model.fc3.weight)
    train(model, outputs=3, lr=0.0)


def too_few_steps_to_know() -> None:
    model = Mlp(outputs=3)
    for layer in (model.fc1, model.fc2):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    train(model, outputs=3, steps=2)


def copied_rows_with_noise() -> None:
    model = Mlp()
    with torch.no_grad():
        model.fc1.weight[4:] = model.fc1.weight[:4] + 1e-3 * torch.randn(4, 4)
    train(model)


def copied_rows_that_separate() -> None:
    model = Mlp()
    with torch.no_grad():
        model.fc1.weight[4:] = model.fc1.weight[:4]
        model.fc1.bias[4:] = model.fc1.bias[:4]
    train(model)


def pruned_rows() -> None:
    model = Mlp()
    with torch.no_grad():
        for one in (model.fc1.weight, model.fc1.bias):
            one[:3] = 0
        model.fc2.weight[:, :3] = 0
    train(model)


def dead_rows() -> None:
    class Net(Mlp):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc3(torch.tanh(self.fc2(torch.relu(self.fc1(x)))))
            return out

    model = Net()
    with torch.no_grad():
        model.fc1.weight[:2] = model.fc1.weight[0]
        model.fc1.bias[:2] = -100
    train(model)


def new_classes_in_the_head() -> None:
    model = Mlp(outputs=6)
    with torch.no_grad():
        model.fc3.weight[4:] = model.fc3.weight[:4].mean(0)
        model.fc3.bias[4:] = 0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(16, 4)), torch.randint(4, (16,))).backward()
        optimizer.step()


def tied_rows() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(10, 4)
            self.fc = nn.Linear(4, 4)
            self.head = nn.Linear(4, 10)
            self.last = nn.Linear(10, 1)
            self.head.weight = self.table.weight
            with torch.no_grad():
                self.table.weight[8:] = self.table.weight[0]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.last(self.head(torch.tanh(self.fc(self.table((x[:, 0].abs() * 3).long() % 8)))))
            return out

    train(Net())


SILENT = [
    default_weights, constant_biases, gains_and_gates, zero_head, zero_end_of_a_residual_branch, two_zero_branches,
    two_zero_heads_without_labels_yet, low_rank_adapter, linear_regression, constant_linear_model, one_unit, depthwise,
    frozen_kernel, identity_and_dirac, bias_of_its_own_for_each_unit, embedding_of_ones, filled_and_never_trained,
    filled_and_never_called, warm_up_from_a_rate_of_zero, too_few_steps_to_know, copied_rows_with_noise,
    copied_rows_that_separate, pruned_rows, dead_rows, new_classes_in_the_head, tied_rows,
]  # fmt: skip

RULES = ["constant-weight-init", "symmetric-units"]


@pytest.mark.parametrize("program", FOUND)
def test_found(program: Callable[[], None]) -> None:
    check(program, select=RULES)


@pytest.mark.parametrize("program", SILENT)
def test_silent(program: Callable[[], None]) -> None:
    seen = watched(program, select=RULES)
    assert not seen.findings


def test_one_of_several_hidden_layers_is_likely_until_the_rows_stay_equal() -> None:
    (one,) = watched(one_constant_layer, select=RULES).findings
    assert one.certainty is Certainty.LIKELY
    (all_of_them,) = watched(all_layers_constant, select=RULES).findings
    assert all_of_them.certainty is Certainty.CERTAIN


@pytest.mark.parametrize("program", [too_few_steps_to_know])
def test_unknown_is_listed(program: Callable[[], None]) -> None:
    gaps = watched(program, select=RULES).out_of_sight
    assert any("constant-weight-init" in gap.rules for gap in gaps)


def test_a_compiled_model_is_out_of_sight() -> None:
    def program() -> None:
        model = Mlp()
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.1)
        train(torch.compile(model, backend="eager"))  # type: ignore[arg-type]

    seen = watched(program, select=RULES)
    assert not seen.findings
    assert any("constant-weight-init" in gap.rules for gap in seen.out_of_sight)


def test_weights_without_values_are_out_of_sight() -> None:
    def program() -> None:
        train(nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(1)))

    seen = watched(program, select=RULES)
    assert not seen.findings
    assert any("constant-weight-init" in gap.rules for gap in seen.out_of_sight)
