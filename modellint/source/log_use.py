"""Reads `LogUse`: logarithms that are taken of a softmax, a sigmoid or a sum of exponentials."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.log_use import LogUse
from modellint.facts.loss_use import OutputKind
from modellint.source.interpreter.value_records import LogRecord
from modellint.source.places import Places
from modellint.source.statements_around import body_of, only_value, reads_of
from modellint.source.tree import walk

_OF = {OutputKind.DISTRIBUTION: "softmax", OutputKind.PROBABILITIES: "sigmoid"}


def read(places: Places) -> Iterator[LogUse]:
    """One fact for each place."""
    for record in places.records.values.logs.values():
        yield _use(places, record)


def _use(places: Places, record: LogRecord) -> LogUse:
    value = record.argument_value
    of = _OF.get(value.kind, "sum of exp")
    made = value.maker_site.node if value.maker_site is not None and of != "sum of exp" else None
    name = record.argument if isinstance(record.argument, ast.Name) else None
    expression: ast.AST | None = record.argument
    single = True
    if name is not None:
        body = body_of(record.site, record.function)
        expression = only_value(body, name.id)
        single = expression is not None and reads_of(body, name.id) == 1
    if expression is not None:
        single = single and (made is None or any(part is made for part in walk(expression)))
        # A sum of exponentials must be spelled out here: `exp` may have been kept for more.
        if of == "sum of exp":
            single = single and any(_is_exp(part) for part in walk(expression))
    return LogUse(
        place=places.span(record.site),
        text=record.site.file.text.segment(record.site.node),
        of=of,
        made_place=record.site.file.text.span(expression) if name is not None and expression is not None else None,
        single_use=single,
        recorded=record.recorded,
        double=expression is not None and _in_double(expression),
    )


def _is_exp(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "exp"


def _in_double(expression: ast.AST) -> bool:
    return any(
        (isinstance(part, ast.Attribute) and part.attr in ("double", "float64"))
        or (isinstance(part, ast.Constant) and part.value in ("float64", "double"))
        for part in walk(expression)
    )
