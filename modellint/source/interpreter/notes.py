"""What is noted about single calls: torch calls, methods that were not called, results that leave a function."""

from __future__ import annotations

import ast

from modellint.facts.forward_use import SignKind
from modellint.facts.training_loop import EventKind
from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.machine import Frame, taints
from modellint.source.interpreter.records import (
    DiscardedRecord,
    TorchCallRecord,
)
from modellint.source.interpreter.training import Training
from modellint.source.interpreter.values import (
    Choice,
    ContextValue,
    DictValue,
    External,
    FunctionValue,
    Method,
    ModuleValue,
    OptimizerValue,
    ScalerValue,
    SchedulerValue,
    SequenceValue,
    Tensor,
    Unknown,
    Value,
)
from modellint.source.naming import says_chance
from modellint.source.torch_api.functions import (
    SIGNATURES,
)
from modellint.source.torch_api.names import canonical

GRAD_SWITCHES = {
    "torch.no_grad": False, "torch.inference_mode": False, "torch.enable_grad": True, "torch.set_grad_enabled": None,
    "torch.autograd.no_grad": False, "torch.autograd.enable_grad": True, "torch.autograd.inference_mode": False,
}  # fmt: skip


def receiver_kind(value: Value | None) -> str | None:
    """What a receiver is, in the words of the facts."""
    if isinstance(value, ModuleValue):
        return "loss" if value.spec is not None and value.spec.family == "loss" else "module"
    if isinstance(value, OptimizerValue):
        return "optimizer"
    if isinstance(value, SchedulerValue):
        return "scheduler"
    if isinstance(value, ScalerValue):
        return "scaler"
    if isinstance(value, Tensor):
        return "tensor"
    return None


class Notes(Training):
    """Notes for the readers of facts."""

    def _flat(self, values: list[Value]) -> list[Value]:
        result: list[Value] = []
        for value in values:
            if type(value) is Unknown:
                result.append(value)
            elif isinstance(value, SequenceValue):
                result.extend(value.items)
            elif isinstance(value, Choice):
                result.extend(value.options)
            elif isinstance(value, DictValue):
                result.extend(value.items.values())
            else:
                result.append(value)
        return result

    def discarded(self, value: Method, node: ast.Attribute) -> None:
        """A method named as a statement."""
        kind = receiver_kind(value.receiver)
        if isinstance(value.receiver, ModuleValue) and value.name in ("eval", "train"):
            # Meant as a call: what is done in the mode that it should have set is not judged again.
            self.lose_mode(value.receiver, node)
        if value.name == "zero_grad" and isinstance(value.receiver, OptimizerValue):
            self.event(EventKind.ZERO_GRAD, node, optimizers=(value.receiver,))  # said once, here
        if kind is not None and not value.name.startswith("super."):
            text = self.file.text.segment(node.value)
            self.records.discarded.setdefault(
                node, DiscardedRecord(self.site(node), text, kind, value.name, None, None)
            )

    def _method_as_value(self, name: str, call: CallArguments, node: ast.AST) -> None:
        for value, value_node in zip(call.positional, call.positional_nodes, strict=True):
            parts = [(value, value_node)]
            if isinstance(value, DictValue) and isinstance(value_node, ast.Dict):
                nodes = {
                    k.value: v
                    for k, v in zip(value_node.keys, value_node.values, strict=True)
                    if isinstance(k, ast.Constant)
                }
                parts = [(item, nodes[key]) for key, item in value.items.items() if key in nodes]
            for part, part_node in parts:
                if isinstance(part, Method) and isinstance(part_node, ast.Attribute):
                    kind = receiver_kind(part.receiver)
                    if kind is not None and part.name == "state_dict":
                        text = self.file.text.segment(part_node.value)
                        self.records.discarded.setdefault(
                            part_node,
                            DiscardedRecord(self.site(part_node), text, kind, part.name, name, self.site(node)),
                        )

    def _note_module_call(self, module: ModuleValue, name: str, call: CallArguments, node: ast.AST) -> None:
        if name == "forward" and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            self.note_torch_call("torch.nn.Module.forward", call, node, module)
        elif name in ("to", "cuda") and (call.positional or call.keywords):
            self.note_torch_call(f"torch.nn.Module.{name}", call, node, module)
        elif name == "load_state_dict":
            self.note_torch_call("torch.nn.Module.load_state_dict", call, node, module)
            self._method_as_value("load_state_dict", call, node)

    def note_torch_call(
        self, name: str, call: CallArguments, node: ast.AST, receiver: Value | None = None, spelled: str = ""
    ) -> None:
        """Note a resolved torch call, once a place and name."""
        key = (node, name)
        if key in self.records.torch_calls or not isinstance(node, ast.Call):
            return
        signature = SIGNATURES.get(name, ())
        arguments = []
        for index, (value, value_node) in enumerate(zip(call.positional, call.positional_nodes, strict=True)):
            arguments.append(
                (signature[index] if index < len(signature) else f"*{index}", self.site(value_node), value)
            )
        for keyword, value in call.keywords.items():
            arguments.append((keyword, self.site(call.keyword_nodes[keyword]), value))
        frame = next((f for f in reversed(self.frames) if f.function is not None), None)
        module = next((f.module for f in reversed(self.frames) if f.module is not None), None)
        owner = frame.function.owner if frame is not None and frame.function is not None else None
        receiver_text = None
        delegating = False
        if receiver is not None and isinstance(node.func, ast.Attribute):
            receiver_text = self.file.text.segment(node.func.value)
            delegating = (
                isinstance(node.func.value, ast.Call)
                and isinstance(node.func.value.func, ast.Name)
                and (node.func.value.func.id == "super")
            )
            delegating = delegating or module is receiver
            delegating = delegating or (isinstance(receiver, ModuleValue) and bool(receiver.state.get("scripted")))
            if module is not None and module.call is not None:
                # A wrapper around a module that it was given.
                delegating = delegating or any(given is receiver for given in self._flat(module.call.values()))
            if frame is not None and frame.name in ("forward", "__call__") and owner is not None:
                delegating = delegating or frame.name == "__call__"
            if isinstance(receiver, ModuleValue) and receiver.spec is not None and receiver.spec.family == "loss":
                delegating = True
        training = any(
            key[0] == "truth" and outcome and self._is_training_symbol(key[1]) for key, outcome in self.assumed.items()
        )
        self.records.torch_calls[key] = TorchCallRecord(
            name, self.site(node), self.file.text.segment(node.func), tuple(arguments), call.open, receiver_text,
            receiver_kind(receiver) if receiver is not None else None,
            owner.name if owner is not None and owner.is_module else None,
            frame.name if frame is not None else None, training,
            self._switches_grad_off(frame) or (owner is not None and says_chance(ast.get_docstring(owner.node))),
            delegating, self.framework(), spelled or name,
        )  # fmt: skip

    def _switches_grad_off(self, frame: Frame | None) -> bool:
        """Whether a function is decorated as one that only predicts."""
        for decorator in frame.function.decorators if frame is not None and frame.function is not None else ():
            name = canonical(decorator.name) if isinstance(decorator, External) else ""
            if GRAD_SWITCHES.get(name) is False and name in GRAD_SWITCHES:
                return True
            if isinstance(decorator, ContextValue) and decorator.what == "grad" and decorator.enabled is False:
                return True
        return False

    def _is_training_symbol(self, identity: object) -> bool:
        for frame in self.frames:
            symbols = frame.module.state.get("training", {}) if frame.module is not None else {}
            if any(symbol is identity for symbol in symbols.values()):
                return True
        return False

    def tag_returned(self, function: FunctionValue, value: Value) -> None:
        """A forward made in this function leaves it as its result."""
        if not isinstance(value, Tensor | Unknown | SequenceValue | DictValue):
            return
        forwards, _ = taints((value,))
        if not forwards:
            return
        depth = sum(frame.function is not None for frame in self.frames)
        for record in forwards:
            if len(record.functions) == depth:
                record.signs.setdefault((SignKind.RETURNED, function.node), (record.site, function.name))
