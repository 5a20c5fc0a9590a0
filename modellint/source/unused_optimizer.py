"""Optimizers that never step while backward reaches their parameters: forgotten, or another name steps instead."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.training_loop import Event, EventKind, OptimizerRef, TrainingLoop
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.records import BackwardRecord
from modellint.source.interpreter.values import OptimizerValue, Site
from modellint.source.loop_paths import layer_keys, paths
from modellint.source.name_use import SCHEDULE, methods_called
from modellint.source.places import Places
from modellint.source.tree import walk

_HARMLESS = frozenset({"zero_grad", "state_dict", "load_state_dict", "param_groups", SCHEDULE})


def unused_optimizers(places: Places) -> Iterator[TrainingLoop]:
    """One fact for each."""
    stepped = {id(optimizer) for optimizer, _ in places.records.steps}
    made: dict[int, list[OptimizerValue]] = {}
    for optimizer in places.records.optimizers:
        if optimizer.site is not None:
            made.setdefault(id(optimizer.site.node), []).append(optimizer)
    for optimizers in made.values():
        # One place may make several, one for each time that the code is entered: what is true of one is enough.
        if any(id(optimizer) in stepped for optimizer in optimizers):
            continue
        facts = [fact for optimizer in optimizers if (fact := _fact(places, optimizer)) is not None]
        if len(facts) == len(optimizers):
            yield facts[0]


def _fact(places: Places, optimizer: OptimizerValue) -> TrainingLoop | None:
    site = optimizer.site
    if site is None:
        return None
    reaching = _reaching(places, optimizer)
    if not reaching:
        return None
    called = methods_called(places, optimizer, site)
    if called is None or called - _HARMLESS:
        return None
    events = [Event(EventKind.BACKWARD, places.span(reaching[0].site), _text(reaching[0].site), (optimizer.key,))]
    other = _other(places, optimizer)
    if other is not None:
        step, name = other
        events.append(Event(EventKind.OPTIMIZER_STEP, places.span(step), _text(step), (name.key,)))
    elif not all(_only_trains(places, record) for record in reaching):
        return None
    loop = reaching[0].loops[-1]
    return TrainingLoop(
        place=places.span(loop.site),
        passes=(tuple(events),),
        complete=True,
        optimizers=(OptimizerRef(optimizer.key, optimizer.text, optimizer.kind, places.span(site)),),
        cleared_outside=(),
        framework=loop.framework,
    )


def _text(site: Site) -> str:
    return site.file.text.segment(site.node)


def _reaching(places: Places, optimizer: OptimizerValue) -> list[BackwardRecord]:
    """The calls of backward in a loop that reach what it holds."""
    held = layer_keys(optimizer.modules) if optimizer.complete else set()
    result: list[BackwardRecord] = []
    for record in places.records.order.backwards:
        if record.loops and not record.creates:
            models = tuple(forward.model for forward in taints((record.value,))[0])
            if held & layer_keys(models) or (not (held and models) and _clears_in(record, optimizer)):
                result.append(record)
    return result


def _clears_in(record: BackwardRecord, optimizer: OptimizerValue) -> bool:
    """Whether every pass of the loop around a backward clears the optimizer itself: what it clears is what it gets."""
    passes = [path.events for round_ in record.loops[-1].rounds for path in paths(round_)[0] if path.end is None]
    return bool(passes) and all(
        any(event.kind is EventKind.ZERO_GRAD and optimizer in event.optimizers for event in events)
        for events in passes
    )


def _other(places: Places, optimizer: OptimizerValue) -> tuple[Site, OptimizerValue] | None:
    """A step of another optimizer over the same parameters."""
    held = layer_keys(optimizer.modules)
    for other, site in places.records.steps:
        if (
            other is not optimizer
            and optimizer.complete
            and other.complete
            and held
            and held <= layer_keys(other.modules)
        ):
            return site, other
    return None


def _only_trains(places: Places, record: BackwardRecord) -> bool:
    """Nothing around a backward but an optimizer can use its gradients: no call is unknown, nobody reads `.grad`."""
    for round_ in record.loops[-1].rounds:
        for path in paths(round_)[0]:
            if any(event.kind in (EventKind.UNKNOWN_CALL, EventKind.OPTIMIZER_STEP) for event in path.events):
                return False
    files = {id(record.site.file): record.site.file} | {id(loop.site.file): loop.site.file for loop in record.loops}
    return not any(_reads_gradients(file.text.tree) for file in files.values())


def _reads_gradients(tree: ast.AST) -> bool:
    known: bool | None = getattr(tree, "_modellint_reads_gradients", None)
    if known is None:
        known = any(isinstance(node, ast.Attribute) and node.attr == "grad" for node in walk(tree))
        tree._modellint_reads_gradients = known  # type: ignore[attr-defined]
    return known
