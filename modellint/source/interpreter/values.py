"""The abstract values that the interpreter computes with.

A value stands for what an expression may be: a constant, a module instance, a tensor that remembers what made it, an
optimizer. `Unknown` stands for anything; nothing that reached it is ever reported. What can change while code runs
(attributes, list items, mode, device) lives in dicts that are only written through the journal, so that a branch can be
taken back and joined.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from modellint.facts.forward_use import Mode
from modellint.facts.loss_use import OutputKind
from modellint.facts.record import slotted

if TYPE_CHECKING:
    from modellint.source.interpreter.flow_nodes import FlowNode
    from modellint.source.interpreter.reach import Reach
    from modellint.source.interpreter.records import ForwardRecord, LossRecord
    from modellint.source.project import SourceFile
    from modellint.source.torch_api.layers import LayerSpec

Key = tuple[Any, ...]
"""A canonical condition, equal for two tests of the same thing."""


class Site(NamedTuple):
    """A node of a file: becomes a Span when a fact is made of it."""

    file: SourceFile
    node: ast.AST


class Trail(NamedTuple):
    """The way a tensor came, newest step first."""

    site: Site
    text: str
    previous: Trail | None
    length: int


_births = itertools.count(1)


def now() -> int:
    """A moment; later calls give larger numbers."""
    return next(_births)


class Cells(dict[Any, Any]):
    """Journalled state of one object. What is born in a branch is nobody else's: it needs no undoing."""

    __slots__ = ("born",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.born = next(_births)


class Value:
    """Base of all abstract values."""

    __slots__ = ()


class Unknown(Value):
    """Anything. Two reads of the same attribute of one Unknown give one Unknown, so that tests of it correlate."""

    __slots__ = ("children", "forwards", "live", "losses", "origin", "reach", "reason", "text")

    def __init__(
        self,
        reason: str = "",
        forwards: frozenset[ForwardRecord] = frozenset(),
        losses: frozenset[LossRecord] = frozenset(),
        origin: object = None,
        text: str = "",
    ) -> None:
        self.reason = reason
        self.forwards = forwards
        self.losses = losses
        self.origin = origin
        """The loader or module that it came out of, if one is known."""
        self.text = text
        self.children: dict[object, Unknown] | None = None
        self.live = True
        """It may carry a graph; False for what `.item()` and the like give."""
        self.reach: Reach | None = None
        """Where its gradient goes; None when that is not known."""

    def child(self, name: object) -> Unknown:
        """The unknown attribute or item `name`."""
        if self.children is None:
            self.children = {}
        known = self.children.get(name)
        if known is None:
            known = self.children[name] = Unknown(self.reason, self.forwards, self.losses, self.origin)
            known.live = self.live
            known.reach = self.reach
        return known


class Extent(Unknown):
    """How long one axis of a tensor is: the same as itself, and `number` where that is known.

    Tests and loops treat it as unknown all the same: what one input decides says nothing about another.
    """

    __slots__ = ("batch", "factors", "made", "number")

    def __init__(self, number: int | None = None, factors: tuple[Extent, ...] = ()) -> None:
        super().__init__("the length of an axis")
        self.number = number
        self.factors = factors
        """The extents that it is the product of."""
        self.made: tuple[Site, str, bool] | None = None
        """The call of the layer that gave it this length, what is called, and whether the length is a literal there."""
        self.batch = False
        """A layer took it for the batch: the first of four axes of images."""


class Sizes(Unknown):
    """The shape of a tensor, also as a value: `x.shape`. All that keeps a shape shares one.

    `axes` are all its axes, or the last ones if it is `open` (more may come before them). Where code unpacked an open
    one, `unpacked["rank"]` (journalled) says how many there are on this path.
    """

    __slots__ = ("aligned", "axes", "folded", "open", "softmax", "unpacked")

    def __init__(self, axes: tuple[Extent, ...] = (), open: bool = False) -> None:
        super().__init__("`shape`")
        self.axes = axes
        self.open = open
        self.unpacked: dict[str, Any] = Cells()
        self.aligned = False
        """An axis of length 1 was added on purpose."""
        self.folded: Any = None
        """The record of the operation that folded the batch into another axis."""
        self.softmax: int | None = None
        """The axis of the softmax that made the tensor of this shape."""

    def at(self, index: int) -> Extent | None:
        """The axis at an index, counted from either end; None when it is not known which that is."""
        axes = self.whole()
        if axes is None:
            axes, known = self.axes, -len(self.axes) <= index < 0
        else:
            known = -len(axes) <= index < len(axes)
        return axes[index] if known else None

    def whole(self) -> tuple[Extent, ...] | None:
        """All axes, None where their number is not known."""
        if not self.open:
            return self.axes
        rank = self.unpacked.get("rank")
        if not isinstance(rank, int) or rank < len(self.axes):
            return None
        front = rank - len(self.axes)
        return (*(self._asked(index, index - rank) for index in range(front)), *self.axes)

    def _asked(self, index: int, other: int | None = None) -> Extent:
        """The axis that code asked for by this index (or by the `other` one), made when nobody did."""
        if self.children is None:
            self.children = {}
        for known in (index, other):
            value = self.children.get(("item", known))
            if isinstance(value, Extent):
                return value
        value = self.children["item", index] = Extent()
        return value

    def child(self, name: object) -> Unknown:
        """`x.shape[0]` and `x.shape[-1]`: one Extent for each axis."""
        if isinstance(name, tuple) and len(name) == 2 and name[0] == "item" and isinstance(name[1], int):
            axis = self.at(name[1])
            if axis is not None:
                return axis
            return self._asked(name[1])
        return super().child(name)


END_OF_PROGRAM = Unknown("the end of the program")
"""What `sys.exit()` gives: nothing comes after it."""


class Const(Value):
    """A Python constant."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


NONE = Const(None)
TRUE = Const(True)
FALSE = Const(False)


def const(value: object) -> Const:
    """A Const; the frequent ones are shared."""
    if value is None:
        return NONE
    if value is True:
        return TRUE
    if value is False:
        return FALSE
    return Const(value)


class Choice(Value):
    """One of a few values, depending on a condition that was not decided."""

    __slots__ = ("options",)
    LIMIT = 4

    def __init__(self, options: tuple[Value, ...]) -> None:
        self.options = options


class DeviceValue(Value):
    """A `torch.device` or a string that names one."""

    __slots__ = ("may_be_other_than_cpu", "text")

    def __init__(self, text: str, may_be_other_than_cpu: bool) -> None:
        self.text = text
        self.may_be_other_than_cpu = may_be_other_than_cpu


@dataclass(frozen=True, slots=True)
class DeviceMove:
    """Where a module or tensor was moved to. `site` None: it is where it was made, on the CPU."""

    text: str
    site: Site | None
    may_be_other_than_cpu: bool


UNMOVED = DeviceMove("cpu", None, False)


class Nature:
    """What is known of a tensor's values beside their kind. All that only moves or reshapes them shares one."""

    __slots__ = ("formula", "known", "padding", "signed", "whole")

    def __init__(
        self, known: bool = False, whole: bool = False, formula: str | None = None, padding: float | None = None
    ) -> None:
        self.known = known
        """It is a tensor for sure, not a batch object that was taken for one."""
        self.whole = whole
        """Its values are whole numbers, such as class labels."""
        self.formula = formula
        """`exp`: of raw scores; `sum of exp`."""
        self.padding = padding
        """It was padded with this number."""
        self.signed = False
        """Its values have both signs for sure."""


@slotted
class Tensor(Value):
    """A tensor and how it was made."""

    kind: OutputKind = OutputKind.UNKNOWN
    maker: str | None = None
    maker_site: Site | None = None
    trail: Trail | None = None
    producer: object = None
    """The module or forward argument behind it, through shape operations and activations; None when unknown."""
    producer_text: str | None = None
    forwards: frozenset[ForwardRecord] = frozenset()
    losses: frozenset[LossRecord] = frozenset()
    origin: object = None
    """The loader it came out of, or "dummy" when it was made on the spot."""
    device: DeviceMove | None = None
    classes: int | None = None
    softmax_dim: int | None = None
    fill: float | None = None
    """All its elements are this number."""
    random: bool = False
    model: ModuleValue | None = None
    """The outermost model whose forward made it."""
    model_site: Site | None = None
    text: str = ""
    comparison: bool = False
    nature: Nature = field(default_factory=Nature, kw_only=True)
    node: FlowNode | None = None
    """The operation that made it, where what reads it is noted."""
    reach: Reach | None = field(default=None, kw_only=True)
    """Where its gradient goes; None when that is not known."""
    sizes: Sizes | None = field(default=None, kw_only=True)
    """Its shape; None when nothing is known of it."""
    scaler: ScalerValue | None = field(default=None, kw_only=True)
    """The GradScaler that multiplied it."""
    weighed: bool = field(default=False, kw_only=True)
    """A loss in it was multiplied or divided."""

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """The length of each axis, None for what is not known; None when the number of axes is not known."""
        axes = self.sizes.whole() if self.sizes is not None else None
        return tuple(axis.number for axis in axes) if axes is not None else None


@slotted
class ParameterValue(Value):
    """One or several parameters of modules, as seen through `m.weight`, `p` in a loop, or a fresh `nn.Parameter`."""

    targets: tuple[tuple[ModuleValue, str], ...]
    dimensions: int | None = None
    fill: float | None = None
    random: bool = False
    elements: int | None = None
    trainable: bool = True
    name: str | None = None


@slotted
class ParametersOf(Value):
    """`model.parameters()`: the parameters of modules, or of nobody known."""

    modules: tuple[ModuleValue, ...]
    complete: bool = True
    named: bool = False


class ModeEntry(NamedTuple):
    """One mode a module may be in, what put it there, and what was assumed on that path."""

    mode: Mode
    site: Site | None
    text: str
    by_construction: bool
    assumed: frozenset[tuple[Key, bool]]
    loops: tuple[object, ...] = ()
    """The loops around the switch."""


@slotted
class ModuleValue(Value):
    """An instance of an `nn.Module`: of a project class, of torch, or of a library whose models are known by table."""

    key: int
    name: str
    """Dotted name of the torch class, or the project class's name."""
    cls: ClassValue | None
    site: Site | None
    spec: LayerSpec | None
    arguments: dict[str, Value]
    attrs: dict[str, Value] = field(default_factory=Cells)
    state: dict[str, Any] = field(default_factory=Cells)
    """Journalled: `modes`, `device`, `frozen`, `fill:weight` and the like."""
    element_sites: dict[str, Site] = field(default_factory=dict)
    complete: bool = True
    from_outside: bool = False
    """Nobody in the project constructs it: it was made with UNKNOWN arguments to enter its class."""
    constructing: bool = False
    reads: set[str] = field(default_factory=set)
    decided: dict[int, tuple[Site, str, bool, tuple[tuple[tuple[int, int], tuple[int, int]], ...]]] = field(
        default_factory=dict
    )
    """Tests in its methods that its constructor arguments decided: site, text, taken, extents of the dead code."""
    forward_runs: int = 0
    known_library: Any = None
    call: Any = None
    """The arguments of its construction as evaluated, None when it was made without one."""

    @property
    def is_container(self) -> bool:
        return self.spec is not None and self.spec.family == "container"

    def children(self) -> Iterator[tuple[str, ModuleValue]]:
        """Registered child modules; a Choice or the elements of plain lists do not count."""
        for name, value in self.attrs.items():
            if isinstance(value, ModuleValue):
                yield name, value
            elif isinstance(value, Choice):
                for option in value.options:
                    if isinstance(option, ModuleValue):
                        yield name, option

    def walk_values(self) -> list[ModuleValue]:
        """Itself and all modules below it."""
        return [part for _, part in self.walk()]

    def walk(self, limit: int = 400) -> Iterator[tuple[str, ModuleValue]]:
        """Itself and all modules below it, each once, with dotted names."""
        seen: set[int] = set()
        stack: list[tuple[str, ModuleValue]] = [("", self)]
        while stack and len(seen) < limit:
            name, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            prefix = f"{name}." if name else ""
            stack.extend((prefix + child, value) for child, value in reversed(list(module.children())))


NAMED_TUPLE = "typing.NamedTuple"
"""The class that named tuples descend from, `collections.namedtuple` included."""


@slotted
class ObjectValue(Value):
    """An instance of a project class that is no module."""

    cls: ClassValue
    site: Site | None
    attrs: dict[str, Value] = field(default_factory=Cells)


@slotted
class LibraryObject(Value):
    """An instance of a class from outside the project that is no module: a metric, a logger, an argument parser."""

    name: str
    site: Site | None
    attrs: dict[str, Value] = field(default_factory=Cells)
    forwards: frozenset[ForwardRecord] = frozenset()
    losses: frozenset[LossRecord] = frozenset()


@slotted
class OptimizerValue(Value):
    """A torch optimizer."""

    key: int
    kind: str
    text: str
    modules: tuple[ModuleValue, ...]
    complete: bool
    """All it holds was followed."""
    site: Site | None
    holds_parameters: bool = False
    """It was given single parameters or tensors besides modules."""


@slotted
class SchedulerValue(Value):
    """A learning-rate scheduler."""

    kind: str
    optimizer: OptimizerValue | None
    site: Site | None
    text: str = ""
    arguments: dict[str, Value] = field(default_factory=dict)
    """By name, beside the optimizer."""
    steps: list[Any] = field(default_factory=list)
    """A ScheduleStep for each place that steps it."""


@slotted
class ClockValue(Value):
    """A reading of the wall clock, with how much had been recorded by then."""

    site: Site
    forwards: int
    loops: int
    waits: int
    """How often something had waited for the accelerator, or may have."""


@slotted
class ScalerValue(Value):
    """A `GradScaler`."""

    site: Site | None
    text: str = ""
    kind: str = ""
    enabled: bool | None = True
    """None: an argument that was not followed decides."""
    scaled: set[LossRecord] = field(default_factory=set)
    """The losses that its `scale` was given."""
    updates: bool = False
    escaped: bool = False
    """It went into code that was not followed."""


@slotted
class LoaderValue(Value):
    """A `DataLoader` or a dataset that is iterated."""

    dataset: Value | None
    site: Site | None
    held_out: str | None = None
    """What shows that its data is a held-out split: `train=False`."""
    on_cpu: bool = False
    """Its batches are known to be CPU tensors."""
    made: DataMade | None = None
    """How it was made; None when that is not known to the end."""
    attrs: dict[str, Value] = field(default_factory=Cells)
    """Journalled: attributes of a dataset of a library, `transform` among them."""


@slotted
class DataMade:
    """The call that made a loader or a dataset."""

    kind: str
    """`loader`, `library`, `tensors`, `split`, `subset`, `concat`."""
    name: str
    arguments: dict[str, Value]
    """By the parameter names of torch and torchvision."""
    nodes: dict[str, ast.AST]
    open: bool
    loops: tuple[object, ...]
    """The loops around the call."""
    seeded: bool = False
    """A constant seeded torch's generator before."""
    index: int = 0
    """Which part of a split it is."""
    before: dict[str, Value] = field(default_factory=dict)
    """Of a part: the attributes of the whole when the part was made."""


@slotted
class SequenceValue(Value):
    """A list, tuple or set. `box` holds `items` (a tuple) and `complete`, both journalled."""

    kind: str
    box: dict[str, Any]
    site: Site | None = None

    @property
    def items(self) -> tuple[Value, ...]:
        items: tuple[Value, ...] = self.box["items"]
        return items

    @property
    def complete(self) -> bool:
        return bool(self.box["complete"])


def sequence(kind: str, items: tuple[Value, ...], complete: bool = True, site: Site | None = None) -> SequenceValue:
    """A new list, tuple or set."""
    return SequenceValue(kind, Cells({"items": items, "complete": complete}), site)


@slotted
class DictValue(Value):
    """A dict with constant keys. `items` is journalled; `box["complete"]` is False when unknown keys may be there."""

    items: dict[object, Value]
    box: dict[str, Any]
    site: Site | None = None


@slotted
class RangeValue(Value):
    """`range(n)` with n known or not."""

    count: int | None
    start: int = 0
    step: int = 1
    stop: Value | None = None
    """The `n` as it was given."""


@slotted
class IterationValue(Value):
    """`enumerate(x)`, `zip(a, b)`, `tqdm(x)`, `x.items()`: something to iterate, by what it does."""

    how: str
    parts: tuple[Value, ...]


@slotted
class FunctionValue(Value):
    """A function of the project."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    file: SourceFile
    closure: Scope
    name: str
    defaults: tuple[Value, ...]
    keyword_defaults: Mapping[str, Value]
    owner: ClassValue | None
    decorators: tuple[Value, ...] = ()


@slotted
class BoundMethod(Value):
    """A project function bound to its receiver."""

    function: FunctionValue
    receiver: Value


@slotted
class ClassValue(Value):
    """A class of the project."""

    node: ast.ClassDef
    file: SourceFile
    name: str
    bases: tuple[Value, ...]
    attrs: dict[str, Value]
    unknown_base: bool
    library_bases: tuple[str, ...]
    """Dotted names of the classes from outside the project that it descends from, nearest first."""
    is_module: bool
    mro: tuple[ClassValue, ...]

    def lookup(self, name: str) -> Value | None:
        """An attribute of the class or of its project bases."""
        for cls in self.mro:
            value = cls.attrs.get(name)
            if value is not None:
                return value
        return None


@slotted
class External(Value):
    """A name from outside the project: `torch.nn.Linear`, `numpy.array`."""

    name: str


@slotted
class FileValue(Value):
    """A module (file) or package of the project, as imported."""

    file: SourceFile | None
    dotted: str


class LazyImport(Value):
    """A name that a file imports from another file of the project: that file is read when the name is used.

    Never leaves the names of a file: whoever looks a name up asks for its `value`.
    """

    __slots__ = ("_busy", "_resolve")

    def __init__(self, resolve: Callable[[], Value]) -> None:
        self._resolve = resolve
        self._busy = False

    def value(self) -> Value:
        """What the name stands for. The file is loaded again for each entry point: loading does its effects there."""
        if self._busy:
            return Unknown("an import that goes round in a circle")
        self._busy = True
        try:
            return self._resolve()
        finally:
            self._busy = False


@slotted
class Method(Value):
    """A method of a value whose behaviour the interpreter knows: `tensor.sigmoid`, `optimizer.step`."""

    receiver: Value
    name: str


@slotted
class PartialValue(Value):
    """`functools.partial`."""

    function: Value
    arguments: tuple[Value, ...]
    keywords: Mapping[str, Value]


@slotted
class SuperValue(Value):
    """`super()` in a method of `owner`."""

    owner: ClassValue
    receiver: Value


@slotted
class ContextValue(Value):
    """A context manager that changes what the interpreter tracks: `no_grad`, `enable_grad`, `set_grad_enabled`."""

    what: str
    enabled: bool | None
    site: Site | None


class Scope:
    """The names of one function call, class body or file."""

    __slots__ = ("elsewhere", "file", "names", "of_class", "parent")

    def __init__(self, names: dict[str, Value], parent: Scope | None, file: SourceFile) -> None:
        self.names = names
        self.parent = parent
        self.file = file
        self.of_class = False
        self.elsewhere: dict[str, Scope] | None = None
        """Names that `global` and `nonlocal` bind in another scope."""
