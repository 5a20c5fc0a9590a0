"""What stands around a node: the statements, and whether they time it or expect it to fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.source.interpreter.values import Site
from modellint.source.tree import walk

_CLOCK_NAMES = """time perf_counter process_time monotonic perf_counter_ns time_ns timeit Timer synchronize Event
elapsed_time profile profiler record_function timer benchmark"""
_CLOCKS = frozenset(_CLOCK_NAMES.split())
_CONTEXTS = frozenset(["no_grad", "inference_mode", "enable_grad", "set_grad_enabled", "autocast", "device", "open"])


def body_of(site: Site, function: ast.AST | None) -> list[ast.stmt]:
    """The statements of a function, or of the file."""
    if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return function.body
    return site.file.text.tree.body


def statements_around(body: list[ast.stmt], node: ast.AST) -> Iterator[ast.stmt]:
    """The statements that a node lies in, outermost first."""
    line = getattr(node, "lineno", 0)
    while True:
        around = next((s for s in body if s.lineno <= line <= (s.end_lineno or s.lineno)), None)
        if around is None:
            return
        yield around
        inner: list[ast.stmt] = []
        for field in ("body", "orelse", "finalbody"):
            inner.extend(getattr(around, field, []))
        for part in (*getattr(around, "handlers", []), *getattr(around, "cases", [])):
            inner.extend(part.body)
        body = inner


def is_watched(site: Site, function: ast.AST | None) -> bool:
    """Whether the code around times a statement, or expects it to fail."""
    body = body_of(site, function)
    for statement in statements_around(body, site.node):
        if isinstance(statement, ast.Try | ast.TryStar):
            return True
        if isinstance(statement, ast.With | ast.AsyncWith):
            for item in statement.items:
                called = item.context_expr.func if isinstance(item.context_expr, ast.Call) else item.context_expr
                if not isinstance(called, ast.Attribute | ast.Name):
                    return True
                if (called.attr if isinstance(called, ast.Attribute) else called.id) not in _CONTEXTS:
                    return True
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        body = [statement for statement in body if not isinstance(statement, ast.FunctionDef | ast.ClassDef)]
    for statement in body:
        for part in walk(statement):
            if isinstance(part, ast.Call):
                name = part.func.attr if isinstance(part.func, ast.Attribute) else getattr(part.func, "id", "")
                if name in _CLOCKS:
                    return True
    return False


def is_read_later(site: Site, function: ast.AST | None, name: str) -> bool:
    """Whether a name is read after a statement, in the next round of a loop included."""
    body = body_of(site, function)
    around = list(statements_around(body, site.node))
    if not around:
        return False
    last = around[-1]
    loops = [s for s in around[:-1] if isinstance(s, ast.For | ast.AsyncFor | ast.While)]
    region = loops[0] if loops else None
    for statement in body:
        for part in walk(statement):
            if isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Load):
                if part.lineno > (last.end_lineno or last.lineno):
                    return True
                if region is not None and region.lineno <= part.lineno < last.lineno and _is_target(body, name) is None:
                    return True
    return False


def _is_target(body: list[ast.stmt], name: str) -> ast.AST | None:
    """An assignment of a name."""
    for statement in body:
        for part in walk(statement):
            if isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Store):
                return part
    return None


def reads_of(body: list[ast.stmt], name: str) -> int:
    """How often a name is read."""
    return sum(
        isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Load)
        for statement in body
        for part in walk(statement)
    )


def only_value(body: list[ast.stmt], name: str) -> ast.expr | None:
    """What a name is assigned, where that happens once."""
    found: list[ast.expr | None] = []
    for statement in body:
        for part in walk(statement):
            if isinstance(part, ast.Assign):
                if any(isinstance(target, ast.Name) and target.id == name for target in part.targets):
                    found.append(part.value if len(part.targets) == 1 else None)
            elif isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Store):
                found.append(None)
    values = [value for value in found if value is not None]
    return values[0] if len(values) == 1 and len(found) <= 2 else None
