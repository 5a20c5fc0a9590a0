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

from modellint.facts.backward_use import BackwardUse
from modellint.facts.discarded_value import DiscardedValue
from modellint.facts.distributed_setup import DistributedSetup
from modellint.facts.embedding_table import EmbeddingTable
from modellint.facts.forward_use import ForwardUse
from modellint.facts.gradient_record import GradientRecord
from modellint.facts.input_record import InputRecord
from modellint.facts.kept_graph import KeptGraph
from modellint.facts.layer_record import LayerRecord
from modellint.facts.loader_setup import LoaderSetup
from modellint.facts.loss_use import LossUse
from modellint.facts.module_class import ModuleClass
from modellint.facts.module_instance import ModuleInstance
from modellint.facts.non_finite import NonFinite
from modellint.facts.norm_use import NormUse
from modellint.facts.optimizer_setup import OptimizerSetup
from modellint.facts.parameter_fill import ParameterFill
from modellint.facts.parameter_update import ParameterUpdate
from modellint.facts.probe_record import ProbeRecord
from modellint.facts.rank_batches import RankBatches
from modellint.facts.repeated_batches import RepeatedBatches
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.facts.state_copy import StateCopy
from modellint.facts.teacher_forward import TeacherForward
from modellint.facts.torch_call import TorchCall
from modellint.facts.training_loop import TrainingLoop
from modellint.facts.weight_tie import WeightTie
from modellint.finding import Category, Certainty, Edit, Finding, Fix, FlowStep, Level, Note, Safety

__all__ = [
    "HOOKS", "BackwardUse", "Category", "Certainty", "DiscardedValue", "DistributedSetup", "Edit", "EmbeddingTable",
    "Finding", "Fix", "FlowStep", "ForwardUse", "GradientRecord", "InputRecord", "Iterator", "KeptGraph",
    "LayerRecord", "Level", "LoaderSetup", "LossUse", "ModuleClass", "ModuleInstance", "NonFinite", "NormUse", "Note",
    "OptimizerSetup", "ParameterFill", "ParameterUpdate", "ProbeRecord", "RankBatches", "RepeatedBatches", "Rule",
    "Safety", "Span", "StateCopy", "TeacherForward", "TorchCall", "TrainingLoop", "WeightTie", "times_seen",
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

    def optimizer_setup(self, setup: OptimizerSetup) -> Iterator[Finding]:
        """Judge what one optimizer was given."""
        return iter(())

    def parameter_update(self, update: ParameterUpdate) -> Iterator[Finding]:
        """Judge what the steps of one optimizer did."""
        return iter(())

    def discarded_value(self, value: DiscardedValue) -> Iterator[Finding]:
        """Judge one value that is made and dropped."""
        return iter(())

    def probe_record(self, probe: ProbeRecord) -> Iterator[Finding]:
        """Judge the outcome of one probe."""
        return iter(())

    def layer_record(self, record: LayerRecord) -> Iterator[Finding]:
        """Judge the numbers of one layer."""
        return iter(())

    def gradient_record(self, record: GradientRecord) -> Iterator[Finding]:
        """Judge the sizes of one model's gradients."""
        return iter(())

    def input_record(self, record: InputRecord) -> Iterator[Finding]:
        """Judge the batch sizes of one model's arguments."""
        return iter(())

    def norm_use(self, use: NormUse) -> Iterator[Finding]:
        """Judge one norm that training calls."""
        return iter(())

    def teacher_forward(self, use: TeacherForward) -> Iterator[Finding]:
        """Judge one fixed model that a training step calls."""
        return iter(())

    def embedding_table(self, table: EmbeddingTable) -> Iterator[Finding]:
        """Judge one embedding with a padding index."""
        return iter(())

    def weight_tie(self, tie: WeightTie) -> Iterator[Finding]:
        """Judge one parameter that two layers shared."""
        return iter(())

    def backward_use(self, use: BackwardUse) -> Iterator[Finding]:
        """Judge one call of backward."""
        return iter(())

    def non_finite(self, loss: NonFinite) -> Iterator[Finding]:
        """Judge one loss that was NaN or infinite."""
        return iter(())

    def kept_graph(self, kept: KeptGraph) -> Iterator[Finding]:
        """Judge graphs that outlive their steps."""
        return iter(())

    def state_copy(self, state: StateCopy) -> Iterator[Finding]:
        """Judge one state dict that is kept."""
        return iter(())

    def loader_setup(self, setup: LoaderSetup) -> Iterator[Finding]:
        """Judge one loop over a loader."""
        return iter(())

    def repeated_batches(self, batches: RepeatedBatches) -> Iterator[Finding]:
        """Judge the batches of several workers."""
        return iter(())

    def distributed_setup(self, setup: DistributedSetup) -> Iterator[Finding]:
        """Judge one model that several processes train."""
        return iter(())

    def rank_batches(self, batches: RankBatches) -> Iterator[Finding]:
        """Judge the batches of several ranks."""
        return iter(())


HOOKS: Mapping[type, str] = {
    ModuleInstance: "module_instance",
    ModuleClass: "module_class",
    LossUse: "loss_use",
    ForwardUse: "forward_use",
    TrainingLoop: "training_loop",
    ParameterFill: "parameter_fill",
    OptimizerSetup: "optimizer_setup",
    ParameterUpdate: "parameter_update",
    TorchCall: "torch_call",
    DiscardedValue: "discarded_value",
    ProbeRecord: "probe_record",
    LayerRecord: "layer_record",
    GradientRecord: "gradient_record",
    InputRecord: "input_record",
    BackwardUse: "backward_use",
    NonFinite: "non_finite",
    KeptGraph: "kept_graph",
    NormUse: "norm_use",
    TeacherForward: "teacher_forward",
    EmbeddingTable: "embedding_table",
    WeightTie: "weight_tie",
    StateCopy: "state_copy",
    LoaderSetup: "loader_setup",
    RepeatedBatches: "repeated_batches",
    DistributedSetup: "distributed_setup",
    RankBatches: "rank_batches",
}
"""Which hook judges which fact."""


def times_seen(run: RunEvidence, what: str = "") -> str:
    """`24 of 24 evaluation batches in training mode, first after 12 steps`."""
    text = f"{run.times:,} of {run.watched:,} {what or run.what}"
    if run.first_step == 0:
        return text
    return f"{text}, first after {run.first_step:,} step" + ("s" if run.first_step > 1 else "")
