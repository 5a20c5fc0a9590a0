"""A root as rules know it: which model, and which layers."""

from __future__ import annotations

from torch import nn

from modellint.facts.model import LayerRef, ModelRef
from modellint.runtime import definitions
from modellint.runtime.session import ModuleRecord, RootRecord, Session


def model_ref(
    session: Session, root: RootRecord, *, complete: bool, mode_dependent: tuple[LayerRef, ...] = ()
) -> ModelRef:
    """One root. `complete`: nothing that the fact says of it is out of sight."""
    return ModelRef(
        key=root.key,
        text=root.text(),
        class_name=root.cls.__name__,
        class_place=definitions.class_place(root.cls),
        place=None,
        arguments="",
        complete=complete,
        mode_dependent=mode_dependent,
        certain_mode_dependent=bool(mode_dependent),
        trainable=any(parameter.trainable for parameter in root.parameters.values()),
    )


def layer_ref(session: Session, root: RootRecord, record: ModuleRecord) -> LayerRef:
    """One layer below a root."""
    return LayerRef(record.path, record.text, record.kind, definitions.place_of(session, root, record.path))


def tracks_statistics(module: nn.Module) -> bool:
    """A BatchNorm, SyncBatchNorm or InstanceNorm that keeps running statistics of what it sees."""
    return isinstance(module, nn.modules.batchnorm._NormBase) and bool(module.track_running_stats)
