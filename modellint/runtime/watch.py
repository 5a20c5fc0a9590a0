"""`watch`: look at a training while it runs, and say what the rules find at the end."""

from __future__ import annotations

import html
import os
import sys
import weakref
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, TypeGuard

import torch
from torch import nn

from modellint.config import Configuration
from modellint.finding import Finding, Level, RuleFailure
from modellint.report import run_block
from modellint.report.model import Options
from modellint.rule import Rule
from modellint.runtime import hooks, torch_internals
from modellint.runtime.evaluation_count import EvaluationCount, evaluations
from modellint.runtime.hooks import Installation
from modellint.runtime.observer import Observer
from modellint.runtime.observers import make_observers
from modellint.runtime.ranks import GroupObserver
from modellint.runtime.session import OutOfSight, Session
from modellint.runtime.verdict import Verdict, note_early_end, reach_verdict, selected_rules

_open: dict[int, weakref.ref[Watch]] = {}
"""The open watches by the id of the model they were given, so that a cell that runs again closes the older one."""


def watch(
    model: nn.Module | None = None,
    *,
    loss: object = None,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None = None,
    steps: int | None = None,
    select: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
) -> Watch:
    """Watch a training from now on; a context manager, or close it yourself.

    With `model` only that model is judged; without, every model that an optimizer trains. `loss` and `optimizer` only
    make things known earlier. After `steps` optimizer steps everything is removed. `select` and `ignore` name rules as
    on the command line. Raises `modellint.config.UsageError` for a name that is no rule.

    Nothing is printed while it is open. When it closes in an interactive session (a notebook, a Python prompt) the
    block with the findings goes to the standard error; in a script and under pytest nothing is printed: ask the watch,
    `print(seen)` shows the block, `seen.raise_if()` fails. `modellint run` prints the block by itself.
    """
    if model is not None:
        older = _open.get(id(torch_internals.unwrapped(model)[0]))
        before = older() if older is not None else None
        if before is not None:
            before.close()
    return Watch(model, optimizer, steps, select, ignore)


class Watch:
    """One watched stretch of a run. Its findings are there once it is closed."""

    def __init__(
        self,
        model: nn.Module | None,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None,
        steps: int | None,
        select: Sequence[str] | None,
        ignore: Sequence[str],
        configuration: Configuration | None = None,
        rules: Sequence[Rule] | None = None,
    ) -> None:
        self._configuration = configuration
        self._rules = selected_rules(select, ignore, configuration) if rules is None else list(rules)
        self._select, self._ignore = select, tuple(ignore)
        self._verdict: Verdict | None = None
        self._model: weakref.ref[nn.Module] | None = None
        self._model_key = 0
        self._model_name = ""
        self.reported = False
        """Its block was printed."""
        installation = hooks.current()
        if installation is None:
            session = Session()
            # An inspection (`rules` given) is a matter of this process alone.
            meeting = [GroupObserver(session)] if rules is None else []
            installation = Installation(
                session, [EvaluationCount(session), *meeting, *make_observers(session, self._rules)]
            )
            installation.install()
            hooks.set_current(installation)
        else:
            known = {type(observer) for observer in installation.observers}
            wanted = make_observers(installation.session, self._rules)
            installation.add(observer for observer in wanted if type(observer) not in known)
        self._installation: Installation | None = installation
        self._session = installation.session
        installation.watches += 1
        installation.close_after(steps, self)
        self._last_step = None if steps is None else self._session.steps + steps
        if model is not None:
            inner, _ = torch_internals.unwrapped(model)
            self._model, self._model_key = weakref.ref(inner), id(inner)
            self._model_name = type(inner).__name__
            _open[self._model_key] = weakref.ref(self)
        for one in _as_optimizers(optimizer):
            record = self._session.optimizer_of(one, None, built=False)
            self._session.look_at_optimizer(record, one)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            hooks.without_our_frames(error)
        self.close()

    def close(self) -> None:
        """Remove every hook and judge. A second call does nothing; never raises because of what was watched."""
        installation, self._installation = self._installation, None
        if installation is None:
            return
        _open.pop(self._model_key, None)
        judged = self._judged_roots()
        installation.watches -= 1
        if installation.watches == 0:
            installation.remove()
            hooks.set_current(None)
        ended_early = self._last_step is not None and self._session.steps >= self._last_step
        if ended_early and not evaluations(installation.observers, judged):
            note_early_end(self._session, self._rules)
        self._verdict = reach_verdict(
            installation,
            judged,
            self._rules,
            select=self._select,
            ignore=self._ignore,
            configuration=self._configuration,
        )
        if _interactive():
            self.reported = True
            print(self, end="", file=sys.stderr)

    def _judged_roots(self) -> frozenset[int]:
        """Keys of the roots that findings may be about."""
        roots = self._session.all_roots()
        if self._model is not None:
            model = self._model()
            return frozenset(
                root.key for root in roots if model is not None and (root.ref() is model or root.module(model))
            )
        trained = self._session.trained_roots()
        return frozenset(root.key for root in trained or roots)

    @property
    def session(self) -> Session:
        """What all observers of the run share."""
        return self._session

    def add(self, observer: Observer) -> None:
        """Let one more observer listen and make facts."""
        if self._installation is not None:
            self._installation.add([observer])

    @property
    def closed(self) -> bool:
        return self._installation is None

    @property
    def verdict(self) -> Verdict:
        """Everything that came out; closes the watch."""
        self.close()
        assert self._verdict is not None
        return self._verdict

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, sorted by place and rule; closes the watch."""
        return self.verdict.report.findings

    @property
    def models(self) -> tuple[str, ...]:
        """Classes of the models that were judged; of the model that was given where it never ran."""
        run = self.verdict.report.run
        return (run.models if run is not None else ()) or ((self._model_name,) if self._model_name else ())

    @property
    def failures(self) -> tuple[RuleFailure, ...]:
        """Rules or observers of modellint that failed; the others still report."""
        return self.verdict.report.failures

    @property
    def out_of_sight(self) -> tuple[OutOfSight, ...]:
        """What the run could not show: the rules that need it are unknown, not silent."""
        return self.verdict.out_of_sight

    def raise_if(self, level: Level | str = Level.ERROR) -> None:
        """Raise `modellint.testing.ModelLintError` if a finding is at or above a level."""
        from modellint.testing import assert_clean

        assert_clean(self, fail_on=level.value if isinstance(level, Level) else level)

    def __str__(self) -> str:
        """The block that `modellint run` prints; closes the watch."""
        return run_block.render(self.verdict.report, Options())

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self) if self.closed else repr(self))}</pre>"

    def __repr__(self) -> str:
        if not self.closed:
            return f"<modellint watch, open: {self._session.steps} optimizer steps so far>"
        counts = ", ".join(
            f"{self.verdict.report.count(level)} {level.value}" for level in (Level.ERROR, Level.WARNING, Level.NOTE)
        )
        return f"<modellint watch: {counts} in {self._session.steps} optimizer steps>"


def is_module(value: object) -> TypeGuard[nn.Module]:
    """For callers that do not import torch."""
    return isinstance(value, nn.Module)


def look_at(model: nn.Module, select: Sequence[str] | None = None, ignore: Sequence[str] = ()) -> Verdict:
    """Judge a model by what it is made of. It is not run and nothing is installed.

    What only a forward, a gradient or a step shows is unknown then.
    """
    rules = selected_rules(select, ignore)
    session = Session()
    installation = Installation(session, make_observers(session, rules))
    inner, _ = torch_internals.unwrapped(model)
    root = session.root_of(model)
    try:
        for observer in installation.observers:
            observer.root_registered(root, inner)
        for observer in installation.observers:
            observer.closing()
    except Exception as error:
        installation.failure = error
    return reach_verdict(installation, frozenset({root.key}), rules, select=select, ignore=ignore)


def _interactive() -> bool:
    """Somebody sits before a notebook or a prompt; never a test."""
    if "PYTEST_CURRENT_TEST" in os.environ:
        return False
    if hasattr(sys, "ps1"):
        return True
    shell = sys.modules.get("IPython")
    return shell is not None and shell.get_ipython() is not None


def _as_optimizers(value: Any) -> Iterable[torch.optim.Optimizer]:
    if value is None:
        return ()
    return (value,) if isinstance(value, torch.optim.Optimizer) else tuple(value)
