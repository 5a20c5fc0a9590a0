"""Optimizers, learning-rate schedulers, gradient scalers, devices, and what depends on the mode outside of torch.nn."""

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

MODE_DEPENDENT: Mapping[str, str] = {
    "torch.nn.utils.spectral_norm": "updates its power iteration in train mode",
    "torch.nn.utils.parametrizations.spectral_norm": "updates its power iteration in train mode",
    "torch.ao.quantization.FakeQuantize": "observes and rounds as it is told",
    "torch.ao.quantization.FusedMovingAvgObsFakeQuantize": "observes and rounds as it is told",
    "torch.ao.quantization.MinMaxObserver": "records what it sees",
    "torch.ao.quantization.MovingAverageMinMaxObserver": "records what it sees",
    "torch.ao.quantization.PerChannelMinMaxObserver": "records what it sees",
    "torch.ao.quantization.HistogramObserver": "records what it sees",
    "torchvision.ops.StochasticDepth": "drops whole branches in train mode",
    "torchvision.ops.DropBlock2d": "drops blocks in train mode",
    "torchvision.ops.DropBlock3d": "drops blocks in train mode",
    "torchvision.ops.Conv2dNormActivation": "holds a BatchNorm by default",
    "torchvision.ops.Conv3dNormActivation": "holds a BatchNorm by default",
    "timm.layers.DropPath": "drops whole branches in train mode",
    "timm.models.layers.DropPath": "drops whole branches in train mode",
    "timm.layers.DropBlock2d": "drops blocks in train mode",
    "timm.layers.BatchNormAct2d": "is a BatchNorm",
    "timm.layers.ConvNormAct": "holds a BatchNorm by default",
}
"""Modules outside of `torch.nn` that act differently in train and eval mode, with what they do."""
