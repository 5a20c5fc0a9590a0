"""`requires_grad` misspelt, or set on a module: what `ModuleClass.flags` says."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.module_class import ModuleClass, StrayFlag, SuperInit
from modellint.source.interpreter.module_notes import FLAG, FlagRecord
from modellint.source.interpreter.values import Const, ModuleValue, ParameterValue, Site, Tensor, Unknown
from modellint.source.places import Places
from modellint.source.project import SourceFile
from modellint.source.tree import walk

_LOOPS = (".parameters", ".named_parameters")


def stray_flags(places: Places) -> Iterator[ModuleClass]:
    """One fact for each assignment."""
    for record in places.records.module_notes.flags.values():
        flag = _flag(places, record)
        if flag is None:
            continue
        target = record.target
        yield ModuleClass(
            name=target.name.rpartition(".")[2] if isinstance(target, ModuleValue) else "",
            place=flag.place,
            init_place=None,
            bases="",
            super_init=SuperInit.UNKNOWN,
            super_place=None,
            first_registration=None,
            first_registration_place=None,
            hidden=(),
            flags=(flag,),
        )


def _flag(places: Places, record: FlagRecord) -> StrayFlag | None:
    node = record.site.node
    if not isinstance(node, ast.Attribute):
        return None
    value = record.value.value if isinstance(record.value, Const) else None
    if isinstance(record.value, Const) and not isinstance(value, bool):
        return None
    wanted = value if isinstance(value, bool) else None
    target = record.target
    owner = record.site.file.text.segment(node.value)
    on_parameter = not isinstance(target, ModuleValue)
    count: int | None = 1
    defined = False
    if isinstance(target, ModuleValue):
        if not record.known_child and _has_it_too(target, wanted):
            return None
        if record.known_child and wanted and not any(v for k, v in target.state.items() if k.startswith("frozen")):
            return None  # trainable is what it is anyway
        defined = _defined(target, record.name)
        count = None if record.known_child else places.parameters(target)
        if count == 0:
            return None
    elif isinstance(target, ParameterValue):
        if target.targets and all(_wanted(module, name, wanted) for module, name in target.targets):
            return None
    elif isinstance(target, Unknown):
        loop = _loop_around(record.site.file, node)
        if loop is None or _names_flag(loop):
            return None
    elif isinstance(target, Tensor):
        if wanted is None or wanted is (id(target) in places.records.module_notes.marks):
            return None  # a tensor that nobody made trainable needs no freezing
    else:
        return None
    if not on_parameter and _set_beside(record.site, owner):
        return None
    return StrayFlag(
        attribute=record.name,
        place=places.span(Site(record.site.file, node)),
        owner=owner,
        on_parameter=on_parameter,
        value=wanted,
        parameters=count,
        defined_by_class=defined,
    )


def _has_it_too(module: ModuleValue, wanted: bool | None) -> bool:
    """The parameters have the wanted value as well, or it is not known which they have."""
    own = [part for _, part in module.walk() if part.spec is not None and part.spec.parametric]
    own += [part for _, part in module.walk() if any(isinstance(v, ParameterValue) for v in part.attrs.values())]
    if not own:
        return module.known_library is None  # nothing that could be frozen
    return all(_wanted(part, "weight", wanted) for part in own)


def _wanted(module: ModuleValue, name: str, wanted: bool | None) -> bool:
    states = [value for key, value in module.state.items() if key in ("frozen", f"frozen:{name}", "frozen:*")]
    if None in states or (wanted is None and states):
        return True
    return wanted is not None and any(states) is not wanted


def _defined(module: ModuleValue, name: str) -> bool:
    """The class has such an attribute or property itself, or may inherit one."""
    cls = module.cls
    if cls is None:
        return False
    if cls.unknown_base or cls.lookup(name) is not None:
        return True
    return any(
        isinstance(part, ast.Attribute)
        and part.attr == name
        and isinstance(part.ctx, ast.Store)
        and isinstance(part.value, ast.Name)
        and part.value.id == "self"
        for base in cls.mro
        for part in walk(base.node)
    )


def _loop_around(file: SourceFile, node: ast.AST) -> ast.For | None:
    """The innermost loop over the parameters of something that binds the receiver of an assignment."""
    assert isinstance(node, ast.Attribute)
    if not isinstance(node.value, ast.Name):
        return None
    found: ast.For | None = None
    for loop in walk(file.text.tree):
        if isinstance(loop, ast.For) and loop.lineno <= node.lineno <= (loop.end_lineno or loop.lineno):
            called = isinstance(loop.iter, ast.Call) and isinstance(loop.iter.func, ast.Attribute)
            bound = {part.id for part in walk(loop.target) if isinstance(part, ast.Name)}
            if node.value.id in bound:
                over = called and loop.iter.func.attr in ("parameters", "named_parameters")  # type: ignore[attr-defined]
                found = loop if over else None
    return found


def _names_flag(loop: ast.AST) -> bool:
    """A loop sets the flag by its right name as well."""
    return any(isinstance(part, ast.Attribute) and part.attr in (FLAG, FLAG + "_") for part in walk(loop))


def _set_beside(site: Site, owner: str) -> bool:
    """The same file freezes the parameters of the same expression in the right way too."""
    text = site.file.text
    for part in walk(text.tree):
        if isinstance(part, ast.For):
            around = text.segment(part.iter)
            if around.startswith(tuple(owner + end for end in _LOOPS)) and _names_flag(part):
                return True
        elif isinstance(part, ast.Attribute) and part.attr == FLAG + "_" and isinstance(part.ctx, ast.Load):
            if text.segment(part.value) == owner:
                return True
    return False


__all__ = ["stray_flags"]
