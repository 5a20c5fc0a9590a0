"""Reads `AliasedModule`: one module where several were asked for."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.aliased_module import AliasedModule, Aliasing
from modellint.source.interpreter.alias_notes import RepeatRecord
from modellint.source.interpreter.values import ModuleValue, Site
from modellint.source.places import Places
from modellint.source.tree import walk

_HOW = {
    "multiplied": Aliasing.MULTIPLIED,
    "fromkeys": Aliasing.FROM_KEYS,
    "comprehension": Aliasing.COMPREHENSION,
    "moved": Aliasing.MOVED,
    "default": Aliasing.DEFAULT,
    "self-load": Aliasing.SELF_LOAD,
}


def read(places: Places) -> Iterator[AliasedModule]:
    """One fact for each place that repeats a module with parameters."""
    yield from _class_attributes(places)
    yield from _lists(places)
    seen: set[object] = set()
    by_default: dict[int, list[RepeatRecord]] = {}
    moved: dict[tuple[int, object], list[RepeatRecord]] = {}
    for record in places.records.module_notes.repeats:
        module = record.module
        if not places.has_parameters(module) or _is_loss(module):
            continue
        if record.how == "default":
            by_default.setdefault(id(module), []).append(record)
        elif record.how == "moved":
            moved.setdefault((id(module), record.names[1]), []).append(record)
        elif record.site.node not in seen:
            fact = _fact(places, record)
            if fact.used:
                seen.add(record.site.node)
                yield fact
    for records in by_default.values():
        owners = {id(record.owner): record.owner for record in records if record.owner is not None}
        if len(owners) > 1:
            yield _fact(places, records[0], slots=len(owners), used=True)
    for records in moved.values():
        names = tuple(dict.fromkeys(record.names[0] for record in records))
        if len(names) > 1:
            yield _fact(places, records[-1], slots=len(names), names=names, used=True)


def _fact(
    places: Places,
    record: RepeatRecord,
    *,
    slots: int | None = None,
    names: tuple[str, ...] = (),
    used: bool | None = None,
) -> AliasedModule:
    module = record.module
    filled = places.records.module_notes.filled.get(id(module))
    if used is None:
        used = record.how == "self-load"
        if record.how in ("multiplied", "fromkeys", "comprehension"):
            used = filled is not None and (record.slots is None or record.slots > 1)
    slots = slots or record.slots
    return AliasedModule(
        place=places.span(record.site),
        how=_HOW[record.how],
        layer=places.layer("", module),
        slots=slots,
        names=names or record.names,
        parameters=places.parameters(module),
        used=used,
        in_test_suite=record.site.file.in_test_suite,
        made_there=_made_there(record),
    )


def _made_there(record: RepeatRecord) -> bool:
    """`[X()] * n`, not `[x] * n`."""
    node, made = record.site.node, record.module.site
    return made is not None and made.file is record.site.file and any(part is made.node for part in walk(node))


def _class_attributes(places: Places) -> Iterator[AliasedModule]:
    """`class Net(nn.Module): shared = nn.Linear(8, 8)`, read by a forward."""
    seen: set[int] = set()
    for record in places.records.constructions:
        instance = record.module
        if instance.cls is None or not instance.state.get("ran"):
            continue
        for cls in instance.cls.mro:
            for name, value in cls.attrs.items():
                if not isinstance(value, ModuleValue) or name not in instance.reads or name in instance.attrs:
                    continue
                if id(value) in seen or value.site is None or not _in_body(cls.node, value.site):
                    continue
                if not places.has_parameters(value) or _is_loss(value):
                    continue
                seen.add(id(value))
                yield AliasedModule(
                    place=places.span(value.site),
                    how=Aliasing.CLASS_ATTRIBUTE,
                    layer=places.layer("", value),
                    slots=None,
                    names=(f"{cls.name}.{name}",),
                    parameters=places.parameters(value),
                    used=True,
                    in_test_suite=value.site.file.in_test_suite,
                )


def _lists(places: Places) -> Iterator[AliasedModule]:
    """One list of layers that two containers were filled with, under another name each."""
    notes = places.records.module_notes
    seen: set[object] = set()
    for site, names, value in notes.lists:
        layers = [item for item in value.items if isinstance(item, ModuleValue) and places.has_parameters(item)]
        if not layers or site.node in seen:
            continue
        holders = notes.holders.get(id(layers[0]), [])
        if len(holders) < 2 or any(len(notes.holders.get(id(layer), [])) < 2 for layer in layers):
            continue
        if len({holder.name for holder in holders[:2]}) > 1:
            continue  # a ModuleList beside the Sequential that runs it
        seen.add(site.node)
        yield AliasedModule(
            place=places.span(site),
            how=Aliasing.LIST,
            layer=places.layer("", layers[0]),
            slots=len(holders),
            names=names,
            parameters=None,
            used=True,
            in_test_suite=site.file.in_test_suite,
        )


def _in_body(cls: ast.ClassDef, site: Site) -> bool:
    """The class statement itself constructs it."""
    return any(
        isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is site.node for statement in cls.body
    )


def _is_loss(module: ModuleValue) -> bool:
    return module.spec is not None and module.spec.family == "loss"
