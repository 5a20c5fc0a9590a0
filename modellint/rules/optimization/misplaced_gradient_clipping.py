"""misplaced-gradient-clipping."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

from modellint.facts.training_loop import Event, EventKind, OptimizerRef
from modellint.rule import Category, Finding, Iterator, Note, Rule, TrainingLoop
from modellint.rules.optimization._passes import Events, backwards, from_step, own_step, settled, settled_for

_ENDS = (EventKind.ZERO_GRAD, EventKind.UNKNOWN_CALL)


class MisplacedGradientClipping(Rule):
    """Gradients are clipped where no step uses them, or before they are complete.

    A pass that clips gradients after the step that used them (or before the backward that makes them), or after every
    micro-batch although the step comes after the last one.

    Clipping after the step changes nothing: the step was as long as it would have been without. Clipping a sum that
    still grows limits the first micro-batches and not the last.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # expect: misplaced-gradient-clipping
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    """
    fine_when = (
        "Weights are clipped, not gradients, as in a Wasserstein GAN.",
        "`max_norm` is infinite: only the norm is wanted.",
        "The gradients of another optimizer are clipped.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html",)

    def training_loop(self, loop: TrainingLoop) -> Iterator[Finding]:
        if loop.framework is not None:
            return
        for optimizer in loop.optimizers:
            if loop.run is None:
                yield from self._in_code(loop, optimizer)
                continue
            for find in (_unused, _too_early):
                pairs = [pair for events in loop.passes if (pair := find(events, optimizer.key)) is not None]
                seen = loop.count(partial(_shows, find=find, key=optimizer.key))
                if pairs and seen.times >= 2:
                    yield self._report(optimizer, *pairs[0], loop.evidence(seen))

    def _in_code(self, loop: TrainingLoop, optimizer: OptimizerRef) -> Iterator[Finding]:
        """No way through the loop clips where it counts; or micro-batches before the last one are clipped too."""
        key = optimizer.key
        stepping = [events for events in loop.passes if own_step(events, key) is not None]
        if not loop.complete or not all(settled_for(events, key) for events in loop.passes):
            return
        pairs = [_unused(from_step(events, key), key) for events in stepping]
        clipping = [pair for pair in pairs if pair is not None]
        if clipping and len(clipping) == len(pairs):
            yield self._report(optimizer, *clipping[0], {})
            return
        waiting = [events for events in loop.passes if own_step(events, key) is None]
        for clip, backward in (pair for events in waiting if (pair := _between_steps(events, key)) is not None):
            if any(event.kind is EventKind.CLIP and event.place == clip.place for one in stepping for event in one):
                yield self._report(optimizer, clip, backward, {})
                return

    def _report(self, optimizer: OptimizerRef, clip: Event, other: Event, evidence: dict[str, object]) -> Finding:
        unused = other.kind is EventKind.OPTIMIZER_STEP
        when = "where no step uses them" if unused else "while further micro-batches are added"
        return self.finding(
            at=clip.place,
            message=f"the gradients of `{optimizer.text}` are clipped {when}",
            label="clips nothing that a step will use" if unused else "clips a part of the sum",
            related=[Note(other.place, "steps on gradients as they are" if unused else "adds to clipped gradients")],
            why="a step uses the gradients as they are when it runs: clip after the last backward, before the step",
            help=f"clip between the last backward() and `{optimizer.text}.step()`",
            evidence=evidence,
        )


def _shows(events: Events, find: Callable[[Events, int], object], key: int) -> bool:
    return find(events, key) is not None


def _unused(events: Events, key: int) -> tuple[Event, Event] | None:
    """A clip before the first backward: after the step before, or before any gradient is there."""
    step, reached = own_step(events, key), backwards(events, key)
    if step is None or not reached:
        return None
    clip = next((event for event in events[: reached[0]] if _clips(event, key)), None)
    return (clip, events[step]) if clip is not None else None


def _too_early(events: Events, key: int) -> tuple[Event, Event] | None:
    """A clip between two backwards of one place that add up."""
    reached = backwards(events, key)
    for first, second in pairwise(reached):
        between = events[first + 1 : second]
        clip = next((event for event in between if _clips(event, key)), None)
        if clip is None or events[first].place != events[second].place or not settled(between):
            continue
        if not any(event.kind is EventKind.ZERO_GRAD for event in between):
            return clip, events[second]
    return None


def _between_steps(events: Events, key: int) -> tuple[Event, Event] | None:
    """A clip in a pass of a micro-batch that neither steps nor clears: the next ones add to what was clipped."""
    reached = backwards(events, key)
    if not reached or any(event.kind is EventKind.ZERO_GRAD and key in event.optimizers for event in events):
        return None
    clip = next((event for event in events[reached[-1] :] if _clips(event, key)), None)
    return (clip, events[reached[-1]]) if clip is not None else None


def _clips(event: Event, key: int) -> bool:
    return event.kind is EventKind.CLIP and event.sure and key in event.optimizers
