"""model-selection-on-test."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, Rule, SelectionUse


class ModelSelectionOnTest(Rule):
    """The test split decides which weights are kept.

    In a loop that trains, a score over a dataset made with `train=False` or `split="test"` is compared, and the `if`
    guards a save, a kept state dict or the end of the training. No other dataset is evaluated.

    The best of many scores on one split is too good: the reported number is that of the luckiest epoch, by up to a few
    points on a small split, and no data is left that would show it.
    """

    category = Category.NURSERY
    bad = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    to_tensor = transforms.ToTensor()
    train_loader = DataLoader(datasets.MNIST("data", train=True, transform=to_tensor), batch_size=64, shuffle=True)
    test_loader = DataLoader(datasets.MNIST("data", train=False, transform=to_tensor), batch_size=64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    best = 0
    for epoch in range(10):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        correct = 0
        with torch.no_grad():
            for x, y in test_loader:
                correct += (model(x).argmax(1) == y).sum().item()
        if correct > best:  # expect: model-selection-on-test
            best = correct
            torch.save(model.state_dict(), "best.pt")
    """
    good = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, random_split
    from torchvision import datasets, transforms

    to_tensor = transforms.ToTensor()
    full = datasets.MNIST("data", train=True, transform=to_tensor)
    train_set, val_set = random_split(full, [50000, 10000])
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    best = 0
    for epoch in range(10):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        correct = 0
        with torch.no_grad():
            for x, y in val_loader:
                correct += (model(x).argmax(1) == y).sum().item()
        if correct > best:
            best = correct
            torch.save(model.state_dict(), "best.pt")
    """
    fine_when = (
        "The score is only printed or logged.",
        "Another split is evaluated at the end, and its score is the one that is reported.",
        "A benchmark prescribes it, or the folds of a cross-validation take turns.",
    )
    references = ("scikit-learn.org/stable/modules/cross_validation.html",)

    def selection_use(self, use: SelectionUse) -> Iterator[Finding]:
        if use.final_test or use.on_purpose or use.in_test_suite:
            return
        yield self.finding(
            at=use.place,
            message=f"`{use.text}` decides by the test split what is kept of the training",
            label=f"guards `{use.action}`",
            related=(Note(use.data_place, f"`{use.held_out}`", order=1, cause=True),),
            order=2,
            why="the best of many scores on one split is too good an estimate: it was chosen for being high",
            help="split validation data off the training data with random_split, choose by it, and test once",
        )
