"""functional-dropout-always-on and module-created-in-forward on live runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from watching import check, watched


def predict(model: nn.Module, count: int = 4, width: int = 8) -> None:
    model.eval()
    with torch.no_grad():
        for _ in range(count):
            model(torch.randn(3, width))


def train_and_predict(model: nn.Module) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        model.train()
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(6, 8)), torch.randint(2, (6,))).backward()
            optimizer.step()
        predict(model)


class AlwaysDrops(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.dropout(self.enter(x), 0.4)  # expect: functional-dropout-always-on "12 of 12 forwards" "a share of 0.4"
        result: torch.Tensor = self.leave(x)
        return result


def always_drops() -> None:
    train_and_predict(AlwaysDrops())


class Attends(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(8, 8), nn.Linear(8, 2)
        self.dropout = dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.enter(x)[None]
        x = F.scaled_dot_product_attention(q, q, q, dropout_p=self.dropout)  # expect: functional-dropout-always-on
        result: torch.Tensor = self.leave(x[0])
        return result


def attends() -> None:
    predict(Attends(0.2))


class OwnFlag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.leave = nn.Linear(8, 2)
        self.active = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.leave(F.alpha_dropout(x, 0.2, self.active))  # expect: functional-dropout-always-on
        return result


def a_flag_of_one_s_own() -> None:
    predict(OwnFlag())


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), AlwaysDropsQuietly())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layers(x)
        return result


class AlwaysDropsQuietly(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.dropout(x, 0.5, not torch.is_grad_enabled())  # expect: functional-dropout-always-on


def deep_in_a_model() -> None:
    predict(Inner())


@pytest.mark.parametrize(
    ("program", "model", "certainty"),
    [
        (always_drops, AlwaysDrops, "certain"),
        (attends, Attends, "certain"),
        (a_flag_of_one_s_own, OwnFlag, "likely"),
        (deep_in_a_model, AlwaysDropsQuietly, "likely"),
    ],
)
def test_found(program: Callable[[], None], model: type[nn.Module], certainty: str) -> None:
    seen = check(program, beside=[model])
    assert [finding.certainty.value for finding in seen.findings] == [certainty]


def with_dropout(p: float) -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), nn.Dropout(p), nn.Linear(8, 2))


def follows_the_mode() -> None:
    class Follows(AlwaysDrops):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.leave(F.dropout(self.enter(x), 0.4, self.training))
            return result

    train_and_predict(Follows())


def a_probability_of_zero() -> None:
    predict(Attends(0.0))


def a_dropout_switched_on() -> None:
    model = with_dropout(0.5)
    model.eval()
    model[1].train()
    with torch.no_grad():
        for _ in range(4):
            model(torch.randn(3, 8))


class Prenet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.leave = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.leave(F.dropout(x, p=0.5, training=True))
        return result


def dropout_that_is_meant() -> None:
    predict(Prenet())


class Sampler(nn.Module):
    def __init__(self, draw: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.leave = nn.Linear(8, 2)
        self.draw = draw

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.leave(self.draw(x))
        return result


def noise() -> None:
    predict(Sampler(lambda x: x + torch.randn_like(x)))


def masks() -> None:
    predict(Sampler(lambda x: x * torch.bernoulli(torch.full_like(x, 0.5))))


def choices() -> None:
    predict(Sampler(lambda x: torch.multinomial(x.softmax(1), 8, replacement=True).float()))


def only_while_training() -> None:
    class Gated(AlwaysDrops):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.enter(x)
            if self.training:
                x = F.dropout(x, 0.4)
            result: torch.Tensor = self.leave(x)
            return result

    train_and_predict(Gated())


def transformer_with_dropout() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
    model = nn.Sequential(nn.Unflatten(1, (1, 8)), layer, nn.Flatten(), nn.Linear(8, 2))
    train_and_predict(model)


@pytest.mark.parametrize(
    "program",
    [
        follows_the_mode, a_probability_of_zero, a_dropout_switched_on, dropout_that_is_meant, noise, masks, choices,
        only_while_training, transformer_with_dropout,
    ],
)  # fmt: skip
def test_silent(program: Callable[[], None]) -> None:
    seen = check(program)
    assert not [gap for gap in seen.out_of_sight if "functional-dropout-always-on" in gap.rules]


# Unknown


class BesideATransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.leave = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.dropout(self.layer(x[None])[0], 0.4)  # expect-missed: functional-dropout-always-on
        result: torch.Tensor = self.leave(x)
        return result


def beside_a_transformer() -> None:
    predict(BesideATransformer())


def traced_graph() -> None:
    model = nn.Sequential(AlwaysDrops())
    predict(torch.fx.symbolic_trace(model))


@pytest.mark.parametrize("program", [beside_a_transformer, traced_graph])
def test_unknown(program: Callable[[], None]) -> None:
    seen = check(program)
    assert ["functional-dropout-always-on" in gap.rules for gap in seen.out_of_sight].count(True) == 1


def test_outputs_and_random_numbers_are_as_without_a_watch() -> None:
    model = nn.Sequential(
        nn.Linear(8, 8), nn.GRU(8, 8, 2, dropout=0.1), Picked(), nn.Linear(8, 2), AlwaysDropsQuietly()
    )
    model.eval()

    def outputs() -> list[torch.Tensor]:
        torch.manual_seed(3)
        with torch.no_grad():
            return [*(model(torch.randn(3, 8)) for _ in range(5)), torch.randn(2)]

    before = outputs()
    during: list[torch.Tensor] = []
    assert watched(lambda: during.extend(outputs())).findings
    assert all(torch.equal(a, b) for a, b in zip(before, during, strict=True))


class Picked(nn.Module):
    def forward(self, output: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return output[0]


# Layers that are built in a forward


class Builds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.leave = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.Linear(8, 8)(x)  # expect: module-created-in-forward "no optimizer holds them"
        result: torch.Tensor = self.leave(x)
        return result


class BuildsADropout(Builds):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.Dropout(0.1)(x)  # expect: module-created-in-forward "drops in eval mode too"
        result: torch.Tensor = self.leave(x)
        return result


class BuildsABlock(Builds):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        block = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
        result: torch.Tensor = self.leave(block(x))  # expect: module-created-in-forward "Sequential"
        return result


class Registers(Builds):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.enter = nn.Linear(8, 8)  # expect: module-created-in-forward
        result: torch.Tensor = self.leave(self.enter(x))
        return result


@pytest.mark.parametrize("model", [Builds, BuildsADropout, BuildsABlock, Registers])
def test_layers_built_in_forward(model: type[nn.Module]) -> None:
    check(lambda: train_and_predict(model()), beside=[model])


class Stateless(Builds):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.leave(nn.Sequential(nn.ReLU(), nn.Dropout(0.0))(x))
        return result


class DropsWhileTraining(Builds):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            x = nn.Dropout(0.1)(x)
        result: torch.Tensor = self.leave(x)
        return result


class Lazily(Builds):
    def __init__(self) -> None:
        super().__init__()
        self.enter: nn.Linear | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.enter is None:
            self.enter = nn.Linear(x.shape[1], 8)
        result: torch.Tensor = self.leave(self.enter(x))
        return result


class LazyLayer(Builds):
    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.LazyLinear(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.leave(self.enter(x))
        return result


class Contained(Builds):
    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = nn.Sequential(self.enter, nn.ReLU(), self.leave)(x)
        return result


class Hypernetwork(Builds):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Linear(8, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layer = nn.Linear(8, 8, bias=False)
        del layer.weight
        layer.weight = self.weights(x.mean(0)).view(8, 8)
        result: torch.Tensor = self.leave(layer(x))
        return result


class LossInside(Builds):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.leave(x)
        self.penalty = nn.MSELoss()(result, torch.zeros_like(result))
        return result


@pytest.mark.parametrize("model", [Stateless, DropsWhileTraining, Contained, Hypernetwork, LossInside])
def test_layers_that_may_be_built_in_forward(model: type[nn.Module]) -> None:
    check(lambda: train_and_predict(model()))


@pytest.mark.parametrize("model", [Lazily, LazyLayer])
def test_layers_that_are_built_once(model: type[nn.Module]) -> None:
    def program() -> None:
        net = model()
        net(torch.randn(2, 8))
        train_and_predict(net)

    check(program)


class Switched(nn.Module):
    """The caller sets the head for each task; all heads are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.body(x))
        return result


def test_heads_switched_by_the_caller() -> None:
    def program() -> None:
        model = Switched()
        heads = [nn.Linear(8, 2) for _ in range(3)]
        optimizer = torch.optim.SGD([*model.body.parameters(), *(p for head in heads for p in head.parameters())], 0.1)
        for index in range(9):
            model.head = heads[index % 3]
            optimizer.zero_grad()
            F.cross_entropy(model(torch.randn(6, 8)), torch.randint(2, (6,))).backward()
            optimizer.step()

    check(program)
