"""duplicated-worker-randomness."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, RepeatedBatches, Rule


class DuplicatedWorkerRandomness(Rule):
    """The workers of a loader draw the same random numbers.

    Two or more batches of one round of a loader with several workers are equal in every bit to another batch of that
    round. In the source: the dataset's constructor makes a generator that `__getitem__` draws from, or worker_init_fn
    seeds with a constant. To see it in a run, the sum of every batch is taken, so the rule runs only when it is named.

    Each worker starts with a copy of the dataset, and so with a copy of its generator: n workers deliver the same n
    crops, masks or noise, and the augmentation is worth 1/n of what it seems.
    """

    category = Category.NURSERY
    sides = ("source", "runtime")
    bad = """
    import random

    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset


    class Crops(Dataset):
        def __init__(self, signal):
            self.signal = signal
            self.draw = random.Random(0)

        def __len__(self):
            return 32

        def __getitem__(self, index):
            start = self.draw.randrange(1000)
            return self.signal[start : start + 16]


    loader = DataLoader(Crops(torch.randn(1016)), batch_size=4, num_workers=2)
    model = nn.Linear(16, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for clean in loader:  # expect: duplicated-worker-randomness
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(clean), clean)
        loss.backward()
        optimizer.step()
    """
    good = """
    import random

    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Dataset


    class Crops(Dataset):
        def __init__(self, signal):
            self.signal = signal

        def __len__(self):
            return 32

        def __getitem__(self, index):
            start = random.randrange(1000)
            return self.signal[start : start + 16]


    loader = DataLoader(Crops(torch.randn(1016)), batch_size=4, num_workers=2)
    model = nn.Linear(16, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for clean in loader:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(clean), clean)
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The global generators are used: torch seeds `random`, torch and numpy in each worker.",
        "The generator is made per item, or seeded from the worker's id in `worker_init_fn`.",
        "The loop takes several steps on one batch, or the dataset holds the same sample several times.",
    )
    references = (
        "docs.pytorch.org/docs/stable/data.html#randomness-in-multi-process-data-loading",
        "stackoverflow.com/questions/67180955",
    )

    def repeated_batches(self, batches: RepeatedBatches) -> Iterator[Finding]:
        if batches.run is None and batches.cause:
            yield self._from_source(batches)
            return
        if batches.pairs < 2:
            return
        yield self.finding(
            at=batches.place,
            message=f"{batches.pairs} of {batches.batches} batches of `{batches.text}` repeat another one",
            label=f"{batches.workers} workers",
            why="each worker has its own copy of the dataset's random generator, in the same state",
            help="use the global generators, or seed one in worker_init_fn from get_worker_info().seed",
        )

    def _from_source(self, batches: RepeatedBatches) -> Finding:
        kept = batches.cause == "kept"
        why = (
            f"each worker has its own copy of `{batches.generator}`, in the same state: "
            f"{batches.workers} workers deliver the same draws {batches.workers} times"
            if kept
            else f"`{batches.generator}` gives all {batches.workers} workers the same draws, in every epoch"
        )
        related: tuple[Note, ...] = ()
        if batches.generator_place is not None:
            label = "copied into every worker" if kept else "the same seed for every worker"
            related = (Note(batches.generator_place, label, order=1, cause=True),)
        return self.finding(
            at=batches.place,
            message=f"the {batches.workers} workers of `{batches.text}` draw the same random numbers",
            label=f"{batches.workers} workers",
            related=related,
            order=2 if related else None,
            why=why,
            help="use the global generators, or seed one in worker_init_fn from get_worker_info().seed",
        )
