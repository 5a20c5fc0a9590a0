"""Reads `EvaluationData`: the data of each evaluation beside that of the training of the same model."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.evaluation_data import DrawnStep, EvaluationData, Normalization, Overlap
from modellint.facts.span import Span
from modellint.source.data_loops import (
    DataLoop,
    absent,
    bound_name,
    data_loops,
    enclosing_function,
    header,
    is_plain,
    models_of,
)
from modellint.source.data_purpose import held_out, on_purpose, training_meant
from modellint.source.interpreter.data import FrozenData
from modellint.source.interpreter.records import ForwardRecord
from modellint.source.interpreter.values import (
    Const,
    LibraryObject,
    LoaderValue,
    ObjectValue,
    SequenceValue,
    Site,
    Value,
)
from modellint.source.method_reach import reached, self_attributes
from modellint.source.places import Places
from modellint.source.transforms import is_random, pipeline, short_name, some_steps
from modellint.source.tree import walk

_MOST_PAIRS = 50


def read(places: Places) -> Iterator[EvaluationData]:
    """One fact for each pair of an evaluation and a training of one model."""
    loops = data_loops(places)
    training = [loop for loop in loops if loop.trains and loop.data is not None]
    seen: set[object] = set()
    for loop in loops:
        if not loop.evaluates or loop.data is None:
            continue
        for other in training[:_MOST_PAIRS]:
            if models_of(loop.forwards) & models_of([f for f in other.forwards if f.backwards]):
                fact = _pair(places, loop, other, training)
                if fact not in seen:
                    seen.add(fact)
                    yield fact


def _pair(places: Places, loop: DataLoop, other: DataLoop, training: list[DataLoop]) -> EvaluationData:
    data, trained = loop.data, other.data
    assert data is not None
    assert trained is not None
    place, text = header(places, loop.record)
    train_place, train_text = header(places, other.record)
    overlap = _overlap(data, trained)
    split = next((d.value.site for d in (data, trained) if isinstance(d.value, LoaderValue) and d.whole), None)
    separate = (
        data.whole is not None
        and trained.whole is not None
        and data.whole.value is trained.whole.value
        and all(one.data is None or one.data.value is not data.value for one in training)
    )
    lost, lost_place = _lost(places, data, trained) if separate else ((), None)
    steps, transform_site = _normalizations(places, data)
    train_steps, train_transform_site = _normalizations(places, trained)
    return EvaluationData(
        place=place if loop.loader is other.loader else places.optional(loop.loader.site) or place,
        text=text if text != "the loader" else bound_name(loop.loader.site) or text if loop.loader.site else text,
        train_place=places.optional(other.loader.site) or train_place,
        train_text=train_text,
        overlap=overlap,
        split_place=places.optional(split),
        held_out=held_out(loop, other),
        training_meant=training_meant(loop, other),
        sampled=not is_plain(loop.made) or not _reads_all(other),
        on_purpose=on_purpose(places, loop, other),
        separate_parts=separate,
        drawn=_drawn(places, data),
        lost=lost,
        lost_place=lost_place,
        same_kind=_kind(data.value) is not None
        and _kind(data.value) == _kind(trained.value)
        and _reaches(loop)
        and _reaches(other),
        train_steps=train_steps,
        steps=steps,
        transform_place=places.optional(transform_site),
        train_transform_place=places.optional(train_transform_site),
        in_test_suite=places.file.in_test_suite or loop.record.site.file.in_test_suite,
    )


# ---------------------------------------------------------------- which data


def _reads_all(loop: DataLoop) -> bool:
    """The loader has no sampler, or one that only shuffles what an evaluation reads in order."""
    if is_plain(loop.made):
        return True
    sampler = loop.made.arguments.get("sampler")
    if loop.made.open or not absent(loop.made, "batch_sampler") or not isinstance(sampler, LibraryObject):
        return False
    return sampler.name == "torch.utils.data.RandomSampler" and "num_samples" not in sampler.attrs


def _chain(data: FrozenData | None) -> list[FrozenData]:
    result: list[FrozenData] = []
    while data is not None:
        result.append(data)
        data = data.whole
    return result


def _overlap(data: FrozenData, trained: FrozenData) -> Overlap:
    if data.value is trained.value:
        if not isinstance(data.value, LoaderValue | ObjectValue):
            return Overlap.UNKNOWN
        # A dataset that is switched between the two may give other samples.
        same = data.attrs.keys() == trained.attrs.keys() and all(
            data.attrs[name] is trained.attrs[name] for name in data.attrs
        )
        return Overlap.SAME if same else Overlap.UNKNOWN
    if any(one.value is data.value for one in _chain(trained)):
        return Overlap.WHOLE
    if any(one.value is trained.value for one in _chain(data)):
        return Overlap.PART
    return Overlap.UNKNOWN


def _kind(value: Value) -> object:
    """The class of a dataset, through its parts."""
    while isinstance(value, LoaderValue) and value.made is not None and value.made.kind in ("split", "subset"):
        if value.dataset is None:
            return None
        value = value.dataset
    if isinstance(value, LoaderValue) and value.made is not None and value.made.kind == "library":
        return value.made.name
    return id(value.cls) if isinstance(value, ObjectValue) else None


def _reaches(loop: DataLoop) -> bool:
    """The samples reach the model as the dataset gives them."""
    if loop.made.open or "collate_fn" in loop.made.arguments:
        return False
    return all(
        getattr(forward.input, "origin", None) is loop.loader and not _computed(loop, forward)
        for forward in loop.forwards
    )


def _computed(loop: DataLoop, forward: ForwardRecord) -> bool:
    """The loop computes with what it gives the model: it may normalise by itself."""
    if forward.input_site is None:
        return True
    names = {node.id for node in walk(forward.input_site.node) if isinstance(node, ast.Name)}
    code = [forward.input_site.node, loop.record.site.node]
    function = enclosing_function(forward.site.file, forward.site.node)
    if function is not None:
        code.append(function)
    for node in (part for statement in code for part in walk(statement)):
        operands: list[ast.AST] = []
        if isinstance(node, ast.BinOp):
            operands = [node.left, node.right]
        elif isinstance(node, ast.AugAssign):
            operands = [node.target]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.endswith("_"):
            operands = [node.func.value]
        if any(isinstance(operand, ast.Name) and operand.id in names for operand in operands):
            return True
    return False


# ---------------------------------------------------------------- transforms


def _base(data: FrozenData) -> FrozenData:
    return _chain(data)[-1]


def _transforms(data: FrozenData) -> dict[str, Value]:
    """The transforms of the samples of a dataset, by attribute."""
    base = _base(data)
    if isinstance(base.value, LoaderValue):
        made = base.value.made
        if made is None or made.kind != "library" or made.open:
            return {}
        return {name: value for name, value in base.attrs.items() if name == "transform"}
    if not isinstance(base.value, ObjectValue) or base.value.cls.unknown_base:
        return {}
    called: set[str] = set()
    for _, node in reached(base.value.cls, "__getitem__"):
        called |= self_attributes(node)[2]
    return {name: value for name, value in base.attrs.items() if name in called}


def _drawn(places: Places, data: FrozenData) -> tuple[DrawnStep, ...]:
    return tuple(
        DrawnStep(short_name(step), places.span(step.site))
        for value in _transforms(data).values()
        for step in some_steps(value)
        if is_random(step) and step.site is not None
    )


def _lost(places: Places, data: FrozenData, trained: FrozenData) -> tuple[tuple[DrawnStep, ...], Span | None]:
    """Random transforms that were replaced for both parts, when only one was meant."""
    base = _base(trained)
    made = trained.value.made if isinstance(trained.value, LoaderValue) else None
    if made is None or trained.whole is None or trained.whole is not base:
        return (), None
    for name, value in _transforms(trained).items():
        writes = [w for w in places.records.data.writes if w[0] is base.value and w[1] == name]
        if made.before.get(name) is value or not writes or writes[-1][2] is not value:
            continue
        if pipeline(value) is None or any(is_random(step) for step in some_steps(value)):
            continue
        earlier = [made.before.get(name), *(written for _, _, written, _ in writes)]
        steps = tuple(
            dict.fromkeys(
                DrawnStep(short_name(step), places.span(step.site))
                for one in earlier
                for step in some_steps(one)
                if is_random(step) and step.site is not None
            )
        )
        if steps:
            return steps, places.span(writes[-1][3])
    return (), None


def _normalizations(places: Places, data: FrozenData) -> tuple[tuple[Normalization, ...] | None, Site | None]:
    transforms = list(_transforms(data).values())
    if len(transforms) != 1:
        return None, None
    (value,) = transforms
    steps = pipeline(value)
    site = value.site if isinstance(value, LibraryObject) else None
    if steps is None:
        return None, site
    return tuple(
        Normalization(places.span(step.site), _numbers(step.attrs.get("mean")), _numbers(step.attrs.get("std")))
        for step in steps
        if short_name(step) == "Normalize" and step.site is not None
    ), site


def _numbers(value: Value | None) -> tuple[float, ...] | None:
    items = value.items if isinstance(value, SequenceValue) and value.complete else (value,)
    numbers = [item.value for item in items if isinstance(item, Const) and isinstance(item.value, int | float)]
    return tuple(float(number) for number in numbers) if items and len(numbers) == len(items) else None
