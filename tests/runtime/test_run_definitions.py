"""Where a layer of a live model is said to be defined."""

from __future__ import annotations

import importlib.util
import linecache
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from watching import check

from modellint.runtime import definitions
from modellint.runtime.call_site import source_text
from modellint.runtime.session import Session
from modellint.runtime.watch import watch


def place_text(model: nn.Module, path: str) -> str:
    """The source at the definition of a layer of a model that no watch has seen being built."""
    session = Session()
    span = definitions.place_of(session, session.root_of(model), path)
    assert span is not None
    return source_text(span)


def make_norm(width: int) -> nn.Module:
    return nn.BatchNorm1d(width)


class Plain(nn.Module):
    def __init__(self, deep: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(1, 2)
        self.second, self.third = nn.Linear(2, 3), nn.Linear(3, 4)
        self.typed: nn.Module = nn.Linear(4, 5)
        self.alias = self.other = nn.Linear(5, 6)
        norm = nn.BatchNorm1d(7)
        self.followed = norm
        self.factory = make_norm(8)
        self.scale = nn.Parameter(torch.ones(9))
        self.register_parameter("shift", nn.Parameter(torch.ones(10)))
        self.add_module("added", nn.Linear(11, 12))
        setattr(self, "given", nn.Linear(12, 13))  # noqa: B010
        if deep:
            self.body = nn.Linear(14, 15)
        else:
            self.body = nn.Sequential(nn.Linear(14, 15))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("first", "nn.Linear(1, 2)"),
        ("second", "nn.Linear(2, 3)"),
        ("third", "nn.Linear(3, 4)"),
        ("typed", "nn.Linear(4, 5)"),
        ("alias", "nn.Linear(5, 6)"),
        ("other", "nn.Linear(5, 6)"),
        ("followed", "nn.BatchNorm1d(7)"),
        ("factory", "make_norm(8)"),
        ("scale", "nn.Parameter(torch.ones(9))"),
        ("shift", "nn.Parameter(torch.ones(10))"),
        ("added", "nn.Linear(11, 12)"),
        ("given", "nn.Linear(12, 13)"),
        ("", "Plain"),
    ],
)
def test_attributes(path: str, text: str) -> None:
    assert place_text(Plain(), path) == text


def test_of_two_assignments_the_one_of_the_layer_s_class() -> None:
    assert place_text(Plain(), "body") == "nn.Sequential(nn.Linear(14, 15))"
    assert place_text(Plain(deep=True), "body") == "nn.Linear(14, 15)"


class Containers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.row = nn.Sequential(nn.Linear(1, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 3)))
        self.items = nn.ModuleList([nn.Linear(3, 4), nn.Linear(4, 5)])
        self.named = nn.ModuleDict({"left": nn.Linear(5, 6), "right": nn.Linear(6, 7)})
        self.pairs = nn.ModuleDict([["up", nn.Linear(7, 8)]])
        self.made = nn.ModuleList(nn.Linear(i, 9) for i in (1, 2))
        self.splatted = nn.Sequential(*[nn.Linear(i, 10) for i in (1, 2)])
        self.repeated = nn.ModuleList([nn.Linear(9, 10)] * 3)
        layers = [nn.Linear(10, 11), nn.ReLU()]
        self.local = nn.Sequential(*layers)
        inner = nn.Linear(11, 12)
        self.inside = nn.Sequential(inner, nn.ReLU())
        self.not_a_container = make_pair(nn.Linear(12, 13), 14)


def make_pair(first: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), first)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("row.0", "nn.Linear(1, 2)"),
        ("row.1.1", "nn.Linear(2, 3)"),
        ("items.1", "nn.Linear(4, 5)"),
        ("named.right", "nn.Linear(6, 7)"),
        ("pairs.up", "nn.Linear(7, 8)"),
        ("made.1", "nn.Linear(i, 9)"),
        ("splatted.0", "nn.Linear(i, 10)"),
        ("repeated.0", "nn.Linear(9, 10)"),
        ("local.0", "nn.Linear(10, 11)"),
        ("inside.0", "nn.Linear(11, 12)"),
        ("not_a_container.0", "make_pair(nn.Linear(12, 13), 14)"),
        ("row", "nn.Sequential(nn.Linear(1, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 3)))"),
    ],
)
def test_elements(path: str, text: str) -> None:
    assert place_text(Containers(), path) == text


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(1, 1)
        self.head = nn.Linear(1, 1)


class Middle(Base):
    pass


class Last(Middle):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 7)
        self.parts = nn.ModuleList([Plain()])


def test_subclasses_of_subclasses() -> None:
    assert place_text(Last(), "body") == "nn.Linear(1, 1)"
    assert place_text(Last(), "head") == "nn.Linear(1, 7)"
    assert place_text(Last(), "parts.0.second") == "nn.Linear(2, 3)"


class Looped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for index in range(2):
            setattr(self, f"layer{index}", nn.Linear(3, 3))
        self.items = nn.ModuleList()
        for _ in range(2):
            self.items.append(nn.Linear(4, 4))
        self.items.extend([nn.Linear(5, 5) for _ in range(2)])
        self.body = make_body(6)


def make_body(width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    layers.append(nn.Linear(width, width))
    return nn.Sequential(*layers)


def registered_text(path: str, change: Callable[[nn.Module], None] = lambda model: None) -> str:
    """The same for a model that is built under a watch."""
    with watch() as seen:
        model = Looped()
        change(model)
        model.forward = lambda x: x  # type: ignore[method-assign]
        model(torch.ones(1))
    session = seen._session
    span = definitions.place_of(session, session.all_roots()[0], path)
    assert span is not None
    return source_text(span)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("layer1", "nn.Linear(3, 3)"),
        ("items.1", "nn.Linear(4, 4)"),
        ("items.3", "nn.Linear(5, 5)"),
        ("body", "make_body(6)"),
        ("body.0", "nn.Sequential(*layers)"),
    ],
)
def test_places_of_registration(path: str, text: str) -> None:
    assert registered_text(path) == text


def test_a_layer_that_was_replaced_from_outside() -> None:
    def replace(model: nn.Module) -> None:
        model.layer0 = nn.Linear(8, 8)
        model.items[1] = nn.Linear(9, 9)  # type: ignore[index, operator]

    assert registered_text("layer0", replace) == "nn.Linear(8, 8)"
    assert registered_text("items.1", replace) == "nn.Linear(9, 9)"


def model_without_a_class() -> None:
    model = nn.Sequential(
        nn.Linear(4, 4),
        nn.PReLU(),  # expect: shared-prelu
        nn.Linear(4, 4),
    )
    model.append(model[1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()


def test_a_model_that_is_gone_when_the_facts_are_made() -> None:
    check(model_without_a_class)


def test_a_layer_of_torch_alone_has_no_place() -> None:
    session = Session()
    root = session.root_of(nn.Sequential(nn.Linear(1, 1)))
    assert definitions.place_of(session, root, "0") is None


SOURCE = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        return self.head(self.body(x))
"""


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Callable[[str], tuple[Path, type]]]:
    """Writes and imports a module that defines Net."""
    names: list[str] = []

    def write(source: str) -> tuple[Path, type]:
        path = tmp_path / f"written{len(names)}.py"
        path.write_text(source, encoding="utf-8")
        name = f"written_{tmp_path.name}_{len(names)}"
        names.append(name)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return path, module.Net

    yield write
    for name in names:
        del sys.modules[name]


def test_source_that_changed_since_import(written: Callable[[str], tuple[Path, type]]) -> None:
    path, cls = written(SOURCE)
    path.write_text("import math\n\n\n" + SOURCE, encoding="utf-8")
    session = Session()
    root = session.root_of(cls())
    for layer, line in (("body", 7), ("head", 8)):
        span = definitions.place_of(session, root, layer)
        assert span is not None
        assert span.path.endswith("written0.py")
        assert (span.line, span.column, span.end_column) == (line, 1, 1)
    place = definitions.class_place(cls)
    assert place is not None
    assert place.line == 5


def test_source_that_was_edited_in_one_line(written: Callable[[str], tuple[Path, type]]) -> None:
    path, cls = written(SOURCE)
    path.write_text(SOURCE.replace("nn.Linear(4, 4)", "nn.Linear(4, 4, bias=False)"), encoding="utf-8")
    session = Session()
    span = definitions.place_of(session, session.root_of(cls()), "body")
    assert span is not None
    assert (span.line, span.column) == (7, 1)


def test_source_that_changed_after_a_registration(written: Callable[[str], tuple[Path, type]]) -> None:
    path, cls = written(SOURCE)
    with watch() as seen:
        cls()(torch.ones(2, 4))
        path.write_text("\n" + SOURCE, encoding="utf-8")
    session = seen._session
    span = definitions.place_of(session, session.all_roots()[0], "head")
    assert span is not None
    assert (span.line, span.column) == (8, 1)


def test_source_that_is_gone(written: Callable[[str], tuple[Path, type]]) -> None:
    path, cls = written(SOURCE)
    path.unlink()
    session = Session()
    assert definitions.place_of(session, session.root_of(cls()), "body") is None


def test_source_of_a_notebook_cell() -> None:
    name = "<ipython-input-3-0123456789ab>"
    linecache.cache[name] = (len(SOURCE), None, SOURCE.splitlines(keepends=True), name)
    namespace: dict[str, object] = {"__name__": "__main__"}
    exec(compile(SOURCE, name, "exec"), namespace)
    model = namespace["Net"]()  # type: ignore[operator]
    session = Session()
    span = definitions.place_of(session, session.root_of(model), "head")
    assert span is not None
    assert (span.path, span.line, source_text(span)) == (name, 8, "nn.Linear(4, 1)")


def test_text_that_is_not_ascii(written: Callable[[str], tuple[Path, type]]) -> None:
    _, cls = written(SOURCE.replace("self.head = nn", "self.größe = 'é'; self.head = nn"))
    assert place_text(cls(), "head") == "nn.Linear(4, 1)"
