"""Files in, facts out: the entrance to the static reader."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Sequence
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
from modellint.source.text import mentions_torch

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
    those of files that import a given one are included, since what is wrong in a model may only show where it is
    trained.
    Never raises for bad input: what cannot be read comes back as `bad_input`.
    """
    reading = Reading()
    failure: list[BaseException] = []

    def run() -> None:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(_RECURSION)
        # Nearly all that is made lives until the end: looking for garbage in it again and again costs a fifth.
        collecting = gc.isenabled()
        gc.disable()
        try:
            _read(files, cwd, stdin, reading, torch_version)
        except BaseException as error:
            failure.append(error)
        finally:
            sys.setrecursionlimit(limit)
            if collecting:
                gc.enable()

    size = threading.stack_size(_STACK)
    try:
        thread = threading.Thread(target=run, name="modellint-reader")
        thread.start()
    finally:
        threading.stack_size(size)
    thread.join()
    if failure:
        raise failure[0]
    return reading


def _read(
    files: Sequence[Path],
    cwd: Path,
    stdin: tuple[str, bytes] | None,
    reading: Reading,
    torch_version: Callable[[Path], str | None],
) -> None:
    given = {cwd / stdin[0]: stdin[1]} if stdin is not None else {}
    project = Project(cwd, given, torch_version)
    interpreter = Interpreter(project)
    wanted = [*files, *given]
    entries: list[Path] = []
    for path in wanted:
        data = project.content(path)
        if mentions_torch(data) or path in project.unreadable:
            entries.append(path)
        else:
            reading.skipped += 1
    connected = [path for path in project.importers(entries) if mentions_torch(project.content(path))]
    known = set(entries)
    for path in sorted({*entries, *connected}):
        file = project.file(path)
        if isinstance(file, BadInput):
            if path in known:
                reading.bad_input.append(file)
                reading.checked += 1
            continue
        if path in known:
            reading.checked += 1
        try:
            _read_file(interpreter, file, reading)
        except Exception as error:
            # A defect of the reader costs the facts of one file, not the run.
            line = interpreter.line
            reading.failures.append(ReaderFailure(file.text.path, line, type(error).__name__))
            interpreter = Interpreter(project)


def _read_file(interpreter: Interpreter, file: SourceFile, reading: Reading) -> None:
    interpreter.run_file(file)
    places = Places(interpreter, file.records, file)
    facts: list[object] = []
    for reader in _READERS:
        facts.extend(reader.read(places))
    reading.facts.extend(facts)
    for site, text, reason in file.records.not_followed.values():
        if hasattr(site.node, "lineno"):
            reading.not_followed.append(NotFollowed(places.span(site), text, reason))
    interpreter.forget()
