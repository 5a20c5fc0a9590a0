"""The function mode that shows torch functions to observers, and where it must stay off."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from modellint.runtime import torch_internals


class _Listener(Protocol):
    def function_called(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> None: ...


class FunctionMode(TorchFunctionMode):
    """Shows the torch functions that run; calls them as they are."""

    def __init__(self, listener: _Listener) -> None:
        super().__init__()
        self._listener = weakref.ref(listener)
        self.wanted: frozenset[Callable[..., Any]] = frozenset()
        """The functions that the listener is told of."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        __tracebackhide__ = True
        result = func(*args, **kwargs) if kwargs else func(*args)
        # Asked first: Dynamo traces what the user compiled through this handler.
        if torch_internals.is_compiling() or func not in self.wanted:
            return result
        listener = self._listener()
        if listener is not None:
            listener.function_called(func, args, kwargs or {}, result)
        return result


def may_take_fast_path(module: nn.Module) -> bool:
    """Transformer layers in eval mode choose another kernel while a function mode is active."""
    if not torch.backends.mha.get_fastpath_enabled():
        return False
    return any(not child.training and isinstance(child, _FAST_PATH) for child in module.modules())


_FAST_PATH = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)
