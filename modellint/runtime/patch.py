"""The replaced attributes of torch, and how they are put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim.lr_scheduler import LRScheduler


class Patch:
    """One replaced attribute."""

    def __init__(self, owner: Any, attribute: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self._owner, self._attribute = owner, attribute
        self._original = vars(owner)[attribute]
        self._ours = make(self._original)
        self.name = f"{getattr(owner, '__name__', owner)}.{attribute}"
        setattr(owner, attribute, self._ours)

    def undo(self) -> bool:
        """Put the original back, unless somebody replaced ours since."""
        if vars(self._owner).get(self._attribute) is not self._ours:
            return False
        setattr(self._owner, self._attribute, self._original)
        return True


def scheduler_classes() -> list[type]:
    """LRScheduler and each subclass that has a `step` of its own."""
    found: list[type] = []
    open_classes: list[type] = [LRScheduler]
    while open_classes:
        cls = open_classes.pop()
        if "step" in vars(cls) and cls not in found:
            found.append(cls)
        open_classes += cls.__subclasses__()
    return found
