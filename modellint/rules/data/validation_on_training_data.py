"""validation-on-training-data."""

from __future__ import annotations

from modellint.facts.evaluation_data import Overlap
from modellint.rule import Category, EvaluationData, Finding, Iterator, Note, Rule


class ValidationOnTrainingData(Rule):
    """Validation reads samples that training reads.

    An evaluation on held-out data, by the name of its loader or function, runs over the dataset object that the same
    model is trained on, over the whole of which training reads a part (`DataLoader(val_set.dataset)`), or over a part
    while training reads the whole.

    The validation score measures memory: it goes up while the model overfits, and the best checkpoint, the early stop
    and the learning rate are chosen by it.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset, random_split

    full = TensorDataset(torch.randn(64, 8), torch.randn(64, 1))
    train_set, val_set = random_split(full, [48, 16])
    train_loader = DataLoader(train_set, batch_size=8, shuffle=True)
    val_loader = DataLoader(val_set.dataset, batch_size=8)  # expect: validation-on-training-data
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        total = 0.0
        with torch.no_grad():
            for x, y in val_loader:
                total += nn.functional.mse_loss(model(x), y).item()
        print(epoch, total)
    """
    good = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset, random_split

    full = TensorDataset(torch.randn(64, 8), torch.randn(64, 1))
    train_set, val_set = random_split(full, [48, 16])
    train_loader = DataLoader(train_set, batch_size=8, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=8)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        total = 0.0
        with torch.no_grad():
            for x, y in val_loader:
                total += nn.functional.mse_loss(model(x), y).item()
        print(epoch, total)
    """
    fine_when = (
        "The score on the training data is reported as such, by a loader that is called so.",
        "Overfitting one batch to see whether the model can learn at all.",
        "Cross-validation, where samplers choose different samples of one dataset.",
        "Support and query sets of few-shot learning.",
    )
    references = ("docs.pytorch.org/docs/stable/data.html#torch.utils.data.random_split",)

    def evaluation_data(self, data: EvaluationData) -> Iterator[Finding]:
        if data.overlap is Overlap.UNKNOWN or not data.held_out or data.training_meant:
            return
        if data.sampled or data.on_purpose or data.in_test_suite:
            return
        name = "the evaluation" if data.text == "the loader" else f"`{data.text}`"
        train = "the training loader" if data.train_text == "the loader" else f"`{data.train_text}`"
        what = {
            Overlap.SAME: f"{name} reads the dataset that {train} trains on",
            Overlap.WHOLE: f"{name} reads the whole dataset, and {train} trains on a part of it",
            Overlap.PART: f"{name} reads a part of the dataset, and {train} trains on all of it",
        }[data.overlap]
        related = [Note(data.train_place, "trained on", order=1)] if data.train_place != data.place else []
        if data.split_place is not None:
            related.append(Note(data.split_place, "split here", order=len(related) + 1, cause=True))
        yield self.finding(
            at=data.place,
            message=what,
            label="the model has seen these samples",
            related=related,
            order=len(related) + 1 if related else None,
            why="a score on samples that were trained on says nothing about new ones, and checkpoints are chosen by it",
            help="give validation the part that training does not read: `DataLoader(val_set)`, not its `.dataset`"
            if data.overlap is not Overlap.SAME
            else "give validation a dataset of its own, or split this one with random_split",
        )
