"""Private names of torch, each behind one function that says what happens where torch lacks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle


def _graph_task_id() -> Callable[[], int]:
    found = getattr(torch._C, "_current_graph_task_id", None)
    return found if found is not None else lambda: -1


graph_task_id: Callable[[], int] = _graph_task_id()
"""The number of the backward that runs on this thread, -1 when none does (or when torch does not say)."""


def in_backward() -> bool:
    """A backward runs on this thread: a forward here is the recomputation of a checkpoint."""
    return graph_task_id() != -1


is_compiling: Callable[[], bool] = torch.compiler.is_compiling
"""Dynamo or export is tracing: nothing may be noted."""


def remove_module_hook(handle: RemovableHandle) -> None:
    """Remove a global module hook, and the note that it takes keyword arguments, which torch forgets to remove.

    What is left of it counts as a global hook: torch would warn at every call of a compiled model from then on.
    """
    handle.remove()
    noted = getattr(torch.nn.modules.module, "_global_forward_hooks_with_kwargs", None)
    if noted is not None:
        noted.pop(handle.id, None)


def is_tracing() -> bool:
    """`torch.jit.trace` is running."""
    return torch._C._get_tracing_state() is not None


def function_modes() -> int:
    """How many function modes are active on this thread, 0 when torch does not say."""
    length = getattr(torch._C, "_len_torch_function_stack", None)
    return int(length()) if length is not None else 0


def top_function_mode() -> TorchFunctionMode | None:
    """The innermost active function mode."""
    count = function_modes()
    at = getattr(torch._C, "_get_function_stack_at", None)
    return at(count - 1) if count and at is not None else None


def can_push_function_mode() -> bool:
    """No function mode of somebody else is active, the default device apart.

    `with torch.device(...)` pops whatever is on top when it ends: a mode pushed inside of the block would go and the
    device would stay. The default device of `torch.set_default_device` is not ended by a block.
    """
    count = function_modes()
    default = getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)
    return count == 0 or (count == 1 and default is not None and top_function_mode() is default)


_is_functorch_wrapper: Callable[[torch.Tensor], bool] = getattr(
    torch._C._functorch, "is_functorch_wrapped_tensor", lambda tensor: False
)


def is_plain(tensor: object) -> bool:
    """A tensor that may be tagged and hooked: no fake tensor, no functorch wrapper, no DTensor."""
    kind = type(tensor)
    if kind is not torch.Tensor and kind is not torch.nn.Parameter:
        return False
    return not _is_functorch_wrapper(tensor)  # type: ignore[arg-type]


def unwrapped(module: torch.nn.Module) -> tuple[torch.nn.Module, str]:
    """The model inside of DDP, DataParallel, FSDP, `torch.compile` and AveragedModel, and the wrapper's name."""
    wrapper = ""
    while True:
        inner = _inner(module)
        if inner is None:
            return module, wrapper
        wrapper = wrapper or type(module).__name__
        module = inner


def wrappers(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The wrappers that `unwrapped` takes off, the outermost first."""
    inner = _inner(module)
    while inner is not None:
        yield module
        module, inner = inner, _inner(inner)


def process_group() -> tuple[int, int, Any] | None:
    """Rank, number of ranks and store of the default process group; None without a group."""
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized():
        return None
    store = getattr(distributed.distributed_c10d, "_get_default_store", None)
    return distributed.get_rank(), distributed.get_world_size(), store() if store is not None else None


def prefix_store(prefix: str, store: Any) -> Any:
    """A view of a store in which all keys begin with a prefix."""
    distributed: Any = torch.distributed
    return distributed.PrefixStore(prefix, store)


def _inner(module: torch.nn.Module) -> torch.nn.Module | None:
    attribute = _WRAPPERS.get(type(module).__name__)
    if attribute is None or not type(module).__module__.startswith("torch."):
        return None
    inner: Any = vars(module).get(attribute) or module._modules.get(attribute)
    return inner if isinstance(inner, torch.nn.Module) else None


_WRAPPERS = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "OptimizedModule": "_orig_mod",
    "AveragedModel": "module",
}


def opaque_reason(module: torch.nn.Module) -> str:
    """Why nothing inside of a module can be seen; empty when it can."""
    if isinstance(module, torch.jit.ScriptModule):
        return "scripted"
    if isinstance(module, torch.nn.DataParallel):
        return "run on other threads by DataParallel"
    # Of classes that are slow to import, the names: torch's own only, a user may call a class as she likes.
    names = {cls.__name__ for cls in type(module).__mro__ if cls.__module__.startswith("torch.")}
    if vars(module).get("_compiled_call_impl") is not None or "OptimizedModule" in names:
        return "compiled"
    # torch.fx makes a class for each graph, named after the module that was traced, with GraphModule above it.
    if names & {"GraphModule", "InterpreterModule"}:
        return "a traced graph"
    return ""
