"""Small programs for tests of the source side: written to a folder and read."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TypeVar

from modellint.facts.model import ModelRef
from modellint.facts.reading import Reading
from modellint.source.reader import read_files

_Fact = TypeVar("_Fact")
HEAD = """\
import functools
import torch
import torch.nn as nn
import torch.nn.functional as F
"""
"""Every program starts with these lines."""


class Program:
    """Writes small programs and reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, source: str, *, head: str = HEAD, **others: str) -> Reading:
        """Read `source` as main.py, beside the other files."""
        for name, text in others.items():
            (self.folder / f"{name}.py").write_text(HEAD + inspect.cleandoc(text) + "\n")
        (self.folder / "main.py").write_text(head + inspect.cleandoc(source) + "\n")
        files = sorted(self.folder.glob("*.py"))
        reading = read_files(files, cwd=self.folder)
        assert not reading.bad_input
        assert not reading.failures
        return reading

    def all(self, kind: type[_Fact], source: str, **others: str) -> list[_Fact]:
        """The facts of a kind, without those of the instance that stands for what other projects construct."""
        facts = [fact for fact in self.read(source, **others).facts if isinstance(fact, kind)]
        return [fact for fact in facts if not _is_of_nobody(fact)]

    def one(self, kind: type[_Fact], source: str, **others: str) -> _Fact:
        (fact,) = self.all(kind, source, **others)
        return fact


def _is_of_nobody(fact: object) -> bool:
    model = getattr(fact, "model", None)
    return isinstance(model, ModelRef) and model.place is None
