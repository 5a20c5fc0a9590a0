"""ddp-bypassed."""

from __future__ import annotations

from modellint.rule import Category, DistributedSetup, Finding, Iterator, Rule


class DdpBypassed(Rule):
    """A model is trained past its DistributedDataParallel wrapper.

    A backward reaches parameters of a wrapped model although the wrapper was not called since the last backward,
    outside of `no_sync`, and the weights of the ranks differ afterwards. In the source: the inner model is called,
    backward and step follow, and neither the wrapper nor a collective call is part of that backward.

    The wrapper averages gradients only for a backward that its own forward has prepared. Here each rank steps with the
    gradients of its own batch, so the copies drift apart and each learns from a part of the data.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import distributed, nn
    from torch.nn.parallel import DistributedDataParallel

    distributed.init_process_group("gloo")
    model = DistributedDataParallel(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(distributed.get_rank())
    for _ in range(6):
        optimizer.zero_grad()
        loss = model.module(torch.randn(8, 4)).pow(2).mean()  # expect: ddp-bypassed
        loss.backward()
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
    torch.manual_seed(distributed.get_rank())
    for _ in range(6):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).pow(2).mean()
        loss.backward()
        optimizer.step()
    distributed.destroy_process_group()
    """
    fine_when = (
        "The inner module is called for validation, or its output joins a loss that the wrapper's output is part of.",
        "The gradients are averaged by hand after the backward.",
        "The backward stands under `no_sync`, before a last one that goes through the wrapper.",
    )
    references = (
        "docs.pytorch.org/docs/stable/notes/ddp.html",
        "github.com/kohya-ss/sd-scripts/pull/924",
    )

    def distributed_setup(self, setup: DistributedSetup) -> Iterator[Finding]:
        bypass = setup.bypass
        if bypass is None or not setup.complete or setup.wrapper != "DistributedDataParallel":
            return
        after = [step for step in setup.differing() if step > bypass.first_step]
        if setup.run is not None and not after:
            return
        name = bypass.text or setup.model.text
        why = "each rank steps with the gradients of its own batch: the copies drift apart"
        if setup.run is not None:
            steps = f"{after[0]} step{'s' if after[0] > 1 else ''}"
            why = f"the weights of the {len(setup.ranks)} ranks differ after {steps}"
        yield self.finding(
            at=bypass.place,
            message=f"`{name}` is trained past its DistributedDataParallel wrapper: its gradients are not averaged",
            label="the wrapper does not see this forward",
            why=why,
            help="call the wrapper itself; what needs the inner module belongs into its forward",
            evidence={"ranks": [record.rank for record in setup.ranks], "backwards": bypass.times}
            if setup.run is not None
            else {},
            group=("wrapper", setup.wrapper_key),
        )
