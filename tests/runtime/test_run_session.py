"""What the hooks note: roots, windows, passes, places, and the events that observers are given."""

from __future__ import annotations

import linecache
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from modellint.runtime import call_site, hooks
from modellint.runtime.call_site import Site, capture
from modellint.runtime.observer import Observer
from modellint.runtime.session import RootCall, Session
from modellint.runtime.watch import Watch, watch

pytestmark = pytest.mark.filterwarnings("default")


class Log(Observer):
    """Notes the events as text."""

    functions = frozenset({nn.functional.mse_loss, nn.functional.dropout})

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.events: list[str] = []
        self.roots: list[RootCall] = []
        self.sites: dict[str, Site | None] = {}

    def root_begins(self, call: RootCall, module: nn.Module, args: Any) -> None:
        self.roots.append(call)
        self.events.append(f"root {type(module).__name__} {'train' if call.training else 'eval'}")

    def root_ends(self, call: RootCall, module: nn.Module, args: Any, output: Any) -> None:
        self.events.append("end" if output is not None else "raised")

    def module_begins(self, call: Any, module: nn.Module, args: Any) -> None:
        self.events.append(f"module {call.path!r}")

    def step_ends(self, record: Any, optimizer: Any, window: Any) -> None:
        self.events.append(f"step {record.kind} {'traced' if window.traced else 'untraced'}")

    def pass_ended(self, root: Any, record: Any, window: Any) -> None:
        self.events.append(f"pass {root.passes}")

    def backward_begins(self, tensors: Any, site: Site | None) -> None:
        self.events.append("backward")
        self.sites["backward"] = site

    def scheduler_stepped(self, scheduler: Any, site: Site | None) -> None:
        self.events.append(f"scheduler {type(scheduler).__name__}")
        self.sites["scheduler"] = site

    def loader_started(self, loader: Any, site: Site | None) -> None:
        self.events.append("loader")
        self.sites["loader"] = site

    def state_copied(self, module: nn.Module, state: Any, site: Site | None) -> None:
        self.events.append(f"state {len(state)}")
        self.sites["state"] = site

    def optimizer_made(self, record: Any, optimizer: Any) -> None:
        self.events.append(f"made {record.kind}")
        self.sites["made"] = record.site

    def function_called(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        self.events.append(function.__name__)


class Logged:
    """A watch with a Log."""

    def __enter__(self) -> Log:
        self._watch: Watch = watch(select=["missing-zero-grad"])
        installation = hooks.current()
        assert installation is not None
        self.log = Log(installation.session)
        installation.add([self.log])
        return self.log

    def __exit__(self, *error: object) -> None:
        self._watch.close()
        assert not self._watch.failures


def line(site: Site | None) -> str:
    assert site is not None
    return site.text()


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


def test_one_step_in_order() -> None:
    with Logged() as log:
        model = small()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loss = nn.functional.mse_loss(model(torch.randn(5, 3)), torch.randn(5, 1))
        loss.backward()
        optimizer.step()
    assert log.events == [
        "made SGD", "root Sequential train", "module ''", "module '0'", "module '1'", "module '2'", "end", "mse_loss",
        "backward", "step SGD traced", "pass 1",
    ]  # fmt: skip
    assert line(log.sites["made"]) == "torch.optim.SGD(model.parameters(), lr=0.1)"
    assert line(log.sites["backward"]) == "loss.backward()"
    assert line(log.roots[0].site) == "model(torch.randn(5, 3))"
    assert log.roots[0].root.text() == "model"


def train(model: nn.Module, steps: int, optimizer: torch.optim.Optimizer | None = None) -> torch.optim.Optimizer:
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).mean().backward()
        optimizer.step()
    return optimizer


def test_the_first_steps_are_traced_and_one_in_250() -> None:
    with Logged() as log:
        train(small(), 505)
    ended = [event for event in log.events if event.startswith("step")]
    assert [event.endswith(" traced") for event in ended].count(True) == 6
    assert len(ended) <= 8, "a quiet window tells only those who ask"
    assert sum(event.startswith("module") for event in log.events) < 60
    (root,) = log.session.all_roots()
    assert (root.steps, root.passes, log.session.steps) == (505, 6, 505)


def test_every_optimizer_has_its_first_steps_traced() -> None:
    with Logged() as log:
        one, other = small(), small()
        first = train(one, 20)
        second = train(other, 3)
        train(one, 3, first)
        train(other, 10, second)
    assert [root.passes >= 3 for root in log.session.trained_roots()] == [True, True]


def test_an_evaluation_between_steady_steps_is_seen_whole() -> None:
    """The first one after traced steps module by module, the next ones as forwards of the model."""

    def evaluate() -> list[RootCall]:
        before = len(log.roots)
        model.eval()
        with torch.no_grad():
            for _ in range(4):
                model(torch.randn(5, 3))
        model.train()
        return [call for call in log.roots[before:] if not call.training]

    with Logged() as log:
        model = small()
        optimizer = train(model, 30)
        first = evaluate()
        train(model, 5, optimizer)
        second = evaluate()
    assert [call.detail for call in first] == [True] * 4
    assert [call.detail for call in second] == [False] * 4
    assert sum(call.training for call in log.roots) <= 6


def test_an_evaluation_in_training_mode_is_seen_with_a_loader() -> None:
    loader = DataLoader(TensorDataset(torch.randn(20, 3)), batch_size=5)
    with Logged() as log:
        model = small()
        train(model, 30)
        before = len(log.roots)
        for (x,) in loader:
            model(x)
    assert len(log.roots) - before == 4
    assert log.events.count("loader") == 1
    assert line(log.sites["loader"]) == "for (x,) in loader"


def test_a_model_that_comes_late_is_traced() -> None:
    with Logged() as log:
        train(small(), 30)
        late = nn.Sequential(nn.Linear(3, 2))
        train(late, 6)
    root = log.session.all_roots()[-1]
    assert root.passes >= 3


def test_a_root_is_the_outermost_call() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)

    with Logged() as log:
        train(Outer(), 2)
    assert [root.cls.__name__ for root in log.session.all_roots()] == ["Outer"]
    assert "module 'inner.0'" in log.events


def test_two_names_of_one_module_are_one_record() -> None:
    shared = nn.Linear(3, 3)
    model = nn.Sequential(shared, nn.Tanh(), shared, nn.Linear(3, 1))
    with Logged() as log:
        train(model, 2)
    (root,) = log.session.all_roots()
    record = root.module(shared)
    assert record is not None
    assert record.paths == ("0", "2")
    assert log.events.count("module '0'") == 4


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputation_is_no_forward(reentrant: bool) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.body = nn.Linear(3, 3), nn.Linear(3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(self.body, self.stem(x), use_reentrant=reentrant)

    with Logged() as log:
        train(Checkpointed(), 2)
    assert len(log.roots) == 2
    assert log.events.count("module 'body'") == 2
    assert log.events.count("end") == 2


def test_forwards_in_a_closure_belong_to_the_step() -> None:
    model = small()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    x = torch.randn(5, 3)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(x).pow(2).mean()
        loss.backward()
        return loss

    with Logged() as log:
        for _ in range(3):
            optimizer.step(closure)
    assert all(call.in_step for call in log.roots)
    assert log.session.all_roots()[0].passes == 3


def test_schedulers_without_their_constructor_s_step() -> None:
    with Logged() as log:
        model = small()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        plain = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        chained = torch.optim.lr_scheduler.SequentialLR(
            optimizer,
            [torch.optim.lr_scheduler.ConstantLR(optimizer), torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)],
            milestones=[2],
        )
        assert not [event for event in log.events if event.startswith("scheduler")]
        train(model, 1, optimizer)
        plain.step()
        plateau.step(1.0)
        chained.step()
    assert [event for event in log.events if event.startswith("scheduler")] == [
        "scheduler StepLR", "scheduler ReduceLROnPlateau", "scheduler SequentialLR",
    ]  # fmt: skip
    assert line(log.sites["scheduler"]) == "chained.step()"


def test_state_dict_is_one_event() -> None:
    with Logged() as log:
        model = nn.Sequential(small(), small())
        best = model.state_dict()
    assert log.events == [f"state {len(best)}"]
    assert line(log.sites["state"]) == "model.state_dict()"


def test_wrappers_are_looked_through() -> None:
    inner = small()
    average = torch.optim.swa_utils.AveragedModel(inner)
    with Logged() as log:
        average(torch.randn(2, 3))
        torch.nn.DataParallel(inner)(torch.randn(2, 3))
    names = [(root.cls.__name__, root.wrapper) for root in log.session.all_roots()]
    assert names == [("Sequential", "AveragedModel"), ("Sequential", "DataParallel")]


def test_what_is_opaque_is_told_by_torch_s_classes_not_by_names() -> None:
    class GraphModule(nn.Sequential):
        pass

    class DataParallel(nn.Sequential):
        pass

    class OptimizedModule(nn.Sequential):
        pass

    layers = nn.Sequential(
        GraphModule(nn.Linear(3, 3)), DataParallel(nn.Linear(3, 3)), OptimizedModule(nn.Linear(3, 1))
    )
    with Logged() as log:
        train(layers, 2)
    assert log.session.all_roots()[0].opaque == {}
    traced = torch.fx.symbolic_trace(small())
    with Logged() as log:
        train(nn.Sequential(traced), 2)
    assert log.session.all_roots()[0].opaque == {"0": "a traced graph"}


def test_no_function_is_seen_in_evaluation_or_in_a_step() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.1))
    with Logged() as log:
        train(model, 2)
        seen = log.events.count("dropout")
        assert seen == 2
        model.eval()
        with torch.no_grad():
            model(torch.randn(2, 3))
        assert log.events.count("dropout") == seen


class TestCallSite:
    def test_the_innermost_frame_of_the_user(self) -> None:
        site = capture()
        assert site is not None
        assert site.span().path.endswith("test_run_session.py")
        assert site.text() == "capture()"

    def test_columns_count_code_points(self) -> None:
        source = 'größe = "日本語"; found = capture()\n'
        linecache.cache["<ipython-input-7-test>"] = (len(source), None, [source], "<ipython-input-7-test>")
        scope: dict[str, Any] = {"capture": capture}
        exec(compile(source, "<ipython-input-7-test>", "exec"), scope)
        span = scope["found"].span()
        assert (span.line, span.column, span.end_column) == (1, 24, 33)
        assert scope["found"].text() == "capture()"

    def test_a_call_over_several_lines(self) -> None:
        site = Site(
            *capture(
                1,
            )  # type: ignore[misc]
        )
        assert site.text().replace(" ", "").startswith("capture(1,")

    def test_the_callee_and_its_receiver(self) -> None:
        class Recorder:
            def take(self) -> Site | None:
                return capture(2)

        recorder = Recorder()
        site = recorder.take()
        assert site is not None
        assert site.callee() == "recorder.take"
        assert site.receiver() == "recorder"

    def test_a_library_frame_only_where_there_is_no_other(self) -> None:
        code = compile("found = capture()", "/usr/lib/python3/dist-packages/somebody/module.py", "exec")
        scope: dict[str, Any] = {"capture": capture}
        exec(code, scope)
        site = scope["found"]
        assert site.span().path.endswith("test_run_session.py")  # this test is the user, not the library

    def test_paths_are_relative_to_the_working_directory(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
        monkeypatch.chdir(tmp_path)
        assert call_site.shown(str(tmp_path / "a" / "b.py")) == "a/b.py"
        assert call_site.shown("<stdin>") == "<stdin>"
