"""Module instances from a run: layers that one forward calls more than once, and what never gets a gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from modellint.facts.model import LayerRef
from modellint.facts.module_instance import (
    DetachedLayer,
    LayerCall,
    ModuleInstance,
    UnusedLayer,
    UnusedParameter,
)
from modellint.facts.run_evidence import RunEvidence
from modellint.runtime import definitions
from modellint.runtime.missing_gradients import PASSES, MissingGradients, Tree
from modellint.runtime.models import layer_ref, model_ref
from modellint.runtime.observer import Observer
from modellint.runtime.session import (
    ModuleCall,
    ModuleRecord,
    OptimizerRecord,
    ParameterRecord,
    RootCall,
    RootRecord,
    Session,
    Window,
)
from modellint.runtime.shared_layers import Gap, Shared, SharedLayers, Use

_UNUSED, _DETACHED, _UNUSED_PARAMETER = "unused-module", "detached-module", "unused-parameter"
_SHARED_NORM, _SHARED_SLOPE = "shared-batchnorm", "shared-prelu"


class ModuleInstanceObserver(Observer):
    """Makes the ModuleInstances of every root of which parameters are trained."""

    makes = (ModuleInstance,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._gradients = MissingGradients(session)
        self._layers = SharedLayers()

    def quiet_events(self) -> frozenset[str]:
        return frozenset({"step_begins"}) if self._gradients.suspected else frozenset()

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._gradients.root_begins(call)
        self._layers.root_begins(call)

    def module_begins(self, call: ModuleCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._gradients.begins(call)
        self._layers.begins(call, module, args)

    def module_ends(self, call: ModuleCall, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._gradients.ends(call, output)
        self._layers.ends(call, args, output)

    def root_ends(self, call: RootCall, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._gradients.root_ends(call, output)
        self._layers.root_ends(call, output)

    def step_begins(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer) -> None:
        self._gradients.step_begins()

    def step_ends(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer, window: Window) -> None:
        self._gradients.step_ends(record, window)

    def backward_ends(self) -> None:
        self._gradients.backward_ends()

    def closing(self) -> None:
        self._gradients.closing()

    def facts(self) -> Iterator[object]:
        for tree in self._gradients.trees.values():
            yield from _WithoutGradient(self.session, tree).facts()
        for shared in self._layers.shared.values():
            yield from self._shared(shared)
        for root in self.session.trained_roots():
            for part, reason in root.opaque.items():
                if any(issubclass(record.cls, nn.modules.batchnorm._NormBase) for record in root.below(part)):
                    self.session.out_of_sight(_name(root, part), reason, _SHARED_NORM)

    # Layers that are called more than once

    def _shared(self, shared: Shared) -> Iterator[ModuleInstance]:
        root, record = shared.root, shared.record
        rule = _SHARED_NORM if shared.norm else _SHARED_SLOPE
        hidden = root.hidden(record.path)
        if hidden or self.session.other_threads:
            self.session.out_of_sight(_name(root, record.path), hidden or "run on other threads", rule)
            return
        keys = [_producers(uses) for uses in shared.patterns]
        if shared.forwards < PASSES:
            if len(set(keys[0])) > 1 or len(shared.patterns[0]) > 1:
                self.session.out_of_sight(_name(root, record.path), "called twice in one forward only", rule)
            return
        # What only one forward shows is not enough: of those that say most, the second.
        which = sorted(range(len(keys)), key=lambda index: -len(set(keys[index]) - {None}))[1]
        uses, producers = shared.patterns[which], keys[which]
        if None in producers and len(set(producers) - {None}) < 2 and any(u.layers or not u.known for u in uses):
            self.session.out_of_sight(
                _name(root, record.path), "called more than once on inputs whose producers cannot be told apart", rule
            )
        ref = layer_ref(self.session, root, record)
        gap = _widest(shared, producers)
        numbers: tuple[tuple[str, float], ...] = (("calls", shared.calls), ("forwards", shared.forwards))
        if gap is not None:
            numbers += (("gap", gap.gap), ("difference", gap.difference), ("std", gap.std))
            numbers += (("variance_ratio", gap.variance_ratio),)
        yield ModuleInstance(
            model=model_ref(self.session, root, complete=True),
            calls=tuple(_call(shared, root, ref, use, producer) for use, producer in zip(uses, producers, strict=True)),
            unused=(),
            parameters=_size(list(root.parameters.values())),
            optimizer=None,
            optimizer_place=None,
            root=True,
            run=RunEvidence(
                times=shared.forwards,
                watched=self._layers.forwards.get(root.key, shared.forwards),
                first_step=shared.first_step,
                what="forwards",
                numbers=numbers,
                root=root.key,
            ),
        )


def _call(shared: Shared, root: RootRecord, ref: LayerRef, use: Use, producer: frozenset[str] | None) -> LayerCall:
    site = use.site or root.site
    assert site is not None
    return LayerCall(
        layer=shared.record.key,
        ref=ref,
        place=site.span(),
        stateful_norm=shared.norm,
        producer=_producer_text(root, producer) if producer is not None else None,
        producer_key=producer,
        branches=(),
        trained_slope=not shared.norm,
        size=use.size,
        own_input=use.own_input,
        after_itself=use.after_itself,
    )


def _producers(uses: Sequence[Use]) -> list[frozenset[str] | None]:
    """One key a call: equal where the same layers made the inputs, different only where no layer made both."""
    groups: list[tuple[frozenset[str], Use]] = []
    keys: list[frozenset[str] | None] = []
    for use in uses:
        key: frozenset[str] | None = use.layers or None
        if key is not None and all(key != group for group, _ in groups):
            # A part that has no graph may be what the other call was given.
            mixed = any(
                (not a.graph and b.unseen) or (not b.graph and a.unseen)
                for a, b in ((use, other) for _, other in groups)
            )
            if mixed or any(key & group for group, _ in groups) or (use.inputs and groups):
                key = None
            else:
                groups.append((key, use))
        keys.append(key)
    return keys


def _widest(shared: Shared, producers: Sequence[frozenset[str] | None]) -> Gap | None:
    """The largest gap between calls of different producers; between any two where all have the same."""
    several = len(set(producers) - {None}) > 1
    found = []
    for first in range(len(producers)):
        for second in range(first + 1, len(producers)):
            one, two = producers[first], producers[second]
            if one is None or two is None or (several and one == two):
                continue
            gap = shared.gap(first, second)
            if gap is not None:
                found.append(gap)
    if not found:
        return None
    widest = max(found, key=lambda gap: gap.gap)
    return replace(widest, variance_ratio=max(gap.variance_ratio for gap in found))


def _producer_text(root: RootRecord, layers: frozenset[str]) -> str:
    texts = {path: record.text for record in root.modules for path in record.paths}
    names = sorted(layers)
    shown = [texts.get(name) or f"`{name}`" for name in names[:3]]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"output of {', '.join(shown)}{more}"


class _WithoutGradient:
    """Sorts the dead parameters of one root into what the rules speak about."""

    def __init__(self, session: Session, tree: Tree) -> None:
        self.session, self.tree, self.root = session, tree, tree.root
        self.by_path = {path: record for record in tree.root.modules for path in record.paths}
        self.children: dict[str, list[str]] = {}
        for path in self.by_path:
            if path:
                self.children.setdefault(path.rpartition(".")[0], []).append(path)
        self.unused: list[UnusedLayer] = []
        self.detached: list[DetachedLayer] = []
        self.parameters: list[UnusedParameter] = []
        self._seen: set[ModuleRecord] = set()

    def facts(self) -> Iterator[ModuleInstance]:
        tree, root = self.tree, self.root
        if not any(map(tree.dead, tree.idle)):
            return
        if not tree.alive:
            return  # nothing of this root is trained: that is another defect
        unknown = self._unknown()
        if unknown:
            self.session.out_of_sight(root.text(), unknown, _UNUSED, _DETACHED, _UNUSED_PARAMETER)
            return
        self._visit("")
        if not (self.unused or self.detached or self.parameters):
            return
        passes = tree.passes or tree.backwards
        optimizer = next((o for o in self.session.all_optimizers() if o.steps and self._holds_all(o)), None)
        site = optimizer.site if optimizer is not None and optimizer.built_in_sight else None
        yield ModuleInstance(
            model=model_ref(self.session, root, complete=True),
            calls=(),
            unused=tuple(self.unused),
            parameters=_size(list(root.parameters.values())),
            optimizer=optimizer.kind if optimizer is not None else None,
            optimizer_place=site.span() if site is not None else None,
            root=True,
            run=RunEvidence(passes, passes, tree.first_step, root=root.key, likely=tree.passes < PASSES),
            detached=tuple(self.detached),
            unused_parameters=tuple(self.parameters),
        )

    def _unknown(self) -> str:
        if self.session.other_threads:
            return "parts of it run on other threads"
        if self.root.wrapper == "FullyShardedDataParallel":
            return "its parameters are flattened"
        hidden = self.root.hidden("")
        if hidden:
            return hidden
        if self.tree.forwards < self.tree.least():
            return "fewer than two training forwards were seen module by module"
        return ""

    def _holds_all(self, optimizer: OptimizerRecord) -> bool:
        return all(parameter.key in optimizer.held for parameter in self.root.parameters.values())

    def _visit(self, path: str) -> None:
        tree, record = self.tree, self.by_path[path]
        if record in self._seen:
            return
        self._seen.add(record)
        below = self._below(path)
        parameters = [p for r in below for p in r.own]
        dead = [p for p in parameters if tree.dead(p)]
        if not dead:
            return
        if path and not any(p in tree.alive for p in parameters):
            self._dead(path, record, below, parameters, dead)
            return
        if record in tree.called:
            self._own(record)
        for child in self.children.get(path, ()):
            self._visit(child)

    def _dead(
        self,
        path: str,
        record: ModuleRecord,
        below: list[ModuleRecord],
        parameters: list[ParameterRecord],
        dead: list[ParameterRecord],
    ) -> None:
        """A module of which no parameter gets a gradient."""
        tree = self.tree
        called = [r for r in below if r in tree.called]
        reason = self._not_known(path, below, dead)
        if reason:
            self.session.out_of_sight(_name(self.root, path), reason, _DETACHED if called else _UNUSED)
        elif not called:
            if any(r in tree.called_otherwise for r in below):
                self.session.out_of_sight(
                    _name(self.root, path), "called only in evaluation, or without gradients", _UNUSED
                )
            else:
                self.unused.append(UnusedLayer(self._ref(record), _size(parameters), ()))
        elif record not in tree.called:
            for child in self.children.get(path, ()):
                self._visit(child)
        else:
            self._detached(path, record, below, parameters)

    def _detached(
        self, path: str, record: ModuleRecord, below: list[ModuleRecord], parameters: list[ParameterRecord]
    ) -> None:
        tree = self.tree
        owners = [r for r in below if r in tree.called and any(tree.dead(p) for p in r.own)]
        if not owners:
            self.session.out_of_sight(_name(self.root, path), "its layers run without gradients", _DETACHED)
        elif owners == [record] and tree.uses_own.get(record) is False:
            self._own(record)
        else:
            returned = [tree.returned.get(r) for r in owners]
            site = tree.called[record]
            self.detached.append(
                DetachedLayer(
                    self._ref(record),
                    _size(parameters),
                    site.span() if site is not None else None,
                    True if True in returned else None if None in returned else False,
                )
            )

    def _own(self, record: ModuleRecord) -> None:
        """The bare parameters of a module that runs."""
        for parameter in record.own:
            if not self.tree.dead(parameter):
                continue
            reason = self._not_known(record.path, [record], [parameter])
            if reason:
                self.session.out_of_sight(_name(self.root, parameter.name), reason, _UNUSED_PARAMETER)
                continue
            site = self.root.site
            place = definitions.place_of(self.session, self.root, parameter.name)
            place = place or (site.span() if site is not None else None)
            text = self.tree.text_of(parameter)
            self.parameters.append(UnusedParameter(parameter.name, text, _size([parameter]), place))

    def _not_known(self, path: str, below: list[ModuleRecord], dead: list[ParameterRecord]) -> str:
        tree = self.tree
        hidden = self.root.hidden(path) or next((r.opaque for r in below if r.opaque), "")
        if hidden:
            return hidden
        if any(p in tree.late for p in dead):
            return "created after the first pass"
        if any(p in tree.moved for p in dead):
            return "its values are changed without a gradient, as those of a moving average are"
        if self._variant(path):
            return "a layer of the same class beside it is called: one of several that take turns"
        return ""

    def _variant(self, path: str) -> bool:
        """It stands in a ModuleList or ModuleDict beside a called layer of the same class."""
        while path:
            record, parent = self.by_path[path], path.rpartition(".")[0]
            if issubclass(self.by_path[parent].cls, nn.ModuleList | nn.ModuleDict) and record not in self.tree.called:
                siblings = [self.by_path[one] for one in self.children[parent]]
                if any(r.cls is record.cls and r in self.tree.called for r in siblings):
                    return True
            path = parent
        return False

    def _below(self, path: str) -> list[ModuleRecord]:
        records = {self.by_path[path]: None}
        for child in self.children.get(path, ()):
            records.update(dict.fromkeys(self._below(child)))
        return list(records)

    def _ref(self, record: ModuleRecord) -> LayerRef:
        ref = layer_ref(self.session, self.root, record)
        site = self.root.site
        return ref if ref.place is not None or site is None else replace(ref, place=site.span())


def _size(parameters: Sequence[ParameterRecord]) -> int | None:
    """How many numbers they hold; None when a lazy one was never looked at again."""
    return sum(p.numel for p in parameters) if all(p.numel for p in parameters) else None


def _name(root: RootRecord, path: str) -> str:
    return f"{root.text()}.{path}" if path else root.text()
