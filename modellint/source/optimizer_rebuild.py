"""Reads `OptimizerRebuild`: optimizers made anew in every round of a loop."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from modellint.facts.optimizer_rebuild import OptimizerRebuild
from modellint.source.gradient_paths import GradientPaths, held
from modellint.source.interpreter.reach import SetupNote
from modellint.source.interpreter.records import LoopRecord
from modellint.source.interpreter.values import Cells, Const, ModuleValue, Value
from modellint.source.places import Places


def read(places: Places) -> Iterator[OptimizerRebuild]:
    """One fact for each place and loop."""
    groups: dict[object, list[SetupNote]] = {}
    for setup in places.records.graph.setups:
        loop = next((one for one in reversed(setup.loops) if isinstance(one, LoopRecord)), None)
        if loop is not None and setup.loops and setup.loops[-1] is loop and setup.site is not None:
            groups.setdefault((id(setup.site.node), id(loop)), []).append(setup)
    if not groups:
        return
    paths = GradientPaths(places)
    seen: set[object] = set()
    for setups in groups.values():
        fact = _fact(places, paths, setups)
        if fact is not None and (fact.place, fact.loop) not in seen:
            seen.add((fact.place, fact.loop))
            yield fact


def _fact(places: Places, paths: GradientPaths, setups: list[SetupNote]) -> OptimizerRebuild | None:
    first = setups[0]
    loop: LoopRecord = first.loops[-1]
    if len(setups) < 2 or not all(_plain(setup) for setup in setups) or len({setup.path for setup in setups}) > 1:
        return None
    same = all(held(setup) == held(first) and setup.names == first.names for setup in setups)
    if not same or first.path != loop.path or loop.framework is not None:
        return None  # other parameters, or only in some rounds: a restart, layers that are unfrozen one by one
    if any(_born(root) > loop.born or root.from_outside for root in first.roots):
        return None
    if any(part.state.get("escaped") or part.state.get("copied") for _, part in first.parts.values()):
        return None
    depths = [_depth(step.loops, loop) for setup in setups for step in paths.steps.get(id(setup.optimizer), ())]
    steps = [step for setup in setups for step in paths.steps.get(id(setup.optimizer), ())]
    if not steps or any(depth is None for depth in depths):
        return None
    each_batch = all(not depth for depth in depths)
    repeats = isinstance(loop.site.node, ast.While) or loop.counted
    if not each_batch and (not repeats or any(not _one_epoch(depth) for depth in depths)):
        return None
    model = first.roots[0]
    assert first.site is not None
    text = next((r.text for r in places.records.forwards if r.model is model), model.name.rpartition(".")[2])
    return OptimizerRebuild(
        place=places.span(first.site),
        optimizer=paths.reference(first.optimizer),
        model=places.model(model, text),
        loop=places.span(loop.site),
        each_batch=each_batch,
        step_place=places.span(steps[0].site),
        momentum=first.optimizer.kind != "SGD" or _keeps_momentum(first),
        settings_change=any(not _equal(setup.settings, first.settings) for setup in setups),
        weights_change=any(setup.freshness > loop.born for setup in setups),
    )


def _plain(setup: SetupNote) -> bool:
    return setup.complete and not setup.others and bool(setup.roots)


def _born(module: ModuleValue) -> int:
    return module.state.born if isinstance(module.state, Cells) else 0


def _depth(loops: tuple[Any, ...], loop: LoopRecord) -> list[LoopRecord] | None:
    """The loops between a loop and a step inside of it; None when the step lies outside."""
    if loop not in loops:
        return None
    return [inner for inner in loops[loops.index(loop) + 1 :] if isinstance(inner, LoopRecord)]


def _one_epoch(depth: list[LoopRecord] | None) -> bool:
    """One loop over something else than numbers: the batches of an epoch."""
    return depth is not None and len(depth) <= 1 and not any(loop.counted for loop in depth)


def _keeps_momentum(setup: SetupNote) -> bool:
    call = setup.site.node if setup.site is not None else None
    if not isinstance(call, ast.Call):
        return False
    given = next((k.value for k in call.keywords if k.arg == "momentum"), call.args[2] if len(call.args) > 2 else None)
    return given is not None and not (isinstance(given, ast.Constant) and not given.value)


def _equal(a: tuple[Value, ...], b: tuple[Value, ...]) -> bool:
    return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))


def _same(a: Value, b: Value) -> bool:
    return a is b or (isinstance(a, Const) and isinstance(b, Const) and a.value == b.value)
