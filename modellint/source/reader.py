"""Files in, facts out: the entrance to the static reader."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modellint.facts.reading import BadInput, NotFollowed, ReaderFailure, Reading
from modellint.source import (
    aliased_module,
    backward_use,
    bootstrap_target,
    built_layers,
    checkpoint_read,
    data_attribute,
    decayed_norms,
    discarded_value,
    dropout_use,
    evaluation_data,
    forward_use,
    frozen_parts,
    gradient_leak,
    guarded_singularity,
    hidden_state,
    init_pass,
    initial_weights,
    inplace_read,
    kept_graph,
    layer_flow,
    loader_call,
    loader_setup,
    log_use,
    loss_use,
    mask_use,
    module_class,
    module_instance,
    norm_momentum,
    old_name,
    optimizer_rebuild,
    optimizer_setup,
    parameter_fill,
    rank_facts,
    repeated_batches,
    retained_graph,
    scheduler_setup,
    score_use,
    sequence_call,
    shape_facts,
    state_copy,
    state_load,
    threshold_use,
    timed_forward,
    torch_call,
    training_loop,
    weight_tie,
    xavier_fill,
)
from modellint.source.interpreter.entry import Interpreter
from modellint.source.places import Places
from modellint.source.project import Project, SourceFile
from modellint.source.survey import Asked

_READERS = (
    module_class, module_instance, loss_use, forward_use, training_loop, parameter_fill, torch_call, discarded_value,
    checkpoint_read, old_name, state_load, timed_forward, scheduler_setup, retained_graph,
    data_attribute, log_use, threshold_use,
    loader_setup, repeated_batches, rank_facts, loader_call, evaluation_data, score_use,
    layer_flow, dropout_use, hidden_state, inplace_read, mask_use, sequence_call, xavier_fill,
    built_layers, norm_momentum, weight_tie, aliased_module,
    backward_use, optimizer_setup, optimizer_rebuild, gradient_leak, kept_graph,
    bootstrap_target, guarded_singularity,
    decayed_norms, frozen_parts, init_pass, initial_weights, state_copy,
    shape_facts,
)  # fmt: skip
# Deep but valid code (a sum of 900 terms, 500 `elif`) recurses deeply here and in the interpreter.
_STACK = 512 * 1024 * 1024
_RECURSION = 30_000


@dataclass(slots=True)
class EntryReading:
    """What entering one file yields."""

    path: Path
    facts: list[object] = field(default_factory=list)
    bad_input: BadInput | None = None
    not_followed: list[NotFollowed] = field(default_factory=list)
    failure: ReaderFailure | None = None
    asked: Asked = field(default_factory=Asked)
    """What all of this rests on."""


class Reader:
    """Enters files, one after the other. What it parsed and evaluated for one serves the next.

    What a file yields depends on the files alone, never on what was entered before.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self._interpreter = Interpreter(project)

    def read(self, path: Path) -> EntryReading:
        """Enter one file. Never raises for bad input, nor for a defect of the reader."""
        reading = EntryReading(path)
        self.project.asked = reading.asked
        file = self.project.file(path)
        if isinstance(file, BadInput):
            reading.bad_input = file
            return reading
        try:
            self._read(file, reading)
        except Exception as error:
            # A defect of the reader costs the facts of one file, not the run.
            reading.failure = ReaderFailure(file.text.path, self._interpreter.line, type(error).__name__)
            reading.facts.clear()
            self.forget()
        return reading

    def _read(self, file: SourceFile, reading: EntryReading) -> None:
        interpreter = self._interpreter
        interpreter.run_file(file)
        places = Places(interpreter, file.records, file)
        for reader in _READERS:
            reading.facts.extend(reader.read(places))
        for site, text, reason in file.records.not_followed.values():
            if hasattr(site.node, "lineno"):
                reading.not_followed.append(NotFollowed(places.span(site), text, reason))
        for active in interpreter.active:
            reading.asked.files.add(active.path)
            reading.asked.update(active.asked)
        interpreter.forget()

    def forget(self) -> None:
        """Drop all that was parsed and evaluated."""
        self.project = self.project.renewed()
        self._interpreter = Interpreter(self.project)


def with_deep_stack(run: Callable[[], None]) -> None:
    """Run something in a thread on whose stack deep but valid code fits. Raises what it raises."""
    failure: list[BaseException] = []

    def guarded() -> None:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(_RECURSION)
        # Nearly all that is made lives until the end: looking for garbage in it again and again costs a fifth.
        collecting = gc.isenabled()
        gc.disable()
        try:
            run()
        except BaseException as error:
            failure.append(error)
        finally:
            sys.setrecursionlimit(limit)
            if collecting:
                gc.enable()

    size = threading.stack_size(_STACK)
    try:
        thread = threading.Thread(target=guarded, name="modellint-reader")
        thread.start()
    finally:
        threading.stack_size(size)
    thread.join()
    if failure:
        raise failure[0]


def read_files(
    files: Sequence[Path],
    *,
    cwd: Path,
    stdin: tuple[str, bytes] | None = None,
    torch_version: Callable[[Path], str | None] = lambda file: None,
) -> Reading:
    """Read files and the files of their projects that they are connected with.

    `torch_version` gives what the settings of a file say about torch (`2.4`, `>=2.1,<2.6`), None for what its project
    declares. `stdin` is the name and content of a file that is not on the disk. Facts come in the order of the files;
    those of files that import a given one are included.
    Never raises for bad input: what cannot be read comes back as `bad_input`.
    """
    reading = Reading()

    def run() -> None:
        given = {cwd / stdin[0]: stdin[1]} if stdin is not None else {}
        reader = Reader(Project(cwd, given, torch_version))
        own, others, reading.skipped = reader.project.survey.entries([*files, *given])
        known = set(own)
        for path in sorted([*own, *others]):
            entry = reader.read(path)
            reading.checked += path in known
            reading.facts.extend(entry.facts)
            reading.not_followed.extend(entry.not_followed)
            if entry.bad_input is not None and path in known:
                reading.bad_input.append(entry.bad_input)
            if entry.failure is not None:
                reading.failures.append(entry.failure)

    with_deep_stack(run)
    return reading
