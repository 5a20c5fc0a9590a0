"""Experiments with a loss on a copy of a model: is the first one near chance, and can it come down.

A probe returns what it measured, or raises Unseen with the reason for which it could not measure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from modellint.facts.probe_record import FirstLoss, OverfitTrial
from modellint.runtime.graph import tensors_in
from modellint.runtime.working_copy import Unseen, WorkingCopy, call, first_samples, fresh, samples_of

_OVERFIT_STEPS = 200
_OVERFIT_SAMPLES = 16


# Training passes


def loss_of(working: WorkingCopy, output: Any, targets: Any) -> torch.Tensor:
    """The loss that was given; else the model's own, else a random projection of its outputs."""
    if working.loss is not None:
        loss = working.loss(output) if targets is None else working.loss(output, fresh(targets))
    else:
        own = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
        loss = own if isinstance(own, torch.Tensor) else _projection(output)
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.requires_grad:
        raise Unseen("its loss is no single number with a gradient")
    return loss


def _projection(output: Any) -> torch.Tensor:
    parts = [part for part in tensors_in(output) if part.requires_grad and part.is_floating_point()]
    if not parts:
        raise Unseen("no output of it has a gradient")
    total = parts[0].new_zeros(())
    for part in parts:
        total = total + (part * torch.randn_like(part)).mean()
    return total


def train_once(working: WorkingCopy, inputs: Any, targets: Any) -> torch.Tensor:
    """One forward, backward and step of every optimizer; the loss before the step."""

    def closure() -> torch.Tensor:
        for optimizer in working.optimizers:
            optimizer.zero_grad()
        loss = loss_of(working, call(working.model, fresh(inputs)), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    repeating = [one for one in working.optimizers if isinstance(one, torch.optim.LBFGS)]
    if repeating:
        return torch.as_tensor(repeating[0].step(closure))  # type: ignore[no-untyped-call]
    loss = closure()
    for optimizer in working.optimizers:
        optimizer.step()
    return loss


# unexpected-initial-loss


def first_loss(working: WorkingCopy, inputs: Any, targets: Any) -> FirstLoss | None:
    """The cross entropy that the loss, or the model itself, computes for the batch; None without one."""
    if any(optimizer.state for optimizer in working.optimizers) or _trained(working.model):
        raise Unseen("it has been trained")
    _train_mode(working.model)
    with _CrossEntropies() as mode, torch.no_grad():
        output = call(working.model, fresh(inputs))
        if working.loss is not None:
            _ = working.loss(output) if targets is None else working.loss(output, fresh(targets))
    if mode.others:
        raise Unseen("a cross entropy with class weights, label smoothing or soft targets")
    return max(mode.found, key=lambda one: one.value / math.log(one.classes), default=None)


def _trained(model: nn.Module) -> bool:
    """Norms have counted batches."""
    counters = (buffer for name, buffer in model.named_buffers() if name.endswith("num_batches_tracked"))
    return any(bool(counter.any()) for counter in counters)


def _train_mode(model: nn.Module) -> None:
    """As in training; a model that is there already keeps the parts that it froze."""
    if not model.training:
        model.train()


_CROSS_ENTROPY = (
    "input", "target", "weight", "size_average", "ignore_index", "reduce", "reduction", "label_smoothing",
)  # fmt: skip


class _CrossEntropies(TorchFunctionMode):
    """Notes every plain cross entropy of classes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[FirstLoss] = []
        self.others = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.cross_entropy:
            defaults = {"reduction": "mean", "ignore_index": -100}
            self._note({**defaults, **dict(zip(_CROSS_ENTROPY, args, strict=False)), **(kwargs or {})}, result)
        return result

    def _note(self, given: dict[str, Any], result: torch.Tensor) -> None:
        logits, target = given["input"], given["target"]
        plain = given.get("weight") is None and not given.get("label_smoothing") and given["reduction"] == "mean"
        if not plain or target.is_floating_point() or logits.dim() < 2:
            self.others += 1
            return
        counted = target != given["ignore_index"]
        if logits.shape[1] > 1:
            self.found.append(FirstLoss(float(result), logits.shape[1], int(counted.sum())))


# cannot-overfit-batch


def overfit_trial(working: WorkingCopy, inputs: Any, targets: Any) -> OverfitTrial:
    """Train on a few samples, dropout off, and see how far the loss comes down."""
    if working.loss is None or not working.optimizers:
        raise Unseen("it takes a loss and an optimizer")
    if not any(float(group.get("lr", 1.0)) for one in working.optimizers for group in one.param_groups):
        raise Unseen("the learning rate is 0")
    samples = samples_of((inputs, targets))
    count = min(samples, _OVERFIT_SAMPLES)
    inputs, targets = first_samples(inputs, count), first_samples(targets, count)
    _train_mode(working.model)
    _without_dropout(working.model)
    with _Dropouts() as mode:
        losses = [float(train_once(working, inputs, targets))]
    if mode.on:
        raise Unseen("a functional dropout stays on")
    while len(losses) < _OVERFIT_STEPS:
        losses.append(float(train_once(working, inputs, targets)))
    if not losses[0] > 0 or min(losses) < 0 or not all(map(math.isfinite, losses)):
        raise Unseen("a loss that is not finite or not above 0")
    names = " and ".join(dict.fromkeys(type(one).__name__ for one in working.optimizers))
    return OverfitTrial(losses[0], min(losses), len(losses), count, names)


def _without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
        elif isinstance(module, nn.MultiheadAttention | nn.RNNBase):
            module.dropout = 0.0


class _Dropouts(TorchFunctionMode):
    """Notices a dropout that is still on."""

    def __init__(self) -> None:
        super().__init__()
        self.on = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _DROPOUTS:
            share = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
            self.on = self.on or (bool(share) and bool(kwargs.get("training", args[2] if len(args) > 2 else True)))
        elif func is F.scaled_dot_product_attention:
            self.on = self.on or bool(kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0))
        return func(*args, **kwargs)


_DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, torch.dropout)
