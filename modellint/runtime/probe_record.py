"""Makes the facts of the probes that `inspect` ran. In a watch of a training nothing is probed and nothing made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import nn

from modellint.facts.model import LayerRef
from modellint.facts.probe_record import BatchLeak, FirstLoss, OverfitTrial, ProbeRecord
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.runtime.call_site import Site
from modellint.runtime.models import layer_ref, model_ref
from modellint.runtime.observer import Observer
from modellint.runtime.session import RootRecord, Session

Outcome = BatchLeak | FirstLoss | OverfitTrial
Located = tuple[Outcome, str | None]
"""With the path of the layer that it is about, None for the model."""


class ProbeObserver(Observer):
    """Holds the outcomes until the facts are asked for."""

    makes = (ProbeRecord,)

    def __init__(
        self, session: Session, model: nn.Module, name: str, site: Site | None, outcomes: Sequence[Located]
    ) -> None:
        super().__init__(session)
        self._key = id(model)
        self._name, self._site, self._outcomes = name, site, outcomes
        self._root: RootRecord | None = None

    def root_registered(self, root: RootRecord, module: nn.Module) -> None:
        if id(module) == self._key and self._root is None:
            self._root, root.name = root, self._name

    def facts(self) -> Iterator[object]:
        root = self._root
        if root is None:
            return
        model = model_ref(self.session, root, complete=True)
        called = self._site.span() if self._site is not None else None
        for outcome, path in self._outcomes:
            record = next((one for one in root.modules if path is not None and path in one.paths), None)
            layer = layer_ref(self.session, root, record) if record is not None and record.path else None
            place = (layer.place if layer is not None else None) or model.class_place or called
            if place is not None:
                yield _fact(ProbeRecord(model, place, run=_evidence(root)), outcome, layer, called)


def _fact(empty: ProbeRecord, outcome: Outcome, layer: LayerRef | None, called: Span | None) -> ProbeRecord:
    if isinstance(outcome, BatchLeak):
        return replace(empty, leak=replace(outcome, layer=layer))
    if isinstance(outcome, FirstLoss):
        return replace(empty, first_loss=outcome)
    # It is about model, loss and optimizer alike, which meet in the call.
    return replace(empty, overfit=outcome, place=called or empty.place)


def _evidence(root: RootRecord) -> RunEvidence:
    return RunEvidence(1, 1, 0, "probes", root=root.key)
