"""Writes a report to a file, as a whole or not at all: whoever finds the file finds all of a report, old or new."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile


def replace(target: str, data: bytes) -> None:
    """Put bytes in the place of what a file held. Raises OSError, and then the old file is as it was.

    A pipe, a terminal or a device is written to, and so is a file in a folder that takes no new ones.
    """
    path = os.path.realpath(target)  # a link stays one
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG | (0o666 & ~_umask())
    if not stat.S_ISREG(mode):
        _write(path, data)
        return
    try:
        handle, name = tempfile.mkstemp(prefix=".tmp", dir=os.path.dirname(path))
    except PermissionError:
        _write(path, data)
        return
    try:
        with open(handle, "wb") as stream:
            stream.write(data)
        os.chmod(name, stat.S_IMODE(mode))
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(data)


def _umask() -> int:
    """The mask of this process, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
