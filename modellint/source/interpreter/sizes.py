"""Shapes: how long the axes of a tensor are, as numbers where they are known and as names of axes in any case.

Nothing here decides a test: the reader goes through both arms of `if x.dim() == 3` as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from modellint.source.interpreter.values import Choice, Const, Extent, ParameterValue, SequenceValue, Sizes, Value

MOST_AXES = 12


def extent(value: int | Extent | None) -> Extent:
    """An axis of this length."""
    return value if isinstance(value, Extent) else Extent(value)


def sizes_of(axes: Iterable[int | Extent | None], open: bool = False) -> Sizes:
    """A shape of these axes."""
    return Sizes(tuple(extent(axis) for axis in axes), open)


def number(value: Value | None) -> int | None:
    """A whole number, if the value is known to be one."""
    if isinstance(value, Extent):
        return value.number
    if isinstance(value, Const) and isinstance(value.value, int) and not isinstance(value.value, bool):
        return value.value
    return None


def axis_of(value: Value) -> Extent | None:
    """The length that an argument of `view` or `randn` asks for; None for -1 and for what is not followed."""
    if isinstance(value, Extent):
        return value
    length = number(value)
    return Extent(length) if length is not None and length >= 0 else None


def total(axes: Iterable[Extent]) -> int | None:
    """How many elements these axes hold."""
    numbers = [axis.number for axis in axes]
    known = [n for n in numbers if n is not None]
    return prod(known) if len(known) == len(numbers) else None


def product(axes: Sequence[Extent]) -> Extent:
    """One axis made of several."""
    if len(axes) == 1:
        return axes[0]
    factors = tuple(factor for axis in axes for factor in (axis.factors or (axis,)))
    return Extent(total(axes), factors)


def joined_sizes(options: Sequence[Sizes | None]) -> Sizes | None:
    """A shape that may be any of these: axes that differ are unknown."""
    first = options[0]
    if all(option is first for option in options):
        return first
    known = [option for option in options if option is not None]
    if len(known) < len(options):
        return None
    wholes = [option.whole() for option in known]
    if all(whole is not None and len(whole) == len(wholes[0] or ()) for whole in wholes):
        rows = [whole for whole in wholes if whole is not None]
        return Sizes(tuple(_same_axis(column) for column in zip(*rows, strict=True)))
    tails = [whole if whole is not None else option.axes for whole, option in zip(wholes, known, strict=True)]
    count = min(len(tail) for tail in tails)
    if not count:
        return None
    return Sizes(tuple(_same_axis(column) for column in zip(*(tail[-count:] for tail in tails), strict=True)), True)


def _same_axis(column: Sequence[Extent]) -> Extent:
    first = column[0]
    if all(axis is first for axis in column):
        return first
    return Extent(first.number) if len({axis.number for axis in column}) == 1 else Extent()


def loosened(sizes: Sizes | None) -> Sizes | None:
    """After an operation with something unknown that may have been broadcast: an axis of 1 may have grown."""
    if sizes is None:
        return None
    axes = sizes.whole() or sizes.axes
    return Sizes(tuple(axis if axis.number is not None and axis.number > 1 else Extent() for axis in axes), True)


def broadcast(first: Sizes | None, second: Sizes | None) -> Sizes | None:
    """What an element-wise operation makes of two shapes."""
    if first is second:
        return first
    if first is None or second is None:
        return loosened(first or second)
    a, b = first.whole(), second.whole()
    if a is None or b is None:
        a, b = a or first.axes, b or second.axes
        count = min(len(a), len(b))
        if not count:
            return None
        return Sizes(tuple(_wider(x, y) for x, y in zip(a[-count:], b[-count:], strict=True)), True)
    rank = max(len(a), len(b))
    if len(a) == len(b) == 0:
        return first
    one = Extent(1)
    a, b = (one,) * (rank - len(a)) + a, (one,) * (rank - len(b)) + b
    result = Sizes(tuple(_wider(x, y) for x, y in zip(a, b, strict=True)))
    result.aligned = first.aligned or second.aligned
    return result


def grow_together(first: Sizes, second: Sizes) -> bool:
    """Whether an element-wise operation makes both shapes larger: (N, 1) with (N,)."""
    a, b = first.whole(), second.whole()
    if a is None or b is None:
        return False
    rank = max(len(a), len(b))
    rows = [(1,) * (rank - len(axes)) + tuple(axis.number for axis in axes) for axes in (a, b)]
    pairs = list(zip(*rows, strict=True))
    return any(x == 1 != y for x, y in pairs) and any(y == 1 != x for x, y in pairs)


def _wider(a: Extent, b: Extent) -> Extent:
    if a is b or b.number == 1:
        return a
    if a.number == 1:
        return b
    if a.number is not None:
        # Two lengths that do not go together: one of them was not followed rightly.
        return a if b.number is None or b.number == a.number else Extent()
    return b if b.number is not None else Extent()


def given_axes(values: Sequence[Value]) -> list[Value] | None:
    """The lengths of `view(2, 3)`, `view((2, 3))` and `view(x.shape)`; None when they were not followed."""
    if len(values) == 1:
        only = values[0]
        if isinstance(only, SequenceValue):
            return list(only.items) if only.complete else None
        if isinstance(only, Sizes):
            axes = only.whole()
            return list(axes) if axes is not None else None
    return list(values)


def literal_sizes(value: Value | None, depth: int = 0) -> Sizes | None:
    """The shape of `torch.tensor([[1., 2.], [3., 4.]])`."""
    axes: list[int] = []
    while isinstance(value, SequenceValue) and value.complete and depth < MOST_AXES:
        axes.append(len(value.items))
        depth += 1
        if not value.items:
            return sizes_of(axes)
        value = value.items[0]
    return sizes_of(axes) if isinstance(value, Const) and isinstance(value.value, int | float) else None


def constant_of(value: Value | None) -> object:
    """A constant argument of a layer, a tuple of them, None for the default; `...` when it is not known."""
    if value is None:
        return None
    if isinstance(value, Const):
        return value.value
    if isinstance(value, Extent) and value.number is not None:
        return value.number
    if isinstance(value, SequenceValue) and value.complete:
        items = tuple(constant_of(item) for item in value.items)
        return items if ... not in items else ...
    return ...


def known_sizes(value: Value | None) -> Sizes | None:
    """The shape of a value that is a tensor."""
    return getattr(value, "sizes", None) if not isinstance(value, Choice | ParameterValue) else None
