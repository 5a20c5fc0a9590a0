"""Questions that several rules ask about one pass of a training loop."""

from __future__ import annotations

from modellint.facts.training_loop import Event, EventKind

Events = tuple[Event, ...]


def own_step(events: Events, key: int) -> int | None:
    """Where an optimizer steps."""
    return next((i for i, e in enumerate(events) if e.kind is EventKind.OPTIMIZER_STEP and key in e.optimizers), None)


def backwards(events: Events, key: int) -> list[int]:
    """Where a backward reaches its parameters."""
    return [i for i, e in enumerate(events) if e.kind is EventKind.BACKWARD and key in e.optimizers]


def holds(events: Events, kind: EventKind, key: int) -> bool:
    """Something of a kind happens that concerns an optimizer, or nobody knows which."""
    return any(e.kind is kind and (not e.optimizers or key in e.optimizers) for e in events)


def settled(events: Events) -> bool:
    """Nothing in it is unknown."""
    return not any(e.kind is EventKind.UNKNOWN_CALL for e in events)


def settled_for(events: Events, key: int) -> bool:
    """Nothing in it that may concern an optimizer is unknown."""
    return not holds(events, EventKind.UNKNOWN_CALL, key)


def from_step(events: Events, key: int) -> Events:
    """A pass that begins after the step of an optimizer and ends with its next one, the loop gone round."""
    step = own_step(events, key)
    return events if step is None else (*events[step + 1 :], *events[: step + 1])


def clears(event: Event, key: int) -> bool:
    """It clears the gradients of an optimizer, for sure."""
    return event.kind is EventKind.ZERO_GRAD and event.sure and key in event.optimizers
