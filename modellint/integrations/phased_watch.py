"""A watch that a framework's callback opens and closes, and tells what the framework is doing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

from modellint.catalog import all_rules
from modellint.runtime.watch import Watch, watch


class PhasedWatch:
    """One watch at a time. Where it is not open every call does nothing, so other ranks stay silent."""

    def __init__(self, steps: int | None, select: Sequence[str] | None, ignore: Sequence[str]) -> None:
        self._steps, self._select, self._ignore = steps, select, tuple(ignore)
        self.seen: Watch | None = None
        """The last watch; its findings are there once it is closed."""

    def open(self, owned: Iterable[str] = ()) -> None:
        """Begin to watch; `owned` are the rules about what the framework does itself."""
        if self.seen is None or self.seen.closed:
            ignored = (*self._ignore, *(name for name in owned if name in all_rules()))
            self.seen = watch(steps=self._steps, select=self._select, ignore=ignored)

    def phase(self, name: str | None) -> None:
        """`train`, `sanity`, `validate`, `test` or `predict`; None where the framework does not say."""
        if self.seen is not None and not self.seen.closed:
            self.seen.session.phase = name

    def close(self) -> None:
        """Judge, and show what was found; in a notebook the watch itself does that, in a test the test asks."""
        seen = self.seen
        if seen is None or seen.reported:
            return
        seen.close()
        if not seen.reported and "PYTEST_CURRENT_TEST" not in os.environ:
            print(seen, end="", file=sys.stderr)
        seen.reported = True
