"""Whether the samples of a batch mix in eval mode: the output of one must not depend on another.

Floats are asked by the gradient, integers by replacing a sample. What is found is measured again in double precision,
and the first layer that mixes is looked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from modellint.facts.probe_record import BatchLeak
from modellint.runtime.graph import tensors_in
from modellint.runtime.working_copy import Unseen, WorkingCopy, call, first_samples, fresh, samples_of, with_tensors

_SIZES = (7, 5, 8, 6, 4, 3, 2)
"""Batch sizes to try: one that is no other extent of the output."""
_MOST_TRIES = 4
_NOISE = 1e-9
"""Relative difference in double precision that is no rounding."""


def batch_leakage(working: WorkingCopy, inputs: Any) -> tuple[BatchLeak, str | None] | None:
    """Whether a sample's output depends on another sample, and the path of the layer that mixes them."""
    model, inputs = working.model.eval(), fresh(inputs)
    if any("quant" in type(module).__module__ for module in model.modules()):
        raise Unseen("quantised layers scale by what is in the batch")
    samples = samples_of(inputs)
    if samples < 2:
        raise Unseen("a batch of one sample")
    size, part = _clear_batch(model, inputs, samples)
    found = _leak(model, part, size, 0)
    if found is None:
        return None
    other = _other_axis(part, size)
    if other is not None and (other == size or _keeps_apart(model, part, other)):
        raise Unseen("its samples mix along dim 0 of the inputs and not along dim 1, which may be the batch")
    path, module = _mixing_layer(model, part, size, found.changed)
    if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.instancenorm._InstanceNorm):
        return None  # without running statistics it takes those of the batch, on purpose
    try:
        doubled = model.double()
        again = _leak(doubled, with_tensors(part, _double), size, 0)
    except Exception:  # a dtype written into the model
        return found, path
    if again is None:
        return None
    return BatchLeak(found.affected, found.changed, size, again.change, found.by_gradient, True, None), path


def _double(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _clear_batch(model: nn.Module, inputs: Any, samples: int) -> tuple[int, Any]:
    """A part of the batch whose size stands for one axis of the output, and for no other of input or output."""
    reason = "no output has an axis of the size of the batch"
    sizes = [size for size in _SIZES if size <= samples and size not in _extents(inputs)]
    for size in [*sizes[:_MOST_TRIES], samples]:
        shapes = _shapes(model, inputs, size)
        if shapes is None:
            continue
        if any(shape.count(size) > 1 for shape in shapes):
            reason = "more than one axis of the output has the size of the batch"
        elif any(shape.count(size) == 1 for shape in shapes):
            other = next((one for one in sizes if one < size), 0)
            again = _shapes(model, inputs, other) if other else None
            if again is None or _follows(shapes, size, again, other):
                return size, first_samples(inputs, size)
    raise Unseen(reason)


def _extents(inputs: Any) -> set[int]:
    """Of dim 1: time, or another axis that may be the batch."""
    return {tensor.shape[1] for tensor in tensors_in(inputs) if tensor.dim() > 1}


def _shapes(model: nn.Module, inputs: Any, size: int) -> list[list[int]] | None:
    """The shapes of the outputs for so many samples; None for a model that takes other batches only."""
    try:
        return [list(output.shape) for output in _outputs(call(model, fresh(first_samples(inputs, size))))]
    except Exception:  # it is raised again where the whole batch is run
        return None


def _follows(shapes: list[list[int]], size: int, again: list[list[int]], other: int) -> bool:
    """An axis of the output that only happens to have the size of the batch stays as it is for another size."""
    expected = [[other if extent == size else extent for extent in shape] for shape in shapes]
    return expected == again


def _outputs(output: Any) -> list[torch.Tensor]:
    return [part for part in tensors_in(output) if part.is_floating_point() and part.dim()]


def _by_sample(output: Any, size: int) -> list[torch.Tensor]:
    """The outputs with the batch first, those of which one axis has its size."""
    found = []
    for part in _outputs(output):
        shape = list(part.shape)
        if shape.count(size) == 1:
            found.append(part.movedim(shape.index(size), 0))
    return found


def _leak(model: nn.Module, inputs: Any, size: int, axis: int) -> BatchLeak | None:
    if any(tensor.is_floating_point() for tensor in tensors_in(inputs) if tensor.dim()):
        return _leak_of_gradient(model, inputs, size, axis)
    return _leak_of_replacement(model, inputs, size)


def _leak_of_gradient(model: nn.Module, inputs: Any, size: int, axis: int) -> BatchLeak | None:
    """The gradient of a random projection of one output by the other samples. A plain sum would hide a softmax."""
    leaves: list[torch.Tensor] = []

    def leaf(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.detach().clone()
        if tensor.is_floating_point() and tensor.dim():
            leaves.append(tensor.requires_grad_())
        return tensor

    given = with_tensors(inputs, leaf)
    outputs = [part for part in _by_sample(call(model, with_tensors(given, _passed_on)), size) if part.requires_grad]
    if not outputs:
        raise Unseen("its output has no gradient by its input")
    for sample in (0, size - 1):
        total = outputs[0].new_zeros(())
        for output in outputs:
            total = total + (output[sample] * torch.randn_like(output[sample])).sum()
        gradients = torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True)
        own, others = 0.0, 0.0
        changed = sample
        for gradient in gradients:
            if gradient is None or gradient.dim() <= axis or gradient.shape[axis] != size:
                continue
            sizes = gradient.movedim(axis, 0).flatten(1).abs().amax(1).double().tolist()
            if not all(map(math.isfinite, sizes)):
                raise Unseen("a gradient that is not finite")
            own = max(own, sizes[sample])
            for other, value in enumerate(sizes):
                if other != sample and value > others:
                    others, changed = value, other
        if others:
            return BatchLeak(sample, changed, size, others / own if own else math.inf, True, False, None)
    return None


def _passed_on(tensor: torch.Tensor) -> torch.Tensor:
    """Not the leaf itself: a forward may write to its input."""
    return tensor.clone() if tensor.requires_grad else tensor


def _leak_of_replacement(model: Callable[..., Any], inputs: Any, size: int) -> BatchLeak | None:
    """Integers have no gradient: another sample is put in the place of one, and the other outputs must not move."""
    before = _seeded(model, inputs)
    if _moved(_by_sample(before, size), _by_sample(_seeded(model, inputs), size)):
        raise Unseen("two forwards of the same batch differ")
    for changed in (0, size - 1):
        replaced = replaced_sample(inputs, size, changed)
        if replaced is None:
            continue
        own, others, affected = 0.0, 0.0, changed
        pairs = list(zip(_by_sample(before, size), _by_sample(_seeded(model, replaced), size), strict=True))
        if any(old.shape != new.shape for old, new in pairs):
            raise Unseen("the shape of its output depends on its input")
        for old, new in pairs:
            scale = max(float(old.abs().max()), 1e-30)
            sizes = ((new - old).flatten(1).abs().amax(1).double() / scale).tolist()
            own = max(own, sizes[changed])
            for other, value in enumerate(sizes):
                if other != changed and value > max(others, _NOISE if old.dtype == torch.float64 else 0.0):
                    others, affected = value, other
        if others:
            return BatchLeak(affected, changed, size, others / own if own else math.inf, False, False, None)
    return None


def _seeded(model: Callable[..., Any], inputs: Any) -> Any:
    """A forward that draws the same random numbers each time."""
    with torch.no_grad(), torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(0)
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.manual_seed_all(0)
        return call(model, fresh(inputs))


def replaced_sample(inputs: Any, size: int, changed: int) -> Any:
    """The batch with another of its samples in one place; None when all samples are equal."""
    for source in (size // 2, *range(size)):
        moved = False

        def replace(tensor: torch.Tensor, source: int = source) -> torch.Tensor:
            nonlocal moved
            tensor = tensor.clone()
            if tensor.dim() and not torch.equal(tensor[changed], tensor[source]):
                tensor[changed], moved = tensor[source].clone(), True
            return tensor

        replaced = with_tensors(with_tensors(inputs, torch.Tensor.detach), replace)
        if moved:
            return replaced
    return None


def _other_axis(inputs: Any, size: int) -> int | None:
    """The extent of dim 1, if all inputs have one and the same there."""
    extents = {tensor.shape[1] if tensor.dim() > 1 else 0 for tensor in tensors_in(inputs) if tensor.dim()}
    extent = extents.pop() if len(extents) == 1 else 0
    return extent if extent > 1 else None


def _keeps_apart(model: nn.Module, inputs: Any, extent: int) -> bool:
    """Whether nothing mixes along dim 1, and the output has that axis: a model that takes time first."""
    if not any(list(part.shape).count(extent) == 1 for part in _outputs(call(model, fresh(inputs)))):
        return False
    if any(tensor.is_floating_point() for tensor in tensors_in(inputs) if tensor.dim()):
        return _leak_of_gradient(model, inputs, extent, 1) is None
    # Samples are replaced along dim 0: the tensors are turned for that, and turned back for the model.
    return _leak_of_replacement(lambda *a, **k: _turned_call(model, a, k), _turned(inputs), extent) is None


def _turned(value: Any) -> Any:
    return with_tensors(value, lambda tensor: tensor.transpose(0, 1) if tensor.dim() > 1 else tensor)


def _turned_call(model: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return model(*_turned(args), **_turned(keywords))


def _mixing_layer(model: nn.Module, inputs: Any, size: int, changed: int) -> tuple[str | None, nn.Module | None]:
    """The first module whose output moves for other samples while its input does not."""
    replaced = replaced_sample(inputs, size, changed)
    if replaced is None:
        return None, None
    paths = {id(module): path for path, module in model.named_modules()}
    first: list[tuple[int, list[torch.Tensor], list[torch.Tensor]]] = []
    found: list[nn.Module] = []
    calls = 0

    def rows(value: Any) -> list[torch.Tensor]:
        return [part.detach().clone() for part in _by_sample(value, size)]

    def remember(module: nn.Module, args: Any, keywords: Any, output: Any) -> None:
        first.append((id(module), rows((args, keywords)), rows(output)))

    def compare(module: nn.Module, args: Any, keywords: Any, output: Any) -> None:
        nonlocal calls
        before = first[calls] if calls < len(first) else None
        calls += 1
        if found or before is None or before[0] != id(module) or not before[2]:
            return
        if _moved(before[2], rows(output), changed) and not _moved(before[1], rows((args, keywords)), changed):
            found.append(module)

    for hook, given in ((remember, inputs), (compare, replaced)):
        handles = [module.register_forward_hook(hook, with_kwargs=True) for module in model.modules()]
        try:
            _seeded(model, given)
        except Exception:
            return None, None
        finally:
            for handle in handles:
                handle.remove()
    return (paths[id(found[0])], found[0]) if found else (None, None)


def _moved(before: list[torch.Tensor], after: list[torch.Tensor], changed: int | None = None) -> bool:
    """Whether a row other than the changed one differs by more than rounding."""
    if [part.shape for part in before] != [part.shape for part in after]:
        return True
    for old, new in zip(before, after, strict=True):
        scale = float(old.abs().max()) or 1.0
        apart = (new - old).flatten(1).abs().amax(1) / scale
        if changed is not None:
            apart[changed] = 0
        if float(apart.max()) > 1e-5:
            return True
    return False
