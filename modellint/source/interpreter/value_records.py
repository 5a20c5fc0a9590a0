"""What is noted about single values: thresholds, logarithms, dropped results, `.data`."""

from __future__ import annotations

import ast
from dataclasses import field

from modellint.facts.record import slotted
from modellint.source.interpreter.values import Site, Tensor, Value

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | None


@slotted
class ThresholdRecord:
    """A value compared with a number between 0 and 1, or rounded."""

    site: Site
    value: Tensor
    test: str
    """`> 0.5`, `.round()`."""


@slotted
class LogRecord:
    """A logarithm of something whose logarithm has a function of its own."""

    site: Site
    argument: ast.AST
    argument_value: Tensor
    function: Function
    recorded: bool
    """Gradients are recorded there."""


@slotted
class DroppedRecord:
    """The result of a call that a statement drops, or a name that holds it."""

    site: Site
    role: str
    """`tensor`: an operation on a tensor; `layer`: a call of a layer; `context`; `unread`: a name."""
    operation: str
    """`to`, `torch.clamp`, `Dropout`."""
    subject: str
    """The name of what was meant to change, as written."""
    value: Tensor | None
    function: Function
    name: str = ""
    """Of an `unread` one."""


@slotted
class DataRecord:
    """`x.data` of a tensor that a model or an operation made."""

    site: Site
    value: Tensor
    in_forward: bool


@slotted
class FactorRecord:
    """A number that a loss is multiplied by."""

    node: ast.AST
    site: Site
    value: Value


@slotted
class ValueRecords:
    """All of these, each once a place."""

    thresholds: dict[object, ThresholdRecord] = field(default_factory=dict)
    logs: dict[object, LogRecord] = field(default_factory=dict)
    dropped: dict[object, DroppedRecord] = field(default_factory=dict)
    data: dict[object, DataRecord] = field(default_factory=dict)
