"""Which observers a run needs: those whose facts the selected rules judge."""

from __future__ import annotations

from collections.abc import Iterable

from modellint.rule import HOOKS, Rule
from modellint.runtime.observer import Observer
from modellint.runtime.session import Session
from modellint.runtime.training_loop import TrainingLoopObserver

OBSERVERS: tuple[type[Observer], ...] = (TrainingLoopObserver,)


def make_observers(session: Session, rules: Iterable[Rule]) -> list[Observer]:
    """One of every observer that makes a fact which one of the rules judges."""
    judged = {
        fact for rule in rules for fact, hook in HOOKS.items() if getattr(type(rule), hook) is not getattr(Rule, hook)
    }
    return [observer(session) for observer in OBSERVERS if judged.intersection(observer.makes)]
