"""Named tuples: their classes when made by a call, and their fields in order."""

from __future__ import annotations

import ast

from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.values import (
    NAMED_TUPLE,
    ClassValue,
    Const,
    External,
    ObjectValue,
    SequenceValue,
    Value,
    sequence,
)
from modellint.source.project import SourceFile
from modellint.source.tree import walk


def named_tuple_class(call: CallArguments, node: ast.AST, file: SourceFile) -> ClassValue | None:
    """`collections.namedtuple("Out", "a b")`, if its fields are known."""
    name, given = call.get(0, "typename"), call.get(1, "field_names")
    if isinstance(given, Const) and isinstance(given.value, str):
        fields = given.value.replace(",", " ").split()
    elif isinstance(given, SequenceValue) and given.complete:
        fields = [str(item.value) for item in given.items if isinstance(item, Const)]
        if len(fields) < len(given.items):
            return None
    else:
        return None
    if not isinstance(name, Const) or not str(name.value).isidentifier():
        return None
    body: list[ast.stmt] = [
        ast.AnnAssign(ast.Name(field, ast.Store()), ast.Constant(None), None, 1) for field in fields
    ]
    definition = ast.ClassDef(str(name.value), [], [], body, [])
    for part in walk(definition):
        ast.copy_location(part, node)
    cls = ClassValue(definition, file, definition.name, (External(NAMED_TUPLE),), {}, False, (NAMED_TUPLE,), False, ())
    cls.mro = (cls,)
    return cls


def as_tuple(value: ObjectValue) -> SequenceValue | None:
    """The fields of a named tuple in their order; None of another object."""
    if NAMED_TUPLE not in value.cls.library_bases:
        return None
    items: tuple[Value, ...] = tuple(value.attrs.values())
    return sequence("tuple", items, True, value.site)
