"""What one torch layer makes of its input."""

from __future__ import annotations

import ast

from modellint.facts.forward_use import Mode
from modellint.facts.loss_use import OutputKind
from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.module_methods import ModuleMethods
from modellint.source.interpreter.modules import copied_tensor, short_text
from modellint.source.interpreter.records import (
    CallRecord,
)
from modellint.source.interpreter.values import (
    NONE,
    Choice,
    Const,
    ModuleValue,
    Nature,
    Tensor,
    Trail,
    Unknown,
    Value,
    sequence,
)

_KINDS = {
    "sigmoid": OutputKind.PROBABILITIES,
    "softmax": OutputKind.DISTRIBUTION,
    "log_softmax": OutputKind.LOG_PROBABILITIES,
    "non_negative": OutputKind.NON_NEGATIVE,
    "tanh": OutputKind.TANH,
}
_UNDONE = {
    ("exp", OutputKind.LOG_PROBABILITIES): OutputKind.DISTRIBUTION,
    ("log", OutputKind.DISTRIBUTION): OutputKind.LOG_PROBABILITIES,
}


_WEIGHT_FAMILIES = frozenset({"linear", "conv", "conv_transpose", "bilinear"})


_TRANSPARENT_FAMILIES = frozenset({"dropout", "shape"})


class Layers(ModuleMethods):
    """Runs layers."""

    def _layer(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        """What one torch layer makes of its input."""
        spec = module.spec
        assert spec is not None
        value = call.positional[0] if call.positional else next(iter(call.keywords.values()), Unknown("no input"))
        if isinstance(value, Choice):
            value = self.join([o for o in value.options if not (isinstance(o, Const) and o.value is None)] or [NONE])
        tensor = value if isinstance(value, Tensor) else None
        family = spec.family
        forwards, losses = taints(call.values())  # of a hidden state or a query too
        if tensor is not None:
            tensor.nature.known = True  # what a layer takes is a tensor
        self._note_call(module, tensor, node)
        if family in _TRANSPARENT_FAMILIES or spec.output == "transparent":
            return self.through(value, node, short_text(module))
        if spec.output in _KINDS:
            dim = module.arguments.get("dim")
            return self.activated(value, spec.output, node, short_text(module), dim)
        result = Tensor(forwards=forwards, losses=losses, device=tensor.device if tensor else None)
        result.nature.known = True
        if family in ("activation", "pool", "rrelu") and not spec.parametric:
            if tensor is not None:
                result.producer, result.producer_text = tensor.producer, tensor.producer_text
            return result
        result.producer = module.key
        result.producer_text = f"output of {self.layer_text(module)}"
        if family in _WEIGHT_FAMILIES:
            result.kind = OutputKind.LOGITS
            result.maker = self.layer_text(module)
            result.maker_site = self.site(node)
            result.trail = Trail(self.site(node), result.maker, None, 1)
            size = module.arguments.get("out_features") or module.arguments.get("out_channels")
            if isinstance(size, Const) and isinstance(size.value, int):
                result.classes = size.value
        if family in ("recurrent", "attention"):
            return sequence("tuple", (result, Unknown("a state", forwards, losses)))
        return result

    def _note_call(self, module: ModuleValue, tensor: Tensor | None, node: ast.AST) -> None:
        if not self.forwards:
            return
        spec = module.spec
        assert spec is not None
        if not (
            spec.parametric
            or spec.family
            in ("dropout", "rrelu", "norm_instance", "norm_running", "attention", "transformer", "recurrent")
        ):
            return
        frame = self.forwards[-1]
        stateful = spec.family in ("norm_running", "norm_instance")
        if stateful:
            tracked = module.arguments.get("track_running_stats")
            if spec.family == "norm_instance":
                stateful = isinstance(tracked, Const) and bool(tracked.value)
            elif tracked is not None and not (isinstance(tracked, Const) and tracked.value):
                stateful = False
            if module.state.get("frozen"):
                stateful = False
            modes = self.modes_of(module)
            if modes != {Mode.TRAIN} and modes != self.modes_of(frame.root):
                stateful = False
        producer = tensor.producer if tensor is not None else None
        frame.calls.append(
            CallRecord(
                module,
                self.site(node),
                producer,
                tensor.producer_text if tensor is not None else None,
                self.path,
                stateful,
            )
        )

    def through(self, value: Value, node: ast.AST, text: str) -> Value:
        """The value after an operation that keeps its kind."""
        if isinstance(value, Tensor):
            result = copied_tensor(value)
            if value.trail is not None:
                result.trail = Trail(self.site(node), text, value.trail, value.trail.length + 1)
            return result
        if isinstance(value, Choice):
            return self.join([self.through(o, node, text) for o in value.options])
        forwards, losses = taints((value,))
        return Tensor(forwards=forwards, losses=losses)

    def activated(self, value: Value, output: str, node: ast.AST, text: str, dim: Value | None = None) -> Value:
        """The value after an activation."""
        forwards, losses = taints((value,))
        tensor = value if isinstance(value, Tensor) else Tensor(forwards=forwards, losses=losses)
        result = copied_tensor(tensor)
        result.nature = Nature(known=True)
        undone = _UNDONE.get((output, tensor.kind))
        if undone is not None:
            # `log_softmax(x).exp()` is the softmax of x, made where that was.
            result.kind = undone
            if tensor.trail is not None:
                result.trail = Trail(self.site(node), text, tensor.trail, tensor.trail.length + 1)
            return result
        kind = _KINDS.get(output, OutputKind.UNKNOWN)
        if kind is OutputKind.PROBABILITIES and tensor.kind is OutputKind.UNKNOWN and tensor.comparison:
            kind = OutputKind.UNKNOWN
        result.kind = kind
        result.maker = text if kind is not OutputKind.UNKNOWN else None
        result.maker_site = self.site(node) if result.maker else None
        result.trail = Trail(self.site(node), text, None, 1) if result.maker else None
        result.softmax_dim = dim.value if isinstance(dim, Const) and isinstance(dim.value, int) else None
        if kind is OutputKind.DISTRIBUTION and dim is not None and not isinstance(dim, Const):
            result.kind, result.maker = OutputKind.UNKNOWN, None
        result.fill = None
        return result
