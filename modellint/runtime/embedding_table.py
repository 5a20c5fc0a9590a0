"""Embeddings whose padding row is not zero when training starts: one read at the first forward."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from modellint.facts.embedding_table import EmbeddingTable
from modellint.facts.run_evidence import RunEvidence
from modellint.runtime import definitions
from modellint.runtime.call_site import lines, shown
from modellint.runtime.models import layer_ref, model_ref
from modellint.runtime.observer import Observer
from modellint.runtime.session import ModuleRecord, RootRecord, Session
from modellint.runtime.value_read import may_compare, numbers, reading

_LOADS = re.compile(r"load_|from_pretrained|safetensors|copy_\(|from_numpy|vectors|word2vec|glove|fasttext", re.I)
"""Signs that a program gets weights from elsewhere."""


@dataclass(slots=True, eq=False)
class _Table:
    root: RootRecord
    record: ModuleRecord
    padding_index: int
    largest: float


class EmbeddingTableObserver(Observer):
    """Makes an EmbeddingTable of every trainable embedding whose padding row is not zero."""

    makes = (EmbeddingTable,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._tables: list[_Table] = []

    def root_registered(self, root: RootRecord, module: nn.Module) -> None:
        found = []
        with reading():
            for record in root.modules:
                layer = record.ref()
                if not isinstance(layer, nn.Embedding) or not isinstance(layer.padding_idx, int):
                    continue
                weight = layer._parameters.get("weight")
                if weight is not None and weight.requires_grad and may_compare(weight):
                    found.append((record, layer.padding_idx, weight[layer.padding_idx].abs().amax()))
            largest = numbers([value for _, _, value in found])
        for (record, index, _), value in zip(found, largest, strict=True):
            if value:
                self._tables.append(_Table(root, record, index, value))

    def facts(self) -> Iterator[object]:
        for table in self._tables:
            root = table.root
            layer = layer_ref(self.session, root, table.record)
            if not root.steps or layer.place is None:
                continue
            loaded = _may_load(root)
            if loaded:
                self.session.out_of_sight(
                    f"{root.text()}.{layer.name}", "its padding row may be loaded", "embedding-padding-overwritten"
                )
            yield EmbeddingTable(
                place=layer.place,
                model=model_ref(self.session, root, complete=True),
                layer=layer,
                padding_index=table.padding_index,
                largest=table.largest,
                may_be_loaded=loaded,
                run=RunEvidence(1, 1, root.first_step, "reads before the first step", root=root.key),
            )


def _may_load(root: RootRecord) -> bool:
    """A file that has part in the model shows signs of loading weights, or the model comes from a library."""
    files = {shown(root.site.code.co_filename)} if root.site is not None else set()
    own = False
    for cls in {record.cls for record in root.modules}:
        for one in cls.__mro__:
            found = definitions.class_statement(one)
            if found is not None:
                own = own or "site-packages" not in found[0]
                files.add(found[0])
    return not own or any(_LOADS.search(line) for path in files for line in lines(path))
