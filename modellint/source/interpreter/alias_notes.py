"""What is noted about one module where several were meant: repeated in a list, named twice, loaded from itself."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from modellint.facts.record import slotted
from modellint.source.interpreter.values import (
    Cells,
    Const,
    DictValue,
    ModuleValue,
    SequenceValue,
    Site,
    Value,
)
from modellint.source.interpreter.weight_records import StateRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modellint.source.interpreter.expressions import CallArguments
    from modellint.source.interpreter.machine import Machine


@slotted
class RepeatRecord:
    """One module where a sequence, several names or several instances get it."""

    how: str
    site: Site
    module: ModuleValue
    slots: int | None = None
    names: tuple[str, ...] = ()
    owner: ModuleValue | None = None


def note_repeated(machine: Machine, how: str, node: ast.AST, items: Sequence[Value], count: int | None) -> None:
    """`[X()] * n` and the like: a sequence in which one module stands several times."""
    for item in items:
        if type(item) is ModuleValue:
            machine.records.module_notes.repeats.append(RepeatRecord(how, machine.site(node), item, count))


def note_filled(machine: Machine, container: ModuleValue) -> None:
    """Modules that a container holds under several names."""
    seen: dict[int, int] = {}
    holders = machine.records.module_notes.holders if machine.records.module_notes.lists else None
    for value in container.attrs.values():
        if type(value) is ModuleValue:
            seen[id(value)] = seen.get(id(value), 0) + 1
            if holders is not None and not any(known is container for known in holders.setdefault(id(value), [])):
                holders[id(value)].append(container)
    if len(seen) < len(container.attrs):
        filled = machine.records.module_notes.filled
        for value in container.attrs.values():
            if seen.get(id(value), 0) > 1 and type(value) is ModuleValue:
                filled[id(value)] = (container, seen[id(value)])


def from_keys(machine: Machine, call: CallArguments, node: ast.AST) -> DictValue:
    """`dict.fromkeys(keys, X())`."""
    exact, keys = machine.iterate(call.positional[0], node)  # type: ignore[attr-defined]
    value = call.positional[1]
    note_repeated(machine, "fromkeys", node, [value], len(keys) if exact else None)
    named = [key.value if isinstance(key, Const) else ("unknown key", index) for index, key in enumerate(keys)]
    complete = exact and all(isinstance(key, Const) for key in keys)
    return DictValue(Cells(dict.fromkeys(named, value)), Cells({"complete": complete}), machine.site(node))


_MOVES = frozenset({"to", "cuda", "cpu"})


def note_binding(machine: Machine, node: ast.Assign, module: ModuleValue) -> None:
    """`a = m.to(d)`: what a move returns is the module itself, under another name than `m`."""
    notes = machine.records.module_notes
    value = node.value
    target = node.targets[0]
    if not isinstance(target, ast.Name) or not isinstance(value, ast.Call) or not isinstance(value.func, ast.Attribute):
        return
    receiver = value.func.value
    if value.func.attr in _MOVES and isinstance(receiver, ast.Name) and receiver.id != target.id:
        notes.repeats.append(RepeatRecord("moved", machine.site(node), module, None, (target.id, receiver.id)))


def note_list(machine: Machine, node: ast.Assign, value: SequenceValue) -> None:
    """`decoder = encoder` and `decoder = encoder = []`: one list under two names."""
    names = [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node.value, ast.Name):
        names.append(node.value.id)
    if len(set(names)) > 1 and value.kind == "list":
        machine.records.module_notes.lists.append((machine.site(node), tuple(names), value))


def note_default(machine: Machine, module: ModuleValue, receiver: Value | None, site: Site) -> None:
    """A module that is a default argument is used by an instance."""
    if isinstance(receiver, ModuleValue) and receiver.constructing:
        machine.records.module_notes.repeats.append(RepeatRecord("default", site, module, owner=receiver))


def note_self_load(machine: Machine, module: ModuleValue, state: Value | None, node: ast.AST) -> None:
    """`target.load_state_dict(policy.state_dict())` where both are one object."""
    given = node.args[0] if isinstance(node, ast.Call) and node.args else None
    if isinstance(given, ast.Call) and isinstance(given.func, ast.Attribute) and given.func.attr == "state_dict":
        record = getattr(state, "record", None)
        if isinstance(record, StateRecord) and record.model is module:
            machine.records.module_notes.repeats.append(RepeatRecord("self-load", machine.site(node), module))
