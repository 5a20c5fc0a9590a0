"""Reads `LossUse`: each call of a loss and how its input was made."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.loss_use import Expects, LossUse, OutputKind, Step
from modellint.source.forward_order import in_order
from modellint.source.interpreter.records import LossRecord
from modellint.source.interpreter.values import Tensor, Trail
from modellint.source.loss_options import options_of
from modellint.source.loss_shapes import DIFFERENCE, difference_text, shapes_of
from modellint.source.places import Places

_STEP_LIMIT = 12


def read(places: Places) -> Iterator[LossUse]:
    """One fact for each call and way of making its input."""
    seen: dict[object, int] = {}
    facts: list[LossUse] = []
    logged: set[object] = {
        (record.input.maker_site, id(record.input.model))
        for record in places.records.losses
        if record.expects is Expects.LOG_PROBABILITIES and isinstance(record.input, Tensor) and record.input.maker_site
    }
    differences = [record for record in places.records.shapes.differences if record.backwarded]
    for record in (*places.records.losses, *differences):
        fact = _use(places, record, logged)
        key = (fact.place, fact.loss_place, fact.maker_place, fact.input, fact.model.key if fact.model else None)
        known = seen.get(key)
        if known is None:
            seen[key] = len(facts)
            facts.append(fact)
        elif fact.trains and not facts[known].trains:
            facts[known] = fact
    yield from facts


def _use(places: Places, record: LossRecord, logged: set[object]) -> LossUse:
    value = record.input
    tensor = value if isinstance(value, Tensor) else Tensor()
    model = None
    if tensor.model is not None:
        text = next((f.text for f in in_order(tensor.forwards) if f.model is tensor.model), tensor.model.name)
        model = places.model(tensor.model, text)
    kind = tensor.kind
    short = record.name.rpartition(".")[2]
    loss = record.text if record.module is None else short
    if record.name == DIFFERENCE:
        loss = difference_text(record)
    return LossUse(
        place=places.span(record.site),
        loss=loss,
        loss_text=record.text,
        loss_place=places.optional(record.module.site) if record.module is not None else None,
        expects=record.expects,
        input=kind,
        maker=tensor.maker,
        maker_place=places.optional(tensor.maker_site),
        steps=_steps(places, tensor.trail, record) if kind is not OutputKind.UNKNOWN else (),
        model=model,
        model_place=places.optional(tensor.model_site) if model is not None else None,
        classes=tensor.classes,
        softmax_dim=tensor.softmax_dim,
        trains=record.backwarded,
        target=record.target.kind if isinstance(record.target, Tensor) else OutputKind.UNKNOWN,
        feeds_log_loss=(tensor.maker_site, id(tensor.model)) in logged,
        **options_of(record),
        **shapes_of(record),
    )


def _steps(places: Places, trail: Trail | None, record: LossRecord) -> tuple[Step, ...]:
    steps: list[Step] = []
    while trail is not None and len(steps) < _STEP_LIMIT:
        steps.append(Step(places.span(trail.site), trail.text))
        trail = trail.previous
    steps.reverse()
    node = record.site.node
    if isinstance(node, ast.Call):
        arguments = [*node.args, *(k.value for k in node.keywords)]
        inner = ""
        if arguments:
            first = record.site.file.text.segment(arguments[0])
            if isinstance(arguments[0], ast.Name):
                steps.append(Step(record.site.file.text.span(arguments[0]), first))
            inner = f"{first}, ..." if len(arguments) > 1 else first
        steps.append(
            Step(places.span(record.site), f"{record.text}({inner})" if len(inner) < 40 else f"{record.text}(...)")
        )
    return tuple(steps)
