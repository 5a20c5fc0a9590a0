"""One JSON object a line: every finding, then one line with all else.

The findings are those of the `json` document. The last line is that document without `findings`: it is known by its
key `summary`.
"""

from __future__ import annotations

import json

from modellint.report.json_document import findings_of, frame_of
from modellint.report.model import LintReport, Options


def render(report: LintReport, options: Options) -> str:
    """The lines."""
    objects = [*findings_of(report), frame_of(report)]
    return "".join(json.dumps(each, default=str) + "\n" for each in objects)
