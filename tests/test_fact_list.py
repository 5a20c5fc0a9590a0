"""What `modellint facts` prints."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modellint.fact_list import Listing, as_json, as_text
from modellint.facts.loss_use import Expects, LossUse, OutputKind
from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.module_instance import LayerCall, ModuleInstance, UnusedLayer
from modellint.facts.reading import NotFollowed
from modellint.facts.span import Span
from modellint.facts.training_loop import Event, EventKind, TrainingLoop
from modellint.rule import HOOKS


def at(line: int, column: int = 1, path: str = "train.py") -> Span:
    return Span(path, line, column, line, column + 5)


def listing(*facts: object, not_followed: tuple[NotFollowed, ...] = ()) -> Listing:
    return Listing("train.py", facts, (), not_followed, uses_torch=True)


TWIN = ModelRef(1, "model", "Twin", at(5, 1, "models/twin.py"), at(17, 13), "d=64", complete=True)


def test_as_the_interface_draws_it() -> None:
    norm = LayerRef("norm", "BatchNorm1d(64)", "BatchNorm1d", None)
    aux = LayerRef("aux", "Linear(64, 64)", "Linear", None)
    instance = ModuleInstance(
        model=TWIN,
        calls=(
            LayerCall(7, norm, at(9), True, "output of text.0", 1, ()),
            LayerCall(7, norm, at(10), True, None, None, ()),
        ),
        unused=(UnusedLayer(aux, 4160, ()),),
        parameters=9665,
        optimizer="AdamW",
        optimizer_place=None,
        root=True,
    )
    loss = LossUse(
        place=at(24, 20),
        loss="BCEWithLogitsLoss",
        loss_text="criterion",
        loss_place=at(18),
        expects=Expects.BINARY_LOGITS,
        input=OutputKind.PROBABILITIES,
        maker="torch.sigmoid",
        maker_place=at(16, 16, "models/twin.py"),
        steps=(),
        model=TWIN,
        model_place=at(23),
        classes=None,
        softmax_dim=None,
        trains=True,
        target=OutputKind.UNKNOWN,
    )
    events = (Event(EventKind.FORWARD, at(23), "model", ()), Event(EventKind.BACKWARD, at(25), "loss", ()))
    loop = TrainingLoop(at(22, 9), (events,), True, (), (), None)
    lost = NotFollowed(at(30), "build(cfg)", "a parameter of an uncalled function")
    assert as_text(listing(instance, loss, loop, not_followed=(lost,))).splitlines() == [
        "ModuleInstance  train.py:17:13  Twin(d=64) from models/twin.py:5",
        "                  norm  BatchNorm1d(64)  2 calls a forward: after output of text.0, after UNKNOWN",
        "                  aux   Linear(64, 64)   0 calls a forward",
        "LossUse         train.py:24:20  BCEWithLogitsLoss expects LOGITS (sigmoid inside), input is PROBABILITIES "
        "(models/twin.py:16:16) from model",
        "TrainingLoop    train.py:22:9   1 pass, complete: FORWARD model, BACKWARD loss",
        "not followed    train.py:30:1   build(cfg): a parameter of an uncalled function",
    ]
    document = json.loads(as_json(listing(instance, loss)))
    assert document["facts"][0]["model"]["class_place"]["line"] == 5
    assert document["facts"][1]["input"] == "PROBABILITIES"
    assert document["facts"][1]["classes"] is None


def test_nothing_to_list() -> None:
    assert as_text(listing()) == "train.py: no facts\n"
    assert as_text(Listing("x.py", (), (), (), uses_torch=False)) == "x.py: never mentions torch: not read\n"


@pytest.mark.parametrize("fact_type", list(HOOKS), ids=lambda fact_type: fact_type.__name__)
def test_every_fact_can_be_listed(fact_type: type) -> None:
    st.register_type_strategy(object, st.sampled_from([object(), 1, ("a", 2), None]))

    @settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.from_type(fact_type))
    def listed(fact: object) -> None:
        assert as_text(listing(fact)).startswith(fact_type.__name__)
        assert json.loads(as_json(listing(fact)))["facts"][0]["fact"] == fact_type.__name__

    listed()
