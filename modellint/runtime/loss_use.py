"""Losses of a run: what made the input of each, and whether a backward reached it.

The call of a loss function is seen by the function mode. What made its input is read from the graph behind it, and the
graph node of the loss is tagged; a use counts once a backward meets the tag. Where no function mode was active the
graph behind backward alone tells the loss and its input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import torch
from torch import nn

from modellint.facts.loss_use import Expects, LossUse, OutputKind
from modellint.runtime import loss_graph, torch_internals
from modellint.runtime.call_site import Site
from modellint.runtime.graph import MOST_NODES, metadata_of, tag_of
from modellint.runtime.loss_call import LossCall
from modellint.runtime.loss_functions import (
    ACTIVATIONS,
    CROSS_ENTROPY,
    DIFFERENCE,
    LOG_SOFTMAX,
    LOSS_NODES,
    LOSSES,
    SUBTRACTIONS,
    LossFunction,
)
from modellint.runtime.loss_input import LossInput, LossInputs, class_axis, is_of_torch
from modellint.runtime.loss_values import ValueRange
from modellint.runtime.observer import Observer
from modellint.runtime.session import RootCall, Session

_LOSS = "modellint.loss"


class LossUseObserver(Observer):
    """Makes a LossUse of every loss that a backward reached in a traced window."""

    makes = (LossUse,)
    functions = frozenset(LOSSES) | frozenset(ACTIVATIONS) | SUBTRACTIONS

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._inputs = LossInputs(session)
        self._uses: list[LossCall] = []
        self._known: dict[object, int] = {}

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        if call.grad:
            self._inputs.note_call(call)

    # Calls

    def function_called(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        if not _is_readable(result) or result.grad_fn is None:
            return
        loss = LOSSES.get(function)
        if loss is not None:
            self._loss_called(loss, args, kwargs, result)
        elif function in SUBTRACTIONS:
            self._subtracted(args, kwargs, result)
        else:
            self._inputs.note_activation(result.grad_fn, ACTIVATIONS[function])

    def _loss_called(
        self, loss: LossFunction, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: torch.Tensor
    ) -> None:
        given = args[0] if args else kwargs.get(loss.input)
        target = args[1] if len(args) > 1 else kwargs.get(loss.target)
        if not _is_readable(given):
            return
        use = LossCall(self.session.site(), loss, LossInput(), self._criterion(), tuple(given.shape))
        use.reduction = str(kwargs.get("reduction") or "")
        if _is_readable(target):
            use.target_shape = tuple(target.shape)
        head = loss_graph.head_of(given.grad_fn)
        numbers = []
        if head.opaque:
            self._read_values(use, given)
        else:
            use.value = self._inputs.read(head, given.grad_fn, loss, tuple(given.shape), use.reduction)
            if head.kind is OutputKind.LOG_PROBABILITIES and loss.expects is Expects.LOG_PROBABILITIES:
                inside = self._log_softmax(head.node, use.site)
                numbers = [] if inside is None else [self._note(inside)]
        if loss.element_wise and _is_readable(target) and use.target_shape != use.input_shape:
            use.aligned = head.unsqueezed or _was_aligned(target)
        metadata_of(result.grad_fn).setdefault(_LOSS, (self._note(use), *numbers))

    def _subtracted(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: torch.Tensor) -> None:
        """A difference that is larger than both of its operands, of which one is a prediction."""
        other = args[1] if len(args) > 1 else kwargs.get("other")
        given = args[0] if args else kwargs.get("input")
        if not _is_readable(given) or not _is_readable(other):
            return
        if result.numel() <= max(given.numel(), other.numel()) or given.requires_grad == other.requires_grad:
            return
        live, still = (given, other) if given.requires_grad else (other, given)
        value = LossInput(OutputKind.UNKNOWN, None, *self._inputs.model_of(live.grad_fn))
        use = LossCall(self.session.site(), DIFFERENCE, value, "", tuple(given.shape), tuple(other.shape))
        use.aligned = loss_graph.head_of(live.grad_fn).unsqueezed or _was_aligned(still)
        metadata_of(result.grad_fn).setdefault(_LOSS, (self._note(use),))

    def _criterion(self) -> str:
        """The class of torch's own criterion that runs; empty when the function was called without one."""
        call = self.session.stack[-1] if self.session.stack else None
        if call is None or call.record is None:
            return ""
        return next((c.__name__ for c in call.record.cls.__mro__ if is_of_torch(c) and c.__name__.endswith("Loss")), "")

    def _log_softmax(self, node: Any, site: Site | None) -> LossCall | None:
        """A log-softmax as a use of its own, if what it was given already went through an activation."""
        found = self._inputs.before_log_softmax(node)
        return LossCall(site, LOG_SOFTMAX, found[0], "", found[1]) if found is not None else None

    def _read_values(self, use: LossCall, given: torch.Tensor) -> None:
        """What an opaque graph does not say, the values of a few batches may."""
        calls = [call for call in self.session.window.forwards if call.grad and call.root.parameters]
        if calls:
            use.value = LossInput(root=calls[-1].root, forward=calls[-1].site)
        known = self._uses[self._note(use)]
        if known.values is None:
            known.values = ValueRange(use.function.expects)
        known.values.read(given, class_axis(use.function, tuple(given.shape)))

    def _note(self, use: LossCall) -> int:
        """The number of this way of use, the same for every call of it."""
        number = self._known.setdefault(use.key(), len(self._uses))
        if number == len(self._uses):
            self._uses.append(use)
        return number

    # Backward

    def backward_begins(self, tensors: Sequence[torch.Tensor], site: Site | None) -> None:
        if site is None or self.session.backward_depth > 1:
            return  # not a traced window, or a checkpoint that computes a part of the backward that is being walked
        nodes = [one.grad_fn for one in tensors if torch_internals.is_plain(one) and one.grad_fn is not None]
        seen, roots = {id(node) for node in nodes}, len(nodes)
        for index, node in enumerate(nodes):  # grows while it is walked
            numbers = metadata_of(node).get(_LOSS)
            if numbers is None:
                numbers = self._from_graph(node, site)
            if numbers is not None:
                self._reach(numbers)
                continue
            tag = tag_of(node)
            if index >= roots and tag is not None and tag[0]:
                continue  # a layer: what lies behind it is the model
            for following, _ in node.next_functions:
                if following is None or id(following) in seen:
                    continue
                if len(nodes) >= MOST_NODES:
                    self.session.out_of_sight("losses", f"further than {MOST_NODES} graph nodes from a backward")
                    return
                seen.add(id(following))
                nodes.append(following)

    def _reach(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            use = self._uses[number]
            if not use.reached:
                use.first_step = self.session.steps
            use.reached += 1

    def _from_graph(self, node: Any, site: Site) -> tuple[int, ...] | None:
        """A loss that no function mode saw, by its graph node; None for a node that is no loss."""
        name = loss_graph.operation(node)
        if name == "LogSoftmax":
            return self._by_hand(node, site)
        loss, behind = LOSS_NODES.get(name), loss_graph.input_of(node)
        if loss is None or behind is None:
            return None
        head = loss_graph.head_of(behind)
        if head.opaque:
            self._out_of_sight(loss.expects, "made inside of compiled or checkpointed code")
        if head.opaque or head.node is None:
            return ()
        if loss.expects is Expects.LOG_PROBABILITIES and head.kind is OutputKind.LOG_PROBABILITIES:
            if loss_graph.head_of(loss_graph.input_of(head.node)).opaque:
                self._out_of_sight(Expects.CLASS_LOGITS, "made inside of compiled or checkpointed code")
            inside = self._log_softmax(head.node, site)
            if inside is None:
                return ()
            if not head.moved and name != "CtcLoss":
                inside.function = CROSS_ENTROPY
            return (self._note(inside),)
        shape = loss_graph.shape_of(behind) or ()
        use = LossCall(site, loss, self._inputs.read(head, behind, loss, shape, ""), "", shape or None)
        return (self._note(use),)

    def _by_hand(self, node: Any, site: Site) -> tuple[int, ...] | None:
        """A cross entropy written with log_softmax: only a softmax before it is wrong without doubt."""
        maker = self._inputs.maker_of(node)
        inside = self._log_softmax(node, maker.site if maker is not None and maker.site is not None else site)
        if inside is None or inside.value.kind is not OutputKind.DISTRIBUTION:
            return None
        return (self._note(inside),)

    def _out_of_sight(self, expects: Expects, reason: str) -> None:
        self.session.out_of_sight("input of a loss", reason, *_RULES.get(expects, ()))

    # Facts

    def facts(self) -> Iterator[object]:
        calls: dict[Site | None, int] = {}
        as_logarithms = set()
        for use in self._uses:
            calls[use.site] = calls.get(use.site, 0) + use.reached
            if use.reached and use.function.expects is Expects.LOG_PROBABILITIES:
                as_logarithms.add(use.value.maker)
        for use in self._uses:
            again = use.value.kind is OutputKind.LOG_PROBABILITIES and use.function.expects is Expects.CLASS_LOGITS
            if not use.reached or use.site is None or (again and use.value.maker in as_logarithms):
                continue  # an output that two losses share, one of which needs the logarithm
            yield use.fact(self.session, use.site, self._kind(use), calls[use.site])

    def _kind(self, use: LossCall) -> OutputKind:
        """From the graph, else from the values."""
        if use.values is None:
            return use.value.kind
        kind = use.values.kind()
        if kind is OutputKind.UNKNOWN:
            self._out_of_sight(use.function.expects, use.values.reason())
        return kind


def _is_readable(value: Any) -> TypeGuard[torch.Tensor]:
    """A plain tensor that has a shape."""
    return isinstance(value, torch.Tensor) and torch_internals.is_plain(value) and not value.is_nested


def _was_aligned(tensor: torch.Tensor) -> bool:
    """The tensor was given an axis right before."""
    if tensor.grad_fn is not None:
        return loss_graph.head_of(tensor.grad_fn).unsqueezed
    return loss_graph.unsqueezed_view(tensor)


_RULES = {
    Expects.BINARY_LOGITS: ("sigmoid-before-logits-loss", "relu-before-loss"),
    Expects.CLASS_LOGITS: ("softmax-before-cross-entropy", "log-softmax-before-cross-entropy", "relu-before-loss"),
    Expects.LOG_PROBABILITIES: ("nll-without-log-softmax", "kl-div-input-not-log"),
    Expects.PROBABILITIES: ("bce-without-sigmoid",),
}
"""Rules that ask what a loss is given, by what it expects."""
