"""missing-set-epoch."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, LoaderSetup, Rule


class MissingSetEpoch(Rule):
    """A DistributedSampler is never told the epoch.

    A loop over a loader with a shuffling DistributedSampler trains for two or more epochs, and `sampler.epoch` is the
    same at the start of each.

    The sampler draws its order from its seed and its epoch: without `set_epoch` every epoch has the same batches in the
    same order.
    """

    category = Category.REPRODUCIBILITY
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

    dataset = TensorDataset(torch.randn(32, 8), torch.randn(32, 1))
    sampler = DistributedSampler(dataset, num_replicas=1, rank=0, shuffle=True)
    loader = DataLoader(dataset, batch_size=8, sampler=sampler)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        for x, y in loader:  # expect: missing-set-epoch
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
    """
    good = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

    dataset = TensorDataset(torch.randn(32, 8), torch.randn(32, 1))
    sampler = DistributedSampler(dataset, num_replicas=1, rank=0, shuffle=True)
    loader = DataLoader(dataset, batch_size=8, sampler=sampler)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
    """
    fine_when = (
        "The sampler does not shuffle, or there is one epoch.",
        "The sampler has an order of its own (a subclass with its own `__iter__`).",
        "A framework tells it the epoch; the run sees that it changes.",
    )
    references = (
        "docs.pytorch.org/docs/stable/data.html#torch.utils.data.distributed.DistributedSampler",
        "github.com/pytorch/pytorch/issues/31771",
    )

    def loader_setup(self, setup: LoaderSetup) -> Iterator[Finding]:
        epochs = setup.sampler_epochs
        if not setup.distributed_shuffle or len(epochs) < 2 or len(set(epochs)) > 1:
            return
        name = "the loader" if setup.text == "the loader" else f"`{setup.text}`"
        label = "a shuffling DistributedSampler"
        if setup.run is not None:
            label = f"the sampler's epoch was {epochs[0]} in all {len(epochs)} epochs"
        yield self.finding(
            at=setup.place,
            message=f"{name} has the same order in every epoch: `set_epoch` is never called",
            label=label,
            why="DistributedSampler draws its order from seed + epoch",
            help=f"call {setup.sampler_text or 'sampler'}.set_epoch({setup.epoch_variable or 'epoch'}) "
            "at the start of each epoch, before the loop over the loader",
        )
