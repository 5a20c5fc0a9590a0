"""The losses of torch (and of torchvision): what each expects as its input."""

from __future__ import annotations

from collections.abc import Mapping

from modellint.facts.loss_use import Expects
from modellint.facts.record import record
from modellint.source.torch_api.layers import LAYERS


@record
class LossSpec:
    """One loss, class or function."""

    expects: Expects
    signature: tuple[str, ...] = ("input", "target")
    """Names of the tensors of the call, input first."""
    constructor: tuple[str, ...] = ()
    """Parameter names of the constructor; of a function, empty."""
    functional_twin: str | None = None
    """The function of a class."""


_F = "torch.nn.functional."
# Class, function, what the input must be, the tensors that the call takes.
# PoissonNLL takes logarithms of a rate, or a rate (`log_input`). MultiMargin and MultiLabelMargin compare scores by a
# margin: probabilities are legal there, if weak.
_LOSSES: tuple[tuple[str, str, Expects, str], ...] = (
    ("BCEWithLogitsLoss", "binary_cross_entropy_with_logits", Expects.BINARY_LOGITS, "input target"),
    ("SoftMarginLoss", "soft_margin_loss", Expects.BINARY_LOGITS, "input target"),
    ("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss", Expects.BINARY_LOGITS, "input target"),
    ("CrossEntropyLoss", "cross_entropy", Expects.CLASS_LOGITS, "input target"),
    ("NLLLoss", "nll_loss", Expects.LOG_PROBABILITIES, "input target"),
    ("NLLLoss2d", "nll_loss", Expects.LOG_PROBABILITIES, "input target"),
    ("KLDivLoss", "kl_div", Expects.LOG_PROBABILITIES, "input target"),
    ("CTCLoss", "ctc_loss", Expects.LOG_PROBABILITIES, "log_probs targets input_lengths target_lengths"),
    ("BCELoss", "binary_cross_entropy", Expects.PROBABILITIES, "input target"),
    ("MSELoss", "mse_loss", Expects.RAW, "input target"),
    ("L1Loss", "l1_loss", Expects.RAW, "input target"),
    ("HuberLoss", "huber_loss", Expects.RAW, "input target"),
    ("SmoothL1Loss", "smooth_l1_loss", Expects.RAW, "input target"),
    ("PoissonNLLLoss", "poisson_nll_loss", Expects.OTHER, "log_input target"),
    ("GaussianNLLLoss", "gaussian_nll_loss", Expects.OTHER, "input target var"),
    ("HingeEmbeddingLoss", "hinge_embedding_loss", Expects.OTHER, "input target"),
    ("MultiLabelMarginLoss", "multilabel_margin_loss", Expects.OTHER, "input target"),
    ("MultiMarginLoss", "multi_margin_loss", Expects.OTHER, "input target"),
    ("CosineEmbeddingLoss", "cosine_embedding_loss", Expects.OTHER, "input1 input2 target"),
    ("MarginRankingLoss", "margin_ranking_loss", Expects.OTHER, "input1 input2 target"),
    ("TripletMarginLoss", "triplet_margin_loss", Expects.OTHER, "anchor positive negative"),
    (
        "TripletMarginWithDistanceLoss",
        "triplet_margin_with_distance_loss",
        Expects.OTHER,
        "anchor positive negative",
    ),
)
# The same functions in the namespace of torch itself.
_PLAIN = frozenset(
    {
        "binary_cross_entropy_with_logits", "kl_div", "ctc_loss", "poisson_nll_loss", "hinge_embedding_loss",
        "cosine_embedding_loss", "margin_ranking_loss", "triplet_margin_loss",
    }
)  # fmt: skip

LOSSES: Mapping[str, LossSpec] = {
    **{
        f"torch.nn.{cls}": LossSpec(expects, tuple(call.split()), LAYERS[f"torch.nn.{cls}"].signature, _F + function)
        for cls, function, expects, call in _LOSSES
    },
    **{
        prefix + function: LossSpec(expects, tuple(call.split()))
        for _, function, expects, call in _LOSSES
        for prefix in ((_F, "torch.") if function in _PLAIN else (_F,))
    },
    **dict.fromkeys((_F + "poisson_nll_loss", "torch.poisson_nll_loss"), LossSpec(Expects.OTHER)),
    "torchvision.ops.sigmoid_focal_loss": LossSpec(Expects.BINARY_LOGITS, ("inputs", "targets")),
}
"""Losses by dotted name."""

EXCLUDED: Mapping[str, str] = {
    "torch.nn.AdaptiveLogSoftmaxWithLoss": "a layer with a loss inside: its input is a hidden state",
    "torch.nn.LinearCrossEntropyLoss": "a layer with a loss inside: its input is a hidden state",
    "torch.nn.functional.linear_cross_entropy": "a layer with a loss inside: its input is a hidden state",
}
"""Losses of torch that are not in the table, with the reason."""
