"""Calls of names from outside the project: torch's functions by table, other libraries by what may happen in them."""

from __future__ import annotations

import ast
from collections.abc import Callable

from modellint.facts.forward_use import Mode, SignKind
from modellint.facts.loss_use import OutputKind
from modellint.facts.training_loop import EventKind
from modellint.source.interpreter import module_notes
from modellint.source.interpreter.data import GENERATORS, Data
from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.loop_order import clipped, let_go, scaler_made, scheduler_made
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.modules import copied_tensor
from modellint.source.interpreter.notes import GRAD_SWITCHES
from modellint.source.interpreter.value_uses import ValueUses
from modellint.source.interpreter.values import (
    NONE,
    UNMOVED,
    Choice,
    Const,
    ContextValue,
    DeviceMove,
    DeviceValue,
    External,
    FunctionValue,
    LibraryObject,
    LoaderValue,
    ModuleValue,
    ObjectValue,
    OptimizerValue,
    ParametersOf,
    ParameterValue,
    SequenceValue,
    Tensor,
    Trail,
    Unknown,
    Value,
)
from modellint.source.torch_api.frameworks import KNOWN_MODELS, framework_of
from modellint.source.torch_api.functions import (
    ACTIVATIONS,
    CREATORS,
    DROPOUTS,
    INIT_FUNCTIONS,
    METRIC_OPS,
    SHAPE_OPS,
    TENSOR_METHODS,
)
from modellint.source.torch_api.layers import LAYERS
from modellint.source.torch_api.library_layers import LIBRARY_LAYERS
from modellint.source.torch_api.losses import LOSSES
from modellint.source.torch_api.names import canonical
from modellint.source.torch_api.optimizers import OPTIMIZERS, SCALERS, SCHEDULERS

_WRAPPERS = frozenset(
    {
        "torch.nn.DataParallel", "torch.nn.parallel.DataParallel", "torch.nn.parallel.DistributedDataParallel",
        "torch.compile", "torch.jit.script", "torch.jit.trace", "torch.nn.utils.weight_norm",
        "torch.nn.utils.parametrizations.weight_norm", "torch.nn.utils.spectral_norm",
        "torch.nn.utils.parametrizations.spectral_norm", "torch.nn.utils.parametrizations.orthogonal",
        "torch.nn.SyncBatchNorm.convert_sync_batchnorm", "torch.fx.symbolic_trace",
    }
)  # fmt: skip


# Library code that is handed a model and leaves its mode, device and gradients alone.
HARMLESS = (
    "torch.", "wandb", "torchinfo", "torchsummary", "logging", "tensorboard", "torchviz", "numpy", "json", "os", "sys",
    "time", "math", "matplotlib", "pickle", "pathlib", "collections", "typing", "itertools", "functools", "copy",
    "tqdm", "thop", "fvcore", "ptflops", "argparse", "warnings", "random", "mlflow",
)  # fmt: skip


_ATTRIBUTION = ("captum", "pytorch_grad_cam", "foolbox", "torchattacks", "shap")


_CLIP = frozenset(
    {"torch.nn.utils.clip_grad_norm_", "torch.nn.utils.clip_grad_value_", "torch.nn.utils.clip_grad_norm"}
)


_COMBINE = frozenset({"torch.cat", "torch.concat", "torch.concatenate", "torch.stack", "torch.hstack", "torch.vstack"})


_WEIGHT_FUNCTIONS = frozenset(
    ["linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "bilinear"]
)


READ_FROM_FILE = "what torch.load reads"
"""The reason of what comes out of a file, and of its parts."""


class TorchFunctions(Data, ValueUses):
    """Calls of library functions."""

    def unknown_call(self, function: Value, call: CallArguments, node: ast.AST) -> Value:
        """A call of something that was not followed."""
        values = call.values()
        forwards, losses = taints([function, *values])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "set_epoch":
                self.note_epoch_told(function)
            if node.func.attr in ("zero_grad", "zero_"):
                self.event(EventKind.ZERO_GRAD, node, everything=True, sure=False)
                return NONE
            if node.func.attr == "backward" and isinstance(function, Unknown):
                self._backward(function, node, call=call)
                return NONE
        if values:
            self._escape(values, node, harmless=False)
        if isinstance(node, ast.Call) and node not in self.records.not_followed:
            reason = function.reason if isinstance(function, Unknown) else "not a function that is known"
            self.not_followed(node, self.file.text.segment(node.func), reason or "not followed")
        if isinstance(function, Unknown) and not values and function.children is None:
            return function.child(("call",))
        return Unknown("a call that was not followed", forwards, losses)

    def _escape(self, values: list[Value], node: ast.AST, harmless: bool) -> None:
        """Values went into code that was not followed."""
        if harmless:
            return
        concerned: list[OptimizerValue] = []
        models: list[ModuleValue] = []
        everything = False
        flat = self._flat(values)
        for value in flat:
            kind = type(value)
            if kind is Unknown or kind is Const or kind is External:
                continue  # by far the most
            let_go(value)
            if isinstance(value, ModuleValue):
                self.lose_mode(value, node)
                for _, part in value.walk():
                    part.reads.add("*")
                    part.state["escaped"] = True
                models.append(value)
            elif isinstance(value, OptimizerValue):
                concerned.append(value)
            elif isinstance(value, ObjectValue):
                for inner in value.attrs.values():
                    if isinstance(inner, ModuleValue):
                        self.lose_mode(inner, node)
                        inner.reads.add("*")
                    elif isinstance(inner, OptimizerValue):
                        concerned.append(inner)
            elif isinstance(value, ParametersOf):
                models.extend(value.modules)
            elif isinstance(value, FunctionValue):
                self.release_closure(value)
            elif isinstance(value, LoaderValue | LibraryObject):
                self.records.data.escaped.append(value)
        forwards, losses = taints([value for value in flat if type(value) is not Unknown or value.live])
        for record in forwards:
            if record.grad is not False:
                record.escaped = True
        if losses:
            everything = True
            for loss in losses:
                loss.backwarded = loss.backwarded  # its fate is unknown: `escaped` of its forwards says so
        if concerned or models or everything:
            self.event(
                EventKind.UNKNOWN_CALL, node, optimizers=tuple(concerned), modules=tuple(models), everything=everything
            )

    def call_external(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        """A call of a name from outside the project."""
        known = canonical(name)
        torch = known.startswith("torch.")
        if known.endswith(".__init__") and call.positional and isinstance(call.positional[0], ModuleValue):
            return self._unbound_module_method("torch.nn.Module.__init__", call, node)
        if torch:
            self.note_torch_call(known, call, node, spelled=name)
        if known in LAYERS or known in LIBRARY_LAYERS:
            chosen = call.positional[0] if known in _WRAPPERS and call.positional else None
            if isinstance(chosen, Choice) and all(isinstance(option, ModuleValue) for option in chosen.options):
                parts = [option for option in chosen.options if isinstance(option, ModuleValue)]
                return self.join([self._wrap(part, node, known, call) for part in parts])
            layer = self.construct_layer(known, call, node)
            if known in _WRAPPERS and call.positional and isinstance(call.positional[0], ModuleValue):
                return self._wrap(call.positional[0], node, known, call)
            return layer
        if known in LOSSES:
            return self.call_loss(None, known, call, node)
        switched = self.switch_grad(known, call, node)
        if switched is not None:
            return switched
        if known in _WRAPPERS:
            first = call.positional[0] if call.positional else None
            if isinstance(first, ModuleValue) and known.startswith("torch.jit."):
                first.state["scripted"] = True
                return first
            if isinstance(first, ModuleValue):
                return (
                    first
                    if known.startswith(("torch.nn.utils", "torch.compile", "torch.nn.Sync"))
                    else self._wrap(first, node, known, call)
                )
            options = first.options if isinstance(first, Choice) else ()
            wrapped = [self._wrap(o, node, known, call) for o in options if isinstance(o, ModuleValue)]
            if known.endswith("DataParallel") and wrapped and len(wrapped) == len(options):
                return self.join(wrapped)
            return first if first is not None else External("functools.transparent")
        if known in OPTIMIZERS:
            return self._optimizer(known, call, node)
        if known in SCHEDULERS:
            return scheduler_made(self, known, call, node)  # type: ignore[arg-type]
        if known in SCALERS:
            return scaler_made(self, call, node)  # type: ignore[arg-type]
        if torch:
            source = call.positional[0] if call.positional else call.keywords.get("input")
            return self.value_made(known, source, self._torch_function(known, call, node), call, node)
        if known in KNOWN_MODELS:
            return self.library_model(known, node, KNOWN_MODELS[known], Mode.TRAIN)
        return self._library_call(known, call, node)

    def _wrap(self, module: ModuleValue, node: ast.AST, name: str, call: CallArguments) -> ModuleValue:
        """DataParallel and the like: another object whose forward is the inner model's."""
        wrapper = ModuleValue(self.new_key(), "DataParallel", None, self.site(node), None, {})
        wrapper.state["wrapped"] = module
        module.state["scattered"] = True
        wrapper.state["modes"] = module.state.get("modes", frozenset())
        wrapper.attrs["module"] = module
        wrapper.complete = False
        self.note_wrapped(wrapper, module, name, call)
        return wrapper

    def _library_call(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        values = call.values()
        forwards, losses = taints(values)
        if name.endswith(".from_pretrained"):
            spec = framework_of(name)
            if spec is not None and spec.name == "transformers":
                if any(part in name for part in ("Tokenizer", "Processor", "Config", "FeatureExtractor")):
                    return LibraryObject(name, self.site(node))
                model = self.library_model(name, node, KNOWN_MODELS.get("transformers.*"), Mode.EVAL)
                model.name = name.split(".")[-2]
                return model
        if name.startswith(_ATTRIBUTION):
            for value in values:
                if isinstance(value, ModuleValue):
                    value.state["attributed"] = True
        harmless = name.startswith(HARMLESS)
        if not harmless and any(isinstance(value, ModuleValue) for value in self._flat(values)):
            self.not_followed(node, self._callee(node), f"`{name}` is not in the project and takes the model")
        self._escape(values, node, harmless)
        last = name.rpartition(".")[2]
        dataset = self._dataset(name, call, node)
        if dataset is not None:
            return dataset
        if last[:1].isupper() or name in GENERATORS:
            return LibraryObject(name, self.site(node), self.library_arguments(name, call), forwards, losses)
        if forwards and not harmless:
            self.sign(forwards, SignKind.METRIC, node)
            if len(values) == 2 and not self.forwards:
                self.records.data.comparisons.append((self.site(node), values[0], values[1], self.loops))
        return Unknown(f"the result of `{name}`", forwards, losses)

    def switch_grad(self, name: str, call: CallArguments | None, node: ast.AST) -> ContextValue | None:
        """`no_grad` and its relatives, called or used as a decorator."""
        known = canonical(name)
        if known not in GRAD_SWITCHES:
            return None
        enabled = GRAD_SWITCHES[known]
        first = call.positional[0] if call is not None and call.positional else None
        if call is not None and first is None and call.keywords:
            first = next(iter(call.keywords.values()))
        if known == "torch.set_grad_enabled":
            enabled = self.truth(first) if first is not None else None
            self.put(self.flow, "grad", (enabled, self.site(node)))
            if isinstance(node, ast.Call):
                # It acts when it is called; as a context manager it is undone at the end of the block.
                return ContextValue("grad", enabled, self.site(node))
        elif known == "torch.inference_mode" and first is not None and not isinstance(first, FunctionValue):
            truth = self.truth(first)
            enabled = None if truth is None else not truth
        return ContextValue("grad", enabled, self.site(node))

    def enter_context(self, value: Value, node: ast.AST) -> tuple[Value, Callable[[], None] | None]:
        """`with set_grad_enabled(x)`: what it was before the call is unknown to it, so recording is restored to on."""
        if isinstance(value, ContextValue) and isinstance(node, ast.Call):
            function = self.eval(node.func) if isinstance(node.func, ast.Attribute | ast.Name) else None
            if isinstance(function, External) and canonical(function.name) == "torch.set_grad_enabled":
                return value, lambda: self.put(self.flow, "grad", (True, None))
        return super().enter_context(value, node)

    def _torch_function(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        values = call.values()
        first = call.positional[0] if call.positional else call.keywords.get("input")
        if name in ACTIVATIONS and first is not None:
            dim = call.get(1, "dim")
            return self.activated(first, ACTIVATIONS[name], node, self._callee(node), dim)
        if name in DROPOUTS and first is not None:
            self._functional_dropout(call, node)
            return self.through(first, node, self._callee(node))
        if name == "torch.autograd.Variable" and "requires_grad" in call.keywords and isinstance(first, Tensor):
            variable = copied_tensor(first)
            module_notes.note_created(self, variable, name, call)
            return variable
        if name in SHAPE_OPS and first is not None:
            return self.through(first, node, self._callee(node))
        if name in INIT_FUNCTIONS:
            return self._initialise(name, call, node)
        if name in ("torch.nn.Parameter", "torch.nn.parameter.Parameter"):
            return self._parameter_made(call)
        if name in ("torch.device",):
            return self._device(call, node)
        if name in _CLIP:
            return clipped(self, name, call, node)  # type: ignore[arg-type]
        if name in _COMBINE and first is not None:
            return self._combined(first, node)
        data = self.data_call(name, call, node)
        if data is not None:
            return data
        if name in ("torch.autograd.grad", "torch.autograd.functional.jacobian", "torch.autograd.functional.hessian"):
            for record in taints(values)[0]:
                record.needs_gradient = True
            self._backward(first if first is not None else NONE, node, steps=False)
            return Unknown("gradients", *taints(values))
        if name == "torch.autograd.backward" and first is not None:
            self._backward(first, node)
            return NONE
        if name == "torch.distributed.autograd.backward" and len(call.positional) > 1:
            self._backward(call.positional[1], node)
            return NONE
        if name in ("torch.utils.checkpoint.checkpoint",) and first is not None:
            inner = CallArguments(node)
            inner.positional, inner.positional_nodes = call.positional[1:], call.positional_nodes[1:]
            return self.call(first, inner, node)
        if name in ("torch.save", "torch.nn.Module.load_state_dict"):
            self._method_as_value(name, call, node)
            return NONE
        if name == "torch.load":
            return Unknown(READ_FROM_FILE)
        if name.startswith("torch.nn.Module.") and isinstance(first, ModuleValue):
            return self._unbound_module_method(name, call, node)
        if name in CREATORS:
            made = self._created(name, call)
            module_notes.note_created(self, made, name, call)
            return made
        if name in ("torch.set_default_device", "torch.set_default_tensor_type"):
            self.put(self.flow, "default_device", name)
            return NONE
        if name.startswith("torch.nn.functional."):
            return self._functional(name, call, node)
        if name.startswith("torch.Tensor.") and isinstance(first, Tensor | ParameterValue):
            inner = CallArguments(node)
            inner.positional, inner.positional_nodes = call.positional[1:], call.positional_nodes[1:]
            inner.keywords = call.keywords
            return self.call_method(first, name.rpartition(".")[2], inner, node)
        forwards, losses = taints(values)
        if name.rpartition(".")[2] in METRIC_OPS and forwards:
            self.sign(forwards, SignKind.METRIC, node)
        if name.startswith(("torch.cuda.", "torch.backends", "torch.distributed", "torch.version", "torch.jit.is_")):
            return self._stable_unknown(name, node)
        if name.startswith(("torch.optim.swa_utils.AveragedModel",)) and isinstance(first, ModuleValue):
            return self.copy(first, node)
        if name.startswith(("torch.optim.swa_utils.update_bn",)):
            return NONE
        tensors = [value for value in values if isinstance(value, Tensor)]
        if tensors or name == "torch.einsum" or name.rpartition(".")[2] in TENSOR_METHODS:
            result = Tensor(forwards=forwards, losses=losses)
            if len(tensors) == 1 and len(values) == 1:
                result.producer, result.producer_text = tensors[0].producer, tensors[0].producer_text
                result.device = tensors[0].device
            if tensors:
                result.model, result.model_site = tensors[0].model, tensors[0].model_site
            return result
        last = name.rpartition(".")[2]
        if last[:1].isupper():
            return LibraryObject(name, self.site(node), {}, forwards, losses)
        return Unknown(f"the result of `{name}`", forwards, losses)

    _stable: dict[str, Unknown]

    def _stable_unknown(self, name: str, node: ast.AST) -> Unknown:
        """The same question (`torch.cuda.is_available()`) has the same answer all the time."""
        known = self.__dict__.setdefault("_stable", {})
        if name not in known:
            known[name] = Unknown(f"the result of `{name}`", text=name)
        result: Unknown = known[name]
        return result

    def _functional_dropout(self, call: CallArguments, node: ast.AST) -> None:
        if not self.forwards:
            return
        training = call.get(2, "training")
        rate = call.get(1, "p")
        if isinstance(rate, Const) and not rate.value:
            return
        module = self.frame.module or self.forwards[-1].root
        if training is None or (isinstance(training, Const) and training.value):
            return  # the same in both modes
        certain = rate is None or isinstance(rate, Const)
        self.forwards[-1].mode_reads.setdefault(id(module), (module, "dropout that reads `self.training`", certain))

    def _functional(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        values = call.values()
        forwards, losses = taints(values)
        first = call.positional[0] if call.positional else None
        result = Tensor(forwards=forwards, losses=losses)
        last = name.rpartition(".")[2]
        if isinstance(first, Tensor):
            result.device = first.device
            result.model, result.model_site = first.model, first.model_site
        weight = call.get(1, "weight")
        if last in _WEIGHT_FUNCTIONS and isinstance(weight, ParameterValue) and weight.targets:
            module, attribute = weight.targets[0]
            result.kind = OutputKind.LOGITS
            result.maker, result.maker_site = self._callee(node), self.site(node)
            result.trail = Trail(self.site(node), result.maker, None, 1)
            result.producer, result.producer_text = (module.key, attribute), f"output of `{self._callee(node)}`"
        elif last in _WEIGHT_FUNCTIONS or "norm" in last or "attention" in last:
            result.producer = None
        elif isinstance(first, Tensor) and "pool" in last:
            result.producer, result.producer_text = first.producer, first.producer_text
        return result

    def _created(self, name: str, call: CallArguments) -> Value:
        last = name.rpartition(".")[2]
        fill: float | None = None
        if last in ("ones", "ones_like"):
            fill = 1.0
        elif last in ("zeros", "zeros_like"):
            fill = 0.0
        elif last in ("full", "full_like"):
            value = call.get(1, "fill_value")
            fill = float(value.value) if isinstance(value, Const) and isinstance(value.value, int | float) else None
        device = call.keywords.get("device")
        forwards, losses = taints(call.values())
        move: DeviceMove | None = UNMOVED if self.flow.get("default_device") is None else None
        like = call.positional[0] if call.positional else None
        if last.endswith("_like"):
            move = like.device if isinstance(like, Tensor) else None
        elif last in ("tensor", "as_tensor", "from_numpy", "asarray"):
            move = like.device if isinstance(like, Tensor) else UNMOVED
        if device is not None:
            move = self.device_of(device)
        dummy = "dummy" if last in ("randn", "rand", "ones", "zeros", "empty", "randint", "full") else None
        return Tensor(
            forwards=forwards, losses=losses, origin=dummy, device=move, fill=fill, random=last in ("rand", "randn")
        )

    def _parameter_made(self, call: CallArguments) -> Value:
        first = call.positional[0] if call.positional else call.keywords.get("data")
        fill = first.fill if isinstance(first, Tensor) else None
        random = isinstance(first, Tensor) and first.random
        wanted = call.get(1, "requires_grad")
        return ParameterValue((), None, fill, random, trainable=wanted is None or self.truth(wanted) is True)

    def _device(self, call: CallArguments, node: ast.AST) -> Value:
        first = call.positional[0] if call.positional else call.keywords.get("type")
        options = first.options if isinstance(first, Choice) else (first,)
        names = [o.value for o in options if isinstance(o, Const) and isinstance(o.value, str)]
        if len(names) != len(options):
            return Unknown("a device", text="device")
        text = next((name for name in names if not name.startswith("cpu")), names[0])
        return DeviceValue(text, any(not name.startswith("cpu") for name in names))

    def _combined(self, first: Value, node: ast.AST) -> Value:
        if isinstance(first, SequenceValue) and first.items:
            tensors = [item for item in first.items if isinstance(item, Tensor)]
            forwards, losses = taints(first.items)
            if len(tensors) == len(first.items):
                kinds = {t.kind for t in tensors}
                head = tensors[0]
                result = copied_tensor(head)
                result.forwards, result.losses = forwards, losses
                result.classes = None
                if len({repr(t.producer) for t in tensors}) > 1:
                    result.producer = (
                        ("cat", *sorted(repr(t.producer) for t in tensors))
                        if all(t.producer is not None for t in tensors)
                        else None
                    )
                    result.producer_text = "several tensors put together"
                if len(kinds) > 1 or head.kind is OutputKind.DISTRIBUTION:
                    result.kind, result.maker, result.trail = OutputKind.UNKNOWN, None, None
                return result
            return Tensor(forwards=forwards, losses=losses)
        return Tensor(forwards=taints((first,))[0], losses=taints((first,))[1])

    def _unbound_module_method(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        module = call.positional[0]
        assert isinstance(module, ModuleValue)
        inner = CallArguments(node)
        inner.positional, inner.positional_nodes = call.positional[1:], call.positional_nodes[1:]
        inner.keywords, inner.keyword_nodes = call.keywords, call.keyword_nodes
        method = name.rpartition(".")[2]
        return self.call_module_method(module, f"super.{method}" if method == "__init__" else method, inner, node)

    def _initialise(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        spec = INIT_FUNCTIONS[name]
        target = call.positional[0] if call.positional else call.keywords.get("tensor")
        value: float | None = None
        if spec.constant is not None:
            value = spec.constant
        elif spec.parameter is not None:
            given = call.get(spec.position, spec.parameter)
            value = float(given.value) if isinstance(given, Const) and isinstance(given.value, int | float) else None
        for option in self._flat([target]) if target is not None else []:
            if isinstance(option, ParameterValue):
                self.fill(option, value, node)
        return target if target is not None else NONE
