"""A reader and rules small enough to know what they say: the frame around the analysis is tested with them.

`x.bug` as a statement is an error, `x.odd` a warning, `x.crash` makes a rule fail and `x.boom` the reader; `x.cause`
is the cause of an error that `x.effect` shows.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from modellint import catalog
from modellint.facts.discarded_value import DiscardedValue
from modellint.facts.reading import BadInput, NotFollowed, ReaderFailure, Reading
from modellint.facts.span import Span
from modellint.finding import Category, Finding, Note
from modellint.rule import Rule
from modellint.source.text import SourceText, mentions_torch, parse_bytes, shown_path, unreadable


def read_files(
    files: Sequence[Path], *, cwd: Path, stdin: tuple[str, bytes] | None = None, torch_version: object = None
) -> Reading:
    """As the real reader: every attribute that stands alone as a statement becomes a DiscardedValue."""
    reading = Reading()
    inputs: list[tuple[str, bytes | None, Path]] = [(shown_path(file, cwd), None, file) for file in files]
    if stdin is not None:
        inputs.append((stdin[0], stdin[1], Path(stdin[0])))
    sources: list[SourceText] = []
    for shown, data, file in inputs:
        if data is None:
            try:
                data = file.read_bytes()
            except OSError as error:
                reading.bad_input.append(unreadable(shown, error))
                continue
        if not mentions_torch(data):
            reading.skipped += 1
            continue
        source = parse_bytes(data, file, shown)
        if isinstance(source, BadInput):
            reading.bad_input.append(source)
            continue
        reading.checked += 1
        sources.append(source)
    causes: dict[str, Span] = {}
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Attribute):
                text, name = source.segment(node), node.value.attr
                if name == "lost":
                    reading.not_followed.append(NotFollowed(source.span(node), text, "made up"))
                elif name == "boom":
                    reading.failures.append(ReaderFailure(source.path, node.lineno, "RecursionError"))
                elif name == "cause":
                    causes["cause"] = source.span(node)
                else:
                    receiver = ast.unparse(node.value.value)
                    fact = DiscardedValue(source.span(node), text, receiver, "module", name, None, causes.get("cause"))
                    reading.facts.append(fact)
    return reading


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
    import sys

    for name, rule in RULES.items():
        monkeypatch.setattr(rule, "name", name)
        for example in ("bad", "good"):
            monkeypatch.setattr(rule, example, "import torch\n", raising=False)
    module = types.ModuleType("modellint.source.reader")
    module.read_files = read_files  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "modellint.source.reader", module)
    monkeypatch.setattr(catalog, "all_rules", lambda: dict(sorted(RULES.items())))
