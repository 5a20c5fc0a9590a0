"""The way of a value from the operation that made it to the loss, as notes and flow of a finding."""

from __future__ import annotations

from collections.abc import Hashable

from modellint.facts.loss_use import LossUse
from modellint.facts.record import record
from modellint.rule import FlowStep, Note


@record
class LossPath:
    """The numbered places of a loss finding; `order` is the number of its primary place."""

    related: tuple[Note, ...]
    flow: tuple[FlowStep, ...]
    order: int | None
    group: Hashable


def loss_path(use: LossUse, *, made: str, loss: str) -> LossPath:
    """`made` labels the operation that made the value, `loss` the construction of the loss."""
    related: list[Note] = []
    if use.maker_place is not None:
        related.append(Note(use.maker_place, made, order=1, cause=True))
    if use.model is not None and use.model_place is not None and use.model_place != use.maker_place:
        forward = ".forward" if use.model.class_place is not None else ""
        related.append(Note(use.model_place, f"returned by {use.model.class_name}{forward}", order=len(related) + 1))
    order = len(related) + 1
    if use.loss_place is not None:
        related.append(Note(use.loss_place, loss, order=order + 1))
    return LossPath(
        related=tuple(related),
        flow=tuple(FlowStep(step.place, step.text) for step in use.steps),
        order=order if related else None,
        group=(use.maker_place or use.place, use.loss_place or use.loss, use.model.key if use.model else None),
    )
