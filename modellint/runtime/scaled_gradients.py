"""Takes down in the log of a loop what a GradScaler and the clipping functions do to gradients."""

from __future__ import annotations

import math
import weakref

import torch

from modellint.facts.training_loop import EventKind
from modellint.runtime import value_read
from modellint.runtime.gradient_calls import Call, GradientCall, mark_scaled
from modellint.runtime.loop_events import EventLog, Noted
from modellint.runtime.session import Session


class ScaledGradients:
    """Which gradients carry a scale, and which were clipped."""

    def __init__(self, session: Session, log: EventLog) -> None:
        self._session = session
        self._log = log
        self.scale: weakref.ref[torch.Tensor] | None = None
        """That of the GradScaler that was used last; None as long as there was none."""
        self.numbers: dict[str, float] = {}
        """The scale and the limit of a clip that came too early."""
        self._scale_value = 0.0
        """The scale, once it was read."""

    def note(self, call: GradientCall) -> None:
        if call.kind is Call.SCALE:
            scaled, scale = call.tensors
            self.scale = weakref.ref(scale)
            mark_scaled(scaled)
        elif call.kind is Call.READ_SCALE:
            if self._backward_was_scaled():
                self._log.note(Noted(EventKind.UNKNOWN_CALL, None))  # it may be divided out by hand
        elif call.kind is Call.UPDATE:
            self._log.note(Noted(EventKind.SCALER_UPDATE, self._session.site()))
        elif call.kind is Call.UNSCALE:
            self._note_unscale(call)
        else:
            self._note_clip(call)

    def _backward_was_scaled(self) -> bool:
        """Gradients carry a scale that no unscaling has taken off."""
        for entry in reversed(self._log.entries):
            if entry.kind is EventKind.BACKWARD:
                return entry.scaled
            if entry.kind in (EventKind.UNSCALE, EventKind.OPTIMIZER_STEP):
                return False
        return False

    def _note_unscale(self, call: GradientCall) -> None:
        keys, _ = self._log.changed(call.tensors, call.changes)
        for key in keys:
            self._log.marks[key].scaled = False
        optimizer = call.optimizer
        record = self._session.optimizers.get(id(optimizer)) if optimizer is not None else None
        entry = Noted(EventKind.UNSCALE, self._session.site(), keys)
        if record is not None and record.ref() is optimizer:
            entry.optimizer = record.key
        last = self._log.entries[-1] if self._log.entries else None
        if last is None or last.kind is not EventKind.UNSCALE or last.optimizer != entry.optimizer:
            self._log.note(entry)

    def _note_clip(self, call: GradientCall) -> None:
        keys, by_hand = self._log.changed(call.tensors, call.changes)
        if call.limit is not None and math.isinf(call.limit):
            return  # the norm is wanted, nothing is clipped
        keys |= {id(parameter) for parameter in call.parameters}
        open_keys = {key for key in keys if (mark := self._log.marks.get(key)) is not None and mark.open}
        keys = open_keys or keys
        scaled = any(self._log.marks[key].scaled for key in open_keys) and self._scales()
        entry = Noted(EventKind.CLIP, self._session.site(), keys, scaled=scaled, unsure=by_hand)
        if scaled and call.limit is not None and self._scale_value:
            self.numbers = {"scale": self._scale_value, "max_norm": call.limit}
        last = self._log.entries[-1] if self._log.entries else None
        if last is not None and last.kind is EventKind.CLIP and last.site == entry.site:
            last.reached |= keys  # one call clips the gradients of each device by themselves
            last.unsure = last.unsure or by_hand
        elif keys:
            self._log.note(entry)

    def _scales(self) -> bool:
        """The scale is no 1. Read once: a clip under a scale is already the defect."""
        scale = self.scale() if self.scale is not None else None
        if not self._scale_value and scale is not None and value_read.may_read(scale):
            with value_read.reading():
                self._scale_value = float(scale.item())
        return self._scale_value != 1.0
