"""Loaders and kept state dicts on a live run."""

from __future__ import annotations

import copy
import io
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
)
from watching import check, watched

RULES = ["state-dict-alias", "missing-set-epoch", "train-loader-not-shuffled"]
BY_NAME = ["duplicated-worker-randomness"]


def data(count: int = 16) -> TensorDataset:
    return TensorDataset(torch.randn(count, 4), torch.randn(count, 1))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor | None = None) -> None:
    optimizer.zero_grad()
    model(torch.randn(8, 4) if x is None else x).pow(2).mean().backward()
    optimizer.step()


def made() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    return model, torch.optim.SGD(model.parameters(), lr=0.05)


def distributed(dataset: Any, **options: Any) -> DistributedSampler[Any]:
    return DistributedSampler(dataset, num_replicas=1, rank=0, **options)


# missing-set-epoch


def epoch_never_told() -> None:
    dataset = data()
    loader = DataLoader(dataset, batch_size=4, sampler=distributed(dataset, shuffle=True))
    model, optimizer = made()
    for _ in range(2):
        for x, _y in loader:  # expect: missing-set-epoch "`loader`"
            step(model, optimizer, x)


def epoch_never_told_with_an_evaluation_between() -> None:
    dataset = data()
    loader = DataLoader(dataset, batch_size=4, sampler=distributed(dataset))
    held_out = DataLoader(dataset, batch_size=4, sampler=distributed(dataset))
    model, optimizer = made()

    for _ in range(3):
        for number, (x, _y) in enumerate(loader):  # expect: missing-set-epoch
            model.train()
            step(model, optimizer, x)
            if number == 1:
                model.eval()
                with torch.no_grad():
                    for x, _y in held_out:
                        model(x)


def new_loader_in_every_epoch() -> None:
    dataset = data()
    model, optimizer = made()
    for _ in range(3):
        loader = DataLoader(dataset, batch_size=4, sampler=distributed(dataset))
        for x, _y in loader:  # expect: missing-set-epoch
            step(model, optimizer, x)


def epoch_told() -> None:
    dataset = data()
    sampler = distributed(dataset)
    loader = DataLoader(dataset, batch_size=4, sampler=sampler)
    model, optimizer = made()
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for x, _y in loader:
            step(model, optimizer, x)


def no_shuffle_or_one_epoch() -> None:
    dataset = data()
    model, optimizer = made()
    ordered = DataLoader(dataset, batch_size=4, sampler=distributed(dataset, shuffle=False))
    for _ in range(3):
        for x, _y in ordered:
            step(model, optimizer, x)
    for x, _y in DataLoader(dataset, batch_size=4, sampler=distributed(dataset)):
        step(model, optimizer, x)


def sampler_that_seeds_itself() -> None:
    class Reseeding(DistributedSampler):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[Any]:
            return iter(torch.randperm(len(self.dataset)).tolist())  # type: ignore[arg-type]

    dataset = data()
    loader = DataLoader(dataset, batch_size=4, sampler=Reseeding(dataset, num_replicas=1, rank=0))
    model, optimizer = made()
    for _ in range(3):
        for x, _y in loader:
            step(model, optimizer, x)


def only_evaluated() -> None:
    dataset = data()
    model, optimizer = made()
    for _ in range(3):
        for _i in range(2):
            step(model, optimizer)
        with torch.no_grad():
            for x, _y in DataLoader(dataset, batch_size=4, sampler=distributed(dataset)):
                model(x)


# train-loader-not-shuffled


def not_shuffled() -> None:
    loader = DataLoader(data(), batch_size=4)
    model, optimizer = made()
    for _ in range(2):
        for x, _y in loader:  # expect: train-loader-not-shuffled "2 epochs, 8 steps"
            step(model, optimizer, x)


def shuffled_or_evaluated() -> None:
    model, optimizer = made()
    train_loader = DataLoader(data(), batch_size=4, shuffle=True)
    test_loader = DataLoader(data(), batch_size=4)
    for _ in range(2):
        model.train()
        for x, _y in train_loader:
            step(model, optimizer, x)
        model.eval()
        with torch.no_grad():
            for x, _y in test_loader:
                model(x)


def one_epoch_only() -> None:
    model, optimizer = made()
    for x, _y in DataLoader(data(), batch_size=4):
        step(model, optimizer, x)


def one_batch() -> None:
    model, optimizer = made()
    loader = DataLoader(data(), batch_size=16)
    for _ in range(4):
        for x, _y in loader:
            step(model, optimizer, x)


def samplers_of_one_s_own() -> None:
    class Backwards:
        def __iter__(self) -> Iterator[int]:
            return iter(range(15, -1, -1))

        def __len__(self) -> int:
            return 16

    class Stream(IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[torch.Tensor]:
            return iter(torch.randn(16, 4))

    model, optimizer = made()
    dataset = data()
    loaders = [
        DataLoader(dataset, batch_size=4, sampler=Backwards()),  # type: ignore[arg-type]
        DataLoader(dataset, batch_sampler=BatchSampler(RandomSampler(dataset), 4, False)),
    ]
    for _ in range(2):
        for loader in loaders:
            for x, _y in loader:
                step(model, optimizer, x)
        for x in DataLoader(Stream(), batch_size=4):
            step(model, optimizer, x)


def shuffled_by_the_dataset() -> None:
    class Own(Dataset):  # type: ignore[type-arg]
        def __init__(self) -> None:
            self.rows = torch.randn(16, 4)
            self.order = list(range(16))

        def reshuffle(self) -> None:
            random.shuffle(self.order)

        def __len__(self) -> int:
            return 16

        def __getitem__(self, index: int) -> torch.Tensor:
            return self.rows[self.order[index]]

    own = Own()
    model, optimizer = made()
    state = random.getstate()
    for _ in range(2):
        own.reshuffle()
        for x in DataLoader(own, batch_size=4):
            step(model, optimizer, x)
    random.setstate(state)


def subset_in_random_order() -> None:
    model, optimizer = made()
    loader = DataLoader(Subset(data(), [3, 1, 15, 2, 8, 9, 4, 5]), batch_size=4)
    for _ in range(2):
        for x, _y in loader:
            step(model, optimizer, x)


def recurrent_model() -> None:
    class Series(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(4, 4, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.rnn(x.unsqueeze(1))[0]
            return out

    model = Series()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    loader = DataLoader(data(), batch_size=4)
    for _ in range(2):
        for x, _y in loader:
            step(model, optimizer, x)


def statistics_only() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    loader = DataLoader(data(), batch_size=4)
    for _ in range(2):
        with torch.no_grad():
            for x, _y in loader:
                model(x)


# state-dict-alias


def kept() -> None:
    model, optimizer = made()
    best: Any = None
    for epoch in range(5):
        step(model, optimizer)
        if epoch == 1:
            best = model.state_dict()  # expect: state-dict-alias "3 later steps"
    model.load_state_dict(best)


def kept_in_a_shallow_copy() -> None:
    model, optimizer = made()
    best: Any = None
    for epoch in range(5):
        step(model, optimizer)
        if epoch == 1:
            best = model.state_dict().copy()  # expect: state-dict-alias
    model.load_state_dict(best)


def kept_in_a_comprehension() -> None:
    model, optimizer = made()
    best: Any = None
    for epoch in range(5):
        step(model, optimizer)
        if epoch == 1:
            best = {k: v.cpu() for k, v in model.state_dict().items()}  # expect: state-dict-alias
    model.load_state_dict(best)


def kept_as_an_attribute_by_a_method() -> None:
    class Trainer:
        best: Any = None

        def __init__(self) -> None:
            self.model, self.optimizer = made()

        def remember(self) -> None:
            self.best = self.model.state_dict()  # expect: state-dict-alias "`self.model.state_dict()`"

        def fit(self) -> None:
            for epoch in range(5):
                step(self.model, self.optimizer)
                if epoch == 1:
                    self.remember()

    trainer = Trainer()
    trainer.fit()
    trainer.model.load_state_dict(trainer.best)


def kept_before_training() -> None:
    model, optimizer = made()
    initial = model.state_dict()  # expect: state-dict-alias
    for _ in range(4):
        step(model, optimizer)
    model.load_state_dict(initial)


def deep_copied_or_cloned() -> None:
    model, optimizer = made()
    first = copy.deepcopy(model.state_dict())
    second = {k: v.clone() for k, v in model.state_dict().items()}
    third = {}
    for k, v in model.state_dict().items():
        third[k] = v.clone()
    for _ in range(4):
        step(model, optimizer)
    for one in (first, second, third):
        model.load_state_dict(one)


def saved_at_once() -> None:
    model, optimizer = made()
    for epoch in range(6):
        step(model, optimizer)
        if epoch == 2:
            torch.save(model.state_dict(), io.BytesIO())
            state = model.state_dict()
            torch.save(state, io.BytesIO())
            checkpoint = {"model": model.state_dict(), "epoch": epoch}
            torch.save(checkpoint, io.BytesIO())


def saved_after_every_epoch() -> None:
    model, optimizer = made()
    for _ in range(4):
        for _i in range(3):
            step(model, optimizer)
        state = {"model": model.state_dict()}
        file = io.BytesIO()
        file.seek(0)
        torch.save(state, file)


def loaded_elsewhere() -> None:
    model, optimizer = made()
    target, _ = made()
    for _ in range(4):
        step(model, optimizer)
        target.load_state_dict(model.state_dict())
        state = model.state_dict()
        target.load_state_dict(state)


def only_looked_at() -> None:
    model, optimizer = made()
    state = model.state_dict()
    names = [len(name) for name in state]
    for _ in range(4):
        step(model, optimizer)
    assert names
    assert len(state) == len(names)


def no_training_afterwards() -> None:
    model, optimizer = made()
    for _ in range(4):
        step(model, optimizer)
    best = model.state_dict()
    with torch.no_grad():
        model(torch.randn(2, 4))
    model.load_state_dict(best)


def forgotten_before_the_end() -> None:
    model, optimizer = made()
    kept: dict[str, Any] = {"state": model.state_dict()}
    for epoch in range(6):
        step(model, optimizer)
        if epoch == 3:
            kept.clear()


FOUND = [
    epoch_never_told, epoch_never_told_with_an_evaluation_between, new_loader_in_every_epoch, not_shuffled, kept,
    kept_in_a_shallow_copy, kept_in_a_comprehension, kept_as_an_attribute_by_a_method, kept_before_training,
]  # fmt: skip

SILENT = [
    epoch_told, no_shuffle_or_one_epoch, sampler_that_seeds_itself, only_evaluated, shuffled_or_evaluated,
    one_epoch_only, one_batch, samplers_of_one_s_own, shuffled_by_the_dataset, subset_in_random_order, recurrent_model,
    statistics_only, deep_copied_or_cloned, saved_at_once, saved_after_every_epoch, loaded_elsewhere, only_looked_at,
    no_training_afterwards, forgotten_before_the_end,
]  # fmt: skip


@pytest.mark.parametrize("program", FOUND)
def test_found(program: Callable[[], None]) -> None:
    check(program, select=RULES)


@pytest.mark.parametrize("program", SILENT)
def test_silent(program: Callable[[], None]) -> None:
    assert not watched(program, select=RULES).findings


# duplicated-worker-randomness


class Crops(Dataset):  # type: ignore[type-arg]
    def __init__(self, draw: Any) -> None:
        self.signal = torch.arange(2000.0)
        self.draw = draw

    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> torch.Tensor:
        start = self.draw.randrange(1900)
        return self.signal[start : start + 16]


def fit(loader: Any, repeat: int = 1) -> None:
    model = nn.Linear(16, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    ones = torch.ones(4, 16)
    for clean in loader:  # expect: duplicated-worker-randomness "2 workers"
        for _ in range(repeat):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(clean + torch.randn_like(clean)), clean)
            (loss + nn.functional.l1_loss(model(clean), ones)).backward()
            optimizer.step()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_workers_with_copies_of_one_generator() -> None:
    check(
        lambda: fit(DataLoader(Crops(random.Random(0)), batch_size=4, num_workers=2, timeout=60)), [fit], select=BY_NAME
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("draw", "options", "repeat"),
    [
        (random, {"num_workers": 2}, 1),
        (random.Random(0), {"num_workers": 0}, 1),
        (random.Random(0), {"num_workers": 1}, 1),
        (random, {"num_workers": 2}, 2),
    ],
)
def test_workers_with_draws_of_their_own(draw: Any, options: dict[str, int], repeat: int) -> None:
    seen = watched(lambda: fit(DataLoader(Crops(draw), batch_size=4, **options), repeat), select=BY_NAME)
    assert not seen.findings


def test_batches_are_read_only_by_name() -> None:
    from modellint.runtime.observers import make_observers
    from modellint.runtime.repeated_batches import RepeatedBatchesObserver
    from modellint.runtime.session import Session
    from modellint.runtime.verdict import selected_rules

    for select, there in ((None, False), (BY_NAME, True)):
        observers = make_observers(Session(), selected_rules(select, ()))
        assert any(isinstance(observer, RepeatedBatchesObserver) for observer in observers) is there
