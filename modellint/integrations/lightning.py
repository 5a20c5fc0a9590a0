"""`ModelLintCallback` for Lightning: `Trainer(callbacks=[ModelLintCallback()])`.

Works with `lightning.pytorch` and with `pytorch_lightning`, whichever the program has imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from modellint.integrations.phased_watch import PhasedWatch

_MODES = ("missing-eval", "missing-train", "missing-no-grad", "missing-set-epoch", "duplicated-rank-batches")
_STEPS = ("missing-zero-grad", "missing-backward", "missing-optimizer-step", "scheduler-before-optimizer")
"""Lightning does these itself, unless a module optimises by hand."""


def _callback_class() -> Any:
    for name in ("lightning.pytorch", "pytorch_lightning"):
        loaded = sys.modules.get(name)
        if loaded is not None:
            return loaded.Callback
    try:
        return import_module("lightning.pytorch").Callback
    except ModuleNotFoundError:
        return import_module("pytorch_lightning").Callback


_Callback: Any = _callback_class()


class ModelLintCallback(_Callback):  # type: ignore[misc]
    """Watches `fit`, `validate`, `test` and `predict` on rank 0 and prints what was found at the end.

    `steps`, `select` and `ignore` are those of `modellint.watch`. `callback.seen` is the watch.
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

    @property
    def state_key(self) -> str:
        return "ModelLintCallback"

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if getattr(trainer, "is_global_zero", True):
            by_hand = getattr(pl_module, "automatic_optimization", True) is False
            self._watch.open(_MODES if by_hand else (*_MODES, *_STEPS))

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self._watch.phase("train")

    def on_sanity_check_start(self, trainer: Any, pl_module: Any) -> None:
        self._watch.phase("sanity")

    def on_sanity_check_end(self, trainer: Any, pl_module: Any) -> None:
        self._watch.phase("train")

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        self._watch.phase("train")

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._watch.phase("sanity" if getattr(trainer, "sanity_checking", False) else "validate")

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._watch.phase("train" if getattr(trainer, "training", False) else None)

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        self._watch.phase("test")

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        self._watch.phase("predict")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._watch.close()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self._watch.close()
