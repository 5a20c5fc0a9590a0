"""Reads `ParameterFill`: constants in weights of a model when its training starts."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.parameter_fill import FilledLayer, ParameterFill
from modellint.facts.span import Span
from modellint.source.interpreter.records import CallRecord, FillRecord, TrainedRecord
from modellint.source.interpreter.values import Const, ModuleValue
from modellint.source.places import Places

_WEIGHT_FAMILIES = frozenset({"linear", "conv", "conv_transpose", "bilinear", "recurrent", "recurrent_cell"})


def read(places: Places) -> Iterator[ParameterFill]:
    """One fact for each write that is the last one to some weights of a trained model."""
    calls: dict[int, list[CallRecord]] = {}
    for module, run in places.records.instances:
        calls.setdefault(module.key, run)
    for record in places.records.trained.values():
        yield from _fills(places, record, calls.get(record.model.key, []))


def _fills(places: Places, record: TrainedRecord, calls: list[CallRecord]) -> Iterator[ParameterFill]:
    called = [call.module for call in calls]
    called_keys = {module.key for module in called}
    weights = [module for module in called if module.spec is not None and module.spec.family in _WEIGHT_FAMILIES]
    last = weights[-1].key if weights else None
    groups: dict[tuple[int, float], list[tuple[str, ModuleValue, str, FillRecord]]] = {}
    for name, module in record.model.walk():
        if module.spec is None or module.spec.family not in _WEIGHT_FAMILIES or _units(module) == 1:
            continue
        for (key, parameter), fill in record.fills.items():
            if key == module.key and "weight" in parameter and fill.value is not None:
                groups.setdefault((id(fill.site.node), fill.value), []).append((name, module, parameter, fill))
    names = {module.key: name for name, module in record.model.walk()}
    for (_, value), members in groups.items():
        filled = {module.key for _, module, _, _ in members}
        first = members[0][3]
        yield ParameterFill(
            place=places.span(first.site),
            text=first.text,
            value=value,
            model=places.model(record.model, record.text),
            layers=tuple(
                FilledLayer(
                    ref=places.layer(name, module),
                    parameter=parameter,
                    called=module.key in called_keys,
                    frozen=module.key in record.frozen,
                    depthwise=_depthwise(module),
                    last=module.key == last,
                    bias_set_per_unit=_random_bias(record, module),
                )
                for name, module, parameter, _ in members
            ),
            others=tuple(dict.fromkeys(places.layer(names.get(m.key, ""), m) for m in weights if m.key not in filled)),
            applied_place=places.optional(first.applied),
            trained=True,
            trained_place=places.span(record.site),
            overwritten=tuple(_earlier(places, first)),
            in_test_suite=places.file.in_test_suite,
        )


def _earlier(places: Places, fill: FillRecord) -> Iterator[Span]:
    seen = {places.span(fill.site)}
    previous = fill.previous
    while previous is not None:
        span = places.span(previous.site)
        if previous.value is not None and span not in seen:
            seen.add(span)
            yield span
        previous = previous.previous


def _random_bias(record: TrainedRecord, module: ModuleValue) -> bool:
    fill = record.fills.get((module.key, "bias"))
    return fill is not None and fill.value is None


def _units(module: ModuleValue) -> int | None:
    for name in ("out_features", "out_channels", "hidden_size"):
        value = module.arguments.get(name)
        if isinstance(value, Const) and isinstance(value.value, int):
            return value.value
    return None


def _depthwise(module: ModuleValue) -> bool:
    groups, channels = module.arguments.get("groups"), module.arguments.get("in_channels")
    if groups is None:
        return False
    if isinstance(groups, Const) and isinstance(channels, Const):
        return groups.value == channels.value and groups.value != 1
    return not isinstance(groups, Const)
