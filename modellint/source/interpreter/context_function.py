"""A function that makes a context, called and not yet entered."""

from __future__ import annotations

from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.values import FunctionValue, Site, Value


class ContextFunction(Value):
    """The result of calling a `@contextmanager` function: nothing has run yet."""

    __slots__ = ("call", "function", "receiver", "site")

    def __init__(self, function: FunctionValue, receiver: Value | None, call: CallArguments, site: Site) -> None:
        self.function = function
        self.receiver = receiver
        self.call = call
        self.site = site
