"""The abstract interpreter: what torch's functions and methods do to values, and how a file is entered.

Example. For

    net = Net(use_sequential=False).to(device)
    loss = nn.BCEWithLogitsLoss()(net(x), y)

it runs `Net.__init__` with `use_sequential=False`, which gives a module instance with attributes; `.to` moves it;
`net(x)` runs `Net.forward` of this instance, where `if self.use_sequential:` is decided, and gives a tensor that knows
it came out of a sigmoid at `models.py:16`; the loss call notes this tensor. Nothing here says whether that is wrong.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from modellint.facts.forward_use import Mode
from modellint.source.interpreter.clocks import Clocks
from modellint.source.interpreter.expressions import CallArguments, positional
from modellint.source.interpreter.flow import Flow
from modellint.source.interpreter.freezing import Freezing
from modellint.source.interpreter.gradients import Gradients
from modellint.source.interpreter.machine import Frame, Mark, OutOfBudget
from modellint.source.interpreter.shapes import Shapes
from modellint.source.interpreter.state_dicts import StateDicts
from modellint.source.interpreter.values import (
    ClassValue,
    External,
    FunctionValue,
    ModeEntry,
    ModuleValue,
    Nature,
    OptimizerValue,
    Tensor,
    Unknown,
    Value,
)
from modellint.source.interpreter.weights import Weights
from modellint.source.project import SourceFile
from modellint.source.torch_api.layers import LAYERS
from modellint.source.torch_api.losses import LOSSES
from modellint.source.torch_api.names import canonical
from modellint.source.torch_api.optimizers import OPTIMIZERS
from modellint.source.tree import statements


class Interpreter(Shapes, Gradients, StateDicts, Freezing, Weights, Flow, Clocks):
    """The whole machine. `run_file` is its entry point."""

    # ---------------------------------------------------------------- entry points

    def run_file(self, file: SourceFile) -> None:
        """Run a file as a script, then enter every function and class of it that nothing called."""
        self.active = {}
        self.log = []
        self._before = self.mark()
        self.load(file)
        file.entered = set(file.entered_at_top)  # what other files ran of it is theirs
        self.file = file
        self.records = file.records
        mark = self.mark()
        self.frames = [Frame("", file.scope, mark, 0)]
        self.trace = []
        for block in file.main_blocks:
            self._bounded(file, block, self.SCRIPT_BUDGET, lambda block=block: self.run_block(block.body))  # type: ignore[misc]
        self._enter_what_nothing_called(file)
        self.frames = []

    _before: Mark = (0, 0)

    def forget(self) -> None:
        """Undo what the last file did to others, so that each file is run from the same state."""
        self.take(self._before)

    def _enter_what_nothing_called(self, file: SourceFile) -> None:
        """Functions and classes, each with its share of a budget in proportion to the size of the file."""
        entries: list[tuple[ast.AST, Callable[[], None]]] = []
        classes = [value for value in file.scope.names.values() if isinstance(value, ClassValue) and value.file is file]
        # Models first: what they are shows without anybody who uses them, and they cost little.
        for cls in sorted(dict.fromkeys(classes), key=lambda c: not c.is_module):
            entries.append((cls.node, lambda c=cls: self._enter_class(file, c)))  # type: ignore[misc]
        for function in file.functions:
            if function.owner is None:
                entries.append((function.node, lambda f=function: self._enter(file, f, None)))  # type: ignore[misc]
        # Statements, not lines: comments and formatting must not decide what is entered.
        left = self.LIBRARY_FLOOR + self.LIBRARY_STEPS * len(statements(file.text.tree))
        if file.in_test_suite:
            left //= 2  # tests enter the same code over and over
        self._limit = self.total_steps + 2 * left
        for index, (node, enter) in enumerate(entries):
            if node in file.entered:
                continue
            self._share = min(self.SCRIPT_BUDGET, max(self.LEAST_SHARE, 2 * left // (len(entries) - index)))
            before = self.total_steps
            enter()
            left -= self.total_steps - before
            if left <= 0:
                self.not_followed(node, file.text.path, "the budget of this file is used up")
                break

    SCRIPT_BUDGET = 60_000
    """Steps for the top level of a file, and for its main block."""
    LIBRARY_FLOOR = 6_000
    LIBRARY_STEPS = 12
    """Steps for functions and classes that nothing calls: a floor, and so many a statement."""
    LEAST_SHARE = 1_000
    _share = 0
    _limit = 0
    """Where a class stops: each of its methods has the share of the class, and there may be hundreds."""
    total_steps = 0

    def _bounded(self, file: SourceFile, node: ast.AST, budget: int, run: Callable[[], object]) -> None:
        self.steps, self.budget = 0, budget
        frames = list(self.frames)
        kept = self.records.sizes()
        try:
            run()
        except OutOfBudget:
            # What was not followed to its end is not judged.
            self.records.cut(kept)
            self.frames = frames
            self.file = file
            self.forwards, self.path, self.undecided, self.loops, self.loop_exits = [], (), 0, (), []
            self.not_followed(node, file.text.path, "the budget of this entry point is used up")
        finally:
            self.total_steps += self.steps

    def _enter(self, file: SourceFile, function: FunctionValue, receiver: Value | None) -> None:
        """Enter a function that nobody calls, with its annotations and UNKNOWN."""
        mark = self.mark()
        call = CallArguments(function.node)
        arguments = function.node.args
        names = [*arguments.posonlyargs, *arguments.args]
        if receiver is not None or (function.owner is not None and names and names[0].arg in ("self", "cls")):
            names = names[1:]
        is_forward = function.name == "forward" and isinstance(receiver, ModuleValue)
        with_default = {a.arg for a in names[len(names) - len(function.defaults) :]} if function.defaults else set()
        for argument in names:
            value = self._parameter(function, argument, is_forward and argument.arg not in with_default)
            call.positional.append(value)
            call.positional_nodes.append(argument)
        for argument in arguments.kwonlyargs:
            call.keywords[argument.arg] = self._parameter(function, argument, False)
            call.keyword_nodes[argument.arg] = argument
        call.open = True
        if is_forward and isinstance(receiver, ModuleValue):
            self._bounded(file, function.node, self._share, lambda: self.call_module(receiver, call, function.node))
        else:
            run = self.as_it_is_driven(function, receiver, call)
            self._bounded(file, function.node, self._share, run)
        self.take(mark)

    def _parameter(self, function: FunctionValue, argument: ast.arg, tensor: bool) -> Value:
        if tensor and argument.annotation is None:
            return Tensor()
        annotation = argument.annotation
        if annotation is None or isinstance(annotation, ast.Constant):
            return Unknown(f"`{argument.arg}` of {function.name}, entered with unknown arguments", text=argument.arg)
        if isinstance(annotation, ast.Attribute | ast.Name):
            frame = Frame("", function.closure, self.mark(), self.undecided)
            self.frames.append(frame)
            self.steps, self.budget = 0, 100
            file, self.file = self.file, function.file
            try:
                kind = self.eval(annotation)
            finally:
                self.frames.pop()
                self.file = file
            if isinstance(kind, External):
                name = canonical(kind.name)
                if name == "torch.Tensor":
                    return Tensor(nature=Nature(known=True))
                if name in OPTIMIZERS or name == "torch.optim.Optimizer":
                    short = name.rpartition(".")[2]
                    return OptimizerValue(
                        self.new_key(), "" if short == "Optimizer" else short, argument.arg, (), False, None
                    )
                if name in LOSSES and name in LAYERS:
                    return self.construct_layer(name, positional(argument), argument)
        return Unknown(f"`{argument.arg}` of {function.name}, entered with unknown arguments", text=argument.arg)

    def _enter_class(self, file: SourceFile, cls: ClassValue) -> None:
        methods = [f for f in cls.attrs.values() if isinstance(f, FunctionValue) and f.owner is cls]
        fresh = [f for f in methods if f.node not in file.entered]
        if not fresh:
            return
        mark = self.mark()
        receiver = self._outside_instance(file, cls)
        forward = cls.lookup("forward")
        if cls.is_module and isinstance(forward, FunctionValue) and forward.node not in file.entered:
            self._enter(file, forward, receiver)
        for function in fresh:
            if self.total_steps > self._limit:
                break
            if function.node not in file.entered and function.name != "__init__":
                decorated = any(isinstance(d, External) and d.name == "staticmethod" for d in function.decorators)
                self._enter(file, function, None if decorated else receiver)
        self.take(mark)

    def _outside_instance(self, file: SourceFile, cls: ClassValue) -> Value:
        """An instance as nobody in the project makes it: every argument UNKNOWN."""
        call = CallArguments(cls.node)
        init = cls.lookup("__init__")
        if isinstance(init, FunctionValue):
            arguments = init.node.args
            for argument in [*arguments.posonlyargs, *arguments.args][1:]:
                call.positional.append(self._parameter(init, argument, False))
                call.positional_nodes.append(argument)
            for argument in arguments.kwonlyargs:
                call.keywords[argument.arg] = self._parameter(init, argument, False)
                call.keyword_nodes[argument.arg] = argument
            if arguments.vararg or arguments.kwarg:
                call.open = True
        result: list[Value] = []
        self._bounded(file, cls.node, self._share, lambda: result.append(self.construct(cls, call, cls.node)))
        if not result and cls.is_module:
            # Its constructor takes too long to follow: a module of which nothing but its class is known.
            module = ModuleValue(self.new_key(), cls.name, cls, None, None, {})
            module.complete = False
            module.reads.add("*")
            result.append(module)
        if not result:
            return Unknown("a constructor that was not followed")
        if isinstance(result[0], ModuleValue):
            for _, part in result[0].walk():
                part.from_outside = True
                part.state["modes"] = frozenset({ModeEntry(Mode.UNKNOWN, None, "", True, frozenset())})
        return result[0]
