"""A call of `torch.load`."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.span import Span
from modellint.facts.torch_version import TorchVersions


@record
class CheckpointRead:
    """A file that is unpickled."""

    place: Span
    text: str
    """The file as given: `args.resume`."""
    weights_only: object
    """The constant given, None when nothing is given, UNKNOWN (see `torch_call`) when it was not followed."""
    weights_only_place: Span | None
    saved_here: bool
    """Code of the project writes checkpoints itself."""
    in_test_suite: bool
    versions: TorchVersions | None
    """What the project declares; None when it declares nothing."""
