"""What became of a forward's result: a backward reached it, or its graph went unused, or it had none.

A prehook on the graph node of each output says that a backward came through. A sentinel in the node's metadata dies
with the graph, and so says that none can come any more. Neither keeps anything of the user's alive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import torch

from modellint.runtime import torch_internals
from modellint.runtime.call_site import Site
from modellint.runtime.graph import metadata_of
from modellint.runtime.session import Session

_KEY = "modellint.forward"
_MOST_VALUES = 64


class Fate(Enum):
    """What is known of a forward so far."""

    PENDING = "its graph is alive, and nothing came through yet"
    TRAINED = "a backward came through"
    DIFFERENTIATED = "`autograd.grad` came through, no backward"
    DROPPED = "its graph went unused"
    NO_GRAPH = "nothing was recorded"
    SERVED = "its output entered a forward of another model that a backward reached"
    UNSEEN = "its output could not be followed"


class Forward:
    """One forward of a root with parameters."""

    __slots__ = (
        "active",
        "fate",
        "fed",
        "handles",
        "inputs",
        "loader",
        "losses",
        "root",
        "sentinels",
        "session",
        "site",
        "step",
        "taken",
        "tally",
        "training",
        "under",
    )

    def __init__(
        self, session: Session, root: int, step: int, site: Site | None, training: bool, inputs: tuple[object, ...]
    ) -> None:
        self.session = session
        self.root, self.step, self.site, self.training, self.inputs = root, step, site, training, inputs
        self.under = session.phase
        """The phase that a caller gave."""
        self.fate = Fate.UNSEEN
        self.fed: list[Forward] = []
        """Forwards of other roots whose output it was given."""
        self.taken = False
        """A loss without parameters was given its output."""
        self.loader = 0
        """How many loader iterators had been started."""
        self.losses = False
        """It returns nothing but losses, which it does in train mode only."""
        self.active: tuple[Any, ...] = ()
        """The layers that acted as in training."""
        self.tally: Any = None
        """Where it was counted."""
        self.sentinels = 0
        self.handles: list[Any] = []

    def follow(self, output: object, grad: bool) -> None:
        """Listen on what it returned."""
        tensors, whole = tensors_of(output)
        nodes: dict[int, Any] = {}
        for tensor in tensors:
            if not tensor.requires_grad:
                continue
            if not torch_internals.is_plain(tensor) or tensor.grad_fn is None:
                whole = False
                continue
            node = tensor.grad_fn
            nodes[id(node)] = node
        if nodes:
            self.fate = Fate.PENDING
            for node in nodes.values():
                self.sentinels += 1
                metadata_of(node).setdefault(_KEY, []).append(_Sentinel(self))
                self.handles.append(node.register_prehook(self))
            if not whole:
                self.sentinels += 1  # a part of it cannot be watched: that it goes unused is never known
        elif whole or not grad:
            self.fate = Fate.NO_GRAPH

    def __call__(self, gradients: object) -> None:
        """A backward is about to go through one of its outputs."""
        if self.session.backward_depth:
            self.fate = Fate.TRAINED
            fed, self.fed = self.fed, []
            for forward in fed:
                forward.serve()
        elif self.fate is Fate.PENDING:
            self.fate = Fate.DIFFERENTIATED

    def serve(self) -> None:
        """Its output was used to train another model."""
        if self.fate in (Fate.PENDING, Fate.DROPPED, Fate.NO_GRAPH):
            self.fate = Fate.SERVED
            if self.tally is not None:
                self.tally.take_back(self)

    def gone(self) -> None:
        """The graph of one output is gone."""
        self.sentinels -= 1
        if self.sentinels == 0:
            self.handles = []
            if self.fate is Fate.PENDING:
                self.fate = Fate.DROPPED

    def leave(self) -> None:
        """Stop to listen."""
        handles, self.handles = self.handles, []
        for handle in handles:
            handle.remove()


class _Sentinel:
    """Dies with the graph node that it is tied to."""

    __slots__ = ("_forward",)

    def __init__(self, forward: Forward) -> None:
        self._forward = forward

    def __del__(self) -> None:
        self._forward.gone()


def tensors_of(output: object) -> tuple[list[torch.Tensor], bool]:
    """The tensors in a model's arguments or output, and whether those are all that may be in it."""
    found: list[torch.Tensor] = []
    whole = True
    open_values = [output]
    seen = 0
    while open_values:
        value = open_values.pop()
        seen += 1
        if seen > _MOST_VALUES:
            return found, False
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, dict):
            open_values += dict.values(value)
        elif isinstance(value, tuple | list):
            open_values += value[:_MOST_VALUES]
            whole = whole and len(value) <= _MOST_VALUES
        elif is_dataclass(value) or isinstance(value, torch.distributions.Distribution):
            own: Mapping[str, object] = getattr(value, "__dict__", {})
            open_values += own.values()
            whole = whole and (bool(own) or not (is_dataclass(value) and fields(value)))
        elif value is not None and not isinstance(value, bool | int | float | str | bytes | torch.Size | torch.dtype):
            whole = False
    return found, whole
