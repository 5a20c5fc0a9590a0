"""Everything that torch calls back: installed once for all watches, removed without a trace.

Three levels, so that a steady step pays for next to nothing:

- *probe*: one forward pre-hook that the first plain training forward after a step removes again;
- *roots*: pre- and post-hook count the depth, root forwards are noted (evaluations, new epochs);
- *detail*: calls of all modules, gradient accumulation and torch functions are noted too (traced windows).

The first passes of every optimizer are traced, then one window in 250.

Five attributes of torch are replaced while a watch is open: `torch.autograd.backward`, `LRScheduler.step` (and the
`step` of subclasses that have their own), `DataLoader.__iter__`, `Optimizer.__init__` and `Module.state_dict`.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.modules import module as module_hooks
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import DataLoader
from torch.utils.hooks import RemovableHandle

from modellint.runtime import torch_internals
from modellint.runtime.call_site import capture, capture_construction
from modellint.runtime.function_mode import FunctionMode, may_take_fast_path
from modellint.runtime.graph import tag_outputs
from modellint.runtime.observer import Observer
from modellint.runtime.patch import Patch, scheduler_classes
from modellint.runtime.session import ModuleCall, OptimizerRecord, RootCall, Session, Window

TRACED_STEPS = 4
"""Of every optimizer: its first window may have begun before the watch, so three whole passes remain."""
_PERIOD = 250
MOST_FIRST_WINDOWS = 60
"""An optimizer that stepped once and never again does not keep the tracing on."""

_IDLE, _PROBE, _ROOTS, _DETAIL = range(4)

_COMPILE_WARNING = r"Using `torch\.compile\(module\)` when there are global hooks"


class _Handle(Protocol):
    def remove(self) -> None: ...


class Closeable(Protocol):
    """A watch, as far as it is known here."""

    def close(self) -> None: ...


class Installation:
    """The hooks of one session. Create, `install`, and `remove` whatever happens."""

    def __init__(self, session: Session, observers: Sequence[Observer]) -> None:
        self.session = session
        self.observers: list[Observer] = []
        self.failure: Exception | None = None
        """What an observer raised; everything was removed then."""
        self.alive = False
        self.watches = 0
        """Open watches that share it."""
        self._closings: list[tuple[int, weakref.ref[Closeable]]] = []
        self._thread = threading.get_ident()
        self._level = _IDLE
        self._module_handles: list[RemovableHandle] = []
        self._step_handles: list[_Handle] = []
        self._gradient_handles: dict[int, tuple[weakref.ref[torch.Tensor], _Handle]] = {}
        self._patches: list[Patch] = []
        self._keys: list[int] = []
        """Ids of the modules whose calls run, the outermost first; parallel to `session.stack`."""
        self._probes: dict[int, Callable[..., None]] = {}
        """Torch's global forward pre-hooks, while installed; ours is in it at the level `probe`."""
        self._probe_id, self._probe_hook = -1, self._probe
        self._first_windows = True
        """An optimizer may still have to show its first passes."""
        self._next_traced = 0
        """The next step after which something else than a quiet window comes."""
        self._stepping = 1
        """How many optimizers have stepped."""
        self._mode = FunctionMode(self)
        self._mode_on = False
        self._detail_evaluation = True
        self._evaluation_window = -1
        self._state_depth = 0
        self._scheduler_depth = 0
        self._filter: tuple[Any, ...] | None = None
        self.add(observers)

    def add(self, observers: Iterable[Observer]) -> None:
        """Let more observers listen from now on."""
        self.observers += observers
        self._root_registered = self._listeners("root_registered")
        self._root_begins = self._listeners("root_begins")
        self._root_ends = self._listeners("root_ends")
        self._module_begins = self._listeners("module_begins")
        self._module_ends = self._listeners("module_ends")
        self._accumulated_listeners = self._listeners("accumulated")
        self._step_begins = self._listeners("step_begins")
        self._step_ends = self._listeners("step_ends")
        self._listen_quietly()
        self._pass_ended = self._listeners("pass_ended")
        self._backward_begins = self._listeners("backward_begins")
        self._backward_ends = self._listeners("backward_ends")
        wanted = [observer.traced_windows for observer in self.observers]
        self._traced_windows = {number for numbers in wanted for number in numbers}
        self._functions: dict[Callable[..., Any], list[Callable[..., None]]] = {}
        for observer in self.observers:
            for function in observer.functions:
                self._functions.setdefault(function, []).append(observer.function_called)
        self._evaluation_functions: dict[Callable[..., Any], list[Callable[..., None]]] = {}
        for observer in self.observers:
            for function in observer.evaluation_functions:
                self._evaluation_functions.setdefault(function, []).append(observer.evaluation_function_called)
        self._mode.wanted = frozenset((*self._functions, *self._evaluation_functions))

    def _listeners(self, event: str) -> list[Callable[..., None]]:
        return [
            getattr(observer, event)
            for observer in self.observers
            if getattr(type(observer), event) is not getattr(Observer, event)
        ]

    def _listen_quietly(self) -> None:
        """Ask which observers want to know what happens in quiet windows."""
        wanted = [(observer, observer.quiet_events()) for observer in self.observers]
        self._quiet_step_begins, self._quiet_step_ends, self._quiet_backward_begins = (
            [getattr(observer, event) for observer, events in wanted if event in events]
            for event in ("step_begins", "step_ends", "backward_begins")
        )

    def close_after(self, steps: int | None, watch: Closeable) -> None:
        """Close a watch after so many optimizer steps from now."""
        if steps is not None:
            self._closings.append((self.session.steps + steps, weakref.ref(watch)))

    # Installing and removing

    def install(self) -> None:
        """Start to listen."""
        self.alive = True
        self._quiet_compile_warning()
        probe = module_hooks.register_module_forward_pre_hook(self._probe_hook)
        self._probes, self._probe_id = probe.hooks_dict_ref() or {}, probe.id
        self._probes.pop(self._probe_id)
        self._step_handles = [
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
            module_hooks.register_module_module_registration_hook(self._registered),
        ]
        self._patches = [
            Patch(torch.autograd, "backward", self._patched_backward),
            *(Patch(cls, "step", self._patched_scheduler_step) for cls in scheduler_classes()),
            Patch(DataLoader, "__iter__", self._patched_iter),
            Patch(Optimizer, "__init__", self._patched_optimizer),
            Patch(nn.Module, "state_dict", self._patched_state_dict),
        ]
        self._set_level(_DETAIL)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Note nothing of what runs inside: an experiment of ours, not the user's training."""
        alive = self.alive
        self._pop_mode()
        self.alive = False
        try:
            yield
        finally:
            self.alive = alive

    def remove(self) -> None:
        """Stop to listen and take everything back. Never raises."""
        if not self.alive:
            return
        try:
            for observer in self.observers:
                observer.closing()
        except Exception as error:  # the run has ended well: only our report suffers
            self.failure = self.failure or error
        self._remove()

    def _remove(self) -> None:
        self.alive = False
        self._pop_mode()
        self._set_level(_IDLE)
        for handle in self._step_handles:
            handle.remove()
        self._step_handles = []
        for patch in self._patches:
            if not patch.undo():
                self.session.out_of_sight(patch.name, "somebody replaced it while it was watched; ours passes through")
        self._patches = []
        if self.session.other_threads:
            self.session.out_of_sight("forwards on other threads", "only the thread that was watched is seen")
        if self._filter is not None and self._filter in warnings.filters:
            warnings.filters.remove(self._filter)  # type: ignore[attr-defined]
            _filters_changed()
        self._filter = None
        self._probes = {}
        self.session.stack.clear()
        self._keys.clear()
        self.session.root_call = None
        self.session.closed = True

    def _failed(self, error: Exception) -> None:
        """An observer raised: training goes on without us."""
        self.failure = self.failure or error
        self._remove()

    def _quiet_compile_warning(self) -> None:
        # torch warns at each call of a compiled model while global hooks exist, which is us; under `-W error` the
        # warning would end the training.
        before = list(warnings.filters)
        warnings.filterwarnings("ignore", message=_COMPILE_WARNING)
        if len(warnings.filters) > len(before):
            self._filter = warnings.filters[0]

    # Levels

    def _set_level(self, level: int) -> None:
        if level == self._level:
            return
        before, self._level = self._level, level
        # In a steady training this changes twice a step: the dictionary of torch's handle is a tenth of a registration.
        if before == _PROBE:
            self._probes.pop(self._probe_id, None)
        elif level == _PROBE:
            self._probes[self._probe_id] = self._probe_hook
        if before <= _PROBE and level <= _PROBE:
            return
        if before >= _ROOTS and level <= _PROBE:
            for handle in self._module_handles:
                torch_internals.remove_module_hook(handle)
            self._module_handles = []
        elif before <= _PROBE:
            self._module_handles = [
                module_hooks.register_module_forward_pre_hook(self._before),
                module_hooks.register_module_forward_hook(self._after, with_kwargs=True, always_call=True),
            ]
        self.session.tracing = level == _DETAIL
        if before == _DETAIL:
            for _, gradient_handle in self._gradient_handles.values():
                gradient_handle.remove()
            self._gradient_handles.clear()
        if level == _DETAIL:
            self.session.quiet = False
            for root in self.session.roots.values():
                self._listen_to_gradients(record.ref() for record in root.parameters.values())
            for optimizer in self.session.optimizers.values():
                self._listen_to_gradients(ref() for ref in optimizer.held.values())

    def _listen_to_gradients(self, parameters: Iterable[torch.Tensor | None]) -> None:
        if self._level != _DETAIL:
            return
        for parameter in parameters:
            if parameter is None or nn.parameter.is_lazy(parameter):
                continue  # dead, or without a shape yet: the next root forward finds it
            known = self._gradient_handles.get(id(parameter))
            if known is not None and known[0]() is parameter:
                continue  # asked first: under a function mode each attribute below is a call
            if not parameter.requires_grad or not parameter.is_leaf:
                continue
            handle = parameter.register_post_accumulate_grad_hook(self._accumulated)  # type: ignore[no-untyped-call]
            self._gradient_handles[id(parameter)] = (weakref.ref(parameter), handle)

    def _trace_next(self) -> bool:
        session = self.session
        if self._first_windows:
            stepped = [optimizer for optimizer in session.optimizers.values() if optimizer.steps]
            self._stepping = len(stepped)
            first = min(optimizer.traced_steps for optimizer in stepped)
            if first < TRACED_STEPS and session.traced_steps < max(MOST_FIRST_WINDOWS, TRACED_STEPS * len(stepped)):
                return True
            self._first_windows = False
        if self._is_traced(session.steps):
            return True
        ends = [steps for steps, _ in self._closings]
        self._next_traced = min([*ends, next(s for s in itertools.count(session.steps + 1) if self._is_traced(s))])
        return False

    def _is_traced(self, steps: int) -> bool:
        """After the first windows: one round of the optimizers in 250, and what an observer asks for."""
        return steps % (_PERIOD * self._stepping) < self._stepping or steps // self._stepping in self._traced_windows

    # Module calls

    def _probe(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """The first forward after a step: a training forward ends the watch of this window, another one begins it."""
        if not self.alive or torch_internals.is_compiling() or threading.get_ident() != self._thread:
            return
        try:
            inner = module
            root = self.session.roots.get(id(module))
            if root is None or root.ref() is not module:
                inner, _ = torch_internals.unwrapped(module)
                root = self.session.roots.get(id(inner))
            if root is None or root.ref() is not inner:
                self._set_level(_DETAIL)  # a model that was never seen: trace it from here on
            elif not root.steps:
                return  # a loss or an augmentation: it says nothing about the window
            elif inner.training and torch.is_grad_enabled():
                if root.first_plain is None:
                    root.first_plain = self.session.steps
                self._level = _IDLE
                self._probes.pop(self._probe_id, None)
                return
            else:
                self._set_level(_ROOTS)
            self._before(module, args)
        except Exception as error:
            self._failed(error)

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not self.alive or torch_internals.is_compiling():
            return
        try:
            if threading.get_ident() != self._thread:
                self.session.other_threads = True
                return
            if torch_internals.in_backward():
                return  # a checkpoint computes its forward again
            if not self._keys:
                self._begin_root(module, args)
                return
            self._keys.append(id(module))
            call = self.session.root_call
            if call is None or not call.detail:
                self.session.stack.append(None)
                return
            self._begin_module(call, module, args)
        except Exception as error:
            self._failed(error)

    def _begin_root(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        session = self.session
        if torch_internals.is_tracing():
            return
        new = len(session.roots)
        root = session.root_of(module)
        inner = root.ref()
        if inner is None:
            return
        if len(session.roots) != new:
            self._listen_to_gradients(inner.parameters())
            for listener in self._root_registered:
                listener(root, inner)
        elif self._level == _DETAIL:
            self._listen_to_gradients(inner.parameters())  # what was unfrozen or added since
        training, grad = inner.training, torch.is_grad_enabled()
        traced = self._level == _DETAIL
        detail = traced if training and grad else self._detail_of_evaluation()
        detail |= not training and root.key in session.functions_wanted
        session.root_calls += 1
        root.calls += 1
        call = RootCall(
            root, session.root_calls, session.steps, training, grad, capture(3), traced, detail, self._in_step()
        )
        if root.site is None or (training and grad and root.calls == 1):
            root.site = call.site
        session.root_call = call
        session.window.forwards.append(call)
        self.session.quiet = False
        self._set_mode(call, inner)
        self._keys.append(id(module))
        session.stack.append(None)
        for listener in self._root_begins:
            listener(call, module, args)
        if detail and module is inner:
            session.stack.pop()
            self._begin_module(call, module, args)

    def _begin_module(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        record = call.root.module(module)
        if record is None:
            self.session.look_at(call.root)  # created since, or lazily
            record = call.root.module(module)
        call.calls += 1
        stack = self.session.stack
        parent = stack[-1] if stack else None
        entry = ModuleCall(call, record, id(module), call.calls, parent, module.training, torch.is_grad_enabled())
        stack.append(entry)
        for listener in self._module_begins:
            listener(entry, module, args)

    def _after(self, module: nn.Module, args: tuple[Any, ...], *rest: Any) -> None:
        # After an exception torch leaves the keywords out.
        keywords, output = rest if len(rest) == 2 else ({}, rest[0])
        if not self._keys or not self.alive or torch_internals.is_compiling():
            return
        try:
            if threading.get_ident() != self._thread or self._keys[-1] != id(module) or torch_internals.in_backward():
                return
            self._keys.pop()
            entry = self.session.stack.pop()
            if entry is not None:
                if entry.grad and entry.record is not None and entry.record.own and output is not None:
                    tag_outputs(output, entry)
                for listener in self._module_ends:
                    listener(entry, module, args, output)
            if not self._keys:
                self._end_root(module, args, keywords, output)
        except Exception as error:
            self._failed(error)

    def _end_root(self, module: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        call, self.session.root_call = self.session.root_call, None
        if call is None:
            return
        if call.functions:
            self._pop_mode()
        call.keywords = keywords
        try:
            for listener in self._root_ends:
                listener(call, module, args, output)
        finally:
            call.keywords = {}

    def _detail_of_evaluation(self) -> bool:
        """The first evaluation after a traced window is seen module by module, the others as roots."""
        steps = self.session.steps
        if self._detail_evaluation:
            self._detail_evaluation, self._evaluation_window = False, steps
        return self._evaluation_window == steps

    def _registered(self, module: nn.Module, name: str, submodule: nn.Module | None) -> None:
        if not self.alive or submodule is None or torch_internals.is_compiling():
            return
        site = capture(2)
        if site is not None:
            self.session.registered[id(module), name] = (weakref.ref(submodule), site)

    # Torch functions

    def _set_mode(self, call: RootCall, inner: nn.Module) -> None:
        """Functions are seen in eager training only: elsewhere an active mode changes which kernels run.

        One forward in eval mode is an exception, if an observer asked for it and no layer could choose another kernel.
        """
        if not call.training and call.root.key in self.session.functions_wanted:
            self.session.functions_wanted.discard(call.root.key)
            if not call.root.opaque and not may_take_fast_path(inner):
                self._push_mode()
                call.functions = self._mode_on
                if call.functions:
                    self.session.functions_seen = False  # for the observers of training, nothing is
                    return
        wanted = bool(self._functions) and call.traced and call.training and call.grad and not call.root.opaque
        if wanted and not may_take_fast_path(inner):
            self._push_mode()
        else:
            self._pop_mode()

    def _push_mode(self) -> None:
        if self._mode_on or torch_internals.in_backward():
            return
        if not torch_internals.can_push_function_mode():
            self.session.out_of_sight("torch functions", "another function mode is active, such as `with torch.device`")
            return
        self._mode.__enter__()  # type: ignore[no-untyped-call]
        self._mode_on = self.session.functions_seen = True

    def _pop_mode(self) -> None:
        """Only when ours is on top; the next hook tries again."""
        if self._mode_on and torch_internals.top_function_mode() is self._mode:
            self._mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self._mode_on = self.session.functions_seen = False

    def function_called(self, function: Callable[..., Any], args: Any, kwargs: Any, result: Any) -> None:
        call = self.session.root_call
        evaluated = call is not None and call.functions
        listeners = (self._evaluation_functions if evaluated else self._functions).get(function)
        if listeners is None or not self.alive:
            return
        try:
            for listener in listeners:
                listener(function, args, kwargs, result)
        except Exception as error:
            self._failed(error)

    # Gradients, steps, windows

    def _accumulated(self, parameter: torch.Tensor) -> None:
        if not self.alive:
            return
        try:
            self.session.window.accumulated.add(id(parameter))
            for listener in self._accumulated_listeners:
                listener(parameter)
        except Exception as error:
            self._failed(error)

    def _in_step(self) -> bool:
        return any(optimizer.in_step for optimizer in self.session.optimizers.values())

    def _before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.alive or torch_internals.is_compiling():
            return
        try:
            session = self.session
            known = session.optimizers.get(id(optimizer))
            if (
                self.session.quiet
                and known is not None
                and known.steps
                and known.ref() is optimizer
                and not self._mode_on
            ):
                known.in_step = True
                if len(optimizer.param_groups) != known.groups:
                    session.look_at_optimizer(known, optimizer)  # unfrozen in stages
                for listener in self._quiet_step_begins:
                    listener(known, optimizer)
                return
            traced = self._level == _DETAIL
            if known is None or known.ref() is not optimizer or traced or not known.steps:
                site = capture(2)
                record = session.optimizer_of(optimizer, site, built=False)
                session.look_at_optimizer(record, optimizer)
                record.step_site = site
                self._listen_to_gradients(ref() for ref in record.held.values())
            else:
                record = known
            record.in_step = True
            self._pop_mode()
            for listener in self._step_begins:
                listener(record, optimizer)
        except Exception as error:
            self._failed(error)

    def _after_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.alive or torch_internals.is_compiling():
            return
        try:
            session = self.session
            record = session.optimizers.get(id(optimizer))
            if record is None or record.ref() is not optimizer:
                return  # its pre-hook did not run: the watch began inside of the step
            record.in_step = False
            record.steps += 1
            session.steps += 1
            if record.steps == 1:
                self._first_windows = True
            window = session.window
            if session.quiet and record.steps > 1 and session.steps < self._next_traced:
                for root in record.roots:
                    root.steps += 1
                    root.last_step = session.steps
                # A quiet window holds nothing but its numbers: the next one may be the same object.
                window.number, window.backwards = session.steps, 0
                for listener in self._quiet_step_ends:
                    listener(record, optimizer, window)
                if self._level == _IDLE:
                    self._level = _PROBE
                    self._probes[self._probe_id] = self._probe_hook
                elif self._level != _PROBE and self.alive:
                    self._set_level(_PROBE)
                return
            if self._level == _DETAIL:
                session.traced_steps += 1
                record.traced_steps += 1
                self._detail_evaluation = True
            if self._level == _DETAIL or not record.roots:
                record.roots = [
                    root for root in session.roots.values() if any(key in record.held for key in root.parameters)
                ]
            for root in record.roots:
                root.steps += 1
                root.last_step = session.steps
            trace = self._trace_next()
            self.session.quiet = False
            session.window = Window(session.steps, trace)
            for listener in self._step_ends:
                listener(record, optimizer, window)
            if window.traced:
                self._end_passes(record, window)
            if self._closings:
                self._close_due()
            if not self.alive:
                return
            self._set_level(_DETAIL if trace else _PROBE)
            if not trace:
                self._listen_quietly()
                self.session.quiet = True
            if trace and record.step_site is not None and not torch_internals.in_backward():
                self._push_mode()
            else:
                self._pop_mode()
        except Exception as error:
            self._failed(error)

    def _close_due(self) -> None:
        due = [watch() for steps, watch in self._closings if steps <= self.session.steps]
        self._closings = [item for item in self._closings if item[0] > self.session.steps]
        for watch in due:
            if watch is not None:
                watch.close()

    def _end_passes(self, record: OptimizerRecord, window: Window) -> None:
        for root in record.roots:
            if any(key in record.held and key in root.parameters for key in window.accumulated):
                root.passes += 1
                for listener in self._pass_ended:
                    listener(root, record, window)

    # Patches

    def _patched_backward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def backward(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if not self.alive or torch_internals.is_compiling():
                return original(*args, **kwargs)
            if self.session.quiet:
                self._quiet_backward(args[0] if args else kwargs.get("tensors"))
                return original(*args, **kwargs)
            self._backward_starts(args[0] if args else kwargs.get("tensors"))
            try:
                return original(*args, **kwargs)
            finally:
                self._backward_stops()

        return backward

    def _quiet_backward(self, tensors: Any) -> None:
        self.session.window.backwards += 1
        if not self._quiet_backward_begins:
            return
        roots = (tensors,) if isinstance(tensors, torch.Tensor) else tuple(tensors or ())
        try:
            for listener in self._quiet_backward_begins:
                listener(roots, None)
        except Exception as error:
            self._failed(error)

    def _backward_starts(self, tensors: Any) -> None:
        session = self.session
        session.backward_depth += 1
        session.window.backwards += 1
        try:
            session.backward_site = capture(3) if self._level == _DETAIL else None
            if self._backward_begins:
                roots = [tensors] if isinstance(tensors, torch.Tensor) else [t for t in tensors or () if t is not None]
                for listener in self._backward_begins:
                    listener(roots, session.backward_site)
        except Exception as error:
            self._failed(error)

    def _backward_stops(self) -> None:
        self.session.backward_depth -= 1
        try:
            if self.alive:
                for listener in self._backward_ends:
                    listener()
        except Exception as error:
            self._failed(error)

    def _patched_scheduler_step(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def step(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            # The constructor's own step comes while the counter is still 0.
            outermost = self._scheduler_depth == 0 and getattr(scheduler, "_step_count", 1) != 0
            self._scheduler_depth += 1
            try:
                result = original(scheduler, *args, **kwargs)
            finally:
                self._scheduler_depth -= 1
            if outermost and self.alive:
                self._tell("scheduler_stepped", scheduler, capture(2))
            return result

        return step

    def _patched_iter(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def __iter__(loader: Any) -> Any:
            if self.alive:
                if self._level in (_PROBE, _IDLE):
                    self._set_level(_ROOTS)  # an evaluation in training mode looks like training
                self._tell("loader_started", loader, capture(2))
            return original(loader)

        return __iter__

    def _patched_optimizer(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def __init__(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(optimizer, *args, **kwargs)
            if self.alive:
                try:
                    record = self.session.optimizer_of(optimizer, capture_construction(optimizer, 2), built=True)
                    self.session.look_at_optimizer(record, optimizer)
                    for observer in self.observers:
                        observer.optimizer_made(record, optimizer)
                except Exception as error:
                    self._failed(error)
            return result

        return __init__

    def _patched_state_dict(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def state_dict(module: Any, *args: Any, **kwargs: Any) -> Any:
            outermost = self._state_depth == 0
            self._state_depth += 1
            try:
                state = original(module, *args, **kwargs)
            finally:
                self._state_depth -= 1
            if outermost and self.alive and isinstance(state, dict):
                self._tell("state_copied", module, state, capture(2))
            return state

        return state_dict

    def _tell(self, event: str, *values: Any) -> None:
        if torch_internals.is_compiling() or threading.get_ident() != self._thread:
            return
        self.session.quiet = False
        try:
            for observer in self.observers:
                getattr(observer, event)(*values)
        except Exception as error:
            self._failed(error)


def without_our_frames(error: BaseException) -> None:
    """Take the frames of this package out of an exception's traceback: the user's error is not ours."""
    while error.__traceback__ is not None and _is_ours(error.__traceback__):
        error.__traceback__ = error.__traceback__.tb_next
    at = error.__traceback__
    while at is not None:
        while at.tb_next is not None and _is_ours(at.tb_next):
            at.tb_next = at.tb_next.tb_next
        at = at.tb_next


def _is_ours(traceback: TracebackType) -> bool:
    return os.path.dirname(traceback.tb_frame.f_code.co_filename) == os.path.dirname(__file__)


def _filters_changed() -> None:
    changed = getattr(warnings, "_filters_mutated", None) or getattr(warnings, "_filters_mutated_lock_held", None)
    if changed is not None:
        changed()


_current: Installation | None = None


def current() -> Installation | None:
    """The installation of this process, None when nothing is watched."""
    return _current if _current is not None and _current.alive else None


def set_current(installation: Installation | None) -> None:
    """Remember the installation, so that a second watch can share it and a forked child can drop it."""
    global _current
    _current = installation


def _forget_in_child() -> None:
    """A forked process (a DataLoader worker) records nothing."""
    if _current is not None:
        _current.alive = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
