"""What torch's functions and tensor methods make of a shape."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.layer_sizes import flattened, padded, pooled, resized, split, whole_number, with_last
from modellint.source.interpreter.sizes import (
    axis_of,
    broadcast,
    constant_of,
    given_axes,
    known_sizes,
    literal_sizes,
    loosened,
    number,
    product,
    sizes_of,
    total,
)
from modellint.source.interpreter.values import Const, Extent, SequenceValue, Sizes, Tensor, Unknown, Value

_SAME = frozenset([
    "relu", "relu6", "sigmoid", "tanh", "gelu", "silu", "elu", "selu", "celu", "leaky_relu", "mish",
    "hardswish", "hardtanh", "hardsigmoid", "logsigmoid", "softplus", "softsign", "hardshrink", "softshrink",
    "tanhshrink", "prelu", "threshold", "rrelu", "softmax", "log_softmax", "softmin", "gumbel_softmax", "exp",
    "log", "logit", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
    "contiguous", "clone", "detach", "to", "type", "type_as", "float", "half", "double", "bfloat16", "int",
    "long", "bool", "cpu", "cuda", "pin_memory", "abs", "neg", "sqrt", "rsqrt", "square", "clamp", "clip",
    "sin", "cos", "round", "floor", "ceil", "sign", "requires_grad_", "retain_grad", "masked_fill", "cumsum",
    "cumprod", "flip", "roll", "tril", "triu", "nan_to_num", "erf", "log1p", "expm1", "log2", "log10",
    "reciprocal", "logical_not", "isnan", "isinf", "normalize", "layer_norm", "batch_norm", "instance_norm",
    "group_norm", "rms_norm", "local_response_norm", "data", "real", "expit", "index_fill", "scatter",
    "scatter_add", "index_add", "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like",
    "randint_like", "argsort",
])  # fmt: skip
"""One value for each value of the input."""
_TWO = frozenset([
    "add", "sub", "subtract", "mul", "multiply", "div", "divide", "true_divide", "maximum", "minimum", "pow",
    "fmod", "remainder", "atan2", "lerp", "eq", "ne", "lt", "gt", "le", "ge", "logical_and", "logical_or",
])  # fmt: skip
_REDUCE = frozenset([
    "mean", "sum", "prod", "std", "var", "amax", "amin", "logsumexp", "norm", "argmax", "argmin", "any", "all",
    "nansum", "nanmean",
])  # fmt: skip
_CREATED = frozenset([
    "randn", "rand", "zeros", "ones", "empty",
])  # fmt: skip
UNKNOWN = sizes_of((), open=True)
"""Any shape: what is known of an operation that is not in the tables here."""


class Operation:
    """One call: what it is given, without the tensor itself."""

    def __init__(self, name: str, sizes: Sizes | None, call: CallArguments, skip: int) -> None:
        self.name = name
        self.sizes = sizes
        self.call = call
        self.skip = skip

    @property
    def axes(self) -> tuple[Extent, ...] | None:
        """All axes of the input."""
        return self.sizes.whole() if self.sizes is not None else None

    def value(self, position: int, name: str) -> Value | None:
        """An argument."""
        return self.call.get(position + self.skip, name)

    def constant(self, position: int, name: str, default: object = None) -> object:
        """A constant argument; `...` when it is not known."""
        value = self.value(position, name)
        return default if value is None else constant_of(value)

    def rest(self) -> list[Value]:
        """The positional arguments."""
        return self.call.positional[self.skip :]


def operation_sizes(name: str, sizes: Sizes | None, call: CallArguments, skip: int) -> Sizes | None:
    """The shape of what an operation makes of a tensor; `UNKNOWN` itself for one that is not known here."""
    if name.endswith("_") and not name.endswith("__") and name not in ("requires_grad_",):
        name = name[:-1]
    if name in _SAME:
        return sizes
    operation = Operation(name, sizes, call, skip)
    if name in _TWO:
        return _two(operation)
    if name in _REDUCE:
        return _reduced(operation)
    make = _OPERATIONS.get(name)
    if make is not None:
        return make(operation) if not call.open else None
    return UNKNOWN


def _two(op: Operation) -> Sizes | None:
    other = op.value(0, "other") or op.value(0, "exponent")
    return element_wise(op.sizes, other)


def element_wise(sizes: Sizes | None, other: Value | None) -> Sizes | None:
    """`tensor + other`."""
    if isinstance(other, Const | Extent):
        return sizes
    if isinstance(other, Tensor):
        return broadcast(sizes, other.sizes)
    return loosened(sizes)


def _dims(value: object) -> tuple[int, ...] | None:
    each = value if isinstance(value, tuple) else (value,)
    numbers = [whole_number(item) for item in each]
    known = [n for n in numbers if n is not None]
    return tuple(known) if len(known) == len(numbers) else None


def _reduced(op: Operation) -> Sizes | None:
    position = {"norm": 1}.get(op.name, 0)
    given = op.constant(position, "dim", op.constant(position, "axis"))
    keep = op.constant(position + (2 if op.name in ("std", "var") else 1), "keepdim", False)
    if given is None:
        return sizes_of(())
    dims = _dims(given)
    if dims is None or not isinstance(keep, bool) or op.sizes is None:
        return None
    axes = op.axes
    if axes is None:
        tail = list(op.sizes.axes)
        if any(dim >= 0 or -dim > len(tail) for dim in dims):
            return None
        chosen = {len(tail) + dim for dim in dims}
        return sizes_of(_without(tail, chosen, keep), open=True)
    if any(not -len(axes) <= dim < len(axes) for dim in dims):
        return None
    return sizes_of(_without(list(axes), {dim % len(axes) for dim in dims}, keep))


def _without(axes: list[Extent], dims: set[int], keep: bool) -> list[Extent]:
    return [Extent(1) if index in dims else axis for index, axis in enumerate(axes) if keep or index not in dims]


def _extreme(op: Operation) -> Sizes | None:
    given = op.value(0, "dim")
    if given is None:
        return sizes_of(())
    return broadcast(op.sizes, given.sizes) if isinstance(given, Tensor) else None


def moved(axis: Extent) -> Extent:
    """An axis at another place: as long as before, but no longer the one that was unpacked."""
    result = Extent(axis.number)
    result.made = axis.made
    return result


def _reordered(axes: Sequence[Extent], order: Sequence[int]) -> list[Extent]:
    return [axes[old] if old == new else moved(axes[old]) for new, old in enumerate(order)]


def _permute(op: Operation) -> Sizes | None:
    given = given_axes(op.rest()) if op.rest() else None
    if given is None and isinstance(dims := op.call.keywords.get("dims"), SequenceValue):
        given = list(dims.items)
    order = [number(value) for value in given] if given is not None else []
    axes = op.axes
    if axes is None or len(order) != len(axes):
        return sizes_of([None] * len(order)) if order and None not in order else None
    numbers = [n % len(axes) for n in order if n is not None and -len(axes) <= n < len(axes)]
    if sorted(numbers) != list(range(len(axes))):
        return None
    return sizes_of(_reordered(axes, numbers))


def _transpose(op: Operation) -> Sizes | None:
    first, second = (
        whole_number(op.constant(0, "dim0", op.constant(0, "axis0"))),
        whole_number(op.constant(1, "dim1", op.constant(1, "axis1"))),
    )
    if first is None or second is None or op.sizes is None:
        return None
    axes = op.axes
    open = axes is None
    if axes is None:
        axes = op.sizes.axes
        if first >= 0 or second >= 0:
            return None
    if not (-len(axes) <= first < len(axes) and -len(axes) <= second < len(axes)):
        return None
    order = list(range(len(axes)))
    order[first % len(axes)], order[second % len(axes)] = order[second % len(axes)], order[first % len(axes)]
    return sizes_of(_reordered(axes, order), open)


def _turned(op: Operation) -> Sizes | None:
    axes = op.axes
    if axes is None:
        return None
    if op.name == "mT" and len(axes) >= 2:
        return sizes_of([*axes[:-2], moved(axes[-1]), moved(axes[-2])])
    return sizes_of(_reordered(axes, range(len(axes) - 1, -1, -1))) if len(axes) == 2 else None


def _unsqueeze(op: Operation) -> Sizes | None:
    dim = whole_number(op.constant(0, "dim"))
    if dim is None or op.sizes is None:
        return None
    axes = op.axes
    if axes is None:
        tail = list(op.sizes.axes)
        if dim >= 0 or -dim - 1 > len(tail):
            return None
        tail.insert(len(tail) + dim + 1, Extent(1))
        result = sizes_of(tail, open=True)
    else:
        if not -len(axes) - 1 <= dim <= len(axes):
            return None
        new = list(axes)
        new.insert(dim if dim >= 0 else len(axes) + dim + 1, Extent(1))
        result = sizes_of(new)
    result.aligned = True
    return result


def _squeeze(op: Operation) -> Sizes | None:
    given = op.constant(0, "dim")
    if op.sizes is None:
        return None
    axes = op.axes
    if given is None:
        # The batch is taken to hold more than one sample; of other axes that are not known nothing can be said.
        if axes is None or any(axis.number is None for axis in axes[1:]):
            return None
        return sizes_of([axis for axis in axes if axis.number != 1])
    dims = _dims(given)
    if dims is None:
        return None
    row = list(axes if axes is not None else op.sizes.axes)
    if any((dim >= 0 and axes is None) or not -len(row) <= dim < len(row) for dim in dims):
        return None
    chosen = {dim % len(row) for dim in dims}
    if any(row[dim].number is None for dim in chosen):
        return None
    return sizes_of([a for i, a in enumerate(row) if i not in chosen or a.number != 1], open=axes is None)


def _flatten(op: Operation) -> Sizes | None:
    start, end = op.constant(0, "start_dim", 0), op.constant(1, "end_dim", -1)
    return flattened(op.sizes, whole_number(start), whole_number(end))


def _unflatten(op: Operation) -> Sizes | None:
    dim, shape, axes = whole_number(op.constant(0, "dim")), op.constant(1, "sizes"), op.axes
    if axes is None or dim is None or not isinstance(shape, tuple) or not -len(axes) <= dim < len(axes):
        return None
    dim %= len(axes)
    return sizes_of([*axes[:dim], *split(axes[dim], [whole_number(n) for n in shape]), *axes[dim + 1 :]])


def _view(op: Operation) -> Sizes | None:
    values = op.rest()
    if not values and "shape" in op.call.keywords:
        values = [op.call.keywords["shape"]]
    return viewed(op.sizes, values)


def viewed(sizes: Sizes | None, values: list[Value]) -> Sizes | None:
    """`view(values)`."""
    given = given_axes(values)
    if given is None or (len(values) == 1 and given[:1] == values and number(values[0]) is None
                         and not isinstance(values[0], Extent)):  # fmt: skip
        return None
    wanted = [axis_of(value) for value in given]
    open_places = [i for i, value in enumerate(given) if number(value) == -1]
    axes = sizes.whole() if sizes is not None else None
    if len(open_places) == 1 and axes is not None:
        place = open_places[0]
        before, after = wanted[:place], wanted[place + 1 :]
        rest = _left_over(axes, before, after)
        if rest is not None:
            return sizes_of([*before, rest, *after])
    return sizes_of(wanted)


def _left_over(axes: tuple[Extent, ...], before: list[Extent | None], after: list[Extent | None]) -> Extent | None:
    """The length that -1 stands for: what is left when equal axes at both ends are taken away, or by division."""
    row = list(axes)
    for axis in before:
        if not row or axis is None or not _alike(row[0], axis):
            break
        row.pop(0)
    else:
        tail = list(after)
        while tail and row and tail[-1] is not None:
            last = tail[-1]
            count = next((k for k in range(1, len(row) + 1) if _alike(product(row[len(row) - k :]), last)), None)
            if count is None:
                break
            del row[len(row) - count :]
            tail.pop()
        if not tail:
            return product(row) if row else Extent(1)
    every = total(axes)
    fixed = [axis for axis in (*before, *after) if axis is not None]
    taken = total(fixed) if len(fixed) == len(before) + len(after) else None
    return Extent(every // taken) if every is not None and taken and every % taken == 0 else None


def _alike(a: Extent, b: Extent) -> bool:
    return a is b or (a.number is not None and a.number == b.number)


def _view_like(op: Operation) -> Sizes | None:
    return known_sizes(op.value(0, "other"))


def _expand(op: Operation) -> Sizes | None:
    given = given_axes(op.rest())
    if given is None or (len(given) == 1 and axis_of(given[0]) is None and number(given[0]) != -1):
        return None
    axes = op.axes
    row: list[Extent | None] = []
    for index, value in enumerate(given):
        behind = len(given) - index
        old = axes[-behind] if axes is not None and behind <= len(axes) else None
        row.append(old if number(value) == -1 else axis_of(value))
    return sizes_of(row)


def _repeat(op: Operation) -> Sizes | None:
    given = given_axes(op.rest())
    axes = op.axes
    if given is None or axes is None or len(given) < len(axes):
        return None
    row = [Extent(1)] * (len(given) - len(axes)) + list(axes)
    times = [number(value) for value in given]
    return sizes_of(
        [
            axis if n == 1 else (axis.number * n if axis.number is not None and n is not None else None)
            for axis, n in zip(row, times, strict=True)
        ]
    )


def _matmul(op: Operation) -> Sizes | None:
    return matmul(op.sizes, known_sizes(op.value(0, "other") or op.value(0, "mat2")))


def matmul(first: Sizes | None, second: Sizes | None) -> Sizes | None:
    """`first @ second`."""
    a = first.whole() if first is not None else None
    b = second.whole() if second is not None else None
    if a is None or b is None or len(a) < 2 or len(b) < 2:
        return None
    front = broadcast(sizes_of(a[:-2]), sizes_of(b[:-2]))
    axes = front.whole() if front is not None else None
    return sizes_of([*axes, a[-2], b[-1]]) if axes is not None else None


def _cat(op: Operation) -> Sizes | None:
    items = _tensors(op.call.get(0, "tensors"))
    dim = whole_number(op.constant(0 if op.skip else 1, "dim", 0))
    if items is None or dim is None:
        return None
    rows = [item.whole() for item in items]
    if any(row is None for row in rows):
        tails = [item.axes for item in items]
        if dim != -1 or any(not tail for tail in tails):
            return None
        lengths = [tail[-1].number for tail in tails]
        return sizes_of([sum(n for n in lengths if n is not None) if None not in lengths else None], open=True)
    whole = [row for row in rows if row is not None]
    rank = len(whole[0])
    if any(len(row) != rank for row in whole) or not -rank <= dim < rank:
        return None
    dim %= rank
    lengths = [row[dim].number for row in whole]
    joined = sum(n for n in lengths if n is not None) if None not in lengths else None
    return sizes_of(
        [
            joined if i == dim else next((r[i] for r in whole if r[i].number is not None), whole[0][i])
            for i in range(rank)
        ]
    )


def _stack(op: Operation) -> Sizes | None:
    items = _tensors(op.call.get(0, "tensors"))
    dim = whole_number(op.constant(0 if op.skip else 1, "dim", 0))
    axes = items[0].whole() if items else None
    if items is None or axes is None or dim is None or not -len(axes) - 1 <= dim <= len(axes):
        return None
    row: list[Extent] = list(axes)
    row.insert(dim if dim >= 0 else len(axes) + dim + 1, Extent(len(items)))
    return sizes_of(row)


def _tensors(value: Value | None) -> list[Sizes] | None:
    if not isinstance(value, SequenceValue) or not value.complete or not value.items:
        return None
    found = [known_sizes(item) for item in value.items]
    known = [sizes for sizes in found if sizes is not None]
    return known if len(known) == len(found) else None


def _pool(op: Operation) -> Sizes | None:
    words = [part.capitalize() for part in op.name.removesuffix("_pool" + op.name[-2:]).split("_")]
    count = op.name[-2:]
    given = {"return_indices": op.constant(99, "return_indices")}
    if words[0] == "Adaptive":
        given["output_size"] = op.constant(0, "output_size")
    else:
        names = ("kernel_size", "stride", "padding", "ceil_mode") if "Avg" in words else (
            "kernel_size", "stride", "padding", "dilation", "ceil_mode"
        )  # fmt: skip
        defaults: dict[str, object] = {"padding": 0, "dilation": 1, "ceil_mode": False}
        for position, name in enumerate(names):
            given[name] = op.constant(position, name, defaults.get(name))
    return pooled("".join(words) + "Pool" + count, given, op.sizes)


def _interpolate(op: Operation) -> Sizes | None:
    return resized(op.sizes, op.constant(0, "size"), op.constant(1, "scale_factor"))


def _pad(op: Operation) -> Sizes | None:
    given = op.constant(0, "pad")
    return padded(op.axes, given) if op.axes is not None and isinstance(given, tuple) else None


def _one_hot(op: Operation) -> Sizes | None:
    axes = op.axes
    width = whole_number(op.constant(0, "num_classes"))
    if axes is None:
        return sizes_of([width], open=True)
    return sizes_of([*axes, width])


def _attention(op: Operation) -> Sizes | None:
    value = known_sizes(op.value(1, "value"))
    last = value.at(-1) if value is not None else None
    return with_last(op.sizes, last.number if last is not None else None)


def _gather(op: Operation) -> Sizes | None:
    return known_sizes(op.value(1, "index"))


_OPERATIONS: dict[str, Callable[[Operation], Sizes | None]] = {
    **dict.fromkeys(("max", "min"), _extreme), "permute": _permute, "t": _turned, "T": _turned, "mT": _turned,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _transpose), "unsqueeze": _unsqueeze, "squeeze": _squeeze,
    "flatten": _flatten, "ravel": lambda op: flattened(op.sizes, 0, -1), "unflatten": _unflatten,
    **dict.fromkeys(("view", "reshape"), _view), **dict.fromkeys(("view_as", "reshape_as", "expand_as"), _view_like),
    "expand": _expand, "repeat": _repeat, **dict.fromkeys(("matmul", "bmm", "mm"), _matmul),
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat), "stack": _stack, "interpolate": _interpolate, "pad": _pad,
    "one_hot": _one_hot, "scaled_dot_product_attention": _attention, "gather": _gather,
    **dict.fromkeys((f"{kind}_pool{n}d" for n in (1, 2, 3) for kind in ("max", "avg", "adaptive_max", "adaptive_avg")),
                    _pool),
}  # fmt: skip


def _is_length(nodes: Sequence[ast.AST]) -> bool:
    """Whether an argument is `len(rows)`: a number for sure, no shape."""
    node = nodes[0]
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"


def created_sizes(name: str, call: CallArguments) -> Sizes | None:
    """The shape of `torch.randn(16, 8)` and the like."""
    if call.open:
        return None
    first = call.positional[0] if call.positional else None
    if name in _CREATED and len(call.positional) == 1 and type(first) is Unknown and _is_length(call.positional_nodes):
        return sizes_of([None])
    if name in _CREATED:
        return viewed(None, list(call.positional) or ([call.keywords["size"]] if "size" in call.keywords else []))
    if name == "full":
        return viewed(None, [v for v in (call.get(0, "size"),) if isinstance(v, SequenceValue | Sizes)])
    if name == "randint":
        sizes: list[Value] = [
            v for v in (*call.positional, *call.keywords.values()) if isinstance(v, SequenceValue | Sizes)
        ]
        return viewed(None, sizes) if sizes else None
    if name == "normal":
        size = call.get(2, "size")
        return viewed(None, [size]) if isinstance(size, SequenceValue | Sizes) else None
    if name in ("arange", "range", "linspace", "logspace", "randperm"):
        counts = {"randperm": number(first), "linspace": number(call.get(2, "steps"))}
        if name == "arange" and len(call.positional) == 1 and not call.keywords.get("step"):
            counts["arange"] = number(first)
        return sizes_of([counts.get(name)])
    if name == "eye":
        return sizes_of([number(first), number(call.get(1, "m") or first)])
    if name.endswith("_like"):
        return known_sizes(first)
    if name in ("tensor", "as_tensor", "asarray"):
        return known_sizes(first) or literal_sizes(first)
    return None
