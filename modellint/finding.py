"""What a rule says: a finding, its places and its fix. Plain data."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import field
from enum import Enum

from modellint.facts.record import record
from modellint.facts.span import Span


class Level(Enum):
    """How loud a finding is. Ordered: `Level.NOTE < Level.WARNING < Level.ERROR`."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        return _RANKS[self]

    def __lt__(self, other: Level) -> bool:
        return self.rank < other.rank

    def lowered(self) -> Level:
        """One level down; a note stays a note."""
        return Level.WARNING if self is Level.ERROR else Level.NOTE


_RANKS = {Level.NOTE: 0, Level.WARNING: 1, Level.ERROR: 2}


class Category(Enum):
    """What kind of defect a rule is about; decides its level and whether it is on."""

    CORRECTNESS = "correctness"
    SUSPICIOUS = "suspicious"
    PERFORMANCE = "performance"
    REPRODUCIBILITY = "reproducibility"
    PEDANTIC = "pedantic"
    NURSERY = "nursery"

    @property
    def level(self) -> Level:
        if self is Category.CORRECTNESS:
            return Level.ERROR
        return Level.WARNING if self in (Category.SUSPICIOUS, Category.PERFORMANCE) else Level.NOTE

    @property
    def default_on(self) -> bool:
        return self not in (Category.PEDANTIC, Category.NURSERY)


class Certainty(Enum):
    """LIKELY drops the level by one."""

    CERTAIN = "certain"
    LIKELY = "likely"


@record
class Note:
    """A secondary place of a finding."""

    span: Span
    label: str
    order: int | None = None
    """Number in data flow or time, drawn as `(1)`."""
    cause: bool = False
    """The defect has its cause here: an ignore comment at this place silences the finding."""


@record
class FlowStep:
    """One station of the data on its way."""

    span: Span
    text: str


class Safety(Enum):
    """SAFE keeps the meaning; UNSAFE changes training or callers; DISPLAY is shown and never applied."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    DISPLAY = "display"


@record
class Edit:
    """Replace `span` by `text`."""

    span: Span
    text: str


@record
class Fix:
    """What would mend the finding."""

    title: str
    safety: Safety
    reason: str
    edits: tuple[Edit, ...]


@record
class Finding:
    """One defect, at one primary place, with everything needed to print it."""

    rule: str
    category: Category
    level: Level
    certainty: Certainty
    message: str
    """One sentence, the user's identifiers in backticks, no full stop."""
    span: Span
    label: str = ""
    """Text under the primary carets."""
    primary_order: int | None = None
    """Number of the primary place in data flow, drawn before the label."""
    related: tuple[Note, ...] = ()
    flow: tuple[FlowStep, ...] = ()
    seen: str = ""
    why: str = ""
    help: str = ""
    notes: tuple[str, ...] = ()
    fix: Fix | None = None
    sides: tuple[str, ...] = ("source",)
    evidence: Mapping[str, object] = field(default_factory=dict)
    group: Hashable = None
    """Findings of one rule with an equal group have one cause: the judge keeps one and notes the other places."""
    weight: int = 0
    """Among findings of one group the heaviest is kept, then the first."""


@record
class RuleFailure:
    """A rule that raised: becomes one `internal error` line and exit code 3."""

    rule: str
    path: str
    line: int
    error: str
    """Class name of the exception."""
