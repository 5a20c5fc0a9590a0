"""Follows where the gradient of each value goes: what a backward reaches, and where the way to the rest was cut.

Every method hands the work on to the classes below and then notes the reach of the result. What is not noted is open: a
gradient may go anywhere from it.
"""

from __future__ import annotations

import ast
from typing import Any

from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.reach import (
    BackwardNote,
    Reach,
    SetupNote,
    StepNote,
)
from modellint.source.interpreter.reach_calls import ReachCalls
from modellint.source.interpreter.reach_forwards import ReachForwards
from modellint.source.interpreter.reach_operators import ReachOperators
from modellint.source.interpreter.reach_values import owns_trainable
from modellint.source.interpreter.records import EventRecord, ForwardRecord
from modellint.source.interpreter.values import (
    Const,
    DictValue,
    IterationValue,
    ModuleValue,
    OptimizerValue,
    ParametersOf,
    ParameterValue,
    SequenceValue,
    Tensor,
    Unknown,
    Value,
    now,
)


class Gradients(ReachCalls, ReachOperators, ReachForwards):
    """Notes backwards, optimizers and their steps."""

    def _backward(self, value: Value, node: ast.AST, steps: bool = True, *more: Any, **options: Any) -> None:
        super()._backward(value, node, steps, *more, **options)
        reach = self.reach_of(value)
        for store in reach.stores:
            store.backwarded = True
        keywords = node.keywords if isinstance(node, ast.Call) else []
        keeps = any(k.arg in ("retain_graph", "create_graph", None) for k in keywords)
        if steps and not keeps:
            self._proves(value, node)
        text = self.file.text.segment(node) if hasattr(node, "lineno") else "backward()"
        receiver = node.func.value if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else node
        forwards = taints((value,))[0]
        below, walked = self._below_live(reach, forwards)
        note = BackwardNote(
            self.site(node), text, self.file.text.segment(receiver) if hasattr(receiver, "lineno") else "the loss",
            reach, forwards, self._entry(), now(), steps, keeps, below, walked,
        )  # fmt: skip
        self.records.graph.backwards.append(note)
        event = next((e for e in reversed(self.trace[-4:]) if isinstance(e, EventRecord) and e.site.node is node), None)
        if event is not None:
            event.gradient = note
            if below and not reach.open and event.modules:
                # What lies behind a cut gets nothing from this backward.
                event.modules = tuple(
                    module
                    for module in event.modules
                    if any(part.key in below for part in (module.state.get("wrapped") or module).walk_values())
                )

    def _proves(self, value: Value, node: ast.AST) -> None:
        """A backward was called on a value: it has a graph, whatever made it."""
        if isinstance(value, Unknown) and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.args:
                return
            value = self.plainly(node.func.value) or value
        # What a file cuts in place somewhere may be this.
        if isinstance(value, Tensor | Unknown) and ".detach_(" not in self.file.text.text:
            self.proven[id(value)] = value, self.site(node)

    def _below_live(
        self, reach: Reach, forwards: frozenset[ForwardRecord]
    ) -> tuple[dict[int, tuple[str, ModuleValue, ModuleValue]], set[int]]:
        """What a gradient may reach, as it is now: layers are replaced and frozen later."""
        below: dict[int, tuple[str, ModuleValue, ModuleValue]] = {}
        walked: set[int] = set()
        models = [record.model for record in forwards if record.model in reach.live]
        others = [module for module in reach.live if isinstance(module, ModuleValue)]
        for module in dict.fromkeys([*models, *others]):
            root = module.state.get("wrapped") or module
            if root.key in walked:
                continue
            for path, part in root.walk():
                walked.add(part.key)
                if part.key not in below and owns_trainable(part) is not False:
                    below[part.key] = (path, part, root)
        return below, walked

    def _optimizer(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        result = super()._optimizer(name, call, node)
        if isinstance(result, OptimizerValue):
            settings = (*call.positional[1:], *(v for k, v in call.keywords.items() if k != "params"))
            note = SetupNote(
                result, set(), set(), [], [], {}, not call.open, False, self._entry(), now(), self.loops, self.path,
                settings, site=self.site(node),
            )  # fmt: skip
            given = call.positional[0] if call.positional else call.keywords.get("params")
            self._held(note, given)
            self.records.graph.setups.append(note)
        return result

    def _held(self, note: SetupNote, given: Value | None) -> None:
        stack: list[Value | None] = [given]
        while stack:
            value = stack.pop()
            if isinstance(value, ParametersOf):
                note.complete = note.complete and value.complete
                for module in value.modules:
                    inner = module.state.get("wrapped") or module
                    if not any(inner is known for known in note.roots):
                        note.roots.append(inner)
                        note.whole.append(inner)
                    for path, part in inner.walk():
                        note.held.add(part.key)
                        note.parts[part.key] = (path, part)
                        note.freshness = max(note.freshness, part.state.get("rewritten", 0))
            elif isinstance(value, SequenceValue):
                stack.extend(value.items)
                note.complete = note.complete and value.complete
            elif isinstance(value, DictValue):
                inner_value = value.items.get("params")
                note.complete = note.complete and inner_value is not None
                stack.append(inner_value if inner_value is not None else Const(None))
            elif isinstance(value, ParameterValue):
                note.others = note.others or not value.targets
                for module, name in value.targets:
                    if name == "*":
                        note.held.add(module.key)
                    note.names.add((module.key, name))
                    note.parts.setdefault(module.key, (module.name, module))
                    note.freshness = max(note.freshness, module.state.get("rewritten", 0))
                    if not any(module is known for known in note.roots):
                        note.roots.append(module)
            elif isinstance(value, Tensor):
                note.others = True
            elif isinstance(value, IterationValue):
                stack.extend(value.parts)
            elif not (isinstance(value, Const) and value.value is None):
                note.complete = False

    def _optimizer_method(self, optimizer: OptimizerValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name == "add_param_group":
            note = next((n for n in self.records.graph.setups if n.optimizer is optimizer), None)
            if note is not None:
                self._held(note, call.positional[0] if call.positional else None)
        return super()._optimizer_method(optimizer, name, call, node)

    def _step(self, optimizer: OptimizerValue, node: ast.AST, *more: Any, **options: Any) -> None:
        super()._step(optimizer, node, *more, **options)
        self.records.graph.steps.append(StepNote(optimizer, self.site(node), self.loops, self._entry(), now()))
