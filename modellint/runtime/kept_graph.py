"""Graphs that outlive their step: a marker in the graph of each window's loss tells when that graph is gone.

`total += loss` and `losses.append(loss)` keep every graph. So do reference cycles until Python collects them, which is
why nothing is said before a full collection has left the markers alive. Python may go thousands of steps without one:
where the suspicion lasts, one is run here, once in a watch. It frees what nobody can reach and changes no value.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from modellint.facts.kept_graph import KeptGraph
from modellint.facts.run_evidence import RunEvidence
from modellint.runtime import torch_internals
from modellint.runtime.call_site import Site
from modellint.runtime.graph import metadata_of
from modellint.runtime.models import model_ref
from modellint.runtime.observer import Observer
from modellint.runtime.session import RootRecord, Session

_MARK = "modellint.alive"
_LEAST_ALIVE = 32
_PERIOD = 8
"""Windows between two looks at the markers."""
_EVERY_WINDOW = 64
"""So many windows are marked one by one, later ones in groups of four and looked at less often."""


class _Mark:
    """Dies with the graph that it was put into."""

    __slots__ = ("__weakref__",)


class KeptGraphObserver(Observer):
    """Makes a KeptGraph when the graphs of many past windows are alive at once."""

    makes = (KeptGraph,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._marks: list[tuple[int, weakref.ref[_Mark]]] = []
        """By window, oldest first."""
        self._marked = -1
        self._forward: tuple[RootRecord, Site] | None = None
        """The model that made the last loss of a traced window, and its call."""
        self._suspected = 0
        """The last window when the graphs were first found alive; 0 when they are not."""
        self._collections = 0
        """Full collections until then."""
        self._collected = False
        """A collection was run here."""
        self._undecided = False
        """Graphs were alive and went before a collection could tell who held them."""
        self._found = 0

    def quiet_events(self) -> frozenset[str]:
        return frozenset({"backward_begins"})

    def backward_begins(self, tensors: Sequence[torch.Tensor], site: Site | None) -> None:
        window = self.session.window
        if window.number >= _EVERY_WINDOW and window.number % 4:
            return
        if self._marked == window.number or self._found or not tensors:
            return
        node = tensors[0].grad_fn if torch_internals.is_plain(tensors[0]) else None
        if node is None:
            return
        self._marked = window.number
        mark = _Mark()
        metadata_of(node)[_MARK] = mark
        self._marks.append((window.number, weakref.ref(mark)))
        period = _PERIOD if window.number < 2 * _EVERY_WINDOW else 8 * _PERIOD
        if window.number % period == 0:
            self._look()
        if site is not None:
            calls = [call for call in window.forwards if call.grad and call.root.parameters and call.site is not None]
            if calls and calls[-1].site is not None:
                self._forward = calls[-1].root, calls[-1].site

    def loader_started(self, loader: Any, site: Site | None) -> None:
        self._look()  # an epoch has ended: its losses are still held, or not any more

    def closing(self) -> None:
        self._look()

    def _look(self) -> None:
        if self._found:
            return
        self._marks = [mark for mark in self._marks if mark[1]() is not None]
        alive = sum(1 for number, _ in self._marks if number < self.session.window.number)
        collections = gc.get_stats()[2]["collections"]
        if alive < _LEAST_ALIVE:
            if self._suspected and collections == self._collections:
                self._undecided = True
            self._suspected = 0
            return
        if not self._suspected:
            self._suspected, self._collections = self.session.window.number, collections
            return
        if collections == self._collections and not self._collected:
            self._collected = True
            gc.collect()
            collections = gc.get_stats()[2]["collections"]
            self._marks = [mark for mark in self._marks if mark[1]() is not None]
        if collections > self._collections:
            survived = sum(1 for number, _ in self._marks if number < self._suspected)
            if survived >= _LEAST_ALIVE:
                self._found = alive
                self._marks = []
            else:
                self._suspected = 0

    def facts(self) -> Iterator[object]:
        if (self._suspected or self._undecided) and not self._found:
            self.session.out_of_sight(
                "graphs of past losses",
                "alive for many steps, but no full garbage collection ran: reference cycles may have held them",
                "loss-kept-with-graph",
            )
        if not self._found or self._forward is None:
            return
        root, site = self._forward
        yield KeptGraph(
            place=site.span(),
            text=site.text(),
            model=model_ref(self.session, root, complete=True),
            alive=self._found,
            run=RunEvidence(self._found, self.session.steps, 0, "graphs of past steps", root=root.key),
        )
