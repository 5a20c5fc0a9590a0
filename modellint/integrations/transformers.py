"""`ModelLintCallback` for the Trainer of transformers: `Trainer(..., callbacks=[ModelLintCallback()])`."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from modellint.integrations.phased_watch import PhasedWatch

_OWNED = (
    "missing-eval", "missing-train", "missing-no-grad", "no-grad-in-training", "missing-zero-grad",
    "zero-grad-before-step", "missing-backward", "missing-optimizer-step", "misplaced-gradient-clipping",
    "unscaled-gradient-clipping", "grad-scaler-misused", "scheduler-before-optimizer", "accumulation-not-scaled",
    "missing-set-epoch", "train-loader-not-shuffled", "duplicated-rank-batches",
)  # fmt: skip
"""Loop, mode, gradient, scheduler and sampler are the Trainer's."""

_Callback: Any = import_module("transformers").TrainerCallback


class ModelLintCallback(_Callback):  # type: ignore[misc]
    """Watches `train` on the first process and prints what was found at the end.

    `steps`, `select` and `ignore` are those of `modellint.watch`. `callback.seen` is the watch. The Trainer does not
    tell its callbacks about an exception: what was seen until then is printed when the program ends.
    """

    def __init__(
        self, *, steps: int | None = None, select: Sequence[str] | None = None, ignore: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self._watch = PhasedWatch(steps, select, ignore)

    @property
    def seen(self) -> Any:
        """The last watch, None before the first."""
        return self._watch.seen

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if getattr(state, "is_world_process_zero", True):
            self._watch.open(_OWNED)
            self._watch.phase("train")
            atexit.register(self._watch.close)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._watch.phase("train")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._evaluation_may_follow(control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._evaluation_may_follow(control)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._watch.phase("validate")

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._watch.phase("train")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        atexit.unregister(self._watch.close)
        self._watch.close()

    def _evaluation_may_follow(self, control: Any) -> None:
        if getattr(control, "should_evaluate", False):
            self._watch.phase("validate")
