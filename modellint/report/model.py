"""What one run of the checker has to say, as the formats receive it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from modellint.facts.reading import NotFollowed
from modellint.facts.record import record
from modellint.finding import Finding, Level, RuleFailure, Safety
from modellint.rule import Rule

BAD_INPUT = frozenset({"syntax-error", "unreadable-file", "too-deep"})
"""Findings that say that a file could not be read: no rule made them and none has a page."""


READER = "reader"
"""The `rule` of a failure that no rule caused."""
OBSERVER = "observer"
"""The same on a live run: the watch removed itself and the run went on."""


@record
class Gap:
    """What a run could not show, and why."""

    subject: str
    """What the user would recognise: `model.encoder`, `evaluation`."""
    reason: str
    rules: tuple[str, ...] = ()
    """The rules that are unknown for it."""


@record
class Quiet:
    """Lines of a file that a run watched for a rule which found nothing there."""

    rule: str
    path: str
    lines: tuple[int, ...]
    times: int
    """How often they were watched."""
    what: str
    """What `times` counts: `passes`, `evaluation forwards`."""


@record
class RunSummary:
    """What a report on a live run is about."""

    script: str
    """As the user named it, empty where no script was run."""
    models: tuple[str, ...]
    """Classes of the models that were judged, in the order of their first calls."""
    optimizers: int
    """How many optimizers stepped."""
    steps: int
    """Optimizer steps, of all optimizers together."""
    traced: int
    """How many of them were watched module by module."""
    evaluations: int
    """Forwards of the judged models in eval mode or without gradients."""
    gaps: tuple[Gap, ...] = ()
    quiet: tuple[Quiet, ...] = ()


@record
class LintReport:
    """Findings, and the numbers that the summary is made of."""

    findings: tuple[Finding, ...]
    """What is shown, sorted by place and rule."""
    suppressed: tuple[tuple[Finding, str], ...]
    """What an ignore comment silenced, with the comment's reason."""
    failures: tuple[RuleFailure, ...]
    checked: int
    """Files that use torch and were read."""
    skipped: int
    """Files that never mention torch."""
    ignored: int
    """Files that an exclude or a `.gitignore` took out."""
    rules: int
    """How many rules judged."""
    paths: tuple[str, ...]
    """What the user asked for."""
    not_followed: tuple[NotFollowed, ...]
    read_lines: Callable[[str], Sequence[str]]
    """The lines of a file, by the path that spans carry. Formats call `lines`, which cannot fail."""
    run: RunSummary | None = None
    """What was run; None for a report on source code."""
    told: bool = False
    """Another process reports it too: rank 0 of those that train together."""

    def count(self, level: Level) -> int:
        """How many findings have this level."""
        return sum(finding.level is level for finding in self.findings)

    @property
    def worst(self) -> Level | None:
        """The loudest level, None without findings."""
        return max((finding.level for finding in self.findings), default=None)

    @property
    def files(self) -> int:
        """How many files have a finding or a failure."""
        places = {finding.span.path for finding in self.findings}
        places.update(failure.path for failure in self.failures if failure.path)
        return len(places)

    def fixes(self, safety: Safety) -> int:
        """How many findings have a fix of this safety."""
        return sum(finding.fix is not None and finding.fix.safety is safety for finding in self.findings)

    def all_findings(self) -> Iterator[tuple[Finding, str | None]]:
        """Shown and silenced findings in one order, each with the reason of the comment that silenced it."""
        shown: list[tuple[Finding, str | None]] = [(finding, None) for finding in self.findings]
        both = shown + list(self.suppressed)
        return iter(sorted(both, key=lambda pair: (pair[0].span, pair[0].rule)))

    def lines(self, path: str) -> Sequence[str]:
        """The lines of a file; none when it went away or cannot be decoded."""
        try:
            return self.read_lines(path)
        except (OSError, ValueError, LookupError):
            return ()


@record
class Options:
    """How the user wants it."""

    color: bool = False
    verbosity: int = 0
    """-2 nothing, -1 findings only, 1 also what was silenced and not followed."""
    explicit: bool = True
    """The user named the format. If not, many findings are shown shorter."""
    rules: Sequence[type[Rule]] = ()
    """The rules that judged; SARIF describes them."""
    fixable: bool = True
    """The command that prints this can apply fixes: only then does it name them."""
