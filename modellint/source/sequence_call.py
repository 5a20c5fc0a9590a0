"""Reads `SequenceCall`: recurrent, attention and transformer layers, which axis is which, what is read of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.sequence_call import AxisSign, SequenceCall, StepRead
from modellint.source.axes import followed_input, index_of, swapped
from modellint.source.interpreter.flow_nodes import ITEM, LAYER, FlowNode
from modellint.source.interpreter.values import Const, ModuleValue, Tensor
from modellint.source.places import Places

_FAMILIES = frozenset({"recurrent", "attention", "transformer"})
_SAME_AXES = frozenset({"dropout", "norm", "activation", "linear", "rrelu"})
_POOLING = frozenset({"mean", "sum", "max", "amax", "logsumexp", "median"})
_KEPT_VALUES = ("contiguous", "float", "to", "half", "clone", "dropout", "relu", "tanh", "gelu", "sigmoid", "detach")
_DEPTH = 12


def read(places: Places) -> Iterator[SequenceCall]:
    """One fact for each layer: all calls of it together."""
    calls: dict[int, list[FlowNode]] = {}
    for node in places.records.flow:
        module = node.module
        if node.op == LAYER and module is not None and module.spec is not None and module.spec.family in _FAMILIES:
            calls.setdefault(id(module), []).append(node)
    seen: set[tuple[object, ...]] = set()
    for nodes in calls.values():
        fact = _fact(places, nodes)
        key = (fact.layer.place, fact.call, fact.signs, fact.steps)
        if key not in seen:
            seen.add(key)
            yield fact


def _fact(places: Places, nodes: list[FlowNode]) -> SequenceCall:
    module, site = nodes[0].module, nodes[0].site
    assert module is not None
    assert module.spec is not None
    assert site is not None
    owner = nodes[0].owner
    names = {id(part): name for name, part in owner.walk()} if owner is not None else {}
    signs: dict[tuple[int, str, object], AxisSign] = {}
    steps: dict[object, StepRead] = {}
    otherwise = packed = one_sample = False
    ranks: set[int | None] = set()
    for node in nodes:
        given = node.call.positional[0] if node.call is not None and node.call.positional else None
        tensor = given if type(given) is Tensor else None
        ranks.add(_rank(tensor))
        source = followed_input(tensor.node) if tensor is not None else None
        packed = packed or tensor is None or (source is not None and source.packed)
        if source is not None and source.batch_axis is not None:
            one_sample = one_sample or source.one_sample
            sign = AxisSign(source.batch_axis, source.text, places.span(source.site or site), source.decisive)
            signs.setdefault((sign.batch_axis, sign.text, sign.place), sign)
        reading = _Output(places, module.spec.family != "recurrent")
        reading.follow(node, False, True, _DEPTH)
        otherwise = otherwise or reading.otherwise
        for sign in reading.signs:
            signs.setdefault((sign.batch_axis, sign.text, sign.place), sign)
        for step in reading.steps:
            steps.setdefault(step.place, step)
    return SequenceCall(
        layer=places.layer(names.get(id(module), ""), module),
        family=module.spec.family,
        call=places.span(site),
        batch_first=_flag(_axes_layer(module), "batch_first"),
        bidirectional=_flag(module, "bidirectional"),
        signs=tuple(signs.values()),
        steps=tuple(steps.values()),
        read_otherwise=otherwise,
        packed=packed,
        unbatched=(ranks == {2}) if None not in ranks else None,
        one_sample=one_sample,
    )


def _rank(tensor: Tensor | None) -> int | None:
    shape = tensor.shape if tensor is not None else None
    return len(shape) if isinstance(shape, tuple) else None


def _axes_layer(module: ModuleValue) -> ModuleValue | None:
    """The layer whose `batch_first` holds: an encoder has that of the layer it is made of."""
    if module.spec is not None and "batch_first" in module.spec.signature:
        return module
    inner = module.arguments.get("encoder_layer") or module.arguments.get("decoder_layer")
    return inner if isinstance(inner, ModuleValue) and inner.cls is None else None


def _flag(module: ModuleValue | None, name: str) -> bool | None:
    """A flag of the constructor that is off unless it is given."""
    if module is None or (module.call is not None and module.call.open):
        return None
    given = module.arguments.get(name)
    if given is None:
        return False
    return bool(given.value) if isinstance(given, Const) else None


class _Output:
    """What is read of an output, and what that says about its axes."""

    def __init__(self, places: Places, first_is_summary: bool) -> None:
        self.places = places
        self.first_is_summary = first_is_summary
        """The first token of a transformer stands for the whole sequence."""
        self.signs: list[AxisSign] = []
        self.steps: list[StepRead] = []
        self.otherwise = False

    def follow(self, node: FlowNode, flipped: bool, steps: bool, depth: int) -> None:
        """Look at all readers. `flipped`: the first two axes were swapped. `steps`: values are still the layer's."""
        for user in node.users:
            if not self._reader(user, node, flipped, steps, depth) and steps:
                self.otherwise = True

    def _reader(self, user: FlowNode, node: FlowNode, flipped: bool, steps: bool, depth: int) -> bool:
        if not depth or not user.inputs or user.inputs[0] is not node:
            return False
        module, name = user.module, user.op.rpartition(".")[2]
        if module is not None:
            family = module.spec.family if module.spec is not None else ""
            if module.name == "torch.nn.Flatten" and not module.arguments:
                self._sign(0, flipped, "the output is flattened from its second axis on", user)
                return False
            if family in _SAME_AXES:
                self.follow(user, flipped, steps and family in ("dropout", "norm", "activation"), depth - 1)
                return family in ("dropout", "norm", "activation")
            return False
        if user.op == ITEM:
            return self._item(user, flipped, steps)
        order = swapped(user)
        if order is not None:
            if order == (1, 0, 2):
                self.follow(user, not flipped, steps, depth - 1)
                return True
            return False
        if name in _KEPT_VALUES:
            self.follow(user, flipped, steps, depth - 1)
            return True
        if name in _POOLING:
            axis = _axis(user)
            if axis in (0, 1):
                self._sign(1 - axis, flipped, f"the output is pooled over axis {axis}", user)
        elif name == "flatten" and _start(user) == 1:
            self._sign(0, flipped, "the output is flattened from its second axis on", user)
        elif name == "select" and user.call is not None and user.op.startswith("torch.Tensor"):
            values = [v.value for v in user.call.positional if isinstance(v, Const)]
            if len(values) == 2 and values[0] in (0, 1) and values[1] == -1:
                return self._step(user, int(values[0]), -1, flipped, steps, True)
        return False

    def _item(self, user: FlowNode, flipped: bool, steps: bool) -> bool:
        subscript = user.site.node if user.site is not None else None
        found = index_of(subscript.slice) if isinstance(subscript, ast.Subscript) else None
        if found is None:
            return False
        axis, index, features = found
        return self._step(user, axis, index, flipped, steps, features and not _cut_later(user))

    def _step(self, user: FlowNode, axis: int, index: int, flipped: bool, steps: bool, features: bool) -> bool:
        assert user.site is not None
        text = user.site.file.text.segment(user.site.node)
        if index == -1 or (index == 0 and self.first_is_summary and axis == 1):
            self._sign(1 - axis, flipped, f"the output is read as `{text}`", user)
        if steps:
            real = 1 - axis if flipped else axis
            self.steps.append(StepRead(self.places.span(user.site), text, real, index, features))
        return True

    def _sign(self, batch_axis: int, flipped: bool, text: str, user: FlowNode) -> None:
        if user.site is not None:
            axis = 1 - batch_axis if flipped else batch_axis
            self.signs.append(AxisSign(axis, text, self.places.span(user.site)))


def _cut_later(node: FlowNode) -> bool:
    """Whether the step is cut along its features afterwards: `out[:, -1][:, :hidden]`."""
    return any(user.op == ITEM for user in node.users)


def _axis(node: FlowNode) -> int | None:
    """The axis that a reduction runs over."""
    if node.call is None:
        return None
    given = node.call.get(0 if node.op.startswith("torch.Tensor") else 1, "dim")
    return given.value if isinstance(given, Const) and isinstance(given.value, int) else None


def _start(node: FlowNode) -> int | None:
    if node.call is None:
        return None
    given = node.call.get(0 if node.op.startswith("torch.Tensor") else 1, "start_dim")
    return given.value if isinstance(given, Const) and isinstance(given.value, int) else None
