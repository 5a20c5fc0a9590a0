"""A watch changes nothing: every bit of a training is the same with and without it, in every setting."""

from __future__ import annotations

import pytest
from trainings import TRAININGS, Training, differences, one_thread

from modellint.runtime.watch import watch


@pytest.mark.parametrize("training", TRAININGS, ids=lambda training: training.__name__)
@pytest.mark.parametrize("select", [None, ["ALL"]], ids=["default", "all rules"])
@pytest.mark.filterwarnings("default")
def test_training_is_bit_identical(training: Training, select: list[str] | None) -> None:
    with one_thread():
        alone = training(50)
        again = training(50)
        assert not differences(alone, again), "the training itself is not deterministic"
        with watch(select=select) as seen:
            watched = training(50)
    assert not seen.failures
    assert not differences(alone, watched)
