"""How loops use their loaders: in which order, in how many rounds, for training or for evaluation.

Seen at the start of each iterator; no batch is touched. The first forward afterwards says what a round is for, and the
steps belong to the newest round that trains.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch.utils.data import BatchSampler, DistributedSampler, SequentialSampler, Subset

from modellint.facts.loader_setup import LoaderSetup
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.runtime import definitions
from modellint.runtime.call_site import Site, lines, source_text
from modellint.runtime.observer import Observer
from modellint.runtime.session import OptimizerRecord, RootCall, RootRecord, Session, Window

_DRAWS = frozenset({"shuffle", "permutation", "randperm", "sample", "choice", "choices", "randint", "randrange"})
_MOST_INDICES = 1000
_FEWEST_STEPS = 2
"""A round of one step has one batch: its order means nothing."""


@dataclass(slots=True, eq=False)
class _Round:
    """One iterator of a loader."""

    loop: _Loop
    sampler_epoch: int | None
    training: bool | None = None
    """None until a forward says what the round is for."""
    steps: int = 0


@dataclass(slots=True, eq=False)
class _Loop:
    """One loop over one dataset."""

    site: Site
    sampler: str
    sequential: bool
    distributed_shuffle: bool
    shuffled_otherwise: bool
    first_step: int
    recurrent: bool = False
    rounds: list[_Round] = field(default_factory=list)
    """Those before the newest one that trained."""
    roots: set[int] = field(default_factory=set)


class LoaderSetupObserver(Observer):
    """Makes a LoaderSetup of every loop over a DataLoader that trains."""

    makes = (LoaderSetup,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._loops: dict[tuple[Site, int], _Loop] = {}
        self._newest: _Round | None = None
        self._training: _Round | None = None

    def quiet_events(self) -> frozenset[str]:
        return frozenset({"step_ends"}) if self._training is not None else frozenset()

    def loader_started(self, loader: Any, site: Site | None) -> None:
        if site is None:
            self._newest = None
            return
        sampler = _sampler(loader)
        key = (site, id(getattr(loader, "dataset", None)))
        loop = self._loops.get(key)
        if loop is None:
            distributed = isinstance(sampler, DistributedSampler)
            own = distributed and type(sampler).__iter__ is not DistributedSampler.__iter__
            loop = self._loops[key] = _Loop(
                site=site,
                sampler=type(sampler).__name__,
                sequential=type(sampler) is SequentialSampler and _plain_batches(loader),
                distributed_shuffle=distributed and not own and getattr(sampler, "shuffle", False) is True,
                shuffled_otherwise=_shuffled(getattr(loader, "dataset", None)),
                first_step=self.session.steps,
            )
        epoch = getattr(sampler, "epoch", None)
        self._newest = _Round(loop, epoch if isinstance(epoch, int) else None)

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        newest = self._newest
        if newest is None or newest.training is not None or not call.root.parameters:
            return
        newest.training = call.training and call.grad
        if newest.training:
            self._training = newest
            newest.loop.rounds.append(newest)
            newest.loop.recurrent = newest.loop.recurrent or _is_recurrent(call.root)
            newest.loop.roots.add(call.root.key)

    def step_ends(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer, window: Window) -> None:
        if self._training is not None:
            self._training.steps += 1

    def facts(self) -> Iterator[object]:
        for loop in self._loops.values():
            rounds = [one for one in loop.rounds if one.steps >= _FEWEST_STEPS]
            if not rounds:
                continue
            place, text = iterated(loop.site)
            yield LoaderSetup(
                place=place,
                text=text,
                sampler=loop.sampler,
                sequential=loop.sequential,
                distributed_shuffle=loop.distributed_shuffle,
                epochs=len(rounds),
                sampler_epochs=tuple(one.sampler_epoch for one in rounds if one.sampler_epoch is not None),
                steps=sum(one.steps for one in rounds),
                shuffled_otherwise=loop.shuffled_otherwise,
                ordered_on_purpose=loop.recurrent,
                run=RunEvidence(
                    len(rounds), len(rounds), loop.first_step, "epochs",
                    root=next(iter(loop.roots)) if len(loop.roots) == 1 else 0,
                ),
            )  # fmt: skip


def iterated(site: Site) -> tuple[Span, str]:
    """What the loop at a site runs over: its place, and the loader as written there (`loader` of `tqdm(loader)`)."""
    span = site.span()
    for node in _loops(span.path):
        # Before Python 3.12 the instruction that asks for the iterator stands for the whole loop.
        if (node.lineno, node.col_offset + 1) == (span.line, span.column):
            span = definitions.span_of(span.path, node.iter)
            break
    try:
        value = ast.parse(source_text(span).strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return span, "the loader"
    while isinstance(value, ast.Call) and value.args:
        value = value.args[0]
    text = ast.unparse(value)
    return span, text if len(text) <= 40 and isinstance(value, ast.Name | ast.Attribute) else "the loader"


@cache
def _loops(path: str) -> tuple[ast.For, ...]:
    try:
        tree = ast.parse("\n".join(lines(path)))
    except (SyntaxError, ValueError, RecursionError):
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.For))


def _sampler(loader: Any) -> Any:
    """The sampler that orders the samples: a batch sampler of the user's may hold another one."""
    inner = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
    return inner if isinstance(inner, DistributedSampler) else getattr(loader, "sampler", None)


def _plain_batches(loader: Any) -> bool:
    batches = getattr(loader, "batch_sampler", None)
    return batches is None or (type(batches) is BatchSampler and batches.sampler is loader.sampler)


def _shuffled(dataset: Any) -> bool:
    """A subset with an order of its own, or a dataset whose code draws which sample comes."""
    while type(dataset) is Subset:
        indices = dataset.indices
        if not isinstance(indices, list | tuple | range):
            return True  # not looked into: a tensor on any device
        some = indices[:_MOST_INDICES]
        if any(one > other for one, other in pairwise(some)):
            return True
        dataset = dataset.dataset
    for cls in type(dataset).__mro__:
        if cls.__module__.partition(".")[0] in ("torch", "builtins", "typing"):
            continue
        for value in vars(cls).values():
            if isinstance(value, FunctionType) and _DRAWS.intersection(value.__code__.co_names):
                return True
    return False


def _is_recurrent(root: RootRecord) -> bool:
    return any(issubclass(record.cls, nn.RNNBase | nn.RNNCellBase) for record in root.modules)
