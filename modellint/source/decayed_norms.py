"""Reads `DecayedNorms`: weight decay over everything that a model holds."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.decayed_norms import DecayedNorms
from modellint.source.interpreter.values import Const
from modellint.source.places import Places

_NORMS = frozenset({"norm", "norm_running", "norm_instance"})


def read(places: Places) -> Iterator[DecayedNorms]:
    """One fact for each optimizer with weight decay and one group, and each model in it."""
    for record in places.records.weights.decays:
        for model in record.models:
            norms = []
            for name, part in model.walk():
                if part.spec is None or part.spec.family not in _NORMS or not part.spec.parametric:
                    continue
                affine = part.arguments.get("affine") or part.arguments.get("elementwise_affine")
                if affine is None or (isinstance(affine, Const) and affine.value):
                    norms.append(places.layer(name, part))
            yield DecayedNorms(
                place=places.span(record.site),
                optimizer=record.optimizer.kind,
                decay=record.decay,
                decay_given=record.decay_given,
                model=places.model(model, model.name.rpartition(".")[2]),
                norms=tuple(norms),
                in_test_suite=places.file.in_test_suite,
            )
