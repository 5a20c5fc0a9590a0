"""Notes what each tensor is made of and what reads it, as a graph of operations.

Everything here hands the work on to the classes below and then ties the result to its inputs. A tensor that goes where
it is not followed gets a reader of the kind `unknown`, so that nobody takes the readers that are known for all.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from modellint.facts.forward_use import Mode
from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.flow_nodes import (
    ITEM,
    KEPT,
    LAYER,
    LOADER,
    RETURN,
    SOURCE,
    UNKNOWN,
    FlowNode,
)
from modellint.source.interpreter.layer_notes import LayerNotes
from modellint.source.interpreter.values import (
    Choice,
    Const,
    DictValue,
    Key,
    LoaderValue,
    ModuleValue,
    ParameterValue,
    SequenceValue,
    Tensor,
    Unknown,
    Value,
)
from modellint.source.torch_api.functions import DROPOUTS, SIGNATURES
from modellint.source.torch_api.losses import LOSSES
from modellint.source.torch_api.names import canonical

_QUIET_BUILTINS = frozenset(
    {"print", "len", "isinstance", "issubclass", "range", "type", "id", "repr", "str", "callable", "hasattr"}
)
_QUIET_METHODS = frozenset(
    {"size", "dim", "numel", "nelement", "ndimension", "stride", "data_ptr", "is_contiguous", "type", "get_device",
     "is_floating_point", "register_hook", "retain_grad", "requires_grad_", "element_size"}
)  # fmt: skip
_FOLLOWED = frozenset({"torch.utils.checkpoint.checkpoint", "torch.nn.Parameter", "torch.compile"})
_RESHAPED = frozenset({"T", "mT", "H", "mH", "real", "imag"})
_REPARAMETRISED = ("torch.nn.utils.", "torch.ao.", "torch.quantization.", "torch.jit.")


class Flow(LayerNotes):
    """Keeps the graph."""

    # ---------------------------------------------------------------- nodes

    def node_of(self, value: Tensor) -> FlowNode:
        """The node of a tensor; what made it may not be known."""
        node = value.node
        if node is None:
            origin = value.origin
            if isinstance(origin, LoaderValue) and origin in self.stacking_loaders:
                node = FlowNode(LOADER, origin.site)
            else:
                node = FlowNode(SOURCE, None)
            value.node = node
        return node

    def _tensors(self, values: Iterable[Value], depth: int = 2) -> list[Tensor]:
        found: list[Tensor] = []
        for value in values:
            kind = type(value)
            if kind is Tensor:
                found.append(value)  # type: ignore[arg-type]
            elif kind is Unknown or kind is Const:
                continue  # by far the most
            elif depth and isinstance(value, SequenceValue):
                found.extend(self._tensors(value.items[:8], depth - 1))
            elif depth and isinstance(value, DictValue):
                found.extend(self._tensors(list(value.items.values())[:8], depth - 1))
            elif depth and isinstance(value, Choice):
                found.extend(self._tensors(value.options, depth - 1))
        return found

    def read_by(self, op: str, values: Iterable[Value], node: ast.AST) -> FlowNode | None:
        """Note that an operation reads these; None when none of them is a tensor."""
        tensors = self._tensors(values)
        if not tensors:
            return None
        return self._reader(op, tensors, node)

    def _reader(self, op: str, tensors: list[Tensor], node: ast.AST) -> FlowNode:
        made = FlowNode(op, self.site(node), [self.node_of(tensor) for tensor in tensors])
        made.owner = self.frames[-1].module
        made.path = self.path
        made.grad = self.flow["grad"][0]
        for part in dict.fromkeys(made.inputs):
            part.users.append(made)
        return made

    def made(self, op: str, values: Iterable[Value], result: Value, node: ast.AST) -> FlowNode | None:
        """Tie a result to what it was made of."""
        tensors = self._tensors(values)
        if isinstance(result, SequenceValue):
            result = result.items[0] if result.items else result
        if not tensors and type(result) is not Tensor:
            return None
        made = self._reader(op, tensors, node)
        if type(result) is Tensor:
            if not any(result is tensor for tensor in tensors):
                result.node = made
        else:
            made.op = op if op == LAYER else UNKNOWN
        return made

    # ---------------------------------------------------------------- layers

    def _layer(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        spec = module.spec
        if spec is not None and spec.family == "shape" and module.name == "torch.nn.Identity":
            return super()._layer(module, call, node)
        values = call.values()
        result = super()._layer(module, call, node)
        made = self.made(LAYER, values, result, node)
        if made is not None:
            made.module, made.call = module, call
            inplace = module.arguments.get("inplace")
            made.inplace = isinstance(inplace, Const) and bool(inplace.value)
            self.records.flow.append(made)
            if module.name == "torch.nn.PReLU" and self.forwards and self.forwards[-1].calls[-1].module is module:
                record = self.forwards[-1].calls[-1]
                record.node, record.trained_slope = made, self._is_trained(module)
        return result

    def _is_trained(self, module: ModuleValue) -> bool:
        frozen = module.state.get("frozen", False) or module.state.get("frozen:weight", False)
        return frozen is False and self.modes_of(module) != {Mode.EVAL}

    def _library_forward(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        result = super()._library_forward(module, call, node)
        if module.spec is None:
            self.made(UNKNOWN, call.values(), result, node)
        return result

    def _root_forward(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        result = super()._root_forward(module, call, node)
        self.read_by(RETURN, [result], node)
        return result

    def _input(self, module: ModuleValue, name: str, value: Value, first: bool) -> Value:
        if type(value) is Tensor:
            self.node_of(value)
        return super()._input(module, name, value, first)

    def call_loss(self, module: ModuleValue | None, name: str | None, call: CallArguments, node: ast.AST) -> Value:
        """A loss reads its arguments."""
        result = super().call_loss(module, name, call, node)
        self.made("loss", call.values(), result, node)
        return result

    # ---------------------------------------------------------------- functions and methods

    def call_external(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        """A call of a name from outside the project."""
        known = canonical(name)
        result = super().call_external(name, call, node)
        values = call.values()
        if known in LOSSES or known in _FOLLOWED or not values:
            return result
        if known.startswith(_REPARAMETRISED):
            for value in values:
                if isinstance(value, ModuleValue):
                    for part in value.walk_values():
                        part.state["reparametrised"] = True
        made = self.made(known, values, result, node)
        if made is not None:
            made.call = call
            if known.startswith("torch.nn.functional.") or known.endswith("_"):
                inplace = known.endswith("_") and not known.endswith("__")
                made.inplace = inplace or _asks_for_inplace(known, call)
                if made.inplace:
                    self.records.flow.append(made)
            if known.endswith("scaled_dot_product_attention") or known in DROPOUTS:
                self.records.flow.append(made)
        return result

    def _call_builtin(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name not in _QUIET_BUILTINS:
            self.read_by(UNKNOWN, call.values(), node)
        return super()._call_builtin(name, call, node)

    def unknown_call(self, function: Value, call: CallArguments, node: ast.AST) -> Value:
        """A call of something that was not followed reads all that it is given."""
        self.read_by(UNKNOWN, call.values(), node)
        return super().unknown_call(function, call, node)

    def call_method(self, receiver: Value, name: str, call: CallArguments, node: ast.AST) -> Value:
        """A method of a tensor, or of something that is given tensors."""
        result = super().call_method(receiver, name, call, node)
        if type(receiver) is Tensor:
            if name not in _QUIET_METHODS:
                made = self.made(f"torch.Tensor.{name}", [receiver, *call.values()], result, node)
                if made is not None:
                    made.call = call
                    made.inplace = name.endswith("_") and not name.endswith("__")
                    if made.inplace:
                        self.records.flow.append(made)
        elif isinstance(receiver, ModuleValue):
            if name == "load_state_dict":
                for part in receiver.walk_values():
                    part.state["loaded"] = True
            elif name in ("register_buffer", "__setattr__"):
                self.read_by(KEPT, call.values(), node)
        else:
            self.read_by(KEPT, call.values(), node)
        return result

    # ---------------------------------------------------------------- operators

    def binary_operation(self, node: ast.AST, op: ast.operator, left: Value, right: Value) -> Value:
        """`left op right`; `x += y` writes into x."""
        result = super().binary_operation(node, op, left, right)
        if type(left) is Tensor or type(right) is Tensor:
            made = self.made(type(op).__name__, (left, right), result, node)
            if made is not None:
                made.inplace = isinstance(node, ast.AugAssign)
        return result

    def unary_operation(self, node: ast.UnaryOp, value: Value) -> Value:
        """`-x`, `~x`."""
        result = super().unary_operation(node, value)
        if type(value) is Tensor:
            self.made(type(node.op).__name__, (value,), result, node)
        return result

    _compared: tuple[ast.cmpop, Value, Value] | None = None

    def _compare_pair(self, op: ast.cmpop, left: Value, right: Value) -> tuple[bool | None, Key | None, bool]:
        if (type(left) is Tensor or type(right) is Tensor) and not isinstance(op, ast.Is | ast.IsNot):
            self._compared = (op, left, right)
        return super()._compare_pair(op, left, right)

    def _compare_parts(self, node: ast.Compare) -> tuple[bool | None, Key | None, bool]:
        self._compared = None
        parts = super()._compare_parts(node)
        if self._compared is not None:
            op, left, right = self._compared
            result = self._comparison
            if type(result) is not Tensor or len(node.ops) > 1:
                self.read_by(UNKNOWN, (left, right), node)
            else:
                self.made(type(op).__name__, (left, right), result, node)
        return parts

    # ---------------------------------------------------------------- items and attributes

    def get_item(self, value: Value, index: Value, node: ast.Subscript) -> Value:
        """`value[index]`."""
        result = super().get_item(value, index, node)
        if type(value) is Tensor:
            self.made(ITEM, (value,), result, node)
            self.read_by("index", (index,), node)
        return result

    def tensor_attribute(self, value: Tensor | ParameterValue, name: str, node: ast.AST) -> Value:
        """`tensor.name`."""
        result = super().tensor_attribute(value, name, node)
        if type(value) is Tensor and name in _RESHAPED:
            self.made(f"torch.Tensor.{name}", (value,), result, node)
        return result

    def iterate(self, value: Value, node: ast.AST) -> tuple[bool, list[Value]]:
        """The elements of an iteration."""
        if type(value) is Tensor:
            self.read_by(UNKNOWN, (value,), node)
        return super().iterate(value, node)

    def _unpack(self, targets: list[ast.expr], value: Value, node: ast.AST) -> None:
        if type(value) is Tensor:
            self.read_by(UNKNOWN, (value,), node)
        super()._unpack(targets, value, node)

    # ---------------------------------------------------------------- kept for later

    def _items(self, nodes: list[ast.expr]) -> tuple[tuple[Value, ...], bool]:
        items, complete = super()._items(nodes)
        for item, node in zip(items, nodes, strict=False):
            if type(item) is Tensor:
                self.read_by(KEPT, (item,), node)
        return items, complete

    def _dict(self, node: ast.Dict) -> Value:
        result = super()._dict(node)
        self.read_by(KEPT, (result,), node)
        return result

    def _list_comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Value:
        result = super()._list_comprehension(node)
        self.read_by(KEPT, (result,), node)
        return result

    def set_attribute(self, target: Value, name: str, value: Value, node: ast.AST) -> None:
        """`target.name = value`."""
        if type(value) is Tensor:
            self.read_by(KEPT, (value,), node)
        super().set_attribute(target, name, value, node)

    def set_item(self, target: Value, index: Value, value: Value, node: ast.AST) -> None:
        """`target[index] = value`."""
        self.read_by(KEPT, (target, value), node)
        super().set_item(target, index, value, node)

    def _yield(self, node: ast.Yield | ast.YieldFrom) -> Value:
        result = super()._yield(node)
        if node.value is not None and isinstance(node.value, ast.Name):
            value = self.lookup(node.value.id, self.frame.scope)
            if value is not None:
                self.read_by(UNKNOWN, (value,), node)
        return result


def _asks_for_inplace(name: str, call: CallArguments) -> bool:
    """`F.relu(x, True)`, `F.elu(x, inplace=True)`."""
    given = call.keywords.get("inplace")
    if given is None:
        names = SIGNATURES.get(name, ())
        position = names.index("inplace") if "inplace" in names else None
        given = call.positional[position] if position is not None and position < len(call.positional) else None
    return isinstance(given, Const) and given.value is True
