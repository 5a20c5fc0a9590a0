"""The shapes of what a loss is given, for `LossUse`."""

from __future__ import annotations

import ast
from typing import TypedDict

from modellint.source.interpreter.records import LossRecord
from modellint.source.interpreter.values import Choice, Tensor, Value

DIFFERENCE = "difference"
"""The name of a loss that is written as `prediction - target`."""
_ELEMENT_WISE = frozenset({
    "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "KLDivLoss", "PoissonNLLLoss", "GaussianNLLLoss",
    "HingeEmbeddingLoss", "MultiLabelSoftMarginLoss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div",
    "poisson_nll_loss", "gaussian_nll_loss", "hinge_embedding_loss", "multilabel_soft_margin_loss",
})  # fmt: skip
Shape = tuple[int | None, ...] | None


class ShapesOf(TypedDict):
    """Fields of LossUse."""

    input_shape: Shape
    target_shape: Shape
    softmax_shape: Shape
    element_wise: bool
    aligned: bool


def shapes_of(record: LossRecord) -> ShapesOf:
    """The shapes, None for those that are not known."""
    tensors = [value for value in (record.input, record.target) if isinstance(value, Tensor)]
    softmax = record.input if isinstance(record.input, Tensor) and _is_softmax(record.input) else None
    short = record.name.rpartition(".")[2]
    return {
        "input_shape": _shape(record.input),
        "target_shape": _shape(record.target),
        "softmax_shape": softmax.shape if softmax is not None else None,
        "element_wise": short in _ELEMENT_WISE or short == DIFFERENCE,
        "aligned": any(tensor.sizes is not None and tensor.sizes.aligned for tensor in tensors),
    }


def _shape(value: Value | None) -> Shape:
    return value.shape if isinstance(value, Tensor) and not isinstance(value, Choice) else None


def _is_softmax(tensor: Tensor) -> bool:
    return tensor.sizes is not None and tensor.sizes.softmax == tensor.softmax_dim


def difference_text(record: LossRecord) -> str:
    """`prediction - target` as written."""
    node = record.site.node
    return record.site.file.text.segment(node) if isinstance(node, ast.expr) else DIFFERENCE
