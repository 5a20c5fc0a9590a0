"""State dicts that live on beside the training, and are not copies.

`state_dict()` returns views of the parameters. Weak references to a few of them say how long somebody keeps them; after
two more steps it is checked that they are still the parameters' own memory. No value is read.
"""

from __future__ import annotations

import ast
import itertools
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import nn

from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.facts.state_copy import StateCopy
from modellint.runtime import torch_internals
from modellint.runtime.call_site import Site, lines
from modellint.runtime.models import model_ref
from modellint.runtime.observer import Observer
from modellint.runtime.session import OptimizerRecord, RootRecord, Session, Window

_MOST_TENSORS = 4
_LATER_STEPS = 2
_MOST_OPEN = 64
_USES = ("save", "dump", "load", "send", "put", "write", "append", "copy", "average", "update", "submit")
_AT_ONCE = ("save", "dump", "load", "send", "put", "write")
_NEXT_STATEMENTS = 2


@dataclass(slots=True, eq=False)
class _Copy:
    """One result of `state_dict()`."""

    site: Site
    module: weakref.ref[nn.Module]
    key: int
    pairs: list[tuple[weakref.ref[torch.Tensor], weakref.ref[torch.Tensor]]]
    """A tensor of the result with the parameter whose memory it is."""
    root: RootRecord | None = None
    first_step: int = 0
    later: int = 0
    shared: bool = False
    died_at: list[int] = field(default_factory=list)
    """How many steps had ended when the first of the tensors went."""


class StateCopyObserver(Observer):
    """Makes a StateCopy of every state dict that was kept beside the training."""

    makes = (StateCopy,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._open: list[_Copy] = []
        self._kept: list[_Copy] = []
        self._newest: dict[tuple[Site, int], _Copy] = {}

    def quiet_events(self) -> frozenset[str]:
        return frozenset({"step_ends"}) if self._open else frozenset()

    def state_copied(self, module: nn.Module, state: Mapping[str, Any], site: Site | None) -> None:
        if site is None:
            return
        inner, _ = torch_internals.unwrapped(module)
        # The address 0 is that of a tensor without memory: on `meta`, or sharded away.
        owners = {_address(parameter): parameter for parameter in inner.parameters()}
        shared = [(t, owners[_address(t)]) for t in state.values() if type(t) is torch.Tensor and _address(t) in owners]
        shared = [(tensor, owner) for tensor, owner in shared if _address(tensor)]
        # The first ones and the last: a loop over the items leaves its last tensor alive.
        shared = shared[: _MOST_TENSORS - 1] + shared[_MOST_TENSORS - 1 :][-1:]
        if not shared or len(self._open) >= _MOST_OPEN:
            return
        copy = _Copy(site, weakref.ref(inner), id(inner), [], first_step=self.session.steps)
        died_at, session = copy.died_at, weakref.ref(self.session)

        def died(_: object) -> None:
            known = session()
            if known is not None:
                died_at.append(known.steps)

        copy.pairs = [(weakref.ref(tensor, died), weakref.ref(owner)) for tensor, owner in shared]
        self._open.append(copy)
        self._newest[site, copy.key] = copy

    def step_ends(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer, window: Window) -> None:
        if self._open:
            self._open = [copy for copy in self._open if self._still_open(copy, record)]

    def _still_open(self, copy: _Copy, record: OptimizerRecord) -> bool:
        if copy.died_at or copy.module() is None:
            return False
        if copy.root is None:
            copy.root = self._root_of(copy)
        if copy.root is None or copy.root not in record.roots:
            return True
        copy.later += 1
        if copy.later < _LATER_STEPS:
            return True
        pairs = [(tensor(), owner()) for tensor, owner in copy.pairs]
        if all(t is not None and o is not None and _address(t) == _address(o) for t, o in pairs):
            self._kept.append(copy)
        return False

    def _root_of(self, copy: _Copy) -> RootRecord | None:
        module = copy.module()
        for root in self.session.roots.values():
            if module is not None and (root.ref() is module or root.module(module) is not None):
                return root
        return None

    def facts(self) -> Iterator[object]:
        for copy in self._kept:
            root = copy.root
            if root is None or self._newest.get((copy.site, copy.key)) is not copy:
                continue  # the same call was made again: its variable has another value now
            last = root.last_step
            if copy.died_at and min(copy.died_at) < last:
                continue
            later = last - copy.first_step
            place = copy.site.span()
            at_once, later_use = uses(place)
            yield StateCopy(
                place=place,
                text=copy.site.text(),
                model=model_ref(self.session, root, complete=True),
                later_steps=later,
                used_at_once=at_once,
                used_later=later_use,
                run=RunEvidence(later, last, copy.first_step, "steps", root=root.key),
            )


def _address(tensor: torch.Tensor) -> int:
    plain = torch_internals.is_plain(tensor) and tensor.layout is torch.strided
    return tensor.data_ptr() if plain else 0


def uses(place: Span) -> tuple[bool, bool]:
    """Whether the next statements save or load what the call at a place gives, and whether any later code does."""
    tree = _tree(place.path)
    found = _statement(tree, place) if tree is not None else None
    if tree is None or found is None:
        return False, True
    block, index = found
    statement = block[index]
    if _calls_one_of(statement, _AT_ONCE, names=None):
        return True, True  # `torch.save(model.state_dict(), path)`
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return False, True
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    names = {ast.unparse(_base(target)) for target in targets}
    following = block[index + 1 : index + 1 + _NEXT_STATEMENTS]
    before_loops = itertools.takewhile(lambda one: not isinstance(one, ast.For | ast.While), following)
    at_once = any(_calls_one_of(one, _AT_ONCE, names) for one in before_loops)
    if not all(isinstance(target, ast.Name) for target in targets):
        return at_once, True
    return at_once, any(_uses(node, names, statement) for node in ast.walk(_scope(tree, statement)))


def _scope(tree: ast.Module, statement: ast.stmt) -> ast.AST:
    """The innermost function around a statement, else the module."""
    found: ast.AST = tree
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.lineno <= statement.lineno and (node.end_lineno or 0) >= (statement.end_lineno or 0):
                found = node
    return found


def _uses(node: ast.AST, names: set[str], statement: ast.stmt) -> bool:
    """A node hands one of the names on: to a function that keeps it, to the caller, or to another name."""
    if node is statement:
        return False
    if isinstance(node, ast.Call):
        return _call_is_one_of(node, _USES) and _has_name([*node.args, *(k.value for k in node.keywords)], names)
    if isinstance(node, ast.Return | ast.Yield | ast.Assign | ast.AnnAssign) and node.value is not None:
        value = node.value
        parts = [value, *getattr(value, "elts", ()), *(getattr(value, "values", None) or ())]
        return any(isinstance(part, ast.Name) and part.id in names for part in parts)
    return False


def _calls_one_of(statement: ast.stmt, words: tuple[str, ...], names: set[str] | None) -> bool:
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and _call_is_one_of(node, words):
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            if names is None or _has_name(given, names):
                return True
    return False


def _call_is_one_of(call: ast.Call, words: tuple[str, ...]) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2].lower()
    return any(word in name for word in words)


def _has_name(values: list[ast.expr], names: set[str]) -> bool:
    return any(ast.unparse(node) in names for value in values for node in ast.walk(value) if isinstance(node, ast.expr))


def _base(target: ast.expr) -> ast.expr:
    """`checkpoint` of `checkpoint["model"]`."""
    while isinstance(target, ast.Subscript):
        target = target.value
    return target


def _statement(tree: ast.Module, place: Span) -> tuple[list[ast.stmt], int] | None:
    """The innermost statement around a place that holds no other statements, with its block."""
    found = None
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            for index, statement in enumerate(block if isinstance(block, list) else ()):
                if statement.lineno <= place.line and (statement.end_lineno or 0) >= place.end_line:
                    found = (block, index) if isinstance(block, list) else found
    return found


@cache
def _tree(path: str) -> ast.Module | None:
    try:
        return ast.parse("\n".join(lines(path)))
    except (SyntaxError, ValueError, RecursionError):
        return None
