"""What an observer may override. `hooks` calls an event only on observers that override it, and installs only that.

Every event runs inside the user's training: it may not raise, draw random numbers, change a tensor or wait for an
accelerator, and it may keep nothing of the user's alive (weak references, ids, sites, numbers and texts only).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from modellint.runtime.call_site import Site
from modellint.runtime.session import ModuleCall, OptimizerRecord, RootCall, RootRecord, Session, Window


class Observer:
    """Notes what one fact needs, and makes the fact."""

    makes: ClassVar[tuple[type, ...]] = ()
    """The facts that it makes: it is installed only if a selected rule judges one of them."""
    traced_windows: ClassVar[range] = range(0)
    """Windows that it wants traced besides the first ones, by their number for each optimizer that steps."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def quiet_events(self) -> frozenset[str]:
        """The events below that it wants now in quiet windows too: those that are not traced, in which no forward was
        noted, and after which tracing does not begin. Possible are `step_begins`, `step_ends` (the window is the next
        one already) and `backward_begins` (without a site). Nearly all windows are quiet: it should want few."""
        return frozenset()

    # Events of every window, of quiet ones for those observers only that want them

    def step_begins(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer is about to step. `session.window` is the window that this step ends."""

    def step_ends(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer, window: Window) -> None:
        """It has stepped; `window` is the window that ended, `session.window` already the next one."""

    def backward_begins(self, tensors: Sequence[torch.Tensor], site: Site | None) -> None:
        """`torch.autograd.backward` was called (`Tensor.backward` too), with these roots."""

    def backward_ends(self) -> None:
        """It came back, or raised."""

    def scheduler_stepped(self, scheduler: Any, site: Site | None) -> None:
        """A learning rate scheduler stepped by a call of the user's (not by its constructor)."""

    def loader_started(self, loader: Any, site: Site | None) -> None:
        """A DataLoader was asked for an iterator."""

    def state_copied(self, module: nn.Module, state: Mapping[str, Any], site: Site | None) -> None:
        """`state_dict()` of a module (the outermost call) returned."""

    def optimizer_made(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer was constructed."""

    # Events of traced windows and of evaluations (forwards without gradients or in eval mode)

    def root_registered(self, root: RootRecord, module: nn.Module) -> None:
        """The first forward of a root is about to run; `module` is unwrapped."""

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        """A root forward begins; `module` is the outermost one, a wrapper if there is one."""

    def root_ends(self, call: RootCall, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """It ended; `output` is None if it raised."""

    # Events of traced windows, and of the first evaluation after them (`call.root_call.detail`)

    def module_begins(self, call: ModuleCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        """A module below a root is called."""

    def module_ends(self, call: ModuleCall, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """It came back; `output` is None if it raised."""

    def accumulated(self, parameter: torch.Tensor) -> None:
        """A backward has added to `parameter.grad`. Traced windows only."""

    def function_called(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        """A torch function of `functions` came back. Traced windows of eager training only, not inside of a step."""

    functions: ClassVar[frozenset[Callable[..., Any]]] = frozenset()
    """The functions that `function_called` wants to see, as torch passes them to `__torch_function__`."""

    def evaluation_function_called(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        """The same for `evaluation_functions`, in the one forward in eval mode that `see_functions_of` asked for."""

    evaluation_functions: ClassVar[frozenset[Callable[..., Any]]] = frozenset()
    """The functions that `evaluation_function_called` wants to see."""

    def pass_ended(self, root: RootRecord, record: OptimizerRecord, window: Window) -> None:
        """A traced pass of a root ended with the step of `record`; comes after `step_ends`."""

    # The end

    def closing(self) -> None:
        """The hooks are about to be removed; the last moment at which live objects may be read."""

    def facts(self) -> Iterator[object]:
        """The facts, once the hooks are removed (or at any time before, of what has happened so far)."""
        return iter(())
