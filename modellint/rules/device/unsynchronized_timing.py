"""unsynchronized-timing."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, Rule, TimedForward


class UnsynchronizedTiming(Rule):
    """The time of a forward on a GPU is taken without waiting for it.

    Two readings of the wall clock around the forward of a model that was moved to an accelerator, with nothing between
    them that waits: no synchronize(), no `.item()`, no `.cpu()`, no print of a result, no call that is not followed.

    A call on a GPU returns as soon as its kernels are queued: what is measured is the time to queue them, often a
    tenth of the time they take, and the rest is charged to whatever waits next.
    """

    category = Category.SUSPICIOUS
    bad = """
    import time

    import torch
    from torch import nn

    model = nn.Linear(512, 512).to("cuda" if torch.cuda.is_available() else "cpu").eval()
    x = torch.randn(64, 512, device="cuda" if torch.cuda.is_available() else "cpu")
    with torch.no_grad():
        start = time.perf_counter()
        for _ in range(100):
            y = model(x)
        seconds = time.perf_counter() - start  # expect: unsynchronized-timing
    """
    good = """
    import time

    import torch
    from torch import nn

    model = nn.Linear(512, 512).to("cuda" if torch.cuda.is_available() else "cpu").eval()
    x = torch.randn(64, 512, device="cuda" if torch.cuda.is_available() else "cpu")
    with torch.no_grad():
        start = time.perf_counter()
        for _ in range(100):
            y = model(x)
        torch.accelerator.synchronize()
        seconds = time.perf_counter() - start
    """
    fine_when = (
        "Something between the two readings waits for the result, such as `.item()`.",
        "A whole epoch is timed for a progress line.",
        "The model stays on the CPU.",
    )
    references = (
        "docs.pytorch.org/docs/stable/notes/cuda.html#asynchronous-execution",
        "docs.pytorch.org/tutorials/recipes/recipes/benchmark.html",
    )

    def timed_forward(self, timed: TimedForward) -> Iterator[Finding]:
        if timed.in_test_suite:
            return
        yield self.finding(
            at=timed.place,
            message=f"the time of `{timed.forward}` on `{timed.device}` is taken before it has finished",
            label="the clock is read here, and nothing waited for the device",
            order=3,
            related=(
                Note(timed.start, "the clock is read first here", 1),
                Note(timed.forward_place, f"`{timed.forward}` only queues its work on `{timed.device}`", 2),
            ),
            why="a call on an accelerator returns when its kernels are queued, not when they are done",
            help="call torch.accelerator.synchronize() (torch.cuda.synchronize()) before each reading of the clock",
        )
