"""Reads `HiddenState`: attributes that a module prepares for its recurrent layer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from modellint.facts.hidden_state import HiddenState
from modellint.source.interpreter.flow_nodes import LAYER, FlowNode
from modellint.source.interpreter.values import Const, FunctionValue, ModuleValue, Site
from modellint.source.layout import project_root
from modellint.source.places import Places
from modellint.source.project import SourceFile
from modellint.source.tree import walk


def read(places: Places) -> Iterator[HiddenState]:
    """One fact for each attribute."""
    calls: dict[int, list[FlowNode]] = {}
    owners: dict[int, ModuleValue] = {}
    for node in places.records.flow:
        module, owner = node.module, node.owner
        if node.op == LAYER and module is not None and owner is not None and owner.cls is not None:
            if module.spec is not None and module.spec.family == "recurrent":
                calls.setdefault(id(owner), []).append(node)
                owners[id(owner)] = owner
    seen: set[object] = set()
    for key, nodes in calls.items():
        owner = owners[key]
        for name, (site, shapes) in owner.state.get("prepared", {}).items():
            fits = name in owner.state.get("stored", {}) or _fits(shapes, nodes)
            if fits and (id(site.node), name) not in seen:
                seen.add((id(site.node), name))
                yield _fact(places, owner, name, site, nodes)
        for node, argument in _replaced_arguments(owner, nodes):
            if id(argument) not in seen:
                seen.add(id(argument))
                fact = _fact(places, owner, argument.arg, Site(_file(node), argument), [node])
                yield replace(fact, read=False, rewritten=True, reset_outside=None, argument=True)


def _fits(shapes: tuple[tuple[int | None, ...] | None, ...], nodes: list[FlowNode]) -> bool:
    """Whether tensors of these shapes can be the state of one of the layers: (layers, batch, hidden)."""
    for node in nodes:
        module = node.module
        given = module.arguments.get("hidden_size") if module is not None else None
        hidden = given.value if isinstance(given, Const) else None
        if all(
            shape is not None and len(shape) == 3 and (None in (shape[-1], hidden) or shape[-1] == hidden)
            for shape in shapes
        ):
            return True
    return False


def _file(node: FlowNode) -> SourceFile:
    assert node.site is not None
    return node.site.file


def _replaced_arguments(owner: ModuleValue, nodes: list[FlowNode]) -> Iterator[tuple[FlowNode, ast.arg]]:
    """`def forward(self, x, hidden): out, hidden = self.rnn(x)`: arguments of forward that nothing reads before."""
    forward = owner.cls.lookup("forward") if owner.cls is not None else None
    if not isinstance(forward, FunctionValue) or not isinstance(forward.node, ast.FunctionDef):
        return
    arguments = {argument.arg: argument for argument in forward.node.args.args[1:]}
    calls = {id(node.site.node): node for node in nodes if node.site is not None}
    for statement in forward.node.body:
        if isinstance(statement, ast.Assign) and id(statement.value) in calls:
            target = statement.targets[0]
            last = target.elts[-1] if isinstance(target, ast.Tuple) and len(target.elts) == 2 else None
            if isinstance(last, ast.Name) and last.id in arguments and not _read_before(forward.node, last):
                yield calls[id(statement.value)], arguments[last.id]


def _read_before(function: ast.FunctionDef, name: ast.Name) -> bool:
    """Whether anything reads a name above the place where it is bound, or binds it there."""
    place = (name.lineno, name.col_offset)
    return any(
        isinstance(part, ast.Name)
        and part.id == name.id
        and part is not name
        and ((part.lineno, part.col_offset) < place or part.lineno <= (name.end_lineno or name.lineno))
        for part in walk(function)
    )


def _fact(places: Places, owner: ModuleValue, name: str, site: Site, nodes: list[FlowNode]) -> HiddenState:
    first = nodes[0]
    assert first.module is not None
    assert first.site is not None
    names = {id(part): path for path, part in owner.walk()}
    given = any(_gets_a_state(node) for node in nodes)
    return HiddenState(
        model=places.model(owner, owner.name),
        attribute=name,
        prepared=places.span(site),
        layer=places.layer(names.get(id(first.module), ""), first.module),
        call=places.span(first.site),
        call_text=first.site.file.text.segment(first.site.node),
        given=given,
        read=given or _is_read(places, owner, name),
        rewritten=name in owner.state.get("stored", {}),
        reset_outside=places.optional(owner.state.get("reset", {}).get(name)),
    )


def _gets_a_state(node: FlowNode) -> bool:
    call = node.call
    return call is None or call.open or len(call.positional) != 1 or bool(call.keywords)


def _is_read(places: Places, owner: ModuleValue, name: str) -> bool:
    """Whether code of the project reads the attribute, otherwise than to write it again."""
    if owner.cls is None:
        return True
    root = project_root(owner.cls.file.path.parent)
    home = owner.cls.file.path
    return any(
        not read.rewrites
        for path, read in places.project.attribute_reads(home, name)
        if places.project.connected(root, home, path)  # else the instance cannot get there
    )
