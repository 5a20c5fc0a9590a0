"""The shapes of what a DataLoader gives: of tensors in a TensorDataset and of a few data sets of torchvision."""

from __future__ import annotations

from modellint.source.interpreter.sizes import sizes_of
from modellint.source.interpreter.values import (
    Const,
    Extent,
    LibraryObject,
    LoaderValue,
    SequenceValue,
    Sizes,
    Tensor,
    Value,
)

_IMAGES = {
    **dict.fromkeys(("MNIST", "FashionMNIST", "KMNIST", "QMNIST"), (1, 28, 28)),
    **dict.fromkeys(("CIFAR10", "CIFAR100"), (3, 32, 32)),
}
_KEEPS_SIZE = frozenset({"ToTensor", "Normalize", "RandomHorizontalFlip", "RandomVerticalFlip", "ConvertImageDtype"})


def batch_sizes(loader: LoaderValue) -> list[Sizes | None] | None:
    """The shapes of the parts of a batch; None when nothing is known of them."""
    made = loader.made
    if made is None or made.kind != "loader" or made.open or "collate_fn" in made.arguments:
        return None
    size = made.arguments.get("batch_size")
    if (isinstance(size, Const) and size.value is None) or "batch_sampler" in made.arguments:
        return None
    samples = _sample_sizes(loader.dataset)
    if samples is None:
        return None
    batch = Extent(1 if isinstance(size, Const) and size.value == 1 else _exact(size, made.arguments.get("drop_last")))
    return [Sizes((batch, *sample)) if sample is not None else None for sample in samples]


def _exact(size: Value | None, drop_last: Value | None) -> int | None:
    dropped = isinstance(drop_last, Const) and drop_last.value is True
    return size.value if dropped and isinstance(size, Const) and isinstance(size.value, int) else None


def _sample_sizes(dataset: Value | None, depth: int = 0) -> list[tuple[Extent, ...] | None] | None:
    if not isinstance(dataset, LoaderValue) or dataset.made is None or dataset.made.open or depth > 4:
        return None
    made = dataset.made
    if made.kind in ("split", "subset"):
        return _sample_sizes(dataset.dataset, depth + 1)
    if made.kind == "tensors":
        result: list[tuple[Extent, ...] | None] = []
        for value in made.arguments.values():
            axes = value.sizes.whole() if isinstance(value, Tensor) and value.sizes is not None else None
            result.append(axes[1:] if axes else None)
        return result
    if made.kind == "library" and made.name.startswith("torchvision.datasets."):
        shape = _IMAGES.get(made.name.rpartition(".")[2])
        if shape is None or "target_transform" in made.arguments:
            return None
        image = sizes_of(shape).axes if _plain(made.arguments.get("transform")) else None
        return [image, ()]
    return None


def _plain(transform: Value | None) -> bool:
    """A transform that makes a tensor and keeps its size."""
    if not isinstance(transform, LibraryObject):
        return False
    name = transform.name.rpartition(".")[2]
    if name == "Compose":
        steps = transform.attrs.get("transforms")
        if not isinstance(steps, SequenceValue) or not steps.complete:
            return False
        names = [step.name.rpartition(".")[2] for step in steps.items if isinstance(step, LibraryObject)]
        return len(names) == len(steps.items) and set(names) <= _KEEPS_SIZE and "ToTensor" in names
    return name == "ToTensor"
