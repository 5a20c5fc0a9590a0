"""What a set holds is told in the order of the source, not in that of addresses."""

from __future__ import annotations

import ast
from types import SimpleNamespace
from typing import Any

from modellint.source.forward_order import in_order


def _record(path: str, node: ast.AST) -> Any:
    file = SimpleNamespace(text=SimpleNamespace(path=path))
    return SimpleNamespace(site=SimpleNamespace(file=file, node=node))


def test_forwards_stand_in_the_order_of_the_source() -> None:
    first, second, third = ast.parse("net(a)\nnet(b); net(c)").body
    records = [_record("b.py", first), _record("a.py", third), _record("a.py", second), _record("a.py", first)]
    ordered = in_order(records)
    assert ordered == [records[3], records[2], records[1], records[0]]
    assert in_order(reversed(records)) == ordered
