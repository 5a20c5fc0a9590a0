"""The batch sizes of a model's tensor arguments beside that of its output: shapes only, no values."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import nn

from modellint.facts.input_record import InputRecord, InputSize
from modellint.facts.run_evidence import RunEvidence
from modellint.runtime import graph
from modellint.runtime.call_site import Site
from modellint.runtime.models import model_ref
from modellint.runtime.observer import Observer
from modellint.runtime.session import RootCall, RootRecord, Session


@dataclass(slots=True, eq=False)
class _Argument:
    shape: tuple[int, ...]
    boolean: bool
    integer: bool
    first: weakref.ref[torch.Tensor]
    same_object: bool = True
    broadcast: int = 0


@dataclass(slots=True, eq=False)
class _Inputs:
    root: RootRecord
    site: Site
    calls: int = 0
    batch: int = 0
    first_step: int = 0
    arguments: dict[int | str, _Argument] = field(default_factory=dict)


class InputRecordObserver(Observer):
    """Makes an InputRecord of every root whose training calls were traced."""

    makes = (InputRecord,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._inputs: dict[int, _Inputs] = {}

    def root_ends(self, call: RootCall, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not (call.traced and call.training and call.grad) or call.site is None:
            return
        made = next((tensor for tensor in graph.tensors_in(output) if tensor.dim()), None)
        if made is None or made.shape[0] < 2:
            return
        known = self._inputs.setdefault(call.root.key, _Inputs(call.root, call.site, first_step=call.step))
        known.calls += 1
        known.batch = int(made.shape[0])
        given: list[tuple[int | str, Any]] = [*enumerate(args), *call.keywords.items()]
        for name, value in given:
            if isinstance(value, torch.Tensor):
                _note(known, name, value)

    def facts(self) -> Iterator[object]:
        for known in self._inputs.values():
            root = known.root
            names = _parameter_names(root.cls)
            sizes = tuple(
                InputSize(
                    names[name] if isinstance(name, int) and name < len(names) else str(name),
                    argument.shape,
                    argument.broadcast,
                    argument.same_object,
                    argument.boolean,
                    argument.integer,
                )
                for name, argument in known.arguments.items()
            )
            times = max((size.broadcast for size in sizes), default=0)
            yield InputRecord(
                place=known.site.span(),
                model=model_ref(self.session, root, complete=True),
                inputs=sizes,
                batch=known.batch,
                calls=known.calls,
                run=RunEvidence(times, known.calls, known.first_step, "training calls", root=root.key),
            )


def _note(known: _Inputs, name: int | str, value: torch.Tensor) -> None:
    shape = tuple(value.shape)
    argument = known.arguments.get(name)
    if argument is None:
        boolean = value.dtype == torch.bool
        integer = not (boolean or value.is_floating_point() or value.is_complex())
        argument = known.arguments[name] = _Argument(shape, boolean, integer, weakref.ref(value))
    elif argument.first() is not value:
        argument.same_object = False
    argument.shape = shape
    # A state of a recurrence has the layers first and the batch after them.
    argument.broadcast += len(shape) > 1 and shape[0] == 1 and known.batch not in shape


@cache
def _parameter_names(cls: type) -> tuple[str, ...]:
    try:
        parameters = list(inspect.signature(getattr(cls, "forward", cls)).parameters.values())[1:]
    except (TypeError, ValueError):
        return ()
    single = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(parameter.name for parameter in parameters if parameter.kind in single)
