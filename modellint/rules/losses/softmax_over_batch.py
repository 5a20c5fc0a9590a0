"""softmax-over-batch."""

from __future__ import annotations

from modellint.facts.loss_use import OutputKind
from modellint.rule import Category, Finding, Iterator, LossUse, Rule
from modellint.rules.losses._path import loss_path


class SoftmaxOverBatch(Rule):
    """A softmax runs over the batch, so the samples of a batch compete with each other.

    A softmax or log-softmax with dim 0 whose output has two axes or more and reaches a classification loss with the
    batch first.

    The probabilities of each class add up to 1 over the batch instead of those of each sample over the classes. The
    prediction for one sample depends on which others are in its batch, and a batch of one gets probability 1.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(8, 5), nn.LogSoftmax(dim=0))
    criterion = nn.NLLLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(16, 8), torch.randint(0, 5, (16,))
        optimizer.zero_grad()
        loss = criterion(model(x), y)  # expect: softmax-over-batch
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(8, 5), nn.LogSoftmax(dim=1))
    criterion = nn.NLLLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(16, 8), torch.randint(0, 5, (16,))
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The softmax runs over a vector: one sample without a batch axis, mixture weights.",
        "The classes or the sequence come first and the tensor is transposed before the loss.",
        "Contrastive losses normalise a square matrix of similarities both ways.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.Softmax.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.LogSoftmax.html",
    )

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        if use.input not in (OutputKind.DISTRIBUTION, OutputKind.LOG_PROBABILITIES) or use.softmax_dim != 0:
            return
        shape = use.softmax_shape
        if shape is None or len(shape) < 2:
            return
        if use.run is None and (use.model is None or shape[0] == shape[1] or not use.trains):
            return  # similarities of all pairs are normalised both ways; weights of a mixture belong to no model
        path = loss_path(use, made="the softmax with dim 0", loss="this loss takes the batch first")
        shown = " x ".join("N" if size is None else str(size) for size in shape)
        samples = f"the {shape[0]} samples" if shape[0] is not None else "the samples of the batch"
        yield self.finding(
            at=use.place,
            message=f"the input of `{use.loss}` is a softmax over the batch",
            label="the samples of a batch compete here",
            order=path.order,
            related=path.related,
            flow=path.flow,
            why=f"dim 0 of {shown} is the batch: each class adds up to 1 over {samples}, no sample does",
            help="give the softmax the axis of the classes: dim=1, or dim=-1 where they come last",
            group=path.group,
            weight=int(use.trains),
        )
