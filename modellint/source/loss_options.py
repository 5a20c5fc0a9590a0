"""What the arguments of a loss say, and where its input and target come from."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from modellint.facts.loss_use import Expects, Source
from modellint.source.interpreter.records import LossRecord
from modellint.source.interpreter.values import Const, LoaderValue, Tensor, Value
from modellint.source.naming import words
from modellint.source.torch_api.losses import LOSSES
from modellint.source.tree import walk


def options_of(record: LossRecord) -> Mapping[str, Any]:
    """The fields of a LossUse that the arguments of the loss decide."""
    target = record.target if isinstance(record.target, Tensor) else None
    given = record.input if isinstance(record.input, Tensor) else None
    fields: dict[str, Any] = {
        "recorded": record.recorded,
        "scaled": _may_be_scaled(record),
        "tempered": _is_tempered(record),
        "input_source": _source(record.input),
        "target_source": _source(record.target),
        "reconstructs": given is not None and target is not None and _is_input_of(given, target),
        "reversal_stated": _says_reversed(record),
        "whole_target": target is not None and target.nature.whole,
        "signed_target": target is not None and target.nature.signed,
        "target_padding": target.nature.padding if target is not None else None,
    }
    options = record.options
    if options is None or record.name not in LOSSES:
        return fields
    if all(_is_none(options.get(name)) for name in ("reduce", "size_average")):
        reduction = options.get("reduction")
        if reduction is not None:
            fields["reduction"] = _constant(reduction) if isinstance(_constant(reduction), str) else ""
            fields["reduction_given"] = True
        elif not record.name.startswith("torchvision."):
            fields["reduction"] = "mean"
    if "log_target" in options:
        flag = _constant(options["log_target"])
        fields["log_target"] = flag if isinstance(flag, bool) else None
    else:
        fields["log_target"] = False
    smoothing = options.get("label_smoothing")
    fields["label_smoothing"] = smoothing is not None and _constant(smoothing) != 0
    if record.expects is Expects.CLASS_LOGITS or "nll" in record.name.lower():
        ignored = options.get("ignore_index")
        number = _constant(ignored) if ignored is not None else -100
        if "weight" in options:
            number = None  # a class of weight 0 is left out as well
        fields["ignored"] = float(number) if isinstance(number, int | float) else None
    return fields


def _is_none(value: Value | None) -> bool:
    return value is None or (isinstance(value, Const) and value.value is None)


def _constant(value: Value) -> object:
    return value.value if isinstance(value, Const) else None


def _source(value: Value | None) -> Source:
    if not isinstance(value, Tensor):
        return Source.UNKNOWN
    if value.forwards:
        recording = {forward.grad for forward in value.forwards}
        if recording == {True}:
            return Source.TRAINED_MODEL
        return Source.FIXED_MODEL if recording == {False} else Source.UNKNOWN
    if isinstance(value.origin, LoaderValue) or (value.origin == "dummy" and not value.losses):
        return Source.DATA
    return Source.UNKNOWN


def _is_input_of(given: Tensor, output: Tensor) -> bool:
    """Whether a tensor is what a model was called with to make another one."""
    return any(
        forward.input is given or (isinstance(forward.input, Tensor) and forward.input.nature is given.nature)
        for forward in output.forwards
    )


def _says_reversed(record: LossRecord) -> bool:
    function = record.function
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        node = record.site.node
        line = record.site.file.text.lines[getattr(node, "lineno", 1) - 1]
        return "revers" in line.lower()
    lines = record.site.file.text.lines[function.lineno - 1 : function.end_lineno]
    said = {word for line in lines for word in words(line)}
    return any(word.startswith("revers") for word in said)


def _may_be_scaled(record: LossRecord) -> bool:
    """Whether it is multiplied by something that may be the number of classes.

    A temperature enters as a square, a weight as a fraction or beside its complement `1 - weight`.
    """
    operands = [(part, factor) for factor in record.factors for part in _operands(factor.node)]
    texts = [ast.unparse(part) for part, _ in operands]
    for (part, factor), text in zip(operands, texts, strict=True):
        number: object = part.value if isinstance(part, ast.Constant) else None
        if part is factor.node and isinstance(factor.value, Const):
            number = factor.value.value
        if isinstance(number, float) or (isinstance(number, int) and number <= 1):
            continue  # a number of classes is written as a whole number
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub) and _is_one(part.left):
            continue  # the complement of a weight
        if texts.count(text) > 1 or (isinstance(part, ast.BinOp) and isinstance(part.op, ast.Pow)):
            continue  # a square
        if not _has_complement(factor.site.file.text.tree, text):
            return True
    return False


def _is_tempered(record: LossRecord) -> bool:
    """Whether it is multiplied by a square."""
    operands = [part for factor in record.factors for part in _operands(factor.node)]
    texts = [ast.unparse(part) for part in operands]
    return len(set(texts)) < len(texts) or any(
        isinstance(part, ast.BinOp) and isinstance(part.op, ast.Pow) and getattr(part.right, "value", None) == 2
        for part in operands
    )


def _is_one(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == 1


def _operands(node: ast.AST) -> list[ast.AST]:
    """The factors of a product."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _operands(node.left) + _operands(node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _operands(node.left)
    return [node]


def _has_complement(tree: ast.AST, text: str) -> bool:
    """Whether the file says `1 - text`."""
    for part in walk(tree):
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub) and isinstance(part.left, ast.Constant):
            if _is_one(part.left) and ast.unparse(part.right) == text:
                return True
    return False
