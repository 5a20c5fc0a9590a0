"""Expressions: an `ast` node in, an abstract value out."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from modellint.facts.forward_use import Mode, SignKind
from modellint.facts.loss_use import OutputKind
from modellint.source.interpreter import alias_notes, module_notes
from modellint.source.interpreter.machine import Holds, Machine, taints
from modellint.source.interpreter.values import (
    FALSE,
    NONE,
    TRUE,
    Cells,
    Choice,
    ClassValue,
    ClockValue,
    Const,
    DictValue,
    FunctionValue,
    LazyImport,
    LibraryObject,
    ModuleValue,
    ParametersOf,
    ParameterValue,
    RangeValue,
    Scope,
    SequenceValue,
    SuperValue,
    Tensor,
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
_NUMBER_LIMIT = 10**12
NUMBER_BITS = 63
"""Of a number in the source: a longer one is no index, and Python may refuse to print it."""
TEXT_LIMIT = 2000
WIDE = re.compile(r"\d{4}")
"""In a format: a width that makes a text of a few characters fill the memory."""
ITEMS_LIMIT = 1000
"""Elements of one sequence: a list that is added to itself doubles each time."""
UNROLL = 24
"""Elements of a comprehension or loop that are followed one by one; of more than that, the first few stand for all."""
SAMPLE = 3

_NUMPY_NAMES = {"dim": "axis", "keepdim": "keepdims"}
"""torch takes NumPy's names of these arguments, too."""


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
        return [*self.positional, *self.keywords.values()] if self.keywords else self.positional[:]

    def get(self, position: int, name: str) -> Value | None:
        """The argument at a position or of that name."""
        if position < len(self.positional):
            return self.positional[position]
        value = self.keywords.get(name)
        if value is None and name in _NUMPY_NAMES:
            return self.keywords.get(_NUMPY_NAMES[name])
        return value

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
            ast.IfExp: self._if_expression,
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

    def from_stars(self, file: Any, name: str) -> Value | None:
        raise NotImplementedError

    def builtin(self, name: str) -> Value | None:
        raise NotImplementedError

    def time_taken(self, start: ClockValue, end: Value, node: ast.AST) -> None:
        raise NotImplementedError

    def iterate(self, value: Value, node: ast.AST) -> tuple[bool, list[Value]]:
        raise NotImplementedError

    def truth(self, value: Value) -> bool | None:
        raise NotImplementedError

    def condition(self, node: ast.AST) -> tuple[bool | None, Holds, Holds]:
        raise NotImplementedError

    def decide(self, test: ast.AST, taken: bool, *dead: ast.AST) -> None:
        raise NotImplementedError

    def compared(self, node: ast.Compare, values: Sequence[Value]) -> None:
        raise NotImplementedError

    def loss_scaled(self, node: ast.AST, op: ast.operator, left: Value, right: Value) -> None:
        raise NotImplementedError

    # ---------------------------------------------------------------- dispatch

    def eval(self, node: ast.AST) -> Value:
        """The value of an expression."""
        self.steps = steps = self.steps + 1
        if steps > self.budget:
            self.tick(0)
        kind = type(node)
        if kind is ast.Name:  # every second one
            scope = self.frames[-1].scope
            if scope.elsewhere is None:
                value = scope.names.get(node.id)  # type: ignore[attr-defined]
                if value is not None and type(value) is not LazyImport:
                    return value
        return self._evaluate[kind](node)

    # ---------------------------------------------------------------- atoms

    def _constant(self, node: ast.Constant) -> Value:
        value = node.value
        if type(value) is int and value.bit_length() > NUMBER_BITS:
            return Unknown("a large number")
        return const(value)

    def lookup(self, name: str, scope: Scope | None) -> Value | None:
        """What a name is bound to."""
        while scope is not None:
            if scope.elsewhere is not None and name in scope.elsewhere:
                scope = scope.elsewhere[name]
            value = scope.names.get(name)
            if value is not None:
                return value.value() if type(value) is LazyImport else value
            scope = scope.parent
        return None

    def lookup_here(self, name: str, scope: Scope | None) -> Value | None:
        """What a name is bound to by the file itself: None for what it imports from other files."""
        while scope is not None:
            value = scope.names.get(name)
            if value is not None:
                return value if type(value) is not LazyImport else None
            scope = scope.parent
        return None

    def _name(self, node: ast.Name) -> Value:
        value = self.lookup(node.id, self.frames[-1].scope)
        if value is None:
            value = self.builtin(node.id)
            if value is None:
                value = self.from_stars(self.frames[-1].scope.file, node.id)
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
        return const(text) if len(text) < TEXT_LIMIT else Unknown("a long string")

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
                items, complete = left.items + right.items, left.complete and right.complete
                if len(items) > ITEMS_LIMIT:
                    items, complete = items[:ITEMS_LIMIT], False
                return sequence(left.kind, items, complete, self.site(node))
            if isinstance(op, ast.Mult) and isinstance(right, Const | Unknown | RangeValue):
                count = right.value if isinstance(right, Const) else None
                alias_notes.note_repeated(self, "multiplied", node, left.items, count if type(count) is int else None)
                if isinstance(count, int) and 0 <= count <= UNROLL and len(left.items) * count <= ITEMS_LIMIT:
                    return sequence(left.kind, left.items * count, left.complete, self.site(node))
                return sequence(left.kind, (left.items * SAMPLE)[:ITEMS_LIMIT], False, self.site(node))
        if isinstance(left, ParametersOf) and isinstance(right, ParametersOf):
            modules = left.modules + right.modules
            whole = left.complete and right.complete and len(modules) <= ITEMS_LIMIT
            return ParametersOf(modules[:ITEMS_LIMIT], whole)
        if isinstance(left, Tensor) or isinstance(right, Tensor):
            return self._tensor_operation(node, op, left, right)
        if isinstance(left, ParameterValue) or isinstance(right, ParameterValue):
            result = module_notes.note_operation(self, node, left, right)
            if result is not None:
                return result
        if type(right) is ClockValue and isinstance(op, ast.Sub):
            self.time_taken(right, left, node)
        return self.unknown(node, "an operation on unknown values", left, right)

    def _constant_operation(self, node: ast.AST, op: ast.operator, left: Any, right: Any) -> Value:
        function = _BINARY.get(type(op))
        if function is None:
            return Unknown("an operation on constants")
        big = isinstance(left, str | bytes) or isinstance(right, str | bytes)
        if isinstance(op, ast.Pow) and (abs(_number(right)) > 64 or abs(_number(left)) > _NUMBER_LIMIT):
            return Unknown("a large power")
        if isinstance(op, ast.Mult) and big and max(_number(left), _number(right)) > TEXT_LIMIT:
            return Unknown("a long string")
        if isinstance(op, ast.Mod) and big and WIDE.search(str(left)):
            return Unknown("a long string")
        try:
            result = function(left, right)
        except Exception:
            return Unknown("an operation that fails")
        if isinstance(result, str) and len(result) > TEXT_LIMIT:
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
        result.nature.known = any(t.nature.known for t in tensors)
        if isinstance(op, ast.Add | ast.Sub):
            result.nature.signed = len(tensors) == 2 and all(t.nature.signed for t in tensors)
        elif (isinstance(op, ast.Mult | ast.Div) and isinstance(left, Const | Tensor) and isinstance(right, Const)) or (
            isinstance(op, ast.Mult) and isinstance(left, Const)
        ):
            result.nature.signed = first.nature.signed
        result.scaler = next((t.scaler for t in tensors if t.scaler is not None), None)
        result.weighed = bool(losses) and (not isinstance(op, ast.Add | ast.Sub) or any(t.weighed for t in tensors))
        if losses:
            self.loss_scaled(node, op, left, right)
        if (
            len(tensors) == 1
            and isinstance(left, Const | Unknown | Tensor)
            and isinstance(right, Const | Unknown | Tensor)
        ):
            # Scaled or shifted by a number: still made by the same layer, but no longer of the same kind.
            result.producer, result.producer_text = first.producer, first.producer_text
            result.origin = first.origin
            other = right if first is left else left
            if first.fill is not None and isinstance(other, Const) and isinstance(op, ast.Mult | ast.Add):
                scaled = self._constant_operation(node, op, first.fill, other.value)
                result.fill = _number(scaled.value) if isinstance(scaled, Const) else None
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
        return self.unary_operation(node, self.eval(node.operand))

    def unary_operation(self, node: ast.UnaryOp, value: Value) -> Value:
        """`-value`."""
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

    # ---------------------------------------------------------------- conditions

    def _if_expression(self, node: ast.IfExp) -> Value:
        decided, when_true, when_false = self.condition(node.test)
        if decided is not None:
            self.decide(node.test, decided, node.orelse if decided else node.body)
            return self.eval(node.body if decided else node.orelse)
        return self.choose([lambda: self.eval(node.body), lambda: self.eval(node.orelse)], [when_true, when_false])

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
        if len(items) > 1 and type(items[0]) is ModuleValue and items[0] is items[1] and isinstance(node.elt, ast.Name):
            alias_notes.note_repeated(self, "comprehension", node, items[:1], len(items) if complete else None)
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
        if type(function_node) is ast.Name and function_node.id == "super":
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
            if type(argument) is ast.Starred:
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


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0


def not_none(choice: Choice) -> list[Value]:
    """The options of a choice that an operation on it can mean."""
    options = [option for option in choice.options if not (isinstance(option, Const) and option.value is None)]
    return options or [Unknown("None")]


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
