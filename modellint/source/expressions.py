"""Expressions: an `ast` node in, an abstract value out."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from modellint.facts.forward_use import Mode, SignKind
from modellint.facts.loss_use import OutputKind
from modellint.source.machine import Conditions, Machine, taints
from modellint.source.values import (
    FALSE,
    NONE,
    TRUE,
    BoundMethod,
    Cells,
    Choice,
    ClassValue,
    Const,
    ContextValue,
    DeviceValue,
    DictValue,
    External,
    FileValue,
    FunctionValue,
    IterationValue,
    Key,
    LibraryObject,
    LoaderValue,
    Method,
    ModuleValue,
    ObjectValue,
    OptimizerValue,
    ParametersOf,
    ParameterValue,
    PartialValue,
    RangeValue,
    ScalerValue,
    SchedulerValue,
    Scope,
    SequenceValue,
    SuperValue,
    Tensor,
    Trail,
    Unknown,
    Value,
    const,
    sequence,
)

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow, ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_, ast.BitXor: operator.xor,
}  # fmt: skip
_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_NUMBER_LIMIT = 10**12
_TEXT_LIMIT = 2000
_ALWAYS_TRUE = (
    FunctionValue, ClassValue, BoundMethod, External, OptimizerValue, SchedulerValue, ScalerValue, PartialValue, Method,
    FileValue, ContextValue, DeviceValue,
)  # fmt: skip
UNROLL = 12
"""Elements of a comprehension or loop that are followed one by one; of more than that, the first few stand for all."""
SAMPLE = 3


class CallArguments:
    """The evaluated arguments of one call."""

    __slots__ = ("keyword_nodes", "keywords", "node", "open", "positional", "positional_nodes")

    def __init__(self, node: ast.AST) -> None:
        self.node = node
        self.positional: list[Value] = []
        self.positional_nodes: list[ast.AST] = []
        self.keywords: dict[str, Value] = {}
        self.keyword_nodes: dict[str, ast.AST] = {}
        self.open = False
        """More arguments may be there: a star that was not followed."""

    def values(self) -> list[Value]:
        """All of them."""
        return [*self.positional, *self.keywords.values()]

    def get(self, position: int, name: str) -> Value | None:
        """The argument at a position or of that name."""
        if position < len(self.positional):
            return self.positional[position]
        return self.keywords.get(name)

    def node_of(self, position: int, name: str) -> ast.AST | None:
        """The node of the argument at a position or of that name."""
        if position < len(self.positional):
            return self.positional_nodes[position]
        return self.keyword_nodes.get(name)

    def bound(self, names: tuple[str, ...]) -> dict[str, Value]:
        """By parameter name; positions without a known name as `*0`."""
        result: dict[str, Value] = {}
        for index, value in enumerate(self.positional):
            result[names[index] if index < len(names) else f"*{index}"] = value
        result.update(self.keywords)
        return result


def positional(node: ast.AST, *values: Value) -> CallArguments:
    """A call that no source spells out."""
    call = CallArguments(node)
    call.positional.extend(values)
    call.positional_nodes.extend([node] * len(values))
    return call


class Expressions(Machine):
    """Evaluates expressions. What calls and attributes of torch things do is left to the classes below it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._evaluate: dict[type, Callable[[Any], Value]] = {
            ast.Name: self._name,
            ast.Constant: self._constant,
            ast.Attribute: self._attribute,
            ast.Call: self._call,
            ast.BinOp: self._binary,
            ast.UnaryOp: self._unary,
            ast.BoolOp: self._boolean,
            ast.Compare: self._compare,
            ast.IfExp: self._if_expression,
            ast.Subscript: self._subscript,
            ast.Tuple: self._tuple,
            ast.List: self._list,
            ast.Set: self._set,
            ast.Dict: self._dict,
            ast.ListComp: self._list_comprehension,
            ast.SetComp: self._list_comprehension,
            ast.GeneratorExp: self._list_comprehension,
            ast.DictComp: self._dict_comprehension,
            ast.Lambda: self._lambda,
            ast.JoinedStr: self._joined,
            ast.Starred: self._starred,
            ast.NamedExpr: self._named,
            ast.Await: self._await,
            ast.Yield: self._yield,
            ast.YieldFrom: self._yield,
            ast.Slice: self._slice,
        }

    # What the classes below provide.

    def call(self, function: Value, arguments: CallArguments, node: ast.AST) -> Value:
        raise NotImplementedError

    def get_attribute(self, value: Value, name: str, node: ast.AST) -> Value:
        raise NotImplementedError

    def assign(self, target: ast.AST, value: Value) -> None:
        raise NotImplementedError

    def builtin(self, name: str) -> Value | None:
        raise NotImplementedError

    # ---------------------------------------------------------------- dispatch

    def eval(self, node: ast.AST) -> Value:
        """The value of an expression."""
        self.steps += 1
        if self.steps > self.budget:
            self.tick(0)
        return self._evaluate[type(node)](node)

    # ---------------------------------------------------------------- atoms

    def _constant(self, node: ast.Constant) -> Value:
        return const(node.value)

    def lookup(self, name: str, scope: Scope | None) -> Value | None:
        """What a name is bound to."""
        while scope is not None:
            if scope.elsewhere is not None and name in scope.elsewhere:
                scope = scope.elsewhere[name]
            value = scope.names.get(name)
            if value is not None:
                return value
            scope = scope.parent
        return None

    def _name(self, node: ast.Name) -> Value:
        value = self.lookup(node.id, self.frames[-1].scope)
        if value is None:
            value = self.builtin(node.id)
            if value is None:
                return Unknown(f"the name `{node.id}` is not bound here", text=node.id)
        return value

    def _attribute(self, node: ast.Attribute) -> Value:
        return self.get_attribute(self.eval(node.value), node.attr, node)

    def _starred(self, node: ast.Starred) -> Value:
        return self.eval(node.value)

    def _named(self, node: ast.NamedExpr) -> Value:
        value = self.eval(node.value)
        self.assign(node.target, value)
        return value

    def _await(self, node: ast.Await) -> Value:
        return self.eval(node.value)

    def _yield(self, node: ast.Yield | ast.YieldFrom) -> Value:
        if node.value is not None:
            self.eval(node.value)
        return Unknown("sent into a generator")

    def _slice(self, node: ast.Slice) -> Value:
        for part in (node.lower, node.upper, node.step):
            if part is not None:
                self.eval(part)
        return Unknown("a slice")

    def _lambda(self, node: ast.Lambda) -> Value:
        defaults = tuple(self.eval(default) for default in node.args.defaults)
        return FunctionValue(node, self.file, self.frame.scope, "<lambda>", defaults, {}, None)

    def _joined(self, node: ast.JoinedStr) -> Value:
        parts: list[str] | None = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                if parts is not None:
                    parts.append(str(part.value))
            elif isinstance(part, ast.FormattedValue):
                value = self.eval(part.value)
                if (
                    isinstance(value, Const)
                    and part.format_spec is None
                    and part.conversion == -1
                    and parts is not None
                ):
                    parts.append(str(value.value))
                else:
                    parts = None
        if parts is None:
            return Unknown("a formatted string")
        text = "".join(parts)
        return const(text) if len(text) < _TEXT_LIMIT else Unknown("a long string")

    # ---------------------------------------------------------------- operators

    def _binary(self, node: ast.BinOp) -> Value:
        # A sum of 900 terms leans to the left: walk down it without recursion.
        chain: list[ast.BinOp] = [node]
        while isinstance(chain[-1].left, ast.BinOp):
            chain.append(chain[-1].left)
        value = self.eval(chain[-1].left)
        for part in reversed(chain):
            value = self.binary_operation(part, part.op, value, self.eval(part.right))
        return value

    def binary_operation(self, node: ast.AST, op: ast.operator, left: Value, right: Value) -> Value:
        """`left op right`."""
        if isinstance(left, Const) and isinstance(right, Const):
            return self._constant_operation(node, op, left.value, right.value)
        if isinstance(left, SequenceValue):
            if isinstance(op, ast.Add) and isinstance(right, SequenceValue):
                return sequence(left.kind, left.items + right.items, left.complete and right.complete, self.site(node))
            if isinstance(op, ast.Mult) and isinstance(right, Const | Unknown | RangeValue):
                count = right.value if isinstance(right, Const) else None
                if isinstance(count, int) and 0 <= count <= UNROLL:
                    return sequence(left.kind, left.items * count, left.complete, self.site(node))
                return sequence(left.kind, left.items * SAMPLE, False, self.site(node))
        if isinstance(left, ParametersOf) and isinstance(right, ParametersOf):
            return ParametersOf(left.modules + right.modules, left.complete and right.complete)
        if isinstance(left, Tensor) or isinstance(right, Tensor):
            return self._tensor_operation(node, op, left, right)
        return self.unknown(node, "an operation on unknown values", left, right)

    def _constant_operation(self, node: ast.AST, op: ast.operator, left: Any, right: Any) -> Value:
        function = _BINARY.get(type(op))
        if function is None:
            return Unknown("an operation on constants")
        big = isinstance(left, str | bytes) or isinstance(right, str | bytes)
        if isinstance(op, ast.Pow) and (abs(_number(right)) > 64 or abs(_number(left)) > _NUMBER_LIMIT):
            return Unknown("a large power")
        if isinstance(op, ast.Mult) and big and max(_number(left), _number(right)) > _TEXT_LIMIT:
            return Unknown("a long string")
        try:
            result = function(left, right)
        except Exception:
            return Unknown("an operation that fails")
        if isinstance(result, str) and len(result) > _TEXT_LIMIT:
            return Unknown("a long string")
        if isinstance(result, int | float) and not isinstance(result, bool) and abs(result) > _NUMBER_LIMIT:
            return Unknown("a large number")
        return const(result) if isinstance(result, int | float | str | bool | complex) else Unknown("an operation")

    def _tensor_operation(self, node: ast.AST, op: ast.operator, left: Value, right: Value) -> Value:
        forwards, losses = taints((left, right))
        tensors = [value for value in (left, right) if isinstance(value, Tensor)]
        first = tensors[0]
        device = first.device if all(t.device == first.device for t in tensors) else None
        result = Tensor(forwards=forwards, losses=losses, device=device, model=first.model, model_site=first.model_site)
        if (
            len(tensors) == 1
            and isinstance(left, Const | Unknown | Tensor)
            and isinstance(right, Const | Unknown | Tensor)
        ):
            # Scaled or shifted by a number: still made by the same layer, but no longer of the same kind.
            result.producer, result.producer_text = first.producer, first.producer_text
            result.origin = first.origin
            other = right if first is left else left
            if (
                isinstance(other, Const)
                and isinstance(op, ast.Mult | ast.Div)
                and first.kind is OutputKind.LOGITS
                and isinstance(left, Tensor)
            ):
                result.kind, result.maker, result.maker_site = first.kind, first.maker, first.maker_site
                result.trail, result.classes = first.trail, first.classes
        return result

    def _unary(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            decided, _, _ = self.condition(node)
            return Unknown("a condition") if decided is None else const(decided)
        value = self.eval(node.operand)
        if isinstance(value, Const) and isinstance(value.value, int | float):
            if isinstance(node.op, ast.USub):
                return const(-value.value)
            if isinstance(node.op, ast.UAdd):
                return value
        if isinstance(value, Tensor):
            result = Tensor(forwards=value.forwards, losses=value.losses, device=value.device, model=value.model)
            result.model_site = value.model_site
            return result
        return self.unknown(node, "an operation", value)

    def _boolean(self, node: ast.BoolOp) -> Value:
        result: Value = NONE
        for index, part in enumerate(node.values):
            result = self.eval(part)
            truth = self.truth(result)
            if truth is None:
                rest = [result, *(self._quiet(other) for other in node.values[index + 1 :])]
                if isinstance(node.op, ast.Or):
                    # `x or default`: the first one is not None if it is taken.
                    options = [o for o in rest if not (o is result and isinstance(o, Const))]
                    return self.join(options or rest)
                return self.join(rest)
            if truth is (not isinstance(node.op, ast.And)):
                return result
        return result

    def _quiet(self, node: ast.AST) -> Value:
        """A value that may or may not be evaluated."""
        results: list[Value] = []

        def run() -> str | None:
            results.append(self.eval(node))
            return None

        self.arms([run, lambda: None], [(), ()])
        return results[0]

    def _compare(self, node: ast.Compare) -> Value:
        decided, _, _ = self.condition(node)
        if decided is not None:
            return const(decided)
        return self._comparison

    _comparison: Value = Unknown("a comparison")
    """The undecided result of the last comparison, with what it compared."""

    def _compare_parts(self, node: ast.Compare) -> tuple[bool | None, Key | None, bool]:
        """Outcome if decided, else the key of the test and whether the comparison is its positive form."""
        left = self.eval(node.left)
        values = [left]
        outcome: bool | None = True
        key: Key | None = None
        positive = True
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.eval(right_node)
            values.append(right)
            one, key, positive = self._compare_pair(op, left, right)
            if one is False:
                outcome = False
            elif one is None and outcome is not False:
                outcome = None
            left = right
        if outcome is None:
            forwards, losses = taints(values)
            if forwards and not isinstance(node.ops[0], ast.Is | ast.IsNot | ast.In | ast.NotIn):
                self.sign(forwards, SignKind.METRIC, node)
            if any(isinstance(value, Tensor) for value in values):
                self._comparison = Tensor(forwards=forwards, losses=losses, comparison=True)
            else:
                self._comparison = Unknown("a comparison", forwards, losses)
        return outcome, key if len(node.ops) == 1 else None, positive

    def _compare_pair(self, op: ast.cmpop, left: Value, right: Value) -> tuple[bool | None, Key | None, bool]:
        if isinstance(op, ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
            positive = isinstance(op, ast.Is | ast.Eq)
            if isinstance(right, Const) and right.value is None:
                none = self._is_none(left)
                if none is not None:
                    return none is positive, None, positive
                if isinstance(left, Unknown | Choice):
                    return None, ("none", id(left)), positive
                return None, None, positive
            identical = _identity(left, right)
            if identical is not None:
                return identical is positive, None, positive
            if isinstance(left, Const) and isinstance(right, Unknown):
                left, right = right, left
            if isinstance(left, Unknown) and isinstance(right, Const) and isinstance(right.value, int | str | float):
                return None, ("equals", id(left), right.value), positive
            return None, None, positive
        if isinstance(left, Const) and isinstance(right, Const):
            function = _COMPARE.get(type(op))
            if function is not None:
                try:
                    return bool(function(left.value, right.value)), None, True
                except Exception:
                    return None, None, True
        if isinstance(op, ast.In | ast.NotIn) and isinstance(left, Const):
            keys = _constant_members(right)
            if keys is not None:
                return (left.value in keys) is isinstance(op, ast.In), None, True
        if isinstance(left, Unknown) and isinstance(right, Const) and isinstance(right.value, int | float):
            name = type(op).__name__
            return None, (name, id(left), right.value), True
        return None, None, True

    def _is_none(self, value: Value) -> bool | None:
        if isinstance(value, Const):
            return value.value is None
        if isinstance(value, Unknown):
            return None
        if isinstance(value, Choice):
            nones = [isinstance(o, Const) and o.value is None for o in value.options]
            return None if any(nones) else False
        return False

    # ---------------------------------------------------------------- conditions

    def truth(self, value: Value) -> bool | None:
        """Whether a value is true; None when that depends."""
        if isinstance(value, Const):
            return bool(value.value)
        if isinstance(value, Unknown):
            return self._assumed(("truth", id(value)))
        if isinstance(value, SequenceValue):
            if value.items and value.complete:
                return True
            return False if value.complete else (True if value.items else None)
        if isinstance(value, DictValue):
            return True if value.items else (False if value.box["complete"] else None)
        if isinstance(value, ModuleValue):
            return None if value.is_container and not any(True for _ in value.children()) else True
        if isinstance(value, Choice):
            outcomes = {self.truth(option) for option in value.options}
            return outcomes.pop() if len(outcomes) == 1 else None
        if isinstance(value, ObjectValue):
            return None if value.cls.lookup("__len__") or value.cls.lookup("__bool__") else True
        return True if isinstance(value, _ALWAYS_TRUE) else None

    def _assumed(self, key: Key) -> bool | None:
        known = self.assumed.get(key)
        if known is None and key[0] == "equals":
            for other, outcome in self.assumed.items():
                if other[0] == "equals" and other[1] == key[1] and outcome and other[2] != key[2]:
                    return False
        return known

    def condition(self, node: ast.AST) -> tuple[bool | None, Conditions, Conditions]:
        """Decide a test: its outcome if known, else what holds when it is true and when it is false."""
        self.tick()
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            decided, when_true, when_false = self.condition(node.operand)
            return (None if decided is None else not decided), when_false, when_true
        if isinstance(node, ast.BoolOp):
            return self._boolean_condition(node)
        if isinstance(node, ast.Compare):
            outcome, key, positive = self._compare_parts(node)
            if outcome is not None:
                return outcome, (), ()
            if key is None:
                return None, (), ()
            known = self._assumed(key)
            if known is not None:
                return known is positive, (), ()
            return None, ((key, positive),), ((key, not positive),)
        value = self.eval(node)
        outcome = self.truth(value)
        if outcome is not None:
            return outcome, (), ()
        if isinstance(value, Choice):
            return None, (), ()
        if isinstance(value, Unknown):
            key = ("truth", id(value))
            return None, ((key, True),), ((key, False),)
        return None, (), ()

    def _boolean_condition(self, node: ast.BoolOp) -> tuple[bool | None, Conditions, Conditions]:
        is_and = isinstance(node.op, ast.And)
        decided: bool | None = is_and
        when_true: Conditions = ()
        when_false: Conditions = ()
        undecided = 0
        for part in node.values:
            outcome, part_true, part_false = self.condition(part)
            if outcome is (not is_and):
                return outcome, (), ()
            if outcome is None:
                decided = None
                undecided += 1
                when_true += part_true
                when_false += part_false
        if undecided > 1:
            # One of several parts failed, nobody knows which.
            if is_and:
                when_false = ()
            else:
                when_true = ()
        return decided, when_true, when_false

    def _if_expression(self, node: ast.IfExp) -> Value:
        decided, when_true, when_false = self.condition(node.test)
        if decided is not None:
            self.decide(node.test, decided, node.orelse if decided else node.body)
            return self.eval(node.body if decided else node.orelse)
        return self.choose([lambda: self.eval(node.body), lambda: self.eval(node.orelse)], [when_true, when_false])

    def decide(self, test: ast.AST, taken: bool, *dead: ast.AST) -> None:
        """Note that a test in a module's method was decided, and which code is dead because of it."""
        module = self.frame.module
        if module is None or isinstance(test, ast.Constant) or not self._by_constructor(test, module):
            return
        known = module.decided.get(id(test))
        if known is not None and known[2] is not taken:
            module.decided[id(test)] = (known[0], known[1], known[2], ())
            return
        if not reads_names(test):
            return
        module.decided[id(test)] = (self.site(test), "", taken, tuple(_extent(part, part) for part in dead))

    def _by_constructor(self, test: ast.AST, module: ModuleValue) -> bool:
        """Whether only the arguments of the constructor decide a test: it reads `self`, or stands in `__init__`."""
        if module.constructing:
            return True
        names = self.frame.scope.names
        reads_self = False
        for node in ast.walk(test):
            if isinstance(node, ast.Name) and node.id in names:
                if names[node.id] is not module:
                    return False
                reads_self = True
        return reads_self

    def dead_rest(self, test: ast.AST, rest: list[ast.stmt]) -> None:
        """The arm that was taken ended: the statements after the `if` are dead for this instance too."""
        module = self.frame.module
        known = module.decided.get(id(test)) if module is not None else None
        if module is not None and known is not None and rest:
            module.decided[id(test)] = (known[0], known[1], known[2], (*known[3], _extent(rest[0], rest[-1])))

    # ---------------------------------------------------------------- containers

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
            return self.choose([lambda o=o: self.get_item(o, index, node) for o in _not_none(value)])  # type: ignore[misc]
        if isinstance(value, SequenceValue):
            return self._sequence_item(value, index, node)
        if isinstance(value, DictValue):
            if isinstance(index, Const):
                known = value.items.get(index.value)
                if known is not None:
                    return known
                return self.unknown(node, "a key that is not there", *value.items.values())
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
            key = ("item", index.value) if isinstance(index, Const) else ("item", id(index))
            return value.child(key)
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
        return slice(*parts)

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

    # ---------------------------------------------------------------- iteration

    def iterate(self, value: Value, node: ast.AST) -> tuple[bool, list[Value]]:
        """The elements of an iteration: all of them (True), or a few that stand for all (False)."""
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
            return True, [const(part) for part in value.value[:UNROLL]]
        if isinstance(value, Choice):
            options = [self.iterate(option, node) for option in _not_none(value)]
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
        from modellint.source.values import UNMOVED

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

    # ---------------------------------------------------------------- comprehensions

    def _comprehend(self, generators: list[ast.comprehension], produce: Callable[[], None]) -> bool:
        """Run `produce` for each element; False when not all elements were followed one by one."""
        generator = generators[0]
        iterated = self.eval(generator.iter)
        exact, elements = self.iterate(iterated, generator.iter)
        complete = exact
        loops = self.loops
        if not exact:
            self.loops = (*loops, generator)
        try:
            return self._comprehend_elements(generators, elements, complete, produce)
        finally:
            self.loops = loops

    def _comprehend_elements(
        self, generators: list[ast.comprehension], elements: list[Value], complete: bool, produce: Callable[[], None]
    ) -> bool:
        generator = generators[0]
        for element in elements:
            self.tick()
            self.assign(generator.target, element)
            keep = True
            for test in generator.ifs:
                decided, _, _ = self.condition(test)
                if decided is False:
                    keep = False
                    break
                if decided is None:
                    complete = False
            if not keep:
                continue
            if len(generators) > 1:
                complete = self._comprehend(generators[1:], produce) and complete
            else:
                produce()
        return complete

    def _in_own_scope(self, generators: list[ast.comprehension], produce: Callable[[], None]) -> bool:
        frame = self.frame
        outer = frame.scope
        frame.scope = Scope({}, outer, outer.file)
        try:
            return self._comprehend(generators, produce)
        finally:
            frame.scope = outer

    def _list_comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Value:
        items: list[Value] = []
        complete = self._in_own_scope(node.generators, lambda: items.append(self.eval(node.elt)))
        kind = "set" if isinstance(node, ast.SetComp) else "list"
        return sequence(kind, tuple(items), complete, self.site(node))

    def _dict_comprehension(self, node: ast.DictComp) -> Value:
        items: dict[object, Value] = {}
        unknown_keys = 0

        def produce() -> None:
            nonlocal unknown_keys
            key = self.eval(node.key)
            value = self.eval(node.value)
            if isinstance(key, Const):
                items[key.value] = value
            else:
                unknown_keys += 1
                items[("unknown key", unknown_keys)] = value

        complete = self._in_own_scope(node.generators, produce)
        return DictValue(Cells(items), Cells({"complete": complete and not unknown_keys}), self.site(node))

    # ---------------------------------------------------------------- calls

    def _call(self, node: ast.Call) -> Value:
        function_node = node.func
        if isinstance(function_node, ast.Name) and function_node.id == "super":
            value = self._super(node)
            if value is not None:
                return value
        function = self.eval(function_node)
        return self.call(function, self.arguments(node), node)

    def _super(self, node: ast.Call) -> Value | None:
        for frame in reversed(self.frames):
            if frame.function is not None and frame.function.owner is not None:
                parameters = frame.function.node.args
                names = [*parameters.posonlyargs, *parameters.args]
                receiver = frame.scope.names.get(names[0].arg) if names else None
                if receiver is None:
                    return None
                owner = frame.function.owner
                if node.args:
                    given = self.eval(node.args[0])
                    if isinstance(given, ClassValue):
                        owner = given
                return SuperValue(owner, receiver)
        return None

    def arguments(self, node: ast.Call) -> CallArguments:
        """Evaluate the arguments of a call."""
        call = CallArguments(node)
        for argument in node.args:
            value = self.eval(argument)
            if isinstance(argument, ast.Starred):
                exact, elements = self.iterate(value, argument)
                if isinstance(value, Unknown):
                    call.open = True
                    continue
                call.open = call.open or not exact
                call.positional.extend(elements)
                call.positional_nodes.extend([argument] * len(elements))
            else:
                call.positional.append(value)
                call.positional_nodes.append(argument)
        for keyword in node.keywords:
            value = self.eval(keyword.value)
            if keyword.arg is None:
                if isinstance(value, DictValue):
                    for key, item in value.items.items():
                        if isinstance(key, str):
                            call.keywords[key] = item
                            call.keyword_nodes[key] = keyword.value
                    call.open = call.open or not value.box["complete"]
                else:
                    call.open = True
            else:
                call.keywords[keyword.arg] = value
                call.keyword_nodes[keyword.arg] = keyword.value
        return call

    # ---------------------------------------------------------------- signs

    def sign(self, forwards: Any, kind: SignKind, node: ast.AST, text: str = "") -> None:
        """Note why these forwards look like validation."""
        for record in forwards:
            record.signs.setdefault((kind, node), (self.site(node), text))

    def modes_of(self, module: ModuleValue) -> set[Mode]:
        """The modes a module may be in on the current path."""
        return {entry.mode for entry in module.state.get("modes", ())}


def _extent(first: ast.AST, last: ast.AST) -> tuple[tuple[int, int], tuple[int, int]]:
    """From the start of one node to the end of another, as (line, column) of `ast`."""
    return (first.lineno, first.col_offset), (last.end_lineno, last.end_col_offset)  # type: ignore[attr-defined]


def reads_names(node: ast.AST) -> bool:
    """Whether a test reads anything at all."""
    return any(isinstance(part, ast.Name) for part in ast.walk(node))


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0


def _not_none(choice: Choice) -> list[Value]:
    """The options of a choice that an operation on it can mean."""
    options = [option for option in choice.options if not (isinstance(option, Const) and option.value is None)]
    return options or [Unknown("None")]


def _identity(left: Value, right: Value) -> bool | None:
    """Whether two values are the same thing, where that can be told."""
    if isinstance(left, Const) and isinstance(right, Const):
        return bool(left.value == right.value)
    if isinstance(left, External) and isinstance(right, External):
        return left.name == right.name
    if isinstance(left, ClassValue | External) and isinstance(right, ClassValue | External):
        return left is right
    if isinstance(left, ModuleValue | OptimizerValue | FunctionValue) and isinstance(
        right, ModuleValue | OptimizerValue | FunctionValue
    ):
        return left is right
    return None


def _constant_members(value: Value) -> set[object] | None:
    if isinstance(value, SequenceValue) and value.complete and all(isinstance(i, Const) for i in value.items):
        return {item.value for item in value.items if isinstance(item, Const)}
    if isinstance(value, DictValue) and value.box["complete"]:
        return set(value.items)
    return None


__all__ = [
    "FALSE",
    "SAMPLE",
    "TRUE",
    "UNROLL",
    "CallArguments",
    "Expressions",
    "LibraryObject",
    "ParameterValue",
    "positional",
]
