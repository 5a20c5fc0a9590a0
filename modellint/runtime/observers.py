"""Which observers a run needs: those whose facts the selected rules judge."""

from __future__ import annotations

from collections.abc import Iterable

from modellint.rule import HOOKS, Rule
from modellint.runtime.backward_use import BackwardUseObserver
from modellint.runtime.built_layer import BuiltLayerObserver
from modellint.runtime.distributed_setup import DistributedSetupObserver
from modellint.runtime.embedding_table import EmbeddingTableObserver
from modellint.runtime.forward_use import ForwardUseObserver
from modellint.runtime.gradient_record import GradientRecordObserver
from modellint.runtime.input_record import InputRecordObserver
from modellint.runtime.kept_graph import KeptGraphObserver
from modellint.runtime.layer_record import LayerRecordObserver
from modellint.runtime.loader_setup import LoaderSetupObserver
from modellint.runtime.loss_use import LossUseObserver
from modellint.runtime.module_class import ModuleClassObserver
from modellint.runtime.module_instance import ModuleInstanceObserver
from modellint.runtime.non_finite import NonFiniteObserver
from modellint.runtime.norm_use import NormUseObserver
from modellint.runtime.observer import Observer
from modellint.runtime.optimizer_setup import OptimizerSetupObserver
from modellint.runtime.parameter_fill import ParameterFillObserver
from modellint.runtime.parameter_update import ParameterUpdateObserver
from modellint.runtime.rank_batches import RankBatchesObserver
from modellint.runtime.repeated_batches import RepeatedBatchesObserver
from modellint.runtime.session import Session
from modellint.runtime.state_copy import StateCopyObserver
from modellint.runtime.teacher_forward import TeacherForwardObserver
from modellint.runtime.torch_call import TorchCallObserver
from modellint.runtime.training_loop import TrainingLoopObserver
from modellint.runtime.unrecorded import UnrecordedObserver
from modellint.runtime.unstepped_optimizer import UnsteppedOptimizerObserver
from modellint.runtime.weight_tie import WeightTieObserver

OBSERVERS: tuple[type[Observer], ...] = (
    TrainingLoopObserver,
    UnsteppedOptimizerObserver,
    OptimizerSetupObserver,
    ParameterUpdateObserver,
    ModuleInstanceObserver,
    LossUseObserver,
    BackwardUseObserver,
    NonFiniteObserver,
    KeptGraphObserver,
    ForwardUseObserver,
    UnrecordedObserver,
    TorchCallObserver,
    BuiltLayerObserver,
    ParameterFillObserver,
    ModuleClassObserver,
    NormUseObserver,
    EmbeddingTableObserver,
    WeightTieObserver,
    TeacherForwardObserver,
    LayerRecordObserver,
    GradientRecordObserver,
    InputRecordObserver,
    StateCopyObserver,
    LoaderSetupObserver,
    RepeatedBatchesObserver,
    DistributedSetupObserver,
    RankBatchesObserver,
)


def make_observers(session: Session, rules: Iterable[Rule]) -> list[Observer]:
    """One of every observer that makes a fact which one of the rules judges."""
    judged = {
        fact for rule in rules for fact, hook in HOOKS.items() if getattr(type(rule), hook) is not getattr(Rule, hook)
    }
    return [observer(session) for observer in OBSERVERS if judged.intersection(observer.makes)]
