"""A model that nobody trains, run within the training steps of another."""

from __future__ import annotations

from modellint.facts.model import ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class TeacherForward:
    """The forwards of a teacher, a target net or another fixed model between two steps of the model that learns."""

    place: Span
    """The call of the fixed model."""
    model: ModelRef
    """With the layers that were in train mode as `mode_dependent`."""
    student: str
    """The user's expression for the model that learns."""
    train_passes: int
    """In how many passes it ran in train mode, all its forwards of the pass; from code, 0 or 1."""
    moves: bool
    """Its weights change during the training: a momentum encoder, a mean teacher."""
    told_to_train: bool = False
    """Somebody calls `train()` on it, not on something around it: it is on purpose."""
    run: RunEvidence | None = None
