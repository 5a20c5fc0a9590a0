"""Reads `KeptGraph`: sums and lists to which a training loop adds tensors with their graphs."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.kept_graph import KeptGraph
from modellint.facts.training_loop import EventKind
from modellint.source.interpreter.reach import Store
from modellint.source.loop_paths import flat_events
from modellint.source.places import Places


def read(places: Places) -> Iterator[KeptGraph]:
    """One fact for each place that keeps."""
    notes = places.records.graph
    if not notes.stores:
        return
    seen: set[object] = set()
    for store in notes.stores.values():
        if not store.carried or store.backwarded or not _trains(store) or store.site in seen:
            continue
        seen.add(store.site)
        if store.proof is not None and not store.forwards:
            site = store.proof
            yield KeptGraph(places.span(site), site.file.text.segment(site.node), None, 0, None, store.text,
                            places.span(store.site))  # fmt: skip
            continue
        again = [note for note in notes.backwards if note.forwards & store.forwards]
        if not again or any(note.keeps or not note.steps for note in again):
            continue  # a second backward through a graph needs retain_graph in the first
        record = min(store.forwards, key=lambda r: (r.site.node.lineno, r.site.node.col_offset))  # type: ignore[attr-defined]
        segment = record.site.file.text.segment(record.site.node)
        yield KeptGraph(
            place=places.span(record.site),
            text=segment if len(segment) <= 60 else f"{segment[:57]}...",
            model=places.model(record.model, record.text),
            alive=0,
            keeper=store.text,
            keeper_place=places.span(store.site),
        )


def _trains(store: Store) -> bool:
    """The loop itself runs backward and a step, so that each round has done with its graph."""
    kinds = {event.kind for items in store.loop.rounds for event in flat_events(items)}
    return EventKind.BACKWARD in kinds and EventKind.OPTIMIZER_STEP in kinds
