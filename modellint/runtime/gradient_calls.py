"""Clipping and loss scaling, known by the file of torch that calls a torch function.

`clip_grad_norm_`, `clip_grad_value_` and `GradScaler` are Python: while a function mode is active, the torch functions
that they call pass by, and the calling frame says which of them it is. Their local variables tell the limit and the
optimizer.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from types import FrameType
from typing import Any

import torch
from torch.amp import grad_scaler
from torch.nn.utils import clip_grad

from modellint.runtime.graph import metadata_of

_SCALED = "modellint.scaled"
_MOST_SCALED_NODES = 8


class Call(Enum):
    """What was done to a loss or to gradients."""

    SCALE = "scale"
    UNSCALE = "unscale"
    UPDATE = "update"
    READ_SCALE = "read scale"
    CLIP = "clip"


@dataclass(slots=True)
class GradientCall:
    """One such call. Holds tensors: keep nothing of it."""

    kind: Call
    tensors: Sequence[torch.Tensor] = ()
    """The gradients that were changed (CLIP, UNSCALE), the scaled loss and the scale (SCALE)."""
    parameters: Sequence[torch.Tensor] = ()
    """What was to be clipped, where there was no gradient to clip."""
    optimizer: torch.optim.Optimizer | None = None
    """Of UNSCALE."""
    limit: float | None = None
    """Of CLIP; None when it is a tensor."""
    changes: int = 1
    """By how much it has raised the version of each gradient."""


_ALL = (
    torch._foreach_mul_,
    torch._foreach_clamp_max_,
    torch.Tensor.mul,
    torch.Tensor.mul_,
    torch.Tensor.clamp_,
    torch.Tensor.fill_,
    torch.Tensor.copy_,
    torch.Tensor.item,
    torch.tensor,
    getattr(torch, "_amp_foreach_non_finite_check_and_unscale_", None),
    getattr(torch, "_amp_update_scale_", None),
)
FUNCTIONS: frozenset[Callable[..., Any]] = frozenset(function for function in _ALL if function is not None)
"""The torch functions by which the calls are noticed."""

_FILES = {clip_grad.__file__: "clip", grad_scaler.__file__: "scaler"}
_OWN = __name__.rpartition(".")[0] + "."


def gradient_call(function: Callable[..., Any], args: Sequence[Any], result: Any) -> GradientCall | None:
    """The call that a torch function belongs to, None for any other code's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_OWN):
        frame = frame.f_back
    part = _FILES.get(frame.f_code.co_filename) if frame is not None else None
    if part is None or frame is None:
        return None
    return _clip(frame, function, args) if part == "clip" else _scaler(frame, function, args, result)


def _clip(frame: FrameType, function: Callable[..., Any], args: Sequence[Any]) -> GradientCall | None:
    if function is torch.tensor:
        return _clip_of_nothing(frame)
    name, known = frame.f_code.co_name, frame.f_locals
    tensors = list(args[0]) if isinstance(args[0], list | tuple) else [args[0]]
    if name == "_clip_grads_with_norm_":
        return GradientCall(Call.CLIP, tensors, limit=_number(known.get("max_norm")))
    if name == "clip_grad_value_":
        changes = 2 if function is torch._foreach_clamp_max_ else 1
        return GradientCall(Call.CLIP, tensors, limit=_number(known.get("clip_value")), changes=changes)
    return None


def _clip_of_nothing(frame: FrameType | None) -> GradientCall | None:
    """`clip_grad_norm_` before any backward: no parameter has a gradient."""
    while frame is not None and _FILES.get(frame.f_code.co_filename) == "clip":
        if frame.f_code.co_name == "clip_grad_norm_":
            parameters = frame.f_locals.get("parameters")
            given = parameters if isinstance(parameters, list) else []
            return GradientCall(Call.CLIP, parameters=given, limit=_number(frame.f_locals.get("max_norm")))
        frame = frame.f_back
    return None


def _scaler(frame: FrameType, function: Callable[..., Any], args: Sequence[Any], result: Any) -> GradientCall | None:
    name = frame.f_code.co_name
    if function is torch.Tensor.mul and name in ("scale", "apply_scale"):
        return GradientCall(Call.SCALE, [result, args[1]])
    if function is torch.Tensor.item and name == "get_scale":
        return GradientCall(Call.READ_SCALE)
    if name == "update" and (function is getattr(torch, "_amp_update_scale_", None) or function in _SETS_SCALE):
        return GradientCall(Call.UPDATE)
    if name == "_unscale_grads_" and function is getattr(torch, "_amp_foreach_non_finite_check_and_unscale_", None):
        caller = frame.f_back
        if caller is None or caller.f_code.co_name != "unscale_":
            return None  # fused optimizers unscale by themselves: the gradients are only checked
        optimizer = frame.f_locals.get("optimizer")
        return GradientCall(Call.UNSCALE, list(args[0]), optimizer=optimizer)
    return None


_SETS_SCALE = (torch.Tensor.fill_, torch.Tensor.copy_)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else None


def mark_scaled(loss: torch.Tensor) -> None:
    """Write on a loss's graph node that a GradScaler multiplied it."""
    if loss.grad_fn is not None:
        metadata_of(loss.grad_fn)[_SCALED] = True


def is_scaled(loss: torch.Tensor) -> bool:
    """A GradScaler multiplied it, or a part of what it was computed from last."""
    open_nodes: list[Any] = [loss.grad_fn]
    for _ in range(_MOST_SCALED_NODES):
        node = open_nodes.pop(0) if open_nodes else None
        if node is None:
            return False
        if _SCALED in metadata_of(node):
            return True
        open_nodes += (following for following, _ in node.next_functions if following is not None)
    return False


def steps_by_scaler() -> bool:
    """A GradScaler is stepping an optimizer now."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(12):
        if frame is None:
            return False
        if _FILES.get(frame.f_code.co_filename) == "scaler":
            return True
        frame = frame.f_back
    return False
