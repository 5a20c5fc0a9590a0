"""A reader and rules small enough to know what they say: the frame around the analysis is tested with them.

`x.bug` as a statement is an error, `x.odd` a warning, `x.crash` makes a rule fail and `x.boom` the reader; `x.cause`
is the cause of an error that `x.effect` shows.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from modellint import catalog
from modellint.facts.discarded_value import DiscardedValue
from modellint.facts.reading import BadInput, NotFollowed, ReaderFailure
from modellint.facts.span import Span
from modellint.finding import Category, Finding, Note
from modellint.rule import Rule
from modellint.source.project import Project, SourceFile
from modellint.source.reader import EntryReading
from modellint.source.text import SourceText


class SmallReader:
    """As the real reader: every attribute that stands alone as a statement becomes a DiscardedValue."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def forget(self) -> None:
        """It holds nothing."""

    def read(self, path: Path) -> EntryReading:
        reading = EntryReading(path)
        self.project.asked = reading.asked
        file = self.project.file(path)
        if isinstance(file, BadInput):
            reading.bad_input = file
            return reading
        cause = self._cause(path)
        source = file.text
        for node in attributes(source):
            text, name = source.segment(node), node.attr
            if name == "lost":
                reading.not_followed.append(NotFollowed(source.span(node), text, "made up"))
            elif name == "boom":
                reading.failure = reading.failure or ReaderFailure(source.path, node.lineno, "RecursionError")
            elif name != "cause":
                receiver = ast.unparse(node.value)
                fact = DiscardedValue(source.span(node), text, receiver, "module", name, None, cause)
                reading.facts.append(fact)
        return reading

    def _cause(self, path: Path) -> Span | None:
        """Where `x.cause` stands, in this file or another one of its folder."""
        for other in sorted(path.parent.glob("*.py")):
            file = self.project.file(other)
            if isinstance(file, SourceFile):
                for node in attributes(file.text):
                    if node.attr == "cause":
                        return file.text.span(node)
        return None


def attributes(source: SourceText) -> list[ast.Attribute]:
    """The attributes that are statements of their own."""
    statements = [node.value for node in ast.walk(source.tree) if isinstance(node, ast.Expr)]
    return [value for value in statements if isinstance(value, ast.Attribute)]


class _Attribute(Rule):
    attribute = ""

    def discarded_value(self, value: DiscardedValue) -> Iterator[Finding]:
        if value.attribute == self.attribute:
            yield self.finding(at=value.place, message=f"`{value.text}` is wrong", why="it is", help="mend it")


class _Bug(_Attribute):
    """A bug."""

    category = Category.CORRECTNESS
    attribute = "bug"


class _Odd(_Attribute):
    """An oddity."""

    category = Category.SUSPICIOUS
    attribute = "odd"


class _Off(_Attribute):
    """Off by default."""

    category = Category.PEDANTIC
    attribute = "off"


class _Crash(Rule):
    """Fails."""

    category = Category.CORRECTNESS

    def discarded_value(self, value: DiscardedValue) -> Iterator[Finding]:
        if value.attribute == "crash":
            raise ZeroDivisionError("on purpose")
        return iter(())


class _Effect(Rule):
    """An effect with a cause elsewhere."""

    category = Category.CORRECTNESS

    def discarded_value(self, value: DiscardedValue) -> Iterator[Finding]:
        if value.attribute == "effect" and value.given_place is not None:
            cause = Note(value.given_place, "the cause", cause=True)
            yield self.finding(at=value.place, message="an effect", why="it has a cause", help="-", related=[cause])


RULES: dict[str, type[Rule]] = {
    "some-bug": _Bug,
    "odd-thing": _Odd,
    "off-thing": _Off,
    "crasher": _Crash,
    "effect": _Effect,
}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put this reader and these rules in the place of the real ones."""
    for name, rule in RULES.items():
        monkeypatch.setattr(rule, "name", name)
        for example in ("bad", "good"):
            monkeypatch.setattr(rule, example, "import torch\n", raising=False)
    monkeypatch.setattr("modellint.source.reader.Reader", SmallReader)
    monkeypatch.setattr(catalog, "all_rules", lambda: dict(sorted(RULES.items())))
