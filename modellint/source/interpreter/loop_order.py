"""What schedulers, scalers and gradient clipping do, noted with what it concerns: for the order of events in a pass."""

from __future__ import annotations

import ast
import math
from typing import TYPE_CHECKING

from modellint.facts.training_loop import EventKind
from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.records import BackwardRecord, LoopRecord, ScheduleStep
from modellint.source.interpreter.values import (
    NONE,
    Choice,
    Const,
    External,
    FunctionValue,
    ModuleValue,
    ObjectValue,
    OptimizerValue,
    ParametersOf,
    ParameterValue,
    ScalerValue,
    SchedulerValue,
    Tensor,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from modellint.source.interpreter.value_methods import ValueMethods

_SIGNATURES: dict[str, tuple[str, ...]] = {
    "StepLR": ("optimizer", "step_size", "gamma", "last_epoch"),
    "MultiStepLR": ("optimizer", "milestones", "gamma", "last_epoch"),
    "ExponentialLR": ("optimizer", "gamma", "last_epoch"),
    "CosineAnnealingLR": ("optimizer", "T_max", "eta_min", "last_epoch"),
    "OneCycleLR": ("optimizer", "max_lr", "total_steps", "epochs", "steps_per_epoch"),
    "CyclicLR": ("optimizer", "base_lr", "max_lr", "step_size_up", "step_size_down"),
}
_NORMS = frozenset({"torch.nn.utils.clip_grad_norm_", "torch.nn.utils.clip_grad_norm"})
_CLIPS = frozenset({"clamp_", "clip_", "clamp", "clip"})
_SCALES = frozenset({"div_", "mul_", "div", "mul", "copy_", "add_", "sub_", "normal_"})


# ---------------------------------------------------------------- schedulers


def scheduler_made(machine: ValueMethods, name: str, call: CallArguments, node: ast.AST) -> SchedulerValue:
    """A scheduler is constructed."""
    kind = name.rpartition(".")[2]
    first = call.positional[0] if call.positional else call.keywords.get("optimizer")
    optimizer = first if isinstance(first, OptimizerValue) else None
    arguments = call.bound(_SIGNATURES.get(kind, ("optimizer",)))
    if call.open:
        arguments["*"] = Unknown("more arguments")
    scheduler = SchedulerValue(kind, optimizer, machine.site(node), kind, arguments)
    machine.records.order.schedulers.append(scheduler)
    return scheduler


def scheduler_method(
    machine: ValueMethods, scheduler: SchedulerValue, name: str, call: CallArguments, node: ast.AST
) -> Value:
    """`scheduler.step()` and the rest."""
    if name == "step":
        given = bool(call.positional or call.keywords or call.open)
        loops = tuple(loop for loop in machine.loops if isinstance(loop, LoopRecord))
        scheduler.steps.append(ScheduleStep(machine.site(node), loops, machine.path, given))
        optimizers = (scheduler.optimizer,) if scheduler.optimizer is not None else ()
        machine.event(
            EventKind.SCHEDULER_STEP, node, optimizers=optimizers, subject=scheduler, given=given, path=machine.path
        )
    return Unknown(f"the result of `{name}`")


# ---------------------------------------------------------------- scalers


def scaler_made(machine: ValueMethods, call: CallArguments, node: ast.AST) -> ScalerValue:
    """`GradScaler(...)`."""
    enabled: bool | None = True
    given = call.keywords.get("enabled")
    if given is not None:
        enabled = machine.truth(given)
        if enabled is None and isinstance(given, Unknown) and given.text == "torch.cuda.is_available":
            enabled = True  # without an accelerator nothing is trained in earnest
    elif call.open:
        enabled = None
    return ScalerValue(machine.site(node), "GradScaler", "GradScaler", enabled)


def scaler_method(machine: ValueMethods, scaler: ScalerValue, name: str, call: CallArguments, node: ast.AST) -> Value:
    """`scaler.scale(loss)`, `unscale_`, `step` and `update`."""
    first = call.positional[0] if call.positional else None
    if name == "scale" and first is not None:
        forwards, losses = taints((first,))
        scaler.scaled |= losses
        weighed = not isinstance(first, Tensor) or first.weighed
        return Tensor(forwards=forwards, losses=losses, scaler=scaler, weighed=weighed)
    optimizers = _optimizers(first)
    if name == "step":
        for optimizer in optimizers:
            machine._step(optimizer, node, scaler)
        if not optimizers:
            scaler.escaped = True
            return machine.unknown_call(Unknown("a step of an optimizer that is not known"), call, node)
    elif name == "unscale_":
        machine.event(EventKind.UNSCALE, node, optimizers=optimizers, subject=scaler)
    elif name == "update":
        scaler.updates = True
        machine.event(EventKind.SCALER_UPDATE, node, subject=scaler)
    return Unknown(f"the result of `{name}`")


def _optimizers(value: Value | None) -> tuple[OptimizerValue, ...]:
    options = value.options if isinstance(value, Choice) else (value,)
    return tuple(option for option in options if isinstance(option, OptimizerValue))


def let_go(value: Value) -> None:
    """A value went into code that was not followed: what happens to a scaler there is not known."""
    if isinstance(value, ScalerValue):
        value.escaped = True
    elif isinstance(value, ObjectValue | ModuleValue):
        for inner in value.attrs.values():
            if isinstance(inner, ScalerValue):
                inner.escaped = True


# ---------------------------------------------------------------- gradients


def clipped(machine: ValueMethods, name: str, call: CallArguments, node: ast.AST) -> Value:
    """`clip_grad_norm_` and `clip_grad_value_`; with an infinite limit only the norm is wanted."""
    limit = call.get(1, "max_norm" if name in _NORMS else "clip_value")
    given = call.positional[0] if call.positional else call.keywords.get("parameters")
    if not _is_infinite(limit):
        modules, whole = _owners(given)
        machine.event(EventKind.CLIP, node, modules=modules, sure=whole)
    return Unknown("a norm")


def _is_infinite(limit: Value | None) -> bool:
    if isinstance(limit, Const):
        return isinstance(limit.value, float) and math.isinf(limit.value)
    return isinstance(limit, External) and limit.name.rpartition(".")[2] in ("inf", "Inf", "infty")


def _owners(given: Value | None) -> tuple[tuple[ModuleValue, ...], bool]:
    """The modules whose parameters are given, and whether that is all of it."""
    if isinstance(given, ParametersOf):
        return given.modules, given.complete
    if isinstance(given, ParameterValue):
        return tuple(module for module, _ in given.targets), True
    items = getattr(given, "items", None)
    if isinstance(items, tuple):
        parts = [_owners(item) for item in items]
        return tuple(module for modules, _ in parts for module in modules), all(whole for _, whole in parts)
    return (), False


def gradient_method(machine: ValueMethods, owner: ParameterValue, name: str, node: ast.AST) -> Value:
    """`p.grad.zero_()`, `p.grad.data.clamp_(-1, 1)`, `p.grad.div_(scale)`."""
    modules = tuple(module for module, _ in owner.targets)
    if name in ("zero_", "detach_", "fill_"):
        machine.event(EventKind.ZERO_GRAD, node, modules=modules, sure=name == "zero_")
    elif name in _CLIPS and name.endswith("_"):
        machine.event(EventKind.CLIP, node, modules=modules)
    elif name in _SCALES and name.endswith("_"):
        machine.event(EventKind.UNSCALE, node, modules=modules)
    return Unknown("a gradient")


def gradient_set(machine: ValueMethods, target: Value, value: Value, node: ast.AST) -> None:
    """`p.grad = None` clears; any other value replaces the gradient by what nobody knows."""
    modules = tuple(m for m, _ in target.targets) if isinstance(target, ParameterValue) else ()
    if isinstance(target, Tensor) and value is NONE:
        # It may be a tensor that an optimizer holds, or an input that a gradient was asked of.
        held = tuple(optimizer for optimizer in machine.records.optimizers if optimizer.holds_parameters)
        if held:
            machine.event(EventKind.ZERO_GRAD, node, optimizers=held, sure=False)
        return
    kind = EventKind.ZERO_GRAD if value is NONE else EventKind.UNKNOWN_CALL
    machine.event(kind, node, modules=modules, everything=not modules, sure=bool(modules))


def backward_noted(machine: ValueMethods, value: Value, call: CallArguments | None, node: ast.AST) -> None:
    """A call of backward, with what it keeps."""
    retains = creates = False
    if call is not None:
        creates = "create_graph" in call.keywords or len(call.positional) > 2
        flag = call.get(1, "retain_graph")
        retains = isinstance(flag, Const) and flag.value is True
    loops = tuple(loop for loop in machine.loops if isinstance(loop, LoopRecord))
    function = machine.frame.function.node if machine.frame.function is not None else None
    machine.records.order.backwards.append(
        BackwardRecord(machine.site(node), value, loops, retains, creates or (call is not None and call.open), function)
    )


def note_handed(machine: ValueMethods, function: FunctionValue, call: CallArguments, node: ast.AST) -> None:
    """A function that was followed received an optimizer or a scheduler."""
    for value in (*call.positional, *call.keywords.values()):
        if type(value) is OptimizerValue or type(value) is SchedulerValue:
            machine.records.order.handed.setdefault((node, id(value)), []).append(function)


def innermost_loop(machine: ValueMethods) -> LoopRecord | None:
    """The loop around what is running."""
    return next((loop for loop in reversed(machine.loops) if isinstance(loop, LoopRecord)), None)
