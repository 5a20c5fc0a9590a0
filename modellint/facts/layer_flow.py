"""A layer whose whole output goes into one other layer."""

from __future__ import annotations

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.span import Span


@record
class LayerFlow:
    """All that one layer makes, in every call that was followed, is read by one other layer and by nothing else.

    Between the two stand at most operations that move no value and change none: dropout, Identity, a change of device
    or type.
    """

    layer: LayerRef
    family: str
    """`linear`, `conv` or `conv_transpose`."""
    call: Span
    next: LayerRef
    next_family: str
    """`linear`, `norm_running` (batch norm), `norm_instance`, `activation` and so on."""
    next_call: Span
    through: tuple[str, ...]
    """What stands between: `Dropout`."""
    owner: ModelRef | None
    """The instance whose method calls both; None when code that is no module does, or two instances do."""
    same_owner: bool
    """The same instance (or no module at all) calls both."""
    disagrees: bool
    """Other instances of the class send the output of this layer elsewhere."""
    bias: bool | None
    """The layer has a bias; None when that is not known."""
    bottleneck: bool | None
    """It makes fewer features than it gets and than the next layer makes: together a matrix of low rank, which one
    layer could not be. None when the sizes are not known."""
    exclusive: bool
    """The next layer reads nothing else either."""
    next_trains: bool
    """The next layer is neither frozen nor held in eval mode."""
    loaded: bool
    """A checkpoint is loaded into one of the two."""
    replaced_weight: bool
    """The weight of one of the two is computed (weight_norm, orthogonal, pruning), or shared with another layer."""
    statistics_read: bool = False
    """Code reads the running statistics of the next layer, as folding does."""
    said_linear: bool = False
    """The file says that it is about linear networks."""
    sometimes: bool = False
    """The same line makes other layers, whose output goes elsewhere."""
    in_test_suite: bool = False
