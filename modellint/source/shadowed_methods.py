"""Names of nn.Module to which a class gives another meaning: what `ModuleClass.shadowed` says."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.module_class import Shadow, ShadowedMethod
from modellint.source.interpreter.values import (
    ClassValue,
    Const,
    DictValue,
    External,
    FunctionValue,
    ModuleValue,
    ParametersOf,
    SequenceValue,
    Site,
    Tensor,
)
from modellint.source.places import Places
from modellint.source.tree import walk

_HARMLESS = ("torch.nn.", "abc.", "typing.", "object")
"""Bases from outside that leave the names of nn.Module alone."""
_PLAIN_CALLS = ("parameters", "children", "modules", "buffers", "state_dict")
"""Methods that nn.Module calls itself, without an argument that must be given."""
_NAMES = ("train", "eval", "apply", *_PLAIN_CALLS)
_MODE_NAMES = frozenset({"mode", "training", "is_training", "train", "is_train", "flag", "m", "_", "b", "enabled"})
_SWITCHES = frozenset({"train", "training", "eval", "children", "modules", "named_children", "_modules", "apply"})


def shadowed_methods(places: Places, module: ModuleValue) -> Iterator[ShadowedMethod]:
    """Those of the class of one instance, its project bases included."""
    cls = module.cls
    if cls is None or cls.unknown_base or not all(base.startswith(_HARMLESS) for base in cls.library_bases):
        return  # a framework's base class owns its names
    for name in _NAMES:
        owner = next((base for base in cls.mro if name in base.attrs), None)
        function = owner.attrs[name] if owner is not None else None
        if owner is None or not isinstance(function, FunctionValue) or isinstance(function.node, ast.Lambda):
            continue
        how = _how(name, function, cls)
        if how is not None:
            place = places.name_span(Site(function.file, function.node))
            yield ShadowedMethod(name, place, how, _signature(function.node), "")
    for name in ("train", "eval", *_PLAIN_CALLS):
        value = module.attrs.get(name)
        site = module.element_sites.get(name)
        if site is not None and isinstance(value, Const | SequenceValue | DictValue | Tensor | ParametersOf):
            yield ShadowedMethod(name, places.span(site), Shadow.VALUE, _kind(value), "")
    yield from _training_flag(places, cls)


def _how(name: str, function: FunctionValue, cls: ClassValue) -> Shadow | None:
    node = function.node
    assert not isinstance(node, ast.Lambda)
    names = [d.name for d in function.decorators if isinstance(d, External)]
    if len(names) < len(node.decorator_list):
        return None  # a decorator that was not followed
    if any(decorator in ("property", "functools.cached_property") for decorator in names):
        return None if name == "apply" else Shadow.PROPERTY
    if any(decorator in ("staticmethod", "classmethod") for decorator in names):
        return None
    if _unfit(name, node.args):
        return Shadow.SIGNATURE
    if name == "train" and _does_something(node) and not _switches(node, cls, set()):
        return Shadow.NO_BASE_CALL
    return None


def _unfit(name: str, arguments: ast.arguments) -> bool:
    """It cannot be called as nn.Module calls the method that it replaces."""
    if arguments.vararg is not None:
        return False
    positional = [*arguments.posonlyargs, *arguments.args][1:]
    required = max(len(positional) - len(arguments.defaults), 0)
    required += sum(default is None for default in arguments.kw_defaults)
    if name == "train":
        return not positional or positional[0].arg.lower() not in _MODE_NAMES or required > 1
    return required > (1 if name == "apply" else 0)


def _does_something(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A `train` that only returns keeps its module as it is: on purpose."""
    return any(not isinstance(s, ast.Pass | ast.Return | ast.Expr | ast.Raise) for s in node.body)


def _switches(node: ast.AST, cls: ClassValue, seen: set[str]) -> bool:
    """It may switch the layers below: it, or a method that it calls, names something that can."""
    for part in walk(node):
        if isinstance(part, ast.Attribute):
            if part.attr in _SWITCHES:
                return True
            inner = cls.lookup(part.attr)
            if isinstance(inner, FunctionValue) and part.attr not in seen:
                seen.add(part.attr)
                if _switches(inner.node, cls, seen):
                    return True
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id != "super":
            return True  # a function that was not looked into
    return False


def _training_flag(places: Places, cls: ClassValue) -> Iterator[ShadowedMethod]:
    """`self.training = training` in a constructor: the layers have another mode than the module."""
    for base in cls.mro:
        init = base.attrs.get("__init__")
        if not isinstance(init, FunctionValue) or isinstance(init.node, ast.Lambda):
            continue
        arguments = [*init.node.args.posonlyargs, *init.node.args.args, *init.node.args.kwonlyargs]
        for statement in init.node.body:
            if not isinstance(statement, ast.Assign):
                continue
            target = statement.targets[0]
            if not isinstance(target, ast.Attribute) or target.attr != "training":
                continue
            if not isinstance(target.value, ast.Name) or not arguments or target.value.id != arguments[0].arg:
                continue
            value = statement.value
            if isinstance(value, ast.Constant) and value.value is True:
                return
            given = isinstance(value, ast.Name) and value.id in {argument.arg for argument in arguments}
            kind = "the constructor's argument" if given else "the constructor's value"
            yield ShadowedMethod("training", places.span(Site(init.file, value)), Shadow.VALUE, kind, "")
            return


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    arguments = node.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    names += [arguments.vararg.arg] if arguments.vararg is not None else []
    names += [a.arg for a in arguments.kwonlyargs]
    names += [arguments.kwarg.arg] if arguments.kwarg is not None else []
    return f"{node.name}({', '.join(names)})"


def _kind(value: object) -> str:
    if isinstance(value, Const):
        return type(value.value).__name__
    if isinstance(value, SequenceValue):
        return value.kind
    return {DictValue: "dict", Tensor: "Tensor"}.get(type(value), "generator")
