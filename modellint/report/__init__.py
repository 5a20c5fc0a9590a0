"""Findings in, text out. One format a file, each loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Protocol, cast

from modellint.report.model import LintReport, Options
from modellint.rule import Rule

__all__ = ["FORMATS", "LintReport", "Options", "render"]

FORMATS: Mapping[str, str] = {
    "full": "modellint.report.full",
    "grouped": "modellint.report.grouped",
    "concise": "modellint.report.concise",
    "json": "modellint.report.json_document",
    "json-lines": "modellint.report.json_lines",
    "github": "modellint.report.github",
    "sarif": "modellint.report.sarif",
    "statistics": "modellint.report.statistics",
}
"""The module of every format; it has a function `render(report, options) -> str`."""


class Format(Protocol):
    """What a format's module offers."""

    def render(self, report: LintReport, options: Options) -> str:
        """The whole output, ending in a newline unless it is empty."""


def render(
    format_name: str,
    report: LintReport,
    *,
    color: bool = False,
    verbosity: int = 0,
    explicit: bool = True,
    rules: Sequence[type[Rule]] = (),
    fixable: bool = True,
) -> str:
    """The report in one format.

    `explicit` is False when the user did not name the format: `full` then shows more than 30 findings shorter.
    `rules` are the rules that judged; SARIF describes them. `fixable` says whether
    the caller can apply fixes. An unknown format is a KeyError.
    """
    module = cast(Format, import_module(FORMATS[format_name]))
    return module.render(report, Options(color, verbosity, explicit, rules, fixable))
