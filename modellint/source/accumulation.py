"""Steps that wait for several micro-batches: backward in every pass, the step under `i % n`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from modellint.facts.training_loop import Accumulation, Event, EventKind
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.path_tests import PathTest
from modellint.source.interpreter.records import EventRecord, LossRecord
from modellint.source.interpreter.values import Const, Key, OptimizerValue, Site, Tensor
from modellint.source.loop_paths import Path
from modellint.source.places import Places
from modellint.source.tree import children, walk

_MEANS = ("mean", "batchmean")


def accumulations(
    places: Places, ways: list[Path], optimizers: list[OptimizerValue], told: Callable[[EventRecord], Event]
) -> tuple[Accumulation, ...]:
    """One for each optimizer that steps under a modulo."""
    if not any(held.test is not None and held.test.period is not None for path in ways for held in path.holds.values()):
        return ()
    found = (_accumulation(places, ways, optimizer, told) for optimizer in optimizers)
    return tuple(one for one in found if one is not None)


def _accumulation(
    places: Places, ways: list[Path], optimizer: OptimizerValue, told: Callable[[EventRecord], Event]
) -> Accumulation | None:
    stepping = [path for path in ways if _step(path, optimizer) is not None]
    fed = [pair for path in stepping if (pair := _last_backward(path, optimizer, told)) is not None]
    if not fed or len(fed) < len(stepping):
        return None
    backward, step = fed[0]
    node = backward.site.node
    waiting = [p for p in ways if _step(p, optimizer) is None and any(e.site.node is node for e in p.events)]
    test = _modulo(stepping, waiting)
    if test is None or test.divisor is None:
        return None
    period = test.period
    number = period.value if isinstance(period, Const) and isinstance(period.value, int) else None
    running = [path for path in ways if any(event.site.node is node for event in path.events)]
    value = backward.subject
    return Accumulation(
        optimizer=optimizer.key,
        step=places.span(step.site),
        backward=places.span(backward.site),
        period=test.site.file.text.segment(test.divisor),
        number=number,
        cleared=all(_cleared(path, node, optimizer, told) for path in running),
        mean=_is_mean(taints((value,))[1]) if value is not None else False,
        weighed=not isinstance(value, Tensor) or value.weighed or _used_elsewhere(test, [backward.site, step.site]),
        framework=backward.library,
    )


def _step(path: Path, optimizer: OptimizerValue) -> int | None:
    kind = EventKind.OPTIMIZER_STEP
    return next((i for i, e in enumerate(path.events) if e.kind is kind and optimizer in e.optimizers), None)


def _last_backward(
    path: Path, optimizer: OptimizerValue, told: Callable[[EventRecord], Event]
) -> tuple[EventRecord, EventRecord] | None:
    step = _step(path, optimizer)
    for event in reversed(path.events[:step]):
        if event.kind is EventKind.BACKWARD and optimizer.key in told(event).optimizers and step is not None:
            return event, path.events[step]
    return None


def _modulo(stepping: list[Path], waiting: list[Path]) -> PathTest | None:
    """A modulo that holds on all paths with the step, and the other way round on one without."""
    candidates: dict[Key, tuple[bool, PathTest]] = {
        key: (held.outcome, held.test)
        for key, held in stepping[0].holds.items()
        if key[0] == "test" and held.test is not None and held.test.period is not None
    }
    for key, (outcome, test) in candidates.items():
        everywhere = all(key in path.holds and path.holds[key].outcome is outcome for path in stepping)
        if everywhere and any(key in path.holds and path.holds[key].outcome is not outcome for path in waiting):
            return test
    return None


def _cleared(path: Path, node: ast.AST, optimizer: OptimizerValue, told: Callable[[EventRecord], Event]) -> bool:
    for event in path.events:
        if event.site.node is node:
            return False
        if event.kind is EventKind.ZERO_GRAD and event.sure and optimizer.key in told(event).optimizers:
            return True
    return False


def _is_mean(losses: frozenset[LossRecord]) -> bool:
    """Whether all the losses in a value are known to be means over their batch."""
    for loss in losses:
        if loss.options is None or loss.options.keys() & {"size_average", "reduce"}:
            return False
        reduction = loss.options.get("reduction")
        if reduction is not None and not (isinstance(reduction, Const) and reduction.value in _MEANS):
            return False
    return bool(losses)


# ---------------------------------------------------------------- other uses of `n`


def _used_elsewhere(test: PathTest, sites: list[Site]) -> bool:
    """Whether `n` may weigh the loss, the gradients or the learning rate: it is read where no step is counted."""
    divisor = test.divisor
    files = {id(site.file): site.file for site in (test.site, *sites)}
    if isinstance(divisor, ast.Constant):
        number = divisor.value
        return not (isinstance(number, int) and number) or any(_weighs(f.text.tree, number) for f in files.values())
    name = divisor.attr if isinstance(divisor, ast.Attribute) else divisor.id if isinstance(divisor, ast.Name) else None
    if name is None:
        return True
    return any(_reads_elsewhere(file.text.tree, name) for file in files.values())


def _weighs(tree: ast.AST, number: int) -> bool:
    for node in walk(tree):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div | ast.Mult):
            parts = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.value,)
            if any(isinstance(part, ast.Constant) and part.value in (number, 1 / number) for part in parts):
                return True
    return False


_COUNTS = frozenset({"print", "range", "int", "min", "max", "len"})


def _reads_elsewhere(tree: ast.AST, name: str) -> bool:
    return any(_named(part) == name and _may_weigh(parent) for parent, part in _parents(tree))


def _named(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        return node.attr
    return node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) else None


def _may_weigh(parent: ast.AST) -> bool:
    """Whether what reads `n` may do more than count."""
    if isinstance(parent, ast.BinOp):
        return not isinstance(parent.op, ast.Mod)
    if isinstance(parent, ast.Call):
        function = parent.func
        name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
        return name not in _COUNTS
    return not isinstance(parent, ast.Compare | ast.BoolOp | ast.If | ast.FormattedValue | ast.Assign | ast.AnnAssign)


def _parents(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    for parent in walk(tree):
        for child in children(parent):
            yield parent, child
