"""Runs a small training under a watch and compares what is found with the markers in its source.

A program is a function without arguments; the lines that must be found end in `# expect: rule-name` (several names:
comma-separated), and everything else that is found in it is a false alarm. `# expect-missed:` marks what is known to be
missed.
"""

from __future__ import annotations

import inspect
import io
import tokenize
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from markers import Marker, compare, parse_comment

from modellint.runtime.watch import Watch, watch


def markers_of(program: Callable[[], object]) -> list[Marker]:
    """The markers in the source of a program and of the functions and classes of its own that it is written with."""
    file = Path(inspect.getsourcefile(program) or "")
    lines, first = inspect.getsourcelines(program)
    found: list[Marker] = []
    text = inspect.cleandoc("\n" + "".join(lines)) + "\n"
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and "expect" in token.string:
            found += parse_comment(token.string, file, first + token.start[0] - 1)
    return found


def watched(program: Callable[[], object], **options: object) -> Watch:
    """Run a program under a watch, from a fixed seed and on one thread; the watch comes back closed."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with watch(**options) as seen:  # type: ignore[arg-type]
        program()
    assert not seen.failures, seen.failures
    return seen


def check(program: Callable[[], object], beside: Sequence[Callable[[], object]] = (), **options: object) -> Watch:
    """Run a program and assert that exactly the marked findings appear."""
    seen = watched(program, **options)
    markers = [marker for one in (program, *beside) for marker in markers_of(one)]
    problems = compare(markers, seen.findings)
    assert not problems, "\n".join(problems)
    return seen
