"""What every observer of a run needs to know: the roots, the optimizers, the windows between their steps.

A *root* is a module call with no module call above it, outside of recomputation. A *window* is the time from one
optimizer step to the next. A *pass* of a root is a traced window that ends with the step of an optimizer which holds
parameters of the root, after a backward that reached it.

Nothing here keeps a user's tensor, module or optimizer alive: identities are checked against weak references.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from modellint.facts.record import record
from modellint.runtime import call_site, torch_internals
from modellint.runtime.call_site import Site


@dataclass(slots=True, eq=False)
class ParameterRecord:
    """One parameter of a root."""

    name: str
    """Dotted path in the root, the first one it is registered under."""
    ref: weakref.ref[torch.Tensor]
    key: int
    """Its id while it lives."""
    numel: int
    dimensions: int
    trainable: bool
    """`requires_grad` when the root was last looked at."""


@dataclass(slots=True, eq=False)
class ModuleRecord:
    """One module below a root, or the root itself."""

    path: str
    """Dotted path from the root, the first one it is registered under; empty for the root itself."""
    paths: tuple[str, ...]
    ref: weakref.ref[nn.Module]
    key: int
    """Its id while it lives."""
    cls: type
    text: str
    """As a reader would write it: `BatchNorm1d(64)`."""
    own: tuple[ParameterRecord, ...]
    """The parameters that it registers itself."""
    opaque: str
    """Why nothing inside of it is seen, empty when it is seen."""
    site: Site | None = None
    """Where it was registered under its first path, if that was seen."""

    @property
    def kind(self) -> str:
        return self.cls.__name__


@dataclass(slots=True, eq=False)
class RootRecord:
    """One root, wrappers taken off."""

    key: int
    ref: weakref.ref[nn.Module]
    cls: type
    wrapper: str
    """`DistributedDataParallel` and the like, empty for a bare model."""
    first_step: int
    """How many optimizer steps came before its first forward."""
    by_id: dict[int, ModuleRecord] = field(default_factory=dict)
    parameters: dict[int, ParameterRecord] = field(default_factory=dict)
    """By id; two names of one parameter are one entry."""
    opaque: dict[str, str] = field(default_factory=dict)
    """Paths of which the inside is not seen, with the reason."""
    calls: int = 0
    passes: int = 0
    """Traced passes."""
    steps: int = 0
    """Steps of optimizers that hold some of its parameters."""
    last_step: int = 0
    """The last of them, as a count of all optimizer steps."""
    first_plain: int | None = None
    """The first window that began with a training forward of it (train mode, gradients on) and was not watched further:
    how many optimizer steps came before it."""
    site: Site | None = None
    """Its first training forward, or its first forward."""
    name: str = ""
    """The user's expression for the model, where the call does not tell."""

    @property
    def modules(self) -> list[ModuleRecord]:
        return list(self.by_id.values())

    def module(self, module: nn.Module) -> ModuleRecord | None:
        """The record of a live module, None for one that is not registered below the root."""
        known = self.by_id.get(id(module))
        return known if known is not None and known.ref() is module else None

    def parameter(self, parameter: torch.Tensor) -> ParameterRecord | None:
        known = self.parameters.get(id(parameter))
        return known if known is not None and known.ref() is parameter else None

    def below(self, path: str) -> list[ModuleRecord]:
        """The records at and below a path."""
        return [m for m in self.by_id.values() if not path or m.path == path or m.path.startswith(path + ".")]

    def hidden(self, path: str) -> str:
        """Why what stands at a path is not seen, empty when it is."""
        for part, reason in self.opaque.items():
            if not part or path == part or path.startswith(part + "."):
                return reason
        return ""

    def text(self) -> str:
        """The user's expression for the model: `model` of `model(x)`, its class where there is none."""
        callee = self.name or (self.site.callee() if self.site is not None else "")
        return callee if callee and len(callee) <= 40 else self.cls.__name__


@dataclass(slots=True, eq=False)
class OptimizerRecord:
    """One optimizer that was made or that stepped."""

    key: int
    ref: weakref.ref[torch.optim.Optimizer]
    cls: type
    site: Site | None
    """Its construction where that was seen, else its first step."""
    built_in_sight: bool
    held: dict[int, weakref.ref[torch.Tensor]] = field(default_factory=dict)
    """Its parameters by id, as of its last traced step."""
    step_site: Site | None = None
    name: str = ""
    """The user's expression for it, where the call of `step` does not tell."""
    steps: int = 0
    traced_steps: int = 0
    groups: int = 0
    """How many parameter groups it had when its parameters were read."""
    in_step: bool = False
    by_scaler: bool = False
    """A GradScaler steps it: it is the argument of the user's call."""
    roots: list[RootRecord] = field(default_factory=list)
    """The roots of which it holds parameters, as of its last traced step."""

    @property
    def kind(self) -> str:
        return self.cls.__name__

    def holds(self, parameter: torch.Tensor) -> bool:
        ref = self.held.get(id(parameter))
        return ref is not None and ref() is parameter

    def holds_key(self, record: ParameterRecord) -> bool:
        """The same for a record; a dead parameter is held by nobody."""
        tensor = record.ref()
        return tensor is not None and self.holds(tensor)

    def text(self) -> str:
        """The user's expression for it: `optimizer` of `optimizer.step()`, its class where there is none."""
        receiver = self.name or (self.step_site.receiver() if self.step_site is not None else "")
        if self.by_scaler and self.step_site is not None:
            receiver = self.step_site.argument()
        return receiver if receiver and len(receiver) <= 40 else self.kind


@dataclass(slots=True, eq=False)
class RootCall:
    """One forward of a root."""

    root: RootRecord
    number: int
    """Counts all root calls of the session."""
    step: int
    """Its window: how many optimizer steps came before it."""
    training: bool
    """The `training` flag of the unwrapped root."""
    grad: bool
    site: Site | None
    traced: bool
    """Its window is traced, from this call on at least."""
    detail: bool
    """Calls of the modules below it are noted too."""
    in_step: bool
    """Made by a closure inside of an optimizer step."""
    calls: int = 0
    """Modules called below it so far."""
    functions: bool = False
    """The torch functions of this forward in eval mode are seen."""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    """Its keyword arguments, during `root_ends` only."""


@dataclass(slots=True, eq=False)
class ModuleCall:
    """One call of a module below a root (or of the unwrapped root inside of its wrapper)."""

    root_call: RootCall
    record: ModuleRecord | None
    """None for a module that is not registered below the root."""
    key: int
    ordinal: int
    """Counts the module calls of the root call, from 1."""
    parent: ModuleCall | None
    """The module call around it, None directly below the root."""
    training: bool
    grad: bool

    @property
    def path(self) -> str | None:
        return self.record.path if self.record is not None else None


@dataclass(slots=True, eq=False)
class Window:
    """The time between two optimizer steps."""

    number: int
    """How many optimizer steps came before it."""
    traced: bool
    """Traced from its beginning."""
    forwards: list[RootCall] = field(default_factory=list)
    """Of traced windows, and evaluations; without gaps only when traced."""
    backwards: int = 0
    accumulated: set[int] = field(default_factory=set)
    """Ids of the parameters that received a gradient; only when traced."""


@record
class OutOfSight:
    """What a run could not show, and why: the rules that need it are unknown, not silent."""

    subject: str
    """What the user would recognise: `model.encoder`, `evaluation`."""
    reason: str
    rules: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class GroupRecord:
    """The process group that this process trains in."""

    rank: int
    size: int
    store: Any
    """Where the ranks of this watch leave notes for each other; None where torch does not give it."""
    closes: int = 0
    """How many watches of the session have been closed."""


class Session:
    """The record that all observers share."""

    def __init__(self) -> None:
        self.roots: dict[int, RootRecord] = {}
        self.optimizers: dict[int, OptimizerRecord] = {}
        self.window = Window(0, traced=True)
        self.steps = 0
        """Optimizer steps that have ended."""
        self.quiet = False
        """The window has shown nothing so far that most observers would want to know: see `Observer.quiet_events`. An
        observer that sees something sets it to False, and all are told how the window goes on."""
        self.tracing = False
        """Module calls, gradients and functions are noted now; observers do nothing costly while they are not."""
        self.traced_steps = 0
        self.root_calls = 0
        self.root_call: RootCall | None = None
        """The root forward that runs."""
        self.stack: list[ModuleCall | None] = []
        """Module calls of the running root forward, innermost last; None where detail is off."""
        self.backward_depth = 0
        """Calls of `torch.autograd.backward` that run."""
        self.backward_site: Site | None = None
        self.functions_seen = False
        """Torch functions are shown to observers now."""
        self.registered: dict[tuple[int, str], tuple[weakref.ref[nn.Module], Site]] = {}
        """Where a submodule was registered: by id of the parent and name."""
        self.functions_wanted: set[int] = set()
        """Keys of the roots whose next forward in eval mode is to be seen function by function."""
        self.phase: str | None = None
        """`train`, `sanity`, `validate`, `test` or `predict` where a caller says so; None: inferred from the run."""
        self.other_threads = False
        """A module ran on another thread than the one that is watched."""
        self.group: GroupRecord | None = None
        """The process group, once it was seen; it outlives the group itself."""
        self.rank_records: dict[int, Mapping[str, Any]] = {}
        """On rank 0, at the end: what the observers of the other ranks have shared, by rank and name."""
        self.closed = False
        self._out_of_sight: dict[OutOfSight, None] = {}
        self._keys = 0

    # Roots

    def root_of(self, module: nn.Module) -> RootRecord:
        """The record of a module that is called as a root; registers it at its first call."""
        inner, wrapper = torch_internals.unwrapped(module)
        known = self.roots.get(id(inner))
        if known is not None and known.ref() is inner:
            if wrapper and not known.wrapper:
                known.wrapper = wrapper
            return known
        root = RootRecord(self._next_key(), weakref.ref(inner), type(inner), wrapper, first_step=self.steps)
        if known is not None:
            self.roots[-known.key] = known  # another module had this id before; its record stays
        self.roots[id(inner)] = root
        reason = torch_internals.opaque_reason(module) if module is not inner else ""
        if reason:
            root.opaque[""] = reason
        self.look_at(root)
        return root

    def look_at(self, root: RootRecord) -> None:
        """Read the tree of a root again: modules and parameters that came since are added."""
        module = root.ref()
        if module is None:
            return
        paths: dict[int, list[str]] = {}
        found: dict[int, nn.Module] = {}
        for path, child in module.named_modules(remove_duplicate=False):
            paths.setdefault(id(child), []).append(path)
            found[id(child)] = child
        ids = {path: key for key, names in paths.items() for path in names}
        for key, child in found.items():
            known = root.by_id.get(key)
            own = tuple(self._parameters(root, paths[key][0], child))
            if known is not None and known.ref() is child:
                known.paths, known.path, known.own = tuple(paths[key]), paths[key][0], own
                continue
            reason = torch_internals.opaque_reason(child)
            if reason:
                root.opaque.setdefault(paths[key][0], reason)
            record = root.by_id[key] = ModuleRecord(
                paths[key][0], tuple(paths[key]), weakref.ref(child), key, type(child), layer_text(child), own, reason
            )
            parent, _, name = record.path.rpartition(".")
            registered = self.registered.get((ids[parent], name)) if record.path else None
            record.site = registered[1] if registered is not None and registered[0]() is child else None

    def _parameters(self, root: RootRecord, path: str, module: nn.Module) -> Iterator[ParameterRecord]:
        for name, parameter in module._parameters.items():
            if parameter is None:
                continue
            known = root.parameter(parameter)
            if known is None:
                lazy = isinstance(parameter, nn.parameter.UninitializedParameter)
                known = ParameterRecord(
                    f"{path}.{name}" if path else name,
                    weakref.ref(parameter),
                    id(parameter),
                    0 if lazy else parameter.numel(),
                    0 if lazy else parameter.dim(),
                    parameter.requires_grad,
                )
                root.parameters[id(parameter)] = known
            known.trainable = parameter.requires_grad
            yield known

    def all_roots(self) -> list[RootRecord]:
        """In the order of their first calls."""
        return sorted(self.roots.values(), key=lambda root: root.key)

    def trained_roots(self) -> list[RootRecord]:
        """The roots of which an optimizer that stepped holds a parameter."""
        return [root for root in self.all_roots() if root.steps]

    # Optimizers

    def optimizer_of(self, optimizer: torch.optim.Optimizer, site: Site | None, *, built: bool) -> OptimizerRecord:
        """The record of an optimizer; registers it at its construction or first step."""
        known = self.optimizers.get(id(optimizer))
        if known is not None and known.ref() is optimizer:
            return known
        record = OptimizerRecord(self._next_key(), weakref.ref(optimizer), type(optimizer), site, built)
        if known is not None:
            self.optimizers[-known.key] = known
        self.optimizers[id(optimizer)] = record
        return record

    def look_at_optimizer(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer) -> None:
        """Read again which parameters it holds."""
        record.groups = len(optimizer.param_groups)
        record.held = {
            id(tensor): weakref.ref(tensor)
            for group in optimizer.param_groups
            for tensor in group["params"]
            if isinstance(tensor, torch.Tensor)
        }

    def all_optimizers(self) -> list[OptimizerRecord]:
        """In the order of their construction or first step."""
        return sorted(self.optimizers.values(), key=lambda optimizer: optimizer.key)

    def holders(self, record: ParameterRecord) -> list[OptimizerRecord]:
        """The optimizers that hold a parameter."""
        return [optimizer for optimizer in self.optimizers.values() if optimizer.holds_key(record)]

    def see_functions_of(self, root: RootRecord) -> None:
        """Show the torch functions of its next forward in eval mode, if that cannot change what it computes."""
        self.functions_wanted.add(root.key)

    # Places and gaps

    def site(self) -> Site | None:
        """Where the user's code is now."""
        return call_site.capture(2)

    def out_of_sight(self, subject: str, reason: str, *rules: str) -> None:
        """Note that something could not be seen; `rules` are unknown for it."""
        self._out_of_sight[OutOfSight(subject, reason, rules)] = None

    def gaps(self) -> list[OutOfSight]:
        return list(self._out_of_sight)

    def _next_key(self) -> int:
        self._keys += 1
        return self._keys


def layer_text(module: nn.Module) -> str:
    """`Linear(8, 1)`, `BatchNorm1d(64)`: the class with its sizes, from torch's own layers only."""
    kind = type(module).__name__
    if not type(module).__module__.startswith("torch.nn"):
        return kind
    own = vars(module)
    for names in _SIZES:
        if all(name in own for name in names):
            return f"{kind}({', '.join(str(own[name]) for name in names)})"
    return kind


_SIZES = (
    ("in_features", "out_features"),
    ("in1_features", "in2_features", "out_features"),
    ("in_channels", "out_channels"),
    ("num_features",),
    ("num_groups", "num_channels"),
    ("normalized_shape",),
    ("num_embeddings", "embedding_dim"),
    ("embed_dim", "num_heads"),
    ("input_size", "hidden_size"),
    ("p",),
)
