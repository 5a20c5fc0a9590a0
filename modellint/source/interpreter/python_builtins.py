"""Python's own functions on abstract values."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from typing import Any

from modellint.facts.forward_use import SignKind
from modellint.source.interpreter.definitions import Definitions
from modellint.source.interpreter.expressions import NUMBER_BITS, UNROLL, CallArguments, positional
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.values import (
    END_OF_PROGRAM,
    NONE,
    Cells,
    Const,
    DictValue,
    External,
    IterationValue,
    LazyImport,
    LoaderValue,
    ModuleValue,
    ObjectValue,
    ParametersOf,
    RangeValue,
    SequenceValue,
    Tensor,
    Unknown,
    Value,
    const,
    sequence,
)
from modellint.source.torch_api.frameworks import ZOO_MODEL

BUILTIN_NAMES = frozenset(
    [
        "len",
        "globals",
        "range",
        "enumerate",
        "zip",
        "reversed",
        "sorted",
        "list",
        "tuple",
        "set",
        "dict",
        "isinstance",
        "issubclass",
        "getattr",
        "setattr",
        "hasattr",
        "super",
        "type",
        "int",
        "float",
        "str",
        "bool",
        "max",
        "min",
        "sum",
        "abs",
        "round",
        "any",
        "all",
        "map",
        "filter",
        "print",
        "iter",
        "next",
        "id",
        "vars",
        "property",
        "staticmethod",
        "classmethod",
        "open",
        "repr",
        "format",
        "callable",
        "divmod",
        "pow",
        "slice",
        "object",
        "frozenset",
        "hash",
        "input",
        "ord",
        "chr",
        "exit",
        "quit",
    ]
)


_CONSTANT_BUILTINS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (int, float, str, bool, abs, round, len, max, min)
}


_ROUNDED_DIGITS = 400
"""More than a float has; Python takes for ever to round to millions of them."""


class PythonBuiltins(Definitions):
    """Calls of builtins."""

    # What the classes below provide.

    def isinstance_of(self, value: Value, cls: Value) -> bool | None:
        raise NotImplementedError

    def builtin(self, name: str) -> Value | None:
        """A name of Python's builtins."""
        if name in BUILTIN_NAMES:
            return External(name)
        if hasattr(builtins, name) and not name.startswith("_"):
            return External(name)
        if name == "__name__":
            return const("__main__")
        if name == "__file__":
            return Unknown("`__file__`")
        return None

    def _range(self, call: CallArguments) -> Value:
        numbers = [v.value if isinstance(v, Const) and isinstance(v.value, int) else None for v in call.positional]
        if not numbers or any(n is None for n in numbers) or call.open:
            return RangeValue(None, stop=_last(call))
        try:
            exact = range(*[n for n in numbers if n is not None]) if 0 not in numbers[2:] else range(0)
            count = len(exact)
        except (TypeError, OverflowError):  # four numbers; more elements than a machine word can count
            return RangeValue(None, stop=_last(call))
        return RangeValue(count, exact.start, exact.step, _last(call))

    def _make_dict(self, call: CallArguments, node: ast.AST) -> Value:
        items: dict[object, Value] = {}
        complete = not call.open
        for value in call.positional:
            if isinstance(value, DictValue):
                items.update(value.items)
                complete = complete and bool(value.box["complete"])
            elif isinstance(value, External | Const):
                continue
            else:
                exact, elements = self.iterate(value, node)
                complete = complete and exact
                for element in elements:
                    if (
                        isinstance(element, SequenceValue)
                        and len(element.items) == 2
                        and isinstance(element.items[0], Const)
                    ):
                        items[element.items[0].value] = element.items[1]
                    else:
                        complete = False
        items.update(call.keywords)
        return DictValue(Cells(items), Cells({"complete": complete}), self.site(node))

    def _call_builtin(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        values = call.positional
        first = values[0] if values else None
        if name == "isinstance" and len(values) == 2:
            outcome = self.isinstance_of(values[0], values[1])
            return self._test_result(values[0], node) if outcome is None else const(outcome)
        if name == "range":
            return self._range(call)
        if name in ("enumerate", "reversed") and first is not None:
            return IterationValue(name, (first,))
        if name == "zip":
            return IterationValue("zip", tuple(values))
        if name == "getattr" and len(values) >= 2:
            return self._getattr(values, node)
        if name == "setattr" and len(values) == 3:
            if isinstance(values[1], Const) and isinstance(values[1].value, str):
                self.set_attribute(values[0], values[1].value, values[2], node)
            elif isinstance(values[0], ModuleValue):
                values[0].reads.add("*")
                self.set_attribute(values[0], f"?{len(values[0].attrs)}", values[2], node)
            return NONE
        if name == "hasattr" and len(values) == 2:
            return self._hasattr(values, node)
        if name in ("list", "tuple", "set", "sorted", "frozenset"):
            return self._make_sequence(name, first, node)
        if name == "dict":
            return self._make_dict(call, node)
        if name == "len" and first is not None:
            return self._length(first)
        if name == "type" and len(values) == 1:
            return self._type_of(values[0])
        if name == "globals":
            names = {key: bound for key, bound in self.file.scope.names.items() if type(bound) is not LazyImport}
            return DictValue(Cells(names), Cells({"complete": False}), self.site(node))
        if name == "print":
            return NONE
        if name in ("next", "iter") and first is not None:
            if name == "iter":
                return first
            _, elements = self.iterate(first, node)
            return elements[0] if elements else Unknown("an element")
        if name in ("map", "filter") and len(values) == 2:
            return self._map(name, values, node)
        if name in ("sum", "max", "min", "abs", "round", "int", "float", "bool", "str", "any", "all"):
            return self._reduce(name, values, node)
        if name in ("exit", "quit"):
            return END_OF_PROGRAM
        if name in ("vars", "iter") and isinstance(first, ModuleValue):
            first.reads.add("*")
        if name == "classmethod" or name == "staticmethod":
            return first if first is not None else Unknown(name)
        return self.unknown(node, f"the result of `{name}`", *values)

    def _test_result(self, value: Value, node: ast.AST) -> Value:
        """The undecided result of a test of an Unknown: the same for the same test of the same value."""
        if isinstance(value, Unknown) and isinstance(node, ast.Call):
            known: str | None = getattr(node, "_modellint_text", None)
            if known is None:
                known = node._modellint_text = ast.unparse(node)  # type: ignore[attr-defined]
            return value.child(("test", known))
        return Unknown("a test")

    def _getattr(self, values: list[Value], node: ast.AST) -> Value:
        target, name = values[0], values[1]
        if isinstance(name, Const) and isinstance(name.value, str):
            result = self.get_attribute(target, name.value, node)
            if isinstance(result, Unknown) and len(values) == 3 and isinstance(target, ModuleValue | ObjectValue):
                return values[2]
            return result
        if isinstance(target, ModuleValue):
            target.reads.add("*")
        if isinstance(target, External) and target.name == "torchvision.models":
            return External(ZOO_MODEL)
        return self.unknown(node, "`getattr` with an unknown name", target)

    def _hasattr(self, values: list[Value], node: ast.AST) -> Value:
        target, name = values
        if isinstance(target, ModuleValue | ObjectValue) and isinstance(name, Const) and isinstance(name.value, str):
            if name.value in target.attrs or (target.cls is not None and target.cls.lookup(name.value)):
                return const(True)
            if isinstance(target, ModuleValue) and target.spec is not None:
                if name.value in ("weight", "bias"):
                    return const(target.spec.parametric)
                return (
                    const(False)
                    if target.cls is None and name.value not in target.spec.signature
                    else Unknown("hasattr")
                )
            if (
                isinstance(target, ModuleValue)
                and target.complete
                and target.cls is not None
                and not target.cls.unknown_base
            ):
                return const(False)
        return self._test_result(target, node)

    def _make_sequence(self, name: str, first: Value | None, node: ast.AST) -> Value:
        kind = {"sorted": "list", "frozenset": "set"}.get(name, name)
        if first is None:
            return sequence(kind, (), True, self.site(node))
        if isinstance(first, ParametersOf):
            return first
        if isinstance(first, Unknown | Tensor | LoaderValue):
            return first
        exact, elements = self.iterate(first, node)
        return sequence(kind, tuple(elements), exact, self.site(node))

    def _length(self, value: Value) -> Value:
        if isinstance(value, SequenceValue) and value.complete:
            return const(len(value.items))
        if isinstance(value, DictValue) and value.box["complete"]:
            return const(len(value.items))
        if isinstance(value, ModuleValue) and value.is_container and value.complete:
            return const(sum(1 for _ in value.children()))
        if isinstance(value, Const) and isinstance(value.value, str | bytes | tuple):
            return const(len(value.value))
        if isinstance(value, RangeValue) and value.count is not None:
            return const(value.count)
        if isinstance(value, Unknown):
            return value.child("__len__")
        return Unknown("a length")

    def _type_of(self, value: Value) -> Value:
        if isinstance(value, ModuleValue):
            return value.cls if value.cls is not None else External(value.name)
        if isinstance(value, ObjectValue):
            return value.cls
        return Unknown("a type")

    def _map(self, name: str, values: list[Value], node: ast.AST) -> Value:
        exact, elements = self.iterate(values[1], node)
        if name == "filter":
            if isinstance(values[1], ParametersOf):
                return values[1]
            return sequence("list", tuple(elements), False, self.site(node))
        results = tuple(self.call(values[0], positional(node, element), node) for element in elements)
        return sequence("list", results, exact, self.site(node))

    def _reduce(self, name: str, values: list[Value], node: ast.AST) -> Value:
        function = _CONSTANT_BUILTINS.get(name)
        if function is not None and values and all(isinstance(v, Const) for v in values):
            given = [v.value for v in values if isinstance(v, Const)]
            if name == "round" and len(given) > 1 and isinstance(given[1], int) and abs(given[1]) > _ROUNDED_DIGITS:
                return Unknown("a number rounded away")
            try:
                result = function(*given)
            except Exception:
                return Unknown(f"`{name}` that fails")
            if isinstance(result, float | str) or (isinstance(result, int) and result.bit_length() <= NUMBER_BITS):
                return const(result)
        forwards, losses = taints(values)
        if name == "sum" and len(values) >= 1 and isinstance(values[0], SequenceValue) and values[0].items:
            total = values[0].items[0]
            for item in values[0].items[1:UNROLL]:
                total = self.binary_operation(node, ast.Add(), total, item)
            return total
        if name in ("any", "all") and isinstance(values[0] if values else None, SequenceValue):
            items = values[0].items  # type: ignore[attr-defined]
            truths = [self.truth(item) for item in items]
            if values[0].complete and None not in truths:  # type: ignore[attr-defined]
                return const(any(truths) if name == "any" else all(truths))
        if name in ("max", "min", "round", "abs") and forwards:
            self.sign(forwards, SignKind.METRIC, node)
        return Unknown(f"the result of `{name}`", forwards, losses)


def _last(call: CallArguments) -> Value | None:
    """Where a range ends."""
    given = call.positional
    return given[min(len(given), 2) - 1] if given and not call.open else None
