"""What a rule is: the one page that a rule author reads.

A rule is a class with metadata, two examples and one or more hooks. A hook is named after the fact it judges and
yields findings from that one fact::

    class InvalidDevice(Rule):
        \"\"\"A device string that torch does not know.

        It fails only on the machine that has the accelerator.
        \"\"\"

        category = Category.CORRECTNESS
        bad = '''
        import torch
        device = torch.device("gpu")  # expect: invalid-device
        '''
        good = '''
        import torch
        device = torch.device("cuda")
        '''
        fine_when = ("`accelerator=\\"gpu\\"` of a framework is that framework's own name.",)
        references = ("docs.pytorch.org/docs/stable/tensor_attributes.html#torch.device",)

        def torch_call(self, call: TorchCall) -> Iterator[Finding]:
            ...
            yield self.finding(at=call.place, message=..., why=..., help=...)

The rule's name is its file name with hyphens. `bad` must yield exactly this rule at its `# expect:` lines and `good`
nothing; both are run as tests. An UNKNOWN in a fact never fires. A rule imports this module and `modellint.facts` only;
if it needs to know more, a fact gets a new field.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from modellint.facts.discarded_value import DiscardedValue
from modellint.facts.forward_use import ForwardUse
from modellint.facts.loss_use import LossUse
from modellint.facts.module_class import ModuleClass
from modellint.facts.module_instance import ModuleInstance
from modellint.facts.parameter_fill import ParameterFill
from modellint.facts.span import Span
from modellint.facts.torch_call import TorchCall
from modellint.facts.training_loop import TrainingLoop
from modellint.finding import Category, Certainty, Edit, Finding, Fix, FlowStep, Level, Note, Safety

__all__ = [
    "HOOKS", "Category", "Certainty", "DiscardedValue", "Edit", "Finding", "Fix", "FlowStep", "ForwardUse",
    "Iterator", "Level", "LossUse", "ModuleClass", "ModuleInstance", "Note", "ParameterFill", "Rule", "Safety",
    "Span", "TorchCall", "TrainingLoop",
]  # fmt: skip


class Rule:
    """Base class of all rules."""

    category: ClassVar[Category]
    bad: ClassVar[str]
    good: ClassVar[str]
    fine_when: ClassVar[Sequence[str]] = ()
    references: ClassVar[Sequence[str]] = ()
    since: ClassVar[str] = "0.1"
    sides: ClassVar[Sequence[str]] = ("source",)
    """`source`, `runtime` or both: which reader's facts the rule judges."""
    fix_level: ClassVar[str] = "none"
    """`safe`, `unsafe` or `none`: what `modellint rules` shows."""
    name: ClassVar[str]
    """Set from the file name: do not write it."""

    def __init_subclass__(cls) -> None:
        cls.name = cls.__module__.rpartition(".")[2].replace("_", "-")

    def finding(
        self,
        *,
        at: Span,
        message: str,
        why: str,
        help: str,
        label: str = "",
        order: int | None = None,
        related: Iterable[Note] = (),
        flow: Iterable[FlowStep] = (),
        certainty: Certainty = Certainty.CERTAIN,
        notes: Iterable[str] = (),
        fix: Fix | None = None,
        seen: str = "",
        evidence: Mapping[str, object] | None = None,
        group: Hashable = None,
        weight: int = 0,
    ) -> Finding:
        """A finding of this rule; LIKELY lowers its level by one."""
        level = self.category.level
        return Finding(
            rule=self.name,
            category=self.category,
            level=level.lowered() if certainty is Certainty.LIKELY else level,
            certainty=certainty,
            message=message,
            span=at,
            label=label,
            primary_order=order,
            related=tuple(related),
            flow=tuple(flow),
            seen=seen,
            why=why,
            help=help,
            notes=tuple(notes),
            fix=fix,
            evidence=evidence or {},
            group=group,
            weight=weight,
        )

    # The hooks. Override those whose facts the rule judges.

    def module_instance(self, instance: ModuleInstance) -> Iterator[Finding]:
        """Judge one constructed module."""
        return iter(())

    def module_class(self, cls: ModuleClass) -> Iterator[Finding]:
        """Judge one class statement."""
        return iter(())

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        """Judge one call of a loss."""
        return iter(())

    def forward_use(self, use: ForwardUse) -> Iterator[Finding]:
        """Judge one call of a model."""
        return iter(())

    def training_loop(self, loop: TrainingLoop) -> Iterator[Finding]:
        """Judge one loop that trains."""
        return iter(())

    def parameter_fill(self, fill: ParameterFill) -> Iterator[Finding]:
        """Judge one constant initialisation."""
        return iter(())

    def torch_call(self, call: TorchCall) -> Iterator[Finding]:
        """Judge one resolved torch call."""
        return iter(())

    def discarded_value(self, value: DiscardedValue) -> Iterator[Finding]:
        """Judge one value that is made and dropped."""
        return iter(())


HOOKS: Mapping[type, str] = {
    ModuleInstance: "module_instance",
    ModuleClass: "module_class",
    LossUse: "loss_use",
    ForwardUse: "forward_use",
    TrainingLoop: "training_loop",
    ParameterFill: "parameter_fill",
    TorchCall: "torch_call",
    DiscardedValue: "discarded_value",
}
"""Which hook judges which fact."""
