"""Models that several processes train: sums over the weights of each rank, and backwards that a wrapper did not see.

DistributedDataParallel averages the gradients of a backward that its own forward has prepared. A gradient that arrives
although no forward of the wrapper came since the last backward is suspicious; only the weights of the ranks decide.
"""

from __future__ import annotations

import gc
import itertools
import sys
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from modellint.facts.distributed_setup import Bypass, DistributedSetup, RankRecord
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.runtime import torch_internals, value_read
from modellint.runtime.call_site import Site
from modellint.runtime.models import model_ref
from modellint.runtime.ranks import RankObserver
from modellint.runtime.session import OptimizerRecord, RootCall, RootRecord, Session

_READ_AFTER = frozenset({0, 1, 2, 3, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100})
"""Numbers of steps; close enough to meet the averaging of a training that averages every few steps."""
_READ_EVERY = 1000
_MOST_ROUNDS = 20
"""Rounds of a loader after which the weights are read as well: some trainings average once a round."""
_MOST_SEARCHES = 20
_SEARCHES_PER_MODEL = 2
_RULES_ON_WRAPPED = ("ddp-bypassed", "rank-divergence")
_RULES_ON_BARE = ("gradients-not-averaged",)
_WRAPPER = "DistributedDataParallel"
_SHARDED = "FullyShardedDataParallel"
_ENGINES = ("deepspeed", "horovod", "megatron", "colossalai", "fairscale", "hivemind")
"""Packages that average or shard by themselves."""


@dataclass(slots=True, eq=False)
class _Wrapper:
    """One DistributedDataParallel."""

    key: int
    ref: weakref.ref[DistributedDataParallel]
    owned: dict[int, weakref.ref[torch.Tensor]]
    """The parameters of which it averages the gradients, by id."""
    reason: str = ""
    """Why the copies may differ on purpose."""


@dataclass(slots=True, eq=False)
class _Copy:
    """This rank's copy of one model."""

    root: RootRecord
    steps: int = 0
    """Steps of optimizers that hold some of its parameters; a step inside of a step does not count."""
    sums: dict[int, int] = field(default_factory=dict)
    numbers: int = 0
    """How many numbers were summed."""
    read_until: int = 0
    site: Site | None = None
    """A training forward: the last one before the first step, the first one of the next window."""
    wrapper: _Wrapper | None = None
    bypass_site: Site | None = None
    bypass_times: int = 0
    bypass_first: int = 0
    reason: str = ""
    """Why its copies cannot be compared."""


class DistributedSetupObserver(RankObserver):
    """Makes a DistributedSetup of every model that is trained in a group of two processes or more."""

    makes = (DistributedSetup,)
    shares = "copies"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._copies: dict[int, _Copy] = {}
        """By the key of the root."""
        self._wrappers: dict[int, _Wrapper] = {}
        """By id."""
        self._owners: dict[int, _Wrapper] = {}
        """By the id of a parameter."""
        self._prepared: set[int] = set()
        """Keys of the wrappers that ran with gradients since the last backward."""
        self._calls: list[tuple[RootRecord, Site]] = []
        """Forwards with gradients that went past any wrapper, since the last backward."""
        self._counted: set[int] = set()
        """Keys of the roots of which this backward was counted."""
        self._searched: Counter[int] = Counter()
        """How often the wrapper of a model was searched, by the key of its root."""
        self._searches = 0
        self._keys = itertools.count(1)
        self._rounds = 0

    # Wrappers

    def quiet_events(self) -> frozenset[str]:
        return frozenset({"step_begins"}) if self.session.group is not None else frozenset()

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self.session.group is None or not call.grad:
            return
        for wrapper in torch_internals.wrappers(module):
            if isinstance(wrapper, DistributedDataParallel):
                self._prepared.add(self._known(wrapper).key)
                return
        if call.root.parameters and call.site is not None:
            self._calls.append((call.root, call.site))

    def module_begins(self, call: Any, module: nn.Module, args: tuple[Any, ...]) -> None:
        if isinstance(module, DistributedDataParallel) and call.grad and self.session.group is not None:
            self._prepared.add(self._known(module).key)

    def _known(self, module: DistributedDataParallel) -> _Wrapper:
        known = self._wrappers.get(id(module))
        if known is not None and known.ref() is module:
            return known
        ignored = set(getattr(module, "parameters_to_ignore", ()))
        owned = {
            id(parameter): weakref.ref(parameter)
            for name, parameter in module.module.named_parameters()
            if parameter.requires_grad and name not in ignored
        }
        wrapper = _Wrapper(next(self._keys), weakref.ref(module), owned, _reason(module, self.session))
        self._wrappers[id(module)] = wrapper
        self._owners |= dict.fromkeys(owned, wrapper)
        return wrapper

    def _search(self) -> None:
        """A wrapper that is never called shows up nowhere else."""
        self._searches += 1
        for one in gc.get_objects():
            # The type is asked, not the object: a lazy proxy would wake up.
            if issubclass(type(one), DistributedDataParallel) and "module" in getattr(one, "_modules", ()):
                self._known(one)

    # Backwards

    def backward_begins(self, tensors: Sequence[torch.Tensor], site: Site | None) -> None:
        if not self.session.tracing or self._searches >= _MOST_SEARCHES:
            return
        bare = {root.key for root, _ in self._calls if self._owner(root) is None}
        wanted = [key for key in bare if self._searched[key] < _SEARCHES_PER_MODEL]
        if wanted:
            self._searched.update(wanted)
            self._search()

    def accumulated(self, parameter: torch.Tensor) -> None:
        wrapper = self._owners.get(id(parameter))
        if wrapper is None or wrapper.key in self._prepared or wrapper.owned[id(parameter)]() is not parameter:
            return
        module = wrapper.ref()
        if module is None or not getattr(module, "require_backward_grad_sync", False):
            return
        for root, site in reversed(self._calls):
            if root.parameter(parameter) is not None:
                if root.key not in self._counted:
                    self._counted.add(root.key)
                    self._suspect(self._copy(root), site)
                return

    def _suspect(self, copy: _Copy, site: Site) -> None:
        if not copy.bypass_times:
            copy.bypass_site, copy.bypass_first = site, copy.steps
        copy.bypass_times += 1
        copy.read_until = copy.steps + 3

    def backward_ends(self) -> None:
        if not self.session.backward_depth:
            self._prepared.clear()
            self._calls.clear()
            self._counted.clear()

    # Weights

    def loader_started(self, loader: Any, site: Site | None) -> None:
        self._rounds += 1
        if self._rounds <= _MOST_ROUNDS:
            for copy in self._copies.values():
                copy.read_until = max(copy.read_until, copy.steps + 1)

    def step_begins(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer) -> None:
        session = self.session
        if session.group is None or any(one.in_step and one is not record for one in session.optimizers.values()):
            return
        roots = record.roots or [
            root for root in session.roots.values() if any(key in record.held for key in root.parameters)
        ]
        for root in roots:
            copy = self._copy(root)
            steps = copy.steps
            # Before the next step, not after the last one: what is averaged by hand after a step is averaged by now.
            if steps in _READ_AFTER or steps < copy.read_until or steps % _READ_EVERY == 0:
                self._read(copy)
            if steps < 2:
                self._place(copy, first=steps == 1)
            copy.steps += 1

    def closing(self) -> None:
        if self.session.group is None:
            return
        for copy in self._copies.values():
            self._read(copy)
            copy.wrapper = copy.wrapper or self._owner(copy.root)

    def _copy(self, root: RootRecord) -> _Copy:
        known = self._copies.get(root.key)
        if known is None:
            known = self._copies[root.key] = _Copy(root)
        return known

    def _place(self, copy: _Copy, *, first: bool) -> None:
        """Before the first step there may be forwards that only try the model out."""
        calls = [
            call for call in self.session.window.forwards if call.root is copy.root and call.training and call.grad
        ]
        if calls:
            copy.site = calls[0 if first else -1].site or copy.site

    def _owner(self, root: RootRecord) -> _Wrapper | None:
        for key, record in root.parameters.items():
            owner = self._owners.get(key)
            if owner is not None and owner.owned[key]() is record.ref() is not None:
                return owner
        return None

    def _read(self, copy: _Copy) -> None:
        if copy.reason or copy.root.ref() is None:
            return  # some parameters may outlive their model for a while
        copy.wrapper = copy.wrapper or self._owner(copy.root)
        parameters = []
        for record in copy.root.parameters.values():
            parameter = record.ref()
            if parameter is None or not parameter.requires_grad:
                continue
            if copy.wrapper is not None and record.key not in copy.wrapper.owned:
                continue
            if not torch_internals.is_plain(parameter):
                copy.reason = "its parameters are distributed tensors"
                return
            if not value_read.may_read(parameter):
                return
            parameters.append(parameter)
        if parameters:
            copy.numbers = sum(parameter.numel() for parameter in parameters)
            copy.sums[copy.steps] = value_read.checksum(parameters)

    # Facts

    def shared(self) -> list[dict[str, Any]]:
        return [self._data(key, copy) for key, copy in self._named()]

    def _named(self) -> Iterator[tuple[str, _Copy]]:
        """The trained copies, by what the other ranks call them too."""
        seen: dict[str, int] = {}
        for copy in sorted(self._copies.values(), key=lambda copy: copy.root.key):
            if copy.root.steps and copy.sums and not copy.reason:
                wrapped = "bare" if copy.wrapper is None else "wrapped"
                name = f"{wrapped} {copy.root.cls.__qualname__} {copy.numbers}"
                seen[name] = seen.get(name, 0) + 1
                yield f"{name} {seen[name]}", copy

    def _data(self, key: str, copy: _Copy) -> dict[str, Any]:
        bypass = None
        if copy.bypass_site is not None:
            site = copy.bypass_site
            bypass = [list(site.span()), site.callee(), copy.bypass_times, copy.bypass_first]
        return {"key": key, "sums": sorted(copy.sums.items()), "bypass": bypass}

    def facts(self) -> Iterator[object]:
        group = self.session.group
        if group is None or group.rank:
            return
        for copy in self._copies.values():
            if copy.reason:
                rules = (*_RULES_ON_WRAPPED, *_RULES_ON_BARE)
                self.session.out_of_sight(copy.root.text(), copy.reason, *rules)
        ranks = self.of_ranks()
        for key, copy in self._named():
            shared = {rank: one for rank, copies in ranks.items() for one in copies if one["key"] == key}
            site = copy.site or copy.root.site
            if site is not None:
                yield self._fact(copy, site.span(), group.size, shared)

    def _fact(self, copy: _Copy, place: Span, size: int, shared: Mapping[int, Mapping[str, Any]]) -> DistributedSetup:
        root = copy.root
        by_rank = sorted(shared.items())
        records = tuple(RankRecord(rank, tuple((step, total) for step, total in one["sums"])) for rank, one in by_rank)
        passed = next((one["bypass"] for _, one in by_rank if one["bypass"]), None)
        wrapper = _WRAPPER if copy.wrapper is not None else _other_wrapper(root)
        reason = copy.wrapper.reason if copy.wrapper is not None else _engine()
        setup = DistributedSetup(
            model=model_ref(self.session, root, complete=True),
            place=place,
            wrapper=wrapper,
            wrapper_key=copy.wrapper.key if copy.wrapper is not None else 0,
            world_size=size,
            ranks=records,
            bypass=None if passed is None else Bypass(Span(*passed[0]), *passed[1:]),
            complete=not reason,
        )
        compared, differing = setup.compared(), setup.differing()
        if not compared:
            reason = reason or "no other rank reported it at the same step"
        elif not wrapper and compared[0][1]:
            reason = reason or "the ranks began with different weights"
        if reason:
            rules = _RULES_ON_WRAPPED if wrapper == _WRAPPER else _RULES_ON_BARE
            self.session.out_of_sight(root.text(), reason, *rules)
        return DistributedSetup(
            setup.model, place, wrapper, setup.wrapper_key, size, records, setup.bypass, not reason,
            RunEvidence(
                len(differing), len(compared), differing[0] if differing else 0, "comparisons of the ranks",
                root=root.key,
            ),
        )  # fmt: skip


def _other_wrapper(root: RootRecord) -> str:
    if root.wrapper == _SHARDED or any(module.kind == _SHARDED for module in root.modules):
        return _SHARDED
    return ""


def _engine() -> str:
    found = next((name for name in _ENGINES if name in sys.modules), "")
    return f"{found} may average or shard by itself" if found else ""


def _reason(module: DistributedDataParallel, session: Session) -> str:
    """Why the copies of a wrapped model may differ on purpose."""
    if getattr(module, "_comm_hooks", None):
        return "a communication hook averages its gradients"
    group = session.group
    try:
        size = module.process_group.size()
    except Exception:  # the group is gone, or has another form in this version
        return ""
    return "" if group is None or size == group.size else "its wrapper spans a part of the ranks"
