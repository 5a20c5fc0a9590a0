"""What a reader hands over: the facts, and what it could not read or follow."""

from __future__ import annotations

from dataclasses import field

from modellint.facts.record import record, slotted
from modellint.facts.span import Span


@record
class BadInput:
    """A file that could not be read: becomes one finding at error level that no selection removes."""

    rule: str
    """`syntax-error`, `unreadable-file` or `too-deep`."""
    message: str
    span: Span


@record
class NotFollowed:
    """A place where the reader gave up, and why: what rules stay silent about."""

    span: Span
    text: str
    reason: str


@record
class ReaderFailure:
    """A file on which the reader itself raised: becomes one `internal error` line and exit code 3."""

    path: str
    line: int
    """How far the reader had come; 0 when that is not known."""
    error: str
    """Class name of the exception."""


@slotted
class Reading:
    """Everything one reading of a set of files yields."""

    facts: list[object] = field(default_factory=list)
    bad_input: list[BadInput] = field(default_factory=list)
    not_followed: list[NotFollowed] = field(default_factory=list)
    failures: list[ReaderFailure] = field(default_factory=list)
    checked: int = 0
    """Files that use torch and were read."""
    skipped: int = 0
    """Files that never mention torch or a framework on it."""
