"""Reads `DistributedSetup` and `RankBatches`: models that several processes train, and what feeds them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from modellint.facts.distributed_setup import Bypass, DistributedSetup
from modellint.facts.rank_batches import RankBatches
from modellint.facts.training_loop import EventKind
from modellint.source.data_loops import (
    DataLoop,
    class_files,
    data_loops,
    events_of,
    header,
    is_map_style,
    is_plain,
    names_in,
)
from modellint.source.interpreter.data import RankState
from modellint.source.interpreter.records import EventRecord, ForwardRecord
from modellint.source.interpreter.values import LoaderValue, ObjectValue, SequenceValue, Site, Tensor, Value
from modellint.source.naming import words
from modellint.source.places import Places
from modellint.source.project import SourceFile
from modellint.source.tree import walk

_RANK_WORDS = frozenset([
    "rank", "ranks", "world", "shard", "shards", "sharded", "replica", "replicas", "partition", "partitions",
    "partitioner",
])  # fmt: skip
_RANK_NAMES = frozenset({"process_index", "num_processes", "process_count", "node_rank", "num_nodes"})
_AVERAGED_ELSEWHERE = re.compile(
    r"\b(?:horovod|deepspeed|fairscale|apex|megatron|accelerate|colossalai|byteps|bagua|hivemind|rpc|fsdp|FSDP"
    r"|fully_shard|FullyShardedDataParallel|ZeroRedundancyOptimizer|DistributedOptimizer|lightning|pytorch_lightning|tensor_parallel"
    r"|parallelize_module|DTensor|distribute_module|replicate|xla|federated|gossip)\b"
)


def read(places: Places) -> Iterator[DistributedSetup | RankBatches]:
    """Facts about forwards that train with several processes."""
    if places.file.in_test_suite:
        return
    seen: set[object] = set()
    for forward, events in _training_forwards(places):
        setup = _bypassed(places, forward) or _alone(places, forward, events)
        if setup is not None and setup.place not in seen:
            seen.add(setup.place)
            yield setup
    for loop in data_loops(places):
        batches = _undivided(places, loop) if loop.trains else None
        if batches is not None and ("data", batches.place) not in seen:
            seen.add(("data", batches.place))
            yield batches


def _training_forwards(places: Places) -> Iterator[tuple[ForwardRecord, list[EventRecord]]]:
    """Forwards that a loop follows with backward and a step."""
    known: set[int] = set()
    for loop in places.records.loops:
        events = list(events_of(loop))
        if not {EventKind.BACKWARD, EventKind.OPTIMIZER_STEP} <= {event.kind for event in events}:
            continue
        for event in events:
            forward = event.forward
            if forward is None or id(forward) in known or not forward.backwards or forward.grad is False:
                continue
            known.add(id(forward))
            yield forward, events


def _bypassed(places: Places, forward: ForwardRecord) -> DistributedSetup | None:
    """The inner model is trained although a wrapper was put around it."""
    ranks = forward.ranks
    if not isinstance(ranks, RankState) or ranks.wrapper is None or not ranks.plain or forward.wrapper is not None:
        return None
    if ranks.wrapper.state.get("wrapped") is not forward.model or forward.model.state.get("escaped"):
        return None
    if places.records.data.collectives or _mentions(forward.site.file, re.compile(r"\bno_sync\b")):
        return None
    for together in places.records.data.backwards:
        # What the wrapper's own forward joins in the same backward is averaged.
        if forward in together and any(other.wrapper is ranks.wrapper for other in together):
            return None
    if places.trainable(forward.model) is False:
        return None
    return DistributedSetup(
        model=places.model(forward.model, forward.text),
        place=places.span(forward.site),
        wrapper="DistributedDataParallel",
        wrapper_key=ranks.wrapper.key,
        world_size=0,
        ranks=(),
        bypass=Bypass(places.span(forward.site), forward.text, 0, 0),
    )


def _alone(places: Places, forward: ForwardRecord, events: list[EventRecord]) -> DistributedSetup | None:
    """A process group is there, and nothing of the script could average the gradients."""
    ranks = forward.ranks
    if not isinstance(ranks, RankState) or ranks.group is not True or forward.wrapper is not None:
        return None
    model = forward.model
    if "ddp" in model.state or any(
        part.state.get("escaped") or part.state.get("scattered") or part.state.get("ddp")
        for part in model.walk_values()
    ):
        return None
    if places.records.data.collectives or any(event.kind is EventKind.UNKNOWN_CALL for event in events):
        return None
    if _mentions(forward.site.file, _AVERAGED_ELSEWHERE) or _mentions(places.file, _AVERAGED_ELSEWHERE):
        return None
    if places.trainable(model) is False or model.from_outside:
        return None
    if _ranks_ask(forward):
        return None
    return DistributedSetup(
        model=places.model(model, forward.text),
        place=places.span(forward.site),
        wrapper="",
        wrapper_key=0,
        world_size=0,
        ranks=(),
        alone=True,
    )


def _ranks_ask(forward: ForwardRecord) -> bool:
    """The forward stands, or was called, under a test of the rank: one process alone trains it."""
    sites = [forward.site, *(site for _, site in forward.functions if site is not None)]
    return any(_under_a_test_of_the_rank(site) for site in sites)


def _under_a_test_of_the_rank(site: Site) -> bool:
    line = getattr(site.node, "lineno", 0)
    return any(
        isinstance(node, ast.If)
        and node.body[0].lineno <= line <= (node.end_lineno or 0)
        and {word for name in names_in(node.test) for word in words(name)} & {"rank", "master", "primary", "main"}
        and "__name__" not in names_in(node.test)
        for node in walk(site.file.text.tree)
    )


def _mentions(file: SourceFile, pattern: re.Pattern[str]) -> bool:
    return pattern.search(file.text.text) is not None


# ---------------------------------------------------------------- data


def _undivided(places: Places, loop: DataLoop) -> RankBatches | None:
    """A wrapper trains on a loader whose data nothing divides between the ranks."""
    forward = next((f for f in loop.forwards if f.backwards and f.wrapper is not None), None)
    if forward is None or forward.wrapper is None or forward.wrapper.state.get("wrapper") != "DistributedDataParallel":
        return None
    origin = getattr(forward.input, "origin", None)
    if origin is not loop.loader or not is_plain(loop.made) or loop.record.framework is not None:
        return None
    if {"collate_fn", "generator", "worker_init_fn"} & loop.made.arguments.keys():
        return None
    if any("broadcast" in name or "scatter" in name for name in places.records.data.collectives):
        return None
    if not _same_everywhere(loop.loader.dataset, loop) or _divides(
        loop.loader.site, [n for name, n in loop.made.nodes.items() if name == "dataset"]
    ):
        return None
    node = loop.made.nodes.get("batch_size")
    if node is not None and "len" in names_in(node):
        return None
    place, text = header(places, loop.record)
    return RankBatches(
        model=places.model(forward.model, forward.text),
        place=places.span(forward.site),
        world_size=0,
        equal=0,
        distinct=0,
        compared=0,
        loader=text,
        loader_place=places.optional(loop.loader.site) or place,
    )


def _same_everywhere(dataset: Value | None, loop: DataLoop) -> bool:
    """Every process makes this dataset with the same samples."""
    if not is_map_style(dataset):
        return False
    if isinstance(dataset, Tensor):
        return loop.made.seeded or not dataset.random
    if isinstance(dataset, SequenceValue):
        return False  # a few samples by hand
    if isinstance(dataset, LoaderValue):
        made = dataset.made
        assert made is not None
        if made.kind in ("split", "subset"):
            if made.kind == "split" and not (made.seeded or "generator" in made.arguments):
                return False  # every process draws its own split: another defect
            return _same_everywhere(dataset.dataset, loop) and not _divides(dataset.site, made.nodes.values())
        if made.kind == "tensors":
            tensors = list(made.arguments.values())
            return all(isinstance(t, Tensor) and t.origin == "dummy" for t in tensors) and made.seeded
        return made.kind == "library" and not _divides(dataset.site, made.nodes.values())
    if isinstance(dataset, ObjectValue):
        if any(_words(node) & _RANK_WORDS for _, node in class_files(dataset)):
            return False
        site = dataset.site
        return site is not None and isinstance(site.node, ast.Call) and not _divides(site, _given(site.node))
    return False


def _given(node: ast.Call) -> list[ast.AST]:
    return [*node.args, *(keyword.value for keyword in node.keywords)]


def _divides(site: Site | None, nodes: object) -> bool:
    """An argument that depends on the rank, through the assignments of its names in the same file."""
    if site is None:
        return True
    assigned = _assignments(site.file)
    waiting = list(nodes)  # type: ignore[call-overload]
    seen: set[str] = set()
    while waiting:
        node = waiting.pop()
        if _words(node) & _RANK_WORDS:
            return True
        for part in walk(node):
            if isinstance(part, ast.Name) and part.id not in seen:
                seen.add(part.id)
                waiting.extend(assigned.get(part.id, ()))
    return False


def _assignments(file: SourceFile) -> dict[str, list[ast.AST]]:
    known: dict[str, list[ast.AST]] | None = getattr(file.text.tree, "_modellint_assignments", None)
    if known is None:
        known = {}
        for node in walk(file.text.tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    for part in walk(target):
                        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                            known.setdefault(part.id, []).append(node.value)
        file.text.tree._modellint_assignments = known  # type: ignore[attr-defined]
    return known


def _words(node: ast.AST) -> set[str]:
    names = names_in(node)
    return {"rank"} if names & _RANK_NAMES else {word for name in names for word in words(name)}
