"""Facts of a run in, report out: judged by the same rules as facts from code, and silenced by the same comments."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modellint import catalog
from modellint.config import Configuration, Flags
from modellint.discovery import Found
from modellint.facts.run_evidence import RunEvidence
from modellint.finding import RuleFailure
from modellint.judge import judge
from modellint.lint import CheckedFiles, Input
from modellint.report.model import READER, LintReport
from modellint.rule import Rule
from modellint.runtime import call_site
from modellint.runtime.hooks import Installation
from modellint.runtime.session import OutOfSight
from modellint.suppress import suppress


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a watch says."""

    report: LintReport
    facts: tuple[object, ...]
    out_of_sight: tuple[OutOfSight, ...]
    configuration: Configuration


def configured(select: Sequence[str] | None, ignore: Sequence[str]) -> Configuration:
    """The configuration of the working directory with a watch's own selection on top."""
    return Configuration(Path.cwd(), Flags(select=None if select is None else tuple(select), ignore=tuple(ignore)))


def selected_rules(select: Sequence[str] | None, ignore: Sequence[str]) -> list[Rule]:
    """The rules that judge a run; raises UsageError for a name that is no rule."""
    configuration = configured(select, ignore)
    settings = configuration.for_folder(configuration.cwd)
    catalog.check_names(settings)
    return [rule for rule in catalog.selected(settings) if "runtime" in rule.sides]


def reach_verdict(
    installation: Installation,
    judged_roots: frozenset[int],
    rules: Sequence[Rule],
    *,
    select: Sequence[str] | None,
    ignore: Sequence[str],
) -> Verdict:
    """Judge what the observers saw. An observer that fails becomes a failure in the report, never an exception."""
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
    configuration = configured(select, ignore)
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
    )
    return Verdict(report, tuple(facts), tuple(installation.session.gaps()), configuration)


def _concerns(fact: object, judged_roots: frozenset[int]) -> bool:
    run: RunEvidence | None = getattr(fact, "run", None)
    return run is None or run.root == 0 or run.root in judged_roots


def _failure(error: Exception) -> RuleFailure:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    path = os.path.basename(traceback.tb_frame.f_code.co_filename) if traceback is not None else ""
    return RuleFailure(READER, path, traceback.tb_lineno if traceback is not None else 0, type(error).__name__)
