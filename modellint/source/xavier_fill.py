"""Reads `XavierFill`: Xavier initialisations, and what stands behind the layers that they fill."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.xavier_fill import XavierFill
from modellint.source.interpreter.flow_nodes import LAYER, FlowNode
from modellint.source.interpreter.records import FillRecord
from modellint.source.interpreter.values import ModuleValue, Site
from modellint.source.places import Places

_RELU = frozenset({"torch.relu", "torch.relu_", "torch.nn.functional.relu", "torch.nn.functional.relu_",
                   "torch.Tensor.relu", "torch.Tensor.relu_"})  # fmt: skip


def read(places: Places) -> Iterator[XavierFill]:
    """One fact for each call in the source.

    A layer is known by where it is constructed: a method may be run on another instance than forward.
    """
    if not places.records.xavier:
        return
    calls: dict[int, list[FlowNode]] = {}
    for node in places.records.flow:
        if node.op == LAYER and node.module is not None and node.module.site is not None:
            calls.setdefault(id(node.module.site.node), []).append(node)
    groups: dict[int, list[tuple[Site, str, bool, ModuleValue]]] = {}
    for record in places.records.xavier:
        groups.setdefault(id(record[0].node), []).append(record)
    for group in groups.values():
        site, name, gain, _ = group[0]
        layers: dict[int, ModuleValue] = {}
        for _, _, _, module in group:
            if module.site is not None and not _filled_again(module, site):
                layers.setdefault(id(module.site.node), module)
        rectified = [key for key in layers if calls.get(key) and all(_rectified(node) for node in calls[key])]
        yield XavierFill(
            place=places.span(site),
            function=name,
            gain_given=gain,
            rectified=tuple(places.layer("", layers[key]) for key in rectified),
            others=len(layers) - len(rectified),
        )


def _filled_again(module: ModuleValue, site: Site) -> bool:
    fill = module.state.get("fill:weight")
    return isinstance(fill, FillRecord) and fill.site.node is not site.node


def _rectified(node: FlowNode) -> bool:
    if len(node.users) != 1:
        return False
    user = node.users[0]
    return user.op in _RELU or (user.module is not None and user.module.name == "torch.nn.ReLU")
