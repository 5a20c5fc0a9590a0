"""The losses of torch (and of torchvision): what each expects as its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modellint.facts.loss_use import Expects


@dataclass(frozen=True, slots=True)
class LossSpec:
    """One loss, class or function."""

    expects: Expects
    signature: tuple[str, ...] = ("input", "target")
    """Names of the arguments of the call, input first."""
    twin: str | None = None
    """The function of a class."""


_F = "torch.nn.functional."
_PAIRS: tuple[tuple[str, str, Expects], ...] = (
    ("BCEWithLogitsLoss", "binary_cross_entropy_with_logits", Expects.BINARY_LOGITS),
    ("SoftMarginLoss", "soft_margin_loss", Expects.BINARY_LOGITS),
    ("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss", Expects.BINARY_LOGITS),
    ("CrossEntropyLoss", "cross_entropy", Expects.CLASS_LOGITS),
    ("NLLLoss", "nll_loss", Expects.LOG_PROBABILITIES),
    ("BCELoss", "binary_cross_entropy", Expects.PROBABILITIES),
    ("KLDivLoss", "kl_div", Expects.LOG_PROBABILITIES),
    ("MSELoss", "mse_loss", Expects.RAW),
    ("L1Loss", "l1_loss", Expects.RAW),
    ("HuberLoss", "huber_loss", Expects.RAW),
    ("SmoothL1Loss", "smooth_l1_loss", Expects.RAW),
    ("PoissonNLLLoss", "poisson_nll_loss", Expects.OTHER),
    ("GaussianNLLLoss", "gaussian_nll_loss", Expects.OTHER),
    ("HingeEmbeddingLoss", "hinge_embedding_loss", Expects.OTHER),
    ("MultiLabelMarginLoss", "multilabel_margin_loss", Expects.OTHER),
    # A margin between scores: probabilities are legal there, if weak.
    ("MultiMarginLoss", "multi_margin_loss", Expects.OTHER),
)
_OTHERS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("CTCLoss", "ctc_loss", ("log_probs", "targets", "input_lengths", "target_lengths")),
    ("CosineEmbeddingLoss", "cosine_embedding_loss", ("input1", "input2", "target")),
    ("MarginRankingLoss", "margin_ranking_loss", ("input1", "input2", "target")),
    ("TripletMarginLoss", "triplet_margin_loss", ("anchor", "positive", "negative")),
    ("TripletMarginWithDistanceLoss", "triplet_margin_with_distance_loss", ("anchor", "positive", "negative")),
)

LOSSES: Mapping[str, LossSpec] = {
    **{f"torch.nn.{cls}": LossSpec(expects, twin=_F + function) for cls, function, expects in _PAIRS},
    **{_F + function: LossSpec(expects) for _, function, expects in _PAIRS},
    **{
        f"torch.nn.{cls}": LossSpec(
            Expects.LOG_PROBABILITIES if cls == "CTCLoss" else Expects.OTHER, signature, _F + function
        )
        for cls, function, signature in _OTHERS
    },
    **{
        _F + function: LossSpec(Expects.LOG_PROBABILITIES if cls == "CTCLoss" else Expects.OTHER, signature)
        for cls, function, signature in _OTHERS
    },
    "torchvision.ops.sigmoid_focal_loss": LossSpec(Expects.BINARY_LOGITS, ("inputs", "targets")),
    "torchvision.ops.focal_loss.sigmoid_focal_loss": LossSpec(Expects.BINARY_LOGITS, ("inputs", "targets")),
}
EXCLUDED: Mapping[str, str] = {
    "torch.nn.AdaptiveLogSoftmaxWithLoss": "a layer with a loss inside: its input is a hidden state",
    "torch.nn.LinearCrossEntropyLoss": "a layer with a loss inside: its input is a hidden state",
}
"""Losses of torch that are not in the table, with the reason."""
