"""Layers, forwards and losses: which parameters a gradient reaches through them."""

from __future__ import annotations

import ast

from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.reach import (
    NO_GRAD,
    OPEN,
    Cut,
    Reach,
    merged,
)
from modellint.source.interpreter.reach_values import Batch, ReachValues, has_trainable, without_pair
from modellint.source.interpreter.records import ForwardRecord
from modellint.source.interpreter.values import (
    ModuleValue,
    Tensor,
    Unknown,
    Value,
)

_REGRESSIONS = frozenset(
    {"MSELoss", "SmoothL1Loss", "HuberLoss", "L1Loss", "mse_loss", "smooth_l1_loss", "huber_loss", "l1_loss"}
)
_HEADS = (
    ("resnet", "fc"), ("resnext", "fc"), ("wide_resnet", "fc"), ("shufflenet", "fc"), ("regnet", "fc"),
    ("googlenet", "fc"), ("inception", "fc"), ("vgg", "classifier"), ("alexnet", "classifier"),
    ("densenet", "classifier"), ("mobilenet", "classifier"), ("efficientnet", "classifier"),
    ("mnasnet", "classifier"), ("convnext", "classifier"), ("squeezenet", "classifier"), ("vit_", "heads"),
    ("swin", "head"),
)  # fmt: skip
"""The attribute of torchvision's models that their forward ends with."""


class ReachForwards(ReachValues):
    """Follows models."""

    def _layer(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        result = super()._layer(module, call, node)
        values = call.values()
        reach = self._merged(values)
        if module.spec is not None and module.spec.parametric:
            if self.flow["grad"][0] is not False:
                module.state["differentiated"] = True
            if has_trainable(module) is not False:
                reach = merged([without_pair(reach), Reach(frozenset({module}))])
        return self._noted(result, reach, values, node)

    def _library_forward(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        result = super()._library_forward(module, call, node)
        head = self._known_head(module)
        if head is not None:
            for part in head.walk_values():
                part.state["differentiated"] = True
            live = frozenset({module, *head.walk_values()})
            self._noted(result, merged([self._merged(call.values()), Reach(live)]), [], node)
        elif module.spec is None and not module.is_container:
            self._noted(result, merged([self._merged(call.values()), Reach(frozenset({module}))]), [], node)
        return result

    @staticmethod
    def _known_head(module: ModuleValue) -> ModuleValue | None:
        """The last layer of a library's model, where the project put one of its own."""
        if module.known_library is None:
            return None
        for prefix, name in _HEADS:
            if module.name.startswith(prefix):
                head = module.attrs.get(name)
                return head if isinstance(head, ModuleValue) else None
        return None

    def _input(self, module: ModuleValue, name: str, value: Value, first: bool) -> Value:
        result = super()._input(module, name, value, first)
        if isinstance(result, Tensor) and result is not value and isinstance(value, Tensor | Unknown):
            result.reach = value.reach
        return result

    _given: Reach | None = None

    def _root_forward(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        values = call.values()
        for value in values:
            origin = getattr(value, "origin", None)
            if isinstance(origin, Batch):
                origin.fed = True
        outer, self._given = self._given, self._merged(values)
        try:
            return super()._root_forward(module, call, node)
        finally:
            self._given = outer

    def tag(self, value: Value, record: ForwardRecord, module: ModuleValue, node: ast.AST) -> Value:
        """Mark a result as made by this forward."""
        result = super().tag(value, record, module, node)
        if isinstance(result, Tensor | Unknown):
            inner = self.reach_of(value) if isinstance(value, Tensor | Unknown) else OPEN
            result.reach = self._tagged(inner, record, module, node)
        return result

    def _tagged(self, inner: Reach, record: ForwardRecord, module: ModuleValue, node: ast.AST) -> Reach:
        if inner.open and self._given is not None:
            # What was not followed inside can reach no more than the model itself and what it was given.
            inner = merged([Reach(inner.live | {module}, inner.cuts), self._given])
        if record.grad is False and self._given is not None:  # in a method, each layer was noted for itself
            site = record.grad_site or self.site(node)
            return Reach(cuts=inner.cuts | {Cut(NO_GRAD, site, frozenset({record}))})
        if inner.dead:
            made = frozenset({record})
            return Reach(cuts=frozenset(Cut(c.how, c.site, c.forwards | made, c.of_loss) for c in inner.cuts))
        live = inner.live | {module} if has_trainable(module) is not False else inner.live
        unsure = record.grad is None and self._given is not None
        return Reach(live, inner.cuts, inner.open or unsure, False, inner.stores)

    def call_loss(self, module: ModuleValue | None, name: str | None, call: CallArguments, node: ast.AST) -> Value:
        """A loss is computed."""
        result = super().call_loss(module, name, call, node)
        values = call.values()
        self._note_bootstrap(name or (module.name if module is not None else ""), call, node)
        return self._noted(result, self._merged(values), values, node)

    def _note_bootstrap(self, name: str, call: CallArguments, node: ast.AST) -> None:
        """A regression onto data plus what the same model says."""
        target, value = call.get(1, "target"), call.get(0, "input")
        if name.rpartition(".")[2] not in _REGRESSIONS or target is None or value is None:
            return
        reach = self.reach_of(target)
        if not reach.onto_data or self.flow["grad"][0] is not True:
            return
        own = self.reach_of(value)
        calls = taints((target,))[0]
        for record in calls:
            if record.model in reach.live and record.model in own.live and not own.onto_data:
                nodes = [*call.positional_nodes[1:2], call.keyword_nodes.get("target")]
                text = self.file.text.segment(nodes[0]) if nodes[0] is not None and hasattr(nodes[0], "lineno") else ""
                behind = tuple(sorted((r for r in calls if r.model is record.model), key=_line))
                self.records.graph.bootstraps.append(
                    (self.site(node), self._callee(node), text or "the target", record.model, behind)
                )
                return


def _line(record: ForwardRecord) -> int:
    line: int = getattr(record.site.node, "lineno", 0)
    return line
