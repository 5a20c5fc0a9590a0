"""Containers: displays, items, iteration."""

from __future__ import annotations

import ast
from typing import Any

from modellint.facts.loss_use import OutputKind
from modellint.source.interpreter.conditions import Conditions
from modellint.source.interpreter.expressions import SAMPLE, UNROLL, not_none, positional
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.named_tuples import as_tuple
from modellint.source.interpreter.values import (
    BoundMethod,
    Cells,
    Choice,
    ClassValue,
    Const,
    DictValue,
    External,
    FileValue,
    FunctionValue,
    IterationValue,
    LoaderValue,
    ModuleValue,
    ObjectValue,
    ParametersOf,
    RangeValue,
    SequenceValue,
    Tensor,
    Trail,
    Unknown,
    Value,
    const,
    sequence,
)
from modellint.source.torch_api.frameworks import ZOO_MODEL


class Containers(Conditions):
    """Builds, indexes and iterates containers."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._evaluate.update(
            {
                ast.Subscript: self._subscript,
                ast.Tuple: self._tuple,
                ast.List: self._list,
                ast.Set: self._set,
                ast.Dict: self._dict,
            }
        )

    def _items(self, nodes: list[ast.expr]) -> tuple[tuple[Value, ...], bool]:
        items: list[Value] = []
        complete = True
        for node in nodes:
            value = self.eval(node)
            if isinstance(node, ast.Starred):
                exact, elements = self.iterate(value, node)
                items.extend(elements)
                complete = complete and exact
            else:
                items.append(value)
        return tuple(items), complete

    def _tuple(self, node: ast.Tuple) -> Value:
        items, complete = self._items(node.elts)
        return sequence("tuple", items, complete, self.site(node))

    def _list(self, node: ast.List) -> Value:
        items, complete = self._items(node.elts)
        return sequence("list", items, complete, self.site(node))

    def _set(self, node: ast.Set) -> Value:
        items, complete = self._items(node.elts)
        return sequence("set", items, complete, self.site(node))

    def _dict(self, node: ast.Dict) -> Value:
        items: dict[object, Value] = {}
        complete = True
        for key_node, value_node in zip(node.keys, node.values, strict=True):
            value = self.eval(value_node)
            if key_node is None:
                if isinstance(value, DictValue):
                    items.update(value.items)
                    complete = complete and bool(value.box["complete"])
                else:
                    complete = False
                continue
            key = self.eval(key_node)
            if isinstance(key, Const):
                items[key.value] = value
            else:
                items[("unknown key", len(items))] = value
                complete = False
        return DictValue(Cells(items), Cells({"complete": complete}), self.site(node))

    def _subscript(self, node: ast.Subscript) -> Value:
        value = self.eval(node.value)
        index = self.eval(node.slice)
        return self.get_item(value, index, node)

    def get_item(self, value: Value, index: Value, node: ast.Subscript) -> Value:
        """`value[index]`."""
        if isinstance(value, Choice):
            return self.choose([lambda o=o: self.get_item(o, index, node) for o in not_none(value)])  # type: ignore[misc]
        if isinstance(value, ObjectValue):
            value = as_tuple(value) or value
        if isinstance(value, SequenceValue):
            return self._sequence_item(value, index, node)
        if isinstance(value, DictValue):
            if isinstance(index, Const):
                known = value.items.get(index.value)
                if known is not None:
                    return known
                return self.unknown(node, "a key that is not there", *value.items.values())
            if value.box.get("registry"):
                return self.unknown(node, "an entry of a registry", *value.items.values())
            return self._any_of(list(value.items.values()), node)
        if isinstance(value, ModuleValue):
            return self._module_item(value, index, node)
        if isinstance(value, Tensor):
            return self._tensor_item(value, index, node)
        if isinstance(value, Const) and isinstance(index, Const):
            try:
                return const(value.value[index.value])  # type: ignore[index]
            except Exception:
                return Unknown("an index that fails")
        if isinstance(value, Unknown):
            key = ("item", index.value) if isinstance(index, Const) else ("item", index)
            return value.child(key)
        if isinstance(value, External) and value.name == "sys.modules":
            return FileValue(self.file, "")
        if isinstance(value, External) and value.name.endswith(".__dict__"):
            # `models.__dict__[name]`: the member of that name, or a model of the zoo that nobody names.
            library = value.name.removesuffix(".__dict__")
            if isinstance(index, Const):
                return External(f"{library}.{index.value}")
            return External(ZOO_MODEL) if library == "torchvision.models" else Unknown("a member")
        if isinstance(value, External | ClassValue):
            return value  # a generic alias: `list[int]`
        if isinstance(value, LoaderValue):
            return Tensor(origin=value, device=None)
        return self.unknown(node, "an item of something unknown", value)

    def _any_of(self, values: list[Value], node: ast.AST) -> Value:
        if not values:
            return Unknown("an item of an empty container")
        if len(values) > 4 * Choice.LIMIT and not any(isinstance(v, ModuleValue) for v in values):
            return Unknown("one of many items")
        if len(values) > Choice.LIMIT and all(isinstance(v, ModuleValue) for v in values):
            values = values[: Choice.LIMIT]
        return self.join(values)

    def _sequence_item(self, value: SequenceValue, index: Value, node: ast.Subscript) -> Value:
        items = value.items
        if isinstance(index, Const) and isinstance(index.value, int):
            position = index.value
            if value.complete or 0 <= position < len(items):
                try:
                    return items[position]
                except IndexError:
                    return Unknown("an index that is not there")
            return self._any_of(list(items), node)
        bounds = self._slice_bounds(node.slice)
        if bounds is not None and value.complete:
            return sequence(value.kind, items[bounds], True, value.site)
        if isinstance(node.slice, ast.Slice):
            return sequence(value.kind, items, False, value.site)
        return self._any_of(list(items), node)

    def _slice_bounds(self, node: ast.AST) -> slice | None:
        if not isinstance(node, ast.Slice):
            return None
        parts: list[int | None] = []
        for part in (node.lower, node.upper, node.step):
            if part is None:
                parts.append(None)
                continue
            value = self.eval(part)
            if not isinstance(value, Const) or not isinstance(value.value, int):
                return None
            parts.append(value.value)
        return slice(*parts) if parts[2] != 0 else None

    def _module_item(self, value: ModuleValue, index: Value, node: ast.Subscript) -> Value:
        children = [child for child in value.attrs.values() if isinstance(child, ModuleValue | Choice)]
        if value.cls is not None and isinstance(function := value.cls.lookup("__getitem__"), FunctionValue):
            return self.call(BoundMethod(function, value), positional(node, index), node)
        if isinstance(index, Const):
            if isinstance(index.value, int):
                try:
                    return children[index.value]
                except IndexError:
                    return self._any_of(list(children), node)
            known = value.attrs.get(str(index.value))
            return known if known is not None else Unknown("a module that is not there")
        bounds = self._slice_bounds(node.slice)
        if isinstance(node.slice, ast.Slice):
            part = ModuleValue(self.new_key(), value.name, value.cls, self.site(node), value.spec, {})
            part.complete = value.complete and bounds is not None
            part.state.update(value.state)
            chosen = children[bounds] if bounds is not None else children
            part.attrs.update({str(position): child for position, child in enumerate(chosen)})
            part.element_sites.update(value.element_sites)
            return part
        return self._any_of(list(children), node)

    def _tensor_item(self, value: Tensor, index: Value, node: ast.Subscript) -> Value:
        result = Tensor(
            forwards=value.forwards, losses=value.losses, origin=value.origin, device=value.device,
            producer=value.producer, producer_text=value.producer_text, model=value.model, model_site=value.model_site,
        )  # fmt: skip
        # Each element of a sigmoid is a probability whatever is cut out; a softmax only stays one along other axes.
        cuts_class_axis = isinstance(index, SequenceValue) or (
            value.kind
            in (
                OutputKind.DISTRIBUTION,
                OutputKind.LOG_PROBABILITIES,
            )
            and not isinstance(node.slice, ast.Name | ast.Slice)
        )
        if value.kind in (OutputKind.PROBABILITIES, OutputKind.LOGITS, OutputKind.NON_NEGATIVE) or (
            value.kind is not OutputKind.UNKNOWN and not cuts_class_axis
        ):
            result.kind, result.maker, result.maker_site = value.kind, value.maker, value.maker_site
            result.trail = Trail(self.site(node), "[...]", value.trail, value.trail.length + 1 if value.trail else 1)
            if not isinstance(index, SequenceValue):
                result.classes, result.softmax_dim = value.classes, value.softmax_dim
        return result

    def iterate(self, value: Value, node: ast.AST) -> tuple[bool, list[Value]]:
        """The elements of an iteration: all of them (True), or a few that stand for all (False)."""
        if isinstance(value, ObjectValue):
            value = as_tuple(value) or value
        if isinstance(value, SequenceValue):
            items = list(value.items)
            if value.complete and len(items) <= UNROLL:
                return True, items
            return False, items[:SAMPLE] or [Unknown("an element")]
        if isinstance(value, RangeValue):
            if value.count is not None and value.count <= UNROLL:
                return True, [const(value.start + i * value.step) for i in range(value.count)]
            return False, [Unknown("an index"), Unknown("an index")]
        if isinstance(value, IterationValue):
            return self._iterate_wrapped(value, node)
        if isinstance(value, DictValue):
            keys: list[Value] = [const(k) if isinstance(k, str | int) else Unknown("a key") for k in value.items]
            return bool(value.box["complete"]), keys
        if isinstance(value, ModuleValue):
            return self._iterate_module(value, node)
        if isinstance(value, Const) and isinstance(value.value, str | tuple):
            return len(value.value) <= UNROLL, [const(part) for part in value.value[:UNROLL]]
        if isinstance(value, Choice):
            options = [self.iterate(option, node) for option in not_none(value)]
            return False, max((elements for _, elements in options), key=len)
        if isinstance(value, LoaderValue):
            return False, [self.batch(value), self.batch(value)]
        if isinstance(value, ParametersOf):
            return self.iterate_parameters(value)
        if isinstance(value, Tensor):
            part = Tensor(forwards=value.forwards, losses=value.losses, origin=value.origin, device=value.device)
            part.producer, part.producer_text = value.producer, value.producer_text
            return False, [part, part]
        if isinstance(value, ObjectValue) and isinstance(method := value.cls.lookup("__iter__"), FunctionValue):
            self.call(BoundMethod(method, value), positional(node), node)
            return False, [Unknown("an element", origin=value), Unknown("an element", origin=value)]
        forwards, losses = taints((value,))
        origin = value.origin if isinstance(value, Unknown) else None
        if isinstance(value, Unknown):
            children: list[Value] = [value.child(("element", 0)), value.child(("element", 1))]
            return False, children
        return False, [Unknown("an element", forwards, losses, origin), Unknown("an element", forwards, losses, origin)]

    def batch(self, loader: LoaderValue) -> Value:
        """One batch of a loader: a tensor, or a tuple of them that unpacks as needed."""
        from modellint.source.interpreter.values import UNMOVED

        return Tensor(origin=loader, device=UNMOVED if loader.on_cpu else None)

    def iterate_parameters(self, value: ParametersOf) -> tuple[bool, list[Value]]:
        raise NotImplementedError

    def _iterate_wrapped(self, value: IterationValue, node: ast.AST) -> tuple[bool, list[Value]]:
        how = value.how
        if how in ("enumerate", "items", "named"):
            exact, elements = self.iterate(value.parts[0], node)
            if how == "items" and isinstance(value.parts[0], DictValue):
                return exact, [
                    sequence("tuple", (key, value.parts[0].items.get(getattr(key, "value", None), Unknown("a value"))))
                    for key in elements
                ]
            firsts: list[Value]
            if exact:
                firsts = [const(i) for i in range(len(elements))]
            else:
                firsts = [Unknown("an index") for _ in elements]
            return exact, [sequence("tuple", pair) for pair in zip(firsts, elements, strict=True)]
        if how == "zip":
            parts = [self.iterate(part, node) for part in value.parts]
            exact = bool(parts) and all(part[0] for part in parts)
            return exact, [sequence("tuple", row) for row in zip(*(part[1] for part in parts), strict=False)]
        if how == "reversed":
            exact, elements = self.iterate(value.parts[0], node)
            return exact, elements[::-1]
        if how == "pairs":
            return True, list(value.parts)
        if how == "chain":
            parts = [self.iterate(part, node) for part in value.parts]
            return all(part[0] for part in parts), [element for part in parts for element in part[1]]
        return self.iterate(value.parts[0], node)

    def _iterate_module(self, value: ModuleValue, node: ast.AST) -> tuple[bool, list[Value]]:
        value.reads.add("*")
        if value.cls is not None and isinstance(method := value.cls.lookup("__iter__"), FunctionValue):
            self.call(BoundMethod(method, value), positional(node), node)
            return False, [Unknown("an element"), Unknown("an element")]
        if value.spec is not None and value.name.endswith("ModuleDict"):
            return value.complete, [const(key) for key in value.attrs]
        children: list[Value] = [child for child in value.attrs.values() if isinstance(child, ModuleValue | Choice)]
        limit = 2 * UNROLL
        return value.complete and len(children) <= limit, children[:limit]
