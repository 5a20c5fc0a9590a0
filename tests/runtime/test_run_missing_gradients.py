"""unused-module, detached-module and unused-parameter on a live run."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from watching import check, watched

from modellint.finding import Certainty
from modellint.runtime.call_site import source_text

RULES = ("unused-module", "detached-module", "unused-parameter")


def train(model: nn.Module, *parameters: nn.Parameter, steps: int = 5, width: int = 4) -> None:
    """A few steps on random data; with parameters only these are optimised."""
    optimizer = torch.optim.SGD(list(parameters) or list(model.parameters()), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        output = model(torch.randn(8, width))
        output = output[0] if isinstance(output, tuple) else output
        output.pow(2).mean().backward()
        optimizer.step()


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.outer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.relu(self.inner(x)))


# Found


def layer_never_called() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)
            self.extra = nn.Linear(4, 4)  # expect: unused-module
            self.act = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.body(x))

    train(Net())


def block_never_called_is_one_finding() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Block()
            self.extra = nn.Sequential(Block(), nn.ReLU(), nn.Linear(4, 4))  # expect: unused-module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x)

    train(Net())


def never_called_in_two_places() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.second = nn.Linear(4, 4)  # expect: unused-module
            self.third = nn.Linear(4, 4)  # expect: unused-module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.first(torch.relu(self.first(x)))

    train(Net())


def separate_optimizers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)
            self.extra = nn.Linear(4, 4)  # expect: unused-module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x)

    model = Net()
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.05) for part in (model.body, model.extra)]
    for _ in range(5):
        for optimizer in optimizers:
            optimizer.zero_grad()
        model(torch.randn(8, 4)).pow(2).mean().backward()
        for optimizer in optimizers:
            optimizer.step()


def detached_by_a_call() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)
            self.context = Block()  # expect: detached-module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x) * self.context(x).detach()

    train(Net())


def detached_by_numpy() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)
            self.context = nn.Linear(4, 4)  # expect: detached-module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            context = torch.from_numpy(self.context(x).detach().numpy().copy())
            return self.body(x) + context

    train(Net())


def detached_by_argmax() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.Parameter(torch.randn(3, 4))
            self.router = nn.Linear(4, 3)  # expect: detached-module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.experts[self.router(x).argmax(dim=1)]

    train(Net())


def detached_in_a_list() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)
            self.gates = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))  # expect: detached-module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for gate in self.gates:
                x = x * (gate(x) > 0)
            return self.body(x)

    train(Net())


def head_returned_without_a_loss() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)
            self.main = nn.Linear(4, 1)
            self.auxiliary = nn.Linear(4, 2)  # expect: detached-module "what it returns reaches no loss"

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x = torch.relu(self.body(x))
            return self.main(x), self.auxiliary(x)

    train(Net())


def bare_parameter() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1, 4))  # expect: unused-parameter "Parameter(1, 4)"
            self.body = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x)

    train(Net())


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(4))  # expect: unused-parameter "self.scale.gain"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def bare_parameter_of_a_called_part() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)
            self.scale = Scale()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scale(self.body(x))

    train(Net())


@pytest.mark.parametrize(
    "program",
    [
        layer_never_called,
        block_never_called_is_one_finding,
        never_called_in_two_places,
        detached_by_a_call,
        detached_by_numpy,
        detached_by_argmax,
        detached_in_a_list,
        head_returned_without_a_loss,
        bare_parameter,
    ],
)
def test_found(program: Callable[[], None]) -> None:
    check(program)


def test_found_with_an_optimizer_of_its_own() -> None:
    # That no loss reaches what the second optimizer holds is a finding of another rule.
    check(separate_optimizers, ignore=("detached-loss",))


def test_found_in_a_part() -> None:
    check(bare_parameter_of_a_called_part, beside=[Scale])


def test_a_head_that_is_returned_is_only_likely() -> None:
    (finding,) = watched(head_returned_without_a_loss).findings
    assert finding.certainty is Certainty.LIKELY


def test_what_a_detached_module_says() -> None:
    (finding,) = watched(detached_by_a_call).findings
    assert finding.certainty is Certainty.CERTAIN
    assert finding.message == "`self.context` runs, but no gradient ever reaches it"
    assert finding.label == "40 of 60 parameters"
    assert finding.seen == "called with gradients on, no gradient in 4 passes"
    (note,) = finding.related
    assert source_text(note.span) == "self.context(x)"


def test_what_an_unused_module_says() -> None:
    (finding,) = watched(layer_never_called).findings
    assert finding.message == "`self.extra` is created but no forward that was watched uses it"
    assert finding.label == "20 of 40 parameters"
    assert finding.why == "`tests/runtime/test_run_missing_gradients.py` passes all parameters to SGD; " + (
        "this layer never gets a gradient"
    )
    assert finding.seen == "no call and no gradient in 4 passes"
    assert finding.sides == ("runtime",)
    assert finding.evidence["first_step"] == 0


def test_without_an_optimizer_in_sight_it_is_likely() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)
            self.extra = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x)

    model = Net()

    def program() -> None:
        for _ in range(4):
            model(torch.randn(8, 4)).pow(2).mean().backward()
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.data -= 0.01 * parameter.grad
                    parameter.grad = None

    (finding,) = watched(program).findings
    assert (finding.rule, finding.certainty) == ("unused-module", Certainty.LIKELY)


# Unknown


def one_pass_only() -> None:
    train(Unused(), steps=1)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.extra = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def data_parallel() -> None:
    train(nn.DataParallel(Unused()))


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(Block() for _ in range(3))
        self.by_name = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.experts[1](self.by_name["b"](x))


def variants_that_are_not_called() -> None:
    train(Experts())


class InnerTeacher(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Linear(4, 4)
        self.teacher = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = self.teacher(x)
        return self.student(x) - wanted


def teacher_without_gradients() -> None:
    train(InnerTeacher())


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.speak = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x)
        return x if self.training else self.speak(x)


def evaluate(model: nn.Module, part: nn.Module | None = None) -> None:
    model.eval()
    with torch.no_grad():
        for _ in range(2):
            (part or model)(torch.randn(3, 4))
    model.train()


def called_in_evaluation_only() -> None:
    model = Generator()
    train(model, steps=4)
    evaluate(model)
    train(model, steps=3)


def called_in_a_late_evaluation_only() -> None:
    model = Generator()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(12):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()
    evaluate(model)


def part_called_alone_in_evaluation() -> None:
    model = Unused()
    train(model, steps=4)
    evaluate(model, model.extra)


class Growing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def created_after_the_first_pass() -> None:
    model = Growing()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(8):
        if step == 1:
            model.later = nn.Linear(4, 4)
            model.called = nn.ReLU()
            model.body = nn.Sequential(model.body, model.called)
            optimizer.add_param_group({"params": list(model.later.parameters())})
        optimizer.zero_grad()
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (one_pass_only, ""),
        (data_parallel, "DataParallel"),
        (variants_that_are_not_called, "take turns"),
        (teacher_without_gradients, "without gradients"),
        (called_in_evaluation_only, "only in evaluation"),
        (called_in_a_late_evaluation_only, "only in evaluation"),
        (part_called_alone_in_evaluation, "only in evaluation"),
        (created_after_the_first_pass, "after the first pass"),
    ],
)
def test_unknown(program: Callable[[], None], reason: str) -> None:
    seen = check(program)
    if reason:
        assert any(reason in gap.reason and set(gap.rules) & set(RULES) for gap in seen.out_of_sight), seen.out_of_sight


@pytest.mark.filterwarnings("ignore:.*jit:DeprecationWarning")
def test_scripted_modules_are_unknown() -> None:
    seen = check(lambda: train(torch.jit.script(Unused())))
    assert any("scripted" in gap.reason for gap in seen.out_of_sight)


@pytest.mark.filterwarnings("ignore")
def test_compiled_modules_are_unknown() -> None:
    seen = check(lambda: train(torch.compile(Unused(), backend="eager")))
    assert any("compiled" in gap.reason for gap in seen.out_of_sight)


class FullyShardedDataParallel(nn.Module):
    """Stands for torch's: the real one needs an accelerator."""

    __module__ = "torch.distributed.fsdp.stand_in"

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._fsdp_wrapped_module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._fsdp_wrapped_module(x)


def test_flattened_parameters_are_unknown() -> None:
    seen = check(lambda: train(FullyShardedDataParallel(Unused())))
    assert any("flattened" in gap.reason for gap in seen.out_of_sight)


def test_forwards_on_other_threads_are_unknown() -> None:
    def program() -> None:
        model = Unused()
        train(model, steps=3)
        thread = threading.Thread(target=lambda: model.extra(torch.randn(2, 4)))
        thread.start()
        thread.join()
        train(model, steps=3)

    seen = check(program)
    assert any("other threads" in gap.reason for gap in seen.out_of_sight)


# Silent


def weight_used_functionally() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.linear(x, self.body.weight, self.body.bias)

    train(Net())


def tied_head() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(5, 4)
            self.head = nn.Linear(4, 5, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.embedding.weight.t()

    train(Net())


def attention() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.encoder = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.unsqueeze(0)
            return self.encoder(self.attention(x, x, x)[0]) - 1 + x

    train(Net())


def parametrised() -> None:
    normalised = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))
    train(nn.Sequential(normalised, nn.Tanh(), spectral))


def recurrent() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 3, num_layers=2, batch_first=True, bidirectional=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(x.unsqueeze(1))[0]

    train(Net())


def checkpointed(reentrant: bool) -> Callable[[], None]:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.block = Block()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(self.block, self.first(x), use_reentrant=reentrant)

    return lambda: train(Net())


def low_rank_adapter() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = nn.Linear(4, 4).requires_grad_(False)
            self.down = nn.Linear(4, 2, bias=False)
            self.up = nn.Linear(2, 4, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.base(x) + self.up(self.down(x))

    model = Net()
    train(model, *(p for p in model.parameters() if p.requires_grad))


def frozen_layer() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen = nn.Linear(4, 4).requires_grad_(False)
            self.unused = nn.Linear(4, 4).requires_grad_(False)
            self.body = nn.Linear(4, 4)
            self.dropout = nn.Dropout(0.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(self.frozen(x))

    train(Net())


def layer_in_no_optimizer() -> None:
    model = Unused()
    train(model, *model.body.parameters())


class MovingAverage(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.online = nn.Linear(4, 4)
        self.target = copy.deepcopy(self.online)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.online(x) - self.target(x + 1).detach()

    @torch.no_grad()
    def follow(self, *, through_data: bool) -> None:
        for mine, theirs in zip(self.target.parameters(), self.online.parameters(), strict=True):
            if through_data:
                mine.data = mine.data * 0.9 + theirs.data * 0.1
            else:
                mine.data.mul_(0.9).add_(theirs.data, alpha=0.1)


def target_network(through_data: bool) -> Callable[[], None]:
    def program() -> None:
        model = MovingAverage()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.randn(8, 4)).pow(2).mean().backward()
            optimizer.step()
            model.follow(through_data=through_data)

    return program


def moving_average_beside_the_model() -> None:
    model = Block()
    average = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(5):
        x = torch.randn(8, 4)
        with torch.no_grad():
            wanted = average(x)
        optimizer.zero_grad()
        (model(x) - wanted).pow(2).mean().backward()
        optimizer.step()
        with torch.no_grad():
            for mine, theirs in zip(average.parameters(), model.parameters(), strict=True):
                mine.lerp_(theirs, 0.1)


def heads_that_take_turns_over_long_phases() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)
            self.first = nn.Linear(4, 1)
            self.second = nn.Linear(4, 1)

        def forward(self, x: torch.Tensor, second: bool) -> torch.Tensor:
            return self.second(self.body(x)) if second else self.first(self.body(x))

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(24):
        optimizer.zero_grad()
        model(torch.randn(8, 4), 12 <= step < 20).pow(2).mean().backward()
        optimizer.step()


def gradients_set_by_hand() -> None:
    model = Block()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(5):
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(model(torch.randn(8, 4)).pow(2).mean(), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()


def target_network_that_lags() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.online = nn.Linear(4, 4)
            self.target = copy.deepcopy(self.online)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.online(x) - self.target(x + 1).detach()

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(12):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()
        if step % 6 == 5:
            model.target.load_state_dict(model.online.state_dict())


def generator_waits_for_the_critic() -> None:
    class Gan(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator = nn.Linear(4, 4)
            self.critic = nn.Linear(4, 1)

        def forward(self, z: torch.Tensor, *, train_generator: bool) -> torch.Tensor:
            fake = self.generator(z)
            return self.critic(fake if train_generator else fake.detach()).mean()

    model = Gan()
    of_critic = torch.optim.SGD(model.critic.parameters(), lr=0.05)
    of_generator = torch.optim.SGD(model.generator.parameters(), lr=0.05)
    for _ in range(2):
        for _ in range(5):
            of_critic.zero_grad()
            model(torch.randn(8, 4), train_generator=False).backward()
            of_critic.step()
        of_generator.zero_grad()
        model(torch.randn(8, 4), train_generator=True).backward()
        of_generator.step()


def stochastic_depth() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = Block()
            self.second = Block()
            self.count = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count += 1
            return x + (self.first(x) if self.count % 2 else self.second(x))

    train(Net())


def branch_that_joins_late() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 4)
            self.late = nn.Linear(4, 4)
            self.count = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count += 1
            return self.body(x) if self.count < 20 else self.late(self.body(x))

    train(Net(), steps=24)


def several_optimizers_in_backward() -> None:
    model = Unused()
    optimizers = {p: torch.optim.SGD([p], lr=0.05) for p in model.parameters()}

    def step(parameter: torch.Tensor) -> None:
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    for _ in range(5):
        model(torch.randn(8, 4)).pow(2).mean().backward()


def lazy_layers() -> None:
    train(nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(4)))


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize(
    "program",
    [
        weight_used_functionally,
        tied_head,
        attention,
        parametrised,
        recurrent,
        checkpointed(True),
        checkpointed(False),
        low_rank_adapter,
        frozen_layer,
        layer_in_no_optimizer,
        target_network(True),
        target_network(False),
        target_network_that_lags,
        moving_average_beside_the_model,
        heads_that_take_turns_over_long_phases,
        gradients_set_by_hand,
        generator_waits_for_the_critic,
        stochastic_depth,
        branch_that_joins_late,
        several_optimizers_in_backward,
        lazy_layers,
    ],
    ids=lambda program: program.__qualname__.partition(".")[0],
)
def test_silent(program: Callable[[], Any]) -> None:
    assert [finding for finding in watched(program).findings if finding.rule in RULES] == []


def test_accumulation_and_closures() -> None:
    def accumulation() -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for step in range(12):
            model(torch.randn(8, 4)).pow(2).mean().backward()
            if step % 3 == 2:
                optimizer.step()
                optimizer.zero_grad()

    def closures() -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = model(torch.ones(8, 4)).pow(2).mean()
            loss.backward()
            return loss

        for _ in range(4):
            optimizer.step(closure)

    for program in (accumulation, closures):
        assert [f for f in watched(program).findings if f.rule in RULES] == []
