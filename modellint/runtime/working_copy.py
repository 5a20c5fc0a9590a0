"""A model to experiment with: a deep copy, or the model itself with everything put back afterwards."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from modellint.runtime.graph import tensors_in

_SEED = 0
"""Experiments draw from here, so that the same model gets the same answer."""


@dataclass(slots=True, eq=False)
class WorkingCopy:
    """What an experiment may run, step and break."""

    model: nn.Module
    loss: Any
    optimizers: list[Optimizer]


@contextmanager
def working_copy(model: nn.Module, loss: Any, optimizers: Sequence[Optimizer]) -> Iterator[WorkingCopy]:
    """A deep copy; where the model cannot be copied, the model itself, put back at the end."""
    try:
        memo: dict[int, Any] = {}
        with torch.no_grad():  # the parameters of a scripted copy would have a graph otherwise
            copied_model, copied_loss = copy.deepcopy((model, loss), memo)
            for original, own in zip(model.parameters(), copied_model.parameters(), strict=True):
                if own.requires_grad != original.requires_grad:
                    own.requires_grad_(original.requires_grad)
                memo[id(original)] = own  # a script does not say so itself
            copied = WorkingCopy(copied_model, copied_loss, [_copied(optimizer, memo) for optimizer in optimizers])
    except Exception:  # a lock, a tensor inside of a graph, a device that is full
        with _put_back(model, loss, optimizers):
            yield WorkingCopy(model, loss, list(optimizers))
    else:
        yield copied


def _copied(optimizer: Optimizer, memo: dict[int, Any]) -> Optimizer:
    """An optimizer over the copied parameters, attributes of its class included: torch copies its own alone."""
    made = copy.deepcopy(optimizer, memo)
    for name, value in vars(optimizer).items():
        # A scheduler puts a `step` there that would step the original.
        if name not in vars(made) and name != "step" and "hooks" not in name:
            vars(made)[name] = copy.deepcopy(value, memo)
    return made


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Every random generator goes on afterwards as if nothing had been drawn; inside they start from one seed."""
    python = random.getstate()
    numpy = sys.modules.get("numpy")
    state = numpy.random.get_state() if numpy is not None else None
    with torch.random.fork_rng(**_devices()), _mps_state_kept():
        # `torch.manual_seed` would also queue a seed for a device that is not in use yet.
        torch.default_generator.manual_seed(_SEED)
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.manual_seed_all(_SEED)
        random.seed(_SEED)
        if numpy is not None:
            numpy.random.seed(_SEED)
        try:
            yield
        finally:
            random.setstate(python)
            if numpy is not None:
                numpy.random.set_state(state)


def _devices() -> dict[str, Any]:
    """The arguments of `fork_rng` for the accelerators that are in use; none is started for our sake."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return {"devices": range(torch.cuda.device_count()), "device_type": "cuda"}
    found = torch.accelerator.current_accelerator()
    if found is None or found.type in ("cuda", "mps"):
        return {"devices": (), "device_type": "cuda"}
    return {"devices": range(torch.accelerator.device_count()), "device_type": found.type}


@contextmanager
def _mps_state_kept() -> Iterator[None]:
    """`fork_rng` takes device numbers, which MPS has none of."""
    if not torch.backends.mps.is_available():
        yield
        return
    state = torch.mps.get_rng_state()
    try:
        yield
    finally:
        torch.mps.set_rng_state(state)


@contextmanager
def _put_back(model: nn.Module, loss: Any, optimizers: Sequence[Optimizer]) -> Iterator[None]:
    """Lend out copies of everything that training changes, under the same names; then put the originals back."""
    if any(isinstance(parameter, nn.parameter.UninitializedParameter) for parameter in model.parameters()):
        raise RuntimeError(
            "modellint.inspect can neither copy this model nor undo its first forward: run it once before"
        )
    undo: list[Callable[[], None]] = []
    try:
        seen: set[int] = set()
        for part in (model, loss):
            for module in part.modules() if isinstance(part, nn.Module) else ():
                _keep_module(module, undo)
                _keep_tensors([*module._parameters.values(), *module._buffers.values()], seen, undo)
        for optimizer in optimizers:
            held = [tensor for group in optimizer.param_groups for tensor in group["params"]]
            _keep_tensors(held, seen, undo)
            _keep_optimizer(optimizer, held, undo)
        yield
    finally:
        for step in reversed(undo):
            step()


def _keep_module(module: nn.Module, undo: list[Callable[[], None]]) -> None:
    """Its attributes, and what is registered."""
    if isinstance(module, torch.jit.ScriptModule):
        training = module.training
        undo.append(lambda: setattr(module, "training", training))
        return
    tables: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
    for table in (vars(module), module._parameters, module._buffers, module._modules):
        tables.append((table, dict(table)))
    generators = [(value, value.get_state()) for value in vars(module).values() if isinstance(value, torch.Generator)]

    def restore() -> None:
        for table, content in tables:
            table.clear()
            table.update(content)
        for generator, state in generators:
            generator.set_state(state)

    undo.append(restore)


def _keep_tensors(tensors: Sequence[torch.Tensor | None], seen: set[int], undo: list[Callable[[], None]]) -> None:
    """Values and gradients: the originals are set aside, not written to."""
    for tensor in tensors:
        if tensor is None or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        undo.append(_restorer(tensor))
        tensor.data = tensor.data.clone()
        if tensor.is_leaf:
            tensor.grad = None


def _restorer(tensor: torch.Tensor) -> Callable[[], None]:
    data, grad, wanted = tensor.data, tensor.grad if tensor.is_leaf else None, tensor.requires_grad

    def restore() -> None:
        if tensor.is_leaf:
            tensor.grad = None
        tensor.data = data
        if tensor.is_leaf:
            tensor.requires_grad = wanted
            tensor.grad = grad

    return restore


def _keep_optimizer(optimizer: Optimizer, held: Sequence[torch.Tensor], undo: list[Callable[[], None]]) -> None:
    """It steps on a state of its own meanwhile."""
    attributes = dict(vars(optimizer))

    def restore() -> None:
        vars(optimizer).clear()
        vars(optimizer).update(attributes)

    undo.append(restore)
    same: dict[int, Any] = {id(tensor): tensor for tensor in held}
    optimizer.state = copy.deepcopy(optimizer.state, dict(same))
    optimizer.param_groups = copy.deepcopy(optimizer.param_groups, dict(same))


# Inputs


class Unseen(Exception):
    """A probe says nothing about this model, and why."""


def with_tensors(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same structure of tuples, lists and dicts with other tensors; anything else stays as it is."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(with_tensors(part, change) for part in value))
    if isinstance(value, tuple | list):
        return type(value)(with_tensors(part, change) for part in value)
    if isinstance(value, Mapping):
        return {key: with_tensors(part, change) for key, part in value.items()}
    return value


def fresh(value: Any) -> Any:
    """A copy, so that a forward which writes to its input writes to nothing of the user's."""
    return with_tensors(value, _cloned)


def _cloned(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


def call(model: Callable[..., Any], inputs: Any) -> Any:
    """A tuple is spread over the arguments of forward, a mapping over its keywords."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple) and not hasattr(inputs, "_fields"):
        return model(*inputs)
    return model(inputs)


def samples_of(inputs: Any) -> int:
    """How many samples the inputs hold."""
    if _holds_list(inputs):
        raise Unseen("a list of tensors: samples one by one")
    sizes = {tensor.shape[0] for tensor in tensors_in(inputs) if tensor.dim()}
    if len(sizes) != 1:
        raise Unseen("its inputs disagree on the number of samples" if sizes else "no input is a batch of tensors")
    return int(sizes.pop())


def _holds_list(value: Any) -> bool:
    if isinstance(value, list):
        return any(True for _ in tensors_in(value))
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else ()
    return any(map(_holds_list, parts))


def first_samples(inputs: Any, count: int) -> Any:
    """The first part of a batch."""
    return with_tensors(inputs, lambda tensor: tensor[:count] if tensor.dim() else tensor)
