"""Names and docstrings as signs of what code is for. They never prove what a value is."""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_CHANCE = frozenset(
    [
        "mc",
        "monte",
        "carlo",
        "bayes",
        "bayesian",
        "uncertainty",
        "stochastic",
        "prenet",
        "calibrate",
        "calibration",
        "recalibrate",
        "recalibration",
        "precise",
        "adapt",
        "adaptation",
        "tta",
        "sample",
        "samples",
        "sampler",
        "sampling",
        "augment",
        "augmentation",
        "perturb",
        "perturbs",
        "perturbation",
    ]
)
_CHANCE_IN_PROSE = frozenset(["monte", "bayesian", "augmentation", "augments", "prenet", "uncertainty"])


def words(name: str) -> list[str]:
    """`evaluateModel` and `evaluate_model` -> ["evaluate", "model"]; `MCDropout` -> ["mc", "dropout"]."""
    return [word.lower() for word in _WORD.findall(name)]


def by_chance_on_purpose(*names: str | None) -> bool:
    """Whether a name says that the code around samples, or adapts statistics, on purpose."""
    return any(word in _CHANCE for name in names if name for word in words(name))


def says_chance(docstring: str | None) -> bool:
    """Whether a docstring says so."""
    return docstring is not None and not _CHANCE_IN_PROSE.isdisjoint(words(docstring))
