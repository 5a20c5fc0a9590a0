"""Every rule on facts made by hand: what fires, and each condition that must silence it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modellint.catalog import all_rules
from modellint.facts.backward_use import BackwardUse
from modellint.facts.discarded_value import DiscardedValue
from modellint.facts.forward_use import (
    CallSite,
    DeviceState,
    ForwardUse,
    Mode,
    ModeState,
    Purpose,
    Sign,
    SignKind,
    Unrecorded,
)
from modellint.facts.kept_graph import KeptGraph
from modellint.facts.loss_use import Expects, LossUse, OutputKind, Step
from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.module_class import HiddenModules, ModuleClass, SuperInit
from modellint.facts.module_instance import (
    Branch,
    DetachedLayer,
    LayerCall,
    ModuleInstance,
    UnusedLayer,
    UnusedParameter,
)
from modellint.facts.non_finite import NonFinite
from modellint.facts.parameter_fill import FilledLayer, ParameterFill
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.facts.torch_call import UNKNOWN, Argument, TorchCall
from modellint.facts.training_loop import Event, EventKind, OptimizerRef, TrainingLoop
from modellint.finding import Certainty, Finding, Level
from modellint.judge import judge


def at(line: int, path: str = "train.py", column: int = 5) -> Span:
    return Span(path, line, column, line, column + 10)


def layer(name: str, kind: str = "Linear", line: int = 8) -> LayerRef:
    return LayerRef(name, f"{kind}(64)", kind, at(line, "models/twin.py", 21))


def run(rule: str, *facts: object) -> list[Finding]:
    """What one rule says about some facts."""
    findings, failures = judge(facts, [all_rules()[rule]()])
    assert failures == []
    return findings


def only(rule: str, *facts: object) -> Finding:
    findings = run(rule, *facts)
    assert len(findings) == 1
    return findings[0]


def labels(finding: Finding) -> list[str]:
    return [note.label for note in finding.related]


MODEL = ModelRef(
    key=1,
    text="model",
    class_name="Twin",
    class_place=at(5, "models/twin.py"),
    place=at(17),
    arguments="",
    complete=True,
    mode_dependent=(layer("drop", "Dropout", 9), layer("norm", "BatchNorm1d", 8)),
    certain_mode_dependent=True,
    trainable=True,
)

# Losses

SIGMOID = LossUse(
    place=at(24),
    loss="BCEWithLogitsLoss",
    loss_text="criterion",
    loss_place=at(18),
    expects=Expects.BINARY_LOGITS,
    input=OutputKind.PROBABILITIES,
    maker="torch.sigmoid",
    maker_place=at(16, "models/twin.py"),
    steps=(Step(at(16, "models/twin.py"), "torch.sigmoid"), Step(at(24), "criterion(...)")),
    model=MODEL,
    model_place=at(23),
    classes=None,
    softmax_dim=None,
    trains=True,
    target=OutputKind.UNKNOWN,
)
SOFTMAX = replace(SIGMOID, loss="CrossEntropyLoss", expects=Expects.CLASS_LOGITS, input=OutputKind.DISTRIBUTION)
NLL = replace(SIGMOID, loss="NLLLoss", expects=Expects.LOG_PROBABILITIES, input=OutputKind.DISTRIBUTION)
BCE = replace(SIGMOID, loss="BCELoss", expects=Expects.PROBABILITIES, input=OutputKind.LOGITS)


def test_sigmoid_before_logits_loss() -> None:
    finding = only("sigmoid-before-logits-loss", SIGMOID)
    assert finding.message == "`BCEWithLogitsLoss` is given probabilities, it needs raw scores"
    assert finding.label == "a value in [0, 1] is read as a raw score"
    assert (finding.span, finding.primary_order, finding.level) == (at(24), 3, Level.ERROR)
    assert [(note.order, note.label) for note in finding.related] == [
        (1, "squashed to [0, 1] here"),
        (2, "returned by Twin.forward"),
        (4, "this loss applies sigmoid itself"),
    ]
    assert [note.cause for note in finding.related] == [True, False, False]
    assert [step.text for step in finding.flow] == ["torch.sigmoid", "criterion(...)"]
    assert finding.why == (
        "sigmoid is applied twice: the predicted probability can never leave [0.500, 0.731], "
        "so the loss cannot fall below 0.313 on positives and 0.693 on negatives"
    )


def test_sigmoid_outside_of_a_model_numbers_two_places() -> None:
    use = replace(SIGMOID, model=None, model_place=None, loss="F.binary_cross_entropy_with_logits", loss_place=None)
    finding = only("sigmoid-before-logits-loss", use)
    assert finding.primary_order == 2
    assert labels(finding) == ["squashed to [0, 1] here"]
    assert "give the loss the raw scores" in finding.help


def test_softmax_before_a_binary_loss_is_named() -> None:
    finding = only("sigmoid-before-logits-loss", replace(SIGMOID, input=OutputKind.DISTRIBUTION))
    assert "output of a softmax" in finding.why


def test_a_focal_loss_gets_no_bounds_that_are_not_its_own() -> None:
    assert "0.313" not in only("sigmoid-before-logits-loss", replace(SIGMOID, loss="sigmoid_focal_loss")).why


def test_one_cause_of_one_model_is_one_finding_and_training_is_the_place_kept() -> None:
    evaluation = replace(SIGMOID, place=at(12), trains=False)
    finding = only("sigmoid-before-logits-loss", evaluation, SIGMOID)
    assert finding.span == at(24)
    assert finding.notes == ("same cause at train.py:12:5",)


def test_two_instances_are_two_findings() -> None:
    other = replace(SIGMOID, place=at(25), model=replace(MODEL, key=2))
    assert len(run("sigmoid-before-logits-loss", SIGMOID, other)) == 2


@pytest.mark.parametrize(
    ("classes", "words"),
    [(None, "0.313 with 2 classes, 1.461 with 10, 5.909 with 1000"), (2, "0.313"), (10, "1.461"), (1000, "5.909")],
)
def test_softmax_before_cross_entropy(classes: int | None, words: str) -> None:
    finding = only("softmax-before-cross-entropy", replace(SOFTMAX, classes=classes))
    assert words in finding.why
    assert finding.message == "`CrossEntropyLoss` is given probabilities, it needs raw scores"


def test_nll_without_log_softmax() -> None:
    assert "given probabilities" in only("nll-without-log-softmax", NLL).message
    assert "given raw scores" in only("nll-without-log-softmax", replace(NLL, input=OutputKind.LOGITS)).message
    assert "CTC" in only("nll-without-log-softmax", replace(NLL, loss="F.ctc_loss")).why


def test_bce_without_sigmoid() -> None:
    assert "given raw scores, it needs probabilities" in only("bce-without-sigmoid", BCE).message


INCOMPLETE = replace(MODEL, complete=False)


@pytest.mark.parametrize(
    ("rule", "use"),
    [
        *[
            ("sigmoid-before-logits-loss", replace(SIGMOID, input=kind))
            for kind in OutputKind
            if kind not in (OutputKind.PROBABILITIES, OutputKind.DISTRIBUTION)
        ],
        *[
            ("sigmoid-before-logits-loss", replace(SIGMOID, expects=expects))
            for expects in Expects
            if expects is not Expects.BINARY_LOGITS
        ],
        *[
            ("softmax-before-cross-entropy", replace(SOFTMAX, input=kind))
            for kind in OutputKind
            if kind is not OutputKind.DISTRIBUTION
        ],
        ("softmax-before-cross-entropy", replace(SOFTMAX, expects=Expects.OTHER)),
        ("softmax-before-cross-entropy", replace(SOFTMAX, softmax_dim=0)),
        ("softmax-before-cross-entropy", replace(SOFTMAX, softmax_dim=2)),
        ("softmax-before-cross-entropy", replace(SOFTMAX, classes=1)),
        ("nll-without-log-softmax", replace(NLL, input=OutputKind.LOG_PROBABILITIES)),
        ("nll-without-log-softmax", replace(NLL, input=OutputKind.UNKNOWN)),
        ("nll-without-log-softmax", replace(NLL, input=OutputKind.LOGITS, model=INCOMPLETE)),
        ("nll-without-log-softmax", replace(NLL, input=OutputKind.LOGITS, model=None)),
        ("nll-without-log-softmax", replace(NLL, loss="KLDivLoss")),
        ("nll-without-log-softmax", replace(NLL, loss="PoissonNLLLoss", expects=Expects.RAW)),
        ("bce-without-sigmoid", replace(BCE, input=OutputKind.PROBABILITIES)),
        ("bce-without-sigmoid", replace(BCE, input=OutputKind.UNKNOWN)),
        ("bce-without-sigmoid", replace(BCE, expects=Expects.BINARY_LOGITS)),
        ("bce-without-sigmoid", replace(BCE, model=INCOMPLETE)),
        ("bce-without-sigmoid", replace(BCE, model=None)),
    ],
)
def test_loss_rules_stay_silent(rule: str, use: LossUse) -> None:
    assert run(rule, use) == []


RELU = replace(SOFTMAX, input=OutputKind.NON_NEGATIVE)
KL = replace(NLL, loss="F.kl_div")
OVER_BATCH = replace(SOFTMAX, softmax_dim=0, softmax_shape=(16, 10))
COLUMN = replace(
    SIGMOID,
    loss="MSELoss",
    expects=Expects.RAW,
    input=OutputKind.UNKNOWN,
    element_wise=True,
    input_shape=(16, 1),
    target_shape=(16,),
)


def test_log_softmax_before_cross_entropy() -> None:
    finding = only("log-softmax-before-cross-entropy", replace(SOFTMAX, input=OutputKind.LOG_PROBABILITIES))
    assert finding.message == "`CrossEntropyLoss` is given log-probabilities, it takes raw scores"
    assert finding.level is Level.NOTE


def test_relu_before_loss() -> None:
    finding = only("relu-before-loss", RELU)
    assert finding.message == "`CrossEntropyLoss` is given the output of a ReLU, it needs raw scores"
    assert "0.5" in only("relu-before-loss", replace(SIGMOID, input=OutputKind.NON_NEGATIVE)).why
    sigmoid = only("relu-before-loss", replace(SOFTMAX, input=OutputKind.PROBABILITIES, classes=10))
    assert "1.461" in sigmoid.why


def test_kl_div_input_not_log() -> None:
    assert "is probabilities" in only("kl-div-input-not-log", KL).message
    assert "is raw scores" in only("kl-div-input-not-log", replace(KL, input=OutputKind.LOGITS)).message


def test_softmax_over_batch() -> None:
    finding = only("softmax-over-batch", OVER_BATCH)
    assert "over the 16 samples" in finding.why
    assert only("softmax-over-batch", replace(OVER_BATCH, loss="NLLLoss", input=OutputKind.LOG_PROBABILITIES))


@pytest.mark.parametrize(
    ("given", "target", "made"),
    [((16, 1), (16,), "(16, 16)"), ((16,), (16, 1), "(16, 16)"), ((3, 1, 5, 5), (3, 5, 5), "(3, 3, 5, 5)")],
)
def test_loss_broadcast(given: tuple[int, ...], target: tuple[int, ...], made: str) -> None:
    finding = only("loss-broadcast", replace(COLUMN, input_shape=given, target_shape=target))
    assert finding.label.endswith(f"becomes {made}")


@pytest.mark.parametrize(
    ("rule", "use"),
    [
        ("log-softmax-before-cross-entropy", SOFTMAX),
        ("log-softmax-before-cross-entropy", replace(NLL, input=OutputKind.LOG_PROBABILITIES)),
        ("log-softmax-before-cross-entropy", replace(OVER_BATCH, input=OutputKind.LOG_PROBABILITIES)),
        ("relu-before-loss", replace(RELU, input=OutputKind.UNKNOWN)),
        ("relu-before-loss", replace(RELU, expects=Expects.RAW)),
        ("relu-before-loss", replace(SIGMOID, input=OutputKind.PROBABILITIES)),
        ("relu-before-loss", replace(RELU, input=OutputKind.TANH, expects=Expects.RAW)),
        ("kl-div-input-not-log", NLL),
        ("kl-div-input-not-log", replace(KL, input=OutputKind.LOG_PROBABILITIES)),
        ("kl-div-input-not-log", replace(KL, input=OutputKind.UNKNOWN)),
        ("kl-div-input-not-log", replace(KL, input=OutputKind.LOGITS, model=None)),
        ("kl-div-input-not-log", replace(KL, input=OutputKind.LOGITS, model=INCOMPLETE)),
        ("softmax-over-batch", replace(OVER_BATCH, softmax_dim=1)),
        ("softmax-over-batch", replace(OVER_BATCH, softmax_shape=(10,))),
        ("softmax-over-batch", replace(OVER_BATCH, softmax_shape=None)),
        ("softmax-over-batch", replace(OVER_BATCH, input=OutputKind.UNKNOWN)),
        ("loss-broadcast", replace(COLUMN, target_shape=None)),
        ("loss-broadcast", replace(COLUMN, element_wise=False)),
        ("loss-broadcast", replace(COLUMN, aligned=True)),
        ("loss-broadcast", replace(COLUMN, target_shape=(16, 1))),
        ("loss-broadcast", replace(COLUMN, target_shape=())),
        ("loss-broadcast", replace(COLUMN, target_shape=(1,))),
        ("loss-broadcast", replace(COLUMN, input_shape=(1, 1), target_shape=(1,))),
        ("loss-broadcast", replace(COLUMN, input_shape=(16, 1, 3), target_shape=(5, 3))),
        ("loss-broadcast", replace(COLUMN, input_shape=(16, 1, 5), target_shape=(16, 5, 1))),
        ("loss-broadcast", replace(COLUMN, input_shape=(16, 1), target_shape=(1, 16), reduction="none")),
    ],
)
def test_loss_rules_of_a_run_stay_silent(rule: str, use: LossUse) -> None:
    assert run(rule, use) == []


SGD = OptimizerRef(3, "optimizer", "SGD", at(18))
CUT_OFF = BackwardUse(at(25), "loss.backward()", "loss", False, SGD, MODEL, at(23))


def test_detached_loss() -> None:
    finding = only("detached-loss", CUT_OFF)
    assert finding.message == "`loss.backward()` reaches no parameter that `optimizer` holds"
    assert labels(finding) == ["`model` runs here with gradients"]
    assert "no operation made" in only("detached-loss", replace(CUT_OFF, leaf=True)).message


def test_non_finite() -> None:
    lost = NonFinite(at(25), "loss", "nan", "fc.weight", True, "optimizer", 0)
    assert only("non-finite", lost).message == "`loss` is nan: `optimizer` steps on it"
    assert "gradient of `fc.weight`" in only("non-finite", lost).why
    assert "the parameter `fc.weight`" in only("non-finite", replace(lost, in_gradient=False)).why
    assert only("non-finite", replace(lost, parameter="", optimizer="")).message == "`loss` is nan"


def test_loss_kept_with_graph() -> None:
    finding = only("loss-kept-with-graph", KeptGraph(at(23), "model(x)", MODEL, 48))
    assert (finding.level, finding.message) == (Level.WARNING, "the graph behind `model(x)` stays alive after its step")
    assert "48 past steps" in finding.why


# Evaluation

LOSS, METRIC, NO_GRAD = (Sign(kind, None, "") for kind in (SignKind.LOSS, SignKind.METRIC, SignKind.NO_GRAD))
COLLECTED, RETURNED = (Sign(kind, None, "") for kind in (SignKind.COLLECTED, SignKind.RETURNED))
HELD_OUT, FUNCTION, LOADER = (
    Sign(kind, None, "") for kind in (SignKind.HELD_OUT_DATA, SignKind.FUNCTION_NAME, SignKind.LOADER_NAME)
)
TRAIN = ModeState(Mode.TRAIN, at(21), "model.train()", False)
BORN = ModeState(Mode.TRAIN, at(17), "constructed here", True)
EVAL = ModeState(Mode.EVAL, at(40), "model.eval()", False)
EVAL_IN_LOOP = replace(EVAL, in_same_loop=True)
NO_MODE = ModeState(Mode.UNKNOWN, None, "", False)

EVALUATION = ForwardUse(
    place=at(11),
    model=MODEL,
    modes=(TRAIN,),
    grad=False,
    grad_place=at(9),
    backwarded=False,
    stepped=False,
    in_training_pass=False,
    unfollowed_result=False,
    needs_gradient=False,
    signs=(NO_GRAD, METRIC, FUNCTION),
    repeated=True,
    input_is_dummy=False,
    functions=("evaluate",),
    calls=(CallSite("main", at(40)), CallSite("evaluate", at(28))),
    stochastic_on_purpose=False,
    framework=None,
    in_test_suite=False,
    model_device=None,
    input_device=None,
    input_text="x",
    input_place=at(10),
    input_unmoved=False,
    model_unmoved=False,
)
WITH_GRAD = replace(EVALUATION, grad=True, grad_place=None, signs=(METRIC, FUNCTION))
TRAINING = replace(
    EVALUATION,
    place=at(24),
    modes=(BORN, EVAL_IN_LOOP),
    grad=True,
    backwarded=True,
    stepped=True,
    signs=(),
    functions=(),
)


def test_missing_eval() -> None:
    finding = only("missing-eval", EVALUATION)
    assert finding.message == "`model` is still in training mode when it is evaluated"
    assert finding.label == "BatchNorm uses the batch and updates its statistics"
    assert [(note.span, note.label) for note in finding.related] == [
        (at(21), "training mode is switched on here"),
        (at(28), "called from here, no eval() in between"),
    ]
    assert finding.why == (
        "Twin contains BatchNorm1d (models/twin.py:8): validation data leaks into running_mean / running_var and "
        "the score depends on how the batch was drawn"
    )
    assert "at the top of evaluate()" in finding.help
    assert finding.level is Level.ERROR


def test_missing_eval_with_dropout_only() -> None:
    model = replace(MODEL, mode_dependent=(layer("drop", "Dropout", 9),))
    finding = only("missing-eval", replace(EVALUATION, model=model))
    assert finding.label == "dropout still zeroes values at random"


def test_missing_eval_of_a_model_whose_mode_matters_whatever_the_rest_is() -> None:
    assert only("missing-eval", replace(EVALUATION, model=replace(INCOMPLETE, mode_matters=True)))


def test_missing_eval_with_an_uncertain_layer_is_likely() -> None:
    finding = only("missing-eval", replace(EVALUATION, model=replace(MODEL, certain_mode_dependent=False)))
    assert (finding.certainty, finding.level) == (Certainty.LIKELY, Level.WARNING)


def test_missing_eval_is_said_once_a_function() -> None:
    finding = only("missing-eval", EVALUATION, replace(EVALUATION, place=at(13)))
    assert finding.notes == ("same cause at train.py:13:5",)


@pytest.mark.parametrize(
    "changes",
    [
        {"signs": (HELD_OUT,), "grad": True},
        {"signs": (METRIC,), "grad": True},
        {"signs": (LOSS, FUNCTION), "grad": True, "repeated": False},
        {"signs": (NO_GRAD, COLLECTED)},
        {"signs": (NO_GRAD, RETURNED), "repeated": False},
        {"signs": (NO_GRAD, LOADER)},
        {"signs": (FUNCTION, LOADER), "grad": True},
        {"signs": (FUNCTION, RETURNED), "grad": True},
    ],
)
def test_signs_that_are_enough(changes: dict[str, Any]) -> None:
    assert len(run("missing-eval", replace(EVALUATION, **changes))) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"signs": ()},
        {"signs": (NO_GRAD,)},
        {"signs": (FUNCTION,), "grad": True},
        {"signs": (COLLECTED, RETURNED), "grad": True},
        {"signs": (LOSS,), "grad": True, "repeated": False},
        {"functions": ("mc_dropout_predict",)},
        {"functions": ("Agent", "selectAction")},
        {"functions": ("rollout",)},
        {"signs": (NO_GRAD, COLLECTED), "model": replace(MODEL, class_name="ImageGenerator")},
        {"backwarded": True},
        {"in_training_pass": True},
        {"unfollowed_result": True},
        {"needs_gradient": True},
        {"framework": "lightning"},
        {"in_test_suite": True},
        {"stochastic_on_purpose": True},
        {"input_is_dummy": True},
    ],
)
def test_no_evaluation_no_finding(changes: dict[str, Any]) -> None:
    assert run("missing-eval", replace(EVALUATION, **changes)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"modes": (EVAL,)},
        {"modes": (TRAIN, EVAL)},
        {"modes": (TRAIN, NO_MODE)},
        {"modes": (NO_MODE,)},
        {"modes": ()},
        {"model": replace(MODEL, mode_dependent=())},
        {"model": INCOMPLETE},
    ],
)
def test_missing_eval_needs_the_mode_and_a_layer_that_depends_on_it(changes: dict[str, Any]) -> None:
    assert run("missing-eval", replace(EVALUATION, **changes)) == []


def test_missing_train() -> None:
    finding = only("missing-train", TRAINING)
    assert finding.span == at(24)
    assert labels(finding) == ["eval mode is switched on here", "constructed here, in training mode"]
    assert [note.cause for note in finding.related] == [True, False]
    assert "model.eval() its running statistics stand still" in finding.why


def test_missing_train_is_said_once_for_one_eval() -> None:
    assert only("missing-train", TRAINING, replace(TRAINING, place=at(26))).span == at(24)


def test_missing_train_after_a_train_call_before_the_loop() -> None:
    assert run("missing-train", replace(TRAINING, modes=(TRAIN, EVAL_IN_LOOP)))


def test_a_train_call_right_before_a_short_loop_is_no_switch() -> None:
    modes = (replace(TRAIN, place=at(22)), replace(EVAL_IN_LOOP, place=at(26)))
    assert run("missing-train", replace(TRAINING, modes=modes))


@pytest.mark.parametrize(
    "changes",
    [
        {"modes": (BORN,)},
        {"modes": (EVAL,)},
        {"modes": (BORN, replace(EVAL_IN_LOOP, by_construction=True))},
        {"modes": (BORN, EVAL_IN_LOOP, NO_MODE)},
        {"modes": (BORN, EVAL)},  # switched before the loop: frozen on purpose
        {"backwarded": False},
        {"stepped": False},
        {"repeated": False},
        {"grad": None},
        {"grad": False},
        {"framework": "ignite"},
        {"stochastic_on_purpose": True},
        {"model": INCOMPLETE},
        {"model": replace(MODEL, mode_dependent=())},
    ],
)
def test_missing_train_stays_silent(changes: dict[str, Any]) -> None:
    assert run("missing-train", replace(TRAINING, **changes)) == []


def test_missing_no_grad() -> None:
    finding = only("missing-no-grad", WITH_GRAD)
    assert finding.level is Level.WARNING
    assert "decorate evaluate with @torch.no_grad()" in finding.help
    assert "decorate" not in only("missing-no-grad", replace(WITH_GRAD, functions=("<lambda>",))).help
    assert run("missing-no-grad", replace(WITH_GRAD, model=replace(MODEL, trainable=None)))


@pytest.mark.parametrize(
    "changes",
    [
        {"grad": False},
        {"grad": None},
        {"repeated": False},
        {"model": replace(MODEL, trainable=False)},
        {"needs_gradient": True},
        {"backwarded": True},
        {"in_training_pass": True},
        {"unfollowed_result": True},
        {"framework": "skorch"},
        {"in_test_suite": True},
        {"input_is_dummy": True},
        {"signs": ()},
        {"signs": (COLLECTED,)},
    ],
)
def test_missing_no_grad_stays_silent(changes: dict[str, Any]) -> None:
    assert run("missing-no-grad", replace(WITH_GRAD, **changes)) == []


# The same uses, seen by a run


SEEN_EVALUATION = replace(
    EVALUATION,
    signs=(),
    calls=(),
    modes=(
        ModeState(Mode.TRAIN, None, "", False),
        ModeState(Mode.TRAIN, at(24), "trained here, in the same mode", False),
    ),
    run=RunEvidence(24, 32, 10, "evaluation batches"),
    observed=Purpose.EVALUATION,
)


def test_a_run_says_what_a_forward_was_for() -> None:
    finding = only("missing-eval", SEEN_EVALUATION)
    assert finding.seen == "24 of 32 evaluation batches in training mode, first after 10 steps"
    assert labels(finding) == ["trained here, in the same mode"]
    assert run("missing-no-grad", SEEN_EVALUATION) == []
    finding = only("missing-no-grad", replace(SEEN_EVALUATION, grad=True))
    assert finding.seen == "24 of 32 evaluation batches with a graph that nothing used, first after 10 steps"


@pytest.mark.parametrize("purpose", [Purpose.TRAIN, Purpose.DIFFERENTIATED, Purpose.AUXILIARY, Purpose.UNKNOWN])
def test_signs_do_not_outweigh_what_a_run_saw(purpose: Purpose) -> None:
    assert run("missing-eval", replace(SEEN_EVALUATION, observed=purpose, signs=EVALUATION.signs)) == []


def test_missing_train_in_a_run() -> None:
    was = ModeState(Mode.TRAIN, at(24), "was in training mode here before", False)
    evaluated = ModeState(Mode.EVAL, at(11), "evaluated here, in eval mode", False, True)
    evidence = RunEvidence(8, 12, 4, "training steps")
    use = replace(TRAINING, modes=(was, evaluated), run=evidence, observed=Purpose.TRAIN)
    finding = only("missing-train", use)
    assert finding.message == "`model` is in eval mode when it is trained again"
    assert finding.seen == "8 of 12 training steps in eval mode, first after 4 steps"
    assert [(note.span, note.label) for note in finding.related] == [(at(11), "evaluated here, in eval mode")]
    never = ModeState(Mode.EVAL, None, "it was never in training mode", True)
    finding = only("missing-train", replace(use, modes=(never,), run=replace(evidence, likely=True)))
    assert finding.certainty is Certainty.LIKELY
    assert finding.message == "`model` is trained in eval mode: it was never in training mode"


def test_no_grad_in_training() -> None:
    use = replace(
        TRAINING,
        grad=False,
        run=RunEvidence(4, 4, 0, "training steps"),
        observed=Purpose.TRAIN,
        unrecorded=Unrecorded.GRAD_OFF,
    )
    finding = only("no-grad-in-training", use)
    assert finding.message == "`model` runs without gradients in training"
    assert finding.seen.startswith("4 of 4 training steps")
    block = replace(use, unrecorded=Unrecorded.CHECKPOINT, unrecorded_layers=(layer("block"),))
    finding = only("no-grad-in-training", block)
    assert finding.message == "`block` of `Twin` receives no gradients"
    assert "use_reentrant=False" in finding.help
    assert run("no-grad-in-training", replace(use, unrecorded=None)) == []


def argument(name: str, constant: object, text: str = "", *, gated: bool = False) -> Argument:
    return Argument(name, text or repr(constant), at(31, column=40), constant, gated)


DROPOUT = TorchCall(
    name="torch.nn.functional.dropout",
    place=at(31),
    text="F.dropout",
    arguments=(argument("input", UNKNOWN, "x"), argument("p", 0.5)),
    open_arguments=False,
    receiver=None,
    receiver_kind=None,
    module_class="Net",
    function="forward",
    training_only=False,
    stochastic_on_purpose=False,
    delegating=False,
    framework=None,
    in_test_suite=False,
)
SDPA = replace(
    DROPOUT,
    name="torch.nn.functional.scaled_dot_product_attention",
    text="F.scaled_dot_product_attention",
    arguments=(argument("dropout_p", 0.1),),
)


def test_functional_dropout_always_on() -> None:
    finding = only("functional-dropout-always-on", DROPOUT)
    assert finding.message == "`F.dropout` in `Net` drops values in evaluation too"
    assert "0.5" in finding.why
    assert finding.certainty is Certainty.CERTAIN


@pytest.mark.parametrize(
    ("call", "certainty"),
    [
        (replace(DROPOUT, arguments=()), Certainty.CERTAIN),
        (replace(DROPOUT, arguments=(argument("p", UNKNOWN, "self.p"),)), Certainty.CERTAIN),
        (replace(DROPOUT, arguments=(argument("training", True),)), Certainty.LIKELY),
        (
            replace(DROPOUT, name="torch.nn.functional.alpha_dropout", arguments=(argument("training", True),)),
            Certainty.LIKELY,
        ),
        (replace(DROPOUT, name="torchvision.ops.stochastic_depth"), Certainty.CERTAIN),
        (SDPA, Certainty.CERTAIN),
        (replace(SDPA, arguments=(argument("dropout_p", UNKNOWN, "self.attn_drop.p"),)), Certainty.LIKELY),
        (replace(DROPOUT, framework="lightning"), Certainty.CERTAIN),
    ],
)
def test_functional_dropout_spellings(call: TorchCall, certainty: Certainty) -> None:
    assert only("functional-dropout-always-on", call).certainty is certainty


def test_attention_help_repeats_the_user_s_value() -> None:
    call = replace(SDPA, arguments=(argument("dropout_p", UNKNOWN, "dropout_p=self.drop"),))
    assert only("functional-dropout-always-on", call).help == "pass dropout_p=self.drop if self.training else 0.0"


@pytest.mark.parametrize(
    "call",
    [
        replace(DROPOUT, module_class=None),
        replace(DROPOUT, open_arguments=True),
        replace(DROPOUT, training_only=True),
        replace(DROPOUT, stochastic_on_purpose=True),
        replace(DROPOUT, arguments=(argument("p", 0),)),
        replace(DROPOUT, arguments=(argument("p", 0.0),)),
        replace(DROPOUT, arguments=(argument("p", UNKNOWN, "p", gated=True),)),
        replace(DROPOUT, arguments=(argument("training", False),)),
        replace(DROPOUT, arguments=(argument("training", UNKNOWN, "self.training", gated=True),)),
        replace(DROPOUT, arguments=(argument("training", UNKNOWN, "train"),)),
        replace(DROPOUT, name="torch.nn.functional.alpha_dropout"),
        replace(DROPOUT, name="torch.nn.functional.rrelu"),
        replace(DROPOUT, name="torch.nn.functional.relu"),
        replace(SDPA, arguments=()),
        replace(SDPA, arguments=(argument("dropout_p", 0.0),)),
        replace(SDPA, arguments=(argument("dropout_p", UNKNOWN, "dropout_p"),)),
        replace(SDPA, arguments=(argument("dropout_p", UNKNOWN, "self.p if train else 0.0"),)),
        replace(SDPA, arguments=(argument("dropout_p", UNKNOWN, "self.drop", gated=True),)),
    ],
)
def test_functional_dropout_stays_silent(call: TorchCall) -> None:
    assert run("functional-dropout-always-on", call) == []


def test_functional_dropout_in_a_run() -> None:
    seen = RunEvidence(12, 12, 3, "forwards in eval mode drew random numbers")
    finding = only("functional-dropout-always-on", replace(DROPOUT, run=seen))
    assert finding.seen == "12 of 12 forwards in eval mode drew random numbers, first after 3 steps"
    own_flag = replace(DROPOUT, run=seen, arguments=(argument("training", True, "self.active"),))
    assert only("functional-dropout-always-on", own_flag).label == "it is on in eval mode"


def test_module_created_in_forward() -> None:
    built = replace(DROPOUT, text="Dropout(0.5)", arguments=(), receiver_kind="module", built_each_forward=True)
    finding = only("module-created-in-forward", built)
    assert finding.message == "`Dropout(0.5)` is built anew in every forward of `Net`"
    assert "eval()" in finding.why
    assert "no optimizer" in only("module-created-in-forward", replace(built, has_parameters=True)).why
    assert run("module-created-in-forward", DROPOUT) == []


NAMED = DiscardedValue(at(9), "model.eval", "model", "module", "eval", None, None)


@pytest.mark.parametrize(
    ("kind", "attribute"),
    [
        ("module", "eval"),
        ("module", "train"),
        ("optimizer", "step"),
        ("optimizer", "zero_grad"),
        ("tensor", "backward"),
        ("scheduler", "step"),
        ("scaler", "update"),
    ],
)
def test_method_not_called(kind: str, attribute: str) -> None:
    value = replace(NAMED, text=f"it.{attribute}", receiver_kind=kind, attribute=attribute)
    finding = only("method-not-called", value)
    assert finding.message == f"`it.{attribute}` is named but not called"
    assert finding.help == f"write `it.{attribute}()`"


def test_a_method_where_its_result_is_wanted() -> None:
    value = replace(NAMED, text="model.state_dict", attribute="state_dict", given_to="torch.save", given_place=at(10))
    finding = only("method-not-called", value)
    assert "pickled method" in finding.why
    assert labels(finding) == ["its result is wanted here"]
    assert "pickled" not in only("method-not-called", replace(value, given_to="net.load_state_dict")).why


@pytest.mark.parametrize(
    "value",
    [
        replace(NAMED, attribute="training"),
        replace(NAMED, receiver_kind="tensor"),
        replace(NAMED, receiver_kind="unknown"),
        replace(NAMED, attribute="state_dict"),
        replace(NAMED, given_to="run_later"),
        replace(NAMED, attribute="state_dict", given_to="torch.save", receiver_kind="tensor"),
    ],
)
def test_method_not_called_stays_silent(value: DiscardedValue) -> None:
    assert run("method-not-called", value) == []


# Modules

NORM = layer("norm", "BatchNorm1d", 8)


def call(producer: str | None, line: int, *, which: int = 7, branches: tuple[tuple[int, int], ...] = ()) -> LayerCall:
    return LayerCall(which, NORM, at(line, "models/twin.py", 57), True, producer, producer, branches)


TEXT, IMAGE = call("output of Linear(32, 64)", 9), call("output of Linear(48, 64)", 10)
INSTANCE = ModuleInstance(MODEL, (TEXT, IMAGE), (), 9665, "AdamW", at(19), True)


def test_shared_batchnorm() -> None:
    finding = only("shared-batchnorm", INSTANCE)
    assert finding.span == NORM.place
    assert finding.message == "one `BatchNorm1d` normalises two different inputs"
    assert finding.label == "one running_mean / running_var, created once"
    assert labels(finding) == ["1st use: output of Linear(32, 64)", "2nd use: output of Linear(48, 64)"]
    assert finding.why == (
        "each training step updates the same statistics twice, with two distributions; "
        "in eval() both branches are then normalised with the blend of the two"
    )


def test_shared_batchnorm_counts_producers() -> None:
    third = call("argument x", 11)
    finding = only("shared-batchnorm", replace(INSTANCE, calls=(TEXT, IMAGE, replace(TEXT, place=at(12)), third)))
    assert "three different inputs" in finding.message
    assert labels(finding)[2] == "3rd use: argument x"


def test_shared_batchnorm_of_an_instance_that_arguments_decide() -> None:
    model = replace(MODEL, arguments="use_sequential=False")
    finding = only("shared-batchnorm", replace(INSTANCE, model=model))
    assert finding.span == MODEL.place
    assert "Twin(use_sequential=False)" in finding.message
    assert finding.related[0].span == NORM.place
    assert finding.related[0].cause


def test_shared_batchnorm_in_one_arm() -> None:
    arm = ((1, 0),)
    assert run("shared-batchnorm", replace(INSTANCE, calls=(replace(TEXT, branches=arm), replace(IMAGE, branches=arm))))


@pytest.mark.parametrize(
    "instance",
    [
        replace(INSTANCE, root=False),
        replace(INSTANCE, model=INCOMPLETE),
        replace(INSTANCE, calls=(TEXT,)),
        replace(INSTANCE, calls=(TEXT, replace(TEXT, place=at(11)))),
        replace(INSTANCE, calls=(TEXT, replace(IMAGE, layer=8))),
        replace(INSTANCE, calls=(TEXT, replace(IMAGE, producer_key=None))),
        replace(INSTANCE, calls=(TEXT, replace(IMAGE, branches=((1, 0),)))),
        replace(INSTANCE, calls=(replace(TEXT, branches=((1, 1),)), replace(IMAGE, branches=((1, 0),)))),
        replace(INSTANCE, calls=(replace(TEXT, stateful_norm=False), replace(IMAGE, stateful_norm=False))),
    ],
)
def test_shared_batchnorm_stays_silent(instance: ModuleInstance) -> None:
    assert run("shared-batchnorm", instance) == []


AUX = UnusedLayer(layer("aux", line=12), 4160, ())
BRANCH = Branch("self.use_sequential", False, at(30, "models/twin.py"))
FLAT = UnusedLayer(layer("flat1", line=14), 100, (BRANCH,))
UNUSED = replace(INSTANCE, calls=(), unused=(AUX,))


def test_unused_module() -> None:
    finding = only("unused-module", UNUSED)
    assert finding.span == AUX.ref.place
    assert finding.message == "`self.aux` is created but no path through forward uses it"
    assert finding.label == "4,160 of 9,665 parameters"
    assert finding.why == "`train.py` passes all parameters to AdamW; this layer never gets a gradient"
    assert finding.help == "delete it, or silence with `# modellint: ignore[unused-module] reason`"
    assert finding.level is Level.WARNING


def test_unused_module_without_sizes_and_optimizer() -> None:
    instance = replace(UNUSED, unused=(replace(AUX, parameters=None),), optimizer=None, optimizer_place=None)
    finding = only("unused-module", instance)
    assert finding.label == ""
    assert "state_dict()" in finding.why
    assert "never gets a gradient" in finding.why


def test_unused_module_of_a_child() -> None:
    nested = replace(AUX, ref=replace(AUX.ref, name="encoder.0"))
    assert "`self.encoder[0]`" in only("unused-module", replace(UNUSED, unused=(nested,))).message


def test_unused_children_of_an_unused_parent_are_folded() -> None:
    child = UnusedLayer(layer("aux.0", line=13), 10, ())
    assert only("unused-module", replace(UNUSED, unused=(AUX, child))).span == AUX.ref.place


def test_layers_of_one_construction_line_are_one_finding() -> None:
    twin = replace(AUX, ref=replace(AUX.ref, name="aux2"))
    finding = only("unused-module", replace(UNUSED, unused=(AUX, twin)))
    assert finding.message.startswith("`self.aux`, `self.aux2` are created")
    assert finding.label == "8,320 of 9,665 parameters"


def test_unused_module_excluded_by_arguments_is_said_at_the_construction() -> None:
    other = replace(FLAT, ref=layer("flat2", line=15))
    instance = replace(UNUSED, model=replace(MODEL, arguments="use_sequential=True"), unused=(FLAT, other))
    finding = only("unused-module", instance)
    assert finding.span == MODEL.place
    assert "`flat1, flat2` of `Twin(use_sequential=True)`" in finding.message
    assert labels(finding) == [
        "`self.use_sequential` is false for this instance",
        "flat1 is created here",
        "flat2 is created here",
    ]


@pytest.mark.parametrize(
    "instance",
    [
        replace(UNUSED, model=INCOMPLETE),
        replace(UNUSED, unused=()),
        replace(UNUSED, unused=(FLAT,), model=replace(MODEL, place=None)),
        replace(UNUSED, unused=(replace(AUX, ref=replace(AUX.ref, place=None)),)),
    ],
)
def test_unused_module_stays_silent(instance: ModuleInstance) -> None:
    assert run("unused-module", instance) == []


# The same facts from a run


def measured(**numbers: float) -> RunEvidence:
    named = {"calls": 240, "forwards": 120, **numbers}
    return RunEvidence(120, 120, 3, "forwards", tuple(named.items()), root=1)


def test_shared_batchnorm_of_a_run_is_certain_with_a_gap() -> None:
    finding = only("shared-batchnorm", replace(INSTANCE, run=measured(gap=1.86, difference=2.04, std=0.55)))
    assert finding.certainty is Certainty.CERTAIN
    assert finding.seen == "norm ran 240 times in 120 forward calls; branch means differ by 2 (std 0.55)"
    assert finding.sides == ("runtime",)
    assert finding.evidence["gap"] == 1.86
    assert finding.evidence["first_step"] == 3
    wider = only("shared-batchnorm", replace(INSTANCE, run=measured(gap=0.1, variance_ratio=9.0)))
    assert wider.certainty is Certainty.CERTAIN
    assert wider.seen.endswith("branch variances differ by a factor of 9.0")


@pytest.mark.parametrize("numbers", [{}, {"gap": 0.12, "variance_ratio": 1.5}])
def test_shared_batchnorm_of_a_run_is_likely_without_one(numbers: dict[str, float]) -> None:
    finding = only("shared-batchnorm", replace(INSTANCE, run=measured(**numbers)))
    assert finding.certainty is Certainty.LIKELY
    assert finding.seen == "norm ran 240 times in 120 forward calls"


SMALL = replace(TEXT, size=(8, 8))
LARGE = replace(SMALL, size=(16, 16), place=at(12))
AGAIN = replace(SMALL, after_itself=True)
LEVELS = replace(INSTANCE, calls=(SMALL, LARGE), run=measured(gap=0.9, difference=1.0, std=1.0))


@pytest.mark.parametrize("calls", [(SMALL, LARGE), (SMALL, AGAIN, AGAIN), (replace(SMALL, own_input=True), LARGE)])
def test_one_layer_on_unlike_inputs_of_a_run_is_likely(calls: tuple[LayerCall, ...]) -> None:
    assert only("shared-batchnorm", replace(LEVELS, calls=calls)).certainty is Certainty.LIKELY


@pytest.mark.parametrize(
    "instance",
    [
        replace(LEVELS, run=measured(gap=0.4)),
        replace(LEVELS, run=measured()),
        replace(LEVELS, run=None),
        replace(LEVELS, calls=(SMALL, SMALL)),
        replace(LEVELS, calls=(SMALL, AGAIN)),
        replace(LEVELS, calls=(replace(SMALL, own_input=True), replace(LARGE, own_input=True))),
        replace(LEVELS, calls=(SMALL, replace(LARGE, producer_key=None), replace(LARGE, producer_key=None))[1:]),
    ],
)
def test_one_layer_on_several_inputs_of_a_run_stays_silent(instance: ModuleInstance) -> None:
    assert run("shared-batchnorm", instance) == []


PASSES = RunEvidence(12, 12, 0, root=1)


def test_unused_module_of_a_run() -> None:
    finding = only("unused-module", replace(UNUSED, run=PASSES))
    assert finding.message == "`self.aux` is created but no forward that was watched uses it"
    assert finding.seen == "no call and no gradient in 12 passes"
    likely = only("unused-module", replace(UNUSED, run=replace(PASSES, likely=True)))
    assert (likely.certainty, likely.level) == (Certainty.LIKELY, Level.NOTE)


CUT = DetachedLayer(layer("context", line=12), 4160, at(20), returned=False)
DETACHED = replace(UNUSED, unused=(), detached=(CUT,), run=PASSES)


def test_detached_module() -> None:
    finding = only("detached-module", DETACHED)
    assert finding.span == CUT.ref.place
    assert finding.message == "`self.context` runs, but no gradient ever reaches it"
    assert finding.label == "4,160 of 9,665 parameters"
    assert labels(finding) == ["called here"]
    assert finding.certainty is Certainty.CERTAIN
    assert finding.seen == "called with gradients on, no gradient in 12 passes"


def test_detached_module_that_is_returned() -> None:
    finding = only("detached-module", replace(DETACHED, detached=(replace(CUT, returned=True),)))
    assert finding.message == "`self.context` runs, but what it returns reaches no loss"
    assert finding.certainty is Certainty.LIKELY
    unknown = only("detached-module", replace(DETACHED, detached=(replace(CUT, returned=None, call=None),)))
    assert unknown.certainty is Certainty.LIKELY
    assert labels(unknown) == []


def test_detached_modules_of_one_line_are_one_finding() -> None:
    twin = replace(CUT, ref=replace(CUT.ref, name="gate"), parameters=None)
    finding = only("detached-module", replace(DETACHED, detached=(CUT, twin)))
    assert finding.message == "`self.context`, `self.gate` run, but no gradient ever reaches them"
    assert finding.label == ""


LOST = UnusedParameter("attention.scale", "Parameter(1, 64)", 64, at(13))


def test_unused_parameter() -> None:
    finding = only("unused-parameter", replace(UNUSED, unused=(), unused_parameters=(LOST,), run=PASSES))
    assert finding.span == at(13)
    assert finding.message == "`self.attention.scale` is a parameter that no forward uses"
    assert finding.label == "Parameter(1, 64)"
    twin = replace(LOST, name="attention.shift")
    both = only("unused-parameter", replace(UNUSED, unused=(), unused_parameters=(LOST, twin), run=PASSES))
    assert both.message == "`self.attention.scale`, `self.attention.shift` are parameters that no forward uses"


@pytest.mark.parametrize("rule", ["detached-module", "unused-parameter"])
@pytest.mark.parametrize(
    "instance",
    [
        replace(DETACHED, detached=()),
        replace(DETACHED, unused_parameters=(LOST,), model=INCOMPLETE),
        replace(
            DETACHED,
            detached=(replace(CUT, ref=replace(CUT.ref, place=None)),),
            unused_parameters=(replace(LOST, place=None),),
        ),
    ],
)
def test_missing_gradients_stay_silent(rule: str, instance: ModuleInstance) -> None:
    assert run(rule, instance) == []


SLOPE = replace(TEXT, ref=layer("act", "PReLU"), stateful_norm=False, trained_slope=True)
OTHER_SLOPE = replace(SLOPE, producer="output of Linear(48, 64)", producer_key=2, place=at(11))
SLOPES = replace(INSTANCE, calls=(SLOPE, OTHER_SLOPE), run=measured())


def test_shared_prelu() -> None:
    finding = only("shared-prelu", SLOPES)
    assert finding.span == SLOPE.ref.place
    assert finding.message == "one `PReLU` is the activation of two different layers"
    assert labels(finding) == ["1st use: output of Linear(32, 64)", "2nd use: output of Linear(48, 64)"]
    assert finding.seen == "act ran 240 times in 120 forward calls"


@pytest.mark.parametrize(
    "instance",
    [
        replace(SLOPES, root=False),
        replace(SLOPES, model=INCOMPLETE),
        replace(SLOPES, calls=(SLOPE, SLOPE)),
        replace(SLOPES, calls=(SLOPE, replace(OTHER_SLOPE, producer_key=None))),
        replace(SLOPES, calls=(SLOPE, replace(OTHER_SLOPE, layer=8))),
        replace(SLOPES, calls=(replace(SLOPE, trained_slope=False), replace(OTHER_SLOPE, trained_slope=False))),
    ],
)
def test_shared_prelu_stays_silent(instance: ModuleInstance) -> None:
    assert run("shared-prelu", instance) == []


HIDDEN = HiddenModules("blocks", at(6), "list", layer("0"), at(7), True, True, False, False)
CLASS = ModuleClass("Net", at(4), at(5), "nn.Module", SuperInit.CALLED, None, "fc", at(6), (HIDDEN,))


def test_unregistered_module() -> None:
    finding = only("unregistered-module", CLASS)
    assert "`self.blocks` holds modules in a plain list" in finding.message
    assert "nn.ModuleList" in finding.help
    assert labels(finding) == ["Linear(64) is created here"]
    assert (
        "nn.ModuleDict" in only("unregistered-module", replace(CLASS, hidden=(replace(HIDDEN, container="dict"),))).help
    )


@pytest.mark.parametrize(
    "changes",
    [{"has_parameters": False}, {"used_in_forward": False}, {"registered_later": True}, {"hidden_on_purpose": True}],
)
def test_unregistered_module_stays_silent(changes: dict[str, bool]) -> None:
    assert run("unregistered-module", replace(CLASS, hidden=(replace(HIDDEN, **changes),))) == []


ABSENT = replace(CLASS, super_init=SuperInit.ABSENT, hidden=())


def test_missing_super_init() -> None:
    finding = only("missing-super-init", ABSENT)
    assert finding.span == at(5)
    assert "without calling super().__init__()" in finding.message
    assert labels(finding) == ["needs the tables that nn.Module.__init__ makes"]
    late = only("missing-super-init", replace(ABSENT, super_init=SuperInit.LATE, super_place=at(8)))
    assert "before calling" in late.message
    assert labels(late) == ["called only here"]


@pytest.mark.parametrize(
    "cls",
    [
        replace(ABSENT, super_init=SuperInit.CALLED),
        replace(ABSENT, super_init=SuperInit.UNKNOWN),
        replace(ABSENT, init_place=None),
        replace(ABSENT, first_registration=None, first_registration_place=None),
    ],
)
def test_missing_super_init_stays_silent(cls: ModuleClass) -> None:
    assert run("missing-super-init", cls) == []


FORWARD = replace(
    DROPOUT,
    name="torch.nn.Module.forward",
    text="net.forward",
    arguments=(),
    receiver="net",
    receiver_kind="module",
    module_class=None,
)


def test_direct_forward_call() -> None:
    finding = only("direct-forward-call", FORWARD)
    assert finding.message == "`net.forward` is called directly, not through `net(...)`"
    assert finding.level is Level.NOTE


@pytest.mark.parametrize(
    "changes",
    [
        {"delegating": True},
        {"in_test_suite": True},
        {"receiver_kind": "loss"},
        {"receiver_kind": None},
        {"receiver": None},
        {"receiver": "super()"},
        {"name": "torch.nn.Module.eval"},
    ],
)
def test_direct_forward_call_stays_silent(changes: dict[str, Any]) -> None:
    assert run("direct-forward-call", replace(FORWARD, **changes)) == []


# Initialization

LIN1 = FilledLayer(layer("lin1"), "weight", True, False, False, False, False)
LIN2 = replace(LIN1, ref=layer("lin2"), last=True)
FILL = ParameterFill(
    place=at(52, "models/net.py"),
    text="nn.init.constant_(m.weight, 0.01)",
    value=0.01,
    model=replace(MODEL, class_name="Net", arguments="use_sequential=False"),
    layers=(LIN1, LIN2),
    others=(),
    applied_place=at(30),
    trained=True,
    trained_place=at(60),
    overwritten=(at(20, "models/net.py"),),
    in_test_suite=False,
)


def test_constant_weight_init() -> None:
    finding = only("constant-weight-init", FILL)
    assert finding.message == "all weights of `lin1, lin2` in `Net(use_sequential=False)` start at 0.01"
    assert labels(finding) == ["run on the model here", "trained from there on", "an earlier fill of the same weights"]
    assert finding.certainty is Certainty.CERTAIN
    assert "rank one" in finding.why


@pytest.mark.parametrize(
    ("changes", "certainty"),
    [
        ({"layers": (LIN1,), "others": (layer("head"),)}, Certainty.CERTAIN),
        ({"layers": (LIN1,)}, Certainty.CERTAIN),  # the head has one unit
        ({"layers": (LIN1,), "others": (layer("lin0"), layer("head"))}, Certainty.LIKELY),
        ({"layers": (LIN2,), "others": (layer("lin0"),)}, Certainty.LIKELY),
        ({"value": 0.0}, Certainty.CERTAIN),
        ({"layers": (LIN1, replace(LIN1, ref=layer("lin3"), called=False))}, Certainty.CERTAIN),
    ],
)
def test_constant_weight_init_certainty(changes: dict[str, Any], certainty: Certainty) -> None:
    assert only("constant-weight-init", replace(FILL, **changes)).certainty is certainty


def test_constant_weight_init_names_only_layers_that_it_is_about() -> None:
    unused = replace(LIN1, ref=layer("encoder.0"), called=False)
    assert "`lin1, lin2`" in only("constant-weight-init", replace(FILL, layers=(LIN1, unused, LIN2))).message


@pytest.mark.parametrize(
    "changes",
    [
        {"trained": False},
        {"in_test_suite": True},
        {"model": INCOMPLETE},
        {"layers": ()},
        {"layers": (replace(LIN1, called=False),)},
        {"layers": (replace(LIN1, frozen=True),)},
        {"layers": (replace(LIN1, depthwise=True),)},
        {"layers": (replace(LIN1, bias_set_per_unit=True),)},
        {"layers": (LIN2,)},  # a linear model
        {"value": 0.0, "others": (layer("lin0"),)},
        {"value": 0.0, "layers": (LIN1, replace(LIN2, bias_set_per_unit=True))},
        {"value": 0.0, "layers": (LIN2,)},
    ],
)
def test_constant_weight_init_stays_silent(changes: dict[str, Any]) -> None:
    assert run("constant-weight-init", replace(FILL, **changes)) == []


# Optimization

ADAM = OptimizerRef(1, "optimizer", "Adam", at(15))
OTHER = OptimizerRef(2, "other", "Adam", at(16))


def event(kind: EventKind, line: int, *optimizers: int, text: str = "") -> Event:
    return Event(kind, at(line), text or kind.value.lower(), optimizers)


BACKWARD = event(EventKind.BACKWARD, 25, 1, text="loss.backward()")
STEP = event(EventKind.OPTIMIZER_STEP, 26, 1)
CLEAR = event(EventKind.ZERO_GRAD, 22, 1)
LOOP = TrainingLoop(at(20), ((BACKWARD, STEP),), True, (ADAM,), (), None)


def test_missing_zero_grad() -> None:
    finding = only("missing-zero-grad", LOOP)
    assert finding.span == at(26)
    assert finding.message == "`optimizer` steps on gradients that are never cleared"
    assert finding.primary_order == 2
    assert [(note.span, note.order) for note in finding.related] == [(at(25), 1)]
    assert finding.help == "call optimizer.zero_grad() before `loss.backward()`, for every batch"


def test_missing_zero_grad_cleared_outside_of_the_loop() -> None:
    finding = only("missing-zero-grad", replace(LOOP, cleared_outside=(replace(CLEAR, place=at(19)),)))
    assert "not cleared in this loop, only outside of it" in finding.message
    assert labels(finding)[1] == "cleared here, outside of this loop"


def test_missing_zero_grad_of_one_optimizer_of_two() -> None:
    both = event(EventKind.BACKWARD, 25, 1, 2)
    events = (event(EventKind.ZERO_GRAD, 22, 2), both, STEP, event(EventKind.OPTIMIZER_STEP, 27, 2))
    finding = only("missing-zero-grad", replace(LOOP, passes=(events,), optimizers=(ADAM, OTHER)))
    assert "`optimizer`" in finding.message


def test_missing_zero_grad_in_one_branch() -> None:
    plain = event(EventKind.OPTIMIZER_STEP, 36, 1)
    passes = ((CLEAR, BACKWARD, STEP), (event(EventKind.BACKWARD, 35, 1), plain))
    assert only("missing-zero-grad", replace(LOOP, passes=passes)).span == at(36)


def test_missing_zero_grad_of_an_optimizer_nobody_made_is_likely() -> None:
    loop = replace(LOOP, optimizers=(replace(ADAM, kind="", place=None),))
    assert only("missing-zero-grad", loop).certainty is Certainty.LIKELY


@pytest.mark.parametrize(
    "loop",
    [
        replace(LOOP, passes=((CLEAR, BACKWARD, STEP),)),
        replace(LOOP, passes=((BACKWARD, STEP, CLEAR),)),
        replace(LOOP, passes=((BACKWARD, STEP), (CLEAR, BACKWARD, STEP))),
        replace(LOOP, passes=((BACKWARD,), (BACKWARD, STEP, CLEAR))),
        replace(LOOP, passes=((replace(CLEAR, optimizers=()), BACKWARD, STEP),)),
        replace(LOOP, passes=((event(EventKind.UNKNOWN_CALL, 23, 1), BACKWARD, STEP),)),
        replace(LOOP, passes=((event(EventKind.UNKNOWN_CALL, 23), BACKWARD, STEP),)),
        replace(LOOP, passes=((BACKWARD,),)),
        replace(LOOP, passes=((STEP, BACKWARD),)),
        replace(LOOP, passes=((replace(BACKWARD, optimizers=(2,)), STEP),)),
        replace(LOOP, passes=()),
        replace(LOOP, complete=False),
        replace(LOOP, framework="accelerate"),
        replace(LOOP, optimizers=()),
        replace(LOOP, optimizers=(replace(ADAM, kind="LBFGS"),)),
        replace(LOOP, optimizers=(replace(ADAM, place=at(21)),)),  # made anew in every pass
    ],
)
def test_missing_zero_grad_stays_silent(loop: TrainingLoop) -> None:
    assert run("missing-zero-grad", loop) == []


def test_an_unknown_call_about_another_optimizer_hides_nothing() -> None:
    assert run("missing-zero-grad", replace(LOOP, passes=((event(EventKind.UNKNOWN_CALL, 23, 2), BACKWARD, STEP),)))


# Device


def device(name: str, constant: object, text: str = "") -> TorchCall:
    return replace(DROPOUT, name=name, text=name, arguments=(argument("device", constant, text),), module_class=None)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("gpu", "cuda"),
        ("gpu:1", "cuda:1"),
        ("cuda0", "cuda:0"),
        ("CUDA", "cuda"),
        ("Cuda:1", "cuda:1"),
        ("cuda 0", "cuda:0"),
    ],
)
def test_invalid_device(given: str, meant: str) -> None:
    finding = only("invalid-device", device("torch.device", given))
    assert finding.message == f'torch knows no device `"{given}"`'
    assert finding.help == f'write "{meant}"'
    assert finding.span == at(31, column=40)


def test_invalid_device_in_one_arm_of_a_choice() -> None:
    text = '"gpu" if torch.cuda.is_available() else "cpu"'
    assert 'device `"gpu"`' in only("invalid-device", device("torch.device", UNKNOWN, text)).message


def test_invalid_device_by_position() -> None:
    call = replace(device("torch.Tensor.to", "gpu"), arguments=(argument("*0", "gpu"),))
    assert len(run("invalid-device", call)) == 1
    assert run("invalid-device", replace(call, name="torch.load")) == []


@pytest.mark.parametrize(
    "constant",
    [
        "cpu",
        "cuda",
        "cuda:0",
        "mps",
        "xpu",
        "meta",
        "hpu",
        "npu",
        "npu:3",
        "privateuseone",
        "",
        "mine",
        "fp16",
        0,
        None,
    ],
)
def test_invalid_device_stays_silent(constant: object) -> None:
    assert run("invalid-device", device("torch.device", constant)) == []


def test_invalid_device_needs_a_known_string() -> None:
    assert run("invalid-device", device("torch.device", UNKNOWN, "args.device")) == []
    assert run("invalid-device", device("torch.device", UNKNOWN, '"gpu" + suffix')) == []
    assert run("invalid-device", replace(device("torch.device", ""), arguments=(argument("name", "gpu"),))) == []


MOVED = DeviceState("device", at(17), True)
MISMATCH = replace(TRAINING, modes=(BORN,), model_device=MOVED, input_unmoved=True)


def test_device_mismatch() -> None:
    finding = only("device-mismatch", MISMATCH)
    assert finding.message == "`model` is on `device`, `x` is still on the CPU"
    assert labels(finding) == ["moved to `device` here", "comes from here, on the CPU"]
    assert finding.help == "move every batch too: x = x.to(device)"
    cuda = replace(MISMATCH, model_device=replace(MOVED, device="cuda"))
    assert 'x.to("cuda")' in only("device-mismatch", cuda).help


def test_device_mismatch_the_other_way_round() -> None:
    use = replace(MISMATCH, model_device=None, input_unmoved=False, input_device=MOVED, model_unmoved=True)
    finding = only("device-mismatch", replace(use, input_device=replace(MOVED, place=at(23))))
    assert finding.message == "`x` is on `device`, `model` is still on the CPU"
    assert "model.to(device)" in finding.help


def test_device_mismatch_is_said_once_for_one_move_at_the_training() -> None:
    evaluation = replace(MISMATCH, place=at(11), functions=("validate",), backwarded=False)
    finding = only("device-mismatch", evaluation, MISMATCH)
    assert finding.span == at(24)
    assert finding.notes == ("same cause at train.py:11:5",)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_device": replace(MOVED, may_be_other_than_cpu=False)},
        {"model_device": None},
        {"input_unmoved": False},
        {"input_unmoved": False, "input_device": MOVED},
        {"model_device": None, "input_unmoved": False, "input_device": MOVED},
        {"model_device": None, "input_device": replace(MOVED, may_be_other_than_cpu=False), "model_unmoved": True},
        {"framework": "accelerate"},
    ],
)
def test_device_mismatch_stays_silent(changes: dict[str, Any]) -> None:
    assert run("device-mismatch", replace(MISMATCH, **changes)) == []


def test_every_rule_has_a_test_here() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_rules_on_*.py"))
    missing = [name for name, rule in all_rules().items() if "source" in rule.sides and f'"{name}"' not in source]
    assert missing == []
