"""Statements: what running code does to the state."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from modellint.source.interpreter import alias_notes
from modellint.source.interpreter.containers import Containers
from modellint.source.interpreter.expressions import UNROLL, CallArguments, positional
from modellint.source.interpreter.machine import Frame, taints
from modellint.source.interpreter.named_tuples import as_tuple
from modellint.source.interpreter.path_tests import path_test
from modellint.source.interpreter.records import Alternatives
from modellint.source.interpreter.values import (
    END_OF_PROGRAM,
    NONE,
    Choice,
    Const,
    ContextValue,
    DictValue,
    External,
    IterationValue,
    LoaderValue,
    Method,
    ModuleValue,
    ObjectValue,
    OptimizerValue,
    ScalerValue,
    SchedulerValue,
    SequenceValue,
    Site,
    Tensor,
    Unknown,
    Value,
    const,
    sequence,
)
from modellint.source.project import SourceFile
from modellint.source.tree import walk

RETURN, BREAK, CONTINUE, RAISE = "return", "break", "continue", "raise"


_TOLD_BY_NAME = (OptimizerValue, SchedulerValue, ScalerValue)
"""What is called by the first name that it is bound to."""


class Statements(Containers):
    """Runs statements. Each returns None when control falls through, else what ended the block."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._execute: dict[type, Callable[[Any], str | None]] = {
            ast.Expr: self._expression_statement,
            ast.Assign: self._assign_statement,
            ast.AnnAssign: self._annotated_assignment,
            ast.AugAssign: self._augmented_assignment,
            ast.If: self._if,
            ast.With: self._with,
            ast.AsyncWith: self._with,
            ast.Return: self._return,
            ast.Try: self._try,
            ast.TryStar: self._try,
            ast.Raise: self._raise,
            ast.Assert: self._assert,
            ast.Delete: self._delete,
            ast.Pass: lambda node: None,
            ast.Global: self._global,
            ast.Nonlocal: self._nonlocal,
            ast.Match: self._match,
        }

    line = 0
    """How far the run has come, for the report of a failure."""

    # What the classes below provide.

    def set_attribute(self, target: Value, name: str, value: Value, node: ast.AST) -> None:
        raise NotImplementedError

    def set_item(self, target: Value, index: Value, value: Value, node: ast.AST) -> None:
        raise NotImplementedError

    def enter_context(self, value: Value, node: ast.AST) -> tuple[Value, Callable[[], None] | None]:
        raise NotImplementedError

    def library_is_module(self, name: str) -> bool:
        raise NotImplementedError

    def discarded(self, value: Method, node: ast.Attribute) -> None:
        raise NotImplementedError

    def dropped_call(self, node: ast.Call, result: Value) -> None:
        raise NotImplementedError

    def assigned_call(self, node: ast.Assign) -> None:
        raise NotImplementedError

    def class_decorated(self, node: ast.ClassDef, decorators: Sequence[Value]) -> None:
        raise NotImplementedError

    def note_first(self, box: dict[str, Any], value: Value, node: ast.AST) -> None:
        """Remember where the first module was put into an empty container that is an attribute."""
        if isinstance(value, ModuleValue) and "owners" in box:
            for module, name in box.pop("owners"):
                module.element_sites[name] = self.site(node)

    def load(self, file: SourceFile) -> None:
        raise NotImplementedError

    def framework(self) -> str | None:
        raise NotImplementedError

    # ---------------------------------------------------------------- blocks

    def run_block(self, statements: Sequence[ast.stmt]) -> str | None:
        """Run statements in order."""
        execute = self._execute
        for statement in statements:
            self.steps = steps = self.steps + 1
            if steps > self.budget:
                self.tick(0)
            self.line = statement.lineno
            end = execute[type(statement)](statement)
            if end is not None:
                if type(statement) is ast.If:
                    self.dead_rest(statement.test, list(statements[statements.index(statement) + 1 :]))
                return end
        return None

    def _expression_statement(self, node: ast.Expr) -> str | None:
        value = node.value
        if type(value) is ast.Constant:
            return None
        result = self.eval(value)
        if type(value) is ast.Call:
            self.dropped_call(value, result)
            if result is END_OF_PROGRAM and isinstance(value.func, ast.Attribute | ast.Name):
                return RAISE
        elif type(value) is ast.Attribute and type(result) is Method:
            self.discarded(result, value)
        return None

    # ---------------------------------------------------------------- assignments

    def assign(self, target: ast.AST, value: Value) -> None:
        """Bind a target."""
        if (
            isinstance(value, _TOLD_BY_NAME)
            and value.text == value.kind
            and isinstance(target, ast.Name | ast.Attribute)
        ):
            value.text = self.file.text.segment(target)
        if type(target) is ast.Name:
            scope = self.frames[-1].scope
            if scope.elsewhere is not None:
                scope = scope.elsewhere.get(target.id, scope)
            self.put(scope.names, target.id, value)
        elif isinstance(target, ast.Attribute):
            self.set_attribute(self.eval(target.value), target.attr, value, target)
        elif isinstance(target, ast.Subscript):
            container = self.eval(target.value)
            self.set_item(container, self.eval(target.slice), value, target)
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target.elts, value, target)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, value)

    def _unpack(self, targets: list[ast.expr], value: Value, node: ast.AST) -> None:
        starred = next((i for i, t in enumerate(targets) if isinstance(t, ast.Starred)), None)
        if isinstance(value, ObjectValue):
            value = as_tuple(value) or value
        if isinstance(value, Choice):
            sequences = [o for o in value.options if isinstance(o, SequenceValue) and len(o.items) == len(targets)]
            if sequences and starred is None:
                value = sequence(
                    "tuple", tuple(self.join([s.items[i] for s in sequences]) for i in range(len(targets)))
                )
        if isinstance(value, SequenceValue) and value.complete:
            items = list(value.items)
            if starred is None and len(items) == len(targets):
                for target, item in zip(targets, items, strict=True):
                    self.assign(target, item)
                return
            if starred is not None and len(items) >= len(targets) - 1:
                after = len(targets) - 1 - starred
                for target, item in zip(targets[:starred], items[:starred], strict=False):
                    self.assign(target, item)
                middle = items[starred : len(items) - after]
                self.assign(targets[starred], sequence("list", tuple(middle)))
                for target, item in zip(targets[starred + 1 :], items[len(items) - after :], strict=False):
                    self.assign(target, item)
                return
        if isinstance(value, Tensor):
            # A batch of a loader, or a tensor taken apart along its first axis.
            for target in targets:
                part = Tensor(forwards=value.forwards, losses=value.losses, origin=value.origin, device=value.device)
                part.producer = None
                self.assign(target, part)
            return
        for index, target in enumerate(targets):
            if isinstance(value, Unknown):
                self.assign(target, value.child(("item", index)))
            else:
                self.assign(target, self.unknown(node, "unpacked from something unknown", value))

    def _assign_statement(self, node: ast.Assign) -> str | None:
        value = self.eval(node.value)
        if self.forwards and type(node.value) is ast.Call:
            self.assigned_call(node)
        for target in node.targets:
            self.assign(target, value)
        if type(value) is ModuleValue:
            alias_notes.note_binding(self, node, value)
        elif type(value) is SequenceValue and (len(node.targets) > 1 or type(node.value) is ast.Name):
            alias_notes.note_list(self, node, value)
        return None

    def _annotated_assignment(self, node: ast.AnnAssign) -> str | None:
        if node.value is not None:
            self.assign(node.target, self.eval(node.value))
        return None

    def _augmented_assignment(self, node: ast.AugAssign) -> str | None:
        target = node.target
        right = self.eval(node.value)
        old = self.eval(ast.copy_location(_as_load(target), target))
        if isinstance(old, SequenceValue) and isinstance(node.op, ast.Add):
            exact, items = self.iterate(right, node.value)
            self.put(old.box, "items", old.items + tuple(items))
            self.put(old.box, "complete", old.complete and exact)
            for item in items[:1]:
                self.note_first(old.box, item, node)
            return None
        if isinstance(old, ModuleValue) and old.is_container and isinstance(node.op, ast.Add):
            self.call(Method(old, "extend"), self._positional(node, right), node)
            return None
        self.assign(target, self.binary_operation(node, node.op, old, right))
        return None

    def _positional(self, node: ast.AST, *values: Value) -> CallArguments:
        return positional(node, *values)

    def _delete(self, node: ast.Delete) -> str | None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.drop(self.frame.scope.names, target.id)
            elif isinstance(target, ast.Attribute):
                owner = self.eval(target.value)
                if isinstance(owner, ModuleValue | ObjectValue):
                    self.drop(owner.attrs, target.attr)
            elif isinstance(target, ast.Subscript):
                self.eval(target.value)
        return None

    def _global(self, node: ast.Global) -> str | None:
        scope = self.frame.scope
        if scope is not self.file.scope:
            scope.elsewhere = {**(scope.elsewhere or {}), **dict.fromkeys(node.names, self.file.scope)}
        return None

    def _nonlocal(self, node: ast.Nonlocal) -> str | None:
        scope = self.frame.scope
        for name in node.names:
            outer = scope.parent
            while outer is not None and name not in outer.names:
                outer = outer.parent
            if outer is not None:
                scope.elsewhere = {**(scope.elsewhere or {}), name: outer}
        return None

    # ---------------------------------------------------------------- branches

    def _if(self, node: ast.If) -> str | None:
        # `elif` chains of 500 arms: walk them without recursion as long as each test is decided.
        while True:
            decided, when_true, when_false = self.condition(node.test)
            if decided is None:
                break
            if decided:
                self.decide(node.test, True, *node.orelse)
                return self.run_block(node.body)
            self.decide(node.test, False, *node.body)
            if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
                node = node.orelse[0]
                continue
            return self.run_block(node.orelse)
        body, orelse = node.body, node.orelse
        return self.arms(
            [lambda: self.run_block(body), lambda: self.run_block(orelse)],
            [when_true, when_false],
            test=path_test(self, node.test) if self.loops and not self.forwards else None,
        )

    def _match(self, node: ast.Match) -> str | None:
        subject = self.eval(node.subject)
        runs: list[Callable[[], str | None]] = []
        exhaustive = False
        for case in node.cases:
            pattern = case.pattern
            if isinstance(pattern, ast.MatchValue) and case.guard is None and isinstance(subject, Const):
                wanted = self.eval(pattern.value)
                if isinstance(wanted, Const):
                    if wanted.value == subject.value and not runs:
                        return self.run_block(case.body)
                    if wanted.value != subject.value:
                        continue
            if isinstance(pattern, ast.MatchAs) and pattern.pattern is None and case.guard is None:
                exhaustive = True

            def run(case: ast.match_case = case) -> str | None:
                for part in walk(case.pattern):
                    name = getattr(part, "name", None) or getattr(part, "rest", None)
                    if isinstance(name, str):
                        self.put(self.frame.scope.names, name, self.unknown(case.pattern, "matched", subject))
                return self.run_block(case.body)

            runs.append(run)
        if not runs:
            return None
        if len(runs) == 1 and exhaustive:
            return runs[0]()
        if not exhaustive:
            runs.append(lambda: None)
        return self.arms(runs, [()] * len(runs))

    def _assert(self, node: ast.Assert) -> str | None:
        decided, when_true, _ = self.condition(node.test)
        if decided is None:
            for key, outcome in when_true:
                self.put(self.assumed, key, outcome)
        return None

    def _raise(self, node: ast.Raise) -> str | None:
        if node.exc is not None:
            self.eval(node.exc)
        return RAISE

    def _try(self, node: ast.Try) -> str | None:
        """The body as if nothing failed, then what handlers do is looked at and forgotten."""
        mark = self.mark()
        end = self.run_block(node.body)
        if end is None and node.orelse:
            end = self.run_block(node.orelse)
        after = self.take(mark) if node.handlers else None
        for handler in node.handlers:
            handler_mark, trace, path = self.mark(), self.trace, self.path
            self.trace = []
            self.path = (*path, (self.new_branch(), 1))
            self.undecided += 1
            frame = self.frame
            exits = len(frame.exits)
            try:
                if handler.type is not None:
                    self.eval(handler.type)
                if handler.name:
                    self.put(frame.scope.names, handler.name, Unknown("an exception"))
                self.run_block(handler.body)
            finally:
                handler_trace = self.trace
                self.undecided -= 1
                self.trace, self.path = trace, path
                del frame.exits[exits:]
                changes = self.take(handler_mark)
            if handler_trace:
                trace.append(Alternatives([(handler_trace, None), ([], None)]))
            if after is not None:
                # A name that only the handler binds (a fallback import) is bound afterwards.
                for cell, change in changes.items():
                    known = after.setdefault(cell, change)
                    if _falls_back(known[2], change[2]):
                        after[cell] = (*known[:2], Choice((known[2], change[2])))
        if after is not None:
            self.write_join([after])
        if node.finalbody:
            final = self.run_block(node.finalbody)
            end = final or end
        return end

    # ---------------------------------------------------------------- with

    def _with(self, node: ast.With | ast.AsyncWith) -> str | None:
        leave: list[Callable[[], None]] = []
        for item in node.items:
            value = self.eval(item.context_expr)
            entered, exit_ = self.enter_context(value, item.context_expr)
            if exit_ is not None:
                leave.append(exit_)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, entered)
        end = self.run_block(node.body)
        for exit_ in reversed(leave):
            exit_()
        return end

    # ---------------------------------------------------------------- functions and classes

    def _return(self, node: ast.Return) -> str | None:
        value = self.eval(node.value) if node.value is not None else NONE
        self.leave_function(value)
        return RETURN

    def leave_function(self, value: Value) -> None:
        """Remember a returned value, and the state it was returned in when other paths go on."""
        frame = self.frame
        if self.undecided > frame.depth:
            frame.exits.append((value, self.snapshot(frame.mark)))
        else:
            frame.definite = True
            frame.returned = value


def _falls_back(value: object, other: object) -> bool:
    """Whether a class of a library that may not be installed is replaced by a layer of torch."""
    return (
        isinstance(value, External)
        and isinstance(other, External)
        and other.name.startswith("torch.nn.")
        and not value.name.startswith("torch")
    )


def _as_load(target: ast.expr) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.Name(target.id, ast.Load())
    if isinstance(target, ast.Attribute):
        return ast.Attribute(target.value, target.attr, ast.Load())
    if isinstance(target, ast.Subscript):
        return ast.Subscript(target.value, target.slice, ast.Load())
    return target


__all__ = [
    "UNROLL", "ContextValue", "DictValue", "Frame", "IterationValue", "LoaderValue", "Site", "Statements",
    "const", "taints",
]  # fmt: skip
