"""train-loader-not-shuffled."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, LoaderSetup, Rule


class TrainLoaderNotShuffled(Rule):
    """A training loop reads its data in the same order in every epoch.

    A loop over a DataLoader with torch's SequentialSampler (no `shuffle=True`) trains for two or more epochs. In the
    source the dataset must be known to be indexed by position, and nothing may have shuffled it before.

    Each batch always has the same neighbours: gradients follow the order of the files. Where the data is sorted by
    class a batch has one class only, and norms see its statistics instead of those of the data.
    """

    category = Category.SUSPICIOUS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    dataset = TensorDataset(torch.randn(32, 8), torch.randn(32, 1))
    loader = DataLoader(dataset, batch_size=8)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        for x, y in loader:  # expect: train-loader-not-shuffled
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
    """
    good = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    dataset = TensorDataset(torch.randn(32, 8), torch.randn(32, 1))
    loader = DataLoader(dataset, batch_size=8, shuffle=True)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
    """
    fine_when = (
        "The order matters: time series, recurrent models that carry their state, a curriculum.",
        "The dataset draws its samples itself, or is a subset in random order.",
        "An epoch has one batch: full-batch training, or a test that overfits one batch.",
        "The loop only evaluates or measures statistics.",
    )
    references = ("docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader",)

    def loader_setup(self, setup: LoaderSetup) -> Iterator[Finding]:
        if not setup.sequential or setup.epochs < 2 or setup.shuffled_otherwise or setup.ordered_on_purpose:
            return
        label = "no `shuffle=True`, no sampler"
        if setup.run is not None:
            label = f"{setup.sampler}: {setup.epochs} epochs, {setup.steps:,} steps"
        name = "the loader" if setup.text == "the loader" else f"`{setup.text}`"
        yield self.finding(
            at=setup.place,
            message=f"training reads {name} in the same order in every epoch",
            label=label,
            why="each batch has the same samples every time",
            help="DataLoader(..., shuffle=True) for training",
        )
