"""The graph of what tensors are made of and what reads them: one node an operation, noted while code runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modellint.source.interpreter.expressions import CallArguments
    from modellint.source.interpreter.values import ModuleValue, Site

LAYER = "layer"
JOIN = "join"
"""One of several values, depending on a branch."""
SOURCE = "source"
"""Made by something that was not followed."""
LOADER = "loader"
"""A batch of a loader that stacks its samples."""
ITEM = "item"
RETURN = "return"
"""What a forward gives to code that is no module."""
KEPT = "kept"
"""Put into a container or an attribute: what reads it there counts as well."""
UNKNOWN = "unknown"
"""Code that was not followed."""


class FlowNode:
    """One operation on tensors: a call of a layer or a function, a sum, an index."""

    __slots__ = ("call", "grad", "inplace", "inputs", "module", "op", "owner", "path", "site", "users")

    def __init__(self, op: str, site: Site | None, inputs: Sequence[FlowNode] = ()) -> None:
        self.op = op
        """`layer`, a dotted torch name, the class of a Python operator (`Add`), or one of the words above."""
        self.site = site
        self.inputs = tuple(inputs)
        self.users: list[FlowNode] = []
        """In the order in which the code reads it."""
        self.module: ModuleValue | None = None
        """The layer that was called."""
        self.owner: ModuleValue | None = None
        """The module whose method does it."""
        self.call: CallArguments | None = None
        self.path: tuple[tuple[int, int], ...] = ()
        self.inplace = False
        """It writes its result into its first input."""
        self.grad: bool | None = True


def joined_node(nodes: Iterable[FlowNode | None]) -> FlowNode | None:
    """The node of a value that one of several branches made."""
    options = list(dict.fromkeys(nodes))
    known = [node for node in options if node is not None]
    if len(options) == 1 or not known:
        return options[0]
    joined = FlowNode(JOIN, None, known)
    for node in known:
        node.users.append(joined)
    return joined


def constant_argument(node: FlowNode, position: int, name: str) -> Any:
    """A constant argument of the call; None when it is not given or no constant."""
    value = node.call.get(position, name) if node.call is not None else None
    return getattr(value, "value", None)
