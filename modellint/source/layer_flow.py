"""Reads `LayerFlow`: what a layer's output goes into, where that is one other layer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from modellint.facts.forward_use import Mode
from modellint.facts.layer_flow import LayerFlow
from modellint.source.interpreter.flow_nodes import LAYER, FlowNode
from modellint.source.interpreter.values import Const, ModuleValue, Value
from modellint.source.places import Places

_FAMILIES = frozenset({"linear", "conv", "conv_transpose"})
_UNCHANGED = frozenset(
    f"torch.Tensor.{name}"
    for name in ("contiguous", "to", "float", "half", "double", "bfloat16", "cuda", "cpu", "type_as", "clone")
) | {"torch.nn.functional.dropout", "torch.clone"}
_LINEAR_THEORY = re.compile(
    rb"deep[ _-]?linear|linear[ _-]networks?\b|linear neural|(without|no) (activation|non-?linearit)", re.I
)
_LIMIT = 8


def read(places: Places) -> Iterator[LayerFlow]:
    """One fact for each pair of constructions."""
    calls: dict[int, list[FlowNode]] = {}
    modules: dict[int, ModuleValue] = {}
    for node in places.records.flow:
        if node.op == LAYER and node.module is not None and node.module.site is not None:
            calls.setdefault(id(node.module), []).append(node)
            modules[id(node.module)] = node.module
    ends = {
        key: _end(runs)
        for key, runs in calls.items()
        if modules[key].spec is not None and modules[key].spec.family in _FAMILIES  # type: ignore[union-attr]
    }
    # Where the same line of a constructor sends its layer in other instances.
    elsewhere: dict[int, dict[int, set[int]]] = {}
    for key, end in ends.items():
        site = modules[key].site
        if site is not None:
            target = end[0].module if end is not None else None
            targets = elsewhere.setdefault(id(site.node), {}).setdefault(id(calls[key][0].owner), set())
            targets.add(id(target.site.node) if target is not None and target.site is not None else 0)
    seen: set[tuple[int, int]] = set()
    linear: dict[Path, bool] = {}
    for key, end in ends.items():
        if end is None:
            continue
        module, (last, through) = modules[key], end
        after = last.module
        assert after is not None
        if module.site is None or after.site is None or (id(module.site.node), id(after.site.node)) in seen:
            continue
        seen.add((id(module.site.node), id(after.site.node)))
        if _conditional(module, after, last):
            continue
        instances = list(elsewhere[id(module.site.node)].values())
        disagrees = any(targets != instances[0] for targets in instances)
        sometimes = len(set().union(*instances)) > 1
        fact = _flow(places, calls[key], last, through, calls[id(after)])
        site = calls[key][0].site
        assert site is not None
        path = site.file.path
        if path not in linear:
            linear[path] = _LINEAR_THEORY.search(places.project.content(path)) is not None
        yield replace(fact, disagrees=disagrees, sometimes=sometimes, said_linear=linear[path])


def _flow(
    places: Places,
    calls: list[FlowNode],
    last: FlowNode,
    through: tuple[str, ...],
    next_calls: list[FlowNode],
) -> LayerFlow:
    first = calls[0]
    module, after = first.module, last.module
    assert module is not None
    assert after is not None
    assert module.spec is not None
    assert after.spec is not None
    assert first.site is not None
    assert last.site is not None
    same = first.owner is last.owner
    owner = first.owner if same else None
    names = {id(part): name for name, part in owner.walk()} if owner is not None else {}
    bias = module.arguments.get("bias")
    states = (module.state, after.state)
    return LayerFlow(
        layer=places.layer(names.get(id(module), ""), module),
        family=module.spec.family,
        call=places.span(first.site),
        next=places.layer(names.get(id(after), ""), after),
        next_family=after.spec.family,
        next_call=places.span(last.site),
        through=through,
        owner=places.model(owner, owner.name) if owner is not None else None,
        same_owner=same,
        disagrees=False,
        bias=True if bias is None else (bool(bias.value) if isinstance(bias, Const) else None),
        bottleneck=_bottleneck(module, after),
        exclusive=len(next_calls) == len(calls),
        next_trains=not after.state.get("frozen") and not _evaluated(after),
        loaded=any(state.get("loaded") for state in states),
        replaced_weight=any(state.get("reparametrised") or state.get("tied") for state in states),
        statistics_read=bool(after.reads & {"running_mean", "running_var", "*"}),
        in_test_suite=first.site.file.in_test_suite,
    )


def _end(calls: list[FlowNode]) -> tuple[FlowNode, tuple[str, ...]] | None:
    """The call of the one layer that all of these end in, and what stands between."""
    found: tuple[FlowNode, tuple[str, ...]] | None = None
    for call in calls:
        end = _only_reader(call)
        if end is None or (found is not None and found[0].module is not end[0].module):
            return None
        found = found or end
    return found


def _only_reader(node: FlowNode) -> tuple[FlowNode, tuple[str, ...]] | None:
    through: list[str] = []
    for _ in range(_LIMIT):
        if len(node.users) != 1:
            return None
        node = node.users[0]
        if len(node.inputs) != 1:
            return None
        module = node.module
        if module is not None:
            if module.spec is None:
                return None
            if module.spec.family != "dropout":
                return node, tuple(through)
            through.append(module.name.rpartition(".")[2])
        elif node.op in _UNCHANGED:
            if "dropout" in node.op:
                through.append("dropout")
        else:
            return None
    return None


def _conditional(module: ModuleValue, after: ModuleValue, call: FlowNode) -> bool:
    """Whether the next layer is built under a branch that nothing else shows to be taken."""
    known = {*module.state.get("built", ()), *call.path}
    return any(branch not in known for branch in after.state.get("built", ()))


def _evaluated(module: ModuleValue) -> bool:
    return {entry.mode for entry in module.state.get("modes", ())} == {Mode.EVAL}


def _bottleneck(module: ModuleValue, after: ModuleValue) -> bool | None:
    made = module.arguments.get("out_features")
    sides = (module.arguments.get("in_features"), after.arguments.get("out_features"))
    outcomes = [_smaller(made, side) for side in sides]
    if False in outcomes:
        return False
    return True if all(outcomes) else None


def _smaller(a: Value | None, b: Value | None) -> bool | None:
    """Whether one size is below another; the same symbol is the same size."""
    if a is not None and a is b:
        return False
    if isinstance(a, Const) and isinstance(b, Const) and isinstance(a.value, int) and isinstance(b.value, int):
        return a.value < b.value
    return None
