"""Reads `ModuleClass`: what the constructor of an nn.Module subclass leaves behind."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.module_class import HiddenModules, ModuleClass, SuperInit
from modellint.source.interpreter.records import ConstructionRecord
from modellint.source.interpreter.values import (
    Choice,
    DictValue,
    FunctionValue,
    ModuleValue,
    SequenceValue,
    Site,
    Value,
)
from modellint.source.module_tensors import hidden_tensors
from modellint.source.places import Places
from modellint.source.shadowed_methods import shadowed_methods
from modellint.source.stray_flags import stray_flags
from modellint.source.tree import walk


def read(places: Places) -> Iterator[ModuleClass]:
    """One fact for each construction that differs in what it shows."""
    seen: set[object] = set()
    for record in places.records.constructions:
        fact = _class(places, record)
        key = (fact.place, fact.super_init, fact.hidden, fact.tensors, fact.shadowed) if fact is not None else None
        if fact is not None and key not in seen:
            seen.add(key)
            yield fact
    yield from stray_flags(places)


def _class(places: Places, record: ConstructionRecord) -> ModuleClass | None:
    module = record.module
    cls = module.cls
    if cls is None:
        return None
    init = cls.attrs.get("__init__")
    state = SuperInit(record.super_state)
    if state is SuperInit.ABSENT and isinstance(init, FunctionValue) and _names_base_init(init.node):
        state = SuperInit.LATE  # it is called on some path only
    if state is SuperInit.ABSENT and (not isinstance(init, FunctionValue) or cls.unknown_base):
        state = SuperInit.UNKNOWN
    if any("dataclass" in ast.unparse(decorator) for decorator in cls.node.decorator_list):
        state = SuperInit.UNKNOWN if state is not SuperInit.CALLED else state
    return ModuleClass(
        name=cls.name,
        place=places.name_span(Site(cls.file, cls.node)),
        init_place=places.name_span(Site(init.file, init.node))
        if isinstance(init, FunctionValue) and not isinstance(init.node, ast.Lambda)
        else None,
        bases=", ".join(ast.unparse(base) for base in cls.node.bases),
        super_init=state,
        super_place=places.optional(record.super_site),
        first_registration=record.first_registration,
        first_registration_place=places.optional(record.first_registration_site),
        hidden=tuple(_hidden(places, module)),
        tensors=tuple(hidden_tensors(places, module)),
        shadowed=tuple(shadowed_methods(places, module)),
    )


def _names_base_init(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Attribute) and part.attr == "__init__" for part in walk(node))


def _hidden(places: Places, module: ModuleValue) -> Iterator[HiddenModules]:
    registered = {id(part) for _, part in module.walk()}
    given = {id(value) for value in _flat(module.call.values())} if module.call is not None else set()
    for name, value in module.attrs.items():
        if not isinstance(value, SequenceValue | DictValue):
            continue
        elements = [part for part in _flat([value]) if isinstance(part, ModuleValue)]
        if not elements or value.site is None:
            continue
        outside = [part for part in elements if id(part) not in registered]
        first = outside[0] if outside else elements[0]
        if first.site is None:
            continue
        yield HiddenModules(
            attribute=name,
            place=places.span(module.element_sites.get(name, value.site)),
            container=value.kind if isinstance(value, SequenceValue) else "dict",
            element=places.layer(name, first),
            element_place=places.span(first.site),
            has_parameters=any(places.has_parameters(part) for part in outside),
            used_in_forward=name in module.reads and bool(module.state.get("ran")),
            registered_later=not outside,
            hidden_on_purpose=id(value) in given
            or any(id(part) in given for part in elements)
            # `self.teacher = [Teacher()]`, only run without gradients: it is meant to stay out.
            or all(p.state.get("called") and not p.state.get("called_with_gradients") for p in elements),
        )


def _flat(values: list[Value], depth: int = 4) -> list[Value]:
    result: list[Value] = []
    for value in values:
        result.append(value)
        if depth and isinstance(value, SequenceValue):
            result.extend(_flat(list(value.items), depth - 1))
        elif depth and isinstance(value, DictValue):
            result.extend(_flat(list(value.items.values()), depth - 1))
        elif depth and isinstance(value, Choice):
            result.extend(_flat(list(value.options), depth - 1))
    return result
