"""The layers of a root that act differently in train and eval mode, and which of them do so now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from modellint.runtime.models import tracks_statistics
from modellint.runtime.session import ModuleRecord, RootRecord

_RATES = ("p", "drop_prob", "drop_rate", "dropout", "prob", "rate")
"""What classes call the share that they drop."""


@dataclass(slots=True, eq=False)
class ModePart:
    """One such layer."""

    record: ModuleRecord
    drops: bool
    """It drops at random; else it is a norm with running statistics."""
    ran: bool = False
    """It was called in a forward that was seen module by module."""


class ModeParts:
    """Those of one root."""

    def __init__(self, root: RootRecord) -> None:
        self._root = root
        self._known = 0
        self.by_id: dict[int, ModePart] = {}
        self.seen_inside = False
        """A forward of the root was seen module by module: a part that did not run then is left out."""
        self.refresh()

    def refresh(self) -> None:
        """Look for layers that came since."""
        if len(self._root.by_id) == self._known:
            return
        self._known = len(self._root.by_id)
        for key, record in self._root.by_id.items():
            module = record.ref()
            before = self.by_id.get(key)
            if module is None or (before is not None and before.record is record):
                continue
            if tracks_statistics(module):
                self.by_id[key] = ModePart(record, drops=False)
            elif may_drop(module):
                self.by_id[key] = ModePart(record, drops=True)

    def active(self, *, training: bool = True) -> tuple[ModePart, ...]:
        """The parts that ran, have an effect, and are in train mode (`training=False`: whatever their mode)."""
        return tuple(part for part, module in self._live() if _has_effect(module) and (module.training or not training))

    def recalibrates(self) -> bool:
        """A norm in train mode without momentum averages over all batches: its statistics are being measured."""
        return any(
            not part.drops and module.training and getattr(module, "momentum", 0) is None
            for part, module in self._live()
        )

    def _live(self) -> Iterator[tuple[ModePart, nn.Module]]:
        for part in self.by_id.values():
            module = part.record.ref()
            if module is not None and (part.ran or not self.seen_inside or self._root.hidden(part.record.path)):
                yield part, module


def may_drop(module: nn.Module) -> bool:
    """A layer of the dropout family, or one that holds a dropout inside of a fused function."""
    if isinstance(module, nn.modules.dropout._DropoutNd | nn.RReLU | nn.RNNBase | nn.MultiheadAttention):
        return True
    cls = type(module)
    if "drop" not in cls.__name__.lower() and cls.__name__ != "StochasticDepth":
        return False
    return reads_mode(cls) and any(isinstance(vars(module).get(name), int | float) for name in _RATES)


def drops_now(module: nn.Module) -> bool:
    """It drops at random while it is in train mode."""
    return may_drop(module) and _has_effect(module)


def _has_effect(module: nn.Module) -> bool:
    """It would do something else in the other mode, as it is set now."""
    own: dict[str, Any] = vars(module)
    if tracks_statistics(module):
        return own.get("momentum", 0.1) is not None
    if isinstance(module, nn.RReLU):
        return bool(own["lower"] != own["upper"])
    if isinstance(module, nn.RNNBase):
        return bool(own.get("dropout", 0) > 0 and own.get("num_layers", 1) > 1)
    rates = [own[name] for name in _RATES if isinstance(own.get(name), int | float)]
    return any(rate > 0 for rate in rates)


def reads_mode(cls: type) -> bool:
    """The `forward` of a class asks for its mode."""
    code = getattr(getattr(cls, "forward", None), "__code__", None)
    return code is not None and "training" in code.co_names
