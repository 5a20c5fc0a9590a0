"""A use of a loss, and what reaches it."""

from __future__ import annotations

from enum import Enum

from modellint.facts.model import ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


class OutputKind(Enum):
    """What a tensor's values are, as far as the operation that made them says."""

    UNKNOWN = "UNKNOWN"
    LOGITS = "LOGITS"
    """The raw output of a Linear or convolution."""
    PROBABILITIES = "PROBABILITIES"
    """Of a sigmoid, each in [0, 1]."""
    DISTRIBUTION = "DISTRIBUTION"
    """Of a softmax, summing to 1."""
    LOG_PROBABILITIES = "LOG_PROBABILITIES"
    NON_NEGATIVE = "NON_NEGATIVE"
    TANH = "TANH"


class Expects(Enum):
    """What a loss wants as its input."""

    BINARY_LOGITS = "LOGITS (sigmoid inside)"
    CLASS_LOGITS = "LOGITS (softmax inside)"
    LOG_PROBABILITIES = "LOG_PROBABILITIES"
    PROBABILITIES = "PROBABILITIES"
    RAW = "RAW"
    OTHER = "OTHER"


class Source(Enum):
    """Where a tensor comes from."""

    UNKNOWN = "UNKNOWN"
    DATA = "DATA"
    """A loader, or numbers made on the spot."""
    FIXED_MODEL = "FIXED_MODEL"
    """A model, without gradients."""
    TRAINED_MODEL = "TRAINED_MODEL"
    """A model, with gradients."""


@record
class Step:
    """One station of a value on its way to the loss."""

    place: Span
    text: str
    """`torch.sigmoid`, `return`, `model(...)`, `.squeeze(1)`."""


@record
class LossUse:
    """One call of a loss, with one way its input was made."""

    place: Span
    """The call of the loss."""
    loss: str
    """`BCEWithLogitsLoss`, `F.cross_entropy`."""
    loss_text: str
    """As called here: `criterion`, `self.loss`, `F.cross_entropy`."""
    loss_place: Span | None
    """Where the loss object was constructed; None for a function."""
    expects: Expects
    input: OutputKind
    """UNKNOWN when paths of one model with different kinds meet, or when something on the way was not followed. Where
    several models may have made it (`A() if flag else B()`), each is a use of its own."""
    maker: str | None
    """The operation that made `input`: `torch.sigmoid`, `nn.Softmax`, `Linear(64, 10)`."""
    maker_place: Span | None
    steps: tuple[Step, ...]
    """From the maker to the loss, both included, in the order of the data."""
    model: ModelRef | None
    """The model whose forward made it; None when it was made outside of a model."""
    model_place: Span | None
    """The call of that model."""
    classes: int | None
    """Size of the class axis where known."""
    softmax_dim: int | None
    """The literal `dim` of the softmax that made the input."""
    trains: bool
    """The loss is backwarded."""
    target: OutputKind
    run: RunEvidence | None = None
    input_shape: tuple[int | None, ...] | None = None
    """None where the shape is not known; in code, None also for the length of an axis that is not known."""
    target_shape: tuple[int | None, ...] | None = None
    softmax_shape: tuple[int | None, ...] | None = None
    """Shape of what the softmax of `softmax_dim` made."""
    reduction: str = ""
    """`mean`, `sum`, `none`, `batchmean`; empty when it is not known."""
    element_wise: bool = False
    """It compares input and target element by element and broadcasts them: mse_loss, or a subtraction by hand."""
    aligned: bool = False
    """An operand was given an axis right before (`unsqueeze`, `[:, None]`): it is meant to be broadcast."""
    recorded: bool = True
    """Gradients are recorded where it is computed, as far as is known."""
    log_target: bool | None = None
    """Of a KL divergence: what its option says; None when that is not known."""
    scaled: bool = False
    """It is multiplied by something that may be the number of classes."""
    tempered: bool = False
    """It is multiplied by a square, as a distillation term is by that of its temperature."""
    reduction_given: bool = False
    """The reduction is an argument in the code, not the default."""
    label_smoothing: bool = False
    """It smooths the labels, or may."""
    feeds_log_loss: bool = False
    """The same output also goes to a loss that takes log-probabilities."""
    input_source: Source = Source.UNKNOWN
    target_source: Source = Source.UNKNOWN
    reconstructs: bool = False
    """What is compared with the output of the model is the input of the model."""
    reversal_stated: bool = False
    """The code around says that the arguments are reversed on purpose."""
    whole_target: bool = False
    """The target is made of whole numbers, such as labels."""
    signed_target: bool = False
    """The target has numbers of both signs for sure."""
    target_padding: float | None = None
    """The number that the target was padded with."""
    ignored: float | None = None
    """The label that a cross entropy leaves out; None when that is not known."""
