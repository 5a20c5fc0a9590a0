"""What live modules hide, and what their classes make of nn.Module's names."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import nn
from watching import check, watched

from modellint.lint import lint

RULES = [
    "unregistered-module", "unregistered-parameter", "unregistered-buffer", "shadowed-module-method",
    "requires-grad-on-module", "requires-grad-typo",
]  # fmt: skip


def train(model: nn.Module, steps: int = 4, extra: list[torch.Tensor] | None = None) -> None:
    held = [p for p in model.parameters() if p.requires_grad] + (extra or [])
    optimizer = torch.optim.SGD(held, lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()


class Net(nn.Module):
    """A body and a head; programs add to it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.head = nn.Linear(4, 1)

    def middle(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.middle(self.fc(x)))
        return out


# unregistered-module


def a_list() -> None:
    class Listed(Net):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [nn.Linear(4, 4) for _ in range(2)]  # expect: unregistered-module

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = block(x)
            return x

    train(Listed())


def appended() -> None:
    class Appended(Net):
        def __init__(self) -> None:
            super().__init__()
            self.blocks: list[nn.Module] = []
            for _ in range(2):
                self.blocks.append(nn.Linear(4, 4))  # expect: unregistered-module

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = block(x)
            return x

    train(Appended())


def nested_in_a_dict_and_below_the_root() -> None:
    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.towers = {"a": [nn.Linear(4, 4)], "b": (nn.ReLU(),)}  # expect: unregistered-module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.towers["a"][0](x)
            return out

    class Whole(Net):
        def __init__(self) -> None:
            super().__init__()
            self.part = Part()

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.part(x)
            return out

    train(Whole())


def made_in_the_first_forward() -> None:
    class Late(Net):
        def middle(self, x: torch.Tensor) -> torch.Tensor:
            if not hasattr(self, "late"):
                self.late = [nn.Linear(x.shape[1], 4)]  # expect: unregistered-module
            out: torch.Tensor = self.late[0](x)
            return out

    train(Late())


def registered_as_well() -> None:
    class Both(Net):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [nn.Linear(4, 4), nn.Linear(4, 4)]
            self.kept = nn.ModuleList(self.blocks)
            self.path = [self.fc, self.head]

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = block(x)
            return x

    train(Both())


def registered_one_by_one() -> None:
    class OneByOne(Net):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [nn.Linear(4, 4), nn.Linear(4, 4)]
            for index, block in enumerate(self.blocks):
                self.add_module(f"block{index}", block)

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            return self.blocks[1](self.blocks[0](x))  # type: ignore[no-any-return]

    train(OneByOne())


def a_teacher_that_came_as_an_argument() -> None:
    class Student(Net):
        def __init__(self, teacher: nn.Module) -> None:
            super().__init__()
            self.teacher = [teacher]
            object.__setattr__(self, "reference", teacher)

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            return x - self.teacher[0](x)  # type: ignore[no-any-return]

    train(Student(nn.Linear(4, 4)))


def a_teacher_without_gradients() -> None:
    class Student(Net):
        def __init__(self) -> None:
            super().__init__()
            self.teacher = [nn.Linear(4, 4)]

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                target = self.teacher[0](x)
            return x - target  # type: ignore[no-any-return]

    train(Student())


def a_frozen_network_in_a_list() -> None:
    class Perceptual(Net):
        def __init__(self) -> None:
            super().__init__()
            self.features = [nn.Linear(4, 4).requires_grad_(False)]

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            return self.features[0](x)  # type: ignore[no-any-return]

    train(Perceptual())


def a_list_that_the_optimizer_holds() -> None:
    class Held(Net):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [nn.Linear(4, 4)]

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            return self.blocks[0](x)  # type: ignore[no-any-return]

    model = Held()
    train(model, extra=list(model.blocks[0].parameters()))


def without_parameters_and_never_called() -> None:
    class Harmless(Net):
        def __init__(self) -> None:
            super().__init__()
            self.activations = [nn.ReLU(), nn.Tanh()]
            self.losses = {"mse": nn.MSELoss()}
            self.spare = [nn.Linear(4, 4)]
            self.classes = [nn.Linear, nn.ReLU]

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            for activation in self.activations:
                x = activation(x)
            return x

    train(Harmless())


def recurrent_weights() -> None:
    class Recurrent(Net):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(4, 4)

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            return self.rnn(x.unsqueeze(0))[0].squeeze(0)  # type: ignore[no-any-return]

    train(Recurrent())


# unregistered-parameter


def a_trainable_tensor() -> None:
    class Scaled(Net):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.ones(4, requires_grad=True)  # expect: unregistered-parameter

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale

    train(Scaled())


def a_result_of_a_parameter() -> None:
    class Scaled(Net):
        def __init__(self) -> None:
            super().__init__()
            start = torch.ones(4, dtype=torch.float64)
            self.scale = nn.Parameter(start).float()  # expect: unregistered-parameter "computed from a parameter"

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.scale

    train(Scaled())


def parameters_in_a_list() -> None:
    class Scaled(Net):
        def __init__(self) -> None:
            super().__init__()
            self.scales = [nn.Parameter(torch.ones(4)) for _ in range(2)]  # expect: unregistered-parameter "list"

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scales[0] * self.scales[1]

    train(Scaled())


def held_changed_by_hand_or_unused() -> None:
    class Scaled(Net):
        def __init__(self) -> None:
            super().__init__()
            self.held = torch.ones(4, requires_grad=True)
            self.by_hand = torch.ones(4, requires_grad=True)
            self.unused = torch.ones(4, requires_grad=True)

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            if self.by_hand.grad is not None:
                with torch.no_grad():
                    self.by_hand -= 0.1 * self.by_hand.grad
            return x * self.held * self.by_hand

    model = Scaled()
    train(model, extra=[model.held])


def aliases_views_and_caches() -> None:
    class Cached(Net):
        def __init__(self) -> None:
            super().__init__()
            self.alias = (self.fc.weight,)
            self.view = self.fc.weight[:2]
            self.kept = nn.ParameterList([torch.ones(4)])
            self.last = torch.zeros(1)

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            self.last = x
            return x * self.kept[0] + self.alias[0].sum() + self.view.shape[0]

    model = Cached()
    model(torch.randn(2, 4))  # the cache is there before the watch sees a step
    train(model)


def an_input_that_is_optimised() -> None:
    class Attack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 1)
            self.noise = torch.zeros(4, requires_grad=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(x + self.noise)
            return out

    model = Attack()
    optimizer = torch.optim.SGD([model.noise, *model.parameters()], lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).mean().backward()
        optimizer.step()


# unregistered-buffer: `meta` stands for the other device


def left_behind() -> None:
    class Ordered(Net):
        def __init__(self) -> None:
            super().__init__()
            self.order = torch.arange(4)  # expect: unregistered-buffer "`cpu`" "`meta`"

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, self.order]

    on_meta(Ordered())


def on_meta(model: nn.Module) -> None:
    model = model.to("meta")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(8, 4, device="meta")).pow(2).mean().backward()
        optimizer.step()


def moved_at_use_registered_scalar_or_unused() -> None:
    class Ordered(Net):
        def __init__(self) -> None:
            super().__init__()
            self.order = torch.arange(4)
            self.register_buffer("offset", torch.zeros(4))
            self.scalar = torch.tensor(2)
            self.note = torch.zeros(3)

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            return (x + self.offset)[:, self.order.to(x.device)] * self.scalar  # type: ignore[operator]

    on_meta(Ordered())


def on_the_cpu_with_the_model() -> None:
    class Ordered(Net):
        def __init__(self) -> None:
            super().__init__()
            self.order = torch.arange(4)

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, self.order]

    train(Ordered())


# requires-grad-on-module, requires-grad-typo


def flag_on_modules() -> None:
    class Flagged(Net):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)  # expect: requires-grad-on-module "`model.fc`" "same cause at"
            self.other = nn.Linear(4, 4)

    model = Flagged()
    for module in (model.fc, model.other):
        module.requires_grad = False  # type: ignore[assignment]
    train(model)


def flag_on_the_whole_model_after_an_epoch() -> None:
    class Flagged(Net):
        def middle(self, x: torch.Tensor) -> torch.Tensor:
            return x

    model = Flagged()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(6):
        if step == 2:
            model.requires_grad = False  # type: ignore[assignment]  # expect: requires-grad-on-module
        optimizer.zero_grad()
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()


def misspelt_on_parameters() -> None:
    class Frozen(Net):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)  # expect: requires-grad-typo "`require_grad = False` on `model.fc."

    model = Frozen()
    for parameter in model.fc.parameters():
        parameter.require_grad = False  # type: ignore[attr-defined]
    train(model)


def misspelt_on_a_module() -> None:
    class Frozen(Net):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

    model = Frozen()
    model.fc.requires_grads = False  # type: ignore[assignment]  # expect: requires-grad-typo
    train(model)


def the_parameters_are_set_too() -> None:
    model = Net()
    for module in model.fc.modules():
        module.requires_grad = False  # type: ignore[assignment]
    for parameter in model.fc.parameters():
        parameter.requires_grad = False
        parameter.require_grad = False  # type: ignore[attr-defined]
    train(model)


def flags_of_the_class_itself() -> None:
    class Own(Net):
        def __init__(self, require_grad: bool = False) -> None:
            super().__init__()
            self.require_grad = require_grad
            self.requires_grad = require_grad  # type: ignore[assignment]
            self.requires_graph = False

    train(Own())


# shadowed-module-method


def train_runs_epochs() -> None:
    class Trainer(Net):
        def train(self, batches: Any) -> Any:  # type: ignore[override]  # expect: shadowed-module-method
            optimizer = torch.optim.SGD(self.parameters(), lr=0.05)
            for x in batches:
                optimizer.zero_grad()
                self(x).pow(2).mean().backward()
                optimizer.step()

    model = Trainer()
    model.train([torch.randn(8, 4) for _ in range(4)])


def train_leaves_the_layers_alone() -> None:
    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def train(self, mode: bool = True) -> Part:  # expect: shadowed-module-method "`part.fc` was in train mode"
            self.mode = mode
            return self

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(x)
            return out

    class Whole(Net):
        def __init__(self) -> None:
            super().__init__()
            self.part = Part()

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.part(x)
            return out

    model = Whole()
    train(model)
    model.eval()
    with torch.no_grad():
        for _ in range(2):
            model(torch.randn(8, 4))


def eval_needs_a_loader() -> None:
    class Evaluator(Net):
        def eval(self, loader: Any) -> Any:  # type: ignore[override]  # expect: shadowed-module-method
            return [self(x) for x in loader]

    train(Evaluator())


def other_names() -> None:
    class Named(Net):
        def __init__(self, training: bool = True) -> None:
            super().__init__()
            self.training = training  # expect: shadowed-module-method

        @property
        def children(self) -> Any:  # type: ignore[override]  # expect: shadowed-module-method "is a property"
            return lambda: iter(self._modules.values())

        def apply(self, x: Any, y: Any) -> Any:  # type: ignore[override]  # expect: shadowed-module-method
            return x, y

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.named = Named()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.named(x)
            return out

    train(Whole())


def train_that_freezes() -> None:
    class Freezing(Net):
        def train(self, mode: bool = True) -> Freezing:
            super().train(mode)
            self.fc.eval()
            return self

        def parameters(self, recurse: bool = True) -> Any:
            return super().parameters(recurse)

        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            return super().state_dict(*args, **kwargs)

        def type(self, dst_type: Any) -> Any:
            return super().type(dst_type)

    model = Freezing()
    train(model)
    model.eval()
    with torch.no_grad():
        model(torch.randn(8, 4))


def pinned_instances() -> None:
    model = Net()
    model.fc.train = lambda mode=True: model.fc  # type: ignore[method-assign]
    train(model)
    model.eval()
    with torch.no_grad():
        model(torch.randn(8, 4))


def base_call_in_another_method() -> None:
    class Helped(Net):
        def train(self, mode: bool = True) -> Helped:
            self.switch(mode)
            return self

        def switch(self, mode: bool) -> None:
            nn.Module.train(self, mode)

    model = Helped()
    train(model)
    model.eval()
    with torch.no_grad():
        model(torch.randn(8, 4))


def flag_written_in_train() -> None:
    class Own(Net):
        def __init__(self) -> None:
            super().__init__()
            self.training = True

        def train(self, mode: bool = True) -> Own:
            self.training = mode
            for child in self.children():
                child.train(mode)
            return self

    train(Own())


FOUND = [
    a_list, appended, nested_in_a_dict_and_below_the_root, made_in_the_first_forward, a_trainable_tensor,
    a_result_of_a_parameter, parameters_in_a_list, left_behind, flag_on_modules,
    flag_on_the_whole_model_after_an_epoch, misspelt_on_parameters, misspelt_on_a_module, train_runs_epochs,
    train_leaves_the_layers_alone, eval_needs_a_loader, other_names,
]  # fmt: skip

SILENT = [
    registered_as_well, registered_one_by_one, a_teacher_that_came_as_an_argument, a_teacher_without_gradients,
    a_frozen_network_in_a_list, a_list_that_the_optimizer_holds, without_parameters_and_never_called,
    recurrent_weights, held_changed_by_hand_or_unused, aliases_views_and_caches, an_input_that_is_optimised,
    moved_at_use_registered_scalar_or_unused, on_the_cpu_with_the_model, the_parameters_are_set_too,
    flags_of_the_class_itself, train_that_freezes, pinned_instances, base_call_in_another_method,
    flag_written_in_train,
]  # fmt: skip


@pytest.mark.parametrize("program", FOUND)
def test_found(program: Callable[[], None]) -> None:
    check(program, select=RULES)


@pytest.mark.parametrize("program", SILENT)
def test_silent(program: Callable[[], None]) -> None:
    assert not watched(program, select=RULES).findings


def test_a_compiled_model_is_out_of_sight() -> None:
    class Listed(Net):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [nn.Linear(4, 4)]

        def middle(self, x: torch.Tensor) -> torch.Tensor:
            return self.blocks[0](x)  # type: ignore[no-any-return]

    seen = watched(lambda: train(torch.compile(Listed(), backend="eager")), select=RULES)  # type: ignore[arg-type]
    assert not seen.findings
    assert any("unregistered-module" in gap.rules for gap in seen.out_of_sight)


@pytest.mark.parametrize("file", ["fires_containers.py", "silent_registered.py"])
def test_both_sides_name_the_same_lines(file: str) -> None:
    """Every class of a fixture of the source side, trained for some steps."""
    path = ROOT / "fixtures" / "rules" / "unregistered-module" / file
    from_code = {f.span.line for f in lint([path]).findings if f.rule == "unregistered-module"}
    spec = importlib.util.spec_from_file_location("fixture_" + Path(file).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seen: set[int] = set()
    trained = 0
    for cls in [v for v in vars(module).values() if isinstance(v, type) and issubclass(v, nn.Module)]:
        if cls.__module__ != module.__name__:
            continue
        try:
            model = cls()
            model(torch.randn(8, 4))
        except (TypeError, RuntimeError, AttributeError, IndexError):
            continue  # not made to be run alone
        trained += 1
        seen |= {finding.span.line for finding in watched(lambda m=model: _steps(m), select=RULES).findings}
    assert trained > 5
    assert seen <= from_code
    assert len(seen) >= len(from_code) // 2


def _steps(model: nn.Module) -> None:
    optimizer = torch.optim.SGD([*model.parameters(), nn.Parameter(torch.zeros(1))], lr=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        out = model(torch.randn(8, 4))
        for one in out if isinstance(out, list | tuple) else [out]:
            if isinstance(one, torch.Tensor) and one.requires_grad:
                one.sum().backward(retain_graph=True)
        optimizer.step()
