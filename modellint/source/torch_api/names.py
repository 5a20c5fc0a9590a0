"""One name for each thing of torch, whatever path it was imported by."""

from __future__ import annotations

from functools import lru_cache

from modellint.source.torch_api.layers import LAYERS

_EXACT = {
    "torch.autograd.grad_mode.no_grad": "torch.no_grad",
    "torch.autograd.no_grad": "torch.no_grad",
    "torch.autograd.enable_grad": "torch.enable_grad",
    "torch.autograd.set_grad_enabled": "torch.set_grad_enabled",
    "torch.autograd.inference_mode": "torch.inference_mode",
    "torch.autograd.grad_mode.inference_mode": "torch.inference_mode",
    "torch.autograd.grad_mode.enable_grad": "torch.enable_grad",
    "torch.autograd.grad_mode.set_grad_enabled": "torch.set_grad_enabled",
    "torch.nn.parameter.Parameter": "torch.nn.Parameter",
    "torch.nn.modules.Module": "torch.nn.Module",
    "torch.nn.modules.module.Module": "torch.nn.Module",
    "torch.jit.ScriptModule": "torch.nn.Module",
    "torch.cuda.amp.GradScaler": "torch.amp.GradScaler",
    "torch.cuda.amp.grad_scaler.GradScaler": "torch.amp.GradScaler",
    "torch.cuda.amp.autocast": "torch.amp.autocast",
    "torch.autocast": "torch.amp.autocast",
    "torch.nn.parallel.DataParallel": "torch.nn.DataParallel",
    "torch.nn.parallel.data_parallel.DataParallel": "torch.nn.DataParallel",
    "torch.nn.parallel.distributed.DistributedDataParallel": "torch.nn.parallel.DistributedDataParallel",
    "torch.utils.data.dataloader.DataLoader": "torch.utils.data.DataLoader",
    "torch.utils.data.dataset.TensorDataset": "torch.utils.data.TensorDataset",
    "torch.utils.data.dataset.Subset": "torch.utils.data.Subset",
    "torch.utils.data.dataset.random_split": "torch.utils.data.random_split",
    "torch.autograd.Variable": "torch.as_tensor",
    "torch.FloatTensor": "torch.Tensor",
    "torch.LongTensor": "torch.Tensor",
    "torch.optim.optimizer.Optimizer": "torch.optim.Optimizer",
}
_INIT_OLD = frozenset(
    "uniform normal constant eye dirac xavier_uniform xavier_normal kaiming_uniform kaiming_normal orthogonal".split()
)


@lru_cache(maxsize=8192)
def canonical(dotted: str) -> str:
    """The public name of a dotted name: `torch.nn.modules.batchnorm.BatchNorm1d` is `torch.nn.BatchNorm1d`."""
    if not dotted.startswith("torch."):
        return dotted
    known = _EXACT.get(dotted)
    if known is not None:
        return known
    if dotted.startswith("torch.nn.modules."):
        short = f"torch.nn.{dotted.rpartition('.')[2]}"
        if short in LAYERS:
            return short
    if dotted.startswith("torch.nn.init.") and dotted.rpartition(".")[2] in _INIT_OLD:
        return f"{dotted}_"
    if dotted.startswith("torch.optim.") and dotted.count(".") == 3 and ".lr_scheduler." not in dotted:
        last = dotted.rpartition(".")[2]
        return f"torch.optim.{last}" if last[:1].isupper() else dotted
    return dotted
