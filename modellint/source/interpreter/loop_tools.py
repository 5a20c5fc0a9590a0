"""Libraries that help with a loop without owning it: Accelerate, Fabric, Lightning's manual optimisation, einops."""

from __future__ import annotations

import ast
from collections.abc import Callable

from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.records import LoopRecord
from modellint.source.interpreter.value_methods import ValueMethods
from modellint.source.interpreter.values import (
    NONE,
    Const,
    DictValue,
    FunctionValue,
    LibraryObject,
    Method,
    ModuleValue,
    OptimizerValue,
    SequenceValue,
    Tensor,
    Unknown,
    Value,
    sequence,
)
from modellint.source.torch_api.frameworks import framework_of
from modellint.source.torch_api.library_layers import LEAVES_ALONE, PREPARES, SAME_CLASS, SHAPE_FUNCTIONS
from modellint.source.torch_api.names import canonical

_HANDS_BACK = frozenset({"unwrap_model", "gather", "gather_for_metrics", "to_device"})
_LIGHTNING = frozenset(
    [
        "manual_backward",
        "optimizers",
        "log",
        "log_dict",
        "print",
        "toggle_optimizer",
        "untoggle_optimizer",
        "save_hyperparameters",
    ]
)


class LoopTools(ValueMethods):
    """Calls of such libraries."""

    def _library_method(self, receiver: LibraryObject, name: str, call: CallArguments, node: ast.AST) -> Value:
        kind = SAME_CLASS.get(receiver.name, receiver.name)
        values = call.values()
        if name in PREPARES.get(kind, ()):
            return self._prepared(values, node)
        if name not in LEAVES_ALONE.get(kind, ()):
            return super()._library_method(receiver, name, call, node)
        if name == "backward" and values:
            self._backward(values[0], node)
            return NONE
        if name in _HANDS_BACK and values:
            return values[0]
        return Unknown(f"the result of `{receiver.name}.{name}`", *taints(values))

    def _library_call(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name in SHAPE_FUNCTIONS and call.positional and isinstance(call.positional[0], Tensor):
            result = self.through(call.positional[0], node, self._callee(node))
            if isinstance(result, Tensor):
                result.classes = None
            return result
        return super()._library_call(name, call, node)

    def module_attribute(self, module: ModuleValue, name: str, node: ast.AST) -> Value:
        """An attribute of a module; a LightningModule's base class gives more methods than nn.Module does."""
        if name in _LIGHTNING and module.cls is not None and module.cls.lookup(name) is None and _is_lightning(module):
            return Method(module, name)
        return super().module_attribute(module, name, node)

    def call_module_method(self, module: ModuleValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        """A method of a LightningModule that its base class gives."""
        if module.cls is not None and name in _LIGHTNING and _is_lightning(module):
            values = call.values()
            if name == "manual_backward" and values:
                self._backward(values[0], node)
                return NONE
            if name == "optimizers":
                return self._configured(module, node)
            return NONE
        return super().call_module_method(module, name, call, node)

    def as_it_is_driven(
        self, function: FunctionValue, receiver: Value | None, call: CallArguments
    ) -> Callable[[], object]:
        """How a function that nobody calls is run: a `training_step` that optimises by hand once for every batch."""

        def run() -> Value:
            return self.call_function(function, receiver, call, function.node)

        if function.name != "training_step" or not isinstance(receiver, ModuleValue) or receiver.cls is None:
            return run
        automatic = receiver.attrs.get("automatic_optimization") or receiver.cls.lookup("automatic_optimization")
        if not (_is_lightning(receiver) and isinstance(automatic, Const) and automatic.value is False):
            return run

        def batches() -> None:
            record = LoopRecord(self.site(function.node), [], None, self.trace)
            trace, loops = self.trace, self.loops
            self.loops = (*loops, record)
            try:
                for _ in range(2):
                    self.trace = []
                    record.rounds.append(self.trace)
                    run()
            finally:
                self.trace, self.loops = trace, loops
                if any(record.rounds):
                    record.before = []
                    self.records.loops.append(record)

        return batches

    def _configured(self, module: ModuleValue, node: ast.AST) -> Value:
        """What `self.optimizers()` gives: the optimizers that `configure_optimizers` returns."""
        assert module.cls is not None
        known = module.state.get("configured")
        if isinstance(known, Value):
            return known
        configure = module.cls.lookup("configure_optimizers")
        result: Value = Unknown("optimizers that were not followed")
        if isinstance(configure, FunctionValue):
            result = self._optimizers_in(self.call_function(configure, module, CallArguments(node), node))
        module.state["configured"] = result
        return result

    def _optimizers_in(self, value: Value) -> Value:
        if isinstance(value, DictValue):
            value = value.items.get("optimizer", Unknown("no optimizer"))
        if isinstance(value, SequenceValue) and value.items:
            first = value.items[0]
            if isinstance(first, SequenceValue):
                value = first  # ([optimizers], [schedulers])
            items = [self._optimizers_in(item) for item in value.items]
            if all(isinstance(item, OptimizerValue) for item in items):
                return items[0] if len(items) == 1 else sequence("list", tuple(items), value.complete)
        return value if isinstance(value, OptimizerValue) else Unknown("optimizers that were not followed")


def _is_lightning(module: ModuleValue) -> bool:
    assert module.cls is not None
    return any(
        (spec := framework_of(canonical(base))) is not None and spec.name == "lightning"
        for base in module.cls.library_bases
    )
