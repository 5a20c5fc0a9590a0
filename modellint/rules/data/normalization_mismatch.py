"""normalization-mismatch."""

from __future__ import annotations

from modellint.facts.evaluation_data import Normalization
from modellint.rule import Category, EvaluationData, Finding, Iterator, Note, Rule


class NormalizationMismatch(Rule):
    """Training and evaluation normalise their images differently.

    The same model is trained on a torchvision pipeline with Normalize and evaluated on one without it, or the other
    way round, or both have one with other constants. Both pipelines must be known to their last step.

    The model sees inputs of another mean and scale than those it was trained on: accuracy falls without an error, from
    a little (other constants) to chance (none).
    """

    category = Category.SUSPICIOUS
    bad = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    augment = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    plain = transforms.Compose([transforms.ToTensor()])  # expect: normalization-mismatch
    train_loader = DataLoader(datasets.MNIST("data", train=True, transform=augment), batch_size=64, shuffle=True)
    test_loader = DataLoader(datasets.MNIST("data", train=False, transform=plain), batch_size=64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        correct = 0
        with torch.no_grad():
            for x, y in test_loader:
                correct += (model(x).argmax(1) == y).sum().item()
        print(epoch, correct)
    """
    good = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    plain = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    train_loader = DataLoader(datasets.MNIST("data", train=True, transform=plain), batch_size=64, shuffle=True)
    test_loader = DataLoader(datasets.MNIST("data", train=False, transform=plain), batch_size=64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        correct = 0
        with torch.no_grad():
            for x, y in test_loader:
                correct += (model(x).argmax(1) == y).sum().item()
        print(epoch, correct)
    """
    fine_when = (
        "The model or the collate function normalises.",
        "Each image is normalised by its own mean.",
        "The two datasets are different ones, each with its own constants.",
    )
    references = ("docs.pytorch.org/vision/stable/generated/torchvision.transforms.Normalize.html",)

    def evaluation_data(self, data: EvaluationData) -> Iterator[Finding]:
        if not data.same_kind or data.steps is None or data.train_steps is None or data.in_test_suite:
            return
        if data.transform_place is None or data.train_transform_place is None:
            return
        if len(data.steps) > 1 or len(data.train_steps) > 1 or not (data.steps or data.train_steps):
            return
        if bool(data.steps) != bool(data.train_steps):
            at, other = data.transform_place, data.train_transform_place
            which = "training normalises its images, the evaluation does not"
            labels = ("read by the evaluation: no Normalize", "read by training")
            if data.steps:
                which = "the evaluation normalises its images, training does not"
                labels = ("read by the evaluation", "read by training: no Normalize")
        else:
            ours, theirs = data.steps[0], data.train_steps[0]
            if not _differ(ours, theirs):
                return
            at, other = ours.place, theirs.place
            which = "training and the evaluation normalise with different constants"
            labels = (_constants(ours), _constants(theirs))
        yield self.finding(
            at=at,
            message=which,
            label=labels[0],
            related=(Note(other, labels[1], order=1),),
            order=2,
            why="the same model gets inputs of another mean and scale than it was trained on",
            help="use the same Normalize in both pipelines; only the random transforms belong to training alone",
        )


def _differ(ours: Normalization, theirs: Normalization) -> bool:
    """The constants are known and not the same; one number stands for all channels."""
    for one, other in ((ours.mean, theirs.mean), (ours.std, theirs.std)):
        if one is None or other is None:
            return False
    return _wide(ours.mean) != _wide(theirs.mean) or _wide(ours.std) != _wide(theirs.std)


def _wide(numbers: tuple[float, ...] | None) -> tuple[float, ...]:
    assert numbers is not None
    return numbers[:1] if len(set(numbers)) == 1 else numbers


def _constants(step: Normalization) -> str:
    return f"mean {', '.join(f'{number:g}' for number in step.mean or ())}"
