"""unscaled-gradient-clipping."""

from __future__ import annotations

from functools import partial

from modellint.facts.training_loop import Event, EventKind, OptimizerRef
from modellint.rule import Category, Certainty, Finding, Iterator, Note, Rule, TrainingLoop
from modellint.rules.optimization._passes import Events


class UnscaledGradientClipping(Rule):
    """Gradients are clipped while they still carry the scale of a GradScaler.

    A pass that scales the loss by a GradScaler, runs backward and clips the gradients before `unscale_` or
    `scaler.step` has taken the scale off.

    The gradients are thousands of times too long when they meet the limit, so nearly every step is cut down to the
    limit divided by the scale.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # expect: unscaled-gradient-clipping
        scaler.step(optimizer)
        scaler.update()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
    """
    fine_when = (
        "The scaler is off (`enabled=False`), as it is with bfloat16.",
        "`max_norm` is infinite: only the norm is wanted.",
        "The gradients are divided by the scale by hand.",
    )
    references = ("docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-clipping",)

    def training_loop(self, loop: TrainingLoop) -> Iterator[Finding]:
        for optimizer in loop.optimizers:
            key = optimizer.key
            seen = loop.count(partial(_clip, key=key))
            pair = next((pair for events in loop.passes if (pair := _clip(events, key)) is not None), None)
            if pair is not None and loop.framework is None and (loop.run is None or seen.times >= 2):
                yield self._report(loop, optimizer, *pair, loop.evidence(seen))

    def _report(
        self, loop: TrainingLoop, optimizer: OptimizerRef, backward: Event, clip: Event, evidence: dict[str, object]
    ) -> Finding:
        scale = loop.run.number("scale") if loop.run is not None else None
        limit = loop.run.number("max_norm") if loop.run is not None else None
        why = "the gradients still carry the loss scale, so the limit means the limit divided by the scale"
        if scale and limit:
            why = f"the gradients are {scale:,.0f} times too long here: a limit of {limit:g} means {limit / scale:.2g}"
        return self.finding(
            at=clip.place,
            message=f"the gradients of `{optimizer.text}` are clipped while they carry the scale of the loss",
            label="still scaled",
            order=2,
            related=[Note(backward.place, "makes scaled gradients", order=1)],
            why=why,
            help=f"call `scaler.unscale_({optimizer.text})` before it",
            certainty=Certainty.CERTAIN if backward.sure and clip.sure else Certainty.LIKELY,
            evidence=evidence,
        )


def _clip(events: Events, key: int) -> tuple[Event, Event] | None:
    """A backward of a scaled loss, and a clip before anything has taken the scale off."""
    backward: Event | None = None
    for event in events:
        own = not event.optimizers or key in event.optimizers
        if event.kind is EventKind.BACKWARD and own:
            backward = event if event.scaled else None
        elif event.kind in (EventKind.UNSCALE, EventKind.UNKNOWN_CALL) and own:
            backward = None
        elif event.kind is EventKind.CLIP and own and event.scaled and backward is not None:
            return backward, event
    return None
