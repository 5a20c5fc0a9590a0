"""Reads `ThresholdUse`: thresholds for probabilities on the raw scores of a model that a logits loss trains."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.loss_use import Expects, OutputKind
from modellint.facts.threshold_use import ThresholdUse
from modellint.source.forward_order import in_order
from modellint.source.interpreter.records import LossRecord
from modellint.source.interpreter.values import Tensor
from modellint.source.places import Places


def read(places: Places) -> Iterator[ThresholdUse]:
    """One fact for each place and model."""
    if not places.records.values.thresholds:
        return
    losses: dict[tuple[int, object], LossRecord] = {}
    for loss in places.records.losses:
        given = loss.input
        if loss.expects is not Expects.BINARY_LOGITS or not isinstance(given, Tensor) or given.model is None:
            continue
        if given.kind is not OutputKind.LOGITS or given.producer is None:
            continue
        key = (given.model.key, given.producer)
        if key not in losses or (loss.backwarded and not losses[key].backwarded):
            losses[key] = loss
    for record in places.records.values.thresholds.values():
        value = record.value
        if value.model is None:
            continue
        used = losses.get((value.model.key, value.producer))
        if used is None:
            continue
        short = used.name.rpartition(".")[2]
        text = next((f.text for f in in_order(value.forwards) if f.model is value.model), value.model.name)
        yield ThresholdUse(
            place=places.span(record.site),
            text=record.site.file.text.segment(record.site.node),
            test=record.test,
            model=places.model(value.model, text),
            maker=value.maker or "",
            maker_place=places.optional(value.maker_site),
            loss=used.text if used.module is None else short,
            loss_place=places.span(used.site),
            trains=used.backwarded,
        )
