"""`python -m modellint`, and the entry point of the `modellint` script."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    if sys.argv[1:2] != ["run"]:
        _leave_working_directory()
    if sys.argv[1:] == ["--version"]:
        # By far the most frequent start by other tools: it does not wait for the import of click.
        from modellint.version import describe

        print(describe())
        sys.exit(0)
    if sys.argv[1:2] != ["run"]:
        # What a command makes lives until its end: to look for garbage in it takes a twentieth of a short run.
        gc.disable()
    from modellint.cli import run

    code = run(sys.argv[1:])
    if sys.argv[1:2] == ["run"]:
        sys.exit(code)  # what the script leaves to the end of the process is done
    # What was read need not be taken apart, which takes a tenth of the time.
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105 (contextlib must not be imported before the path is safe)
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # it is closed, or nobody reads any more
    os._exit(code)


def _leave_working_directory() -> None:
    """Import nothing from the folder in which the user stands.

    `python -m` puts it before everything else, so that a `click.py` that lies in a checked project would be run.
    """
    if __name__ == "__main__" and not sys.flags.safe_path and sys.path:
        try:
            here = os.getcwd()
        except OSError:
            return
        if sys.path[0] in ("", here):
            del sys.path[0]


if __name__ == "__main__":
    main()
