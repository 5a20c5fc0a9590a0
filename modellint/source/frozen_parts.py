"""Reads `NormUse` of norms in frozen parts, and `TeacherForward`: fixed models in the steps of another."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.forward_use import Mode
from modellint.facts.norm_use import NormUse
from modellint.facts.teacher_forward import TeacherForward
from modellint.facts.training_loop import EventKind
from modellint.source.interpreter.records import EventRecord, ForwardRecord
from modellint.source.interpreter.values import Const, ModuleValue
from modellint.source.interpreter.weight_records import ForwardNote
from modellint.source.places import Places
from modellint.source.training_loop import passes

_ADAPTERS = ("lora_", "adapter", "ia3_")


def read(places: Places) -> Iterator[NormUse | TeacherForward]:
    """One fact for each frozen norm that moves, and for each fixed model beside one that learns."""
    notes = places.records.weights.forwards
    if notes:
        yield from _norms(places, notes)
        yield from _teachers(places, notes)


def _norms(places: Places, notes: list[ForwardNote]) -> Iterator[NormUse]:
    known = {id(note.forward): note for note in notes}
    trained: dict[int, list[ForwardNote | None]] = {}
    for forward in places.records.forwards:
        if forward.backwards and forward.grad is not False:
            trained.setdefault(forward.model.key, []).append(known.get(id(forward)))
    for group in trained.values():
        yield from _released(places, [note for note in group if note is not None])
        seen = [note for note in group if note is not None]
        if len(seen) < len(group):
            continue  # it was trained before anything was frozen
        others = frozenset().union(*(note.trained_norms for note in seen))
        model = seen[0].forward.model
        adapter = any(word in name.lower() for name, _ in model.walk() for word in _ADAPTERS)
        for key, (name, norm, part) in seen[0].norms.items():
            if key in others or any(key not in note.norms for note in seen) or norm.site is None:
                continue
            inside = {one.key for path, one in model.walk() if path == part or path.startswith(f"{part}.")}
            moves = _moves(places, inside, [note.forward for note in seen])
            yield NormUse(
                place=places.span(norm.site),
                model=places.model(model, seen[0].forward.text),
                layer=places.layer(name, norm),
                momentum=_momentum(norm),
                frozen_part="" if moves else part,
                frozen_passes=0 if moves else len(seen),
                adapter=adapter,
            )


def _released(places: Places, notes: list[ForwardNote]) -> Iterator[NormUse]:
    done: set[int] = set()
    for note in notes:
        for key, (name, norm, site) in note.released.items():
            if key not in done and norm.site is not None:
                done.add(key)
                yield NormUse(
                    place=places.span(norm.site),
                    model=places.model(note.forward.model, note.forward.text),
                    layer=places.layer(name, norm),
                    momentum=_momentum(norm),
                    frozen_part="",
                    frozen_passes=0,
                    adapter=False,
                    held_place=places.span(site),
                )


def _moves(places: Places, keys: set[int], forwards: list[ForwardRecord]) -> bool:
    """Weights with these keys change beside the training: a momentum encoder, a mean teacher."""
    loops = {id(loop) for forward in forwards for loop in forward.loops}
    for move in places.records.weights.moves:
        if move.in_forward or any(id(loop) in loops for loop in move.loops):
            parts = move.module.walk_values() if move.whole else (move.module,)
            if any(part.key in keys for part in parts):
                return True
    return False


def _momentum(norm: ModuleValue) -> float | None:
    given = norm.arguments.get("momentum")
    if given is None:
        return 0.1
    return float(given.value) if isinstance(given, Const) and isinstance(given.value, int | float) else None


def _teachers(places: Places, notes: list[ForwardNote]) -> Iterator[TeacherForward]:
    held: set[int] = set()
    for optimizer in places.records.optimizers:
        if not optimizer.modules or not optimizer.complete:
            return  # it may hold anything
        held |= {part.key for module in optimizer.modules for _, part in module.walk()}
    fixed = {id(note.forward): note for note in notes if _is_fixed(note, held)}
    if not fixed:
        return
    seen: set[object] = set()
    for loop in places.records.loops:
        for items in loop.rounds:
            for path, _ in passes(items)[0]:
                student = _student(path)
                for event in path if student is not None else ():
                    note = fixed.get(id(event.forward)) if event.forward is not None else None
                    if note is None or student is None or note.forward.site in seen:
                        continue
                    seen.add(note.forward.site)
                    forward = note.forward
                    keys = {part.key for _, part in forward.model.walk()}
                    together = [n.forward for n in fixed.values() if n.forward.model is forward.model]
                    yield TeacherForward(
                        place=places.span(forward.site),
                        model=places.model(forward.model, forward.text, forward.mode_dependent),
                        student=student.text,
                        train_passes=1,
                        moves=_moves(places, keys, together),
                        told_to_train=note.told_to_train,
                    )


def _is_fixed(note: ForwardNote, held: set[int]) -> bool:
    """A forward in train mode of a model that no optimizer holds and no gradient reaches, with weights of somewhere."""
    forward = note.forward
    if forward.model.from_outside or not forward.mode_dependent or forward.framework is not None:
        return False
    if not note.given_weights or (not note.frozen and forward.grad is not False):
        return False
    if not forward.modes or any(entry.mode is not Mode.TRAIN for entry in forward.modes):
        return False
    return not any(part.key in held for _, part in forward.model.walk())


def _student(path: list[EventRecord]) -> ForwardRecord | None:
    """The model that a pass trains: it is run, backwarded and stepped."""
    if not any(event.kind is EventKind.BACKWARD for event in path):
        return None
    stepped = {
        part.key
        for event in path
        if event.kind is EventKind.OPTIMIZER_STEP
        for optimizer in event.optimizers
        for module in optimizer.modules
        for _, part in module.walk()
    }
    for event in path:
        forward = event.forward
        if forward is not None and forward.backwards and forward.grad is True:
            if any(part.key in stepped for _, part in forward.model.walk()):
                return forward
    return None
