"""Reads `BootstrapTarget`."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.bootstrap_target import BootstrapTarget
from modellint.source.gradient_paths import GradientPaths, held, own_parts
from modellint.source.places import Places


def read(places: Places) -> Iterator[BootstrapTarget]:
    """One fact for each loss."""
    notes = places.records.graph
    if not notes.bootstraps:
        return
    paths = GradientPaths(places)
    seen: set[object] = set()
    for site, text, target, model, calls in notes.bootstraps:
        keys = own_parts(model)
        setup = next((s for s in paths.setups if held(s) & keys and id(s.optimizer) in paths.steps), None)
        trained = any(note.steps and keys & note.below.keys() for note in notes.backwards)
        if setup is None or not trained or site in seen:
            continue
        seen.add(site)
        yield BootstrapTarget(
            place=places.span(site),
            loss=text,
            target=target,
            model=places.model(model, next((record.text for record in calls), model.name)),
            model_places=tuple(dict.fromkeys(places.span(record.site) for record in calls)),
            optimizer=paths.reference(setup.optimizer),
        )
