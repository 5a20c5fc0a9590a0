"""Losses, backward, optimizers."""

from __future__ import annotations

import ast

from modellint.facts.loss_use import Expects
from modellint.facts.training_loop import EventKind
from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.forward import Forward
from modellint.source.interpreter.loop_order import backward_noted, innermost_loop
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.records import (
    FillRecord,
    ForwardRecord,
    LossRecord,
    TrainedRecord,
)
from modellint.source.interpreter.values import (
    BoundMethod,
    Choice,
    DictValue,
    FunctionValue,
    IterationValue,
    ModuleValue,
    Nature,
    OptimizerValue,
    ParametersOf,
    ParameterValue,
    SequenceValue,
    Tensor,
    Unknown,
    Value,
)
from modellint.source.torch_api.functions import SIGNATURES
from modellint.source.torch_api.losses import LOSSES
from modellint.source.torch_api.names import canonical


def loss_options(name: str, module: ModuleValue | None, call: CallArguments) -> dict[str, Value] | None:
    """The arguments that say how a loss is computed; None when not all of them were followed."""
    if call.open:
        return None
    if module is not None:
        return module.arguments if module.cls is None and module.complete else None
    return call.bound(SIGNATURES.get(name, ()))


class Training(Forward):
    """What training does."""

    def _callee(self, node: ast.AST) -> str:
        return self.file.text.segment(node.func) if isinstance(node, ast.Call) else "an activation"

    def call_loss(self, module: ModuleValue | None, name: str | None, call: CallArguments, node: ast.AST) -> Value:
        """A loss is computed."""
        if name is None:
            assert module is not None
            name = (
                module.name
                if module.cls is None
                else next((canonical(b) for b in module.cls.library_bases if canonical(b) in LOSSES), module.name)
            )
        spec = LOSSES.get(name)
        names = spec.signature if spec is not None else ("input", "target")
        bound = call.bound(names)
        value = bound.get(names[0]) or (call.positional[0] if call.positional else Unknown("no input"))
        target = bound.get(names[1]) if len(names) > 1 else None
        expects = spec.expects if spec is not None else Expects.OTHER
        for given in (value, target):
            if spec is not None and isinstance(given, Tensor):
                given.nature.known = True  # what a loss of torch takes is a tensor
        text = self._callee(node)
        made = [
            LossRecord(self.site(node), name, text, module, expects, option, target)
            for option in (value.options if isinstance(value, Choice) else (value,))
        ]
        for record in made:
            record.options = loss_options(name, module, call)
            record.recorded = self.flow["grad"][0] is not False
            record.function = self.frame.function.node if self.frame.function is not None else None
        self.records.losses.extend(made)
        forwards, losses = taints(call.values())
        self.event(EventKind.LOSS, node)
        device = value.device if isinstance(value, Tensor) else None
        return Tensor(forwards=forwards, losses=losses | frozenset(made), device=device, nature=Nature(known=True))

    def _backward(
        self, value: Value, node: ast.AST, steps: bool = True, call: CallArguments | None = None, library: bool = False
    ) -> None:
        forwards, losses = taints((value,))
        self.records.data.backwards.append(forwards)
        assumed = self.assumptions()
        for record in forwards:
            record.backwards.append(assumed)
        for loss in losses:
            loss.backwarded = True
        modules = tuple(dict.fromkeys(record.model for record in forwards))
        for record in forwards:
            if record.model.key not in self.records.trained:
                self.records.trained[record.model.key] = self._weights(record, node)
        if steps:
            self.event(
                EventKind.BACKWARD, node, modules=modules, everything=not modules, subject=value, library=library
            )
            backward_noted(self, value, call, node)  # type: ignore[arg-type]
        else:
            self.records.order.grad_calls.add(self.frame.function.node if self.frame.function is not None else None)

    def _weights(self, record: ForwardRecord, node: ast.AST) -> TrainedRecord:
        fills: dict[tuple[int, str], FillRecord] = {}
        frozen: set[int] = set()
        for _, part in record.model.walk():
            if part.state.get("frozen") or part.state.get("frozen:weight"):
                frozen.add(part.key)
            for key, fill in part.state.items():
                if key.startswith("fill:") and isinstance(fill, FillRecord):
                    fills[part.key, key[5:]] = fill
        return TrainedRecord(record.model, self.site(node), fills, frozen, record.text)

    def _optimizer(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        given = call.positional[0] if call.positional else call.keywords.get("params")
        modules: list[ModuleValue] = []
        complete = True
        parameters = False
        stack = [given] if given is not None else []
        while stack:
            value = stack.pop()
            if isinstance(value, ParametersOf):
                modules.extend(value.modules)
                complete = complete and value.complete
            elif isinstance(value, SequenceValue):
                stack.extend(value.items)
                complete = complete and value.complete
            elif isinstance(value, DictValue):
                inner = value.items.get("params")
                if inner is not None:
                    stack.append(inner)
                else:
                    complete = False
            elif isinstance(value, ParameterValue):
                modules.extend(module for module, _ in value.targets)
                parameters = True
            elif isinstance(value, Tensor):
                parameters = True
            elif isinstance(value, IterationValue):
                stack.extend(value.parts)
            else:
                complete = False
        text = name.rpartition(".")[2]
        optimizer = OptimizerValue(
            self.new_key(), text, text, tuple(dict.fromkeys(modules)), complete, self.site(node), parameters
        )
        self.records.optimizers.append(optimizer)
        return optimizer

    def _optimizer_method(self, optimizer: OptimizerValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name == "step":
            closure = call.get(0, "closure")
            if isinstance(closure, FunctionValue | BoundMethod):
                self.call(closure, CallArguments(node), node)
            self._step(optimizer, node)
        elif name == "zero_grad":
            self.event(EventKind.ZERO_GRAD, node, optimizers=(optimizer,))
        elif name == "add_param_group":
            group = call.positional[0] if call.positional else None
            inner = group.items.get("params") if isinstance(group, DictValue) else None
            if isinstance(inner, ParametersOf):
                optimizer.modules = tuple(dict.fromkeys((*optimizer.modules, *inner.modules)))
            else:
                optimizer.complete = False
        elif name in ("param_groups", "state_dict", "state"):
            return Unknown(f"`{name}`")
        elif name in ("optimizer",):
            return optimizer
        return Unknown(f"the result of `{name}`")

    def _step(self, optimizer: OptimizerValue, node: ast.AST, scaler: Value | None = None) -> None:
        self.event(EventKind.OPTIMIZER_STEP, node, optimizers=(optimizer,), subject=scaler)
        self.records.order.steps.append((optimizer, innermost_loop(self)))  # type: ignore[arg-type]
        self.records.steps.append((optimizer, self.site(node)))
