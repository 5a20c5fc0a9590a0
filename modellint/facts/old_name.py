"""A use of a name that torch has removed or means to remove."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.span import Span
from modellint.facts.torch_version import TorchVersions, Version


@record
class OldName:
    """A call by a name, or with an argument, that newer versions of torch do without."""

    place: Span
    text: str
    """As written: `torch.symeig`, `size_average=False`."""
    name: str
    """The full name: `torch.symeig`, `torch.nn.MSELoss(size_average)`."""
    since: Version
    """The version that deprecated it, or took it away."""
    removed: bool
    """The call fails from `since` on."""
    instead: str
    """What torch's documentation says to use."""
    guarded: bool
    """It runs under a test of the version or of what torch has, or in a `try`."""
    versions: TorchVersions | None
    """What the project declares; None when it declares nothing."""
