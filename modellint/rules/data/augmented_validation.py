"""augmented-validation."""

from __future__ import annotations

from modellint.rule import Category, EvaluationData, Finding, Iterator, Note, Rule
from modellint.rules._wording import listing


class AugmentedValidation(Rule):
    """Training and validation are parts of one dataset, and so share its random transforms.

    A dataset with random transforms is split (random_split, Subset); one part is trained on, the other evaluated. Or
    its transform is replaced through `part.dataset.transform`, which takes the random ones from training too.

    The validation score is that of cropped, flipped and recoloured images: it is too low, and another one in each run.
    With the transform replaced, training has no augmentation at all.
    """

    category = Category.SUSPICIOUS
    bad = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, random_split
    from torchvision import datasets, transforms

    augment = transforms.Compose([transforms.RandomCrop(28, padding=4), transforms.ToTensor()])
    full = datasets.MNIST("data", train=True, transform=augment)
    train_set, val_set = random_split(full, [50000, 10000])
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=64)  # expect: augmented-validation
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        correct = 0
        with torch.no_grad():
            for x, y in val_loader:
                correct += (model(x).argmax(1) == y).sum().item()
        print(epoch, correct)
    """
    good = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, Subset
    from torchvision import datasets, transforms

    augment = transforms.Compose([transforms.RandomCrop(28, padding=4), transforms.ToTensor()])
    order = torch.randperm(60000).tolist()
    train_set = Subset(datasets.MNIST("data", train=True, transform=augment), order[:50000])
    val_set = Subset(datasets.MNIST("data", train=True, transform=transforms.ToTensor()), order[50000:])
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        correct = 0
        with torch.no_grad():
            for x, y in val_loader:
                correct += (model(x).argmax(1) == y).sum().item()
        print(epoch, correct)
    """
    fine_when = (
        "Each part has a dataset object of its own, or a wrapper that applies its transform.",
        "Test-time augmentation: predictions over several random views are averaged.",
        "The transforms of the whole are deterministic (resize, centre crop, normalise).",
        "Random crops of large images are the way that patches are evaluated, or the views of a self-supervised probe.",
    )
    references = (
        "docs.pytorch.org/docs/stable/data.html#torch.utils.data.random_split",
        "discuss.pytorch.org/t/apply-different-transform-data-augmentation-to-train-and-validation/63580",
    )

    def evaluation_data(self, data: EvaluationData) -> Iterator[Finding]:
        if not data.separate_parts or data.on_purpose or data.in_test_suite:
            return
        name = "the evaluation" if data.text == "the loader" else f"`{data.text}`"
        split = [Note(data.split_place, "split here", order=1)] if data.split_place is not None else []
        if data.drawn:
            steps = listing([step.name for step in data.drawn], 3)
            at = len(split) + 1
            yield self.finding(
                at=data.place,
                message=f"{name} reads its samples through random transforms: {steps}",
                label="a part of the dataset that training augments",
                related=[*split, Note(data.drawn[0].place, "applied to both parts", order=at, cause=True)],
                order=at + 1,
                why="the parts of a split share one dataset and its transform: each pass validates on other images",
                help="make the dataset twice, with and without the random transforms, "
                "and take one Subset of each with the same indices",
            )
        elif data.lost and data.lost_place is not None:
            steps = listing([step.name for step in data.lost], 3)
            yield self.finding(
                at=data.place,
                message=f"the transform for {name} was set on the dataset that training reads too: {steps} is lost",
                label="a part of the dataset that training reads",
                related=[*split, Note(data.lost_place, "replaces the transform of both parts", order=2, cause=True)],
                order=3,
                why="`part.dataset` is the whole, shared by all its parts: training has no random transform any more",
                help="make the dataset twice, with and without the random transforms, "
                "and take one Subset of each with the same indices",
            )
