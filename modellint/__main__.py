"""`python -m modellint`, and the entry point of the `modellint` script."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
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
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
