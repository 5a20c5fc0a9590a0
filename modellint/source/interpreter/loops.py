"""Loops: a few rounds that stand for all, each with its trace."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from modellint.source.interpreter.records import LoopRecord
from modellint.source.interpreter.statements import BREAK, CONTINUE, RAISE, RETURN, Statements
from modellint.source.interpreter.values import (
    Const,
    RangeValue,
    Unknown,
    Value,
)
from modellint.source.tree import walk


def _counters(node: ast.stmt) -> dict[str, bool]:
    """Names that a loop body adds to, itself or in a function (`step = update(batch, step)`); True for the latter."""
    known: dict[str, bool] | None = getattr(node, "_modellint_counters", None)
    if known is None:
        known = {}
        for part in walk(node):
            if isinstance(part, ast.AugAssign):
                if isinstance(part.target, ast.Name):
                    known[part.target.id] = False
            elif isinstance(part, ast.Assign) and isinstance(part.value, ast.Call):
                given = {argument.id for argument in part.value.args if isinstance(argument, ast.Name)}
                for target in part.targets if given else ():
                    for inner in walk(target):
                        if isinstance(inner, ast.Name) and inner.id in given:
                            known.setdefault(inner.id, True)
        node._modellint_counters = known  # type: ignore[attr-defined]
    return known


class Loops(Statements):
    """Runs loops."""

    def note_iterated(self, record: LoopRecord, value: Value) -> None:
        raise NotImplementedError

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._execute.update(
            {
                ast.For: self._for,
                ast.AsyncFor: self._for,
                ast.While: self._while,
                ast.Break: self._break,
                ast.Continue: self._continue,
            }
        )

    def _for(self, node: ast.For | ast.AsyncFor) -> str | None:
        iterated = self.eval(node.iter)
        exact, elements = self.iterate(iterated, node.iter)
        if isinstance(iterated, RangeValue) and exact and len(elements) > 2:
            # `for epoch in range(10)` in a script: two rounds show what the others do. In a constructor each counts.
            if not (self.frame.module is not None or self._appends(node)):
                exact, elements = False, [Unknown("an index"), Unknown("an index")]
        if not exact and len(elements) == 1:
            elements = elements * 2
        if not elements:
            return self.run_block(node.orelse)
        rounds: list[Callable[[], None]] = [lambda e=e: self.assign(node.target, e) for e in elements]  # type: ignore[misc]
        end = self._rounds(node, rounds, node.body, exact, counted=isinstance(iterated, RangeValue), iterated=iterated)
        if end is None and node.orelse:
            end = self.run_block(node.orelse)
        return end

    @staticmethod
    def _appends(node: ast.For | ast.AsyncFor) -> bool:
        return any(
            (isinstance(part, ast.Attribute) and part.attr in ("append", "add_module", "extend"))
            or (isinstance(part, ast.AugAssign) and isinstance(part.value, ast.List))
            for part in walk(node)
        )

    def _while(self, node: ast.While) -> str | None:
        decided, _when_true, _ = self.condition(node.test)
        if decided is False:
            return self.run_block(node.orelse)

        def again() -> None:
            self.condition(node.test)

        # The tests hold on entry, but what they compare changes in the body: nothing is assumed.
        return self._rounds(node, [lambda: None, again], node.body, exact=False)

    def _rounds(
        self,
        node: ast.stmt,
        starts: Sequence[Callable[[], None]],
        body: list[ast.stmt],
        exact: bool,
        counted: bool = False,
        iterated: Value | None = None,
    ) -> str | None:
        parent = next((loop for loop in reversed(self.loops) if isinstance(loop, LoopRecord)), None)
        record = LoopRecord(self.site(node), [], parent, self.trace)
        counters = {} if exact else _counters(node)
        record.framework = self.framework()
        record.counted = counted
        record.path = self.path
        record.first_key = self._keys
        if iterated is not None:
            self.note_iterated(record, iterated)
        outer_trace, outer_loops, path = self.trace, self.loops, self.path
        position = len(outer_trace)
        self.loops = (*outer_loops, record)
        end: str | None = None
        try:
            for number, start in enumerate(starts, start=1):
                self.trace = []
                record.rounds.append(self.trace)
                mark = self.mark()
                self.loop_exits.append((mark, [], self.undecided))
                try:
                    self._widen(counters)
                    start()
                    end = self.run_block(body)
                finally:
                    _, exits, _ = self.loop_exits.pop()
                    self.path = path
                # What a `break` leaves is the state after the loop, not that of another round.
                ends = [changes for how, changes in exits if how == CONTINUE or number == len(starts)]
                if ends:
                    if end is None:
                        ends.insert(0, self.take(mark))
                    else:
                        self.take(mark)
                    self.write_join(ends)
                    end = None
                if end in (RETURN, RAISE):
                    break
                if end == BREAK:
                    end = None
                    break
                end = None
        finally:
            self.loops, self.trace = outer_loops, outer_trace
            if any(record.rounds):
                record.before = outer_trace[:position]
                outer_trace.append(record)
                self.records.loops.append(record)
        return end

    def _widen(self, names: dict[str, bool]) -> None:
        """What a loop counts has another value in each round: no round may be judged by the first one's."""
        scope = self.frame.scope
        for name, elsewhere in names.items():
            value = scope.names.get(name)
            if isinstance(value, Const) and not (elsewhere and type(value.value) not in (int, float)):
                self.put(scope.names, name, Unknown(f"`{name}` changes in the loop"))

    def _break(self, node: ast.Break) -> str | None:
        return self._leave_round(BREAK)

    def _continue(self, node: ast.Continue) -> str | None:
        return self._leave_round(CONTINUE)

    def _leave_round(self, how: str) -> str:
        if self.loop_exits:
            mark, exits, undecided = self.loop_exits[-1]
            if self.undecided > undecided:
                exits.append((how, self.snapshot(mark)))
        return how
