"""iterable-dataset-duplicated."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, LoaderCall, Note, Rule


class IterableDatasetDuplicated(Rule):
    """Every worker of a loader reads all the samples of an iterable dataset.

    A DataLoader with two or more workers over an IterableDataset of the project whose `__iter__`, with all that it
    calls, runs over the same files or lists in each worker and never asks which worker it is.

    Each worker runs its own copy of `__iter__`: with 4 workers every sample comes 4 times in an epoch, an epoch takes
    4 times as long, and a count or a mean over a validation set is taken over 4 copies.
    """

    category = Category.CORRECTNESS
    bad = """
    from torch.utils.data import DataLoader, IterableDataset


    class Lines(IterableDataset):
        def __init__(self, path):
            self.path = path

        def __iter__(self):
            with open(self.path) as file:
                for line in file:
                    yield line.strip()


    loader = DataLoader(Lines("train.txt"), batch_size=32, num_workers=4)  # expect: iterable-dataset-duplicated
    """
    good = """
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info


    class Lines(IterableDataset):
        def __init__(self, path):
            self.path = path

        def __iter__(self):
            worker = get_worker_info()
            step, start = (1, 0) if worker is None else (worker.num_workers, worker.id)
            with open(self.path) as file:
                for number, line in enumerate(file):
                    if number % step == start:
                        yield line.strip()


    loader = DataLoader(Lines("train.txt"), batch_size=32, num_workers=4)
    """
    fine_when = (
        "`__iter__`, or a function that it calls, asks `get_worker_info()` or the rank.",
        "A wrapper, or `worker_init_fn`, gives each worker its part.",
        "The stream never ends, or its samples are drawn at random.",
        "The loader has one worker or none.",
    )
    references = ("docs.pytorch.org/docs/stable/data.html#torch.utils.data.IterableDataset",)

    def loader_call(self, call: LoaderCall) -> Iterator[Finding]:
        read, workers = call.iterable, call.workers
        if read is None or workers is None or workers < 2 or call.initialised or call.in_test_suite:
            return
        if read.divides is not False or read.endless:
            return
        yield self.finding(
            at=call.place,
            message=f"each of the {workers} workers reads all of `{read.class_name}`: every sample comes "
            f"{workers} times in an epoch",
            label=f"{workers} workers",
            order=2,
            related=(Note(read.source_place, "the same in every worker", order=1, cause=True),),
            why="every worker runs its own copy of `__iter__`, and this one never asks which worker it is",
            help="take every n-th sample in `__iter__`: `info = torch.utils.data.get_worker_info()`, then "
            "`itertools.islice(samples, info.id, None, info.num_workers)`",
        )
