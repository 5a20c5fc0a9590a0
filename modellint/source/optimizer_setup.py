"""Reads `OptimizerSetup`: optimizers that leave out, or never get, what the backwards of their loops reach."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.model import LayerRef
from modellint.facts.optimizer_setup import OptimizerSetup
from modellint.source.gradient_paths import GradientPaths, Untrained, held, own_parts, trains
from modellint.source.interpreter.reach import NO_GRAD, BackwardNote, SetupNote
from modellint.source.interpreter.values import ModuleValue, ParameterValue
from modellint.source.places import Places

Part = tuple[str, ModuleValue]


def read(places: Places) -> Iterator[OptimizerSetup]:
    """One fact for each optimizer."""
    if not places.records.graph.backwards or not places.records.graph.setups:
        return
    paths = GradientPaths(places)
    known = all(any(s.optimizer is step.optimizer for s in paths.setups) for step in places.records.graph.steps)
    complete = all(setup.complete for setup in places.records.graph.setups)
    if not known or not complete:
        return  # what an optimizer that was not followed holds may be what the others leave out
    reported: set[object] = set()
    idle = {id(case.setup): case for case in paths.untrained()}
    for setup in paths.setups:
        case = idle.get(id(setup))
        fact = _idle(places, paths, case) if case is not None else _lacking(places, paths, setup)
        if fact is not None and fact.place not in reported:
            reported.add(fact.place)
            yield fact


def _unheld(paths: GradientPaths, note: BackwardNote, model: ModuleValue | None) -> list[Part]:
    """Layers that a backward fills with gradients and that no optimizer holds."""
    every = set().union(*(held(setup) for setup in paths.setups))
    result: list[Part] = []
    for key, (name, part, root) in note.below.items():
        if key in every or part not in note.reach.live or (model is not None and root is not model):
            continue
        if part is root and not _is_leaf(part):
            continue
        if part.state.get("tied") or part.state.get("escaped") or part.state.get("written"):
            continue
        if part.spec is not None and part.spec.parametric and (part.state.get("differentiated")):
            result.append((name, part))
    return result


def _is_leaf(part: ModuleValue) -> bool:
    return part.spec is not None and part.spec.parametric


def _lacking(places: Places, paths: GradientPaths, setup: SetupNote) -> OptimizerSetup | None:
    """An optimizer that holds a part of a model, or what was a part of it."""
    steps = paths.steps.get(id(setup.optimizer))
    if not steps or setup.others:
        return None
    entries = paths.entries(setup)
    if entries & paths.notes.by_hand:
        return None
    keys = held(setup)
    for note in paths.notes.backwards:
        if not note.steps or note.entry not in entries or not keys & note.below.keys():
            continue
        for record in sorted(note.forwards, key=lambda r: getattr(r.site.node, "lineno", 0)):
            model = record.model
            if model.from_outside or model.state.get("escaped") or not own_parts(model) & keys:
                continue
            missing = _unheld(paths, note, model)
            if missing and paths.untouched(setup):
                return _fact(places, paths, setup, note, model, record.text, missing)
    return None


def _fact(
    places: Places,
    paths: GradientPaths,
    setup: SetupNote,
    note: BackwardNote,
    model: ModuleValue,
    text: str,
    missing: list[Part],
) -> OptimizerSetup:
    lost = []
    if any(whole is model for whole in setup.whole):
        lost = [part for key, (_, part) in setup.parts.items() if key not in note.walked and _is_leaf(part)]
        if not lost and model.known_library is not None:
            lost = [part for _, part in missing]  # each stands where a layer of the library's was
    keys = held(setup)
    given = [(name, part) for key, (name, part, root) in note.below.items() if root is model and key in keys]
    given = [(name, part) for name, part in given if _is_leaf(part)]
    sizes = [places.parameters(part) for _, part in (*given, *missing)]
    counted = all(size is not None for size in sizes)
    parts = {name.partition(".")[0] for name, _ in given}
    return OptimizerSetup(
        place=places.span(setup.site) if setup.site is not None else places.span(note.site),
        optimizer=paths.reference(setup.optimizer),
        model=places.model(model, text),
        given=sum(places.parameters(part) or 0 for _, part in given) if counted else len(given),
        given_part=parts.pop() if len(parts) == 1 and not lost else "",
        missing=_largest(places, model, missing),
        missing_values=sum(places.parameters(part) or 0 for _, part in missing) if counted else len(missing),
        foreign=len(lost),
        holds=sum(_is_leaf(part) for _, part in setup.parts.values()),
        counted=counted,
    )


def _idle(places: Places, paths: GradientPaths, case: Untrained) -> OptimizerSetup | None:
    """An optimizer of one model where the backwards reach another one that no optimizer holds."""
    if case.setup.others or len(case.setup.whole) != 1 or (case.cut is not None and case.cut.how != NO_GRAD):
        return None
    owner = case.setup.whole[0]
    note = case.backward
    every = set().union(*(held(setup) for setup in paths.setups))
    for record in sorted(note.forwards, key=lambda r: getattr(r.site.node, "lineno", 0)):
        model = record.model
        if model.from_outside or model not in note.reach.live or not trains(model) or own_parts(model) & every:
            continue
        if any(part.state.get("escaped") or part.state.get("written") for part in model.walk_values()):
            continue
        missing = _unheld(paths, note, model)
        if not missing:
            continue
        ran = any(own_parts(r.model) & own_parts(owner) for r in places.records.forwards)
        replaced = not ran and owner.name == model.name
        counts = [places.parameters(part) for _, part in missing]
        return OptimizerSetup(
            place=places.span(case.setup.site) if case.setup.site is not None else places.span(note.site),
            optimizer=paths.reference(case.setup.optimizer),
            model=places.model(model, record.text),
            given=0,
            given_part="",
            missing=_largest(places, model, missing),
            missing_values=sum(count or 0 for count in counts),
            foreign=sum(_is_leaf(part) for _, part in case.setup.parts.values()) if replaced else 0,
            holds=sum(_is_leaf(part) for _, part in case.setup.parts.values()),
            idle_model=None if replaced else places.model(owner, _text_of(places, owner)),
            counted=False,
        )
    return None


def _text_of(places: Places, model: ModuleValue) -> str:
    """What the user calls a model: at a call of it, else where it was made."""
    for record in places.records.forwards:
        if record.model is model:
            return record.text
    site = model.site
    for around in places.surroundings.around(site) if site is not None else ():
        if isinstance(around, ast.Assign) and site is not None:
            target: ast.expr | None = around.targets[0]
            if isinstance(target, ast.Tuple):
                values = around.value.elts if isinstance(around.value, ast.Tuple) else []
                target = next((t for t, v in zip(target.elts, values, strict=False) if v is site.node), None)
            if target is not None:
                return site.file.text.segment(target)
    return model.name.rpartition(".")[2]


def _largest(places: Places, model: ModuleValue, missing: list[Part]) -> tuple[LayerRef, ...]:
    """The missing layers, whole parts of the model as one."""
    keys = {part.key for _, part in missing}
    chosen: list[Part] = []
    covered: set[int] = set()
    for name, part in model.walk():
        if part is model or part.key in covered:
            continue
        leaves = {p.key for _, p in part.walk() if _is_leaf(p) or any(_bare(v) for v in p.attrs.values())}
        if leaves and leaves <= keys:
            chosen.append((name, part))
            covered |= {p.key for _, p in part.walk()}
    if not chosen:
        chosen = missing
    return tuple(places.layer(name, part) for name, part in chosen)


def _bare(value: object) -> bool:
    return isinstance(value, ParameterValue)
