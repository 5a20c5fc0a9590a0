"""Whether the ranks train on the same batches: a sum over the first tensor that a wrapped model gets in a window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from modellint.facts.rank_batches import RankBatches
from modellint.facts.run_evidence import RunEvidence
from modellint.runtime import torch_internals
from modellint.runtime.call_site import Site
from modellint.runtime.graph import tensors_in
from modellint.runtime.models import model_ref
from modellint.runtime.ranks import RankObserver
from modellint.runtime.session import RootCall, RootRecord, Session
from modellint.runtime.value_read import checksum, may_read

_FEWEST_NUMBERS = 8
_MOST_BATCHES = 16


class RankBatchesObserver(RankObserver):
    """Makes a RankBatches of every model that is called through a DistributedDataParallel over all ranks."""

    makes = (RankBatches,)
    shares = "batches"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._batches: dict[int, tuple[RootRecord, dict[int, int]]] = {}
        """By the key of the root: sums by the window they came in."""
        self._sites: dict[int, Site | None] = {}
        """Their last forward: before the first step there may be forwards that only try the model out."""

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        group = self.session.group
        if group is None or not (call.training and call.grad and call.traced):
            return
        wrapper = next((w for w in torch_internals.wrappers(module) if isinstance(w, DistributedDataParallel)), None)
        if wrapper is None or wrapper.process_group.size() != group.size:
            return
        sums = self._batches.setdefault(call.root.key, (call.root, {}))[1]
        if call.step in sums or len(sums) >= _MOST_BATCHES:
            return
        tensor = next(iter(tensors_in(args)), None)
        if tensor is None or tensor.requires_grad or tensor.numel() < _FEWEST_NUMBERS or not may_read(tensor):
            return
        if tensor.dtype is not torch.bool:
            sums[call.step] = checksum([tensor])
            self._sites[call.root.key] = call.site or call.root.site

    def shared(self) -> list[dict[str, Any]]:
        known = sorted(self._batches.values(), key=lambda item: item[0].key)
        return [{"cls": root.cls.__qualname__, "sums": sorted(sums.items())} for root, sums in known]

    def facts(self) -> Iterator[object]:
        group = self.session.group
        if group is None or group.rank:
            return
        ranks = self.of_ranks()
        for index, (root, sums) in enumerate(sorted(self._batches.values(), key=lambda item: item[0].key)):
            others = [copies[index] if index < len(copies) else None for copies in ranks.values()]
            seen = [dict(one["sums"]) for one in others if one is not None and one["cls"] == root.cls.__qualname__]
            site = self._sites.get(root.key)
            if len(seen) < group.size or site is None:
                self.session.out_of_sight(root.text(), "not all ranks reported its batches", "duplicated-rank-batches")
                continue
            common = sorted(set(sums).intersection(*seen))
            equal = [step for step in common if len({one[step] for one in seen}) == 1]
            yield RankBatches(
                model=model_ref(self.session, root, complete=True),
                place=site.span(),
                world_size=group.size,
                equal=len(equal),
                distinct=len({sums[step] for step in equal}),
                compared=len(common),
                run=RunEvidence(len(equal), len(common), equal[0] if equal else 0, "compared batches", root=root.key),
            )
