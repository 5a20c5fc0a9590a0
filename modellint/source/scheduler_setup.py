"""Reads `SchedulerSetup`: what is done with each learning-rate scheduler, and what its sizes count."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.scheduler_setup import Interval, SchedulePlace, SchedulerSetup
from modellint.source.data_loops import enclosing_function
from modellint.source.interpreter.records import LoopRecord, ScheduleStep
from modellint.source.interpreter.values import (
    Const,
    IterationValue,
    LoaderValue,
    OptimizerValue,
    RangeValue,
    SchedulerValue,
    SequenceValue,
    Site,
    Tensor,
    Unknown,
    Value,
)
from modellint.source.loop_paths import layer_keys
from modellint.source.name_use import methods_called
from modellint.source.places import Places
from modellint.source.training_loop import reference
from modellint.source.tree import walk

_MOST_CYCLE = 2000
"""The default of CyclicLR's `step_size_up`."""
_FAST_DECAY = 0.95


def read(places: Places) -> Iterator[SchedulerSetup]:
    """One fact for each place that makes a scheduler, if all that are made there are alike."""
    made: dict[int, list[SchedulerValue]] = {}
    for scheduler in places.records.order.schedulers:
        if scheduler.site is not None:
            made.setdefault(id(scheduler.site.node), []).append(scheduler)
    if not made:
        return
    steps: dict[int, list[Site]] = {}
    for optimizer, site in places.records.steps:
        steps.setdefault(id(optimizer), []).append(site)
    loops = _stepping_loops(places)
    for schedulers in made.values():
        facts = [_fact(places, scheduler, steps, loops) for scheduler in schedulers]
        stepped = [fact for fact in facts if fact.steps]
        # One that is entered with unknown arguments beside those that are made for real says nothing.
        yield (stepped or facts)[0]


def _fact(
    places: Places, scheduler: SchedulerValue, steps: dict[int, list[Site]], loops: dict[int, LoopRecord]
) -> SchedulerSetup:
    site, optimizer = scheduler.site, scheduler.optimizer
    assert site is not None
    called = methods_called(places, scheduler, site) if not scheduler.steps else None
    other = _other(places, optimizer) if optimizer is not None and id(optimizer) not in steps else None
    loop = loops.get(id(optimizer)) if optimizer is not None else None
    counts, shown = _counts(scheduler, loop)
    return SchedulerSetup(
        place=places.span(site),
        text=scheduler.text,
        kind=scheduler.kind,
        optimizer=reference(places, optimizer) if optimizer is not None else None,
        trains=optimizer is not None and loop is not None,
        other=reference(places, other[0]) if other is not None else None,
        other_step=places.span(other[1]) if other is not None else None,
        steps=tuple(dict.fromkeys(_place(places, step, loop) for step in scheduler.steps)),
        untouched=called is not None and not called,
        counts=counts,
        shown=shown,
        framework=loop.framework if loop is not None else None,
    )


def _stepping_loops(places: Places) -> dict[int, LoopRecord]:
    """The innermost loop in which each optimizer first steps."""
    return {id(optimizer): loop for optimizer, loop in reversed(places.records.order.steps) if loop is not None}


def _other(places: Places, optimizer: OptimizerValue) -> tuple[OptimizerValue, Site] | None:
    held = layer_keys(optimizer.modules)
    for other, site in places.records.steps:
        if other is not optimizer and optimizer.complete and held and held <= layer_keys(other.modules):
            return other, site
    return None


def _place(places: Places, step: ScheduleStep, loop: LoopRecord | None) -> SchedulePlace:
    interval = Interval.UNKNOWN
    around = step.loops[-1] if step.loops else None
    if loop is not None and loop.parent is not None and around is not None:
        epochs = _same(loop.parent)
        if _same(around) is _same(loop) and _runs_over_batches(loop):
            interval = Interval.BATCH
        elif _same(around) is epochs and _runs_over_batches(loop):
            interval = Interval.EPOCH
    always = around is not None and step.path == around.path
    text = step.site.file.text.segment(step.site.node)
    return SchedulePlace(places.span(step.site), text, interval, always)


def _same(loop: LoopRecord) -> ast.AST:
    return loop.site.node


def _runs_over_batches(loop: LoopRecord) -> bool:
    """The loop goes over data, the one around it over a range: epochs."""
    assert loop.parent is not None
    over_data = isinstance(loop.iterated, LoaderValue | IterationValue | Unknown | Tensor)
    return over_data and isinstance(_epochs(loop), RangeValue)


def _epochs(loop: LoopRecord) -> Value | None:
    return loop.parent.iterated if loop.parent is not None and loop.parent.parent is None else None


# ---------------------------------------------------------------- what the sizes count


def _counts(scheduler: SchedulerValue, loop: LoopRecord | None) -> tuple[Interval, str]:
    """What the sizes of a schedule count, and what shows it."""
    given = scheduler.arguments
    epochs = _epochs(loop) if loop is not None else None
    number = epochs.count if isinstance(epochs, RangeValue) else None
    stop = epochs.stop if isinstance(epochs, RangeValue) else None
    kind = scheduler.kind
    name = {"StepLR": "step_size", "MultiStepLR": "milestones", "CosineAnnealingLR": "T_max"}.get(kind)
    if name is not None and name in given:
        counts, shown = _of_size(name, given[name], number, stop)
        if counts is Interval.UNKNOWN and loop is not None and _is_part(scheduler.site, name, loop):
            return Interval.EPOCH, f"`{name}` is a part of the number of epochs"
        return counts, shown
    if kind == "ExponentialLR":
        gamma = given.get("gamma")
        if isinstance(gamma, Const) and isinstance(gamma.value, float) and gamma.value <= _FAST_DECAY:
            return (
                Interval.EPOCH,
                f"`gamma={gamma.value}` leaves {gamma.value**100:.1g} of the learning rate after 100 steps",
            )
    if kind == "OneCycleLR" and "steps_per_epoch" in given:
        per_epoch = given["steps_per_epoch"]
        if not isinstance(per_epoch, Const):
            return Interval.BATCH, "`steps_per_epoch` says that it counts batches"
    if kind == "CyclicLR" and "*" not in given:
        up = given.get("step_size_up")
        length = up.value if isinstance(up, Const) else (_MOST_CYCLE if up is None else None)
        if isinstance(length, int) and number is not None and length > number:
            return Interval.BATCH, f"half a cycle is {length:,} steps, and there are {number:,} epochs"
    return Interval.UNKNOWN, ""


def _of_size(name: str, size: Value, number: int | None, stop: Value | None) -> tuple[Interval, str]:
    values = size.items if isinstance(size, SequenceValue) else (size,)
    if len(values) == 1 and stop is not None and isinstance(stop, Unknown) and values[0] is stop:
        return Interval.EPOCH, f"`{name}` is the number of epochs"
    numbers = [value.value for value in values if isinstance(value, Const) and isinstance(value.value, int)]
    if number is None or not numbers or len(numbers) < len(values):
        return Interval.UNKNOWN, ""
    if max(numbers) <= number:
        shown = f"[{', '.join(map(str, numbers))}]" if isinstance(size, SequenceValue) else str(numbers[0])
        return Interval.EPOCH, f"`{name}={shown}` lies within the {number:,} epochs"
    return Interval.UNKNOWN, ""


def _is_part(site: Site | None, name: str, loop: LoopRecord) -> bool:
    """`step_size=epochs // 2` where `range(epochs)` counts: one variable, bound once in its file, at one level."""
    around = loop.parent.site if loop.parent is not None else None
    if site is None or around is None or site.file is not around.file or not isinstance(site.node, ast.Call):
        return False
    keywords = [keyword.value for keyword in site.node.keywords if keyword.arg == name]
    size = next(iter(keywords or site.node.args[1:2]), None)
    if not isinstance(size, ast.BinOp) or not isinstance(size.op, ast.FloorDiv) or not isinstance(size.left, ast.Name):
        return False
    header = around.node.iter if isinstance(around.node, ast.For) else None
    if not isinstance(size.right, ast.Constant) or not isinstance(header, ast.Call) or header.keywords:
        return False
    stop = header.args[-1] if 0 < len(header.args) < 3 else None
    if not isinstance(stop, ast.Name) or stop.id != size.left.id or not isinstance(header.func, ast.Name):
        return False
    bound = [node for node in walk(site.file.text.tree) if _binds(node, stop.id)]
    inside = enclosing_function(site.file, site.node) is enclosing_function(site.file, around.node)
    return header.func.id == "range" and len(bound) == 1 and inside


def _binds(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.arg):
        return node.arg == name
    return isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load)
