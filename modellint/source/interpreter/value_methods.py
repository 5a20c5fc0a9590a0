"""Methods of values whose behaviour is known (tensors, optimizers, lists, strings and so on), and `isinstance`."""

from __future__ import annotations

import ast

from modellint.facts.forward_use import SignKind
from modellint.source.interpreter import module_notes
from modellint.source.interpreter.expressions import TEXT_LIMIT, WIDE, CallArguments
from modellint.source.interpreter.loop_order import gradient_method, scaler_method, scheduler_method
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.modules import copied_tensor
from modellint.source.interpreter.torch_functions import HARMLESS, TorchFunctions
from modellint.source.interpreter.values import (
    NONE,
    Cells,
    Choice,
    ClassValue,
    Const,
    ContextValue,
    DeviceMove,
    DeviceValue,
    DictValue,
    External,
    IterationValue,
    LibraryObject,
    LoaderValue,
    Method,
    ModuleValue,
    ObjectValue,
    OptimizerValue,
    ParametersOf,
    ParameterValue,
    RangeValue,
    ScalerValue,
    SchedulerValue,
    SequenceValue,
    Tensor,
    Unknown,
    Value,
    const,
    sequence,
)
from modellint.source.torch_api.frameworks import framework_of
from modellint.source.torch_api.functions import (
    ACTIVATIONS,
    METRIC_OPS,
    SHAPE_OPS,
    TENSOR_METHODS,
)
from modellint.source.torch_api.layers import LAYERS
from modellint.source.torch_api.names import canonical

_TENSOR_ATTRIBUTES = frozenset({"shape", "grad", "dtype", "requires_grad", "ndim", "is_cuda", "grad_fn", "_version"})


_NUMBER_METHODS = frozenset({"item", "tolist", "numpy", "size", "dim", "numel", "nelement", "data_ptr", "stride"})


def value_is_made(value: Tensor | ParameterValue) -> bool:
    """Whether a value is a tensor for sure, not a batch that was taken for one."""
    return isinstance(value, ParameterValue) or (value.maker is not None or value.device is not None)


def _gradient_owner(value: Value) -> ParameterValue | None:
    """The parameter whose `.grad` (or `.grad.data`) this is."""
    while isinstance(value, Method):
        if value.name == "grad" and isinstance(value.receiver, ParameterValue):
            return value.receiver
        value = value.receiver
    return None


_PLAIN_TYPES = frozenset({"list", "tuple", "dict", "set", "str", "int", "float", "bool"})
_TEXT_METHODS = frozenset(
    [
        "lower",
        "upper",
        "strip",
        "split",
        "startswith",
        "endswith",
        "replace",
        "find",
        "index",
        "join",
        "format",
        "count",
        "title",
        "lstrip",
        "rstrip",
        "removeprefix",
    ]
)


_ABSTRACT_LAYERS: dict[str, frozenset[str]] = {
    "torch.nn.modules.conv._ConvNd": frozenset({"conv", "conv_transpose"}),
    "torch.nn._ConvNd": frozenset({"conv", "conv_transpose"}),
    "torch.nn.modules.batchnorm._BatchNorm": frozenset({"norm_running"}),
    "torch.nn._BatchNorm": frozenset({"norm_running"}),
    "torch.nn.modules.batchnorm._NormBase": frozenset({"norm_running", "norm_instance"}),
    "torch.nn._NormBase": frozenset({"norm_running", "norm_instance"}),
    "torch.nn._InstanceNorm": frozenset({"norm_instance"}),
    "torch.nn._DropoutNd": frozenset({"dropout"}),
    "torch.nn._ConvTransposeNd": frozenset({"conv_transpose"}),
    "torch.nn.RNNBase": frozenset({"recurrent"}),
    "torch.nn.RNNCellBase": frozenset({"recurrent_cell"}),
}


_SUBCLASSES: dict[str, tuple[str, ...]] = {
    "torch.nn.NonDynamicallyQuantizableLinear": ("torch.nn.Linear",),
    "torch.nn.LazyLinear": ("torch.nn.Linear",),
    "torch.nn.CrossEntropyLoss": (),
}


class ValueMethods(TorchFunctions):
    """Calls of methods."""

    def call_method(self, receiver: Value, name: str, call: CallArguments, node: ast.AST) -> Value:
        """`receiver.name(...)` for a receiver whose methods are known here."""
        if isinstance(receiver, Tensor):
            result = self._tensor_method(receiver, name, call, node)
            return self.value_made(f"torch.Tensor.{name}", receiver, result, call, node)
        if isinstance(receiver, ModuleValue):
            self._note_module_call(receiver, name, call, node)
            if receiver.state.get("wrapped") is not None and name not in ("forward", "__call__"):
                inner = self.call_module_method(receiver.state["wrapped"], name, call, node)
                self.put(receiver.state, "modes", receiver.state["wrapped"].state.get("modes", frozenset()))
                return receiver if inner is receiver.state["wrapped"] else inner
            return self.call_module_method(receiver, name, call, node)
        if isinstance(receiver, OptimizerValue):
            return self._optimizer_method(receiver, name, call, node)
        if isinstance(receiver, ParameterValue):
            return self._parameter_method(receiver, name, call, node)
        if isinstance(receiver, SequenceValue):
            return self._sequence_method(receiver, name, call, node)
        if isinstance(receiver, DictValue):
            return self._dict_method(receiver, name, call, node)
        if isinstance(receiver, ScalerValue):
            return scaler_method(self, receiver, name, call, node)
        if isinstance(receiver, SchedulerValue):
            return scheduler_method(self, receiver, name, call, node)
        if isinstance(receiver, Const):
            return self._constant_method(receiver, name, call)
        if isinstance(receiver, ContextValue):
            if name == "__enter__":
                self.put(self.flow, "grad", (receiver.enabled, receiver.site))
            elif name == "__exit__":
                self.put(self.flow, "grad", (True, None))
            return receiver
        if isinstance(receiver, LibraryObject):
            return self._library_method(receiver, name, call, node)
        if isinstance(receiver, Method) and (owner := _gradient_owner(receiver)) is not None:
            return gradient_method(self, owner, name, node)
        if name == "set_epoch":
            self.note_epoch_told(receiver)
        if isinstance(receiver, ParametersOf | IterationValue | RangeValue | LoaderValue):
            return self.unknown(node, f"the result of `{name}`", *call.values())
        return self.unknown_call(Unknown(f"`{name}` of {type(receiver).__name__}"), call, node)

    def _library_method(self, receiver: LibraryObject, name: str, call: CallArguments, node: ast.AST) -> Value:
        values = call.values()
        if name == "set_epoch":
            self.note_epoch_told(receiver)
        forwards, losses = taints([receiver, *values])
        framework = framework_of(receiver.name)
        self._escape(values, node, harmless=receiver.name.startswith(HARMLESS))
        if forwards:
            # `metric.update(output, target)`: what the object says later came from these forwards.
            given, _ = taints(values)
            if framework is None or framework.name == "torchmetrics":
                self.sign(given, SignKind.METRIC, node)
            receiver.forwards |= forwards
            receiver.losses |= losses
        if name == "backward" and framework is not None and values:
            self._backward(values[0], node, library=True)
        if framework is not None and name in ("prepare", "setup"):
            return self._prepared(values, node)
        return Unknown(f"the result of `{receiver.name}.{name}`", forwards, losses)

    def _prepared(self, values: list[Value], node: ast.AST) -> Value:
        """Accelerate and Fabric hand back what they were given; where it is, they know."""
        for value in values:
            if isinstance(value, ModuleValue):
                for _, part in value.walk():
                    self.put(part.state, "device", None)
        results = [
            LoaderValue(v.dataset, v.site, v.held_out, False) if isinstance(v, LoaderValue) else v for v in values
        ]
        return results[0] if len(results) == 1 else sequence("tuple", tuple(results))

    def tensor_attribute(self, value: Tensor | ParameterValue, name: str, node: ast.AST) -> Value:
        """`tensor.name`."""
        if isinstance(value, ParameterValue):
            if name in ("data",):
                return value
            if name == "requires_grad":
                return Unknown("`requires_grad`")
            if name == "grad":
                return Method(value, "grad")
            if name in ("ndim",):
                return const(value.dimensions) if value.dimensions is not None else Unknown("`ndim`")
            if name == "shape":
                return Unknown("`shape`")
            return Method(value, name)
        if name == "data":
            self.data_read(value, node)
        if name in ("data", "T", "mT", "H", "real"):
            return self.through(value, node, f".{name}")
        if name == "device":
            return (
                DeviceValue("its own device", False)
                if value.device is None
                else DeviceValue(value.device.text, value.device.may_be_other_than_cpu)
            )
        if name in _TENSOR_ATTRIBUTES:
            return Unknown(f"`{name}`", value.forwards if name == "grad" else frozenset())
        if name in TENSOR_METHODS:
            return Method(value, name)
        # A field of something that looked like a tensor: a batch object, a model output.
        return Unknown(f"`{name}`", value.forwards, value.losses, value.origin)

    def _tensor_method(self, value: Tensor, name: str, call: CallArguments, node: ast.AST) -> Value:
        full = f"torch.Tensor.{name}"
        forwards, losses = taints((value, *call.values()))
        if name.endswith("_") and not name.endswith("__") and f"torch.Tensor.{name}" in ACTIVATIONS:
            result = self.activated(value, ACTIVATIONS[full], node, f".{name}", None)
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
            ):
                self.assign(ast.copy_location(ast.Name(node.func.value.id, ast.Store()), node), result)
            return result
        if name == "backward":
            self._backward(value, node, call=call)
            return NONE
        if full in ACTIVATIONS:
            return self.activated(value, ACTIVATIONS[full], node, f".{name}", call.get(0, "dim"))
        if name in ("to", "cuda", "cpu"):
            self.waits += 1
            self.note_torch_call(f"torch.Tensor.{name}", call, node, value)
            return self._moved(value, name, call, node)
        if name == "detach":
            return self.through(value, node, ".detach()")
        if full in SHAPE_OPS:
            arguments = ", ".join(self.file.text.segment(n) for n in call.positional_nodes if hasattr(n, "lineno"))
            result = self.through(value, node, f".{name}({arguments[:30]})")
            if isinstance(result, Tensor) and name in ("reshape", "view", "resize", "flatten", "transpose", "permute"):
                result.classes = None
            if name in ("type", "type_as") and isinstance(result, Tensor) and call.values():
                result.device = self._device_of_type(value, call.values()[0], node)
            return result
        if name == "requires_grad_" and value.device is not None and not call.values():
            module_notes.mark(self, value, node, leaf=True)
        if name in ("requires_grad_", "retain_grad"):
            self.records.gradient_functions.add(self.frame.function.node if self.frame.function is not None else None)
            for record in value.forwards:
                record.needs_gradient = True
            if isinstance(value.origin, LoaderValue):
                result = copied_tensor(value)
                result.origin = "needs gradient"
                return result
            return value
        if name in METRIC_OPS or name in ("item", "tolist", "numpy"):
            if name in METRIC_OPS:
                self.sign(value.forwards, SignKind.METRIC, node)
            if name in _NUMBER_METHODS:
                self.waits += 1
                number = Unknown(f"the result of `.{name}()`", forwards, losses)
                number.live = False
                return number
            return Tensor(forwards=forwards, losses=losses, device=value.device)
        if name in _NUMBER_METHODS:
            return Unknown(f"the result of `.{name}()`")
        if name in ("fill_", "zero_") and not value.forwards:
            given = call.get(0, "value") if name == "fill_" else const(0)
            result = copied_tensor(value)
            result.fill = (
                float(given.value) if isinstance(given, Const) and isinstance(given.value, int | float) else None
            )
            return result
        if name in ("new_zeros", "new_ones", "new_full", "new_empty", "new_tensor"):
            return Tensor(device=value.device)
        result = Tensor(
            forwards=forwards, losses=losses, device=value.device, model=value.model, model_site=value.model_site
        )
        if name in ("unbind", "chunk", "split", "tensor_split"):
            part = copied_tensor(value)
            return Tensor(
                forwards=forwards,
                losses=losses,
                device=value.device,
                producer=part.producer,
                producer_text=part.producer_text,
            )
        if not any(isinstance(v, Tensor) for v in call.values()):
            result.producer, result.producer_text = value.producer, value.producer_text
        return result

    def _device_of_type(self, value: Tensor, kind: Value, node: ast.AST) -> DeviceMove | None:
        """Where `.type(kind)` leaves a tensor: the old tensor types name a device, too."""
        name = kind.name if isinstance(kind, External) else kind.value if isinstance(kind, Const) else None
        if isinstance(name, str) and name.startswith("torch."):
            if name.startswith("torch.cuda."):
                return DeviceMove("cuda", self.site(node), True)
            return DeviceMove("cpu", self.site(node), False) if name.endswith("Tensor") else value.device
        return None

    def _moved(self, value: Tensor, name: str, call: CallArguments, node: ast.AST) -> Value:
        if self.forwards and isinstance(value.producer, tuple) and value.producer[0] == "argument":
            self.forwards[-1].moves_input = True
        result = self.through(value, node, f".{name}(...)")
        assert isinstance(result, Tensor)
        if name == "cuda":
            result.device = DeviceMove("cuda", self.site(node), True)
        elif name == "cpu":
            result.device = DeviceMove("cpu", self.site(node), False)
        else:
            target = call.get(0, "device")
            if isinstance(target, External):
                return result  # a dtype
            move = self.device_of(target)
            result.device = (
                DeviceMove(move.text, self.site(node), move.may_be_other_than_cpu) if move is not None else None
            )
        return result

    def _parameter_method(self, value: ParameterValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        result = module_notes.result_of_parameter(self, value, name, call, node)
        if result is not None:
            return result
        if name in ("fill_", "zero_"):
            given = call.get(0, "value") if name == "fill_" else const(0)
            constant = float(given.value) if isinstance(given, Const) and isinstance(given.value, int | float) else None
            self.fill(value, constant, node)
            return value
        if name in ("copy_", "set_"):
            source = call.positional[0] if call.positional else None
            self.fill(value, source.fill if isinstance(source, Tensor) else None, node)
            return value
        if name in ("detach", "detach_", "contiguous", "to", "cuda", "cpu", "view", "view_as", "reshape", "flatten"):
            return value
        if name in ("dim", "ndimension"):
            return const(value.dimensions) if value.dimensions is not None else Unknown("`dim()`")
        if name in ("requires_grad_",):
            flag = call.get(0, "requires_grad")
            frozen = flag is not None and self.truth(flag) is False
            for module, parameter in value.targets:
                self.put(module.state, f"frozen:{parameter}", frozen)
            return value
        if name in ("grad",):
            return Unknown("a gradient")
        if name.endswith("_") and not name.endswith("__"):
            self.fill(value, None, node)
            return value
        if name in ("size", "numel", "item", "tolist", "numpy", "nelement", "std", "var"):
            return Unknown(f"the result of `.{name}()`")
        return Tensor()

    def _sequence_method(self, value: SequenceValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        first = call.positional[0] if call.positional else None
        items = value.items
        if name in ("append", "add", "appendleft") and first is not None:
            self._collect_into(value, first, node)
            self.note_first(value.box, first, node)
            if len(items) < 200:
                self.put(value.box, "items", (*items, first))
            return NONE
        if name in ("extend", "update") and first is not None:
            exact, elements = self.iterate(first, node)
            self._collect_into(value, first, node)
            for element in elements[:1]:
                self.note_first(value.box, element, node)
            self.put(value.box, "items", (*items, *elements))
            self.put(value.box, "complete", value.complete and exact)
            return NONE
        if name == "insert" and len(call.positional) == 2:
            position = call.positional[0]
            changed = list(items)
            if isinstance(position, Const) and isinstance(position.value, int):
                changed.insert(position.value, call.positional[1])
            else:
                changed.append(call.positional[1])
                self.put(value.box, "complete", False)
            self.put(value.box, "items", tuple(changed))
            return NONE
        if name == "pop" and items:
            self.put(value.box, "items", items[:-1] if first is None else items)
            if first is not None:
                self.put(value.box, "complete", False)
            return items[-1]
        if name == "copy":
            return sequence(value.kind, items, value.complete, value.site)
        if name in ("reverse", "sort", "clear", "remove"):
            self.put(value.box, "complete", False)
            return NONE
        return self.unknown(node, f"the result of `{name}`", value, *call.values())

    def _collect_into(self, container: SequenceValue, value: Value, node: ast.AST) -> None:
        forwards, _ = taints((value,))
        if forwards and self.loops:
            self.sign(forwards, SignKind.COLLECTED, node)

    def _dict_method(self, value: DictValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        first = call.positional[0] if call.positional else None
        if name == "items":
            return IterationValue("items", (value,))
        if name == "keys":
            return value
        if name == "values":
            return sequence("list", tuple(value.items.values()), bool(value.box["complete"]))
        if name in ("get", "pop", "setdefault") and isinstance(first, Const):
            known = value.items.get(first.value)
            if known is not None:
                if name == "pop":
                    self.drop(value.items, first.value)
                return known
            default = call.positional[1] if len(call.positional) > 1 else NONE
            if name == "setdefault":
                self.put(value.items, first.value, default)
            return default if value.box["complete"] else self.unknown(node, "a key that may be there", default)
        if name == "update":
            if isinstance(first, DictValue):
                for key, item in first.items.items():
                    self.put(value.items, key, item)
            elif first is not None:
                self.put(value.box, "complete", False)
            for key_name, item in call.keywords.items():
                self.put(value.items, key_name, item)
            return NONE
        if name == "copy":
            return DictValue(Cells(value.items), Cells(value.box), value.site)
        return self.unknown(node, f"the result of `{name}`", value, *call.values())

    def _constant_method(self, value: Const, name: str, call: CallArguments) -> Value:
        method = getattr(value.value, name, None)
        if isinstance(value.value, str) and method is not None and name in _TEXT_METHODS:
            if all(isinstance(v, Const) for v in call.positional) and not call.keywords:
                given = [v.value for v in call.positional if isinstance(v, Const)]
                texts = [text for text in (value.value, *given) if isinstance(text, str)]
                if any(len(text) > TEXT_LIMIT for text in texts) or (name == "format" and WIDE.search(value.value)):
                    return Unknown("a long string")
                try:
                    result = method(*given)
                except Exception:
                    return Unknown("a method that fails")
                if isinstance(result, str | int | bool):
                    return const(result)
                if isinstance(result, list | tuple) and len(result) < 100:
                    return sequence("list", tuple(const(part) for part in result))
        return self.unknown(call.node, f"the result of `{name}`", *call.values())

    def isinstance_of(self, value: Value, cls: Value) -> bool | None:
        """`isinstance(value, cls)`; None when that is not known."""
        if isinstance(cls, SequenceValue):
            outcomes = [self.isinstance_of(value, item) for item in cls.items]
            if True in outcomes:
                return True
            return False if cls.complete and all(outcome is False for outcome in outcomes) else None
        if isinstance(value, Choice):
            results = {self.isinstance_of(option, cls) for option in value.options}
            return results.pop() if len(results) == 1 else None
        if isinstance(value, ModuleValue):
            return self._module_isinstance(value, cls)
        if isinstance(cls, ClassValue):
            if isinstance(value, ObjectValue):
                if cls in value.cls.mro:
                    return True
                return None if value.cls.unknown_base else False
            return None if isinstance(value, Unknown | LibraryObject) else False
        if isinstance(cls, External):
            return self._constant_isinstance(value, cls.name)
        return None

    def _constant_isinstance(self, value: Value, name: str) -> bool | None:
        if isinstance(value, Const):
            kinds = {"int": int, "float": float, "str": str, "bool": bool, "tuple": tuple}
            return isinstance(value.value, kinds[name]) if name in kinds else (False if "." in name else None)
        if isinstance(value, SequenceValue):
            return value.kind == name if name in ("list", "tuple", "set", "dict", "int", "str", "float") else None
        if isinstance(value, DictValue):
            return name == "dict" if name in ("list", "tuple", "set", "dict", "int", "str", "float") else None
        if isinstance(value, Tensor | ParameterValue):
            if canonical(name) == "torch.Tensor":
                return True
            # A field of a batch may be anything; what a model or an operation made is a tensor.
            return False if name in _PLAIN_TYPES and value_is_made(value) else None
        return None

    def _module_isinstance(self, value: ModuleValue, cls: Value) -> bool | None:
        if isinstance(cls, ClassValue):
            if value.cls is None:
                return False if value.known_library is None else None
            return True if cls in value.cls.mro else (None if value.cls.unknown_base else False)
        if not isinstance(cls, External):
            return None
        name = canonical(cls.name)
        if name == "torch.nn.Module":
            return True
        own = (
            value.name
            if value.cls is None
            else next((canonical(b) for b in value.cls.library_bases if canonical(b) in LAYERS), "")
        )
        if value.known_library is not None or (value.cls is not None and value.cls.unknown_base):
            return None
        if own == name:
            return True
        family = LAYERS[own].family if own in LAYERS else ""
        if name in _ABSTRACT_LAYERS:
            return family in _ABSTRACT_LAYERS[name] or own in _ABSTRACT_LAYERS[name]
        if name in LAYERS or name.startswith("torch.nn."):
            return name in _SUBCLASSES.get(own, ())
        return False if "." in name or name in _PLAIN_TYPES else None
