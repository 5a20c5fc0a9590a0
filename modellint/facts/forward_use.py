"""A call of a model: in which mode, with or without gradients, and what for."""

from __future__ import annotations

from enum import Enum

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


class Mode(Enum):
    """The state of `Module.training`."""

    TRAIN = "train"
    EVAL = "eval"
    UNKNOWN = "unknown"


@record
class ModeState:
    """One mode that the model can be in at the call."""

    mode: Mode
    place: Span | None
    """What put it in this mode: `model.eval()`, or the construction."""
    text: str
    """`model.eval()`, `constructed here`."""
    by_construction: bool
    in_same_loop: bool = False
    """It was switched in a loop that also holds the call: it belongs to the rounds, not to the preparation."""


class SignKind(Enum):
    """Why a forward is believed to be validation or inference."""

    LOSS = "its loss is computed and never backwarded"
    METRIC = "its output is compared or counted"
    COLLECTED = "its output is collected"
    RETURNED = "its output is returned"
    NO_GRAD = "gradients are off"
    HELD_OUT_DATA = "the data is a held-out split"
    FUNCTION_NAME = "the function's name says so"
    LOADER_NAME = "the loader's name says so"


class Purpose(Enum):
    """What a run showed a forward to be for."""

    TRAIN = "its result reached a backward"
    DIFFERENTIATED = "its result was differentiated by `autograd.grad` only"
    AUXILIARY = "it served the training of another model"
    EVALUATION = "it ran on several inputs in a row, and no backward reached it"
    UNKNOWN = "unknown"


class Unrecorded(Enum):
    """Why autograd recorded nothing of a forward that was meant to train."""

    GRAD_OFF = "gradients are off"
    CHECKPOINT = "no input of the reentrant checkpoint requires a gradient"


@record
class Sign:
    """One sign of purpose."""

    kind: SignKind
    place: Span | None
    text: str


@record
class DeviceState:
    """Where a value is: `device` is the text of the target (`cuda`, `device`), `place` the move."""

    device: str
    place: Span | None
    may_be_other_than_cpu: bool


@record
class CallSite:
    """A call on the way from the entry point to the forward."""

    function: str
    place: Span


@record
class ForwardUse:
    """One call of a model from code that is not itself a module's forward."""

    place: Span
    model: ModelRef
    modes: tuple[ModeState, ...]
    """Every mode it can be in here, one entry a cause. UNKNOWN among them means: not followed."""
    grad: bool | None
    """Autograd records here; None when unknown."""
    grad_place: Span | None
    """What switched it off."""
    backwarded: bool
    """Its result reaches a backward."""
    stepped: bool
    """... and an optimizer steps afterwards, in the same pass of a loop or later."""
    in_training_pass: bool
    """It is made in a pass of a loop that also runs backward or an optimizer step: teacher forwards, GAN samples."""
    unfollowed_result: bool
    """The result went somewhere that was not followed: it may be backwarded there."""
    needs_gradient: bool
    """Something here asks for gradients of inputs or outputs (`requires_grad_`, `autograd.grad`, attribution)."""
    signs: tuple[Sign, ...]
    repeated: bool
    """In a loop."""
    input_is_dummy: bool
    """The input is made on the spot (`torch.randn(1, 3, 32, 32)`): a shape check."""
    functions: tuple[str, ...]
    """Names of the functions around the call, outermost first."""
    calls: tuple[CallSite, ...]
    """The calls that lead to it, outermost first; empty when the code is at module level."""
    stochastic_on_purpose: bool
    """Monte Carlo dropout, recalibration of BatchNorm, quantisation calibration and the like."""
    framework: str | None
    """The framework that owns the loop (`lightning`), None for a plain loop."""
    in_test_suite: bool
    model_device: DeviceState | None
    """None when unmoved or not followed."""
    input_device: DeviceState | None
    input_text: str
    input_place: Span | None
    input_unmoved: bool
    """The input is known to come from a loader or a constructor on the CPU and was not moved."""
    model_unmoved: bool
    """The model is known to be where it was constructed."""
    run: RunEvidence | None = None
    observed: Purpose | None = None
    """What a run showed it to be for; None in a fact from code, where the signs have to tell."""
    unrecorded: Unrecorded | None = None
    """Why backward found nothing of this training forward; None when it did, or when that was not seen."""
    unrecorded_layers: tuple[LayerRef, ...] = ()
    """The layers that it concerns; empty for the whole model."""
