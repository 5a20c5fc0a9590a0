"""Reads `TorchCall`: resolved torch calls with their arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.loss_use import OutputKind
from modellint.facts.torch_call import UNKNOWN, Argument, TorchCall
from modellint.source.interpreter.records import TorchCallRecord
from modellint.source.interpreter.values import Choice, Const, Site, Tensor, Value
from modellint.source.naming import by_chance_on_purpose
from modellint.source.places import Places


def read(places: Places) -> Iterator[TorchCall]:
    """One fact for each call."""
    for record in places.records.torch_calls.values():
        yield _call(places, record)


def _call(places: Places, record: TorchCallRecord) -> TorchCall:
    return TorchCall(
        name=record.name,
        place=places.span(record.site),
        text=record.text,
        arguments=tuple(_argument(places, name, site, value) for name, site, value in record.arguments),
        open_arguments=record.open_arguments,
        receiver=record.receiver_text,
        receiver_kind=record.receiver_kind,
        module_class=record.module_class,
        function=record.function,
        training_only=record.training_only,
        stochastic_on_purpose=record.stochastic or by_chance_on_purpose(record.module_class, record.function),
        delegating=record.delegating,
        framework=record.framework,
        in_test_suite=record.site.file.in_test_suite,
    )


def _argument(places: Places, name: str, site: Site, value: Value) -> Argument:
    node = site.node
    has_place = hasattr(node, "lineno")
    constant = value.value if isinstance(value, Const) else UNKNOWN
    # A constant as written, or an attribute (or its n-th item) that the constructor set, is the same in both modes.
    kept = node.value if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) else node
    fixed = isinstance(value, Const) or (isinstance(kept, ast.Attribute) and kept.attr != "training")
    return Argument(
        name=name,
        text=site.file.text.segment(node) if has_place else "",
        place=places.span(site),
        constant=constant,
        options=tuple(o.value for o in value.options if isinstance(o, Const))
        if isinstance(value, Choice)
        else (() if constant is UNKNOWN else (constant,)),
        mode_gated=not fixed,
        kind=value.kind if isinstance(value, Tensor) else OutputKind.UNKNOWN,
        maker=value.maker if isinstance(value, Tensor) else None,
        maker_place=places.optional(value.maker_site) if isinstance(value, Tensor) else None,
    )
