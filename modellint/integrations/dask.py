"""Dask clusters as executors: `modellint check --executor dask:ADDRESS`. Needs the extra `dask`."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

from modellint.config import UsageError


@contextlib.contextmanager
def executor(address: str) -> Iterator[Executor]:
    """The workers of the cluster whose scheduler listens at `dask:HOST:PORT`, for as long as the block lasts.

    They need modellint of the same version, and see the checked files under the same paths. Raises UsageError where
    the address is none, where `distributed` is not installed, and where no scheduler answers.
    """
    kind, colon, place = address.partition(":")
    if kind != "dask" or not colon or not place:
        raise UsageError(f"--executor {address}: expected dask:ADDRESS, as in dask:127.0.0.1:8786")
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError:
        raise UsageError("--executor dask needs distributed (pip install modellint[dask])") from None
    try:
        client = distributed.Client(place, timeout="10s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(f"--executor {address}: no scheduler answers ({type(error).__name__})") from None
    with client:
        yield client.get_executor(pure=False)
