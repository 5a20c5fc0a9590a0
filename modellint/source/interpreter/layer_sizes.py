"""What the layers of torch make of a shape, and what lengths they ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from modellint.source.interpreter.sizes import product, sizes_of, total
from modellint.source.interpreter.values import Extent, Sizes

Arguments = Mapping[str, object]
"""Arguments of a constructor, defaults included; `...` for what is not known."""
Axes = tuple[Extent, ...]


def whole_number(value: object) -> int | None:
    """A length or count."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _each(value: object, count: int) -> tuple[int | None, ...]:
    """`3` and `(3, 3)` as one number an axis."""
    if isinstance(value, tuple):
        return tuple(whole_number(item) for item in value) if len(value) == count else (None,) * count
    return (whole_number(value),) * count


def window(axis: Extent, kernel: int | None, stride: int | None, padding: int | None, dilation: int | None,
           ceil: bool = False) -> Extent:  # fmt: skip
    """How often a kernel fits along an axis."""
    if kernel is None or stride is None or padding is None or dilation is None or stride < 1:
        return Extent()
    reach = dilation * (kernel - 1)
    if stride == 1 and 2 * padding == reach:
        return axis
    if axis.number is None:
        return Extent()
    room = axis.number + 2 * padding - reach - 1
    count = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (count - 1) * stride >= axis.number + padding:
        count -= 1
    return Extent(count) if count > 0 else Extent()


def dimensions(name: str) -> int | None:
    """2 of Conv2d."""
    return int(name[-2]) if len(name) > 1 and name[-1] == "d" and name[-2].isdigit() else None


def images(sizes: Sizes | None, count: int) -> tuple[Axes, Axes] | None:
    """Batch and channel, then the `count` axes behind them; a batch of one sample has no first axis.

    Where the number of axes is not known there is a batch: that is what nearly all code has. None if it does not fit.
    """
    if sizes is None:
        return (Extent(), Extent()), tuple(Extent() for _ in range(count))
    axes = sizes.whole()
    if axes is None:
        tail = sizes.axes[-count:] if len(sizes.axes) >= count else tuple(Extent() for _ in range(count))
        channel = sizes.axes[-count - 1] if len(sizes.axes) > count else Extent()
        first = sizes.child(("item", 0))
        return (first if isinstance(first, Extent) else Extent(), channel), tail
    if len(axes) not in (count + 1, count + 2):
        return None
    if len(axes) == count + 2:
        axes[0].batch = True
    return axes[:-count], axes[-count:]


def _conv(name: str, given: Arguments, sizes: Sizes | None) -> Sizes | None:
    count = dimensions(name)
    parts = images(sizes, count) if count else None
    if parts is None or count is None:
        return None
    front, spatial = parts
    kernels, strides, dilations = (_each(given.get(key), count) for key in ("kernel_size", "stride", "dilation"))
    padding = given.get("padding")
    result: list[Extent | None] = [*front[:-1], Extent(whole_number(given.get("out_channels")))]
    if padding == "same":
        return sizes_of([*result, *spatial])
    paddings = _each(0 if padding == "valid" else padding, count)
    if "Transpose" in name:
        extra = _each(given.get("output_padding"), count)
        for axis, k, s, p, d, e in zip(spatial, kernels, strides, paddings, dilations, extra, strict=True):
            if axis.number is None or k is None or s is None or p is None or d is None or e is None:
                result.append(None)
            else:
                result.append(Extent((axis.number - 1) * s - 2 * p + d * (k - 1) + e + 1))
        return sizes_of(result)
    parts_of = zip(spatial, kernels, strides, paddings, dilations, strict=True)
    return sizes_of([*result, *(window(axis, k, s, p, d) for axis, k, s, p, d in parts_of)])


def pooled(name: str, given: Arguments, sizes: Sizes | None) -> Sizes | None:
    """Pooling with a window, or to a given size."""
    count = dimensions(name)
    if count is None or given.get("return_indices") not in (None, False):
        return None
    parts = images(sizes, count)
    if parts is None:
        return None
    front, spatial = parts
    if "Adaptive" in name:
        wanted = given.get("output_size")
        if wanted is ...:
            return sizes_of([*front, *(Extent() for _ in spatial)])
        each = wanted if isinstance(wanted, tuple) and len(wanted) == count else (wanted,) * count
        return sizes_of(
            [*front, *(axis if w is None else Extent(whole_number(w)) for axis, w in zip(spatial, each, strict=True))]
        )
    if name.startswith(("MaxPool", "AvgPool", "LPPool")):
        kernels = _each(given.get("kernel_size"), count)
        stride = given.get("stride")
        strides = kernels if stride is None or stride == () else _each(stride, count)
        paddings = _each(given.get("padding", 0), count)
        dilations = _each(given.get("dilation", 1), count)
        ceil = bool(given.get("ceil_mode")) and given.get("ceil_mode") is not ...
        if given.get("ceil_mode") is ...:
            strides = (None,) * count
        each_axis = zip(spatial, kernels, strides, paddings, dilations, strict=True)
        return sizes_of([*front, *(window(axis, k, s, p, d, ceil) for axis, k, s, p, d in each_axis)])
    return sizes_of([*front, *(Extent() for _ in spatial)])


def _linear(name: str, given: Arguments, sizes: Sizes | None) -> Sizes | None:
    return with_last(sizes, whole_number(given.get("out_features")))


def with_last(sizes: Sizes | None, length: int | None) -> Sizes | None:
    """The same axes with another last one."""
    if sizes is None:
        return sizes_of([length], open=True)
    axes = sizes.whole()
    if axes is None:
        return sizes_of([*sizes.axes[:-1], length], open=True)
    return sizes_of([*axes[:-1], length]) if axes else None


def _batch_norm(name: str, given: Arguments, sizes: Sizes | None) -> Sizes | None:
    count = dimensions(name)
    axes = sizes.whole() if sizes is not None else None
    if axes is not None:
        return sizes
    if count in (2, 3):
        parts = images(sizes, count)
        assert parts is not None
        return sizes_of([parts[0][0], whole_number(given.get("num_features")), *parts[1]])
    return sizes


def _other_norm(name: str, given: Arguments, sizes: Sizes | None) -> Sizes | None:
    if sizes is None and name in ("LayerNorm", "RMSNorm"):
        shape = given.get("normalized_shape")
        lengths = shape if isinstance(shape, tuple) else (shape,)
        return sizes_of([whole_number(length) for length in lengths], open=True)
    return sizes


def _recurrent(name: str, given: Arguments, sizes: Sizes | None) -> Sizes | None:
    hidden, projected = whole_number(given.get("hidden_size")), given.get("proj_size", 0)
    both = given.get("bidirectional")
    width = hidden if projected == 0 else whole_number(projected)
    length = width * (2 if both else 1) if width is not None and isinstance(both, bool | int) else None
    if sizes is not None and sizes.whole() is None:  # a batch of sequences: that is what nearly all code has
        first = sizes.child(("item", 0))
        return sizes_of([first if isinstance(first, Extent) else None, None, length])
    return with_last(sizes, length)


def _embedding(name: str, given: Arguments, sizes: Sizes | None) -> Sizes | None:
    width = whole_number(given.get("embedding_dim"))
    axes = sizes.whole() if sizes is not None else None
    if name != "Embedding" or axes is None:
        return sizes_of([width], open=True)
    return sizes_of([*axes, width])


def _attention(name: str, given: Arguments, sizes: Sizes | None) -> Sizes | None:
    return with_last(sizes, whole_number(given.get("embed_dim")))


def _transformer(name: str, given: Arguments, sizes: Sizes | None) -> Sizes | None:
    return sizes if name in ("TransformerEncoder", "TransformerEncoderLayer") else None


def flattened(sizes: Sizes | None, start: int | None, end: int | None) -> Sizes | None:
    """`flatten(start, end)`."""
    if start is None or end is None:
        return None
    axes = sizes.whole() if sizes is not None else None
    if axes is None:
        if start == 0 and end == -1:
            return sizes_of([None])
        if start == 1 and end == -1:  # two axes, whatever came in
            first = sizes.child(("item", 0)) if sizes is not None else None
            return sizes_of([first if isinstance(first, Extent) else None, None])
        return None
    rank = len(axes)
    first_axis, last_axis = start % rank if rank else 0, end % rank if rank else 0
    if not rank or not -rank <= start < rank or not -rank <= end < rank or first_axis > last_axis:
        return sizes_of([1]) if not rank else None
    return sizes_of([*axes[:first_axis], product(axes[first_axis : last_axis + 1]), *axes[last_axis + 1 :]])


def _shape_layer(name: str, given: Arguments, sizes: Sizes | None) -> Sizes | None:
    if name == "Identity":
        return sizes
    if name == "Flatten":
        return flattened(sizes, whole_number(given.get("start_dim")), whole_number(given.get("end_dim")))
    if name in ("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"):
        return resized(sizes, given.get("size"), given.get("scale_factor"))
    axes = sizes.whole() if sizes is not None else None
    if axes is None or not axes:
        return None
    if name in ("PixelShuffle", "PixelUnshuffle") and len(axes) >= 3:
        r = whole_number(given.get("upscale_factor" if name == "PixelShuffle" else "downscale_factor"))
        if r is None or r < 1:
            return None
        grow = name == "PixelShuffle"
        channels, *spatial = (axis.number for axis in axes[-3:])
        channel = None if channels is None else channels // (r * r) if grow else channels * r * r
        return sizes_of([*axes[:-3], channel, *(None if n is None else n * r if grow else n // r for n in spatial)])
    if name == "Unflatten":
        dim, shape = whole_number(given.get("dim")), given.get("unflattened_size")
        if dim is None or not isinstance(shape, tuple) or not -len(axes) <= dim < len(axes):
            return None
        dim %= len(axes)
        return sizes_of([*axes[:dim], *split(axes[dim], [whole_number(n) for n in shape]), *axes[dim + 1 :]])
    count = dimensions(name)
    if "Pad" in name and count is not None and len(axes) > count:
        padding = given.get("padding")
        each = padding if isinstance(padding, tuple) else (padding,) * (2 * count)
        return padded(axes, each)
    return None


def padded(axes: Axes, each: Sequence[object]) -> Sizes | None:
    """`F.pad`: pairs for the axes, the last axis first."""
    result = list(axes)
    if len(each) % 2 or len(each) > 2 * len(axes):
        return None
    for index in range(len(each) // 2):
        before, after = whole_number(each[2 * index]), whole_number(each[2 * index + 1])
        axis = result[-1 - index]
        if before == after == 0:
            continue
        known = before is not None and after is not None and axis.number is not None
        result[-1 - index] = Extent(axis.number + before + after if known else None)  # type: ignore[operator]
    return Sizes(tuple(result))


def resized(sizes: Sizes | None, size: object, factor: object) -> Sizes | None:
    """`F.interpolate`: all axes but batch and channels."""
    axes = sizes.whole() if sizes is not None else None
    if axes is None or len(axes) < 3:
        return None
    spatial = axes[2:]
    lengths: list[int | None] = [None] * len(spatial)
    if size is not None:
        lengths = list(_each(size, len(spatial)))
    elif isinstance(factor, int | float) and not isinstance(factor, bool):
        lengths = [int(axis.number * factor) if axis.number is not None else None for axis in spatial]
    return sizes_of([*axes[:2], *lengths])


def split(axis: Extent, lengths: Sequence[int | None]) -> list[Extent]:
    """One axis cut into several, one of which may be -1."""
    known = [n for n in lengths if n is not None and n > 0]
    if len(known) == len(lengths):
        return [Extent(n) for n in lengths]
    rest = None
    if len(known) == len(lengths) - 1 and lengths.count(-1) == 1 and axis.number is not None:
        taken = total([Extent(n) for n in known]) or 1
        rest = axis.number // taken if axis.number % taken == 0 else None
    return [Extent(n if n is not None and n > 0 else rest) for n in lengths]


_FAMILIES: dict[str, Callable[[str, Arguments, Sizes | None], Sizes | None]] = {
    "linear": _linear, "conv": _conv, "conv_transpose": _conv, "pool": pooled, "norm_running": _batch_norm,
    "norm": _other_norm, "recurrent": _recurrent, "embedding": _embedding, "attention": _attention,
    "transformer": _transformer, "shape": _shape_layer,
}  # fmt: skip
_SAME = frozenset({"activation", "dropout", "rrelu", "norm_instance"})


def layer_output(name: str, family: str, given: Arguments, sizes: Sizes | None) -> Sizes | None:
    """The shape of what a layer makes; None where that is not known."""
    if family in _SAME:
        return sizes if name != "GLU" else None
    make = _FAMILIES.get(family)
    return make(name, given, sizes) if make is not None else None


@dataclass(frozen=True, slots=True)
class Want:
    """A length that a layer asks of its input."""

    axis: int
    """Counted as Python does."""
    length: int
    parameter: str
    ranks: tuple[int, ...] = ()
    """The numbers of axes that it takes; empty for any."""


def wants(name: str, family: str, given: Arguments) -> list[Want]:
    """What a layer asks of its input."""
    count = dimensions(name) or 0
    if family == "linear":
        return _want(given, "in_features", -1)
    if family in ("conv", "conv_transpose"):
        return _want(given, "in_channels", -count - 1, (count + 1, count + 2))
    if family == "norm_running" and count:
        return _want(given, "num_features", 1, (2, 3) if count == 1 else (count + 2,))
    if name == "GroupNorm":
        return _want(given, "num_channels", 1)
    if name in ("LayerNorm", "RMSNorm"):
        shape = given.get("normalized_shape")
        lengths = shape if isinstance(shape, tuple) else (shape,)
        numbers = [whole_number(length) for length in lengths]
        return [Want(i - len(numbers), n, "normalized_shape") for i, n in enumerate(numbers) if n is not None]
    if family == "recurrent":
        return _want(given, "input_size", -1, (2, 3))
    if family == "attention":
        return _want(given, "embed_dim", -1, (2, 3))
    return []


def _want(given: Arguments, parameter: str, axis: int, ranks: tuple[int, ...] = ()) -> list[Want]:
    length = whole_number(given.get(parameter))
    return [Want(axis, length, parameter, ranks)] if length is not None else []
