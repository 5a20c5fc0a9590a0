"""Optimizers, learning-rate schedulers, gradient scalers and devices."""

from __future__ import annotations

from collections.abc import Mapping

_OPTIMIZERS = "ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax LBFGS Muon NAdam RAdam RMSprop Rprop SGD SparseAdam"
_THIRD_PARTY: Mapping[str, str] = {
    "transformers": "AdamW Adafactor",
    "transformers.optimization": "AdamW Adafactor",
    "bitsandbytes.optim": """Adam Adam8bit Adam32bit PagedAdam PagedAdam8bit AdamW AdamW8bit AdamW32bit PagedAdamW
        PagedAdamW8bit PagedAdamW32bit SGD SGD8bit Lion Lion8bit Adagrad Adagrad8bit RMSprop RMSprop8bit LAMB LARS""",
    "apex.optimizers": "FusedAdam FusedSGD FusedLAMB FusedNovoGrad FusedAdagrad",
    "deepspeed.ops.adam": "FusedAdam DeepSpeedCPUAdam",
    "deepspeed.ops.lamb": "FusedLamb",
    "lion_pytorch": "Lion",
    "adabelief_pytorch": "AdaBelief",
    "prodigyopt": "Prodigy",
    "dadaptation": "DAdaptAdam DAdaptSGD DAdaptAdaGrad DAdaptLion",
    "madgrad": "MADGRAD MirrorMADGRAD",
    "schedulefree": "AdamWScheduleFree SGDScheduleFree RAdamScheduleFree",
    "torch_optimizer": """A2GradExp A2GradInc A2GradUni AccSGD AdaBelief AdaBound Adafactor Adahessian AdaMod AdamP
        AggMo Apollo DiffGrad Lamb Lion LARS MADGRAD NovoGrad PID QHAdam QHM RAdam Ranger RangerQH RangerVA SGDP SGDW
        SWATS Shampoo Yogi""",
    "timm.optim": """AdaBelief Adafactor Adahessian Adan AdamP AdamW Lamb Lars Lion MADGRAD MadGrad NAdam NAdamW
        NovoGrad NvNovoGrad RAdam RMSpropTF SGDP SGDW""",
}

OPTIMIZERS: frozenset[str] = frozenset(f"torch.optim.{name}" for name in _OPTIMIZERS.split()) | {
    "torch.distributed.optim.ZeroRedundancyOptimizer",
    *(f"{package}.{name}" for package, names in _THIRD_PARTY.items() for name in names.split()),
}
"""Classes whose `step()` applies gradients and that do not clear them."""

_SCHEDULERS = """ChainedScheduler ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR ExponentialLR
LambdaLR LinearLR MultiStepLR MultiplicativeLR OneCycleLR PolynomialLR ReduceLROnPlateau SequentialLR StepLR"""
SCHEDULERS: frozenset[str] = frozenset(f"torch.optim.lr_scheduler.{name}" for name in _SCHEDULERS.split()) | {
    "torch.optim.swa_utils.SWALR",
}
"""Learning-rate schedulers."""

EXCLUDED: Mapping[str, str] = {
    "torch.optim.Optimizer": "the abstract base",
    "torch.optim.lr_scheduler.LRScheduler": "the abstract base",
}
"""What torch exports beside these, with the reason why it is in no table."""

SCALERS: frozenset[str] = frozenset(
    {"torch.amp.GradScaler", "torch.distributed.fsdp.sharded_grad_scaler.ShardedGradScaler"}
)
"""Gradient scalers."""

_DEVICES = """cpu cuda ipu xpu mkldnn opengl opencl ideep hip ve fpga maia xla lazy vulkan mps meta hpu mtia
privateuseone"""
RENAMED_DEVICES: frozenset[str] = frozenset({"npu", "mlu", "musa"})
"""Names that well-known back ends give to `privateuseone` when they are imported."""
DEVICES: frozenset[str] = frozenset(_DEVICES.split()) | RENAMED_DEVICES
"""Device types that torch knows, with the names that registered back ends use (docs: Tensor Attributes)."""
