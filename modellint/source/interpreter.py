"""The abstract interpreter: what torch's functions and methods do to values, and how a file is entered.

Example. For

    net = Net(use_sequential=False).to(device)
    loss = nn.BCEWithLogitsLoss()(net(x), y)

it runs `Net.__init__` with `use_sequential=False`, which gives a module instance with attributes; `.to` moves it;
`net(x)` runs `Net.forward` of this instance, where `if self.use_sequential:` is decided, and gives a tensor that knows
it came out of a sigmoid at `models.py:16`; the loss call notes this tensor. Nothing here says whether that is wrong.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from modellint.facts.forward_use import Mode, SignKind
from modellint.facts.loss_use import Expects, OutputKind
from modellint.facts.training_loop import EventKind
from modellint.source.expressions import CallArguments, positional
from modellint.source.machine import Frame, Mark, OutOfBudget, taints
from modellint.source.modules import Modules, _copied
from modellint.source.naming import says_chance
from modellint.source.project import SourceFile
from modellint.source.records import (
    DiscardedRecord,
    FillRecord,
    ForwardRecord,
    LossRecord,
    TorchCallRecord,
    TrainedRecord,
)
from modellint.source.torch_api.frameworks import KNOWN_MODELS, framework_of
from modellint.source.torch_api.functions import (
    ACTIVATIONS,
    CREATORS,
    DROPOUTS,
    INIT_FUNCTIONS,
    METRIC_OPS,
    SHAPE_OPS,
    SIGNATURES,
    TENSOR_METHODS,
)
from modellint.source.torch_api.layers import LAYERS
from modellint.source.torch_api.losses import LOSSES
from modellint.source.torch_api.names import canonical
from modellint.source.torch_api.optimizers import OPTIMIZERS, SCALERS, SCHEDULERS
from modellint.source.values import (
    FALSE,
    NONE,
    UNMOVED,
    BoundMethod,
    Cells,
    Choice,
    ClassValue,
    Const,
    ContextValue,
    DeviceMove,
    DeviceValue,
    DictValue,
    External,
    FunctionValue,
    IterationValue,
    LibraryObject,
    LoaderValue,
    Method,
    ModeEntry,
    ModuleValue,
    ObjectValue,
    OptimizerValue,
    ParametersOf,
    ParameterValue,
    RangeValue,
    ScalerValue,
    SchedulerValue,
    Scope,
    SequenceValue,
    Tensor,
    Trail,
    Unknown,
    Value,
    const,
    sequence,
)

_GRAD_SWITCHES = {
    "torch.no_grad": False, "torch.inference_mode": False, "torch.enable_grad": True, "torch.set_grad_enabled": None,
    "torch.autograd.no_grad": False, "torch.autograd.enable_grad": True, "torch.autograd.inference_mode": False,
}  # fmt: skip
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
_HARMLESS = (
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
_TENSOR_ATTRIBUTES = frozenset({"shape", "grad", "dtype", "requires_grad", "ndim", "is_cuda", "grad_fn", "_version"})
_NUMBER_METHODS = frozenset({"item", "tolist", "numpy", "size", "dim", "numel", "nelement", "data_ptr", "stride"})
_IN_PLACE_RANDOM = frozenset(
    [
        "normal_",
        "uniform_",
        "random_",
        "exponential_",
        "bernoulli_",
        "cauchy_",
        "geometric_",
        "log_normal_",
        "xavier_uniform_",
    ]
)
_SPLIT_NAMES = frozenset({"test", "val", "valid", "validation", "eval", "dev"})


class Interpreter(Modules):
    """The whole machine. `run_file` is its entry point."""

    # ---------------------------------------------------------------- entry points

    def run_file(self, file: SourceFile) -> None:
        """Run a file as a script, then enter every function and class of it that nothing called."""
        self.load(file)
        self.file = file
        self.records = file.records
        mark = self.mark()
        self.frames = [Frame("", file.scope, mark, 0)]
        self.trace = []
        for block in file.main_blocks:
            self._bounded(file, block, self.SCRIPT_BUDGET, lambda block=block: self.run_block(block.body))  # type: ignore[misc]
        self._enter_what_nothing_called(file)
        self.frames = []
        self._before = mark

    _before: Mark = (0, 0)

    def forget(self) -> None:
        """Undo what the last file did to others, so that each file is run from the same state."""
        self.take(self._before)

    def _enter_what_nothing_called(self, file: SourceFile) -> None:
        """Functions and classes, each with its share of a budget in proportion to the size of the file."""
        entries: list[tuple[ast.AST, Callable[[], None]]] = []
        classes = [value for value in file.scope.names.values() if isinstance(value, ClassValue) and value.file is file]
        # Models first: what they are shows without anybody who uses them, and they cost little.
        for cls in sorted(dict.fromkeys(classes), key=lambda c: not c.is_module):
            entries.append((cls.node, lambda c=cls: self._enter_class(file, c)))  # type: ignore[misc]
        for function in file.functions:
            if function.owner is None:
                entries.append((function.node, lambda f=function: self._enter(file, f, None)))  # type: ignore[misc]
        left = self.LIBRARY_FLOOR + self.LIBRARY_STEPS * len(file.text.lines)
        if file.in_test_suite:
            left //= 2  # tests enter the same code over and over
        for index, (node, enter) in enumerate(entries):
            if node in file.entered:
                continue
            self._share = min(self.SCRIPT_BUDGET, max(self.LEAST_SHARE, 2 * left // (len(entries) - index)))
            before = self.total_steps
            enter()
            left -= self.total_steps - before
            if left <= 0:
                self.not_followed(node, file.text.path, "the budget of this file is used up")
                break

    SCRIPT_BUDGET = 60_000
    """Steps for the top level of a file, and for its main block."""
    LIBRARY_FLOOR = 6_000
    LIBRARY_STEPS = 20
    """Steps for functions and classes that nothing calls: a floor, and so many a line."""
    LEAST_SHARE = 1_000
    _share = 0
    total_steps = 0

    def _bounded(self, file: SourceFile, node: ast.AST, budget: int, run: Callable[[], object]) -> None:
        self.steps, self.budget = 0, budget
        frames = list(self.frames)
        kept = self.records.sizes()
        try:
            run()
        except OutOfBudget:
            # What was not followed to its end is not judged.
            self.records.cut(kept)
            self.frames = frames
            self.file = file
            self.forwards, self.path, self.undecided, self.loops, self.loop_exits = [], (), 0, (), []
            self.not_followed(node, file.text.path, "the budget of this entry point is used up")
        finally:
            self.total_steps += self.steps

    def _enter(self, file: SourceFile, function: FunctionValue, receiver: Value | None) -> None:
        """Enter a function that nobody calls, with its annotations and UNKNOWN."""
        mark = self.mark()
        call = CallArguments(function.node)
        arguments = function.node.args
        names = [*arguments.posonlyargs, *arguments.args]
        if receiver is not None or (function.owner is not None and names and names[0].arg in ("self", "cls")):
            names = names[1:]
        is_forward = function.name == "forward" and isinstance(receiver, ModuleValue)
        with_default = {a.arg for a in names[len(names) - len(function.defaults) :]} if function.defaults else set()
        for argument in names:
            value = self._parameter(function, argument, is_forward and argument.arg not in with_default)
            call.positional.append(value)
            call.positional_nodes.append(argument)
        for argument in arguments.kwonlyargs:
            call.keywords[argument.arg] = self._parameter(function, argument, False)
            call.keyword_nodes[argument.arg] = argument
        call.open = True
        if is_forward and isinstance(receiver, ModuleValue):
            self._bounded(file, function.node, self._share, lambda: self.call_module(receiver, call, function.node))
        else:
            self._bounded(
                file, function.node, self._share, lambda: self.call_function(function, receiver, call, function.node)
            )
        self.take(mark)

    def _parameter(self, function: FunctionValue, argument: ast.arg, tensor: bool) -> Value:
        if tensor and argument.annotation is None:
            return Tensor()
        annotation = argument.annotation
        if annotation is None or isinstance(annotation, ast.Constant):
            return Unknown(f"`{argument.arg}` of {function.name}, which nobody calls", text=argument.arg)
        if isinstance(annotation, ast.Attribute | ast.Name):
            frame = Frame("", function.closure, self.mark(), self.undecided)
            self.frames.append(frame)
            self.steps, self.budget = 0, 100
            file, self.file = self.file, function.file
            try:
                kind = self.eval(annotation)
            finally:
                self.frames.pop()
                self.file = file
            if isinstance(kind, External):
                name = canonical(kind.name)
                if name == "torch.Tensor":
                    return Tensor()
                if name in OPTIMIZERS or name == "torch.optim.Optimizer":
                    short = name.rpartition(".")[2]
                    return OptimizerValue(
                        self.new_key(), "" if short == "Optimizer" else short, argument.arg, (), False, None
                    )
                if name in LOSSES and name in LAYERS:
                    return self.construct_layer(name, positional(argument), argument)
        return Unknown(f"`{argument.arg}` of {function.name}, which nobody calls", text=argument.arg)

    def _enter_class(self, file: SourceFile, cls: ClassValue) -> None:
        methods = [f for f in cls.attrs.values() if isinstance(f, FunctionValue) and f.owner is cls]
        fresh = [f for f in methods if f.node not in file.entered]
        if not fresh:
            return
        mark = self.mark()
        receiver = self._outside_instance(file, cls)
        forward = cls.lookup("forward")
        if cls.is_module and isinstance(forward, FunctionValue) and forward.node not in file.entered:
            self._enter(file, forward, receiver)
        for function in fresh:
            if function.node not in file.entered and function.name != "__init__":
                decorated = any(isinstance(d, External) and d.name == "staticmethod" for d in function.decorators)
                self._enter(file, function, None if decorated else receiver)
        self.take(mark)

    def _outside_instance(self, file: SourceFile, cls: ClassValue) -> Value:
        """An instance as nobody in the project makes it: every argument UNKNOWN."""
        call = CallArguments(cls.node)
        init = cls.lookup("__init__")
        if isinstance(init, FunctionValue):
            arguments = init.node.args
            for argument in [*arguments.posonlyargs, *arguments.args][1:]:
                call.positional.append(self._parameter(init, argument, False))
                call.positional_nodes.append(argument)
            for argument in arguments.kwonlyargs:
                call.keywords[argument.arg] = self._parameter(init, argument, False)
                call.keyword_nodes[argument.arg] = argument
            if arguments.vararg or arguments.kwarg:
                call.open = True
        result: list[Value] = []
        self._bounded(file, cls.node, self._share, lambda: result.append(self.construct(cls, call, cls.node)))
        if not result:
            return Unknown("a constructor that was not followed")
        if isinstance(result[0], ModuleValue):
            for _, part in result[0].walk():
                part.from_outside = True
                part.state["modes"] = frozenset({ModeEntry(Mode.UNKNOWN, None, "", True, frozenset())})
        return result[0]

    # ---------------------------------------------------------------- what a call means

    def unknown_call(self, function: Value, call: CallArguments, node: ast.AST) -> Value:
        """A call of something that was not followed."""
        values = call.values()
        forwards, losses = taints([function, *values])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("zero_grad", "zero_"):
                self.event(EventKind.ZERO_GRAD, node, everything=True)
                return NONE
            if node.func.attr == "backward" and isinstance(function, Unknown):
                self._backward(function, node)
                return NONE
        if values:
            self._escape(values, node, harmless=False)
        if isinstance(node, ast.Call):
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
        for value in self._flat(values):
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
        forwards, losses = taints(values)
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

    def _flat(self, values: list[Value]) -> list[Value]:
        result: list[Value] = []
        for value in values:
            if isinstance(value, SequenceValue):
                result.extend(value.items)
            elif isinstance(value, Choice):
                result.extend(value.options)
            elif isinstance(value, DictValue):
                result.extend(value.items.values())
            else:
                result.append(value)
        return result

    def call_external(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        """A call of a name from outside the project."""
        known = canonical(name)
        torch = known.startswith("torch.")
        if known.endswith(".__init__") and call.positional and isinstance(call.positional[0], ModuleValue):
            return self._unbound_module_method("torch.nn.Module.__init__", call, node)
        if torch:
            self.note_torch_call(known, call, node)
        if known in LAYERS:
            layer = self.construct_layer(known, call, node)
            if known in _WRAPPERS and call.positional and isinstance(call.positional[0], ModuleValue):
                return self._wrap(call.positional[0], node)
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
                    else self._wrap(first, node)
                )
            return first if first is not None else External("functools.transparent")
        if known in OPTIMIZERS:
            return self._optimizer(known, call, node)
        if known in SCHEDULERS:
            first = call.positional[0] if call.positional else call.keywords.get("optimizer")
            optimizer = first if isinstance(first, OptimizerValue) else None
            return SchedulerValue(known.rpartition(".")[2], optimizer, self.site(node))
        if known in SCALERS:
            return ScalerValue(self.site(node))
        if torch:
            return self._torch_function(known, call, node)
        if known in KNOWN_MODELS:
            return self.library_model(known, node, KNOWN_MODELS[known], Mode.TRAIN)
        return self._library_call(known, call, node)

    def _wrap(self, module: ModuleValue, node: ast.AST) -> ModuleValue:
        """DataParallel and the like: another object whose forward is the inner model's."""
        wrapper = ModuleValue(self.new_key(), "DataParallel", None, self.site(node), None, {})
        wrapper.state["wrapped"] = module
        module.state["scattered"] = True
        wrapper.state["modes"] = module.state.get("modes", frozenset())
        wrapper.attrs["module"] = module
        wrapper.complete = False
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
        harmless = name.startswith(_HARMLESS)
        self._escape(values, node, harmless)
        last = name.rpartition(".")[2]
        dataset = self._dataset(name, call, node)
        if dataset is not None:
            return dataset
        if last[:1].isupper():
            return LibraryObject(name, self.site(node), {}, forwards, losses)
        if forwards and not harmless:
            self.sign(forwards, SignKind.METRIC, node)
        return Unknown(f"the result of `{name}`", forwards, losses)

    def _dataset(self, name: str, call: CallArguments, node: ast.AST) -> Value | None:
        if not name.startswith(("torchvision.datasets.", "datasets.", "torchtext.datasets.", "torchaudio.datasets.")):
            return None
        held_out = None
        train = call.keywords.get("train")
        if isinstance(train, Const) and train.value is False:
            held_out = "train=False"
        split = call.keywords.get("split") or call.keywords.get("image_set")
        if isinstance(split, Const) and isinstance(split.value, str) and split.value.split("[")[0] in _SPLIT_NAMES:
            held_out = f'split="{split.value}"'
        return LoaderValue(None, self.site(node), held_out, on_cpu=name.startswith("torchvision."))

    def switch_grad(self, name: str, call: CallArguments | None, node: ast.AST) -> ContextValue | None:
        """`no_grad` and its relatives, called or used as a decorator."""
        known = canonical(name)
        if known not in _GRAD_SWITCHES:
            return None
        enabled = _GRAD_SWITCHES[known]
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

    # ---------------------------------------------------------------- torch functions

    def _torch_function(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        values = call.values()
        first = call.positional[0] if call.positional else call.keywords.get("input")
        if name in ACTIVATIONS and first is not None:
            dim = call.get(1, "dim")
            return self.activated(first, ACTIVATIONS[name], node, self._callee(node), dim)
        if name in DROPOUTS and first is not None:
            self._functional_dropout(call, node)
            return self.through(first, node, self._callee(node))
        if name in SHAPE_OPS and first is not None:
            return self.through(first, node, self._callee(node))
        if name in INIT_FUNCTIONS:
            return self._initialise(name, call, node)
        if name in ("torch.nn.Parameter", "torch.nn.parameter.Parameter"):
            return self._parameter_made(call)
        if name in ("torch.device",):
            return self._device(call, node)
        if name in _CLIP:
            modules = tuple(m for v in values if isinstance(v, ParametersOf) for m in v.modules)
            self.event(EventKind.CLIP, node, modules=modules)
            return Unknown("a norm")
        if name in _COMBINE and first is not None:
            return self._combined(first, node)
        if name == "torch.utils.data.DataLoader":
            return self._loader(call, node)
        if name in ("torch.utils.data.TensorDataset", "torch.utils.data.Subset", "torch.utils.data.ConcatDataset"):
            return self._tensor_dataset(name, call, node)
        if name == "torch.utils.data.random_split" and first is not None:
            part = LoaderValue(first, self.site(node), None, isinstance(first, LoaderValue) and first.on_cpu)
            exact, lengths = self.iterate(call.get(1, "lengths") or Unknown(""), node)
            count = len(lengths) if exact else 2
            return sequence(
                "tuple", tuple(LoaderValue(part.dataset, part.site, None, part.on_cpu) for _ in range(count))
            )
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
            return Unknown("what torch.load reads")
        if name.startswith("torch.nn.Module.") and isinstance(first, ModuleValue):
            return self._unbound_module_method(name, call, node)
        if name in CREATORS:
            return self._created(name, call)
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
        if tensors or name.rpartition(".")[2] in TENSOR_METHODS:
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

    def _callee(self, node: ast.AST) -> str:
        return self.file.text.segment(node.func) if isinstance(node, ast.Call) else "an activation"

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
        return ParameterValue((), None, fill, random)

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
                result = _copied(head)
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

    def _loader(self, call: CallArguments, node: ast.AST) -> Value:
        dataset = call.positional[0] if call.positional else call.keywords.get("dataset")
        on_cpu = "collate_fn" not in call.keywords and not call.open and self._on_cpu(dataset)
        held_out = dataset.held_out if isinstance(dataset, LoaderValue) else None
        return LoaderValue(dataset, self.site(node), held_out, on_cpu)

    def _on_cpu(self, dataset: Value | None) -> bool:
        """Whether the samples of a dataset are known to be CPU tensors."""
        if isinstance(dataset, LoaderValue):
            return dataset.on_cpu
        if isinstance(dataset, ObjectValue):
            for cls in dataset.cls.mro:
                source = cls.file.text.segment(cls.node)
                if "cuda" in source or ".to(" in source or "device" in source:
                    return False
            return dataset.cls.lookup("__getitem__") is not None
        if isinstance(dataset, SequenceValue) and dataset.complete:
            return all(self._on_cpu(i) or (isinstance(i, Tensor) and i.device is UNMOVED) for i in dataset.items)
        return False

    def _tensor_dataset(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name.endswith("TensorDataset"):
            on_cpu = bool(call.positional) and all(
                isinstance(v, Tensor) and v.device is UNMOVED for v in call.positional
            )
            return LoaderValue(None, self.site(node), None, on_cpu)
        first = call.positional[0] if call.positional else None
        held_out = first.held_out if isinstance(first, LoaderValue) else None
        return LoaderValue(first, self.site(node), held_out, self._on_cpu(first))

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

    # ---------------------------------------------------------------- losses

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
        record = LossRecord(self.site(node), name, self._callee(node), module, expects, value, target)
        self.records.losses.append(record)
        forwards, losses = taints(call.values())
        self.event(EventKind.LOSS, node)
        device = value.device if isinstance(value, Tensor) else None
        return Tensor(forwards=forwards, losses=losses | {record}, device=device)

    def _backward(self, value: Value, node: ast.AST, steps: bool = True) -> None:
        forwards, losses = taints((value,))
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
            self.event(EventKind.BACKWARD, node, modules=modules, everything=not modules)

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

    # ---------------------------------------------------------------- optimizers

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

    def _step(self, optimizer: OptimizerValue, node: ast.AST) -> None:
        self.event(EventKind.OPTIMIZER_STEP, node, optimizers=(optimizer,))
        self.records.steps.append((optimizer, self.site(node)))

    # ---------------------------------------------------------------- methods of known values

    def call_method(self, receiver: Value, name: str, call: CallArguments, node: ast.AST) -> Value:
        """`receiver.name(...)` for a receiver whose methods are known here."""
        if isinstance(receiver, Tensor):
            return self._tensor_method(receiver, name, call, node)
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
            return self._scaler_method(receiver, name, call, node)
        if isinstance(receiver, SchedulerValue):
            if name == "step":
                self.event(EventKind.SCHEDULER_STEP, node)
            return Unknown(f"the result of `{name}`")
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
            if name in ("zero_", "detach_", "fill_"):
                self.event(EventKind.ZERO_GRAD, node, modules=tuple(module for module, _ in owner.targets))
            return Unknown("a gradient")
        if isinstance(receiver, ParametersOf | IterationValue | RangeValue | LoaderValue):
            return self.unknown(node, f"the result of `{name}`", *call.values())
        return self.unknown_call(Unknown(f"`{name}` of {type(receiver).__name__}"), call, node)

    def _library_method(self, receiver: LibraryObject, name: str, call: CallArguments, node: ast.AST) -> Value:
        values = call.values()
        forwards, losses = taints([receiver, *values])
        framework = framework_of(receiver.name)
        self._escape(values, node, harmless=receiver.name.startswith(_HARMLESS))
        if forwards:
            # `metric.update(output, target)`: what the object says later came from these forwards.
            given, _ = taints(values)
            if framework is None or framework.name == "torchmetrics":
                self.sign(given, SignKind.METRIC, node)
            receiver.forwards |= forwards
            receiver.losses |= losses
        if name == "backward" and framework is not None and values:
            self._backward(values[0], node)
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
            self._backward(value, node)
            return NONE
        if full in ACTIVATIONS:
            return self.activated(value, ACTIVATIONS[full], node, f".{name}", call.get(0, "dim"))
        if name in ("to", "cuda", "cpu"):
            self.note_torch_call(f"torch.Tensor.{name}", call, node, value)
            return self._moved(value, name, call, node)
        if name == "detach":
            return self.through(value, node, ".detach()")
        if full in SHAPE_OPS:
            arguments = ", ".join(self.file.text.segment(n) for n in call.positional_nodes if hasattr(n, "lineno"))
            result = self.through(value, node, f".{name}({arguments[:30]})")
            if isinstance(result, Tensor) and name in ("reshape", "view", "flatten", "transpose", "permute"):
                result.classes = None
            return result
        if name in ("requires_grad_", "retain_grad"):
            for record in value.forwards:
                record.needs_gradient = True
            if isinstance(value.origin, LoaderValue):
                result = _copied(value)
                result.origin = "needs gradient"
                return result
            return value
        if name in METRIC_OPS or name in ("item", "tolist", "numpy"):
            if name in METRIC_OPS:
                self.sign(value.forwards, SignKind.METRIC, node)
            if name in _NUMBER_METHODS:
                return Unknown(f"the result of `.{name}()`", forwards, losses)
            return Tensor(forwards=forwards, losses=losses, device=value.device)
        if name in _NUMBER_METHODS:
            return Unknown(f"the result of `.{name}()`")
        if name in ("fill_", "zero_") and not value.forwards:
            given = call.get(0, "value") if name == "fill_" else const(0)
            result = _copied(value)
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
            part = _copied(value)
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

    def _scaler_method(self, scaler: ScalerValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        first = call.positional[0] if call.positional else None
        if name == "scale" and first is not None:
            forwards, losses = taints((first,))
            return Tensor(forwards=forwards, losses=losses)
        if name == "step":
            for option in self._flat([first]) if first is not None else []:
                if isinstance(option, OptimizerValue):
                    self._step(option, node)
        elif name == "unscale_":
            self.event(EventKind.UNSCALE, node)
        elif name == "update":
            self.event(EventKind.SCALER_UPDATE, node)
        return Unknown(f"the result of `{name}`")

    def _sequence_method(self, value: SequenceValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        first = call.positional[0] if call.positional else None
        items = value.items
        if name in ("append", "add", "appendleft") and first is not None:
            self._collect_into(value, first, node)
            self.note_first(value.box, first, node)
            if len(items) < 200:
                self.put(value.box, "items", (*items, first))
            if self.loops and not self._follows_each_round():
                self.put(value.box, "complete", False)
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

    def _follows_each_round(self) -> bool:
        """Whether the loops around run each of their rounds, so that what is appended is all there is."""
        return self.frame.module is not None or not self.loops or self.exact_rounds

    exact_rounds = True

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
                try:
                    result = method(*(v.value for v in call.positional if isinstance(v, Const)))
                except Exception:
                    return Unknown("a method that fails")
                if isinstance(result, str | int | bool):
                    return const(result)
                if isinstance(result, list | tuple) and len(result) < 100:
                    return sequence("list", tuple(const(part) for part in result))
        return self.unknown(call.node, f"the result of `{name}`", *call.values())

    # ---------------------------------------------------------------- isinstance

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
        if isinstance(value, Tensor | ParameterValue) and canonical(name) == "torch.Tensor":
            return True
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
        return False if "." in name else None

    # ---------------------------------------------------------------- records

    def discarded(self, value: Method, node: ast.Attribute) -> None:
        """A method named as a statement."""
        kind = receiver_kind(value.receiver)
        if isinstance(value.receiver, ModuleValue) and value.name in ("eval", "train"):
            # Meant as a call: what is done in the mode that it should have set is not judged again.
            self.lose_mode(value.receiver, node)
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
            self._method_as_value("load_state_dict", call, node)

    def note_torch_call(self, name: str, call: CallArguments, node: ast.AST, receiver: Value | None = None) -> None:
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
            delegating, self.framework(),
        )  # fmt: skip

    def _switches_grad_off(self, frame: Frame | None) -> bool:
        """Whether a function is decorated as one that only predicts."""
        for decorator in frame.function.decorators if frame is not None and frame.function is not None else ():
            name = canonical(decorator.name) if isinstance(decorator, External) else ""
            if _GRAD_SWITCHES.get(name) is False and name in _GRAD_SWITCHES:
                return True
            if isinstance(decorator, ContextValue) and decorator.what == "grad" and decorator.enabled is False:
                return True
        return False

    def _is_training_symbol(self, identity: object) -> bool:
        for frame in self.frames:
            symbols = frame.module.state.get("training", {}) if frame.module is not None else {}
            if any(id(symbol) == identity for symbol in symbols.values()):
                return True
        return False

    def tag_returned(self, function: FunctionValue, value: Value) -> None:
        """A forward made in this function leaves it as its result."""
        if not isinstance(value, Tensor | Unknown | SequenceValue | DictValue):
            return
        depth = sum(frame.function is not None for frame in self.frames)
        for record in taints((value,))[0]:
            if len(record.functions) == depth:
                record.signs.setdefault((SignKind.RETURNED, function.node), (record.site, function.name))


def _gradient_owner(value: Value) -> ParameterValue | None:
    """The parameter whose `.grad` (or `.grad.data`) this is."""
    while isinstance(value, Method):
        if value.name == "grad" and isinstance(value.receiver, ParameterValue):
            return value.receiver
        value = value.receiver
    return None


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

__all__ = ["FALSE", "DiscardedRecord", "Interpreter", "ModeEntry", "Scope", "receiver_kind"]
