"""Which parameters the gradient of a value reaches, and where the way to them was cut.

A `Reach` never forgets a way that may be there: `live` holds all modules and free parameters that a gradient may get
to, `open` says that something not followed may add more. Only a value with neither is cut off for sure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modellint.facts.record import slotted

if TYPE_CHECKING:
    from modellint.source.interpreter.records import ForwardRecord
    from modellint.source.interpreter.singularities import SingularityRecord
    from modellint.source.interpreter.values import ModuleValue, OptimizerValue, ParameterValue, Site, Value

DETACH, NUMBER, NEW, DECISION, NO_GRAD = "detach", "number", "new", "decision", "no_grad"
"""How a way is cut: on purpose, by leaving torch, by a new tensor with the same value, by an operation without a
gradient, by code that records nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A place where a gradient stops."""

    how: str
    site: Site
    forwards: frozenset[ForwardRecord]
    """What was computed before it."""
    of_loss: bool = False
    """It is a loss that is cut, or a number made of one."""


_NOTHING: frozenset[Any] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """Where the gradient of a value goes."""

    live: frozenset[ModuleValue | ParameterValue] = _NOTHING
    cuts: frozenset[Cut] = _NOTHING
    open: bool = False
    leaf: bool = False
    """No operation made it, and it was told to require a gradient."""
    stores: frozenset[Store] = _NOTHING
    """The sums and lists over several rounds of a loop that it comes from."""
    onto_data: bool = False
    """It is data plus something live."""
    indices: Cut | None = None
    """Of the pair that `max(dim)` and `topk` give: the second one has no gradient."""

    @property
    def dead(self) -> bool:
        """No gradient goes anywhere from here."""
        return not self.live and not self.open

    @property
    def of_loss(self) -> bool:
        return any(cut.of_loss for cut in self.cuts)


DATA = Reach()
"""Batches and constants: nothing was cut, there never was a way."""
OPEN = Reach(open=True)


def merged(parts: Sequence[Reach]) -> Reach:
    """The reach of what an operation makes of some values."""
    if not parts:
        return DATA
    first = parts[0]
    if not first.leaf and first.indices is None:
        for part in parts:
            if part is not first:
                break
        else:
            return first
    live, cuts, stores = first.live, first.cuts, first.stores
    opened = False
    for part in parts:
        live |= part.live
        cuts |= part.cuts
        stores |= part.stores
        if part.leaf and not part.of_loss:
            opened = True  # its own gradient is wanted: an input that is optimised
        opened = opened or part.open
    if not (live or cuts or stores):
        return OPEN if opened else DATA
    return Reach(live, cuts, opened, stores=stores)


@slotted
class Store:
    """A sum or a list to which a loop adds tensors that carry a graph."""

    site: Site
    text: str
    loop: Any
    forwards: frozenset[ForwardRecord]
    carried: bool = False
    """A later round found what an earlier one had added."""
    backwarded: bool = False
    proof: Site | None = None
    """The backward that was called just before on what is added."""


@slotted
class BackwardNote:
    """One backward."""

    site: Site
    text: str
    receiver: str
    """`loss` of `loss.backward()`."""
    reach: Reach
    forwards: frozenset[ForwardRecord]
    entry: int
    moment: int
    steps: bool
    """It fills `.grad`; False for `autograd.grad`."""
    keeps: bool
    """It keeps the graph, or makes one of its own."""
    below: dict[int, tuple[str, ModuleValue, ModuleValue]]
    """The modules with parameters that its gradient may reach, by key: dotted name, module, the model around it."""
    walked: set[int]
    """Keys of all modules below the models that it reaches."""


@slotted
class SetupNote:
    """What one optimizer was given, as it was at that moment."""

    optimizer: OptimizerValue
    held: set[int]
    """Keys of the modules whose own parameters it holds."""
    names: set[tuple[int, str]]
    """Single parameters that it holds, by key of their module."""
    roots: list[ModuleValue]
    whole: list[ModuleValue]
    """The modules that it was given as a whole."""
    parts: dict[int, tuple[str, ModuleValue]]
    """What stood below them then, by key, with dotted names."""
    complete: bool
    others: bool
    """It holds tensors besides."""
    entry: int
    moment: int
    loops: tuple[Any, ...]
    path: tuple[tuple[int, int], ...]
    settings: tuple[Value, ...]
    freshness: int = 0
    """When the weights of what it holds were last replaced."""
    site: Site | None = None


@slotted
class StepNote:
    """One step of an optimizer."""

    optimizer: OptimizerValue
    site: Site
    loops: tuple[Any, ...]
    entry: int
    moment: int


@slotted
class GraphNotes:
    """All that was noted about gradients."""

    backwards: list[BackwardNote] = field(default_factory=list)
    setups: list[SetupNote] = field(default_factory=list)
    steps: list[StepNote] = field(default_factory=list)
    stores: dict[object, Store] = field(default_factory=dict)
    by_hand: set[int] = field(default_factory=set)
    """Entries that assign gradients."""
    bootstraps: list[tuple[Site, str, str, ModuleValue, tuple[ForwardRecord, ...]]] = field(default_factory=list)
    """Regressions of a model onto data plus what it says itself."""
    singularities: dict[object, SingularityRecord] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    """What readers have worked out."""

    def lists(self) -> tuple[list[Any], ...]:
        """What belongs to a run that must have ended to be judged."""
        return self.backwards, self.setups, self.steps


def cut_of(parts: Iterable[Reach], cut: Cut) -> Reach:
    """What is left behind a cut."""
    cuts: frozenset[Cut] = _NOTHING
    something = False
    for part in parts:
        cuts |= part.cuts
        something = something or not part.dead
    if something:
        cuts |= {cut}
    return Reach(cuts=cuts) if cuts else DATA


def joined_reach(parts: Sequence[Reach | None]) -> Reach | None:
    """The reach of a value that one of several branches made."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    first = known[0]
    if all(part is first for part in known):
        return first
    leaf = all(part.leaf for part in known)
    opened = any(part.open or (part.leaf and not leaf) for part in known)
    return Reach(
        frozenset().union(*(part.live for part in known)),
        frozenset().union(*(part.cuts for part in known)),
        opened,
        leaf,
        known[0].stores.intersection(*(part.stores for part in known)),
    )
