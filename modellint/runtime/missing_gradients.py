"""Parameters that an optimizer holds and no backward reaches, with what is known about the modules that own them.

A parameter is *idle* in a pass if it is trainable, the optimizer that steps holds it, and no backward has reached it
although one reached its root. What was idle in two passes and never got a gradient later is dead.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import torch

from modellint.runtime import graph, torch_internals
from modellint.runtime.call_site import Site, capture
from modellint.runtime.session import (
    ModuleCall,
    ModuleRecord,
    OptimizerRecord,
    ParameterRecord,
    RootCall,
    RootRecord,
    Session,
    Window,
)
from modellint.runtime.value_read import may_read, numbers, reading

PASSES = 2
"""So many passes without a gradient, at least."""
_MOST_BACKWARDS = 8
_MOST_WALKS = 3
_WALKED_NODES = 4096
_MOST_READ = 64
_FIRST_LOOK = 8
_PLAIN_VALUES = (int, float, bool, str, bytes, type(None))


@dataclass(slots=True, eq=False)
class _Idle:
    """One parameter that has got no gradient yet."""

    passes: int
    version: int
    storage: int
    number: torch.Tensor | None
    """The sum of a few of its values; a copy of a model that is updated by hand moves it."""
    text: str


@dataclass(slots=True, eq=False)
class Tree:
    """What is known of one root."""

    root: RootRecord
    idle: dict[ParameterRecord, _Idle] = field(default_factory=dict)
    late: set[ParameterRecord] = field(default_factory=set)
    """Parameters that came after the first pass."""
    known: set[ParameterRecord] = field(default_factory=set)
    alive: set[ParameterRecord] = field(default_factory=set)
    """They have received a gradient."""
    moved: set[ParameterRecord] = field(default_factory=set)
    """Something else than an optimizer changes them."""
    called: dict[ModuleRecord, Site | None] = field(default_factory=dict)
    """Called in a training forward with gradients on, and where."""
    called_otherwise: set[ModuleRecord] = field(default_factory=set)
    """Called in evaluation, or with gradients off."""
    uses_own: dict[ModuleRecord, bool] = field(default_factory=dict)
    """Whether the output of a module was made with the parameters that it owns itself."""
    returned: dict[ModuleRecord, bool | None] = field(default_factory=dict)
    """Whether what it makes is in what the root returns."""
    walks: int = 0
    reached: int = 0
    """Windows in which a backward reached the root."""
    backwards: int = 0
    """Backwards that reached it before any optimizer had stepped."""
    passes: int = 0
    first_step: int = 0
    forwards: int = 0
    """Training forwards that were seen module by module."""
    refused: bool = False
    """The last one raised in DistributedDataParallel, which does so when parameters got no gradient."""

    def dead(self, parameter: ParameterRecord) -> bool:
        idle = self.idle.get(parameter)
        return idle is not None and idle.passes >= self.least() and parameter not in self.alive

    def least(self) -> int:
        """How many passes it takes: DistributedDataParallel refuses the second one."""
        return 1 if self.refused and self.passes == 1 else PASSES

    def text_of(self, parameter: ParameterRecord) -> str:
        return self.idle[parameter].text


class MissingGradients:
    """Notes which parameters receive gradients and which modules are called."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.trees: dict[int, Tree] = {}
        self._reached: dict[tuple[int, int], int] = {}
        """How often a backward had reached a root when an optimizer last stepped, by their keys."""
        self._suspects: dict[ParameterRecord, Tree] = {}
        self._noted: set[tuple[int, bool, int]] = set()
        """Roots that were looked for in the other roots: key, whether in training, and how many roots there were."""

    def root_begins(self, call: RootCall) -> None:
        tree = self.trees.get(call.root.key)
        if tree is None:
            tree = self.trees[call.root.key] = Tree(call.root)
        tree.forwards += call.detail and call.training and call.grad
        module, used = call.root.ref(), call.grad and call.training
        noted = (call.root.key, used, len(self.trees))
        if module is None or noted in self._noted:
            return
        self._noted.add(noted)
        for other in self.trees.values():  # a part of a model may be called as a model of its own
            record = other.root.module(module) if other is not tree else None
            if record is not None:
                self._note(other, record, used, call.site)

    def begins(self, call: ModuleCall) -> None:
        record = call.record
        if record is None:
            return
        tree = self.trees.get(call.root_call.root.key)
        if tree is None or record in tree.called:
            return
        used = call.root_call.training and (call.grad or (call.root_call.grad and _in_checkpoint()))
        self._note(tree, record, used, capture(3) if used else None)

    def _note(self, tree: Tree, record: ModuleRecord, used: bool, site: Site | None) -> None:
        if not used:
            tree.called_otherwise.add(record)
        elif tree.called.get(record) is None:
            tree.called[record] = site

    def ends(self, call: ModuleCall, output: Any) -> None:
        """Whether a module whose own parameters are idle has used them for its output."""
        record = call.record
        if not self._suspects or record is None or not record.own or not call.grad or output is None:
            return
        idle = [parameter for parameter in record.own if parameter in self._suspects]
        if not idle or record.cls.__module__.startswith("torch.nn."):
            return
        tree = self._suspects[idle[0]]
        if not tree.uses_own.get(record):
            nodes = [tensor.grad_fn for tensor in graph.tensors_in(output) if tensor.grad_fn is not None]
            keys = {parameter.key for parameter in idle}
            tree.uses_own[record] = any(_leads_to(node, keys) for node in nodes)

    def root_ends(self, call: RootCall, output: Any) -> None:
        """Which idle layers are in the output of the root."""
        tree = self.trees.get(call.root.key)
        if tree is None or not tree.idle:
            return
        tree.refused = output is None and call.root.wrapper == "DistributedDataParallel"
        if tree.walks >= _MOST_WALKS or output is None:
            return
        if not (call.detail and call.training and call.grad) or not any(map(tree.dead, tree.idle)):
            return
        wanted = [r for r in tree.called if any(p in tree.idle for p in r.own)]
        if not wanted:
            return
        tree.walks += 1
        nodes = [tensor.grad_fn for tensor in graph.tensors_in(output, most=64) if tensor.grad_fn is not None]
        found, whole = graph.tags_behind(nodes, call.number, _WALKED_NODES)
        whole = whole and _only_tensors(output)
        for record in wanted:
            if tree.returned.get(record) is not True:
                tree.returned[record] = True if record.path in found else False if whole else None

    # Passes

    @property
    def suspected(self) -> bool:
        """Some parameter has shown no gradient so far."""
        return bool(self._suspects)

    def step_begins(self) -> None:
        """What got its first gradient, or another value, outside of the traced windows."""
        if not self._suspects:
            return
        for parameter, tree in list(self._suspects.items()):
            tensor, idle = parameter.ref(), tree.idle.get(parameter)
            if tensor is None or idle is None:
                del self._suspects[parameter]
            elif tensor.grad is not None:
                tree.alive.add(parameter)
                del self._suspects[parameter]
            elif tensor._version != idle.version or tensor.data_ptr() != idle.storage:
                tree.moved.add(parameter)
                del self._suspects[parameter]
        steps = self.session.steps
        if steps >= _FIRST_LOOK and steps & (steps - 1) == 0:  # a few looks, however long the run
            for tree in self.trees.values():
                self._compare(tree)

    def backward_ends(self) -> None:
        """Without an optimizer in sight, a backward counts as a pass."""
        if self.session.steps:
            return
        for tree in self.trees.values():
            if tree.backwards < _MOST_BACKWARDS and self._accumulated(tree, self.session.window):
                tree.backwards += 1
                self._look(tree, None)

    def step_ends(self, record: OptimizerRecord, window: Window) -> None:
        if not window.traced:
            return
        for tree in self.trees.values():
            if self._accumulated(tree, window):
                tree.reached += 1
            if self.session.steps == 1:
                tree.idle.clear()  # backwards were counted as long as no optimizer was known
                tree.known.clear()
                self._suspects = {p: t for p, t in self._suspects.items() if t is not tree}
            key = (record.key, tree.root.key)
            before = self._reached.get(key, 0)
            if tree.reached == before or not any(key in record.held for key in tree.root.parameters):
                continue
            self._reached[key] = tree.reached
            if not tree.passes:
                tree.first_step = window.number
            tree.passes += 1
            self._look(tree, record)

    def _accumulated(self, tree: Tree, window: Window) -> bool:
        found = False
        parameters = tree.root.parameters
        for key in window.accumulated:
            parameter = parameters.get(key)
            if parameter is not None:
                tree.alive.add(parameter)
                found = True
        return found

    def _look(self, tree: Tree, optimizer: OptimizerRecord | None) -> None:
        """Count the pass for every parameter that is idle in it."""
        first = not tree.known
        for parameter in tree.root.parameters.values():
            if first:
                tree.known.add(parameter)
            if parameter in tree.alive:
                continue
            tensor = parameter.ref()
            if tensor is None or not tensor.requires_grad or not torch_internals.is_plain(tensor):
                continue
            if optimizer is not None and not optimizer.holds(tensor):
                continue
            if tensor.grad is not None:
                tree.alive.add(parameter)
                continue
            if parameter not in tree.known:
                tree.late.add(parameter)
            self._idle(tree, parameter, tensor)
        if any(idle.passes == PASSES for idle in tree.idle.values()):
            self._compare(tree)

    def _idle(self, tree: Tree, parameter: ParameterRecord, tensor: torch.Tensor) -> None:
        known = tree.idle.get(parameter)
        if known is None:
            sizes = ", ".join(map(str, tensor.shape))
            number = _number(tensor) if len(tree.idle) < _MOST_READ else None
            tree.idle[parameter] = _Idle(1, tensor._version, tensor.data_ptr(), number, f"Parameter({sizes})")
            self._suspects[parameter] = tree
            return
        known.passes += 1
        if tensor._version != known.version or tensor.data_ptr() != known.storage:
            tree.moved.add(parameter)

    def closing(self) -> None:
        """The last look: gradients, and values that something else than an optimizer has changed."""
        self.step_begins()
        for tree in self.trees.values():
            self._compare(tree)

    def _compare(self, tree: Tree) -> None:
        """Whether the values of dead parameters have changed, which no step can have done."""
        before, now, parameters = [], [], []
        for parameter, idle in tree.idle.items():
            tensor = parameter.ref()
            if tensor is None or parameter in tree.moved or not tree.dead(parameter):
                continue
            if tensor._version != idle.version:
                tree.moved.add(parameter)
            number = _number(tensor) if idle.number is not None else None
            if number is not None and idle.number is not None and number.device == idle.number.device:
                before.append(idle.number)
                now.append(number)
                parameters.append(parameter)
        if not parameters:
            return
        with reading():
            values = numbers([*before, *now])
        for index, parameter in enumerate(parameters):
            if values[index] != values[index + len(parameters)]:
                tree.moved.add(parameter)


def _number(tensor: torch.Tensor) -> torch.Tensor | None:
    """The sum of the first few values: a new tensor on the same device, nothing waits for it."""
    if not may_read(tensor) or tensor.is_complex():
        return None
    with reading():
        row = tensor.detach()
        while row.dim() > 1:
            row = row[0]
        return (row[:_MOST_READ] if row.dim() else row).float().sum()


def _in_checkpoint() -> bool:
    """A reentrant checkpoint runs the forward without gradients first."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.endswith(_CHECKPOINT):
            return True
        frame = frame.f_back
    return False


_CHECKPOINT = ("torch/utils/checkpoint.py", "torch\\utils\\checkpoint.py")


def _leads_to(node: Any, keys: set[int]) -> bool:
    """Whether one of some leaf tensors takes part in what a node computes; a long way counts as yes."""
    seen, open_nodes = {node}, [node]
    while open_nodes:
        node = open_nodes.pop()
        if len(seen) > graph.MOST_NODES:
            return True
        if id(getattr(node, "variable", None)) in keys:
            return True
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                open_nodes.append(following)
    return False


def _only_tensors(output: Any, most: int = 64) -> bool:
    """Nothing in an output hides a tensor from `graph.tensors_in`."""
    open_values = [output]
    while open_values:
        value = open_values.pop()
        most -= 1
        if most < 0:
            return False
        if isinstance(value, (torch.Tensor, *_PLAIN_VALUES)):
            continue
        if isinstance(value, dict):
            open_values += value.values()
        elif isinstance(value, tuple | list):
            open_values += value
        else:
            return False
    return True
