"""A function that initialises the layers of a model by their classes."""

from __future__ import annotations

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.span import Span


@record
class PassedOver:
    """Layers of a kind that the function names, but of classes that it does not ask for."""

    asked: tuple[str, ...]
    """The classes that it asks for: `BatchNorm2d`."""
    place: Span
    """The test."""
    fill_text: str
    """What it does to those: `nn.init.normal_(m.weight, 1.0, 0.02)`."""
    layers: tuple[LayerRef, ...]


@record
class InitPass:
    """One such function: run on an instance, or never called."""

    place: Span
    """Where it is run; for one that is never called its `def`."""
    function: str
    class_name: str
    """The class whose method it is; empty for a plain function."""
    model: ModelRef | None
    """The instance that it ran on; None for a function that is never called."""
    passed_over: tuple[PassedOver, ...]
    never_called: bool
    in_test_suite: bool
