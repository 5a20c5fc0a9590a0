"""The callbacks, driven by stand-ins that call them in the order in which the frameworks do."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from modellint.runtime import hooks


@pytest.fixture
def frameworks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Frameworks with nothing in them but the base class of a callback."""
    lightning, pytorch, transformers = (ModuleType(name) for name in ("lightning", "lightning.pytorch", "transformers"))
    vars(lightning)["pytorch"] = pytorch
    vars(pytorch)["Callback"] = type("Callback", (), {})
    vars(transformers)["TrainerCallback"] = type("TrainerCallback", (), {})
    for module in (lightning, pytorch, transformers):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("modellint.integrations.lightning", "modellint.integrations.transformers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    for name in ("modellint.integrations.lightning", "modellint.integrations.transformers"):
        sys.modules.pop(name, None)
    assert hooks.current() is None


def callback(framework: str, **options: Any) -> Any:
    return importlib.import_module(f"modellint.integrations.{framework}").ModelLintCallback(**options)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 1)
        self.spare = nn.Linear(4, 1)
        self.drop = nn.Dropout()

    def forward(self, x: torch.Tensor) -> Any:
        return self.drop(self.line(x))


class Trainer:
    """Trains as Lightning does: sanity check, epochs of training and validation."""

    def __init__(self, callback: Any, rank: int = 0) -> None:
        self.callback, self.is_global_zero = callback, rank == 0
        self.sanity_checking = self.training = False
        self.phases: list[str | None] = []

    def forward(self, model: nn.Module) -> Any:
        seen = self.callback.seen
        self.phases.append(seen.session.phase if seen is not None else "unseen")
        return model(torch.randn(8, 4)).pow(2).mean()

    def evaluate(self, model: nn.Module) -> None:
        self.callback.on_validation_start(self, model)
        with torch.no_grad():
            for _ in range(2):
                self.forward(model)
        self.callback.on_validation_end(self, model)

    def fit(self, model: nn.Module, fails: bool = False) -> None:
        call = self.callback
        call.setup(self, model, "fit")
        call.on_fit_start(self, model)
        try:
            self.sanity_checking = True
            call.on_sanity_check_start(self, model)
            self.evaluate(model)
            call.on_sanity_check_end(self, model)
            self.sanity_checking, self.training = False, True
            optimizer = torch.optim.SGD(model.parameters(), 0.1)
            for _ in range(2):
                for number in range(3):
                    call.on_train_batch_start(self, model, None, number)
                    optimizer.zero_grad()
                    self.forward(model).backward()
                    optimizer.step()
                    if fails:
                        raise ValueError("of the user")
                self.evaluate(model)
        except ValueError as error:
            call.on_exception(self, model, error)
            raise
        call.teardown(self, model, "fit")


def test_lightning(frameworks: None) -> None:
    call = callback("lightning")
    trainer = Trainer(call)
    trainer.fit(Net())
    assert trainer.phases == ["sanity", "sanity", *(["train"] * 3 + ["validate"] * 2) * 2]
    # It evaluates in training mode, which is the framework's business, and has a layer too many, which is not.
    assert [finding.rule for finding in call.seen.findings] == ["unused-module"]
    assert call.state_key == "ModelLintCallback"
    trainer.callback = again = callback("lightning", ignore=["unused-module"])
    trainer.fit(Net())
    assert not again.seen.findings


def test_what_lightning_does_itself_is_judged_where_a_module_does_it_by_hand(frameworks: None) -> None:
    model = Net()
    vars(model)["automatic_optimization"] = False
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    found = {}
    for by_hand in (True, False):
        vars(model)["automatic_optimization"] = not by_hand
        call = callback("lightning", select=["missing-zero-grad"])
        trainer = Trainer(call)
        call.setup(trainer, model, "fit")
        for _ in range(6):
            trainer.forward(model).backward()
            optimizer.step()
        call.teardown(trainer, model, "fit")
        found[by_hand] = [finding.rule for finding in call.seen.findings]
    assert found == {True: ["missing-zero-grad"], False: []}


def test_other_ranks_are_silent(frameworks: None) -> None:
    call = callback("lightning")
    trainer = Trainer(call, rank=1)
    trainer.fit(Net())
    assert set(trainer.phases) == {"unseen"}
    assert call.seen is None
    call = callback("transformers")
    call.on_train_begin(None, SimpleNamespace(is_world_process_zero=False), None, model=None)
    call.on_step_begin(None, None, None)
    call.on_train_end(None, None, None)
    assert call.seen is None


def test_an_exception_closes_the_watch_and_passes_through(frameworks: None) -> None:
    call = callback("lightning")
    with pytest.raises(ValueError, match="of the user"):
        Trainer(call).fit(Net(), fails=True)
    assert call.seen.closed


def test_transformers(frameworks: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    call = callback("transformers")
    model, state, phases = Net(), SimpleNamespace(is_world_process_zero=True), []
    control = SimpleNamespace(should_evaluate=False)
    call.on_train_begin(None, state, control, model=model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for step in range(6):
        call.on_step_begin(None, state, control, model=model)
        phases.append(call.seen.session.phase)
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()
        control.should_evaluate = step == 3
        call.on_step_end(None, state, control, model=model)
        if control.should_evaluate:
            phases.append(call.seen.session.phase)
            call.on_prediction_step(None, state, control, model=model)
            call.on_evaluate(None, state, control, model=model)
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    call.on_train_end(None, state, control, model=model)
    call.on_train_end(None, state, control, model=model)
    assert phases == ["train"] * 4 + ["validate"] + ["train"] * 2
    assert [finding.rule for finding in call.seen.findings] == ["unused-module"]
    assert capsys.readouterr().err.startswith("modellint: Net, 6 training steps: 1 warning\n")
    assert capsys.readouterr().err == ""


def test_without_the_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("lightning", "transformers"):
        sys.modules.pop(f"modellint.integrations.{name}", None)
        with pytest.raises(ImportError):
            importlib.import_module(f"modellint.integrations.{name}")
