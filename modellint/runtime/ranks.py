"""The ranks of a process group tell each other what they saw, through the store that they once met in.

No rank ever waits in a collective call: at the end of a watch each rank writes what it found into the store, and rank 0
asks for it for a few seconds. What has not come by then is named as missing.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from torch import nn

from modellint.facts.span import Span
from modellint.finding import Certainty, Finding, RuleFailure
from modellint.finding_data import finding_data, finding_from
from modellint.report.model import LintReport
from modellint.runtime import torch_internals
from modellint.runtime.observer import Observer
from modellint.runtime.session import GroupRecord, RootCall, Session

PATIENCE = 10.0
"""Seconds that rank 0 gives the other ranks to write down what they saw."""
SHORT_PATIENCE = 1.0
"""The same for ranks of which nothing was heard: they may not be watched at all."""
_INTERVAL = 0.02
_numbers = itertools.count()
"""Numbers the watches of this process that saw a group; the same watch has the same number on every rank."""


class GroupObserver(Observer):
    """Meets the other ranks as soon as there is a process group. Makes no fact."""

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self.session.group is None:
            self.session.group = _met()

    def closing(self) -> None:
        if self.session.group is None:
            self.session.group = _met()


class RankObserver(Observer):
    """An observer whose facts compare the ranks: every rank shares what it saw, rank 0 makes the facts."""

    shares: ClassVar[str]
    """The name of what it shares."""

    def shared(self) -> list[dict[str, Any]]:
        """What this rank saw, as plain data for JSON."""
        return []

    def of_ranks(self) -> dict[int, list[dict[str, Any]]]:
        """What every rank that reported has shared, by rank; this one included."""
        group = self.session.group
        records = {rank: record.get(self.shares, []) for rank, record in self.session.rank_records.items()}
        return records if group is None else {group.rank: self.shared(), **records}


def _met() -> GroupRecord | None:
    group = torch_internals.process_group()
    if group is None or group[1] < 2:
        return None
    rank, size, store = group
    number = next(_numbers)
    if store is not None:
        try:
            store = torch_internals.prefix_store(f"modellint/{number}", store)
            store.set(f"watched/{rank}", "1")
        except Exception:  # a store that cannot hold anything: this rank reports for itself
            store = None
    return GroupRecord(rank, size, store)


def gather(session: Session) -> dict[int, Mapping[str, Any]]:
    """On rank 0: what the other ranks have written, by rank. Those that are missing are out of sight."""
    group = session.group
    if group is None or group.rank or group.size < 2:
        return {}
    group.closes += 1
    found: dict[int, Mapping[str, Any]] = {}
    if group.store is not None:
        _within(PATIENCE + SHORT_PATIENCE, lambda: _collect(group, found))
    found = dict(found)  # a thread that is late changes nothing any more
    session.rank_records = {rank: payload.get("records", {}) for rank, payload in found.items()}
    missing = [rank for rank in range(1, group.size) if rank not in found]
    if missing:
        session.out_of_sight(ranks_text(missing), "did not report")
    return found


def _collect(group: GroupRecord, found: dict[int, Mapping[str, Any]]) -> None:
    waiting = set(range(1, group.size))
    begin = time.monotonic()
    while waiting:
        for rank in sorted(waiting):
            if group.store.check([_key(group, rank)]):
                found[rank] = json.loads(group.store.get(_key(group, rank)))
                waiting.discard(rank)
        passed = time.monotonic() - begin
        if passed > PATIENCE:
            return
        if passed > SHORT_PATIENCE:
            waiting = {rank for rank in waiting if group.store.check([f"watched/{rank}"])}
        if waiting:
            time.sleep(_INTERVAL)


def together(
    report: LintReport, session: Session, observers: Iterable[Observer], others: Mapping[int, Mapping[str, Any]]
) -> LintReport:
    """The report of all ranks on rank 0; on another rank its own, marked once rank 0 can have it."""
    group = session.group
    if group is None:
        return report
    if group.rank == 0:
        return _merged(report, group, others)
    group.closes += 1
    if group.store is None:
        return report
    payload = json.dumps(
        {
            "findings": [finding_data(finding) for finding in report.findings],
            "failures": [[failure.rule, failure.path, failure.line, failure.error] for failure in report.failures],
            "records": {one.shares: one.shared() for one in observers if isinstance(one, RankObserver)},
        },
        default=str,
    )
    key = _key(group, group.rank)
    written = _within(PATIENCE, lambda: group.store.set(key, payload))
    return replace(report, told=written)


def _key(group: GroupRecord, rank: int) -> str:
    return f"{group.closes}/rank{rank}"


def _within(seconds: float, action: Callable[[], object]) -> bool:
    """Run something that may block; False if it failed or is not done in time."""
    done = threading.Event()

    def run() -> None:
        with contextlib.suppress(Exception):
            action()
            done.set()

    thread = threading.Thread(target=run, name="modellint", daemon=True)
    thread.start()
    thread.join(seconds)
    return done.is_set()


# One report


def _merged(report: LintReport, group: GroupRecord, others: Mapping[int, Mapping[str, Any]]) -> LintReport:
    found: dict[tuple[str, Span], list[tuple[int, Finding]]] = {}
    failures = dict.fromkeys(report.failures)
    for finding in report.findings:
        found.setdefault((finding.rule, finding.span), []).append((0, finding))
    for rank, payload in sorted(others.items()):
        for data in payload.get("findings", ()):
            finding = finding_from(data)
            found.setdefault((finding.rule, finding.span), []).append((rank, finding))
        failures |= {RuleFailure(*values): None for values in payload.get("failures", ())}
    findings = sorted((_one(members, group.size) for members in found.values()), key=lambda f: (f.span, f.rule))
    return replace(
        report,
        findings=tuple(findings),
        failures=tuple(failures),
        checked=len({finding.span.path for finding in findings}),
    )


def _one(members: Sequence[tuple[int, Finding]], size: int) -> Finding:
    """One finding for the same defect on several ranks: the surest, then that of the first rank."""
    _, finding = min(members, key=lambda member: (member[1].certainty is Certainty.LIKELY, member[0]))
    if "ranks" in finding.evidence:
        return finding  # it is about all of them
    ranks = [rank for rank, _ in members]
    of = "" if len(ranks) == size else f" of {size}"
    return replace(
        finding,
        notes=(*finding.notes, f"on {ranks_text(ranks)}{of}"),
        evidence={**finding.evidence, "ranks": ranks},
    )


def ranks_text(ranks: Sequence[int]) -> str:
    """`rank 1`, `ranks 0-3`, `ranks 0, 2, 5-7`."""
    parts: list[tuple[int, int]] = []
    for rank in sorted(ranks):
        if parts and parts[-1][1] == rank - 1:
            parts[-1] = parts[-1][0], rank
        else:
            parts.append((rank, rank))
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
    return f"rank{'s' if len(ranks) > 1 else ''} {text}"
