"""Datasets, loaders, samplers and process groups: how they are made, and what a loop runs over."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.notes import Notes
from modellint.source.interpreter.values import (
    UNMOVED,
    Cells,
    Const,
    DataMade,
    IterationValue,
    LibraryObject,
    LoaderValue,
    Method,
    ModuleValue,
    ObjectValue,
    SequenceValue,
    Tensor,
    Unknown,
    Value,
    sequence,
)

if TYPE_CHECKING:
    from modellint.source.interpreter.records import ForwardRecord, LoopRecord

LOADER = ("dataset", "batch_size", "shuffle", "sampler", "batch_sampler", "num_workers", "collate_fn", "pin_memory",
          "drop_last", "timeout", "worker_init_fn", "multiprocessing_context", "generator")  # fmt: skip
_SAMPLERS = {
    "torch.utils.data.SequentialSampler": ("data_source",),
    "torch.utils.data.RandomSampler": ("data_source", "replacement", "num_samples", "generator"),
    "torch.utils.data.SubsetRandomSampler": ("indices", "generator"),
    "torch.utils.data.WeightedRandomSampler": ("weights", "num_samples", "replacement", "generator"),
    "torch.utils.data.BatchSampler": ("sampler", "batch_size", "drop_last"),
    "torch.utils.data.DistributedSampler": ("dataset", "num_replicas", "rank", "shuffle", "seed", "drop_last"),
}
_PARTS = {
    "torch.utils.data.TensorDataset": "tensors",
    "torch.utils.data.Subset": "subset",
    "torch.utils.data.ConcatDataset": "concat",
}
_DATASETS = ("torchvision.datasets.", "datasets.", "torchtext.datasets.", "torchaudio.datasets.")
_WITH_TRAIN = ("root", "train", "transform", "target_transform", "download")
_SIGNATURES = {
    **dict.fromkeys(("MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100"), _WITH_TRAIN),
    "ImageFolder": ("root", "transform", "target_transform", "loader"),
}
_SPLIT_NAMES = frozenset({"test", "val", "valid", "validation", "eval", "dev"})
_TRANSFORMS = {
    "Compose": ("transforms",), "RandomApply": ("transforms", "p"), "RandomChoice": ("transforms", "p"),
    "Normalize": ("mean", "std", "inplace"),
}  # fmt: skip
GENERATORS = frozenset({"random.Random", "numpy.random.RandomState", "numpy.random.default_rng"})
"""What makes a random generator, where its name does not look like a class's."""
_QUIET = frozenset({
    "init_process_group", "destroy_process_group", "get_rank", "get_world_size", "is_initialized", "is_available",
    "barrier", "get_backend", "is_nccl_available", "is_gloo_available", "is_mpi_available", "is_torchelastic_launched",
    "is_backend_available", "get_node_local_rank", "monitored_barrier",
})  # fmt: skip
"""What asks about a process group or waits for it: nothing is averaged there."""


@dataclass(frozen=True, slots=True, eq=False)
class FrozenData:
    """A dataset as it was at one moment."""

    value: Value
    attrs: dict[str, Value]
    whole: FrozenData | None = None
    """Of a part: what it is a part of."""


@dataclass(frozen=True, slots=True)
class RankState:
    """What is known, at a forward, about the processes that train together."""

    group: bool | None
    """A process group of unknown size was made before; None: only perhaps."""
    wrapper: ModuleValue | None
    """The DistributedDataParallel wrapper that was put around the model before, for sure."""
    plain: bool
    """Nothing was said about the group that it averages over."""


def loader_of(value: Value | None) -> LoaderValue | None:
    """The DataLoader that a loop over `value` runs over: `enumerate(loader)` runs over `loader`."""
    while isinstance(value, IterationValue) and value.how in ("enumerate", "zip") and value.parts:
        value = next((p for p in value.parts if loader_of(p) is not None), None)
    if isinstance(value, LoaderValue) and value.made is not None and value.made.kind == "loader":
        return value
    return None


class Data(Notes):
    """Makes datasets and loaders."""

    # ---------------------------------------------------------------- construction

    def data_call(self, name: str, call: CallArguments, node: ast.AST) -> Value | None:
        """A call of torch that makes data, a sampler or a process group; None for any other."""
        if name == "torch.utils.data.DataLoader":
            return self._loader(call, node)
        if name in _PARTS:
            return self._dataset_of_torch(name, call, node)
        if name == "torch.utils.data.random_split":
            return self._split(call, node)
        if name in _SAMPLERS:
            made = self._made("sampler", name, _SAMPLERS[name], call)
            sampler = LibraryObject(name, self.site(node), Cells(made.arguments))
            self.records.data.samplers.setdefault(node, (sampler, made))
            return sampler
        if name == "torch.manual_seed":
            first = call.positional[0] if call.positional else None
            self.put(self.flow, "seeded", isinstance(first, Const))
            return None
        if name.startswith("torch.distributed."):
            self._distributed(name.rpartition(".")[2], call)
        return None

    def _distributed(self, name: str, call: CallArguments) -> None:
        if name == "init_process_group":
            size = call.get(3, "world_size")
            alone = isinstance(size, Const) and size.value == 1
            self.put(self.flow, "group", not alone)
        elif name not in _QUIET and not self._only_reports(call):
            self.records.data.collectives.add(name)

    @staticmethod
    def _only_reports(call: CallArguments) -> bool:
        """What is sent is a loss or an output, as for a log: no gradient, no weight."""
        tensors = [value for value in call.values() if isinstance(value, Tensor)]
        return bool(tensors) and all(value.forwards or value.losses for value in tensors)

    def _made(self, kind: str, name: str, parameters: tuple[str, ...], call: CallArguments) -> DataMade:
        nodes = {
            (parameters[index] if index < len(parameters) else f"*{index}"): value_node
            for index, value_node in enumerate(call.positional_nodes)
        }
        nodes.update(call.keyword_nodes)
        seeded = self.flow.get("seeded") is True
        return DataMade(kind, name, call.bound(parameters), nodes, call.open, self.loops, seeded)

    def _loader(self, call: CallArguments, node: ast.AST) -> Value:
        made = self._made("loader", "torch.utils.data.DataLoader", LOADER, call)
        dataset = made.arguments.get("dataset")
        on_cpu = "collate_fn" not in made.arguments and not call.open and self._on_cpu(dataset)
        held_out = dataset.held_out if isinstance(dataset, LoaderValue) else None
        loader = LoaderValue(dataset, self.site(node), held_out, on_cpu, made)
        self.records.data.loaders.setdefault(node, []).append((loader, self.frozen_data(dataset)))
        return loader

    def _on_cpu(self, dataset: Value | None) -> bool:
        """Whether the samples of a dataset are known to be CPU tensors."""
        if isinstance(dataset, LoaderValue):
            return dataset.on_cpu
        if isinstance(dataset, ObjectValue):
            for cls in dataset.cls.mro:
                source = cls.file.text.segment(cls.node)
                if "cuda" in source or ".to(" in source or "device" in source:
                    return False
            return dataset.cls.lookup("__getitem__") is not None
        if isinstance(dataset, SequenceValue) and dataset.complete:
            return all(self._on_cpu(i) or (isinstance(i, Tensor) and i.device is UNMOVED) for i in dataset.items)
        return False

    def _dataset_of_torch(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        kind = _PARTS[name]
        first = call.positional[0] if call.positional else next(iter(call.keywords.values()), None)
        if kind == "tensors":
            on_cpu = bool(call.positional) and all(
                isinstance(v, Tensor) and v.device is UNMOVED for v in call.positional
            )
            return LoaderValue(None, self.site(node), None, on_cpu, self._made(kind, name, (), call))
        held_out = first.held_out if isinstance(first, LoaderValue) else None
        made = self._made(kind, name, ("dataset", "indices") if kind == "subset" else ("datasets",), call)
        made.before = _attributes(first)
        return LoaderValue(first, self.site(node), held_out, self._on_cpu(first), made)

    def _split(self, call: CallArguments, node: ast.AST) -> Value:
        parameters = ("dataset", "lengths", "generator")
        whole = call.get(0, "dataset")
        on_cpu = isinstance(whole, LoaderValue) and whole.on_cpu
        exact, lengths = self.iterate(call.get(1, "lengths") or Unknown(""), node)
        parts: list[Value] = []
        for index in range(len(lengths) if exact else 2):
            made = self._made("split", "torch.utils.data.random_split", parameters, call)
            made.index, made.before = index, _attributes(whole)
            parts.append(LoaderValue(whole, self.site(node), None, on_cpu, made))
        return sequence("tuple", tuple(parts))

    def _dataset(self, name: str, call: CallArguments, node: ast.AST) -> Value | None:
        """A dataset of a library."""
        if not name.startswith(_DATASETS):
            return None
        made = self._made("library", name, _SIGNATURES.get(name.rpartition(".")[2], ()), call)
        held_out = None
        train = made.arguments.get("train")
        if isinstance(train, Const) and train.value is False:
            held_out = "train=False"
        split = made.arguments.get("split") or made.arguments.get("image_set")
        if isinstance(split, Const) and isinstance(split.value, str) and split.value.split("[")[0] in _SPLIT_NAMES:
            held_out = f'split="{split.value}"'
        result = LoaderValue(None, self.site(node), held_out, on_cpu=name.startswith("torchvision."), made=made)
        if not call.open:
            result.attrs.update({n: v for n, v in made.arguments.items() if n.endswith(("transform", "transforms"))})
        return result

    def library_arguments(self, name: str, call: CallArguments) -> dict[str, Value]:
        """What is kept of the arguments of a library's object: those of transforms and generators."""
        if name.startswith("torchvision.transforms.") and not call.open:
            known = call.bound(_TRANSFORMS.get(name.rpartition(".")[2], ()))
            for parameter, value in known.items():
                if isinstance(value, SequenceValue):  # as it is now: the list may grow later
                    known[parameter] = sequence(value.kind, value.items, value.complete, value.site)
            return Cells(known)
        if name in GENERATORS:
            return Cells(call.bound(("seed",)))
        return Cells()

    # ---------------------------------------------------------------- attributes and copies

    def data_attribute(self, value: LoaderValue, name: str) -> Value:
        """`loader.sampler`, `subset.dataset`, `dataset.transform`."""
        known = value.attrs.get(name)
        if known is not None:
            return known
        if name == "dataset" and value.dataset is not None:
            return value.dataset
        if name in ("sampler", "batch_sampler") and value.made is not None and not value.made.open:
            given = value.made.arguments.get(name)
            if given is not None:
                return given
        return Method(value, name)

    def copied_data(self, value: Value) -> Value | None:
        """A copy of a dataset: another object. None for what is no dataset."""
        if isinstance(value, LoaderValue):
            return LoaderValue(value.dataset, value.site, value.held_out, value.on_cpu, value.made, Cells(value.attrs))
        if isinstance(value, ObjectValue) and not any(isinstance(v, ModuleValue) for v in value.attrs.values()):
            return ObjectValue(value.cls, value.site, Cells(value.attrs))
        return None

    def frozen_data(self, dataset: Value | None) -> FrozenData | None:
        """A dataset as it is now, with what it is a part of."""
        if dataset is None:
            return None
        whole = None
        if isinstance(dataset, LoaderValue) and dataset.made is not None and dataset.made.kind in ("split", "subset"):
            whole = self.frozen_data(dataset.attrs.get("dataset", dataset.dataset))
        return FrozenData(dataset, _attributes(dataset), whole)

    # ---------------------------------------------------------------- what happens with them

    def note_iterated(self, record: LoopRecord, value: Value) -> None:
        """What a `for` runs over."""
        record.iterated = value
        loader = loader_of(value)
        if loader is not None:
            record.data = self.frozen_data(loader.dataset)

    def note_epoch_told(self, receiver: Value) -> None:
        """`sampler.set_epoch(...)`."""
        self.records.data.told.append(receiver)

    def note_wrapped(self, wrapper: ModuleValue, module: ModuleValue, name: str, call: CallArguments) -> None:
        """A model was put into DataParallel or DistributedDataParallel."""
        wrapper.state["wrapper"] = name.rpartition(".")[2]
        if name == "torch.nn.parallel.DistributedDataParallel":
            plain = not call.open and not call.keywords.keys() & {"process_group", "device_mesh"}
            self.put(module.state, "ddp", (wrapper, plain))

    def note_ranks(self, record: ForwardRecord, module: ModuleValue) -> None:
        """What is known about other processes when a forward begins."""
        wrapper = self.called_wrapper
        if wrapper is not None and wrapper.state.get("wrapped") is module:
            record.wrapper = wrapper
        around, plain = module.state.get("ddp") or (None, False)
        record.ranks = RankState(self.flow.get("group"), around, plain)


def _attributes(value: Value | None) -> dict[str, Value]:
    return dict(value.attrs) if isinstance(value, LoaderValue | ObjectValue) else {}
