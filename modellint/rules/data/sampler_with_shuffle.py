"""sampler-with-shuffle."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, LoaderCall, Note, Rule, UnusedSampler


class SamplerWithShuffle(Rule):
    """A sampler and another argument both say in which order a loader reads.

    A DataLoader call with `sampler=` and `shuffle=True`, one with `batch_sampler=` and a `batch_size`, `shuffle`,
    `sampler` or `drop_last` besides, or a sampler that is built and that no code reads, beside a loader without one.

    torch raises ValueError for the first two, on the path that reaches them: often only the distributed one. A sampler
    that nothing reads does nothing: the classes stay unbalanced, or each of n ranks reads all the data.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

    dataset = TensorDataset(torch.randn(32, 8), torch.randint(0, 2, (32,)))
    sampler = WeightedRandomSampler(torch.ones(32), 32)
    loader = DataLoader(dataset, batch_size=8, shuffle=True, sampler=sampler)  # expect: sampler-with-shuffle
    """
    good = """
    import torch
    from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

    dataset = TensorDataset(torch.randn(32, 8), torch.randint(0, 2, (32,)))
    sampler = WeightedRandomSampler(torch.ones(32), 32)
    loader = DataLoader(dataset, batch_size=8, sampler=sampler)
    """
    fine_when = (
        "`shuffle=(sampler is None)`, or a sampler that may be None.",
        "The loader is a class of the project's own.",
    )
    references = ("docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader",)

    def loader_call(self, call: LoaderCall) -> Iterator[Finding]:
        if call.in_test_suite:
            return
        given = call.batch_sampler or call.sampler
        excluded: list[str] = []
        if call.shuffle and given:
            excluded.append("shuffle")
        if call.batch_sampler:
            excluded.extend(name for name, _ in call.others)
            if call.sampler:
                excluded.append("sampler")
        if not excluded:
            return
        kind = "batch_sampler" if call.batch_sampler else "sampler"
        names = " and ".join(f"`{name}`" for name in excluded)
        at = call.shuffle_place if excluded == ["shuffle"] and call.shuffle_place is not None else call.place
        yield self.finding(
            at=call.place,
            message=f"`{call.text}` is given {names} beside `{kind}={given}`: they exclude each other",
            label="ValueError when this line is reached",
            related=(Note(at, f"`{kind}` already says the order"),) if at != call.place else (),
            why=f"a loader with a {kind} takes its order from it, and torch refuses to be told another one",
            help=f"leave out {names}" + (", or draw in random order in the sampler" if "shuffle" in excluded else ""),
        )

    def unused_sampler(self, sampler: UnusedSampler) -> Iterator[Finding]:
        yield self.finding(
            at=sampler.place,
            message=f"`{sampler.name}` is built and given to no loader",
            label=f"this {sampler.kind} does nothing",
            related=(Note(sampler.loader_place, "reads without a sampler"),),
            why="a sampler has an effect only as the `sampler` argument of a DataLoader",
            help=f"DataLoader(..., sampler={sampler.name}), without `shuffle`",
        )
