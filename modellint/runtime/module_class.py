"""What live modules keep beside `parameters()`, `buffers()` and `modules()`, and what their classes make of nn.Module.

The attributes of every module below a root are looked at when the root is first called, after that call, and after its
second and third pass: no tensor is read, only names, types and identities.
"""

from __future__ import annotations

import inspect
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import nn

from modellint.facts.model import LayerRef
from modellint.facts.module_class import (
    HiddenModules,
    HiddenTensor,
    ModuleClass,
    Shadow,
    ShadowedMethod,
    StrayFlag,
    SuperInit,
)
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.runtime import class_source, definitions, source_tree, torch_internals
from modellint.runtime.call_site import shown
from modellint.runtime.observer import Observer
from modellint.runtime.session import (
    ModuleCall,
    ModuleRecord,
    OptimizerRecord,
    RootCall,
    RootRecord,
    Session,
    Window,
    layer_text,
)

_INTERNAL = frozenset(vars(nn.Module()))
_CONTAINERS: dict[type, str] = {
    list: "list", tuple: "tuple", dict: "dict", set: "set", frozenset: "set", deque: "list", OrderedDict: "dict",
    defaultdict: "dict",
}  # fmt: skip
_MOST_ELEMENTS = 1000
_MOST_DEPTH = 3
_LAST_LOOK = 3
"""After so many passes the attributes are not looked at again."""

_FLAG = "requires_grad"
_MODE_NAMES = frozenset({"mode", "training", "is_training", "train", "is_train", "flag", "m", "_", "b", "enabled"})
_PLAIN_CALLS = ("parameters", "children", "modules", "buffers", "state_dict")
_LEFT_BEHIND = ("cpu", "meta")


@dataclass(slots=True, eq=False)
class _Modules:
    """Modules in one container attribute."""

    container: str
    ref: weakref.ref[nn.Module]
    """The first of them that is not registered."""
    text: str
    kind: str
    keys: frozenset[int]
    frozen: bool
    called: bool = False
    called_with_grad: bool = False
    registered: bool = False
    trained: bool = False


@dataclass(slots=True, eq=False)
class _Tensor:
    """One tensor beside the parameters and buffers."""

    container: str
    ref: weakref.ref[torch.Tensor]
    shape: tuple[int, ...]
    version: int
    trainable: bool
    leaf: bool
    device: str
    module_device: str
    registered: bool = False
    trained: bool = False
    kept: bool = False
    """It was still there after a pass."""
    gradient: bool = False


@dataclass(slots=True, eq=False)
class _Flag:
    path: str
    attribute: str
    on_parameter: bool
    value: bool
    parameters: int
    cls: type


@dataclass(slots=True, eq=False)
class _Look:
    """What was found in one root."""

    root: RootRecord
    modules: dict[tuple[str, str], _Modules] = field(default_factory=dict)
    tensors: dict[tuple[str, str], _Tensor] = field(default_factory=dict)
    flags: dict[tuple[str, str], _Flag] = field(default_factory=dict)
    values: dict[tuple[str, str], str] = field(default_factory=dict)
    """Attributes that hide a method of nn.Module: the type of the value."""
    still_training: dict[str, str] = field(default_factory=dict)
    """By the path of a module with a `train` of its own: a layer below it in train mode while the root was in eval."""


class ModuleClassObserver(Observer):
    """Makes a ModuleClass of every module in which something is to be said."""

    makes = (ModuleClass,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._looks: dict[int, _Look] = {}
        self._hidden: dict[int, list[_Modules]] = {}
        """By the id of a module in a plain container."""

    def root_registered(self, root: RootRecord, module: nn.Module) -> None:
        self._looks[root.key] = look = _Look(root)
        self._look(look, entry=True)

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        look = self._looks.get(call.root.key)
        if look is not None and not call.training and len(look.still_training) < 8:
            _see_training(look)

    def root_ends(self, call: RootCall, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if call.root.calls == 1 and call.root.key in self._looks:
            self._look(self._looks[call.root.key], entry=False)

    def module_begins(self, call: ModuleCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        if call.record is not None or not self._hidden:
            return
        for hidden in self._hidden.get(call.key, ()):
            hidden.called = True
            hidden.called_with_grad = hidden.called_with_grad or call.grad

    def pass_ended(self, root: RootRecord, record: OptimizerRecord, window: Window) -> None:
        look = self._looks.get(root.key)
        if look is not None and root.passes <= _LAST_LOOK:
            self._look(look, entry=False)
            for tensor in look.tensors.values():
                live = tensor.ref()
                if live is not None and live.is_leaf:
                    tensor.gradient = tensor.gradient or live.grad is not None

    def closing(self) -> None:
        for look in self._looks.values():
            self._look(look, entry=False)

    # What there is

    def _look(self, look: _Look, *, entry: bool) -> None:
        """Read the attributes of every module of a root that is still alive."""
        registered = self._registered()
        for record in look.root.modules:
            module = record.ref()
            if module is None or record.opaque:
                continue
            for name, value in vars(module).items():
                if name in _INTERNAL:
                    continue
                if type(value) is bool:
                    _note_flag(look, record, module, name, value)
                elif issubclass(type(value), torch.Tensor):
                    self._note_tensor(look, record, name, "", value, entry=entry)
                elif type(value) in _CONTAINERS:
                    self._note_container(look, record, name, value, registered, entry=entry)
                if name in _PLAIN_CALLS or name in ("train", "eval"):
                    if not callable(value):
                        look.values[record.path, name] = type(value).__name__
            for parameter in record.own:
                tensor = parameter.ref()
                for name, value in vars(tensor).items() if tensor is not None else ():
                    if type(value) is bool and tensor is not None and tensor.requires_grad is not value:
                        if _is_typo(name) and not hasattr(type(tensor), name):
                            flag = _Flag(parameter.name, name, True, value, 1, type(tensor))
                            look.flags.setdefault((parameter.name, name), flag)
        self._note_holders(look)

    def _registered(self) -> set[int]:
        """Ids of the modules that are registered below any root."""
        return {
            key
            for root in self.session.roots.values()
            for key, record in root.by_id.items()
            if record.ref() is not None
        }

    def _note_container(
        self, look: _Look, record: ModuleRecord, name: str, value: Any, registered: set[int], *, entry: bool
    ) -> None:
        kind = _CONTAINERS[type(value)]
        modules: list[nn.Module] = []
        for element in _elements(value):
            if issubclass(type(element), nn.Module):  # never `isinstance`: a proxy would run code
                modules.append(element)
            elif issubclass(type(element), torch.Tensor) and (record.path, name) not in look.tensors:
                self._note_tensor(look, record, name, kind, element, entry=entry)
        if not modules:
            return
        outside = [module for module in modules if id(module) not in registered and _has_parameters(module)]
        known = look.modules.get((record.path, name))
        if not outside:
            if known is not None:
                known.registered = True
            return
        if known is None:
            known = look.modules[record.path, name] = _Modules(
                kind,
                weakref.ref(outside[0]),
                layer_text(outside[0]),
                type(outside[0]).__name__,
                frozenset(id(module) for module in outside),
                all(not p.requires_grad for module in outside for p in module.parameters()),
            )
            for key in known.keys:
                self._hidden.setdefault(key, []).append(known)

    def _note_tensor(
        self, look: _Look, record: ModuleRecord, name: str, container: str, tensor: torch.Tensor, *, entry: bool
    ) -> None:
        known = look.tensors.get((record.path, name))
        if known is not None:
            known.kept = known.ref() is tensor and not entry
            return
        # What appears later is a cache of forward. A tensor without dimensions works on every device.
        if not entry or not torch_internals.is_plain(tensor) or tensor.layout is not torch.strided:
            return
        if not tensor.requires_grad and (tensor.device.type not in _LEFT_BEHIND or not tensor.dim()):
            return
        module = record.ref()
        owned = list(module.parameters()) if module is not None else []
        devices = {str(parameter.device) for parameter in owned}
        storage = _storage(tensor)
        look.tensors[record.path, name] = _Tensor(
            container,
            weakref.ref(tensor),
            tuple(tensor.shape),
            tensor._version,
            tensor.requires_grad,
            tensor.is_leaf,
            str(tensor.device),
            devices.pop() if len(devices) == 1 else "",
            any(p is tensor or (storage and _storage(p) == storage) for p in _all_parameters(look.root)),
        )

    def _note_holders(self, look: _Look) -> None:
        """What an optimizer holds, or the program changes by hand, is not forgotten."""
        for hidden in look.modules.values():
            module = hidden.ref()
            if module is not None and not hidden.trained:
                first = next(iter(module.parameters()), None)
                hidden.trained = first is not None and self._held(first)
        for tensor in look.tensors.values():
            live = tensor.ref()
            if live is not None:
                tensor.trained = tensor.trained or live._version != tensor.version or self._held(live)

    def _held(self, tensor: torch.Tensor) -> bool:
        return any(optimizer.holds(tensor) for optimizer in self.session.optimizers.values())

    # Facts

    def facts(self) -> Iterator[object]:
        for look in self._looks.values():
            root = look.root
            if root.opaque:
                self.session.out_of_sight(root.text(), "its forward is not seen layer by layer", "unregistered-module")
            for record in root.modules:
                hidden = tuple(self._hidden_modules(look, record))
                tensors = tuple(self._hidden_tensors(look, record))
                flags = tuple(self._flags(look, record))
                shadowed = tuple(self._shadowed(look, record))
                if hidden or tensors or flags or shadowed:
                    yield ModuleClass(
                        name=record.kind,
                        place=self._place(root, record),
                        init_place=None,
                        bases="",
                        super_init=SuperInit.UNKNOWN,
                        super_place=None,
                        first_registration=None,
                        first_registration_place=None,
                        hidden=hidden,
                        tensors=tensors,
                        flags=flags,
                        shadowed=shadowed,
                        run=RunEvidence(root.calls, root.calls, root.first_step, "forwards", root=root.key),
                    )

    def _place(self, root: RootRecord, record: ModuleRecord, path: str | None = None) -> Span:
        """The class where it is the user's, else the layer's definition, else the first forward."""
        found = definitions.class_place(record.cls) if path is None else None
        found = found or definitions.place_of(self.session, root, record.path if path is None else path)
        if found is None and root.site is not None:
            found = root.site.span()
        return found or Span("", 1, 1, 1, 1)

    def _attribute(self, root: RootRecord, record: ModuleRecord, name: str) -> Span:
        return definitions.attribute_place(record.cls, [name]) or self._place(root, record)

    def _hidden_modules(self, look: _Look, record: ModuleRecord) -> Iterator[HiddenModules]:
        for (path, name), hidden in look.modules.items():
            if path != record.path:
                continue
            fills = class_source.fills(record.cls, name)
            place = fills[0].span() if fills else self._attribute(look.root, record, name)
            given = bool(fills) and all(fill.given() for fill in fills)
            only_without_grad = hidden.called and not hidden.called_with_grad
            yield HiddenModules(
                attribute=name,
                place=place,
                container=hidden.container,
                element=LayerRef(f"{path}.{name}" if path else name, hidden.text, hidden.kind, place),
                element_place=place,
                has_parameters=True,
                used_in_forward=hidden.called,
                registered_later=hidden.registered,
                hidden_on_purpose=given or hidden.trained or hidden.frozen or only_without_grad,
            )

    def _hidden_tensors(self, look: _Look, record: ModuleRecord) -> Iterator[HiddenTensor]:
        for (path, name), tensor in look.tensors.items():
            if path != record.path or not (tensor.kept or tensor.container):
                continue
            yield HiddenTensor(
                attribute=name,
                place=self._attribute(look.root, record, name),
                container=tensor.container,
                shape=tensor.shape,
                trainable=tensor.trainable,
                leaf=tensor.leaf,
                used_in_forward=tensor.gradient if tensor.trainable and tensor.leaf else
                class_source.read(record.cls, name),
                registered=tensor.registered,
                trained=tensor.trained,
                device=tensor.device,
                module_device=tensor.module_device,
                moved_at_use=class_source.moved_at_use(record.cls, name),
            )  # fmt: skip

    def _flags(self, look: _Look, record: ModuleRecord) -> Iterator[StrayFlag]:
        own = {parameter.name for parameter in record.own}
        for (path, name), flag in look.flags.items():
            if path not in own if flag.on_parameter else path != record.path:
                continue
            text = look.root.text()
            yield StrayFlag(
                attribute=name,
                place=_flag_place(look.root, record, path, flag) or self._place(look.root, record, path),
                owner=f"{text}.{path}" if path else text,
                on_parameter=flag.on_parameter,
                value=flag.value,
                parameters=flag.parameters,
                defined_by_class=hasattr(flag.cls, name) or class_source.assigned(flag.cls, name),
            )

    def _shadowed(self, look: _Look, record: ModuleRecord) -> Iterator[ShadowedMethod]:
        still = look.still_training.get(record.path, "")
        for name, function, how in _overrides(record.cls):
            place = _definition(record.cls, name)
            if place is not None:
                yield ShadowedMethod(name, place, how, _signature(function), still)
        for (path, name), kind in look.values.items():
            if path == record.path:
                yield ShadowedMethod(name, self._attribute(look.root, record, name), Shadow.VALUE, kind, still)
        fill = class_source.assigned_in_constructor(record.cls, "training")
        if fill is not None and not _is_true(fill):
            kind = "the constructor's argument" if fill.given() else "the constructor's value"
            yield ShadowedMethod("training", fill.span(), Shadow.VALUE, kind, still)


def _elements(container: Any, depth: int = _MOST_DEPTH) -> Iterator[Any]:
    """What stands in a plain container and in those inside of it."""
    values = container.values() if isinstance(container, dict) else container
    for index, value in enumerate(values):
        if index >= _MOST_ELEMENTS:
            return
        if type(value) in _CONTAINERS:
            if depth:
                yield from _elements(value, depth - 1)
        else:
            yield value


def _has_parameters(module: nn.Module) -> bool:
    return next(iter(module.parameters()), None) is not None


def _all_parameters(root: RootRecord) -> Iterator[torch.Tensor]:
    for record in root.parameters.values():
        tensor = record.ref()
        if tensor is not None:
            yield tensor


def _storage(tensor: torch.Tensor) -> int:
    """The address of its memory, 0 where it has none of its own."""
    if not torch_internals.is_plain(tensor) or tensor.layout is not torch.strided or tensor.device.type == "meta":
        return 0
    return tensor.untyped_storage().data_ptr()


def _note_flag(look: _Look, record: ModuleRecord, module: nn.Module, name: str, value: bool) -> None:
    if name != _FLAG and not _is_typo(name):
        return
    other = sum(parameter.requires_grad is not value for parameter in module.parameters())
    known = look.flags.get((record.path, name))
    if known is None:
        if other:
            look.flags[record.path, name] = _Flag(record.path, name, False, value, other, record.cls)
    elif not other:
        del look.flags[record.path, name]  # the parameters were set as well


def _flag_place(root: RootRecord, record: ModuleRecord, path: str, flag: _Flag) -> Span | None:
    """The assignment that set it, where the source leaves no doubt which one that is."""
    if root.site is None or not source_tree.unchanged(root.site.code):
        return None
    file = shown(root.site.code.co_filename)
    assigned = source_tree.attribute_assignments(file, flag.attribute)
    found = [target for target, value in assigned if getattr(value, "value", None) is flag.value]
    if flag.attribute == _FLAG or len(found) > 1:
        last = (path.rpartition(".")[0] if flag.on_parameter else path).rpartition(".")[2] or root.text()
        found = [target for target in found if source_tree.last_name(target.value) == last]
    return source_tree.span_of(file, found[0]) if len(found) == 1 else None


def _see_training(look: _Look) -> None:
    """The root is in eval mode: which modules with a `train` of their own are above a layer in train mode."""
    for record in look.root.modules:
        if record.cls.train is nn.Module.train or record.path in look.still_training:  # type: ignore[attr-defined]
            continue
        for below in look.root.below(record.path):
            module = below.ref()
            if module is not None and module.training and below is not record:
                look.still_training[record.path] = below.path
                break


@cache
def _overrides(cls: type) -> tuple[tuple[str, Any, Shadow], ...]:
    """The names of nn.Module to which the user's classes give another meaning."""
    found: list[tuple[str, Any, Shadow]] = []
    for name in ("train", "eval", "apply", *_PLAIN_CALLS):
        owner = next((base for base in cls.__mro__ if name in vars(base)), nn.Module)
        value = vars(owner).get(name)
        if owner is nn.Module or definitions.class_statement(owner) is None:
            continue
        if isinstance(value, property):
            if name != "apply":
                found.append((name, value.fget, Shadow.PROPERTY))
        elif isinstance(value, FunctionType):
            if _unfit(name, value):
                found.append((name, value, Shadow.SIGNATURE))
            elif name == "train" and "train" not in _names(value.__code__):
                found.append((name, value, Shadow.NO_BASE_CALL))
    return tuple(found)


def _unfit(name: str, function: FunctionType) -> bool:
    """It cannot be called as nn.Module calls the method that it replaces."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    if name == "train":
        first = positional[0] if positional else None
        return first is None or first.name.lower() not in _MODE_NAMES or len(required) > 1
    return len(required) > (1 if name == "apply" else 0)


def _names(code: Any) -> set[str]:
    """The attributes and globals that a function and the functions in it name."""
    return {*code.co_names, *(name for part in code.co_consts if hasattr(part, "co_names") for name in _names(part))}


def _signature(function: Any) -> str:
    try:
        return f"{function.__name__}({', '.join(inspect.signature(function).parameters)})"
    except (TypeError, ValueError):
        return ""


def _definition(cls: type, name: str) -> Span | None:
    """The name in the `def` statement of a method."""
    for path, function in class_source.methods(cls):
        if function.name == name:
            return definitions.name_span(path, function)
    return None


def _is_true(fill: class_source.Fill) -> bool:
    value = fill.statement
    return getattr(value, "value", None) is True


@cache
def _is_typo(name: str) -> bool:
    """Within two edits of `requires_grad`, and not the name itself."""
    if abs(len(name) - len(_FLAG)) > 2 or name == _FLAG:
        return False
    before = list(range(len(_FLAG) + 1))
    for row, letter in enumerate(name, start=1):
        now = [row]
        for column, other in enumerate(_FLAG, start=1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (letter != other)))
        before = now
    return before[-1] <= 2
