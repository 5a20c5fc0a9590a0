"""The quick walk over a syntax tree meets what the one of `ast` meets, contexts and operators left out."""

from __future__ import annotations

import ast
from collections import Counter

import pytest
from conftest import ROOT

from modellint.source.tree import children, statements, walk

FILES = sorted([*(ROOT / "modellint" / "source").rglob("*.py"), *(ROOT / "fixtures" / "clean").glob("*.py")])
LEFT_OUT = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.TypeIgnore)
EVERYTHING = """
import a.b as c, d
from e import f as g, h
async def j(a, /, b: int = 1, *args: x, c=2, **kw: y) -> z:
    global u
    nonlocal_ = [k async for k in l if k and not m]
    async with n as o, p: yield q
    for i, *j in r: continue
    else: pass
    while s: break
    try: raise t from v
    except* w as x: del y[1:2:3], z
    finally: assert (a := b) < c <= d, f"{e!r:>{f}} {g=}"
    match h:
        case {"a": 1, **rest} if i: return
        case [1, *more] | K(j, l=2) as m: lambda *n, o=1: (yield from p)
        case _: q.r += await s
class T(U, metaclass=V): x: int = 1; y: str
print(*a, **{"b": c, **d}, e=-f ** ~g if h else {i for i in j})
"""


@pytest.mark.parametrize("source", [EVERYTHING, *(path.read_text() for path in FILES)], ids=lambda source: source[:20])
def test_the_same_nodes(source: str) -> None:
    tree = ast.parse(source)
    expected = [node for node in ast.walk(tree) if not isinstance(node, LEFT_OUT)]
    assert Counter(map(id, walk(tree))) == Counter(map(id, expected))
    for node in expected:
        below = [child for child in ast.iter_child_nodes(node) if not isinstance(child, LEFT_OUT)]
        assert children(node) == below


def test_outer_nodes_come_first() -> None:
    seen: set[int] = set()
    tree = ast.parse(EVERYTHING)
    for node in walk(tree):
        assert not seen & {id(child) for child in children(node)}
        seen.add(id(node))


def test_statements() -> None:
    tree = ast.parse(EVERYTHING)
    kinds = (ast.stmt, ast.ExceptHandler, ast.match_case, ast.Module)
    expected = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    assert Counter(map(id, statements(tree))) == Counter(map(id, expected))
