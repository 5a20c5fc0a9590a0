"""gradients-not-averaged."""

from __future__ import annotations

from modellint.rule import Category, DistributedSetup, Finding, Iterator, Rule


class GradientsNotAveraged(Rule):
    """Several processes train a model, and each keeps its gradients to itself.

    A process group of two or more whose ranks start with the same weights, train them without a wrapper that averages
    gradients, and have different weights at every later step that was compared, two or more. In the source: a group is
    initialised, and neither a wrapper nor a collective call follows.

    Each rank trains a model of its own on its share of the data: the other processes only use up power, and which of
    the models is saved is chance.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import distributed, nn

    distributed.init_process_group("gloo")
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(distributed.get_rank())
    for _ in range(6):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).pow(2).mean()  # expect: gradients-not-averaged
        loss.backward()
        optimizer.step()
    distributed.destroy_process_group()
    """
    good = """
    import torch
    from torch import distributed, nn
    from torch.nn.parallel import DistributedDataParallel

    distributed.init_process_group("gloo")
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(distributed.get_rank())
    for _ in range(6):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).pow(2).mean()
        loss.backward()
        optimizer.step()
    distributed.destroy_process_group()
    """
    fine_when = (
        "The gradients are averaged by hand, with `all_reduce` between backward and step.",
        "The weights are averaged every few steps or once an epoch (local SGD, federated learning).",
        "The ranks start with different weights: an ensemble, a search, or the parts of one large model.",
        "A framework averages or shards by itself: FSDP, DeepSpeed, Horovod, Megatron.",
    )
    references = (
        "docs.pytorch.org/tutorials/intermediate/ddp_tutorial.html",
        "docs.pytorch.org/docs/stable/notes/ddp.html",
    )

    def distributed_setup(self, setup: DistributedSetup) -> Iterator[Finding]:
        if setup.run is None and setup.alone and setup.complete:
            yield self._from_source(setup)
            return
        compared, differing = setup.compared(), setup.differing()
        if setup.run is None or not setup.complete or setup.wrapper or len(differing) < 2 or compared[0][1]:
            return
        if any(step > differing[0] and not differs for step, differs in compared):
            return  # equal again: averaged every few steps
        name = setup.model.text
        steps = f"{differing[0]} step{'s' if differing[0] > 1 else ''}"
        yield self.finding(
            at=setup.place,
            message=f"{len(setup.ranks)} ranks train `{name}`, and nothing averages their gradients",
            label="no DistributedDataParallel around it",
            why=f"the weights of all ranks were equal at first and different after {steps} "
            f"and at each of the {len(differing)} comparisons from then on",
            help=f"wrap it before training: `DistributedDataParallel({name})`, "
            "or average every gradient with all_reduce between backward and step",
            evidence={"ranks": [record.rank for record in setup.ranks]},
        )

    def _from_source(self, setup: DistributedSetup) -> Finding:
        name = setup.model.text
        return self.finding(
            at=setup.place,
            message=f"every rank trains `{name}` by itself: nothing averages the gradients",
            label="no DistributedDataParallel around it",
            why="a process group is initialised, but no wrapper and no collective call ties the copies together: "
            "n ranks train n different models",
            help=f"wrap it before training: `DistributedDataParallel({name})`, "
            "or average every gradient with all_reduce between backward and step",
        )
