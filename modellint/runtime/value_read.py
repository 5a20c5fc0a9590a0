"""The few reads of tensor values that a run allows: without autograd, unseen by function modes.

There are none while a CUDA graph is captured. Numbers are stacked, so that an accelerator is waited for once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from modellint.runtime import torch_internals


@contextmanager
def reading() -> Iterator[None]:
    """Around every read: operations inside are recorded by nobody."""
    with torch._C.DisableTorchFunction(), torch.no_grad():
        yield


def may_read(tensor: torch.Tensor) -> bool:
    """Its values exist and can be had now."""
    if not torch_internals.is_plain(tensor) or tensor.layout is not torch.strided or not tensor.numel():
        return False
    return tensor.device.type != "meta" and not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())


def may_compare(tensor: torch.Tensor) -> bool:
    """Its values can be had now, and are real numbers of a width that every operation knows."""
    return tensor.dtype in _REAL and may_read(tensor)


def numbers(scalars: Sequence[torch.Tensor]) -> list[float]:
    """The values of zero-dimensional tensors, one transfer a device. Call inside of `reading`."""
    found = [0.0] * len(scalars)
    devices: dict[torch.device, list[int]] = {}
    for index, scalar in enumerate(scalars):
        devices.setdefault(scalar.device, []).append(index)
    for device, indices in devices.items():
        precision = torch.float32 if device.type == "mps" else torch.float64
        values = torch.stack([scalars[index].to(precision) for index in indices]).tolist()
        for index, value in zip(indices, values, strict=True):
            found[index] = value
    return found


def bit_sum(tensor: torch.Tensor) -> torch.Tensor:
    """A sum over the bits of one tensor, on its device. Call inside of `reading`."""
    own = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return own.view(_INTEGERS[tensor.element_size()]).sum()


def checksum(tensors: Sequence[torch.Tensor]) -> int:
    """A sum over the bits of tensors: equal bits give equal sums, and a change shows in practice."""
    with reading():
        sums = [bit_sum(tensor) for tensor in tensors]
        return sum(int(value) for value in sums)


_REAL = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}
