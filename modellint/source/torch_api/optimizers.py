"""Optimizers, learning-rate schedulers, gradient scalers, devices."""

from __future__ import annotations

_OPTIMIZERS = "ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax LBFGS Muon NAdam RAdam RMSprop Rprop SGD SparseAdam"
_SCHEDULERS = """ChainedScheduler ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR ExponentialLR LambdaLR
LinearLR MultiStepLR MultiplicativeLR OneCycleLR PolynomialLR ReduceLROnPlateau SequentialLR StepLR"""

OPTIMIZERS: frozenset[str] = frozenset(f"torch.optim.{name}" for name in _OPTIMIZERS.split()) | {
    "transformers.AdamW",
    "transformers.optimization.AdamW",
    "bitsandbytes.optim.AdamW8bit",
    "bitsandbytes.optim.Adam8bit",
    "apex.optimizers.FusedAdam",
    "apex.optimizers.FusedSGD",
    "apex.optimizers.FusedLAMB",
    "torch_optimizer.RAdam",
    "torch_optimizer.Lamb",
    "lion_pytorch.Lion",
}
"""Classes whose `step()` applies gradients and that do not clear them."""

SCHEDULERS: frozenset[str] = frozenset(f"torch.optim.lr_scheduler.{name}" for name in _SCHEDULERS.split())
SCALERS: frozenset[str] = frozenset({"torch.amp.GradScaler", "torch.distributed.fsdp.sharded_grad_scaler.ShardedGradScaler"})
EXCLUDED_SCHEDULERS = frozenset({"LRScheduler", "_LRScheduler"})
"""Abstract bases."""

DEVICES: frozenset[str] = frozenset(
    """cpu cuda ipu xpu mkldnn opengl opencl ideep hip ve fpga maia xla lazy vulkan mps meta hpu mtia npu
    privateuseone""".split()
)
"""Device types that torch knows, with the names that registered back ends use (docs: Tensor Attributes)."""
