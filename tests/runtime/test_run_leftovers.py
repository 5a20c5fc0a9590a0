"""After a watch nothing of it is left: no hook, no patched function, no mode, no thread, and nothing kept alive."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LRScheduler, ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset
from trainings import TRAININGS, Training, cnn, one_thread

from modellint.runtime import hooks, torch_internals
from modellint.runtime.observer import Observer
from modellint.runtime.watch import watch

pytestmark = pytest.mark.filterwarnings("default")


def global_state() -> dict[str, Any]:
    """Everything of torch and Python that a watch could have touched."""
    return {
        "forward pre-hooks": list(module_hooks._global_forward_pre_hooks.values()),
        "forward hooks": list(module_hooks._global_forward_hooks.values()),
        "always called": dict(module_hooks._global_forward_hooks_always_called),
        "with keywords": dict(module_hooks._global_forward_hooks_with_kwargs),
        "any": bool(module_hooks._has_any_global_hook()),
        "registration": list(module_hooks._global_module_registration_hooks.values()),
        "step pre-hooks": list(optimizer_hooks._global_optimizer_pre_hooks.values()),
        "step post-hooks": list(optimizer_hooks._global_optimizer_post_hooks.values()),
        "modes": torch_internals.function_modes(),
        "backward": torch.autograd.backward,
        "schedulers": [vars(cls)["step"] for cls in (LRScheduler, ReduceLROnPlateau, CosineAnnealingWarmRestarts)],
        "iter": DataLoader.__iter__,
        "optimizer": torch.optim.Optimizer.__init__,
        "state_dict": nn.Module.state_dict,
        "filters": [entry for entry in warnings.filters if "global hooks" in str(entry[1])],
        "threads": threading.enumerate(),
    }


@pytest.fixture(autouse=True)
def _unchanged() -> Iterator[None]:
    before = global_state()
    yield
    after = global_state()
    assert after == before
    assert hooks.current() is None


@pytest.mark.parametrize("training", TRAININGS, ids=lambda training: training.__name__)
def test_after_exit(training: Training) -> None:
    with one_thread(), watch(select=["ALL"]):
        training(6)


def train(steps: int, at_step: Callable[[int], None] = lambda step: None) -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters())
    for step in range(steps):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).pow(2).mean()
        at_step(step)
        loss.backward()
        optimizer.step()
    return model


class OwnError(Exception):
    """Of the user's code."""


@pytest.mark.parametrize("kind", [OwnError, KeyboardInterrupt, SystemExit])
def test_after_an_exception(kind: type[BaseException]) -> None:
    def fail(step: int) -> None:
        if step == 3:
            raise kind

    with pytest.raises(kind), watch(select=["ALL"]):
        train(6, fail)


def test_an_error_in_a_forward_leaves_the_stack_in_order() -> None:
    class Picky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.layer(x)
            if x.shape[0] == 3:
                raise OwnError
            return x

    model = nn.Sequential(Picky(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch() as seen:
        for size in (8, 3, 8, 3, 8):
            optimizer.zero_grad()
            with suppress(OwnError):
                model(torch.randn(size, 4)).mean().backward()
                optimizer.step()
    assert not seen.failures
    (root,) = seen._session.all_roots()
    assert root.calls == 5
    assert root.steps == root.passes == 3


@pytest.mark.parametrize("where", ["forward", "backward", "function"])
def test_an_error_of_the_training_shows_no_frame_of_ours(where: str) -> None:
    class Fail(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            raise OwnError

    layer = nn.Linear(4, 1)

    def train() -> None:
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            output = layer(torch.randn(2, 3 if where == "forward" else 4))
            loss = Fail.apply(output) if where == "backward" else output
            (loss @ torch.randn(5, 5) if where == "function" else loss).sum().backward()
            optimizer.step()

    with pytest.raises((OwnError, RuntimeError)) as caught, watch(select=["ALL"]):
        train()
    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert not [file for file in files if "modellint/runtime" in file]


def test_ctrl_c() -> None:
    def interrupt(step: int) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    with pytest.raises(KeyboardInterrupt), watch():
        train(6, interrupt)


def test_twice_in_a_row_and_closed_twice() -> None:
    for _ in range(2):
        with watch() as seen:
            model = train(4)
        seen.close()
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
        assert not any(p._post_accumulate_grad_hooks for p in model.parameters())


def test_two_watches_share_one_installation() -> None:
    with watch() as outer:
        first = hooks.current()
        with watch() as inner:
            assert hooks.current() is first
            train(3)
        assert hooks.current() is first
        train(3)
    assert outer.closed
    assert inner.closed
    assert outer._session.steps == 6


def test_watching_the_same_model_again_closes_the_older_watch() -> None:
    model = nn.Linear(2, 1)
    older = watch(model)
    newer = watch(model)
    assert older.closed
    assert not newer.closed
    newer.close()


def test_steps_removes_everything_early() -> None:
    during: list[bool] = []
    seen = watch(steps=3)
    train(6, lambda step: during.append(hooks.current() is not None))
    assert during == [True] * 3 + [False] * 3
    assert seen.closed


def test_nothing_is_kept_alive() -> None:
    """Every tensor that dies in an unwatched training dies in a watched one, while the watch is open."""
    gone: list[weakref.ref[Any]] = []

    def run() -> None:
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 1))
        optimizer = torch.optim.AdamW(model.parameters())
        criterion = nn.BCEWithLogitsLoss()
        for step in range(8):
            x, y = torch.randn(8, 4), torch.rand(8, 1)
            optimizer.zero_grad()
            output = model(x)
            loss = criterion(output, y)
            loss.backward()
            optimizer.step()
            gone.extend(weakref.ref(value) for value in (x, y, output, loss))
            gone.extend(weakref.ref(p.grad) for p in model.parameters())
            if step % 3 == 2:
                model.eval()
                with torch.no_grad():
                    score = model(x)
                gone.append(weakref.ref(score))
                model.train()
        gone.extend(weakref.ref(value) for value in (model, optimizer, criterion, *model.parameters()))

    with watch(select=["ALL"]) as seen:
        run()
        gc.collect()
        alive = [ref() for ref in gone if ref() is not None]
        assert not alive, [type(value) for value in alive]
    assert seen._session.steps == 8


def test_output_dies_without_a_collection() -> None:
    """No reference cycle through our hooks: what dies by its count alone still does."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    refs = []
    gc.collect()
    gc.disable()
    try:
        with watch(select=["ALL"]):
            for _ in range(5):
                optimizer.zero_grad()
                output = model(torch.randn(8, 4))
                loss = output.pow(2).mean()
                loss.backward()
                optimizer.step()
                refs += [weakref.ref(output), weakref.ref(loss)]
                del output, loss
                assert not [ref for ref in refs if ref() is not None]
            with torch.no_grad():
                score = model(torch.randn(8, 4))
                refs.append(weakref.ref(score))
                del score
            assert not [ref for ref in refs if ref() is not None]
    finally:
        gc.enable()


def test_a_model_can_be_copied_and_saved_while_it_is_watched() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters())
    copies = []
    with watch(select=["ALL"]):
        for _ in range(4):
            optimizer.zero_grad()
            model(torch.randn(8, 4)).mean().backward()
            pickle.loads(pickle.dumps(model))
            copies.append(copy.deepcopy(model))
            optimizer.step()
    for one in copies:
        assert not any(p._post_accumulate_grad_hooks for p in one.parameters())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in one.modules())


class Raising(Observer):
    def module_begins(self, call: Any, module: nn.Module, args: Any) -> None:
        if call.root_call.number == 3:
            raise ValueError("ours")


def test_an_error_of_ours_detaches_and_is_one_failure() -> None:
    before = global_state()
    with watch() as seen:
        installation = hooks.current()
        assert installation is not None
        installation.add([Raising(installation.session)])
        train(6)
        assert global_state() == before
    (failure,) = seen.failures
    assert failure.error == "ValueError"


def test_a_patch_that_somebody_wrapped_stays_as_a_pass_through() -> None:
    original = torch.autograd.backward
    with watch() as seen:
        ours = torch.autograd.backward

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return ours(*args, **kwargs)

        torch.autograd.backward = wrapped
        train(2)
    try:
        assert torch.autograd.backward is wrapped
        assert any("backward" in gap.subject for gap in seen.out_of_sight)
        train(2)  # still trains
    finally:
        torch.autograd.backward = original


def test_a_loader_worker_records_nothing() -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(
        TensorDataset(torch.randn(12, 3)), batch_size=4, num_workers=1, multiprocessing_context="fork", timeout=60
    )
    with watch(select=["ALL"]) as seen:
        for _ in range(2):
            for (x,) in loader:
                optimizer.zero_grad()
                model(x).mean().backward()
                optimizer.step()
    assert not seen.failures
    assert seen._session.steps == 6


def test_forwards_on_other_threads_are_out_of_sight() -> None:
    model = nn.Linear(3, 1)
    with watch() as seen:
        worker = threading.Thread(target=lambda: model(torch.randn(2, 3)))
        worker.start()
        worker.join()
    assert not seen._session.roots
    assert any("thread" in gap.subject for gap in seen.out_of_sight)


def test_a_device_context_around_the_training() -> None:
    with torch.device("cpu"), watch(select=["ALL"]) as seen:
        train(4)
    with watch(select=["ALL"]):
        with torch.device("cpu"):
            train(3)
        train(3)
        with torch.device("meta"):
            assert torch.empty(1).device.type == "meta"
        assert torch.empty(1).device.type == "cpu"
    assert not seen.failures


def test_a_default_device() -> None:
    torch.set_default_device("cpu")
    try:
        with watch(select=["ALL"]) as seen:
            train(4)
            torch.set_default_device("meta")
            assert torch.empty(1).device.type == "meta"
            torch.set_default_device("cpu")
            train(4)
    finally:
        torch.set_default_device(None)
    assert not seen.failures


def test_memory_is_that_of_the_training() -> None:
    """Live tensors at the peak of a step are the same with and without a watch."""

    def live() -> int:
        return sum(isinstance(value, torch.Tensor) for value in gc.get_objects())

    counts: dict[bool, list[int]] = {False: [], True: []}
    for watched in (False, True):
        gc.collect()
        before = live()
        note = counts[watched]
        if watched:
            with watch(select=["ALL"]):
                train(5, lambda step: note.append(live() - before))  # noqa: B023
        else:
            train(5, lambda step: note.append(live() - before))  # noqa: B023
    assert counts[True] == counts[False]


def test_cnn_is_watched_at_all() -> None:
    """The other tests would pass if nothing were recorded."""
    with one_thread(), watch() as seen:
        cnn(12)
    session = seen._session
    (root,) = session.trained_roots()
    assert session.steps == 12
    assert root.passes >= 3
    assert root.calls >= 5
