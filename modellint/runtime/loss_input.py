"""What the input of one loss is: its kind, what made it, which model it comes from, which axis a softmax ran over."""

from __future__ import annotations

from typing import Any

from torch import nn

from modellint.facts.loss_use import Expects, OutputKind
from modellint.facts.record import record
from modellint.facts.span import Span
from modellint.runtime import definitions, loss_graph
from modellint.runtime.call_site import Site
from modellint.runtime.graph import metadata_of, tag_of
from modellint.runtime.loss_functions import LossFunction
from modellint.runtime.loss_graph import Head
from modellint.runtime.session import ModuleCall, ModuleRecord, RootCall, RootRecord, Session

_MAKER = "modellint.maker"
_MOST_CALLS = 256
_SOFTMAX_KINDS = (OutputKind.DISTRIBUTION, OutputKind.LOG_PROBABILITIES)


@record
class Maker:
    """The activation or layer that made a value."""

    text: str
    site: Site | None = None
    """Its call in the user's code."""
    root: RootRecord | None = None
    path: str = ""
    """With `root`: the layer whose definition is the place."""
    registered: Site | None = None
    """Where that layer was given to its container, for when the model is gone and its definition was not found."""

    def place(self, session: Session) -> Span | None:
        if self.site is not None:
            return self.site.span()
        found = definitions.place_of(session, self.root, self.path) if self.root is not None else None
        return self.registered.span() if found is None and self.registered is not None else found


@record
class LossInput:
    """The input of one call of a loss."""

    kind: OutputKind = OutputKind.UNKNOWN
    maker: Maker | None = None
    root: RootRecord | None = None
    forward: Site | None = None
    """The call of the root."""
    softmax_dim: int | None = None
    softmax_shape: tuple[int, ...] | None = None


class LossInputs:
    """Tells where values come from; remembers the last root calls and, in the graph, which activation made what."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._calls: dict[int, RootCall] = {}

    def note_call(self, call: RootCall) -> None:
        """Remember a forward with gradients."""
        self._calls[call.number] = call
        if len(self._calls) > _MOST_CALLS:
            del self._calls[next(iter(self._calls))]

    def note_activation(self, node: Any, text: str) -> None:
        """Write on the graph node of an activation what a finding will say of it."""
        metadata_of(node).setdefault(_MAKER, self._activation(text))

    def _activation(self, text: str) -> Maker:
        """Its place is its definition when a Sequential calls it, else its call."""
        stack = self._session.stack
        call = stack[-1] if stack else None
        if call is None or call.record is None or not is_of_torch(call.record.cls):
            return Maker(text, self._session.site())
        parent = call.parent.record if call.parent is not None else None
        if parent is not None and issubclass(parent.cls, nn.Sequential):
            return self._element(call, parent)
        return Maker(f"nn.{call.record.kind}", self._session.site())

    def _element(self, call: ModuleCall, parent: ModuleRecord) -> Maker:
        assert call.record is not None
        child, path = call.record.ref(), call.record.path
        known = self._session.registered.get((parent.key, path.rpartition(".")[2]))
        registered = known[1] if known is not None and child is not None and known[0]() is child else None
        return Maker(f"nn.{call.record.kind}", None, call.root_call.root, path, registered)

    def read(self, head: Head, node: Any, loss: LossFunction, shape: tuple[int, ...], reduction: str) -> LossInput:
        """The input of a loss that `node` made, `head` behind it."""
        if head.node is None:
            return LossInput()
        kind, dim, made = head.kind, None, None
        if kind in _SOFTMAX_KINDS:
            made = loss_graph.shape_of(head.node) or (None if head.moved else shape)
            axis = loss_graph.softmax_axis(head.node, len(made)) if made is not None else None
            if axis is not None and made is not None:
                dim = _axis_for_loss(axis, made, shape, head.moved, loss, reduction)
                if dim is None and loss.expects is Expects.CLASS_LOGITS:
                    kind = OutputKind.UNKNOWN  # over another axis than the classes
        root, forward = self.model_of(node)
        return LossInput(kind, self.maker_of(head.node), root, forward, dim, made)

    def before_log_softmax(self, node: Any) -> tuple[LossInput, tuple[int, ...]] | None:
        """What a log-softmax was given, if an activation made it over the same axis; with its shape, classes second."""
        shape, behind = loss_graph.shape_of(node), loss_graph.input_of(node)
        if shape is None or behind is None or loss_graph.operation(node) != "LogSoftmax":
            return None
        axis, head = loss_graph.softmax_axis(node, len(shape)), loss_graph.head_of(behind)
        if axis is None or head.kind in (OutputKind.UNKNOWN, OutputKind.LOGITS):
            return None
        made = None
        if head.kind in _SOFTMAX_KINDS:
            made = loss_graph.shape_of(head.node)
            inner = loss_graph.softmax_axis(head.node, len(made)) if made is not None else None
            if made is None or inner is None or made[inner] != shape[axis] or (not head.moved and inner != axis):
                return None
        rest = shape[:axis] + shape[axis + 1 :]
        found = LossInput(head.kind, self.maker_of(head.node), *self.model_of(behind), 1 if made else None, made)
        return found, (*rest[:1], shape[axis], *rest[1:])

    def maker_of(self, node: Any) -> Maker | None:
        """The activation that was noted on a node, or the layer whose output it is."""
        found = metadata_of(node).get(_MAKER)
        if isinstance(found, Maker):
            return found
        tag = tag_of(node)
        call = self._calls.get(tag[1]) if tag is not None else None
        if tag is None or call is None:
            return None
        record = next((record for record in call.root.by_id.values() if record.path == tag[0]), None)
        return Maker(record.text, None, call.root, tag[0]) if record is not None else None

    def model_of(self, node: Any) -> tuple[RootRecord | None, Site | None]:
        """The model whose layer is nearest behind a node, and the call of it."""
        tag = loss_graph.first_layer(node) if node is not None else None
        call = self._calls.get(tag[1]) if tag is not None else None
        return (call.root, call.site) if call is not None else (None, None)


def is_of_torch(cls: type) -> bool:
    """One of torch's own layers and losses."""
    return cls.__module__.startswith("torch.nn.")


def class_axis(loss: LossFunction, shape: tuple[int, ...]) -> int | None:
    """The axis of the classes in the input of a loss."""
    if not shape or loss.expects not in (Expects.CLASS_LOGITS, Expects.LOG_PROBABILITIES) or loss.name == "kl_div":
        return None
    if loss.name == "ctc_loss":
        return len(shape) - 1
    return 1 if len(shape) > 1 else 0


def _axis_for_loss(
    axis: int, made: tuple[int, ...], given: tuple[int, ...], moved: bool, loss: LossFunction, reduction: str
) -> int | None:
    """The axis of a softmax as the loss sees it: 1 for the classes, 0 for the batch, None for neither or not known."""
    classes = class_axis(loss, given)
    if classes is not None:
        if made == given and not moved:
            over_classes = axis == classes
        else:
            over_classes = made[axis] == given[classes] and not (axis == 0 and made.count(made[0]) > 1)
        if over_classes:
            return 1
    if loss.expects in (Expects.RAW, Expects.OTHER) or loss.name == "ctc_loss":
        return None
    if loss.name == "kl_div" and reduction != "batchmean":
        return None  # only this reduction says that the first axis is the batch
    batch = axis == 0 and len(made) > 1 and not moved and made[0] > 1 and made[:1] == given[:1]
    return 0 if batch and made.count(made[0]) == 1 else None
