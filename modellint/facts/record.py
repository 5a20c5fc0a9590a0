"""Dataclasses that cost little to import.

`dataclass(frozen=True, slots=True)` compiles seven methods for every class when its module is imported. A start of
modellint imports some 240 dataclasses and makes objects of a third of them, and half of its time went there. These
have the same fields, methods and errors; but the methods are shared, and `__init__` is compiled when it is first asked
for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields, make_dataclass
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

_Class = TypeVar("_Class")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[_Class]) -> type[_Class]:
    """`dataclass(frozen=True, slots=True)`."""
    return _made(cls, _FROZEN, frozen=True)


@dataclass_transform(eq_default=False, field_specifiers=(field,))
def slotted(cls: type[_Class]) -> type[_Class]:
    """`dataclass(slots=True, eq=False)`: fields that change, compared and hashed by identity."""
    return _made(cls, {"__repr__": _repr}, frozen=False)


def _made(cls: type[_Class], shared: Mapping[str, object], *, frozen: bool) -> type[_Class]:
    made = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    for name, value in (*shared.items(), ("__init__", _LazyInit(made, frozen))):
        if name not in cls.__dict__:
            setattr(made, name, value)
    return made


class _LazyInit:
    """Stands for `__init__` until somebody reads it."""

    __slots__ = ("_cls", "_frozen")

    def __init__(self, cls: type, frozen: bool) -> None:
        self._cls = cls
        self._frozen = frozen

    def __get__(self, instance: object, owner: type | None = None) -> Callable[..., None]:
        init = _compiled_init(self._cls, self._frozen)
        setattr(self._cls, "__init__", init)  # noqa: B010 (mypy lets nobody assign it)
        bound: Callable[..., None] = init if instance is None else init.__get__(instance)
        return bound


def _compiled_init(cls: type, frozen: bool) -> Any:
    """The `__init__` of a dataclass with the same fields."""
    specification = [(item.name, item.type, item) for item in fields(cls)]
    told = {"__doc__": cls.__doc__}  # or dataclasses writes one
    twin: Any = make_dataclass(cls.__name__, specification, namespace=told, repr=False, eq=False, frozen=frozen)
    return twin.__init__


def _values(item: Any) -> object:
    """All fields of an object at once."""
    cls = type(item)
    read = _READERS.get(cls)
    if read is None:
        names = [one.name for one in fields(cls)]
        read = _READERS[cls] = attrgetter(*names) if names else lambda _: ()
    return read(item)


_READERS: dict[type, Callable[[object], object]] = {}


def _repr(self: Any) -> str:
    return (
        f"{type(self).__qualname__}({', '.join(f'{item.name}={getattr(self, item.name)!r}' for item in fields(self))})"
    )


def _eq(self: object, other: object) -> object:
    if type(other) is not type(self):
        return NotImplemented
    return _values(self) == _values(other)


def _hash(self: object) -> int:
    return hash(_values(self))


def _setattr(self: object, name: str, value: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(self: object, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _getstate(self: Any) -> list[object]:
    return [getattr(self, item.name) for item in fields(self)]


def _setstate(self: Any, state: list[object]) -> None:
    for item, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, item.name, value)


_FROZEN: Mapping[str, object] = {
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
    "__getstate__": _getstate,
    "__setstate__": _setstate,
}
