"""Readings of the wall clock, and what was asked of an accelerator between two of them.

A forward on a GPU returns as soon as its kernels are queued. What lies between two readings is timed as a whole only if
something waits for the device before the second one.
"""

from __future__ import annotations

import ast

from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.loop_tools import LoopTools
from modellint.source.interpreter.records import ForwardRecord, TimingRecord
from modellint.source.interpreter.values import ClockValue, Value

CLOCKS = frozenset({"time.time", "time.perf_counter", "time.monotonic", "time.time_ns", "time.perf_counter_ns",
                    "timeit.default_timer"})  # fmt: skip


class Clocks(LoopTools):
    """Reads clocks."""

    def _library_call(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name in CLOCKS:
            return ClockValue(self.site(node), len(self.records.forwards), len(self.records.loops), self.waits)
        self.waits += 1  # whatever it is, it may look at a result
        return super()._library_call(name, call, node)

    def unknown_call(self, function: Value, call: CallArguments, node: ast.AST) -> Value:
        """A call of something that was not followed: it may look at a result."""
        self.waits += 1
        return super().unknown_call(function, call, node)

    def _call_builtin(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name not in ("range", "zip", "enumerate", "len", "isinstance", "getattr", "hasattr"):
            self.waits += 1  # `print(loss)`, `float(loss)`
        return super()._call_builtin(name, call, node)

    def _torch_function(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name.startswith(("torch.cuda.", "torch.xpu.", "torch.mps.", "torch.accelerator.", "torch.distributed.")):
            self.waits += 1
        return super()._torch_function(name, call, node)

    def time_taken(self, start: ClockValue, end: Value, node: ast.AST) -> None:
        """`end - start`: note the forwards between the two, unless something waited for the last of them."""
        if not isinstance(end, ClockValue) or end.waits != start.waits or end.forwards <= start.forwards:
            return
        if any(not loop.counted for loop in self.records.loops[start.loops : end.loops]):
            return  # over a whole epoch what is still queued at its end does not count
        between = self.records.forwards[start.forwards : end.forwards]
        queued = [record for record in between if self._on_accelerator(record)]
        if queued:
            self.records.timings.setdefault(node, TimingRecord(self.site(node), start.site, queued[-1]))

    @staticmethod
    def _on_accelerator(record: ForwardRecord) -> bool:
        return record.model_device is not None and record.model_device.may_be_other_than_cpu
