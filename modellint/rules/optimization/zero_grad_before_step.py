"""zero-grad-before-step."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from modellint.facts.training_loop import EventKind, OptimizerRef
from modellint.rule import Category, Certainty, Finding, Iterator, Note, Rule, TrainingLoop
from modellint.rules.optimization._passes import Events, backwards, clears, own_step, settled, settled_for


class ZeroGradBeforeStep(Rule):
    """Gradients are cleared before the optimizer can use them.

    A pass of a training loop whose gradients are gone when the optimizer steps: cleared between backward and step, or
    cleared before every micro-batch while the step waits for several.

    The step then does nothing, or follows the last micro-batch alone: the others were computed for nothing.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()  # expect: zero-grad-before-step
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    """
    fine_when = (
        "The cleared gradients belong to another model, as in a GAN.",
        "The gradients were copied before and are put back.",
        "A step that is skipped now and then, because the loss was not finite.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.optim.Optimizer.zero_grad.html",
        "docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-accumulation",
    )

    def training_loop(self, loop: TrainingLoop) -> Iterator[Finding]:
        if not loop.complete or loop.framework is not None:
            return
        for optimizer in loop.optimizers:
            if loop.run is None:
                yield from self._in_code(loop, optimizer)
                continue
            lost = loop.count(partial(_lost, key=optimizer.key))
            part = loop.count(partial(_lost_in_part, key=optimizer.key))
            watched = sum(count.times for count in loop.counts)
            if lost.times >= 2:
                events = next(events for events in loop.passes if _lost(events, optimizer.key))
                yield self._report(loop, optimizer, events, whole=True, evidence=loop.evidence(lost))
            elif part.times >= 3 and part.times == watched:
                events = next(events for events in loop.passes if _lost_in_part(events, optimizer.key))
                yield self._report(loop, optimizer, events, whole=False, evidence=loop.evidence(part))

    def _in_code(self, loop: TrainingLoop, optimizer: OptimizerRef) -> Iterator[Finding]:
        """Every way to the step clears first; or every micro-batch does while the step waits."""
        key = optimizer.key
        stepping = [events for events in loop.passes if own_step(events, key) is not None and backwards(events, key)]
        if stepping and all(_lost(events, key) for events in stepping):
            yield self._report(loop, optimizer, stepping[0], whole=True, evidence={})
            return
        for one in loop.accumulations:
            waits = one.optimizer == key and one.cleared and not one.framework and one.number != 1
            if waits and stepping and all(settled_for(events, key) for events in loop.passes):
                yield self._report(loop, optimizer, stepping[0], whole=False, evidence={})

    def _report(
        self, loop: TrainingLoop, optimizer: OptimizerRef, events: Events, *, whole: bool, evidence: dict[str, object]
    ) -> Finding:
        backward = events[backwards(events, optimizer.key)[-1]]
        how = "gradients that were cleared" if whole else "the gradients of the last micro-batch only"
        before = "the step" if whole else "every micro-batch"
        return self.finding(
            at=events[own_step(events, optimizer.key) or 0].place,
            message=f"`{optimizer.text}` steps on {how}",
            label="nothing is left to step on" if whole else "the micro-batches before were cleared away",
            order=2,
            related=[Note(backward.place, "makes gradients that are cleared before they are used", order=1)],
            certainty=Certainty.CERTAIN if whole else Certainty.LIKELY,
            why=f"the gradients are cleared before {before}: what backward() computed is lost",
            help=f"call {optimizer.text}.zero_grad() right after {optimizer.text}.step(), and nowhere else",
            evidence=evidence,
        )


def _lost(events: Events, key: int) -> bool:
    """Nothing but a clear stands between the last backward and the step."""
    step, reached = own_step(events, key), backwards(events, key)
    if step is None or not reached or reached[-1] > step:
        return False
    between = events[reached[-1] + 1 : step]
    return settled_for(between, key) and any(clears(event, key) for event in between)


def _lost_in_part(events: Events, key: int) -> bool:
    """Each backward but the last is followed by a clear and another backward."""
    reached = backwards(events, key)
    pairs = list(pairwise(reached))
    if not pairs or not settled(events):
        return False
    between = (events[first + 1 : second] for first, second in pairs)
    return all(any(e.kind is EventKind.ZERO_GRAD and key in e.optimizers for e in part) for part in between)
