"""Reads `CheckpointRead`: calls of `torch.load`."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.checkpoint_read import CheckpointRead
from modellint.facts.torch_call import UNKNOWN
from modellint.source.interpreter.values import Const, Site
from modellint.source.places import Places


def read(places: Places) -> Iterator[CheckpointRead]:
    """One fact for each call."""
    for call in places.records.torch_calls.values():
        if call.name != "torch.load":
            continue
        given = {name: (site, value) for name, site, value in call.arguments}
        file, _ = given.get("f", (call.site, None))
        allowed, value = given.get("weights_only", (None, None))
        constant: object = value.value if isinstance(value, Const) else UNKNOWN
        if value is None:
            constant = UNKNOWN if call.open_arguments else None
        yield CheckpointRead(
            place=places.span(call.site),
            text=file.file.text.segment(file.node) if "f" in given else "",
            weights_only=constant,
            weights_only_place=places.optional(allowed),
            saved_here=_saves(places, call.site),
            in_test_suite=call.site.file.in_test_suite,
            versions=places.project.torch_versions(call.site.file.text.file),
        )


def _saves(places: Places, call: Site) -> bool:
    """Whether a file of the project writes checkpoints: where they go is rarely known, so any may be the one."""
    return any(True for _ in places.project.files_saying(call.file.text.file, "torch.save"))
