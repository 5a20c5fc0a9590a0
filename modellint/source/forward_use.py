"""Reads `ForwardUse`: each call of a model, its mode, its gradients, and what it is for."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.forward_use import (
    CallSite,
    DeviceState,
    ForwardUse,
    ModeState,
    Sign,
    SignKind,
    Unrecorded,
)
from modellint.facts.span import Span
from modellint.facts.training_loop import EventKind
from modellint.source.gradient_paths import unrecorded_forwards
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.records import ForwardRecord, LoopRecord
from modellint.source.interpreter.values import UNMOVED, DeviceMove, LoaderValue, ModeEntry, ModuleValue, Tensor
from modellint.source.naming import by_chance_on_purpose, words
from modellint.source.places import Places, contradicts
from modellint.source.training_loop import passes

_HELD_OUT_WORDS = frozenset(
    [
        "val",
        "valid",
        "validation",
        "eval",
        "evaluate",
        "evaluation",
        "evaluating",
        "test",
        "testing",
        "predict",
        "prediction",
        "infer",
        "inference",
        "validate",
    ]
)


def read(places: Places) -> Iterator[ForwardUse]:
    """One fact for each call of a model from one chain of calls; rounds of a loop are put together."""
    groups: dict[object, list[ForwardRecord]] = {}
    training = _training_forwards(places)
    unrecorded = unrecorded_forwards(places)
    for record in places.records.forwards:
        sites = tuple(id(site.node) if site is not None else 0 for _, site in record.functions)
        # The rounds of `for phase in ("train", "val")` are different uses: one records and is backwarded.
        phase = (record.grad, bool(record.backwards))
        groups.setdefault((id(record.site.node), record.model.key, sites, phase), []).append(record)
    for records in groups.values():
        yield _use(places, records, training, unrecorded)


def _training_forwards(places: Places) -> set[int]:
    """Forwards that a backward or step follows in the same pass of a loop, and those that run its batch again."""
    result: set[int] = set()
    for loop in places.records.loops:
        for items in loop.rounds:
            for path, _ in passes(items)[0]:
                waiting: list[ForwardRecord] = []
                trained: set[int] = set()
                for event in path:
                    if event.kind is EventKind.FORWARD and event.forward is not None:
                        waiting.append(event.forward)
                        if id(event.forward.input) in trained:
                            result.add(id(event.forward))
                    elif event.kind in (EventKind.BACKWARD, EventKind.OPTIMIZER_STEP):
                        result.update(id(forward) for forward in waiting)
                        trained.update(id(forward.input) for forward in waiting)
                        waiting.clear()
    return result


def _use(places: Places, records: list[ForwardRecord], training: set[int], unrecorded: set[int]) -> ForwardUse:
    first = records[0]
    backwards = [assumed for record in records for assumed in record.backwards]
    modes = _modes(places, records)
    signs = _signs(places, records)
    module = first.model
    dependent = max((record.mode_dependent for record in records), key=len)
    text = first.text
    tensor = first.input if isinstance(first.input, Tensor) else None
    origin = tensor.origin if tensor is not None else None
    names = [name for name, _ in first.functions]
    owner = module.cls.name if module.cls is not None else module.name
    stepped = any(not optimizer.modules or _shares(optimizer.modules, module) for optimizer, _ in places.records.steps)
    return ForwardUse(
        place=places.span(first.site),
        model=places.model(module, text, dependent),
        modes=modes,
        grad=None
        if module.from_outside
        else first.grad
        if all(record.grad is first.grad for record in records)
        else None,
        grad_place=places.optional(first.grad_site),
        backwarded=bool(backwards),
        stepped=bool(backwards) and stepped,
        in_training_pass=any(id(record) in training for record in records),
        unfollowed_result=any(record.escaped for record in records),
        needs_gradient=any(record.needs_gradient for record in records)
        or (first.function is not None and first.function in places.records.gradient_functions)
        or origin == "needs gradient"
        or bool(module.state.get("attributed")),
        signs=signs,
        repeated=first.loop_depth > 0,
        input_is_dummy=origin == "dummy" and not any(sign.kind is SignKind.LOSS for sign in signs),
        functions=tuple(names),
        calls=tuple(
            CallSite(name, places.span(site))
            for name, site in first.functions
            if site is not None and _is_call(site.node)
        ),
        stochastic_on_purpose=by_chance_on_purpose(*names, owner)
        or (module.known_library is not None and module.known_library.detector),
        framework=first.framework,
        in_test_suite=places.file.in_test_suite or first.site.file.in_test_suite,
        model_device=_device(places, first.model_device),
        input_device=_device(places, first.input_device),
        input_text=first.input_site.file.text.segment(first.input_site.node)
        if first.input_site is not None and hasattr(first.input_site.node, "lineno")
        else "",
        input_place=places.optional(first.input_site),
        input_unmoved=tensor is not None and tensor.device is UNMOVED,
        model_unmoved=first.model_device is UNMOVED,
        unrecorded=Unrecorded.GRAD_OFF if any(id(r) in unrecorded for r in records) else None,
    )


def _is_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call)


def _shares(modules: tuple[ModuleValue, ...], module: ModuleValue) -> bool:
    below = {part.key for _, part in module.walk()}
    return any(part.key in below for held in modules for _, part in held.walk())


def _device(places: Places, move: DeviceMove | None) -> DeviceState | None:
    if move is None or move.site is None:
        return None
    return DeviceState(move.text, places.span(move.site), move.may_be_other_than_cpu)


def _modes(places: Places, records: list[ForwardRecord]) -> tuple[ModeState, ...]:
    """The modes that do not contradict what was assumed where the forward, or its backward, stands."""
    states: dict[ModeState, None] = {}
    for record in records:
        for entry in sorted(record.modes, key=lambda e: _order(places, e)):
            if contradicts(entry.assumed, record.assumed):
                continue
            if record.backwards and all(contradicts(entry.assumed, assumed) for assumed in record.backwards):
                continue
            carried = any(loop in record.loops for loop in entry.loops)
            states[ModeState(entry.mode, places.optional(entry.site), entry.text, entry.by_construction, carried)] = (
                None
            )
    return tuple(states)


def _order(places: Places, entry: ModeEntry) -> tuple[object, ...]:
    place = places.optional(entry.site)
    return (entry.mode.value, place or Span("", 0, 0, 0, 0), entry.by_construction)


def _signs(places: Places, records: list[ForwardRecord]) -> tuple[Sign, ...]:
    signs: dict[object, Sign] = {}
    members = set(records)
    for record in records:
        for (kind, _), (site, text) in record.signs.items():
            signs.setdefault((kind, site.node if site else None), Sign(kind, places.optional(site), text))
    for loss in places.records.losses:
        if not loss.backwarded and taints((loss.input,))[0] & members:
            signs.setdefault((SignKind.LOSS, loss.site.node), Sign(SignKind.LOSS, places.span(loss.site), loss.text))
    first = records[0]
    if first.grad is False:
        signs[SignKind.NO_GRAD] = Sign(SignKind.NO_GRAD, places.optional(first.grad_site), "")
    for name, _ in first.functions:
        if _HELD_OUT_WORDS & set(words(name)):
            signs.setdefault(SignKind.FUNCTION_NAME, Sign(SignKind.FUNCTION_NAME, None, name))
    origin = first.input.origin if isinstance(first.input, Tensor) else None
    if isinstance(origin, LoaderValue) and origin.held_out is not None:
        signs[SignKind.HELD_OUT_DATA] = Sign(SignKind.HELD_OUT_DATA, places.optional(origin.site), origin.held_out)
    loop = first.loops[-1] if first.loops else None
    if isinstance(loop, LoopRecord) and isinstance(loop.site.node, ast.For):
        text = loop.site.file.text.segment(loop.site.node.iter)
        if _HELD_OUT_WORDS & set(words(text)):
            signs.setdefault(SignKind.LOADER_NAME, Sign(SignKind.LOADER_NAME, None, text))
    return tuple(signs.values())
