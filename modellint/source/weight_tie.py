"""Reads `WeightTie`: parameters that two layers share, and that something replaces before the model is trained."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.weight_tie import WeightTie
from modellint.source.interpreter.module_notes import TieRecord, UntiedRecord
from modellint.source.interpreter.values import ModuleValue, ParameterValue
from modellint.source.places import Places


def read(places: Places) -> Iterator[WeightTie]:
    """One fact for each tie that is gone at the end, of a model that is trained."""
    seen: set[object] = set()
    for tie in places.records.module_notes.ties:
        untied = tie.owner.state.get(f"untied:{tie.name}")
        if not isinstance(untied, UntiedRecord) or tie.owner.site is None or not _still(tie):
            continue
        names = {id(part): name for name, part in untied.root.walk()}
        if id(tie.owner) not in names or id(tie.other) not in names or _tied_by_framework(untied.root):
            continue
        place = places.span(tie.owner.site)
        if not _trained(places, untied.root) or place in seen:
            continue
        seen.add(place)
        yield WeightTie(
            place=place,
            model=places.model(untied.root, untied.root_text),
            changed=_name(names[id(tie.owner)], tie.name),
            other=_name(names[id(tie.other)], tie.other_name),
            lost_after=None,
            steps_since=None,
            lost_by=untied.text,
            lost_place=places.span(untied.site),
        )


def _still(tie: TieRecord) -> bool:
    """The attribute is what the tie made it: nobody gave it something else."""
    value = tie.owner.attrs.get(tie.name)
    return isinstance(value, ParameterValue) and value.targets == ((tie.other, tie.other_name),)


def _tied_by_framework(root: ModuleValue) -> bool:
    """A base class from outside ties the weights again by itself."""
    return any(
        part.cls is not None
        and (part.cls.unknown_base or part.cls.lookup("_tied_weights_keys") or part.cls.lookup("tie_weights"))
        for _, part in root.walk()
    )


def _trained(places: Places, root: ModuleValue) -> bool:
    """An optimizer was given its parameters, or a loss of it was backwarded."""
    if root.key in places.records.trained:
        return True
    return any(root in module.walk_values() for o in places.records.optimizers for module in o.modules)


def _name(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
