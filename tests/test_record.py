"""`record` and `slotted` do what the dataclasses do whose place they take."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modellint.facts.record import record, slotted


@record
class Point:
    """A frozen one."""

    x: int
    y: int = 2
    names: list[str] = field(default_factory=list)

    def total(self) -> int:
        return self.x + self.y


@record
class Far(Point):
    """With a field of its own."""

    z: int = 3


@record
class Empty:
    """Without fields."""


@record
class Single:
    """With one field."""

    value: object


@record
class Named:
    """With methods of its own where others are shared."""

    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and self.name.lower() == other.name.lower()

    def __hash__(self) -> int:
        return hash(self.name.lower())

    def __repr__(self) -> str:
        return f"<{self.name}>"


@slotted
class Counter:
    """One that changes."""

    count: int = 0
    seen: list[int] = field(default_factory=list)
    strict: bool = field(default=False, kw_only=True)


@slotted
class Wide(Counter):
    """A counter with a field more, which stands before the keyword."""

    width: int = 5


def twin(cls: type, **options: bool) -> Any:
    """The dataclass with the fields of a record."""
    body: dict[str, Any] = {"__doc__": cls.__doc__, "__annotations__": {item.name: item.type for item in fields(cls)}}
    for item in fields(cls):
        body[item.name] = field(default=item.default, default_factory=item.default_factory, kw_only=item.kw_only)
    return dataclass(slots=True, **options)(type(cls.__name__, (), body))


values = st.one_of(st.integers(), st.text(max_size=3), st.tuples(st.integers(0, 2)), st.floats(allow_nan=True))


@given(values, values, values)
def test_equality_hash_and_text_are_those_of_a_dataclass(x: Any, y: Any, other: Any) -> None:
    frozen = twin(Point, frozen=True)
    ours, theirs = Point(x, y, other), frozen(x, y, other)
    assert hash(ours) == hash(theirs)
    assert repr(ours) == repr(theirs).replace(frozen.__qualname__, "Point")
    assert (ours == Point(other, y, other)) == (theirs == frozen(other, y, other))
    assert (ours != Point(x, other, other)) == (theirs != frozen(x, other, other))
    assert (Single(x) == Single(y)) == (x == y or x is y)


@pytest.mark.parametrize(("cls", "options"), [(Point, {"frozen": True}), (Far, {"frozen": True}), (Counter, {})])
def test_the_signature_and_the_fields_are_those_of_a_dataclass(cls: type, options: dict[str, bool]) -> None:
    other = twin(cls, **options)
    assert inspect.signature(cls) == inspect.signature(other)
    assert [item.name for item in fields(cls)] == [item.name for item in fields(other)]
    assert cls.__match_args__ == other.__match_args__  # type: ignore[attr-defined]
    assert is_dataclass(cls)
    assert cls.__doc__ is not None


def test_defaults_are_made_anew() -> None:
    first, second = Point(1), Point(1)
    assert first == second
    assert first.names is not second.names
    assert (first.y, Far(1).z, first.total()) == (2, 3, 3)
    assert Counter().seen is not Counter().seen


POINT: Any = Point
COUNTER: Any = Counter


@pytest.mark.parametrize(
    "mistake",
    [lambda: POINT(), lambda: POINT(1, w=2), lambda: POINT(1, 2, [], 4), lambda: COUNTER(0, [], True)],
    ids=["missing", "unknown", "too many", "keyword only"],
)  # fmt: skip
def test_wrong_arguments_are_refused(mistake: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match=r"(Point|Counter)\.__init__\(\)"):
        mistake()


@pytest.mark.parametrize("name", ["x", "fresh"])
def test_a_record_does_not_change(name: str) -> None:
    point = Point(1)
    with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{name}'"):
        setattr(point, name, 5)
    with pytest.raises(FrozenInstanceError, match=f"cannot delete field '{name}'"):
        delattr(point, name)
    assert point == Point(1)


def test_copies_are_equal() -> None:
    far = Far(1, 2, ["a"], 4)
    assert pickle.loads(pickle.dumps(far)) == copy.deepcopy(far) == copy.copy(far) == far
    assert replace(far, x=7) == Far(7, 2, ["a"], 4)
    assert asdict(far) == {"x": 1, "y": 2, "names": ["a"], "z": 4}
    counter = pickle.loads(pickle.dumps(Counter(3, [1], strict=True)))
    assert (counter.count, counter.seen, counter.strict) == (3, [1], True)


def test_objects_of_different_classes_differ() -> None:
    assert Point(1) != Far(1)
    assert Empty() == Empty()
    assert hash(Empty()) == hash(Empty())
    assert repr(Empty()) == "Empty()"
    assert Empty() != POINT(1)


def test_own_methods_stay() -> None:
    assert Named("A") == Named("a")
    assert hash(Named("A")) == hash(Named("a"))
    assert repr(Named("A")) == "<A>"


def test_a_slotted_one_changes_and_is_itself_alone() -> None:
    first, second = Counter(1), Counter(1)
    assert first != second
    assert len({first, second}) == 2
    first.count += 1
    assert repr(first) == "Counter(count=2, seen=[], strict=False)"
    wide = Wide(1, [], 6, strict=True)
    assert (wide.count, wide.width, wide.strict) == (1, 6, True)
    for item in (first, wide, Point(1)):
        with pytest.raises(AttributeError):
            item.unknown = 1  # type: ignore[union-attr]


def test_init_is_compiled_when_it_is_asked_for() -> None:
    @record
    class Late:
        """Not made yet."""

        value: int

    assert type(vars(Late)["__init__"]).__name__ == "_LazyInit"
    assert Late(value=3).value == 3
    assert inspect.isfunction(vars(Late)["__init__"])
