"""The abstract values that the interpreter computes with.

A value stands for what an expression may be: a constant, a module instance, a tensor that remembers what made it, an
optimizer. `Unknown` stands for anything; nothing that reached it is ever reported. What can change while code runs
(attributes, list items, mode, device) lives in dicts that are only written through the journal, so that a branch can be
taken back and joined.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from modellint.facts.forward_use import Mode
from modellint.facts.loss_use import OutputKind

if TYPE_CHECKING:
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

    __slots__ = ("children", "forwards", "live", "losses", "origin", "reason", "text")

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

    def child(self, name: object) -> Unknown:
        """The unknown attribute or item `name`."""
        if self.children is None:
            self.children = {}
        known = self.children.get(name)
        if known is None:
            known = self.children[name] = Unknown(self.reason, self.forwards, self.losses, self.origin)
            known.live = self.live
        return known


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


@dataclass(slots=True, eq=False)
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


@dataclass(slots=True, eq=False)
class ParameterValue(Value):
    """One or several parameters of modules, as seen through `m.weight`, `p` in a loop, or a fresh `nn.Parameter`."""

    targets: tuple[tuple[ModuleValue, str], ...]
    dimensions: int | None = None
    fill: float | None = None
    random: bool = False
    elements: int | None = None
    trainable: bool = True
    name: str | None = None


@dataclass(slots=True, eq=False)
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


@dataclass(slots=True, eq=False)
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


@dataclass(slots=True, eq=False)
class ObjectValue(Value):
    """An instance of a project class that is no module."""

    cls: ClassValue
    site: Site | None
    attrs: dict[str, Value] = field(default_factory=Cells)


@dataclass(slots=True, eq=False)
class LibraryObject(Value):
    """An instance of a class from outside the project that is no module: a metric, a logger, an argument parser."""

    name: str
    site: Site | None
    attrs: dict[str, Value] = field(default_factory=Cells)
    forwards: frozenset[ForwardRecord] = frozenset()
    losses: frozenset[LossRecord] = frozenset()


@dataclass(slots=True, eq=False)
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


@dataclass(slots=True, eq=False)
class SchedulerValue(Value):
    """A learning-rate scheduler."""

    kind: str
    optimizer: OptimizerValue | None
    site: Site | None


@dataclass(slots=True, eq=False)
class ScalerValue(Value):
    """A `GradScaler`."""

    site: Site | None


@dataclass(slots=True, eq=False)
class LoaderValue(Value):
    """A `DataLoader` or a dataset that is iterated."""

    dataset: Value | None
    site: Site | None
    held_out: str | None = None
    """What shows that its data is a held-out split: `train=False`."""
    on_cpu: bool = False
    """Its batches are known to be CPU tensors."""


@dataclass(slots=True, eq=False)
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


@dataclass(slots=True, eq=False)
class DictValue(Value):
    """A dict with constant keys. `items` is journalled; `box["complete"]` is False when unknown keys may be there."""

    items: dict[object, Value]
    box: dict[str, Any]
    site: Site | None = None


@dataclass(slots=True, eq=False)
class RangeValue(Value):
    """`range(n)` with n known or not."""

    count: int | None
    start: int = 0
    step: int = 1


@dataclass(slots=True, eq=False)
class IterationValue(Value):
    """`enumerate(x)`, `zip(a, b)`, `tqdm(x)`, `x.items()`: something to iterate, by what it does."""

    how: str
    parts: tuple[Value, ...]


@dataclass(slots=True, eq=False)
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


@dataclass(slots=True, eq=False)
class BoundMethod(Value):
    """A project function bound to its receiver."""

    function: FunctionValue
    receiver: Value


@dataclass(slots=True, eq=False)
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


@dataclass(slots=True, eq=False)
class External(Value):
    """A name from outside the project: `torch.nn.Linear`, `numpy.array`."""

    name: str


@dataclass(slots=True, eq=False)
class FileValue(Value):
    """A module (file) or package of the project, as imported."""

    file: SourceFile | None
    dotted: str


@dataclass(slots=True, eq=False)
class Method(Value):
    """A method of a value whose behaviour the interpreter knows: `tensor.sigmoid`, `optimizer.step`."""

    receiver: Value
    name: str


@dataclass(slots=True, eq=False)
class PartialValue(Value):
    """`functools.partial`."""

    function: Value
    arguments: tuple[Value, ...]
    keywords: Mapping[str, Value]


@dataclass(slots=True, eq=False)
class SuperValue(Value):
    """`super()` in a method of `owner`."""

    owner: ClassValue
    receiver: Value


@dataclass(slots=True, eq=False)
class ContextValue(Value):
    """A context manager that changes what the interpreter tracks: `no_grad`, `enable_grad`, `set_grad_enabled`."""

    what: str
    enabled: bool | None
    site: Site | None


class Scope:
    """The names of one function call, class body or file."""

    __slots__ = ("elsewhere", "file", "names", "parent")

    def __init__(self, names: dict[str, Value], parent: Scope | None, file: SourceFile) -> None:
        self.names = names
        self.parent = parent
        self.file = file
        self.elsewhere: dict[str, Scope] | None = None
        """Names that `global` and `nonlocal` bind in another scope."""
