"""Whether a call of a model is validation or inference, from the signs in its fact."""

from __future__ import annotations

import re
from collections.abc import Hashable

from modellint.facts.forward_use import ForwardUse, Mode, Purpose, SignKind
from modellint.rule import times_seen

_JUDGED = {SignKind.LOSS, SignKind.METRIC}
_KEPT = {SignKind.COLLECTED, SignKind.RETURNED}
_NAMED = {SignKind.FUNCTION_NAME, SignKind.LOADER_NAME}

_OTHER_PURPOSE = frozenset(
    (
        *("act", "action", "actions", "episode", "explore", "play", "policy", "rollout", "rollouts"),
        *("evolution", "evolve", "fitness", "mutate"),
        *("bayes", "bayesian", "mc", "montecarlo"),
        *("adapt", "adaptation", "calibrate", "calibration", "recalibrate", "warmup"),
        *("flops", "profile", "summary"),
    )
)
"""Words in the names of functions and models that are for something else: acting, sampling, calibrating, counting."""


def is_evaluation(use: ForwardUse) -> bool:
    """One strong sign, or two weak ones, that the call is validation or inference; no sign against it.

    A run shows what became of the output: then no sign is asked.
    """
    if use.observed is not None:
        return use.observed is Purpose.EVALUATION
    if use.backwarded or use.in_training_pass or use.needs_gradient:
        return False
    switched = bool(use.modes) and all(s.mode is Mode.EVAL and not s.by_construction for s in use.modes)
    if use.unfollowed_result and not switched:
        return False
    if use.framework is not None or use.in_test_suite or use.stochastic_on_purpose or use.input_is_dummy:
        return False
    if _OTHER_PURPOSE & {word for name in (*use.functions, use.model.class_name) for word in _words(name)}:
        return False
    kinds = {sign.kind for sign in use.signs}
    no_grad = use.grad is False or SignKind.NO_GRAD in kinds
    judged, kept, named = kinds & _JUDGED, kinds & _KEPT, kinds & _NAMED
    if SignKind.HELD_OUT_DATA in kinds:
        return True
    if "generator" in _words(use.model.class_name) and not judged:
        return False  # samples of a generator are looked at, not measured
    if switched:
        return bool(judged or kept or named)  # somebody switched to evaluation for it
    if no_grad:
        # With the outputs dropped it may be a recalibration of BatchNorm: someone must want the result.
        return bool(judged or kept or named)
    if judged:
        return bool(named) or use.repeated
    return len(named) == 2 or bool(named and kept)


def region(use: ForwardUse) -> Hashable:
    """Equal for calls of one model in one function: one finding is enough for them."""
    return (use.place.path, use.functions, use.model.key)


def seen(use: ForwardUse, what: str) -> str:
    """`24 of 24 evaluation batches in training mode`, where a run counted them."""
    return times_seen(use.run, what) if use.run is not None else ""


def innermost_function(use: ForwardUse) -> str | None:
    """The name of the function around the call, None at module level and in a lambda."""
    name = use.functions[-1] if use.functions else ""
    return name if name.isidentifier() else None


def _words(name: str) -> list[str]:
    """`monteCarlo_eval` as `monte`, `carlo`, `eval`."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
