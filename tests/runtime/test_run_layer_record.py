"""dead-units, saturated-units and autocast-not-applied on a live run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from watching import check, watched

UNITS = ["dead-units", "saturated-units"]


def train(
    model: nn.Module,
    steps: int = 60,
    batch: int = 128,
    scale: float = 1.0,
    outputs: int = 1,
    lr: float = 0.01,
    inputs: tuple[int, ...] = (4,),
) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        x, y = scale * torch.randn(batch, *inputs), torch.randn(batch, outputs)
        F.mse_loss(model(x), y).backward()
        optimizer.step()


def kill(layer: nn.Linear | nn.Conv2d, share: float = 0.75) -> None:
    """Start the bias so low that most units never fire."""
    assert layer.bias is not None
    layer.bias.data[: int(layer.bias.numel() * share)] = -50.0


class Mlp(nn.Module):
    """One hidden layer; `activation` decides."""

    def __init__(self, activation: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.fc1 = nn.Linear(4, 16)
        self.fc2 = nn.Linear(16, 1)
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc2(self.activation(self.fc1(x)))
        return out


# dead-units: found


def dead_module() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Linear(4, 16),  # expect: dead-units "12 of 16 units of `body.0`"
                nn.ReLU(),
                nn.Linear(16, 1),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.body(x)
            return out

    model = Net()
    kill(model.body[0])  # type: ignore[arg-type]
    train(model)


def dead_in_place() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(4, 16)  # expect: dead-units
            self.fc2 = nn.Linear(16, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc2(self.fc1(x).relu_())
            return out

    model = Net()
    kill(model.fc1)
    train(model)


def dead_channels() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 8, 3)
            self.norm = nn.BatchNorm2d(8)  # expect: dead-units "6 of 8 units of `norm`"
            self.head = nn.Linear(8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(F.relu(self.norm(self.conv(x)), inplace=True).mean((2, 3)))
            return out

    model = Net()
    model.norm.bias.data[:6] = -50.0
    train(model, batch=16, inputs=(1, 6, 6))


# dead-units: silent


def half_of_the_values_are_zero() -> None:
    train(Mlp(torch.relu))


def a_few_dead() -> None:
    model = Mlp(torch.relu)
    kill(model.fc1, 0.5)
    train(model)


def sparse_but_alive() -> None:
    """Each unit fires for one input in fifty."""
    model = Mlp(torch.relu)
    model.fc1.weight.data.normal_(std=0.5)
    model.fc1.bias.data.fill_(-2.0)
    train(model, lr=1e-4)


def dead_but_frozen() -> None:
    model = Mlp(torch.relu)
    kill(model.fc1)
    model.fc1.requires_grad_(False)
    model.fc1.weight.requires_grad = False
    train(model)


def masked_input() -> None:
    """Zeros that no layer made."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(torch.relu(x * torch.tensor([0.0, 0.0, 0.0, 1.0])))
            return out

    train(Net())


def dropped_output() -> None:
    train(nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.9), nn.ReLU(), nn.Linear(16, 1)))


def leaky() -> None:
    model = Mlp(F.leaky_relu)
    kill(model.fc1)
    train(model)


def dead_for_a_short_run() -> None:
    model = Mlp(torch.relu)
    kill(model.fc1)
    train(model, steps=30)


def dead_for_few_values() -> None:
    model = Mlp(torch.relu)
    kill(model.fc1)
    train(model, batch=8)


# saturated-units


def saturated_tanh() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(4, 16)  # expect: saturated-units "saturated behind their tanh"
            self.fc2 = nn.Linear(16, 1)
            self.tanh = nn.Tanh()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc2(self.tanh(self.fc1(x)))
            return out

    train(Net(), scale=500)


def saturated_sigmoid() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(4, 16)  # expect: saturated-units
            self.fc2 = nn.Linear(16, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc2(torch.sigmoid(self.fc1(x)))
            return out

    train(Net(), scale=500)


def a_gate() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(4, 16)
            self.gate = nn.Linear(4, 16)
            self.fc2 = nn.Linear(16, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc2(self.fc1(x / 500) * torch.sigmoid(self.gate(x)))
            return out

    train(Net(), scale=500)


def a_gate_by_channels() -> None:
    """Squeeze and excitation: the factor is unsqueezed first."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 8, 3)
            self.excite = nn.Linear(8, 8)
            self.head = nn.Linear(8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.conv(x)
            gate = torch.sigmoid(self.excite(500 * h.mean((2, 3)))).view(h.shape[0], 8, 1, 1)
            out: torch.Tensor = self.head((h * gate).mean((2, 3)))
            return out

    train(Net(), batch=64, scale=9, inputs=(1, 6, 6))


def recurrent_cell() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(4, 8, batch_first=True)
            self.head = nn.Linear(8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.rnn(x.unsqueeze(1))[0][:, -1])
            return out

    train(Net(), scale=500)


def saturated_output() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(4, 16)
            self.fc2 = nn.Linear(16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.fc2(F.leaky_relu(self.fc1(x))))

    train(Net(), scale=5000, outputs=3)


def large_linear_outputs() -> None:
    train(nn.Sequential(nn.Linear(4, 16), nn.Linear(16, 1)), scale=100, lr=1e-6)


def usual_tanh() -> None:
    train(Mlp(torch.tanh))


def recomputed() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(4, 16)
            self.fc2 = nn.Linear(16, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = checkpoint(lambda x: torch.relu(self.fc1(x)), x, use_reentrant=False)
            out: torch.Tensor = self.fc2(hidden)
            return out

    train(Net())


def two_axes_of_one_size() -> None:
    """A flattened convolution: its features are no channels."""
    train(nn.Sequential(nn.Conv1d(1, 4, 1), nn.Flatten(), nn.ReLU(), nn.Linear(16, 1)), inputs=(1, 4))


UNIT_PROGRAMS = [
    dead_module, dead_in_place, dead_channels, half_of_the_values_are_zero, a_few_dead, sparse_but_alive,
    dead_but_frozen, masked_input, dropped_output, leaky, dead_for_a_short_run, dead_for_few_values, saturated_tanh,
    saturated_sigmoid, a_gate, a_gate_by_channels, recurrent_cell, saturated_output, large_linear_outputs, usual_tanh,
    recomputed, two_axes_of_one_size,
]  # fmt: skip


@pytest.mark.parametrize("program", UNIT_PROGRAMS, ids=lambda program: program.__name__)
def test_units(program: Callable[[], None]) -> None:
    check(program, select=UNITS)


def test_a_short_run_is_unknown() -> None:
    seen = watched(dead_for_a_short_run, select=UNITS)
    assert any("not seen in 20 batches" in gap.reason for gap in seen.out_of_sight if "dead-units" in gap.rules)


def test_not_by_default() -> None:
    assert not watched(dead_channels).findings


# autocast-not-applied

AUTOCAST = ["autocast-not-applied"]


def under_autocast(model: nn.Module, outside: bool = False) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not outside):
            loss = model(torch.randn(8, 4)).float().pow(2).mean()
        loss.backward()
        optimizer.step()


class Exact(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            return F.linear(x.float(), self.weight, self.bias)


def layer_in_float32() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(4, 8)
            self.fc2 = Exact(8, 1)  # expect: autocast-not-applied "computes in float32 under autocast to bfloat16"

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc2(self.fc1(x))
            return out

    under_autocast(Net())


def usual_layers() -> None:
    under_autocast(nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 1)))


def without_autocast() -> None:
    under_autocast(nn.Sequential(nn.Linear(4, 8), Exact(8, 1)), outside=True)


def switched_off_around_the_layer() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(4, 8)
            self.head = nn.Linear(8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = self.fc1(x)
            with torch.autocast("cpu", enabled=False):
                out: torch.Tensor = self.head(hidden.float())
            return out

    under_autocast(Net())


def turned_back_at_its_end() -> None:
    class Back(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).float()

    under_autocast(nn.Sequential(nn.Linear(4, 8), Back(8, 1)))


def weights_of_half_precision() -> None:
    under_autocast(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1)).bfloat16())


AUTOCAST_PROGRAMS = [
    layer_in_float32, usual_layers, without_autocast, switched_off_around_the_layer, turned_back_at_its_end,
    weights_of_half_precision,
]  # fmt: skip


@pytest.mark.parametrize("program", AUTOCAST_PROGRAMS, ids=lambda program: program.__name__)
def test_autocast(program: Callable[[], None]) -> None:
    check(program, select=AUTOCAST)
