"""The last lines of a report: what was found, in how many files, and what the run left out."""

from __future__ import annotations

from collections.abc import Sequence

from modellint.finding import Level, RuleFailure, Safety
from modellint.report.cells import visible
from modellint.report.model import BAD_INPUT, OBSERVER, READER, LintReport, Options, RunSummary
from modellint.report.wording import counted, joined

_PATHS_NAMED = 3
_MODELS_NAMED = 3


def summary_line(report: LintReport) -> str:
    """One sentence that is true of the whole run."""
    if report.run is not None:
        what = found(report) or _clear(report.run, report.rules)
        failed = any(failure.rule == OBSERVER for failure in report.failures)
        return f"{run_line(report.run, cut_short=failed)}: {what}{_in_brackets(_silenced(report))}"
    if report.findings or report.failures:
        details = _joined(f"{report.checked:,} checked", _count(report.skipped, "without torch skipped"))
        where = f" in {counted(report.files, 'file')}" if report.files else ""
        return f"Found {found(report)}{where}{_in_brackets(details, _silenced(report))}"
    if not report.checked:
        seen = report.skipped + report.ignored
        details = _joined(f"{counted(seen, 'file')} seen", _count(report.ignored, "ignored"))
        return f"No Python files that use torch under {_paths(report)}{_in_brackets(details, _silenced(report))}"
    checked = f"{counted(report.checked, 'file')} checked, {counted(report.rules, 'rule')}"
    skipped = f"{counted(report.skipped, 'file')} without torch skipped" if report.skipped else ""
    return f"All clear: {checked}{_in_brackets(skipped, _silenced(report))}"


def found(report: LintReport) -> str:
    """`3 errors, 1 warning`, empty when there is nothing."""
    counts = [(report.count(level), level.value) for level in (Level.ERROR, Level.WARNING, Level.NOTE)]
    unread = sum(failure.rule == READER for failure in report.failures)
    unseen = sum(failure.rule == OBSERVER for failure in report.failures)
    judged = len(report.failures) - unread - unseen
    counts += [(unread, "reader failure"), (unseen, "watch failure"), (judged, "rule failure")]
    return ", ".join(counted(number, noun) for number, noun in counts if number)


def run_line(run: RunSummary, cut_short: bool = False) -> str:
    """What a run was: `Twin, 96 training steps, 24 evaluation forwards`."""
    if len(run.models) > _MODELS_NAMED:
        models = counted(len(run.models), "model")
    else:
        models = joined(run.models)
    noun = "training step" if run.optimizers < 2 else "optimizer step"
    steps = counted(run.steps, noun) if run.steps else "" if cut_short else "no training seen"
    evaluations = counted(run.evaluations, "evaluation forward") if run.evaluations else ""
    return visible(_joined(models, steps, evaluations)) or "the watch ended early"


def hint_line(report: LintReport, fixable: bool = True) -> str:
    """What to do next: the fixes there are, and the page to read. Empty when there is neither."""
    safe, unsafe = report.fixes(Safety.SAFE), report.fixes(Safety.UNSAFE)
    sentences = []
    if fixable and safe:
        sentences.append(f"{_fixes(safe)} with --fix" + (f", {unsafe:,} more with --unsafe-fixes." if unsafe else "."))
    elif fixable and unsafe:
        sentences.append(f"{_fixes(unsafe)} with --fix --unsafe-fixes.")
    page = next((finding.rule for finding in report.findings if finding.rule not in BAD_INPUT), None)
    if page:
        sentences.append(f"Read more: modellint explain {visible(page)}")
    return " ".join(sentences)


def failure_text(failure: RuleFailure, place: str = "") -> str:
    """What failed, and what of the run holds all the same."""
    if failure.rule == OBSERVER:
        return f"the watch failed{place} ({failure.error}); the run went on without it"
    if failure.rule == READER:
        return f"the reader failed{place} ({failure.error}); the other files were read"
    return f"rule {failure.rule} failed{place} ({failure.error}); the other rules ran"


def failure_line(failure: RuleFailure) -> str:
    """The line for what raised, a rule or the reader."""
    line = f":{failure.line}" if failure.line else ""
    place = f" on {failure.path}{line}" if failure.path else ""
    return visible(f"internal error: {failure_text(failure, place)}. Please report it")


def closing(report: LintReport, options: Options) -> list[str]:
    """All lines after the findings: failures always, the rest unless only findings are wanted."""
    lines = [failure_line(failure) for failure in report.failures]
    if options.verbosity < 0:
        return lines
    if options.verbosity > 0:
        lines += left_out(report)
    lines.append(summary_line(report))
    hint = hint_line(report, options.fixable)
    if hint:
        lines.append(hint)
    return lines


def document(parts: Sequence[str], report: LintReport, options: Options) -> str:
    """The parts and the closing lines, with a blank line between any two."""
    end = "\n".join(closing(report, options))
    text = "\n\n".join(part for part in (*parts, end) if part)
    return f"{text}\n" if text else ""


def left_out(report: LintReport) -> list[str]:
    """What comments silenced and what was not followed, a line each."""
    lines = [
        f"silenced: {finding.span}: {finding.rule}" + (f" ({reason})" if reason else "")
        for finding, reason in report.suppressed
    ]
    lines += (f"not followed: {place.span}: `{place.text}` ({place.reason})" for place in report.not_followed)
    return [visible(line) for line in lines]


def _clear(run: RunSummary, rules: int) -> str:
    return f"all clear, {counted(rules, 'rule')}" if run.models else "nothing was judged"


def _silenced(report: LintReport) -> str:
    if not report.suppressed:
        return ""
    return f"{counted(len(report.suppressed), 'finding')} silenced by comments"


def _paths(report: LintReport) -> str:
    paths = list(report.paths) or ["."]
    if len(paths) > _PATHS_NAMED:
        paths = [*paths[: _PATHS_NAMED - 1], f"{len(paths) - _PATHS_NAMED + 1} other paths"]
    return visible(joined(paths))


def _fixes(number: int) -> str:
    return f"{number:,} fix" if number == 1 else f"{number:,} fixes"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number else ""


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _in_brackets(*parts: str) -> str:
    text = _joined(*parts)
    return f" ({text})" if text else ""
