"""Views that re-cut a tensor: axes in another order, a batch folded into something else."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from modellint.source.interpreter.shape_records import FoldRecord, RecutRecord
from modellint.source.interpreter.sizes import given_axes, number, total
from modellint.source.interpreter.values import Extent, Site, Sizes, Value


def recut_of(
    sizes: Sizes, given: Sequence[Value], nodes: Sequence[ast.AST], site: Site, text: str
) -> RecutRecord | None:
    """The view, if its axes are those of the input in an order that no merge or split of neighbours explains.

    Both must be written with the names that were unpacked from the shape (`b, c, h, w = x.shape`), at least one of
    them; a number stands for the axis of that length if there is only one. Axes of length 1 move freely.
    """
    wanted = given_axes(given)
    if wanted is None or not any(isinstance(value, Extent) for value in wanted):
        return None
    groups = [_factors(value) for value in wanted]
    axes = sizes.whole()
    if axes is None:
        named = [axis for group in groups if group is not None for axis in group]
        axes = _asked_for(sizes, named)
    if axes is None:
        return None
    whole = all(axis.number != 1 for axis in axes)
    axes = tuple(axis for axis in axes if axis.number != 1)
    places: list[list[int] | None] = []
    for group in groups:
        places.append(_places(group, axes))
    missing = [index for index, place in enumerate(places) if place is None]
    used = [place for group in places if group is not None for place in group]
    if len(set(used)) != len(used):
        return None
    if len(missing) == 1 and number(wanted[missing[0]]) == -1:
        rest = [index for index in range(len(axes)) if index not in used]
        before = sum(len(group) for group in places[: missing[0]] if group is not None)
        if len(rest) != 1 or rest[0] != before:
            return None  # -1 in a moved place
        places[missing[0]] = rest
        missing = []
    if missing:
        return None
    flat = [sorted(group) for group in places if group is not None and group]
    row = [place for group in flat for place in group]
    if len(row) != len(axes) or sorted(row) != list(range(len(axes))) or row == sorted(row):
        return None
    if [_label(axes[place]) for place in row] == [_label(axis) for axis in axes]:
        return None
    if len(nodes) == 1 and isinstance(nodes[0], ast.Tuple | ast.List):
        nodes = nodes[0].elts
    if len(nodes) != len(places):
        return None
    names = [site.file.text.segment(node) for node in nodes]
    first = {min(place): name for place, name in zip(places, names, strict=True) if place}
    shown = tuple(first[place] for place in sorted(first))
    return RecutRecord(site, text, shown, tuple(names), tuple(row) if whole else None)


def _asked_for(sizes: Sizes, named: list[Extent]) -> tuple[Extent, ...] | None:
    """The axes of a shape of unknown rank that code asked for one by one, if they are its first ones."""
    children = sizes.children or {}
    known = {
        key[1]: value
        for key, value in children.items()
        if isinstance(key, tuple) and len(key) == 2 and key[0] == "item" and isinstance(value, Extent)
        and isinstance(key[1], int)
    }  # fmt: skip
    chosen = sorted(index for index, axis in known.items() if any(axis is one for one in named))
    if not chosen or chosen != list(range(len(chosen))):
        return None
    return tuple(known[index] for index in chosen)


def _factors(value: Value) -> list[Extent] | None:
    if isinstance(value, Extent):
        return list(value.factors or (value,))
    length = number(value)
    return [Extent(length)] if length is not None and length >= 0 else None


def _places(group: list[Extent] | None, axes: tuple[Extent, ...]) -> list[int] | None:
    if group is None:
        return None
    result: list[int] = []
    for factor in group:
        if factor.number == 1 and not any(factor is axis for axis in axes):
            continue
        found = [index for index, axis in enumerate(axes) if axis is factor]
        if not found:
            found = [i for i, axis in enumerate(axes) if axis.number is not None and axis.number == factor.number]
        if len(found) != 1:
            return None
        result.append(found[0])
    return result


def _label(axis: Extent) -> object:
    return axis.number if axis.number is not None else id(axis)


def fold_of(before: Sizes, after: Sizes, batched: bool, site: Site, text: str) -> FoldRecord | None:
    """The record of a reshape after which a row is no longer one sample; None for one that keeps the samples apart."""
    axes, new = before.whole(), after.whole()
    if axes is None or new is None or len(axes) < 2:
        return None
    samples = axes[0].number
    sample = total(axes[1:])
    numbers = tuple(axis.number for axis in axes)
    if len(new) == 1:
        if samples == 1 or not (batched or (axes[0].batch and samples is not None)):
            return None
        return FoldRecord(site, text, numbers, 1, None)
    if len(new) != 2 or len(axes) < 3 or sample is None or new[0] is axes[0] or not (batched or axes[0].batch):
        return None
    width = new[1].number
    if width is None or any(total(axes[index:]) == width for index in range(1, len(axes))):
        return None
    if sample % width and width % sample:
        return None
    if samples is not None and new[0].number == samples:
        return None
    return FoldRecord(site, text, numbers, new[0].number, width)
