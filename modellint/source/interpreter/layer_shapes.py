"""The shape of what a layer makes, where a shape stops being certain, and layers that do not fit their input.

A shape that depends on how often a loop runs, or on which arm of an `if` was taken, is unknown after it; within an arm
that may be impossible for the input at hand, nothing is noted.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

from modellint.facts.forward_use import Mode
from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.layer_sizes import Want, dimensions, layer_output, wants, whole_number
from modellint.source.interpreter.shape_records import ClashRecord, SoftmaxRecord, StarvedRecord
from modellint.source.interpreter.sizes import constant_of, joined_sizes
from modellint.source.interpreter.value_methods import ValueMethods
from modellint.source.interpreter.values import (
    Choice,
    Const,
    Extent,
    FunctionValue,
    LoaderValue,
    ModuleValue,
    SequenceValue,
    Sizes,
    Tensor,
    Value,
)

_SOFTMAXES = frozenset({"softmax", "log_softmax", "softmin"})
_SOFTMAX_LAYERS = frozenset({"Softmax", "LogSoftmax", "Softmin"})
_IMPLICIT = tuple(f"torch.nn.functional.{name}" for name in _SOFTMAXES)
_FAILURES = frozenset({"raises", "assertRaises", "assertRaisesRegex", "suppress"})
_REPLACED = frozenset({"weight", "in_features", "out_features", "in_channels", "out_channels", "num_features"})
_PLAIN_METHODS = frozenset({"__init__", "forward", "extra_repr", "reset_parameters", "__repr__"})
_WIDTH = {"linear": "out_features", "conv": "out_channels", "conv_transpose": "out_channels",
          "embedding": "embedding_dim", "recurrent": "hidden_size", "attention": "embed_dim"}  # fmt: skip


class LayerShapes(ValueMethods):
    """Follows shapes through layers."""

    _shape_base: tuple[tuple[tuple[int, int], ...], int] | None = None
    """Where the running forward began: its branches and how many loops were not followed one by one."""
    _unsure_rounds = 0
    _expects_failure = 0
    """Code around that expects an error."""
    _given_batch = False
    """The running forward was given a batch of a loader."""
    _softmax_of: ModuleValue | str | None = None

    # ---------------------------------------------------------------- what makes a shape uncertain

    @contextmanager
    def _counting(self, name: str) -> Iterator[None]:
        setattr(self, name, getattr(self, name) + 1)
        try:
            yield
        finally:
            setattr(self, name, getattr(self, name) - 1)

    def _shape_is_certain(self) -> bool:
        """The code that runs now is reached for sure when its forward runs, once."""
        return not self._expects_failure and self._shape_base == (self.path, self._unsure_rounds)

    def _with(self, node: ast.With | ast.AsyncWith) -> str | None:
        for item in node.items:
            function = item.context_expr.func if isinstance(item.context_expr, ast.Call) else None
            name = getattr(function, "attr", None) or getattr(function, "id", None)
            if name in _FAILURES:
                with self._counting("_expects_failure"):
                    return super()._with(node)
        return super()._with(node)

    def _try(self, node: ast.Try) -> str | None:
        if all(isinstance(h.type, ast.Name) and h.type.id == "KeyboardInterrupt" for h in node.handlers):
            return super()._try(node)
        with self._counting("_expects_failure"):
            return super()._try(node)

    def _rounds(
        self,
        node: ast.stmt,
        starts: Sequence[Callable[[], None]],
        body: list[ast.stmt],
        exact: bool,
        counted: bool = False,
        iterated: Value | None = None,
    ) -> str | None:
        if exact or len(starts) < 2:
            return super()._rounds(node, starts, body, exact, counted, iterated)
        start = len(self.log)
        after_one: dict[tuple[int, object], Value] = {}

        def second() -> None:
            for target, key, _ in self.log[start:]:
                value = target.get(key)
                if isinstance(value, Tensor | Extent | Const):
                    after_one[id(target), key] = value
            starts[1]()

        with self._counting("_unsure_rounds"):
            end = super()._rounds(node, [starts[0], second, *starts[2:]], body, exact, counted, iterated)
        seen: set[tuple[int, object]] = set()
        for target, key, _ in self.log[start:]:
            cell = (id(target), key)
            if cell in seen:
                continue
            seen.add(cell)
            value = target.get(key)
            if isinstance(value, Tensor | Extent | Const):
                wider = self._widened(after_one.get(cell), value)
                if wider is not value:
                    self.put(target, key, wider)
        return end

    @staticmethod
    def _widened(earlier: Value | None, value: Value) -> Value:
        """What a loop leaves that runs nobody knows how often: what still changed in its second round is unknown."""
        if isinstance(value, Tensor) and value.sizes is not None:
            sizes = joined_sizes([earlier.sizes if isinstance(earlier, Tensor) else None, value.sizes])
            if sizes is not value.sizes:
                value = copy(value)
                value.sizes = sizes
        elif isinstance(value, Extent) and value is not earlier:
            return Extent()
        return value

    def call_each(self, options: list[Value], arguments: CallArguments, node: ast.AST) -> list[Value]:
        """A layer that is one of several: the one that does not fit may not be the one that runs."""
        with self._counting("_unsure_rounds"):
            return super().call_each(options, arguments, node)

    def _root_forward(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        saved = self._shape_base, self._given_batch
        first = call.positional[0] if call.positional else None
        origin = first.origin if isinstance(first, Tensor) else None
        loader = isinstance(origin, LoaderValue) and origin.made is not None and origin.made.kind == "loader"
        self._shape_base, self._given_batch = (self.path, self._unsure_rounds), loader
        try:
            return super()._root_forward(module, call, node)
        finally:
            self._shape_base, self._given_batch = saved

    def _forward_in_method(self, frame: Any, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        saved, self._shape_base = self._shape_base, None
        try:
            return super()._forward_in_method(frame, module, call, node)
        finally:
            self._shape_base = saved

    def _library_forward(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        if not module.is_container or module.complete:
            return super()._library_forward(module, call, node)
        with self._counting("_unsure_rounds"):
            result = super()._library_forward(module, call, node)
        return self._without_shape(result)

    def _without_shape(self, value: Value) -> Value:
        if isinstance(value, Tensor) and value.sizes is not None:
            value = copy(value)
            value.sizes = None
        return value

    # ---------------------------------------------------------------- layers

    def construct_layer(self, name: str, call: CallArguments, node: ast.AST) -> ModuleValue:
        """A layer is made: some cannot be."""
        module = super().construct_layer(name, call, node)
        short = name.rpartition(".")[2]
        if short in _SOFTMAX_LAYERS and isinstance(node, ast.Call) and not call.open:
            self._softmax_record(node, f"nn.{short}", short == "LogSoftmax", call.get(0, "dim"), True)
        if module.complete and not self._expects_failure:
            given = self._layer_arguments(module, short)
            if given is None:
                return module
            pairs = {"GroupNorm": ("num_channels", "num_groups"), "MultiheadAttention": ("embed_dim", "num_heads")}
            checks = [pairs[short]] if short in pairs else []
            if "Conv" in short:
                checks = [("in_channels", "groups"), ("out_channels", "groups")]
            for whole, part in checks:
                size, count = whole_number(given.get(whole)), whole_number(given.get(part))
                if size is not None and count is not None and count > 0 and size % count:
                    self.records.shapes.clashes.setdefault(
                        (node, part, size, count),
                        ClashRecord(self.site(node), module, None, f"{whole} by {part}", size, (count,), None),
                    )
        return module

    def _layer_arguments(self, module: ModuleValue, name: str) -> dict[str, object] | None:
        """The arguments of a layer as constants, None when it was changed after it was made."""
        spec = module.spec
        if spec is None or module.attrs.keys() & _REPLACED:
            return None
        known: dict[str, object] | None = module.state.get("given")
        if known is None:
            known = dict(spec.defaults)
            known.update({key: constant_of(value) for key, value in module.arguments.items()})
            if module.call is None or module.call.open or any(key.startswith("*") for key in module.arguments):
                known = dict.fromkeys(spec.signature, ...)
            if module.cls is not None and any(
                isinstance(value, FunctionValue) and key not in _PLAIN_METHODS
                for cls in module.cls.mro
                for key, value in cls.attrs.items()
            ):
                known = dict.fromkeys(spec.signature, ...)
            module.state["given"] = known
        return known

    def _layer_name(self, module: ModuleValue) -> str:
        name = module.name if module.cls is None else self._layer_spec(module.cls) or ""
        return name.rpartition(".")[2]

    def _layer(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        spec = module.spec
        assert spec is not None
        name = self._layer_name(module)
        outer, self._softmax_of = self._softmax_of, module if name in _SOFTMAX_LAYERS else None
        try:
            result = super()._layer(module, call, node)
        finally:
            self._softmax_of = outer
        value = call.positional[0] if call.positional else next(iter(call.keywords.values()), None)
        if isinstance(result, Tensor) and result.sizes is not None and result.sizes.softmax is not None:
            return result
        sizes = value.sizes if isinstance(value, Tensor) else None
        given = self._layer_arguments(module, name)
        made = None
        if given is not None and not isinstance(value, Choice):
            made = layer_output(name, spec.family, given, sizes)
            if sizes is not None and self.forwards:
                self._check_layer(module, name, wants(name, spec.family, given), sizes, node)
            if made is not None and made is not sizes:
                self._name_width(module, name, made, node)
        if isinstance(result, SequenceValue) and result.items and isinstance(result.items[0], Tensor):
            result.items[0].sizes = made
        elif result is not value:
            self._give_shape(result, made, value)
        return result

    def through(self, value: Value, node: ast.AST, text: str) -> Value:
        """The value after an operation that keeps its kind: its shape is another matter."""
        result = super().through(value, node, text)
        if isinstance(result, Tensor) and result is not value:
            result.sizes = None
        return result

    def _give_shape(self, result: Value, sizes: Sizes | None, source: Value | None) -> None:
        if isinstance(result, Tensor):
            result.sizes = sizes
        elif isinstance(result, Choice):
            old = source.options if isinstance(source, Choice) else (source,)
            for option in result.options:
                if isinstance(option, Tensor) and not any(option is known for known in old):
                    option.sizes = None

    def _name_width(self, module: ModuleValue, name: str, sizes: Sizes, node: ast.AST) -> None:
        """Remember which layer gave the channels their number."""
        spec = module.spec
        parameter = _WIDTH.get(spec.family) if spec is not None else None
        if parameter is None:
            return
        axis = sizes.at(-(dimensions(name) or 0) - 1)
        if axis is not None and axis.made is None:
            axis.made = (self.site(node), self.layer_text(module), self._is_literal(module, parameter))

    @staticmethod
    def _is_literal(module: ModuleValue, parameter: str) -> bool:
        """Whether an argument of a constructor is written as a number."""
        if module.call is None or module.spec is None or parameter not in module.spec.signature:
            return False
        position = module.spec.signature.index(parameter)
        nodes = module.call.positional_nodes
        node = nodes[position] if position < len(nodes) else module.call.keyword_nodes.get(parameter)
        return isinstance(node, ast.Constant)

    def _check_layer(self, module: ModuleValue, name: str, wanted: list[Want], sizes: Sizes, node: ast.AST) -> None:
        axes = sizes.whole()
        self._check_samples(module, name, axes, node)
        if not wanted or not self._shape_is_certain():
            return
        root = self.forwards[-1].root
        for want in wanted:
            if want.ranks and axes is not None and len(axes) not in want.ranks:
                self._clash(ClashRecord(self.site(node), module, root, "rank", len(axes), want.ranks, None), node)
                return
            axis = sizes.at(want.axis)
            if sizes.folded is not None and want.parameter == "in_features":
                fold = copy(sizes.folded)
                fold.layer = module
                self.records.shapes.folds.setdefault((fold.site.node, module.key), fold)
                return
            if axis is None or axis.number is None:
                continue
            if axis.number != want.length:
                record = ClashRecord(
                    self.site(node), module, root, want.parameter, axis.number, (want.length,), axis.made, want.axis
                )
                self._clash(record, node)
                return

    def _clash(self, record: ClashRecord, node: ast.AST) -> None:
        self.records.shapes.clashes.setdefault((node, record.parameter, record.given, record.wanted), record)

    def _check_samples(self, module: ModuleValue, name: str, axes: tuple[Extent, ...] | None, node: ast.AST) -> None:
        if name != "BatchNorm1d" or axes is None or len(axes) != 2 or axes[0].number not in (1, 2):
            return
        if self.modes_of(module) == {Mode.TRAIN} and self.flow["grad"][0] is True:
            self.records.shapes.starved.setdefault(
                node, StarvedRecord(self.site(node), module, self.forwards[-1].root, axes[0].number or 0)
            )

    # ---------------------------------------------------------------- softmax

    def _softmax_record(self, node: ast.AST, text: str, log: bool, dim: Value | None, made: bool) -> SoftmaxRecord:
        implicit = dim is None or (isinstance(dim, Const) and dim.value is None)
        return self.records.shapes.softmaxes.setdefault(
            node, SoftmaxRecord(self.site(node), text, log, implicit, made=made)
        )

    def activated(self, value: Value, output: str, node: ast.AST, text: str, dim: Value | None = None) -> Value:
        """The value after an activation."""
        result = super().activated(value, output, node, text, dim)
        source = self._softmax_of
        self._softmax_of = None
        if output not in ("softmax", "log_softmax") or not isinstance(result, Tensor) or source == "":
            return result
        sizes = value.sizes if isinstance(value, Tensor) else None
        axes = sizes.whole() if sizes is not None else None
        record: SoftmaxRecord | None = None
        if isinstance(source, ModuleValue):
            site = source.site
            record = self.records.shapes.softmaxes.get(site.node) if site is not None else None
        elif isinstance(node, ast.Call):
            open_call = any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords)
            implicit = isinstance(source, str) and source in _IMPLICIT and not open_call
            record = self._softmax_record(node, text, output == "log_softmax", dim, False)
            record.implicit = record.implicit and implicit
        if record is not None:
            record.ranks.add(len(axes) if axes is not None else None)
        axis = whole_number(dim.value) if isinstance(dim, Const) else None
        if axis == 0 and axes is not None and len(axes) == 1:
            result.softmax_dim = -1  # of one vector: its classes, wherever they stand later
        if sizes is not None and axis is not None:
            result.sizes = copy(sizes)
            result.sizes.softmax = axis
            one = sizes.at(axis)
            if record is not None and one is not None and one.number == 1 and one.made is not None:
                made_site, made_text, literal = one.made
                if literal:
                    record.single.append((self.site(node), made_site, made_text))
        return result
