"""Facts of a run in, report out: judged by the same rules as facts from code, and silenced by the same comments."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from modellint import catalog
from modellint.config import Configuration, Flags
from modellint.discovery import Found
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.finding import RuleFailure
from modellint.judge import judge
from modellint.lint import CheckedFiles, Input
from modellint.report.model import OBSERVER, Gap, LintReport, RunSummary
from modellint.rule import Rule
from modellint.runtime import call_site, ranks
from modellint.runtime.evaluation_count import evaluations
from modellint.runtime.hooks import Installation
from modellint.runtime.quiet import quiet_lines
from modellint.runtime.session import OutOfSight, Session
from modellint.suppress import suppress


@record
class Verdict:
    """What a watch says."""

    report: LintReport
    facts: tuple[object, ...]
    out_of_sight: tuple[OutOfSight, ...]
    configuration: Configuration


def configured(select: Sequence[str] | None, ignore: Sequence[str]) -> Configuration:
    """The configuration of the working directory with a watch's own selection on top."""
    return Configuration(Path.cwd(), Flags(select=None if select is None else tuple(select), ignore=tuple(ignore)))


def selected_rules(
    select: Sequence[str] | None,
    ignore: Sequence[str],
    configuration: Configuration | None = None,
    sides: Sequence[str] = ("runtime",),
) -> list[Rule]:
    """The rules that judge a run; raises UsageError for a name that is no rule."""
    configuration = configuration or configured(select, ignore)
    settings = configuration.for_folder(configuration.cwd)
    catalog.check_names(settings)
    return [rule for rule in catalog.selected(settings) if set(sides).intersection(rule.sides)]


def reach_verdict(
    installation: Installation,
    judged_roots: frozenset[int],
    rules: Sequence[Rule],
    *,
    select: Sequence[str] | None,
    ignore: Sequence[str],
    configuration: Configuration | None = None,
) -> Verdict:
    """Judge what the observers saw. An observer that fails becomes a failure in the report, never an exception.

    `configuration` takes the place of `select` and `ignore` where a command line has more to say than these.
    """
    others = ranks.gather(installation.session)
    failures: list[RuleFailure] = []
    if installation.failure is not None:
        failures.append(_failure(installation.failure))
    facts: list[object] = []
    for observer in installation.observers:
        try:
            facts += observer.facts()
        except Exception as error:
            failures.append(_failure(error))
    facts = [fact for fact in facts if _concerns(fact, judged_roots)]
    found, rule_failures = judge(facts, rules)
    configuration = configuration or configured(select, ignore)
    paths = sorted({finding.span.path for finding in found} | {n.span.path for f in found for n in f.related})
    files = CheckedFiles(
        Input(Found([configuration.cwd / path for path in paths if os.path.isfile(path)])), configuration
    )
    outcome = suppress(
        files.selected(found), (), files.open_marked, lambda path: frozenset(), list(catalog.all_rules())
    )
    report = LintReport(
        findings=tuple(sorted(outcome.kept, key=lambda finding: (finding.span, finding.rule))),
        suppressed=tuple(outcome.suppressed),
        failures=(*failures, *rule_failures),
        checked=len({finding.span.path for finding in outcome.kept}),
        skipped=0,
        ignored=0,
        rules=len(rules),
        paths=(),
        not_followed=(),
        read_lines=call_site.lines,
        run=_summary(installation, judged_roots, facts, rules),
    )
    report = ranks.together(report, installation.session, installation.observers, others)
    return Verdict(report, tuple(facts), tuple(installation.session.gaps()), configuration)


def _summary(
    installation: Installation, judged_roots: frozenset[int], facts: Sequence[object], rules: Sequence[Rule]
) -> RunSummary:
    session = installation.session
    judged = [root for root in session.all_roots() if root.key in judged_roots]
    gaps = tuple(Gap(gap.subject, gap.reason, gap.rules) for gap in session.gaps())
    return RunSummary(
        script="",
        models=tuple(dict.fromkeys(root.cls.__name__ for root in judged)),
        optimizers=sum(1 for optimizer in session.optimizers.values() if optimizer.steps),
        steps=session.steps,
        traced=min(session.traced_steps, session.steps),
        evaluations=evaluations(installation.observers, judged_roots),
        gaps=gaps,
        quiet=quiet_lines(facts, rules, gaps),
    )


def note_early_end(session: Session, rules: Sequence[Rule]) -> None:
    """Say what an early end of the watch (`steps=N`) took away."""
    session.out_of_sight(
        "evaluation",
        f"none in the first {session.steps:,} steps",
        *(rule.name for rule in rules if type(rule).forward_use is not Rule.forward_use),
    )


def _concerns(fact: object, judged_roots: frozenset[int]) -> bool:
    run: RunEvidence | None = getattr(fact, "run", None)
    return run is None or run.root == 0 or run.root in judged_roots


def _failure(error: Exception) -> RuleFailure:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    path = os.path.basename(traceback.tb_frame.f_code.co_filename) if traceback is not None else ""
    return RuleFailure(OBSERVER, path, traceback.tb_lineno if traceback is not None else 0, type(error).__name__)
