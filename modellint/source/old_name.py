"""Reads `OldName`: names and arguments that newer versions of torch do without."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.old_name import OldName
from modellint.source.interpreter.records import TorchCallRecord
from modellint.source.interpreter.values import Site
from modellint.source.places import Places
from modellint.source.torch_api.deprecated import OLD_ARGUMENTS, OLD_NAMES, Old

_ARGUMENTS = frozenset(argument for _, argument in OLD_ARGUMENTS)


def read(places: Places) -> Iterator[OldName]:
    """One fact for each call."""
    for record in places.records.torch_calls.values():
        old = OLD_NAMES.get(record.spelled)
        if old is not None:
            yield _fact(places, record, old, record.site, record.text, record.spelled)
        for name, site, _ in record.arguments:
            if name in _ARGUMENTS and (old := OLD_ARGUMENTS.get((record.name, name))) is not None:
                text = f"{name}={site.file.text.segment(site.node)}"
                yield _fact(places, record, old, site, text, f"{record.name}({name})")


def _fact(places: Places, record: TorchCallRecord, old: Old, site: Site, text: str, name: str) -> OldName:
    return OldName(
        place=places.span(site),
        text=text,
        name=name,
        since=old.since,
        removed=old.removed,
        instead=old.instead,
        guarded=places.surroundings.guarded(record.site),
        versions=places.project.torch_versions(record.site.file.text.file),
    )
