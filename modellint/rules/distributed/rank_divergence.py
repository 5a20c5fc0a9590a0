"""rank-divergence."""

from __future__ import annotations

from modellint.rule import Category, DistributedSetup, Finding, Iterator, Rule


class RankDivergence(Rule):
    """The copies of a DistributedDataParallel model have different weights.

    A sum over the bits of all weights is taken on every rank after the same numbers of steps; at one of them the sums
    differ. It says that something is wrong, not what, so the rule runs only when it is named.

    The averaged gradients are then computed at different weights and applied to different weights: the training is that
    of no model, and the saved file is the copy of one rank.
    """

    category = Category.NURSERY
    sides = ("runtime",)
    bad = """
    import torch
    from torch import distributed, nn
    from torch.nn.parallel import DistributedDataParallel

    distributed.init_process_group("gloo")
    model = DistributedDataParallel(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(6):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).pow(2).mean()  # expect: rank-divergence
        loss.backward()
        if distributed.get_rank() == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()
    distributed.destroy_process_group()
    """
    good = """
    import torch
    from torch import distributed, nn
    from torch.nn.parallel import DistributedDataParallel

    distributed.init_process_group("gloo")
    model = DistributedDataParallel(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(6):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).pow(2).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()
    distributed.destroy_process_group()
    """
    fine_when = (
        "Some parameters belong to one rank (experts): name them in `_ddp_params_and_buffers_to_ignore`.",
        "A communication hook averages every few steps (post-local SGD); such models are not judged.",
        "The model is sharded (FSDP, tensor or pipeline parallel); such models are not judged.",
    )
    references = (
        "docs.pytorch.org/docs/stable/notes/ddp.html",
        "github.com/pytorch/pytorch/issues/104336",
    )

    def distributed_setup(self, setup: DistributedSetup) -> Iterator[Finding]:
        differing = setup.differing()
        if setup.run is None or not setup.complete or setup.wrapper != "DistributedDataParallel" or not differing:
            return
        compared = len(setup.compared())
        after = "before the first step"
        if differing[0]:
            after = f"after {differing[0]} step{'s' if differing[0] > 1 else ''}"
        yield self.finding(
            at=setup.place,
            message=f"the copies of `{setup.model.text}` on {len(setup.ranks)} ranks have different weights",
            label=f"first seen {after}",
            why=f"different at {len(differing)} of {compared} comparisons, although every copy gets the same gradients",
            help="look for what only some ranks do: clipping, loading, freezing, a step of their own; "
            "move and convert a model before it is wrapped",
            evidence={"ranks": [record.rank for record in setup.ranks]},
        )
