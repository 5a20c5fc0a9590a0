"""Names of torch that are deprecated or gone, since when, and what stands in their place."""

from __future__ import annotations

from collections.abc import Mapping

from modellint.facts.record import record
from modellint.facts.torch_version import Version
from modellint.source.torch_api.functions import SIGNATURES
from modellint.source.torch_api.losses import LOSSES
from modellint.source.torch_api.optimizers import SCHEDULERS


@record
class Old:
    """One name."""

    since: Version
    instead: str
    removed: bool = False
    """Calling it fails from `since` on; else it works with a warning, or is called deprecated in the documentation."""


_REMOVED: Mapping[str, tuple[Version, str]] = {
    "torch.btrifact": ((1, 2), "torch.linalg.lu_factor"),
    "torch.btrisolve": ((1, 2), "torch.linalg.lu_solve"),
    "torch.btriunpack": ((1, 2), "torch.lu_unpack"),
    "torch.gels": ((1, 2), "torch.linalg.lstsq"),
    "torch.gesv": ((1, 2), "torch.linalg.solve"),
    "torch.potrf": ((1, 2), "torch.linalg.cholesky"),
    "torch.potri": ((1, 2), "torch.cholesky_inverse"),
    "torch.potrs": ((1, 2), "torch.cholesky_solve"),
    "torch.pstrf": ((1, 2), "torch.linalg.cholesky"),
    "torch.trtrs": ((1, 2), "torch.linalg.solve_triangular"),
    "torch.rfft": ((1, 8), "torch.fft.rfft"),
    "torch.irfft": ((1, 8), "torch.fft.irfft"),
    "torch.ifft": ((1, 8), "torch.fft.ifft"),
    "torch.eig": ((1, 13), "torch.linalg.eig"),
    "torch.symeig": ((1, 13), "torch.linalg.eigh"),
    "torch.lstsq": ((1, 13), "torch.linalg.lstsq"),
    "torch.matrix_rank": ((1, 13), "torch.linalg.matrix_rank"),
    "torch.solve": ((1, 13), "torch.linalg.solve"),
}

_INITS = """constant dirac eye kaiming_normal kaiming_uniform normal orthogonal sparse uniform xavier_normal
xavier_uniform"""

_DEPRECATED: Mapping[str, tuple[Version, str]] = {
    "torch.cuda.amp.autocast": ((2, 4), 'torch.amp.autocast("cuda")'),
    "torch.cuda.amp.GradScaler": ((2, 4), 'torch.amp.GradScaler("cuda")'),
    "torch.cuda.amp.custom_fwd": ((2, 4), 'torch.amp.custom_fwd(device_type="cuda")'),
    "torch.cuda.amp.custom_bwd": ((2, 4), 'torch.amp.custom_bwd(device_type="cuda")'),
    "torch.cpu.amp.autocast": ((2, 4), 'torch.amp.autocast("cpu")'),
    "torch.set_default_tensor_type": ((2, 1), "torch.set_default_dtype and torch.set_default_device"),
    "torch.backends.cuda.sdp_kernel": ((2, 3), "torch.nn.attention.sdpa_kernel"),
    "torch.testing.assert_allclose": ((1, 12), "torch.testing.assert_close"),
    "torch.lu": ((1, 11), "torch.linalg.lu_factor"),
    "torch.lu_solve": ((1, 13), "torch.linalg.lu_solve"),
    "torch.triangular_solve": ((1, 11), "torch.linalg.solve_triangular"),
    "torch.cholesky": ((1, 8), "torch.linalg.cholesky"),
    "torch.qr": ((1, 8), "torch.linalg.qr"),
    "torch.svd": ((1, 8), "torch.linalg.svd"),
    "torch.chain_matmul": ((1, 9), "torch.linalg.multi_dot"),
    "torch.norm": ((1, 7), "torch.linalg.vector_norm or torch.linalg.matrix_norm"),
    "torch.range": ((0, 4), "torch.arange"),
    "torch.cuda.memory_cached": ((1, 4), "torch.cuda.memory_reserved"),
    "torch.cuda.max_memory_cached": ((1, 4), "torch.cuda.max_memory_reserved"),
    "torch.nn.utils.clip_grad_norm": ((0, 4), "torch.nn.utils.clip_grad_norm_"),
    "torch.nn.functional.upsample": ((0, 4), "torch.nn.functional.interpolate"),
    "torch.nn.functional.upsample_bilinear": ((0, 4), "torch.nn.functional.interpolate"),
    "torch.nn.functional.upsample_nearest": ((0, 4), "torch.nn.functional.interpolate"),
    "torch.nn.NLLLoss2d": ((0, 3), "torch.nn.NLLLoss"),
    **{f"torch.nn.init.{name}": ((0, 4), f"torch.nn.init.{name}_") for name in _INITS.split()},
}

OLD_NAMES: Mapping[str, Old] = {
    **{name: Old(since, instead, removed=True) for name, (since, instead) in _REMOVED.items()},
    **{name: Old(since, instead) for name, (since, instead) in _DEPRECATED.items()},
}
"""By the name under which it is imported, not by the canonical one."""

OLD_ARGUMENTS: Mapping[tuple[str, str], Old] = {
    **{
        (name, argument): Old((0, 4), 'reduction="mean", "sum" or "none"')
        for name, spec in LOSSES.items()
        if name.startswith("torch.nn.") and "size_average" in (*spec.constructor, *SIGNATURES.get(name, ()))
        for argument in ("size_average", "reduce")
    },
    **{
        (name, "verbose"): Old((2, 7), "get_last_lr() to show the rate", removed=True)
        for name in sorted(SCHEDULERS)
        if name.startswith("torch.optim.lr_scheduler.")
    },
}
"""Keyword arguments, by canonical name of the callee and the argument."""
