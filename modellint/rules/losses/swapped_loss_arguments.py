"""swapped-loss-arguments."""

from __future__ import annotations

from modellint.facts.loss_use import OutputKind, Source
from modellint.rule import Category, Certainty, Finding, Iterator, LossUse, Note, Rule

_NAMES = """KLDivLoss kl_div CrossEntropyLoss cross_entropy NLLLoss nll_loss BCELoss binary_cross_entropy
BCEWithLogitsLoss binary_cross_entropy_with_logits PoissonNLLLoss poisson_nll_loss sigmoid_focal_loss"""
_ASYMMETRIC = frozenset(_NAMES.split())


class SwappedLossArguments(Rule):
    """The target is given to a loss as its input, and the prediction as its target.

    A batch of the data, or the output of a model under no_grad, as the first argument of a loss that is not symmetric
    (KL divergence, cross entropy, BCE, NLL, Poisson NLL), where the second comes out of the model that is
    trained.

    Torch differentiates the target as well, so training runs, but on another loss: BCELoss with labels of 0 and 1 as
    its input is 100 times the absolute error, and the gradient of a cross entropy does not depend on the prediction.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    model = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())
    criterion = nn.BCELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = TensorDataset(torch.randn(64, 8), torch.rand(64, 1).round())
    for x, y in DataLoader(data, batch_size=16, shuffle=True):
        optimizer.zero_grad()
        loss = criterion(y, model(x))  # expect: swapped-loss-arguments
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    model = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())
    criterion = nn.BCELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = TensorDataset(torch.randn(64, 8), torch.rand(64, 1).round())
    for x, y in DataLoader(data, batch_size=16, shuffle=True):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The loss is symmetric: MSE, L1, Huber, GaussianNLLLoss.",
        "The KL divergence is meant the other way round, and the code says so (`reverse_kl`).",
        "The first argument is the input of the model: an autoencoder.",
        "The arguments are given by keyword.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.BCELoss.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.KLDivLoss.html",
    )

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        if use.run is not None or use.loss.rpartition(".")[2] not in _ASYMMETRIC:
            return
        if use.target_source is not Source.TRAINED_MODEL or not use.trains or use.reconstructs or not use.recorded:
            return
        divergence = "kl" in use.loss.lower()
        if use.input_source is Source.DATA:
            given, certainty = "data", Certainty.CERTAIN
        elif use.input_source is Source.FIXED_MODEL:
            given, certainty = "the output of a model without gradients", Certainty.LIKELY
            if use.target in (OutputKind.LOGITS, OutputKind.LOG_PROBABILITIES) and divergence:
                certainty = Certainty.CERTAIN
        else:
            return
        if divergence and use.reversal_stated:
            return
        related = [Note(use.loss_place, "takes the prediction first")] if use.loss_place is not None else []
        yield self.finding(
            at=use.place,
            message=f"`{use.loss_text}` is given its target as input and the prediction as target",
            label=f"the first argument is {given}, the second is what is trained",
            related=related,
            why="the divergence is taken the other way round: the model may leave out what the target holds possible"
            if divergence
            else "the loss is not symmetric: what it turns into logarithms is fixed here, so its gradient does not "
            "depend on what the model predicts",
            help="give the prediction first, then the target",
            certainty=certainty,
            group=(use.place, use.loss_place),
        )
