"""Tables of the functions that the observer of losses sees, as torch hands them to a function mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional as F

from modellint.facts.loss_use import Expects
from modellint.facts.record import record

Function = Callable[..., Any]


@record
class LossFunction:
    """One function that computes a loss."""

    name: str
    """`cross_entropy`."""
    expects: Expects
    element_wise: bool = False
    """It compares input and target element by element and broadcasts them where their shapes differ."""
    input: str = "input"
    target: str = "target"


_LOSSES = (
    LossFunction("cross_entropy", Expects.CLASS_LOGITS),
    LossFunction("nll_loss", Expects.LOG_PROBABILITIES),
    LossFunction("ctc_loss", Expects.LOG_PROBABILITIES, input="log_probs", target="targets"),
    LossFunction("kl_div", Expects.LOG_PROBABILITIES, element_wise=True),
    LossFunction("binary_cross_entropy", Expects.PROBABILITIES),
    LossFunction("binary_cross_entropy_with_logits", Expects.BINARY_LOGITS),
    LossFunction("soft_margin_loss", Expects.BINARY_LOGITS),
    LossFunction("multilabel_soft_margin_loss", Expects.BINARY_LOGITS, element_wise=True),
    LossFunction("mse_loss", Expects.RAW, element_wise=True),
    LossFunction("l1_loss", Expects.RAW, element_wise=True),
    LossFunction("smooth_l1_loss", Expects.RAW, element_wise=True),
    LossFunction("huber_loss", Expects.RAW, element_wise=True),
    LossFunction("gaussian_nll_loss", Expects.OTHER, element_wise=True),
    LossFunction("poisson_nll_loss", Expects.OTHER, element_wise=True),
    LossFunction("hinge_embedding_loss", Expects.OTHER, element_wise=True),
)

LOSSES: Mapping[Function, LossFunction] = {
    getattr(home, loss.name): loss
    for loss in _LOSSES
    for home in (torch, F)
    if callable(getattr(home, loss.name, None))
}
"""Losses, in torch.nn.functional and those that torch itself has too."""

DIFFERENCE = LossFunction("subtraction", Expects.RAW, element_wise=True, input="self", target="other")
"""A loss written by hand: `prediction - target`."""

SUBTRACTIONS: frozenset[Function] = frozenset(
    {torch.sub, torch.subtract, torch.Tensor.sub, torch.Tensor.subtract, torch.Tensor.__rsub__}
)

ACTIVATIONS: Mapping[Function, str] = {
    function: text
    for text, functions in {
        "torch.softmax": (torch.softmax, torch.special.softmax),
        "F.softmax": (F.softmax,),
        ".softmax": (torch.Tensor.softmax,),
        "torch.log_softmax": (torch.log_softmax, torch.special.log_softmax),
        "F.log_softmax": (F.log_softmax,),
        ".log_softmax": (torch.Tensor.log_softmax,),
        "torch.sigmoid": (torch.sigmoid, torch.special.expit),
        "F.sigmoid": (F.sigmoid,),
        ".sigmoid": (torch.Tensor.sigmoid, torch.Tensor.sigmoid_),
        "F.hardsigmoid": (F.hardsigmoid,),
        "torch.relu": (torch.relu, torch.relu_),
        "F.relu": (F.relu, F.relu_),
        ".relu": (torch.Tensor.relu, torch.Tensor.relu_),
        "torch.tanh": (torch.tanh,),
        ".tanh": (torch.Tensor.tanh,),
    }.items()
    for function in functions
}
"""Activations whose place a finding names."""

LOSS_NODES: Mapping[str, LossFunction] = {
    "NllLoss": LossFunction("nll_loss", Expects.LOG_PROBABILITIES),
    "NllLoss2D": LossFunction("nll_loss", Expects.LOG_PROBABILITIES),
    "CtcLoss": LossFunction("ctc_loss", Expects.LOG_PROBABILITIES),
    "BinaryCrossEntropy": LossFunction("binary_cross_entropy", Expects.PROBABILITIES),
    "BinaryCrossEntropyWithLogits": LossFunction("binary_cross_entropy_with_logits", Expects.BINARY_LOGITS),
}
"""Losses by the name of their graph node, for where no function mode was active."""

CROSS_ENTROPY = LossFunction("cross_entropy", Expects.CLASS_LOGITS)
LOG_SOFTMAX = LossFunction("log_softmax", Expects.CLASS_LOGITS)
