"""`python -m modellint`, and the entry point of the `modellint` script."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    if sys.argv[1:] == ["--version"]:
        # By far the most frequent start by other tools: it does not wait for the import of click.
        from modellint.version import describe

        print(describe())
        sys.exit(0)
    from modellint.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
