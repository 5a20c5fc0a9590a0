"""Models that nobody trains, run within the training steps of another: their modes, and whether their weights move."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from modellint.facts.model import LayerRef
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.teacher_forward import TeacherForward
from modellint.runtime.call_site import Site
from modellint.runtime.mode_parts import ModeParts
from modellint.runtime.models import layer_ref, model_ref
from modellint.runtime.observer import Observer
from modellint.runtime.session import OptimizerRecord, RootRecord, Session, Window
from modellint.runtime.value_read import checksum, may_read

_MOST_SUMMED = 8


@dataclass(slots=True, eq=False)
class _Teacher:
    """One fixed model beside one that learns."""

    root: RootRecord
    student: RootRecord
    parts: ModeParts
    site: Site | None = None
    active: dict[str, str] = field(default_factory=dict)
    """Paths and texts of the layers that were active in train mode."""
    passes: int = 0
    """In which it ran at all."""
    train_passes: int = 0
    """In which it ran in train mode only."""
    first_step: int = 0
    moves: bool = False
    watched: list[tuple[weakref.ref[torch.Tensor], int, int]] = field(default_factory=list)


class TeacherForwardObserver(Observer):
    """Makes a TeacherForward of every root that is never trained and runs in the passes of another."""

    makes = (TeacherForward,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._teachers: dict[int, _Teacher] = {}

    def pass_ended(self, root: RootRecord, record: OptimizerRecord, window: Window) -> None:
        if root.passes > 1 and not self._teachers and len(self.session.roots) < 2:
            return
        seen: dict[int, bool] = {}
        for call in window.forwards:
            if call.root.parameters and not call.root.steps and not call.in_step:
                seen[call.root.key] = seen.get(call.root.key, True) and call.training
        for call in window.forwards:
            if call.root.key not in seen:
                continue
            train = seen.pop(call.root.key)
            teacher = self._teachers.get(call.root.key)
            if teacher is None:
                teacher = _Teacher(call.root, root, ModeParts(call.root), call.site, first_step=window.number)
                self._teachers[call.root.key] = teacher
            if teacher.student is root:
                _note(teacher, train, window)

    def facts(self) -> Iterator[object]:
        for teacher in self._teachers.values():
            root = teacher.root
            if root.steps or teacher.site is None:
                continue
            if teacher.train_passes == teacher.passes == 1 and teacher.active:
                self.session.out_of_sight(root.text(), "fewer than two passes", "teacher-in-train-mode")
            layers = tuple(self._layers(teacher))
            yield TeacherForward(
                place=teacher.site.span(),
                model=model_ref(self.session, root, complete=True, mode_dependent=layers),
                student=teacher.student.text(),
                train_passes=teacher.train_passes,
                moves=teacher.moves,
                run=RunEvidence(teacher.train_passes, teacher.passes, teacher.first_step, root=teacher.student.key),
            )

    def _layers(self, teacher: _Teacher) -> Iterator[LayerRef]:
        for record in teacher.root.modules:
            if record.path in teacher.active:
                yield layer_ref(self.session, teacher.root, record)


def _note(teacher: _Teacher, train: bool, window: Window) -> None:
    parameters = [p for p in (record.ref() for record in teacher.root.parameters.values()) if p is not None]
    if any(id(parameter) in window.accumulated for parameter in parameters):
        teacher.moves = True  # it is trained somehow
    if not teacher.passes:
        small = [p for p in sorted(parameters, key=torch.Tensor.numel)[:_MOST_SUMMED] if may_read(p)]
        teacher.watched = [(weakref.ref(p), p._version, checksum([p])) for p in small] if train else []
    elif not teacher.moves:
        teacher.moves = any(_moved(*one) for one in teacher.watched)
    teacher.passes += 1
    if train:
        teacher.train_passes += 1
        for part in teacher.parts.active():
            teacher.active.setdefault(part.record.path, part.record.text)


def _moved(ref: weakref.ref[torch.Tensor], version: int, total: int) -> bool:
    parameter = ref()
    if parameter is None:
        return True
    return parameter._version != version or (may_read(parameter) and checksum([parameter]) != total)
