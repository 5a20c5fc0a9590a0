"""Tensors in ordinary attributes of modules: what `ModuleClass.tensors` says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from modellint.facts.module_class import HiddenTensor
from modellint.source.interpreter.values import (
    UNMOVED,
    DeviceMove,
    DictValue,
    FunctionValue,
    ModuleValue,
    ParameterValue,
    SequenceValue,
    Site,
    Tensor,
    Value,
)
from modellint.source.layout import project_root
from modellint.source.places import Places
from modellint.source.tree import children, walk

_ASKS = frozenset({
    "to", "cuda", "type_as", "cpu", "device", "dtype", "shape", "size", "dim", "ndim", "numel", "tolist", "item",
    "numpy", "new_tensor", "new_zeros", "new_ones", "new_full",
})  # fmt: skip
"""Methods and attributes of a tensor that work wherever it is."""
_MOVED_BY = frozenset({"to", "cuda", "type_as"})
_OWN_TRAINING = frozenset({
    "optim", "parameters", "named_parameters", "zero_grad", "backward", "grad", "autograd", "register_parameter",
    "register_buffer", "setattr", "ParameterList", "ParameterDict", "_parameters", "_buffers", "Adam", "AdamW",
    "SGD", "RMSprop", "LBFGS", "Optimizer",
})  # fmt: skip
"""Where one of these stands beside an attribute, somebody may see to it."""
_MOVERS = frozenset({"_apply", "to", "cuda", "_load_from_state_dict"})
_OWNERS = frozenset({"parameters", "named_parameters", "state_dict"})


def hidden_tensors(places: Places, module: ModuleValue) -> Iterator[HiddenTensor]:
    """The tensors that an instance keeps in ordinary attributes and uses in its forward."""
    if module.cls is None or module.cls.unknown_base or not module.state.get("ran") or "*" in module.reads:
        return
    for name, value in module.attrs.items():
        if name not in module.reads or name in module.state.get("buffers", ()):
            continue
        if isinstance(value, Tensor | SequenceValue | DictValue):
            found = _trainable(places, module, name, value) or _left_behind(places, module, name, value)
            if found is not None:
                yield found


# ---------------------------------------------------------------- trainable


def _trainable(places: Places, module: ModuleValue, name: str, value: Value) -> HiddenTensor | None:
    notes = places.records.module_notes
    container = ""
    elements: list[Value] = [value]
    if isinstance(value, SequenceValue | DictValue):
        container = value.kind if isinstance(value, SequenceValue) else "dict"
        elements = list(value.items if isinstance(value, SequenceValue) else value.items.values())
    fresh = [
        element
        for element in elements
        if id(element) in notes.marks
        or (isinstance(element, ParameterValue) and not element.targets and element.trainable)
    ]
    if not fresh or (isinstance(value, Tensor) and id(value) not in notes.marks):
        return None
    mark = notes.marks.get(id(value))
    site = mark.site if mark is not None else module.element_sites.get(name)
    if site is None:
        return None
    shape = value.shape if isinstance(value, Tensor) else None
    known = tuple(size for size in shape if size is not None) if shape is not None else ()
    return HiddenTensor(
        attribute=name,
        place=places.span(site),
        container=container,
        shape=known if shape is not None and len(known) == len(shape) else None,
        trainable=True,
        leaf=mark is None or mark.leaf,
        used_in_forward=True,
        registered=any(id(element) in notes.registered for element in fresh),
        trained=_seen_to(places, module, name),
        device="",
        module_device="",
        moved_at_use=False,
    )


def _seen_to(places: Places, module: ModuleValue, name: str) -> bool:
    """Somebody may hand it to an optimizer, register it, or change it by hand."""
    assert module.cls is not None
    methods = list(_methods(module))
    if any(method.name in _OWNERS for method, _ in methods):
        return True
    for method, _ in methods:
        words: set[str] = set()
        reads = 0
        for node in walk(method):
            if isinstance(node, ast.Attribute):
                words.add(node.attr)
                reads += node.attr == name
                if isinstance(node.value, ast.Attribute) and node.value.attr == name:
                    if node.attr in ("data", "grad") or (node.attr.endswith("_") and not node.attr.endswith("__")):
                        return True
            elif isinstance(node, ast.Name):
                words.add(node.id)
            elif (isinstance(node, ast.AugAssign) and _is_own(node.target, name)) or _hands_out(node, name):
                return True
        if reads and (words & _OWN_TRAINING or "param" in method.name):
            return True
    root = project_root(module.cls.file.path.parent)
    for path, read in places.project.attribute_reads(module.cls.file.path, name):
        if _reaches(places, module, root, path) and (read.receiver != "self" or read.class_name is None):
            return True  # `optim.Adam([model.noise])`
    return False


def _hands_out(node: ast.AST, name: str) -> bool:
    """`return [self.scale]`: who gets it may train it."""
    value = node.value if isinstance(node, ast.Return | ast.Yield) else None
    if isinstance(value, ast.Tuple | ast.List | ast.Set):
        return any(_is_own(element, name) for element in value.elts)
    if isinstance(value, ast.Dict):
        return any(_is_own(element, name) for element in value.values)
    return value is not None and _is_own(value, name)


# ---------------------------------------------------------------- left on the CPU


def _left_behind(places: Places, module: ModuleValue, name: str, value: Value) -> HiddenTensor | None:
    assert module.cls is not None
    move = module.state.get("left_cpu")
    site = module.element_sites.get(name)
    if not isinstance(move, DeviceMove) or site is None or not isinstance(value, Tensor):
        return None
    if value.device is not UNMOVED or not _has_axes(places, value) or module.cls.file.in_test_suite:
        return None
    if not _set_in_constructor(module, site) or not places.has_parameters(module):
        return None
    if any(method.name in _MOVERS for method, _ in _methods(module)) or _takes_device(module):
        return None
    if _set_elsewhere(places, module, name):
        return None
    shape = value.shape or ()
    return HiddenTensor(
        attribute=name,
        place=places.span(site),
        container="",
        shape=tuple(size for size in shape if size is not None),
        trainable=False,
        leaf=True,
        used_in_forward=True,
        registered=False,
        trained=False,
        device="cpu",
        module_device=move.text,
        moved_at_use=_moved_at_use(module, name),
    )


def _has_axes(places: Places, value: Tensor) -> bool:
    shape = value.shape
    return bool(shape) if shape is not None else id(value) in places.records.module_notes.with_axes


def _set_in_constructor(module: ModuleValue, site: Site) -> bool:
    """The assignment stands in a constructor of the class."""
    return any(
        method.name == "__init__" and any(part is site.node for part in walk(method)) for method, _ in _methods(module)
    )


def _takes_device(module: ModuleValue) -> bool:
    for method, _ in _methods(module):
        if method.name == "__init__":
            names = [*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs]
            if any("device" in argument.arg for argument in names):
                return True
    return False


def _set_elsewhere(places: Places, module: ModuleValue, name: str) -> bool:
    """Some code other than the constructor assigns it: `net.order = net.order.cuda()`."""
    for method, _ in _methods(module):
        if method.name != "__init__":
            for node in walk(method):
                if _is_own(node, name) and not isinstance(getattr(node, "ctx", None), ast.Load):
                    return True
    assert module.cls is not None
    home = module.cls.file.path
    pattern = re.compile(rb"(\w+)\." + re.escape(name.encode()) + rb"\s*=[^=]")
    return any(
        found.group(1) != b"self"
        for path, data in places.project.files_saying(home, f".{name}")
        for found in pattern.finditer(data)
        if _reaches(places, module, project_root(home.parent), path)
    )


def _moved_at_use(module: ModuleValue, name: str) -> bool:
    """Every read outside of constructors moves it, asks for what does not matter, or goes where it was not followed."""
    reads = 0
    for method, libraries in _methods(module):
        if method.name == "__init__":
            continue
        parents = {child: parent for parent in walk(method) for child in children(parent)}
        for node in [node for node in parents if _is_own(node, name)]:
            reads += 1
            if not _moved(node, parents, method, libraries):
                return False
    return bool(reads)


def _moved(node: ast.AST, parents: dict[ast.AST, ast.AST], method: ast.AST, libraries: frozenset[str]) -> bool:
    child = node
    operated = False
    while (parent := parents.get(child)) is not None:
        if isinstance(parent, ast.Attribute):
            if parent.attr in _ASKS:
                return True
        elif isinstance(parent, ast.Call):
            if child is not parent.func:
                if operated:
                    return False
                function = parent.func
                while isinstance(function, ast.Attribute):
                    function = function.value
                return not (isinstance(function, ast.Name) and function.id in libraries)
        elif isinstance(parent, ast.Assign) and len(parent.targets) == 1 and isinstance(parent.targets[0], ast.Name):
            local = parent.targets[0].id
            return not operated and any(
                isinstance(part, ast.Attribute)
                and part.attr in _MOVED_BY
                and isinstance(part.value, ast.Name)
                and part.value.id == local
                for part in walk(method)
            )
        elif isinstance(parent, ast.Return | ast.Yield | ast.For | ast.comprehension | ast.withitem | ast.Compare):
            return True
        elif not (isinstance(parent, ast.Subscript) and child is parent.value) and not isinstance(
            parent, ast.BinOp | ast.UnaryOp
        ):
            return False
        operated = operated or isinstance(parent, ast.BinOp)
        child = parent
    return False


# ---------------------------------------------------------------- code of a class


def _reaches(places: Places, module: ModuleValue, root: Path, path: Path) -> bool:
    """Code of a file may have this instance in its hands."""
    assert module.cls is not None
    return module.from_outside or places.project.connected(root, module.cls.file.path, path)


def _methods(module: ModuleValue) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, frozenset[str]]]:
    """The methods of the class and of its project bases, with the names that stand for libraries in their files."""
    assert module.cls is not None
    for cls in module.cls.mro:
        libraries: frozenset[str] = frozenset(
            alias.asname or alias.name.partition(".")[0]
            for node in cls.file.text.tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        )
        for function in cls.attrs.values():
            if isinstance(function, FunctionValue) and not isinstance(function.node, ast.Lambda):
                yield function.node, libraries


def _is_own(node: ast.AST, name: str) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == name
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )
