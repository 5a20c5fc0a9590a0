"""The state of an abstract run: a journal of writes, branches that are taken back and joined, frames, the budget.

How a branch works. Every change of state is a write to some dict through `put`, which logs the old value. To run an
`if` that cannot be decided, each arm is run from the same state: run it, `take` back what it wrote (the journal undoes
it and hands over the changes), run the next one, then write the join of the arms that fell through. An arm that ended
with `return` leaves a snapshot in its frame, joined when the function ends.

    if flag:            # undecided
        model.eval()    # arm 0 writes modes = {EVAL}, taken back
    else:
        pass            # arm 1 writes nothing: modes = {TRAIN}
    model(x)            # modes = {EVAL if flag, TRAIN if not flag}

What was assumed on the way (`flag` is true) is remembered with each such entry, so that a later `if flag:` selects it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from modellint.facts.loss_use import OutputKind
from modellint.source.interpreter.flow_nodes import joined_node
from modellint.source.interpreter.reach import joined_reach
from modellint.source.interpreter.records import (
    Alternatives,
    Assumed,
    CallRecord,
    FillRecord,
    ForwardRecord,
    LossRecord,
    Records,
)
from modellint.source.interpreter.sizes import joined_sizes
from modellint.source.interpreter.values import (
    NAMED_TUPLE,
    Cells,
    Choice,
    Const,
    DictValue,
    FunctionValue,
    Key,
    LazyImport,
    LibraryObject,
    ModuleValue,
    Nature,
    ObjectValue,
    ParameterValue,
    Scope,
    SequenceValue,
    Site,
    Tensor,
    Unknown,
    Value,
    _births,
    now,
    sequence,
)
from modellint.source.project import Project, SourceFile

MISSING: Any = object()
_tuple = tuple.__new__
Changes = dict[tuple[int, object], tuple[dict[Any, Any], object, Any]]
Mark = tuple[int, int]
"""A length of the journal and a moment."""
Holds = tuple[tuple[Key, bool], ...]
"""What holds in an arm: canonical tests with their outcome."""


class OutOfBudget(Exception):
    """The steps of this entry point are used up: what is known stays, the rest is UNKNOWN."""


class Frame:
    """One call of a project function (or the top level of a file)."""

    __slots__ = (
        "definite", "depth", "exits", "forward", "function", "loops", "mark", "module", "name", "returned", "scope",
        "site",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        scope: Scope,
        mark: Mark,
        depth: int,
        function: FunctionValue | None = None,
        module: ModuleValue | None = None,
        site: Site | None = None,
    ) -> None:
        self.name = name
        self.scope = scope
        self.mark = mark
        """The state at its start."""
        self.depth = depth
        """Undecided branches around its start."""
        self.function = function
        self.module = module
        """The module whose method it is."""
        self.site = site
        """The call."""
        self.loops: tuple[object, ...] = ()
        """The loops around the call."""
        self.forward: tuple[ForwardRecord, ForwardFrame] | None = None
        """Of a method that calls layers of its own module from outside of a forward: it counts as one."""
        self.exits: list[tuple[Value, Changes]] = []
        self.definite = False
        self.returned: Value | None = None


class ForwardFrame:
    """One running forward of a root model."""

    __slots__ = ("calls", "mode_reads", "moves_input", "root", "stack")

    def __init__(self, root: ModuleValue) -> None:
        self.root = root
        self.calls: list[CallRecord] = []
        self.stack: list[ModuleValue] = [root]
        self.moves_input = False
        """Its code moves its inputs itself."""
        self.mode_reads: dict[int, tuple[ModuleValue, str, bool]] = {}
        """Modules whose own code depends on the mode: what shows it, and whether that is certain."""


class Machine:
    """State and the operations on it; knows no Python syntax and no torch."""

    CALL_DEPTH = 30

    def __init__(self, project: Project) -> None:
        self.project = project
        self.log: list[tuple[dict[Any, Any], Any, Any]] = []
        self.frames: list[Frame] = []
        self.forwards: list[ForwardFrame] = []
        self.path: tuple[tuple[int, int], ...] = ()
        self.undecided = 0
        self.assumed: dict[Key, bool] = {}
        self.flow: dict[str, Any] = {"grad": (True, None)}
        """Journalled: `grad`, a pair of (recording or None, site of what switched it)."""
        self.trace: list[Any] = []
        self.records = Records()
        self.steps = 0
        self.budget = 0
        self.loops: tuple[object, ...] = ()
        self.loop_exits: list[tuple[Mark, list[tuple[str, Changes]], int]] = []
        self.file: SourceFile = None  # type: ignore[assignment]
        self._tagging: set[int] = set()
        """Containers whose parts are being marked: one may hold itself."""
        self._copies: dict[int, Value] = {}
        """Containers that are being copied, with their copies."""
        self.waits = 0
        """How often something waited, or may have waited, for an accelerator."""
        self._branch_ids = 0
        self._keys = 0

    # ---------------------------------------------------------------- small things

    def new_key(self) -> int:
        """A number for a new object, the same in every run over the same files."""
        self._keys += 1
        return self._keys

    def tick(self, cost: int = 1) -> None:
        """Count one step. Raises OutOfBudget at the bound."""
        self.steps += cost
        if self.steps > self.budget:
            raise OutOfBudget

    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    def site(self, node: ast.AST) -> Site:
        """A node of the file that is being run."""
        return _tuple(Site, (self.file, node))

    def assumptions(self) -> Assumed:
        """What holds on the current path."""
        return frozenset(self.assumed.items())

    def unknown(self, node: ast.AST, reason: str, *parts: Value) -> Unknown:
        """An Unknown that carries what its parts carry."""
        forwards, losses = taints(parts) if parts else (_NONE, _NO_LOSSES)
        return Unknown(reason, forwards, losses)

    def not_followed(self, node: ast.AST, text: str, reason: str) -> None:
        """Note a place where the reader gave up, for `modellint facts`."""
        self.records.not_followed.setdefault(node, (self.site(node), text, reason))

    # ---------------------------------------------------------------- journal

    def put(self, target: dict[Any, Any], key: Any, value: Any) -> None:
        """Write to journalled state."""
        self.log.append((target, key, target.get(key, MISSING)))
        target[key] = value

    def drop(self, target: dict[Any, Any], key: Any) -> None:
        """Delete from journalled state."""
        if key in target:
            self.log.append((target, key, target[key]))
            del target[key]

    def mark(self) -> Mark:
        """The state as it is now, to come back to."""
        return len(self.log), now()

    def take(self, mark: Mark) -> Changes:
        """Undo all writes since `mark` and hand them over; objects that were born since keep theirs."""
        start, moment = mark
        written = self.log[start:]
        changes: Changes = {}
        if not written:
            return changes
        del self.log[start:]
        self.steps += len(written)
        written.reverse()
        for target, key, old in written:
            if type(target) is Cells and target.born > moment:
                continue
            cell = (id(target), key)
            if cell not in changes:
                changes[cell] = (target, key, target.get(key, MISSING))
            if old is MISSING:
                target.pop(key, None)
            else:
                target[key] = old
        # In the order of writing: the layers of a Sequential run in the order in which they are written back.
        return dict(reversed(changes.items())) if len(changes) > 1 else changes

    def snapshot(self, mark: Mark) -> Changes:
        """What was written since `mark`, left in place."""
        changes: Changes = {}
        written = self.log[mark[0] :]
        self.steps += len(written)
        for target, key, _ in written:
            cell = (id(target), key)
            if cell not in changes:
                changes[cell] = (target, key, target.get(key, MISSING))
        return changes

    def write_join(self, parts: Sequence[Changes]) -> None:
        """Write the join of several ends of the same start; the state must be that start."""
        if len(parts) == 1:
            for target, key, value in parts[0].values():
                self._write(target, key, value)
            return
        if len(parts) == 2:
            self._write_either(*parts)
            return
        cells: dict[tuple[int, object], tuple[dict[Any, Any], object]] = {}
        for part in parts:
            for cell, (target, key, _) in part.items():
                cells[cell] = (target, key)
        self.steps += 2 * len(cells)
        for cell, (target, key) in cells.items():
            values = []
            for part in parts:
                change = part.get(cell)
                values.append(change[2] if change is not None else target.get(key, MISSING))
            self._write(
                target, key, MISSING if target is self.assumed and not _same(values) else self._join(key, values)
            )

    def _write_either(self, one: Changes, other: Changes) -> None:
        """Write the join of two ends: by far the most."""
        for cell, (target, key, value) in one.items():
            change = other.get(cell)
            self._write_one_of(target, key, value, target.get(key, MISSING) if change is None else change[2])
        count = len(one)
        for cell, (target, key, value) in other.items():
            if cell not in one:
                count += 1
                self._write_one_of(target, key, target.get(key, MISSING), value)
        self.steps += 2 * count

    def _write_one_of(self, target: dict[Any, Any], key: object, first: Any, second: Any) -> None:
        """Write a value that is one of two; either may be missing."""
        if first is not second:
            if target is self.assumed:
                first = first if _same((first, second)) else MISSING
            else:
                first = self._join(key, [first, second])
        if first is MISSING:
            self.drop(target, key)
        else:
            self.log.append((target, key, target.get(key, MISSING)))
            target[key] = first

    def _write(self, target: dict[Any, Any], key: object, value: Any) -> None:
        if value is MISSING:
            self.drop(target, key)
        else:
            self.put(target, key, value)

    def _join(self, key: object, values: list[Any]) -> Any:
        if _same(values):
            return values[0]
        present = [value for value in values if value is not MISSING]
        first = present[0]
        if isinstance(first, Value):
            alone = len(present) == 1 and type(first) is not Choice and type(first) is not LazyImport
            return first if alone else self.join(present)
        if key == "modes":
            return frozenset().union(*present)
        if isinstance(first, FillRecord):
            return (
                first
                if len(present) == len(values) and _same(present)
                else FillRecord(first.site, first.text, None, None, first)
            )
        if key == "items":
            return self._join_items(present)
        if key == "complete":
            return all(present)
        if key == "grad":
            return (None, first[1]) if len({value[0] for value in present}) > 1 else first
        return None

    def _join_items(self, values: list[tuple[Value, ...]]) -> tuple[Value, ...]:
        longest = max(values, key=len)
        return tuple(
            self.join([value[index] for value in values if index < len(value)]) for index in range(len(longest))
        )

    # ---------------------------------------------------------------- branches

    def new_branch(self) -> int:
        """A number for one undecided branch, visited once."""
        self._branch_ids += 1
        return self._branch_ids

    def arms(
        self,
        runs: Sequence[Callable[[], str | None]],
        conditions: Sequence[Holds],
        conditional: bool = True,
        test: object = None,
    ) -> str | None:
        """Run exclusive arms from the same state and join those that fall through.

        Each run returns None when it falls through, else what ended it. The result is None when any arm falls
        through, else the way the first arm ended.
        """
        self._branch_ids += 1
        branch = self._branch_ids
        path, trace = self.path, self.trace
        ends: list[Changes] = []
        alive: list[int] = []
        arms: list[tuple[list[Any], str | None]] = []
        noted = False
        self.undecided += 1
        try:
            for index, run in enumerate(runs):
                mark = len(self.log), next(_births)
                self.trace = []
                if conditional:
                    self.path = (*path, (branch, index))
                for key, outcome in conditions[index]:
                    self.put(self.assumed, key, outcome)
                end: str | None = None
                try:
                    end = run()
                finally:
                    arms.append((self.trace, end))
                    if self.trace or end:
                        noted = True
                    changes = self.take(mark)
                    self.path, self.trace = path, trace
                if end is None:
                    alive.append(index)
                    ends.append(changes)
        finally:
            self.undecided -= 1
            if noted:
                trace.append(Alternatives(arms, conditions, test))
        if not alive:
            return arms[0][1] or "return"
        if len(alive) == 1 and len(runs) > 1:
            # The other arms ended: all that follows in this function lies in this arm.
            if conditional:
                self.path = (*path, (branch, alive[0]))
            self.write_join(ends)
            return None
        self.write_join(ends)
        return None

    def choose(self, runs: Sequence[Callable[[], Value]], conditions: Sequence[Holds] | None = None) -> Value:
        """Run exclusive arms that each give a value; the join of the values."""
        results: list[Value] = []

        def arm(run: Callable[[], Value]) -> Callable[[], str | None]:
            def go() -> str | None:
                results.append(run())
                return None

            return go

        self.arms([arm(run) for run in runs], conditions or [()] * len(runs))
        return self.join(results)

    # ---------------------------------------------------------------- joins of values

    def join(self, values: Iterable[Value]) -> Value:
        """One value that stands for any of these."""
        values = [value.value() if type(value) is LazyImport else value for value in values]
        if len(values) == 2:
            one, other = values
            if one is other:
                return one
            kind, other_kind = type(one), type(other)
            if (kind is Unknown or other_kind is Unknown) and kind is not Choice and other_kind is not Choice:
                return Unknown("paths meet", *taints(values))
        options: list[Value] = []
        for value in values:
            for option in value.options if isinstance(value, Choice) else (value,):
                for known in options:
                    if option is known or _equal(option, known):
                        break
                else:
                    options.append(option)
        if len(options) == 1:
            return options[0]
        if any(isinstance(option, Unknown) for option in options):
            forwards, losses = taints(options)
            return Unknown("paths meet", forwards, losses)
        tensors = [option for option in options if isinstance(option, Tensor)]
        if len(tensors) > 1:
            rest = [option for option in options if not isinstance(option, Tensor)]
            # What different models made stays apart: each is an instance of its own.
            groups: dict[int, list[Tensor]] = {}
            for tensor in tensors:
                groups.setdefault(id(tensor.model), []).append(tensor)
            if len(groups) > Choice.LIMIT or id(None) in groups:
                groups = {0: tensors}
            options = [*(group[0] if len(group) == 1 else join_tensors(group) for group in groups.values()), *rest]
            if len(options) == 1:
                return options[0]
        if all(isinstance(option, SequenceValue) for option in options):
            return self._join_sequences([option for option in options if isinstance(option, SequenceValue)])
        if all(isinstance(option, ParameterValue) for option in options) or len(options) > Choice.LIMIT:
            forwards, losses = taints(options)
            return Unknown("paths meet", forwards, losses)
        return Choice(tuple(options))

    def _join_sequences(self, values: list[SequenceValue]) -> Value:
        if len({(value.kind, len(value.items)) for value in values}) > 1:
            if all(value.kind == values[0].kind for value in values):
                return Choice(tuple(values[: Choice.LIMIT]))
            forwards, losses = taints(values)
            return Unknown("paths meet", forwards, losses)
        items = self._join_items([value.items for value in values])
        return sequence(values[0].kind, items, all(value.complete for value in values), values[0].site)


_NONE: frozenset[ForwardRecord] = frozenset()
_NO_LOSSES: frozenset[LossRecord] = frozenset()


def _same(values: Sequence[Any]) -> bool:
    first = values[0]
    for value in values:
        if value is not first and (value is MISSING or first is MISSING or not _equal(value, first)):
            return False
    return True


def _equal(a: Any, b: Any) -> bool:
    if type(a) is Const and type(b) is Const:
        return type(a.value) is type(b.value) and bool(a.value == b.value)
    if isinstance(a, Value) or isinstance(b, Value):
        return a is b
    if type(a) is not type(b):
        return False
    if isinstance(a, dict | FillRecord):
        return a is b
    return bool(a == b)


def taints(
    values: Iterable[Value], depth: int = 3, seen: dict[int, int] | None = None
) -> tuple[frozenset[ForwardRecord], frozenset[LossRecord]]:
    """The forwards and losses that any of these values came out of.

    `seen` has the containers that were looked into, and how deep: one that holds another many times holds it once.
    """
    forwards: frozenset[ForwardRecord] = _NONE
    losses: frozenset[LossRecord] = _NO_LOSSES
    for value in values:
        kind = type(value)
        if kind is Const:
            continue
        if kind is Unknown or kind is Tensor or kind is LibraryObject:
            if value.forwards:  # type: ignore[attr-defined]
                forwards = forwards | value.forwards if forwards else value.forwards  # type: ignore[attr-defined]
            if value.losses:  # type: ignore[attr-defined]
                losses = losses | value.losses if losses else value.losses  # type: ignore[attr-defined]
        elif depth and (kind is SequenceValue or kind is Choice or kind is DictValue):
            if seen is None:
                seen = {}
            if seen.get(id(value), 0) >= depth:
                continue
            seen[id(value)] = depth
            parts: Iterable[Value]
            if isinstance(value, SequenceValue):
                parts = value.items
            elif isinstance(value, DictValue):
                parts = value.items.values()
            else:
                parts = value.options  # type: ignore[attr-defined]
            more_forwards, more_losses = taints(parts, depth - 1, seen)
            forwards |= more_forwards
            losses |= more_losses
        elif depth and kind is ObjectValue and NAMED_TUPLE in value.cls.library_bases:  # type: ignore[attr-defined]
            more_forwards, more_losses = taints(value.attrs.values(), depth - 1, seen)  # type: ignore[attr-defined]
            forwards |= more_forwards
            losses |= more_losses
    return forwards, losses


def joined_nature(natures: Sequence[Nature]) -> Nature:
    """What holds of each of these."""
    first = natures[0]
    if all(nature is first for nature in natures):
        return first
    result = Nature(
        all(nature.known for nature in natures),
        all(nature.whole for nature in natures),
        first.formula if len({nature.formula for nature in natures}) == 1 else None,
        first.padding if len({nature.padding for nature in natures}) == 1 else None,
    )
    result.signed = all(nature.signed for nature in natures)
    return result


def join_tensors(tensors: Sequence[Tensor]) -> Tensor:
    """A tensor that may be any of these: what they disagree on is unknown."""
    first = tensors[0]
    same_kind = all(t.kind is first.kind for t in tensors)
    same_producer = all(t.producer == first.producer for t in tensors)
    forwards, losses = taints(tensors)
    return Tensor(
        kind=first.kind if same_kind else OutputKind.UNKNOWN,
        maker=first.maker if same_kind else None,
        maker_site=first.maker_site if same_kind else None,
        trail=first.trail if same_kind else None,
        producer=first.producer if same_producer else None,
        producer_text=first.producer_text if same_producer else None,
        forwards=forwards,
        losses=losses,
        origin=first.origin if all(t.origin is first.origin for t in tensors) else None,
        device=first.device if all(t.device == first.device for t in tensors) else None,
        classes=first.classes if all(t.classes == first.classes for t in tensors) else None,
        softmax_dim=first.softmax_dim if same_kind else None,
        model=first.model if all(t.model is first.model for t in tensors) else None,
        model_site=first.model_site if all(t.model is first.model for t in tensors) else None,
        text=first.text,
        node=joined_node([t.node for t in tensors]),
        sizes=joined_sizes([t.sizes for t in tensors]),
        reach=joined_reach([t.reach for t in tensors]),
        nature=joined_nature([t.nature for t in tensors]),
        scaler=first.scaler if all(t.scaler is first.scaler for t in tensors) else None,
        weighed=any(t.weighed for t in tensors),
    )
