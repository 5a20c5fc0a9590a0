"""duplicated-rank-batches."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, RankBatches, Rule


class DuplicatedRankBatches(Rule):
    """All ranks train on the same batches.

    A model under DistributedDataParallel gets batches that are equal in every bit on all ranks, at two steps or more,
    and that change from step to step; in the source, the batches of a loader over data that nothing divides between the
    ranks. To see it in a run a sum over every traced batch is taken, so the rule runs only when it is named.

    Every process computes the same gradient: n processes do the work of one, at n times the cost, and an epoch goes
    n times over the data.
    """

    category = Category.NURSERY
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import distributed, nn
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader

    distributed.init_process_group("gloo")
    torch.manual_seed(0)
    loader = DataLoader(torch.randn(64, 4), batch_size=8, shuffle=True)
    model = DistributedDataParallel(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for batch in loader:
        optimizer.zero_grad()
        loss = model(batch).pow(2).mean()  # expect: duplicated-rank-batches
        loss.backward()
        optimizer.step()
    distributed.destroy_process_group()
    """
    good = """
    import torch
    from torch import distributed, nn
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader, DistributedSampler

    distributed.init_process_group("gloo")
    torch.manual_seed(0)
    data = torch.randn(64, 4)
    loader = DataLoader(data, batch_size=8, sampler=DistributedSampler(data))
    model = DistributedDataParallel(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for batch in loader:
        optimizer.zero_grad()
        loss = model(batch).pow(2).mean()
        loss.backward()
        optimizer.step()
    distributed.destroy_process_group()
    """
    fine_when = (
        "The first argument is the same for every batch: positions, a mask, a fixed latent.",
        "The ranks share one batch on purpose, as in tensor parallel training.",
    )
    references = ("docs.pytorch.org/docs/stable/data.html#torch.utils.data.distributed.DistributedSampler",)

    def rank_batches(self, batches: RankBatches) -> Iterator[Finding]:
        if batches.run is None and batches.loader:
            yield self._from_source(batches)
            return
        if batches.equal < 2 or batches.distinct < 2:
            return
        yield self.finding(
            at=batches.place,
            message=f"all {batches.world_size} ranks train `{batches.model.text}` on the same batches",
            label=f"equal at {batches.equal} of {batches.compared} steps",
            why=f"{batches.world_size} ranks compute one gradient {batches.world_size} times",
            help="give the loader `sampler=DistributedSampler(dataset)`, or split the data by rank",
            evidence={"ranks": list(range(batches.world_size))},
        )

    def _from_source(self, batches: RankBatches) -> Finding:
        name = "its loader" if batches.loader == "the loader" else f"`{batches.loader}`"
        return self.finding(
            at=batches.place,
            message=f"every rank trains `{batches.model.text}` on all of {name}: it has no DistributedSampler",
            label="the same data on every rank",
            related=(Note(batches.loader_place, "no sampler", order=1),) if batches.loader_place is not None else (),
            order=2 if batches.loader_place is not None else None,
            why="n ranks go n times over the data in each epoch, instead of once together",
            help="give the loader `sampler=DistributedSampler(dataset)`, or split the data by rank",
        )
