"""flattened-batch-dimension."""

from __future__ import annotations

from modellint.rule import Category, Finding, FoldedBatch, Iterator, Note, Rule


class FlattenedBatchDimension(Rule):
    """A reshape before a Linear mixes the samples of a batch.

    `torch.flatten(x)`, `x.flatten()` or `x.view(-1)` of a batch of activations whose result goes to a Linear, or
    `x.view(-1, K)` with a K that is neither the size of a sample nor of its last axes, where the shapes follow from
    the code.

    All samples become one row, or one sample becomes several rows (4 images of 64 x 64 become 16 rows of a model made
    for 32 x 32). Where the numbers happen to fit, nothing fails: rows and labels no longer belong together.
    """

    category = Category.SUSPICIOUS
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3, padding=1)
            self.head = nn.Linear(6 * 8 * 8, 10)

        def forward(self, x):
            x = self.conv(x)
            return self.head(x.view(-1, 6 * 8 * 8))  # expect: flattened-batch-dimension


    out = Net()(torch.randn(4, 3, 16, 16))
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3, padding=1)
            self.head = nn.Linear(6 * 16 * 16, 10)

        def forward(self, x):
            x = self.conv(x)
            return self.head(x.view(-1, 6 * 16 * 16))


    out = Net()(torch.randn(4, 3, 16, 16))
    """
    fine_when = (
        "Time steps or boxes are folded into the batch and unfolded later: `x.view(-1, features)`.",
        "There is a single sample, without a batch or in a batch of one.",
        "The flat tensor only goes to a loss or a metric.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.flatten.html",
        "docs.pytorch.org/docs/stable/generated/torch.Tensor.view.html",
    )

    def folded_batch(self, fold: FoldedBatch) -> Iterator[Finding]:
        shape = " x ".join("N" if n is None else str(n) for n in fold.before)
        if fold.width is None:
            message = f"`{fold.text}` puts all samples of the batch into one row"
            why = f"{shape} becomes a single row: `{fold.layer.text}` mixes the samples of the batch"
        else:
            sample = 1
            for length in fold.before[1:]:
                sample *= length or 1
            message = f"`{fold.text}` changes the number of samples"
            ratio = f"{sample // fold.width} rows" if sample > fold.width else f"1/{fold.width // sample} of a row"
            why = f"a sample of {shape} has {sample:,} elements: cut into rows of {fold.width:,} it becomes {ratio}"
        related = []
        if fold.layer.place is not None and fold.layer.place != fold.place:
            related.append(Note(fold.layer.place, "this layer takes each row as a sample"))
        yield self.finding(
            at=fold.place,
            message=message,
            label="the batch is no longer the first axis",
            related=related,
            why=why,
            help="keep the batch: x.flatten(1), and give the Linear the size of one sample",
        )
