"""Which tensors are the same: inputs that came before, and outputs that go into another model. Keeps none alive."""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import Any, TypeVar

import torch

from modellint.runtime.forward_fate import Forward, tensors_of

_MOST = 256
"""Beyond that the dead ones and the older half are forgotten."""

_Known = TypeVar("_Known", bound=tuple[Any, ...])


class SeenTensors:
    """The inputs and outputs of forwards."""

    def __init__(self) -> None:
        self._numbers: dict[int, tuple[weakref.ref[Any], int]] = {}
        """Inputs by id, numbered."""
        self._count = 0
        self._outputs: dict[int, tuple[weakref.ref[torch.Tensor], list[Forward]]] = {}
        """Output tensors by id, with the forwards that they come from."""

    def sources(self, given: list[torch.Tensor]) -> list[Forward]:
        """The forwards whose output is among these tensors, or under a view of them."""
        found: list[Forward] = []
        for tensor in given:
            for one in (tensor, tensor._base):
                known = self._outputs.get(id(one)) if one is not None else None
                if known is not None and known[0]() is one:
                    found += known[1]
        return found

    def remember(self, output: Any, forwards: list[Forward]) -> None:
        if len(self._outputs) > _MOST:
            self._outputs = _newest(self._outputs)
        for tensor in tensors_of(output)[0]:
            self._outputs[id(tensor)] = (weakref.ref(tensor), forwards)

    def numbered(self, given: list[torch.Tensor], args: tuple[Any, ...]) -> tuple[object, ...]:
        """The same for two forwards on the same live tensors, or on the same view of one."""
        if len(self._numbers) > _MOST:
            self._numbers = _newest(self._numbers)
        numbers: list[object] = []
        for tensor in given:
            whole = tensor._base if tensor._base is not None else tensor
            numbers.append(self._number(whole))
            if whole is not tensor:
                numbers += (tensor.storage_offset(), tuple(tensor.shape))
        return tuple(numbers) if given else tuple(self._number(one) for one in (args or (None,)))

    def _number(self, one: Any) -> int:
        known = self._numbers.get(id(one))
        if known is not None and known[0]() is one:
            return known[1]
        self._count += 1
        with suppress(TypeError):  # a list or a number: another one each time
            self._numbers[id(one)] = (weakref.ref(one), self._count)
        return self._count


def _newest(known: dict[int, _Known]) -> dict[int, _Known]:
    live = [(key, entry) for key, entry in known.items() if entry[0]() is not None]
    return dict(live[-_MOST // 2 :])
