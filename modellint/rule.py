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

from modellint.facts.aliased_module import AliasedModule
from modellint.facts.backward_use import BackwardUse
from modellint.facts.bootstrap_target import BootstrapTarget
from modellint.facts.checkpoint_read import CheckpointRead
from modellint.facts.data_attribute import DataAttribute
from modellint.facts.decayed_norms import DecayedNorms
from modellint.facts.discarded_value import DiscardedValue
from modellint.facts.distributed_setup import DistributedSetup
from modellint.facts.dropout_use import DropoutUse
from modellint.facts.embedding_table import EmbeddingTable
from modellint.facts.evaluation_data import EvaluationData
from modellint.facts.folded_batch import FoldedBatch
from modellint.facts.forward_use import ForwardUse
from modellint.facts.gradient_leak import GradientLeak
from modellint.facts.gradient_record import GradientRecord
from modellint.facts.guarded_singularity import GuardedSingularity
from modellint.facts.hidden_state import HiddenState
from modellint.facts.init_pass import InitPass
from modellint.facts.initial_spread import InitialSpread
from modellint.facts.inplace_read import InplaceRead
from modellint.facts.input_record import InputRecord
from modellint.facts.kept_graph import KeptGraph
from modellint.facts.layer_flow import LayerFlow
from modellint.facts.layer_record import LayerRecord
from modellint.facts.loader_call import LoaderCall
from modellint.facts.loader_setup import LoaderSetup
from modellint.facts.log_use import LogUse
from modellint.facts.loss_use import LossUse
from modellint.facts.mask_use import MaskUse
from modellint.facts.module_class import ModuleClass
from modellint.facts.module_instance import ModuleInstance
from modellint.facts.non_finite import NonFinite
from modellint.facts.norm_use import NormUse
from modellint.facts.old_name import OldName
from modellint.facts.optimizer_rebuild import OptimizerRebuild
from modellint.facts.optimizer_setup import OptimizerSetup
from modellint.facts.overwritten_load import OverwrittenLoad
from modellint.facts.parameter_fill import ParameterFill
from modellint.facts.parameter_update import ParameterUpdate
from modellint.facts.prediction_order import PredictionOrder
from modellint.facts.probe_record import ProbeRecord
from modellint.facts.rank_batches import RankBatches
from modellint.facts.recut_view import RecutView
from modellint.facts.repeated_batches import RepeatedBatches
from modellint.facts.retained_graph import RetainedGraph
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.scheduler_setup import SchedulerSetup
from modellint.facts.selection_use import SelectionUse
from modellint.facts.sequence_call import SequenceCall
from modellint.facts.size_clash import SizeClash
from modellint.facts.softmax_use import SoftmaxUse
from modellint.facts.span import Span
from modellint.facts.starved_norm import StarvedNorm
from modellint.facts.state_copy import StateCopy
from modellint.facts.state_load import StateLoad
from modellint.facts.teacher_forward import TeacherForward
from modellint.facts.threshold_use import ThresholdUse
from modellint.facts.timed_forward import TimedForward
from modellint.facts.torch_call import TorchCall
from modellint.facts.training_loop import TrainingLoop
from modellint.facts.unfilled_parameter import UnfilledParameter
from modellint.facts.unused_sampler import UnusedSampler
from modellint.facts.weight_tie import WeightTie
from modellint.facts.xavier_fill import XavierFill
from modellint.finding import Category, Certainty, Edit, Finding, Fix, FlowStep, Level, Note, Safety

__all__ = [
    "HOOKS", "AliasedModule", "BackwardUse", "BootstrapTarget", "Category", "Certainty", "CheckpointRead",
    "DataAttribute", "DecayedNorms", "DiscardedValue", "DistributedSetup", "DropoutUse", "Edit", "EmbeddingTable",
    "EvaluationData", "Finding", "Fix", "FlowStep", "FoldedBatch", "ForwardUse", "GradientLeak", "GradientRecord",
    "GuardedSingularity", "HiddenState", "InitPass", "InitialSpread", "InplaceRead", "InputRecord", "Iterator",
    "KeptGraph", "LayerFlow", "LayerRecord", "Level", "LoaderCall", "LoaderSetup", "LogUse", "LossUse", "MaskUse",
    "ModuleClass", "ModuleInstance", "NonFinite", "NormUse", "Note", "OldName", "OptimizerRebuild", "OptimizerSetup",
    "OverwrittenLoad", "ParameterFill", "ParameterUpdate", "PredictionOrder", "ProbeRecord", "RankBatches",
    "RecutView", "RepeatedBatches", "RetainedGraph", "Rule", "Safety", "SchedulerSetup", "SelectionUse",
    "SequenceCall", "SizeClash", "SoftmaxUse", "Span", "StarvedNorm", "StateCopy", "StateLoad", "TeacherForward",
    "ThresholdUse", "TimedForward", "TorchCall", "TrainingLoop", "UnfilledParameter", "UnusedSampler", "WeightTie",
    "XavierFill", "times_seen",
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

    def checkpoint_read(self, read: CheckpointRead) -> Iterator[Finding]:
        """Judge one file that is unpickled."""
        return iter(())

    def state_load(self, load: StateLoad) -> Iterator[Finding]:
        """Judge one load of weights into a module."""
        return iter(())

    def old_name(self, old: OldName) -> Iterator[Finding]:
        """Judge one name that torch removed or deprecated."""
        return iter(())

    def timed_forward(self, timed: TimedForward) -> Iterator[Finding]:
        """Judge one forward between two readings of the clock."""
        return iter(())

    def optimizer_rebuild(self, rebuild: OptimizerRebuild) -> Iterator[Finding]:
        """Judge one optimizer that a loop makes anew."""
        return iter(())

    def bootstrap_target(self, use: BootstrapTarget) -> Iterator[Finding]:
        """Judge one target that a model made for itself."""
        return iter(())

    def guarded_singularity(self, use: GuardedSingularity) -> Iterator[Finding]:
        """Judge one choice between values of which one has no finite derivative."""
        return iter(())

    def gradient_leak(self, leak: GradientLeak) -> Iterator[Finding]:
        """Judge one backward that reaches the parameters of another optimizer."""
        return iter(())

    def optimizer_setup(self, setup: OptimizerSetup) -> Iterator[Finding]:
        """Judge what one optimizer was given."""
        return iter(())

    def parameter_update(self, update: ParameterUpdate) -> Iterator[Finding]:
        """Judge what the steps of one optimizer did."""
        return iter(())

    def data_attribute(self, attribute: DataAttribute) -> Iterator[Finding]:
        """Judge one read of `.data`."""
        return iter(())

    def log_use(self, use: LogUse) -> Iterator[Finding]:
        """Judge one logarithm of probabilities."""
        return iter(())

    def threshold_use(self, use: ThresholdUse) -> Iterator[Finding]:
        """Judge one threshold on raw scores."""
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

    def aliased_module(self, alias: AliasedModule) -> Iterator[Finding]:
        """Judge one module where several were asked for."""
        return iter(())

    def scheduler_setup(self, setup: SchedulerSetup) -> Iterator[Finding]:
        """Judge one learning-rate scheduler."""
        return iter(())

    def retained_graph(self, graph: RetainedGraph) -> Iterator[Finding]:
        """Judge one backward that keeps its graph."""
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

    def loader_call(self, call: LoaderCall) -> Iterator[Finding]:
        """Judge one construction of a loader."""
        return iter(())

    def evaluation_data(self, data: EvaluationData) -> Iterator[Finding]:
        """Judge the data of one evaluation."""
        return iter(())

    def prediction_order(self, order: PredictionOrder) -> Iterator[Finding]:
        """Judge one comparison of gathered predictions."""
        return iter(())

    def selection_use(self, use: SelectionUse) -> Iterator[Finding]:
        """Judge one score that decides what is kept."""
        return iter(())

    def unused_sampler(self, sampler: UnusedSampler) -> Iterator[Finding]:
        """Judge one sampler that nothing reads."""
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

    def dropout_use(self, use: DropoutUse) -> Iterator[Finding]:
        """Judge one dropout."""
        return iter(())

    def hidden_state(self, state: HiddenState) -> Iterator[Finding]:
        """Judge one state that a module prepares."""
        return iter(())

    def inplace_read(self, read: InplaceRead) -> Iterator[Finding]:
        """Judge one value that is read after an in-place operation."""
        return iter(())

    def layer_flow(self, flow: LayerFlow) -> Iterator[Finding]:
        """Judge a layer that one other layer reads."""
        return iter(())

    def mask_use(self, use: MaskUse) -> Iterator[Finding]:
        """Judge one mask that attention is given."""
        return iter(())

    def sequence_call(self, call: SequenceCall) -> Iterator[Finding]:
        """Judge one recurrent or attention layer."""
        return iter(())

    def decayed_norms(self, setup: DecayedNorms) -> Iterator[Finding]:
        """Judge one optimizer whose weight decay reaches norms."""
        return iter(())

    def init_pass(self, run: InitPass) -> Iterator[Finding]:
        """Judge one function that initialises layers by their classes."""
        return iter(())

    def initial_spread(self, spread: InitialSpread) -> Iterator[Finding]:
        """Judge how widely one fill spreads weights."""
        return iter(())

    def overwritten_load(self, load: OverwrittenLoad) -> Iterator[Finding]:
        """Judge one initialisation of loaded weights."""
        return iter(())

    def unfilled_parameter(self, parameter: UnfilledParameter) -> Iterator[Finding]:
        """Judge one parameter of uninitialised memory."""
        return iter(())

    def size_clash(self, clash: SizeClash) -> Iterator[Finding]:
        """Judge one layer that does not fit its input."""
        return iter(())

    def recut_view(self, view: RecutView) -> Iterator[Finding]:
        """Judge one view in another order of axes."""
        return iter(())

    def folded_batch(self, fold: FoldedBatch) -> Iterator[Finding]:
        """Judge one reshape that mixes samples."""
        return iter(())

    def softmax_use(self, use: SoftmaxUse) -> Iterator[Finding]:
        """Judge one softmax."""
        return iter(())

    def starved_norm(self, norm: StarvedNorm) -> Iterator[Finding]:
        """Judge one norm over very few samples."""
        return iter(())

    def xavier_fill(self, fill: XavierFill) -> Iterator[Finding]:
        """Judge one Xavier initialisation."""
        return iter(())


HOOKS: Mapping[type, str] = {
    SizeClash: "size_clash",
    RecutView: "recut_view",
    FoldedBatch: "folded_batch",
    SoftmaxUse: "softmax_use",
    StarvedNorm: "starved_norm",
    ModuleInstance: "module_instance",
    ModuleClass: "module_class",
    LossUse: "loss_use",
    ForwardUse: "forward_use",
    TrainingLoop: "training_loop",
    ParameterFill: "parameter_fill",
    OptimizerSetup: "optimizer_setup",
    OptimizerRebuild: "optimizer_rebuild",
    GradientLeak: "gradient_leak",
    BootstrapTarget: "bootstrap_target",
    GuardedSingularity: "guarded_singularity",
    ParameterUpdate: "parameter_update",
    TorchCall: "torch_call",
    DiscardedValue: "discarded_value",
    DataAttribute: "data_attribute",
    LogUse: "log_use",
    ThresholdUse: "threshold_use",
    CheckpointRead: "checkpoint_read",
    StateLoad: "state_load",
    OldName: "old_name",
    TimedForward: "timed_forward",
    ProbeRecord: "probe_record",
    LayerRecord: "layer_record",
    GradientRecord: "gradient_record",
    InputRecord: "input_record",
    AliasedModule: "aliased_module",
    SchedulerSetup: "scheduler_setup",
    RetainedGraph: "retained_graph",
    BackwardUse: "backward_use",
    NonFinite: "non_finite",
    KeptGraph: "kept_graph",
    NormUse: "norm_use",
    TeacherForward: "teacher_forward",
    EmbeddingTable: "embedding_table",
    WeightTie: "weight_tie",
    StateCopy: "state_copy",
    LoaderSetup: "loader_setup",
    LoaderCall: "loader_call",
    UnusedSampler: "unused_sampler",
    PredictionOrder: "prediction_order",
    SelectionUse: "selection_use",
    EvaluationData: "evaluation_data",
    RepeatedBatches: "repeated_batches",
    DistributedSetup: "distributed_setup",
    RankBatches: "rank_batches",
    DropoutUse: "dropout_use",
    HiddenState: "hidden_state",
    InplaceRead: "inplace_read",
    LayerFlow: "layer_flow",
    MaskUse: "mask_use",
    SequenceCall: "sequence_call",
    DecayedNorms: "decayed_norms",
    InitPass: "init_pass",
    InitialSpread: "initial_spread",
    OverwrittenLoad: "overwritten_load",
    UnfilledParameter: "unfilled_parameter",
    XavierFill: "xavier_fill",
}
"""Which hook judges which fact."""


def times_seen(run: RunEvidence, what: str = "") -> str:
    """`24 of 24 evaluation batches in training mode, first after 12 steps`."""
    text = f"{run.times:,} of {run.watched:,} {what or run.what}"
    if run.first_step == 0:
        return text
    return f"{text}, first after {run.first_step:,} step" + ("s" if run.first_step > 1 else "")
