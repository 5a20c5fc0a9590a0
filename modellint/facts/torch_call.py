"""A resolved torch call with its arguments bound to torch's parameter names."""

from __future__ import annotations

from modellint.facts.loss_use import OutputKind
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span

UNKNOWN = object()
"""The `constant` of an argument whose value was not followed."""


@record
class Argument:
    """One argument as given."""

    name: str
    """Torch's parameter name where the signature is known, `*0`, `*1` … for a position without a known name."""
    text: str
    place: Span
    constant: object
    """A Python constant, or UNKNOWN."""
    mode_gated: bool
    """Its value depends on `self.training` or on a parameter that carries the mode."""
    options: tuple[object, ...] = ()
    """The constants it may be, where several paths meet or the one it is; empty when not followed."""
    kind: OutputKind = OutputKind.UNKNOWN
    """What the values of a tensor are."""
    maker: str | None = None
    maker_place: Span | None = None
    """The operation that made them so."""


@record
class TorchCall:
    """One call of a torch function, constructor or method."""

    name: str
    """Canonical dotted name: `torch.nn.functional.dropout`, `torch.Tensor.to`, `torch.nn.Module.forward`."""
    place: Span
    text: str
    """The callee as written: `F.dropout`, `net.forward`."""
    arguments: tuple[Argument, ...]
    open_arguments: bool
    """Has `*args` or `**kwargs` that were not followed."""
    receiver: str | None
    """Of a method: the receiver as written; None for a function."""
    receiver_kind: str | None
    """`module`, `tensor`, `optimizer`, `loss` …"""
    module_class: str | None
    """The nn.Module subclass in whose method the call stands."""
    function: str | None
    """The innermost function around it."""
    training_only: bool
    """Reached only under a test of the mode (`if self.training`)."""
    stochastic_on_purpose: bool
    """The class, function or a comment's neighbourhood says that it samples on purpose (MC dropout, prenet, VAE)."""
    delegating: bool
    """A `.forward` within a wrapper's own forward, on super(), on self, or on a class."""
    framework: str | None
    in_test_suite: bool
    run: RunEvidence | None = None
    built_each_forward: bool = False
    """Of the call of a layer: a run saw another object in every forward."""
    has_parameters: bool = False
    """Of such a layer: it has parameters, and no optimizer holds them."""

    def argument(self, name: str) -> Argument | None:
        """The argument bound to `name`, None when it was not given."""
        return next((a for a in self.arguments if a.name == name), None)
