"""One module with parameters in a place where the code asks for several."""

from __future__ import annotations

from enum import Enum

from modellint.facts.model import LayerRef
from modellint.facts.record import record
from modellint.facts.span import Span


class Aliasing(Enum):
    """How one module came to stand for several."""

    MULTIPLIED = "a list with one module is multiplied"
    FROM_KEYS = "every key of a dict is given the same module"
    COMPREHENSION = "a comprehension names one module again and again"
    LIST = "one list has two names"
    MOVED = "the result of a move, which is the module itself, gets another name"
    DEFAULT = "a default argument is made once for all instances"
    CLASS_ATTRIBUTE = "an attribute of the class is made once for all instances"
    SELF_LOAD = "it is given its own weights"


@record
class AliasedModule:
    """One such module."""

    place: Span
    """What repeats it."""
    how: Aliasing
    layer: LayerRef
    slots: int | None
    """How many places it stands in; None when that is not known."""
    names: tuple[str, ...]
    """The names or attributes that are all this one module, as far as they are names."""
    parameters: int | None
    """How many numbers it holds; None when a size is not known."""
    used: bool
    """The places are there: a container holds it in each of them, or a forward reads it."""
    in_test_suite: bool
    made_there: bool = True
    """The repeated expression constructs it; False where it names one that was made before."""
