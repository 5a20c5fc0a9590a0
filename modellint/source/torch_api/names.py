"""One name for each thing of torch, whatever path it was imported by."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from modellint.source.torch_api.layers import LAYERS
from modellint.source.torch_api.optimizers import OPTIMIZERS

_OLD_INITS = """constant dirac eye kaiming_normal kaiming_uniform normal orthogonal sparse uniform xavier_normal
xavier_uniform"""

SAME: Mapping[str, str] = {
    **{
        f"torch.autograd{part}.{name}": f"torch.{name}"
        for part in ("", ".grad_mode")
        for name in ("no_grad", "enable_grad", "set_grad_enabled", "inference_mode")
    },
    "torch.autograd.variable.Variable": "torch.autograd.Variable",
    "torch.nn.parameter.Parameter": "torch.nn.Parameter",
    "torch.nn.modules.Module": "torch.nn.Module",
    "torch.nn.modules.module.Module": "torch.nn.Module",
    "torch.nn.parallel.DataParallel": "torch.nn.DataParallel",
    "torch.nn.parallel.data_parallel.DataParallel": "torch.nn.DataParallel",
    "torch.nn.parallel.distributed.DistributedDataParallel": "torch.nn.parallel.DistributedDataParallel",
    "torch.nn.utils.clip_grad.clip_grad_norm_": "torch.nn.utils.clip_grad_norm_",
    "torch.nn.utils.clip_grad.clip_grad_value_": "torch.nn.utils.clip_grad_value_",
    "torch.amp.autocast_mode.autocast": "torch.amp.autocast",
    "torch.amp.grad_scaler.GradScaler": "torch.amp.GradScaler",
    "torch.autocast": "torch.amp.autocast",
    "torch.optim.optimizer.Optimizer": "torch.optim.Optimizer",
    "torch.distributed.optim.zero_redundancy_optimizer.ZeroRedundancyOptimizer": (
        "torch.distributed.optim.ZeroRedundancyOptimizer"
    ),
    "torch._tensor.Tensor": "torch.Tensor",
    **{
        f"torch.utils.data.{part}.{name}": f"torch.utils.data.{name}"
        for part, names in {
            "dataloader": "DataLoader",
            "dataset": "Dataset IterableDataset TensorDataset ConcatDataset ChainDataset Subset random_split",
            "sampler": "Sampler SequentialSampler RandomSampler SubsetRandomSampler WeightedRandomSampler BatchSampler",
            "distributed": "DistributedSampler",
        }.items()
        for name in names.split()
    },
}
"""Other paths to the very same object."""

STANDS_FOR: Mapping[str, str] = {
    "torch.cuda.amp.GradScaler": "torch.amp.GradScaler",
    "torch.cuda.amp.grad_scaler.GradScaler": "torch.amp.GradScaler",
    "torch.cuda.amp.autocast": "torch.amp.autocast",
    "torch.cuda.amp.autocast_mode.autocast": "torch.amp.autocast",
    "torch.cpu.amp.autocast": "torch.amp.autocast",
    "torch.jit.ScriptModule": "torch.nn.Module",
    **{
        f"torch.{part}{kind}Tensor": "torch.Tensor"
        for part in ("", "cuda.")
        for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
    },
    **{f"torch.nn.init.{name}": f"torch.nn.init.{name}_" for name in _OLD_INITS.split()},
}
"""Other objects with the same meaning. The order of their arguments may differ."""

_EXACT = {**SAME, **STANDS_FOR}
_MODEL_GROUPS = frozenset({"detection", "segmentation", "video", "quantization", "optical_flow"})


@lru_cache(maxsize=8192)
def canonical(dotted: str) -> str:
    """The public name of a dotted name: `torch.nn.modules.batchnorm.BatchNorm1d` is `torch.nn.BatchNorm1d`.

    A name that is not known to be another's alias is returned as it is.
    """
    if dotted.startswith("torchvision."):
        return _torchvision(dotted)
    if not dotted.startswith("torch."):
        return dotted
    known = _EXACT.get(dotted)
    if known is not None:
        return known
    last = dotted.rpartition(".")[2]
    if dotted.startswith("torch.nn.modules."):
        return short if (short := f"torch.nn.{last}") in LAYERS else dotted
    if dotted.startswith("torch.optim."):
        return short if (short := f"torch.optim.{last}") in OPTIMIZERS else dotted
    if dotted.startswith("torch.functional."):
        return f"torch.{dotted.removeprefix('torch.functional.')}"
    return dotted


def _torchvision(dotted: str) -> str:
    """`torchvision.models.resnet.resnet18` is `torchvision.models.resnet18`."""
    parts = dotted.split(".")
    if parts[1] == "ops" and len(parts) == 4 and parts[2] != "misc":
        return f"torchvision.ops.{parts[3]}"
    if parts[1] == "models":
        group = 1 if len(parts) > 2 and parts[2] in _MODEL_GROUPS else 0
        if len(parts) == 4 + group:
            return ".".join((*parts[: 2 + group], parts[-1]))
    return dotted
