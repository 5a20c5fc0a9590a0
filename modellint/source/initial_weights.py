"""Reads how weights start: `EmbeddingTable`, `UnfilledParameter`, `OverwrittenLoad`, `InitialSpread`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod

from modellint.facts.embedding_table import EmbeddingTable
from modellint.facts.initial_spread import InitialSpread, SpreadLayer
from modellint.facts.overwritten_load import OverwrittenLoad
from modellint.facts.unfilled_parameter import UnfilledParameter
from modellint.source.interpreter.values import Const, FunctionValue, ModuleValue, SequenceValue
from modellint.source.interpreter.weight_records import OverwriteRecord, RawRecord, SpreadRecord
from modellint.source.places import Places

_FILLS = re.compile(r"\w_\(|\.data\b|init|load|copy")
_ALL = r"parameters|modules|apply|children|state_dict"
_NORMS = frozenset({"norm", "norm_running", "norm_instance"})


def read(places: Places) -> Iterator[EmbeddingTable | UnfilledParameter | OverwrittenLoad | InitialSpread]:
    """One fact for each table, parameter or initialisation that was noted."""
    records = places.records.weights
    yield from _tables(places)
    for raw in records.raw:
        yield UnfilledParameter(
            place=places.span(raw.site),
            text=raw.site.file.text.segment(raw.site.node),
            model=places.model(raw.model, raw.text),
            name=f"{raw.owner_name}.{raw.attribute}" if raw.owner_name else raw.attribute,
            owner=raw.owner.name.rpartition(".")[2],
            may_be_filled=_may_be_filled(places, raw),
            in_test_suite=places.file.in_test_suite,
        )
    groups: dict[object, list[OverwriteRecord]] = {}
    for record in records.overwritten:
        ran = record.fill.applied or record.fill.site
        groups.setdefault((id(record.load), id(ran.node)), []).append(record)
    for group in groups.values():
        yield _overwritten(places, group)
    if records.spread:
        yield from _spreads(places)


def _tables(places: Places) -> Iterator[EmbeddingTable]:
    for record in places.records.weights.paddings:
        layer = places.layer(record.name, record.layer)
        filled = places.span(record.fill.site)
        place = layer.place if record.index is not None and layer.place is not None else filled
        yield EmbeddingTable(
            place=place,
            model=places.model(record.model, record.text),
            layer=layer,
            padding_index=record.index,
            largest=None if record.index is not None else 0.0,
            may_be_loaded=False,
            filled_place=filled,
            fill_text=record.fill.text,
        )


def _may_be_filled(places: Places, raw: RawRecord) -> bool:
    """Whether code that was not run for this instance may fill it: an instance that nobody here constructs."""
    if not raw.model.from_outside or raw.owner.cls is None:
        return False
    mention = re.compile(rf"\b(?:{re.escape(raw.attribute)}|{_ALL})\b")
    for module in (raw.owner, raw.model):
        for cls in module.cls.mro if module.cls is not None else ():
            for name, function in cls.attrs.items():
                if isinstance(function, FunctionValue) and name not in ("__init__", "forward"):
                    text = function.file.text.segment(function.node)
                    if mention.search(text) and _FILLS.search(text):
                        return True
    name = raw.model.cls.name if raw.model.cls is not None else ""
    named = re.compile(rb"(?<!class )(?<!super\()\b" + name.encode() + rb"\b")
    own = raw.model.cls.file.path if raw.model.cls is not None else places.file.path
    return any(named.search(places.project.content(path)) for path in [own, *places.project.importers([own])])


def _overwritten(places: Places, group: list[OverwriteRecord]) -> OverwrittenLoad:
    first = group[0]
    load = first.load
    lost = {record.module.key: record.module for record in group}
    names = {part.key: name for name, part in load.model.walk() if part.key in lost}
    layers = {key: places.layer(names.get(key, ""), lost[key]) for key in (*names, *lost)}
    ran = first.fill.applied or first.fill.site
    return OverwrittenLoad(
        place=places.span(ran),
        text=ran.file.text.segment(ran.node),
        fill_place=places.span(first.fill.site),
        fill_text=first.fill.text,
        model=places.model(load.model, load.model.name.rpartition(".")[2]),
        load_place=places.span(load.site),
        load_text=load.text,
        layers=tuple(layers.values()),
        loaded_layers=load.layers,
        reloaded=any(record.reloaded for record in group),
        library=load.model.known_library is not None,
        in_test_suite=places.file.in_test_suite,
    )


def _spreads(places: Places) -> Iterator[InitialSpread]:
    """By write. A layer is known by where it is constructed: a method may be run on another instance than forward."""
    nodes: dict[int, int] = {}
    normed: set[int] = set()
    beside: dict[int, set[int]] = {}
    runs = [run for _, run in places.records.instances]
    runs += [[call for run in part for call in run] for _, part in places.records.method_calls.values()]
    for run in runs:
        weighted: set[int] = set()
        for call in run:
            if call.module.site is None or call.module.spec is None:
                continue
            node = id(call.module.site.node)
            nodes[call.module.key] = node
            if call.module.spec.family in ("linear", "conv", "conv_transpose", "bilinear"):
                weighted.add(node)
            elif call.module.spec.family in _NORMS and type(call.producer) is int:
                normed.add(nodes.get(call.producer, 0))
        for node in weighted:
            beside.setdefault(node, set()).update(weighted)
    scaled = {nodes[key] for key in places.records.weights.scaled if key in nodes}
    groups: dict[int, list[SpreadRecord]] = {}
    for record in places.records.weights.spread.values():
        if record.fill.spread is not None and record.module.site is not None:
            if id(record.module.site.node) in beside:
                groups.setdefault(id(record.fill.site.node), []).append(record)
    for group in groups.values():
        fill = group[0].fill
        layers: dict[int, SpreadLayer] = {}
        reached: set[int] = set()
        for record in group:
            module = record.module
            fan_in = _fan_in(module)
            assert module.site is not None
            node = id(module.site.node)
            reached.add(node)
            if fan_in is not None and fill.spread is not None:
                layers.setdefault(
                    node,
                    SpreadLayer(
                        ref=places.layer(_name(places, module), module),
                        fan_in=fan_in,
                        normed=node in normed,
                        scaled=node in scaled or module.key in places.records.weights.scaled,
                        frozen=bool(module.state.get("frozen") or module.state.get("frozen:weight")),
                    ),
                )
        around = {node for one in reached for node in beside[one]}
        if layers:
            yield InitialSpread(
                place=places.span(fill.site),
                text=fill.text,
                spread=fill.spread or 0.0,
                layers=tuple(layers.values()),
                other_layers=len(around - reached) + len(reached) - len(layers),
                in_test_suite=places.file.in_test_suite,
            )


def _name(places: Places, module: ModuleValue) -> str:
    for record in places.records.constructions:
        for name, part in record.module.walk():
            if part is module and name:
                return name
    return ""


def _fan_in(module: ModuleValue) -> int | None:
    """How many inputs an output of a Linear or a convolution sums."""
    if module.spec is None or module.cls is not None:
        return None
    if module.spec.family == "linear":
        return _int(module, "in_features")
    if module.spec.family != "conv":
        return None
    channels, groups = _int(module, "in_channels"), _int(module, "groups") if "groups" in module.arguments else 1
    size = module.arguments.get("kernel_size")
    axes = int(module.name[-2])
    extents: list[int] = []
    if isinstance(size, Const) and isinstance(size.value, int):
        extents = [size.value] * axes
    elif isinstance(size, SequenceValue):
        extents = [item.value for item in size.items if isinstance(item, Const) and isinstance(item.value, int)]
    if channels is None or not groups or len(extents) != axes:
        return None
    return channels // groups * prod(extents)


def _int(module: ModuleValue, name: str) -> int | None:
    value = module.arguments.get(name)
    return value.value if isinstance(value, Const) and type(value.value) is int else None
