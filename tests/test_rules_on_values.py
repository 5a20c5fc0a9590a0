"""Rules about kinds of values at losses and about dropped values: on facts made by hand, and the facts themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from small_programs import Program

from modellint.catalog import all_rules
from modellint.facts.data_attribute import DataAttribute
from modellint.facts.discarded_value import DiscardedValue
from modellint.facts.log_use import LogUse
from modellint.facts.loss_use import Expects, LossUse, OutputKind, Source, Step
from modellint.facts.model import ModelRef
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.facts.threshold_use import ThresholdUse
from modellint.facts.torch_call import UNKNOWN, Argument, TorchCall
from modellint.finding import Certainty, Finding, Level
from modellint.judge import judge


def at(line: int, path: str = "train.py") -> Span:
    return Span(path, line, 5, line, 15)


def run(rule: str, *facts: object) -> list[Finding]:
    """What one rule says about some facts."""
    findings, failures = judge(facts, [all_rules()[rule]()])
    assert failures == []
    return findings


def only(rule: str, *facts: object) -> Finding:
    (finding,) = run(rule, *facts)
    return finding


MODEL = ModelRef(1, "model", "Net", at(5, "net.py"), at(17), "", True, (), False, True)
USE = LossUse(
    place=at(24),
    loss="CrossEntropyLoss",
    loss_text="criterion",
    loss_place=at(18),
    expects=Expects.CLASS_LOGITS,
    input=OutputKind.LOGITS,
    maker="torch.relu",
    maker_place=at(16, "net.py"),
    steps=(Step(at(16, "net.py"), "torch.relu"),),
    model=MODEL,
    model_place=at(23),
    classes=None,
    softmax_dim=None,
    trains=True,
    target=OutputKind.UNKNOWN,
)
RUN = RunEvidence(times=4, watched=4, what="batches", first_step=0)

# log-softmax-before-cross-entropy

LOG_SOFTMAX = replace(USE, input=OutputKind.LOG_PROBABILITIES, softmax_dim=1)


def test_log_softmax_before_cross_entropy() -> None:
    finding = only("log-softmax-before-cross-entropy", LOG_SOFTMAX)
    assert finding.message == "`CrossEntropyLoss` is given log-probabilities, it takes raw scores"
    assert finding.level is Level.NOTE


@pytest.mark.parametrize(
    "change",
    [
        {"softmax_dim": 0},
        {"feeds_log_loss": True},
        {"label_smoothing": True},
        {"target": OutputKind.DISTRIBUTION},
        {"input": OutputKind.LOGITS},
        {"expects": Expects.LOG_PROBABILITIES},
    ],
    ids=lambda change: next(iter(change)),
)
def test_log_softmax_stays_silent(change: dict[str, Any]) -> None:
    assert run("log-softmax-before-cross-entropy", replace(LOG_SOFTMAX, **change)) == []


# kl-div-input-not-log

KL = replace(USE, loss="KLDivLoss", expects=Expects.LOG_PROBABILITIES, input=OutputKind.LOG_PROBABILITIES,
             log_target=False, reduction="mean")  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (OutputKind.DISTRIBUTION, "is probabilities"),
        (OutputKind.PROBABILITIES, "is probabilities"),
        (OutputKind.LOGITS, "is raw scores"),
    ],
)
def test_kl_div_input_that_is_not_a_logarithm(kind: OutputKind, words: str) -> None:
    assert words in only("kl-div-input-not-log", replace(KL, input=kind)).message


def test_kl_div_target_that_is_a_logarithm() -> None:
    finding = only("kl-div-input-not-log", replace(KL, target=OutputKind.LOG_PROBABILITIES))
    assert finding.message == "the target of `KLDivLoss` is log-probabilities, it needs probabilities"
    assert "log_target=True" in finding.help


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"target": OutputKind.LOG_PROBABILITIES, "log_target": True},
        {"target": OutputKind.LOG_PROBABILITIES, "log_target": None},
        {"target": OutputKind.DISTRIBUTION},
        {"input": OutputKind.UNKNOWN},
        {"input": OutputKind.LOGITS, "model": None},
        {"input": OutputKind.DISTRIBUTION, "loss": "NLLLoss"},
    ],
)
def test_kl_div_stays_silent(change: dict[str, Any]) -> None:
    assert run("kl-div-input-not-log", replace(KL, **change)) == []


# relu-before-loss


@pytest.mark.parametrize(
    ("kind", "expects", "words"),
    [
        (OutputKind.NON_NEGATIVE, Expects.CLASS_LOGITS, "cannot go below 0"),
        (OutputKind.NON_NEGATIVE, Expects.BINARY_LOGITS, "below 0.5"),
        (OutputKind.TANH, Expects.CLASS_LOGITS, "below 0.797"),
        (OutputKind.TANH, Expects.BINARY_LOGITS, "[0.269, 0.731]"),
        (OutputKind.PROBABILITIES, Expects.CLASS_LOGITS, "below 1.461"),
    ],
)
def test_relu_before_loss_says_what_is_lost(kind: OutputKind, expects: Expects, words: str) -> None:
    assert words in only("relu-before-loss", replace(USE, input=kind, expects=expects)).why


@pytest.mark.parametrize(
    ("kind", "expects"),
    [
        (OutputKind.NON_NEGATIVE, Expects.RAW),
        (OutputKind.TANH, Expects.RAW),
        (OutputKind.NON_NEGATIVE, Expects.OTHER),
        (OutputKind.PROBABILITIES, Expects.BINARY_LOGITS),
        (OutputKind.UNKNOWN, Expects.CLASS_LOGITS),
        (OutputKind.LOGITS, Expects.BINARY_LOGITS),
    ],
)
def test_relu_before_loss_stays_silent(kind: OutputKind, expects: Expects) -> None:
    assert run("relu-before-loss", replace(USE, input=kind, expects=expects)) == []


# kl-div-mean-reduction


def test_kl_div_mean_reduction() -> None:
    finding = only("kl-div-mean-reduction", KL)
    assert finding.message == "`KLDivLoss` averages over the classes: `reduction` is `mean` by default"
    assert "number of classes C: it is C times too small" in finding.why
    kept = only("kl-div-mean-reduction", replace(KL, trains=False, tempered=True))
    assert kept.certainty is Certainty.LIKELY
    said = only("kl-div-mean-reduction", replace(KL, reduction_given=True, classes=10))
    assert said.message == "`KLDivLoss` averages over the classes"
    assert "10 classes: it is 10 times too small" in said.why


@pytest.mark.parametrize(
    "change",
    [
        {"reduction": "batchmean"},
        {"reduction": "sum"},
        {"reduction": ""},
        {"scaled": True},
        {"trains": False},
        {"recorded": False},
        {"loss": "NLLLoss"},
        {"run": RUN},
    ],
    ids=lambda change: f"{next(iter(change))}-{next(iter(change.values()))}"[:20],
)
def test_kl_div_mean_reduction_stays_silent(change: dict[str, Any]) -> None:
    assert run("kl-div-mean-reduction", replace(KL, **change)) == []


# swapped-loss-arguments

SWAPPED = replace(
    USE, loss="BCELoss", expects=Expects.PROBABILITIES, input=OutputKind.UNKNOWN, input_source=Source.DATA,
    target_source=Source.TRAINED_MODEL,
)  # fmt: skip


def test_swapped_loss_arguments() -> None:
    finding = only("swapped-loss-arguments", SWAPPED)
    assert finding.message == "`criterion` is given its target as input and the prediction as target"
    assert finding.certainty is Certainty.CERTAIN


def test_a_teacher_in_front_is_likely_and_certain_where_the_kinds_do_not_fit() -> None:
    use = replace(KL, input_source=Source.FIXED_MODEL, target_source=Source.TRAINED_MODEL)
    assert only("swapped-loss-arguments", use).certainty is Certainty.LIKELY
    wrong = replace(use, target=OutputKind.LOG_PROBABILITIES)
    assert only("swapped-loss-arguments", wrong).certainty is Certainty.CERTAIN


@pytest.mark.parametrize(
    "change",
    [
        {"loss": "MSELoss"},
        {"loss": "F.l1_loss"},
        {"input_source": Source.UNKNOWN},
        {"input_source": Source.TRAINED_MODEL},
        {"target_source": Source.UNKNOWN},
        {"target_source": Source.FIXED_MODEL},
        {"trains": False},
        {"recorded": False},
        {"reconstructs": True},
        {"loss": "F.kl_div", "reversal_stated": True},
        {"run": RUN},
    ],
)
def test_swapped_loss_arguments_stays_silent(change: dict[str, Any]) -> None:
    assert run("swapped-loss-arguments", replace(SWAPPED, **change)) == []


# unstable-log

LOG = LogUse(at(9), "torch.log(torch.softmax(x, dim=1))", "softmax", None, True, True, False)


@pytest.mark.parametrize(
    ("of", "better"), [("softmax", "log_softmax"), ("sigmoid", "logsigmoid"), ("sum of exp", "logsumexp")]
)
def test_unstable_log(of: str, better: str) -> None:
    assert better in only("unstable-log", replace(LOG, of=of)).help


@pytest.mark.parametrize("change", [{"single_use": False}, {"recorded": False}, {"double": True}], ids=str)
def test_unstable_log_stays_silent(change: dict[str, Any]) -> None:
    assert run("unstable-log", replace(LOG, **change)) == []


# sigmoid-with-mse

SQUARED = replace(USE, loss="MSELoss", expects=Expects.RAW, input=OutputKind.PROBABILITIES, whole_target=True)


def test_sigmoid_with_mse() -> None:
    assert "BCEWithLogitsLoss" in only("sigmoid-with-mse", SQUARED).help
    assert " CrossEntropyLoss" in only("sigmoid-with-mse", replace(SQUARED, input=OutputKind.DISTRIBUTION)).help


@pytest.mark.parametrize(
    "change",
    [{"whole_target": False}, {"trains": False}, {"loss": "L1Loss"}, {"input": OutputKind.LOGITS}],
    ids=str,
)
def test_sigmoid_with_mse_stays_silent(change: dict[str, Any]) -> None:
    assert run("sigmoid-with-mse", replace(SQUARED, **change)) == []


# probabilities-as-logits

GIVEN = Argument("logits", "p", at(9), UNKNOWN, False, (), OutputKind.DISTRIBUTION, "F.softmax", at(7))
DISTRIBUTION = TorchCall(
    name="torch.distributions.Categorical",
    place=at(9),
    text="Categorical",
    arguments=(GIVEN,),
    open_arguments=False,
    receiver=None,
    receiver_kind=None,
    module_class=None,
    function=None,
    training_only=False,
    stochastic_on_purpose=False,
    delegating=False,
    framework=None,
    in_test_suite=False,
)


@pytest.mark.parametrize(
    ("name", "argument", "words"),
    [
        ("torch.distributions.Categorical", "logits", "0.232"),
        ("torch.distributions.categorical.Categorical", "*1", "0.232"),
        ("torch.distributions.Bernoulli", "*1", "[0.500, 0.731]"),
        ("torch.distributions.Binomial", "*2", "[0.500, 0.731]"),
        ("torch.nn.functional.gumbel_softmax", "logits", "0.232"),
    ],
)
def test_probabilities_as_logits(name: str, argument: str, words: str) -> None:
    call = replace(DISTRIBUTION, name=name, arguments=(replace(GIVEN, name=argument),))
    finding = only("probabilities-as-logits", call)
    assert words in finding.why
    assert [note.span for note in finding.related] == [at(7)]


@pytest.mark.parametrize(
    ("name", "argument", "kind"),
    [
        ("torch.distributions.Categorical", "probs", OutputKind.DISTRIBUTION),
        ("torch.distributions.Categorical", "*0", OutputKind.DISTRIBUTION),
        ("torch.distributions.Binomial", "*1", OutputKind.PROBABILITIES),
        ("torch.distributions.Categorical", "logits", OutputKind.LOG_PROBABILITIES),
        ("torch.distributions.Categorical", "logits", OutputKind.UNKNOWN),
        ("torch.distributions.Normal", "*1", OutputKind.DISTRIBUTION),
        ("torch.softmax", "logits", OutputKind.DISTRIBUTION),
    ],
)
def test_probabilities_as_logits_stays_silent(name: str, argument: str, kind: OutputKind) -> None:
    call = replace(DISTRIBUTION, name=name, arguments=(replace(GIVEN, name=argument, kind=kind),))
    assert run("probabilities-as-logits", call) == []


# padding-in-loss

PADDED = replace(USE, target_padding=0.0, ignored=-100.0, reduction="mean")


def test_padding_in_loss() -> None:
    finding = only("padding-in-loss", PADDED)
    assert finding.message == "`criterion` counts padded positions: they hold 0, it leaves out -100"


@pytest.mark.parametrize(
    "change",
    [
        {"target_padding": None},
        {"ignored": None},
        {"ignored": 0.0},
        {"reduction": "none"},
        {"trains": False},
        {"loss": "MSELoss"},
        {"run": RUN},
    ],
)
def test_padding_in_loss_stays_silent(change: dict[str, Any]) -> None:
    assert run("padding-in-loss", replace(PADDED, **change)) == []


# threshold-on-logits

THRESHOLD = ThresholdUse(
    at(30), "scores > 0.5", "> 0.5", MODEL, "Linear(8, 1)", at(9, "net.py"), "BCEWithLogitsLoss", at(24), True
)


def test_threshold_on_logits() -> None:
    finding = only("threshold-on-logits", THRESHOLD)
    assert "0.622" in finding.label
    assert "compare with 0" in finding.help
    assert [note.span for note in finding.related] == [at(24), at(9, "net.py")]
    assert "compare with 0" not in only("threshold-on-logits", replace(THRESHOLD, test="round")).help


def test_a_threshold_on_what_is_not_trained_is_silent() -> None:
    assert run("threshold-on-logits", replace(THRESHOLD, trains=False)) == []


# discarded-result, no-grad-without-effect

DROPPED = DiscardedValue(
    at(9), "x.to(device)", "x", "tensor", "to", None, None, role="tensor", known=True, read_later=True
)


def test_discarded_result() -> None:
    finding = only("discarded-result", DROPPED)
    assert finding.message == "the result of `x.to(device)` is dropped"
    assert finding.label == "the tensor stays where it was"
    unread = replace(DROPPED, role="unread", attribute="F.dropout", name="h")
    assert only("discarded-result", unread).message == "`h` is never read: `x` is used without `F.dropout`"


@pytest.mark.parametrize(
    "change",
    [{"known": False}, {"read_later": False}, {"excused": True}, {"role": ""}, {"role": "context"}],
    ids=str,
)
@pytest.mark.parametrize("role", ["tensor", "layer", "unread"])
def test_discarded_result_stays_silent(role: str, change: dict[str, Any]) -> None:
    assert run("discarded-result", replace(replace(DROPPED, role=role), **change)) == []


def test_no_grad_without_effect() -> None:
    context = replace(DROPPED, text="torch.no_grad()", role="context", attribute="torch.no_grad", receiver="no_grad")
    assert only("no-grad-without-effect", context).message == "`torch.no_grad()` is made but never entered"
    assert run("no-grad-without-effect", replace(context, excused=True)) == []
    assert run("no-grad-without-effect", replace(context, role="")) == []
    on_class = replace(context, role="class", receiver="Net")
    assert "the class `Net`" in only("no-grad-without-effect", on_class).message


# data-attribute


def test_data_attribute() -> None:
    read = DataAttribute(at(9), "loss.data", "loss", False, True)
    assert only("data-attribute", read).help == "write `loss.item()`"
    other = replace(read, read_as_number=False, in_forward=True)
    assert only("data-attribute", other).help == "write `loss.detach()`"


# The facts


def kl(program: Program, line: str, head: str = "") -> LossUse:
    source = f"""
    model, teacher, x = nn.Linear(4, 3), nn.Linear(4, 3), torch.randn(8, 4)
    p, q = model(x).log_softmax(1), teacher(x).softmax(1).detach()
    T, C, a = 3.0, int(input()), float(input())
    {head}
    loss = {line}
    loss.backward()
    """
    return program.one(LossUse, source)


@pytest.mark.parametrize(
    ("line", "scaled"),
    [
        ("F.kl_div(p, q)", False),
        ("F.kl_div(p, q) * T * T", False),
        ("F.kl_div(p, q) * T ** 2", False),
        ("(a * T * T) * F.kl_div(p, q)", True),
        ("F.kl_div(p, q) * a + (1 - a) * x.sum()", False),
        ("F.kl_div(p, q) * 0.5", False),
        ("F.kl_div(p, q) * (T * T * 2.0 * a) + (1.0 - a) * x.sum()", False),
        ("F.kl_div(p, q) * (1 - a)", False),
        ("F.kl_div(p, q) / 4", False),
        ("F.kl_div(p, q) * C", True),
        ("p.size(1) * F.kl_div(p, q)", True),
        ("F.kl_div(p, q) * 3", True),
    ],
)
def test_what_a_divergence_is_multiplied_by(program: Program, line: str, scaled: bool) -> None:
    use = kl(program, line)
    assert use.scaled is scaled
    assert use.tempered is ("T" in line)


@pytest.mark.parametrize(
    ("line", "reduction", "given"),
    [
        ("F.kl_div(p, q)", "mean", False),
        ("F.kl_div(p, q, reduction='batchmean')", "batchmean", True),
        ("nn.KLDivLoss(reduction='sum')(p, q)", "sum", True),
        ("nn.KLDivLoss(None, None, 'mean')(p, q)", "mean", True),
        ("F.kl_div(p, q, reduction=input())", "", True),
        ("F.kl_div(p, q, size_average=False)", "", False),
    ],
)
def test_how_a_loss_is_reduced(program: Program, line: str, reduction: str, given: bool) -> None:
    use = kl(program, line)
    assert (use.reduction, use.reduction_given) == (reduction, given)


@pytest.mark.parametrize(
    ("line", "log_target"),
    [
        ("F.kl_div(p, q)", False),
        ("F.kl_div(p, q, log_target=True)", True),
        ("nn.KLDivLoss(log_target=bool(input()))(p, q)", None),
        ("F.kl_div(p, q, **options)", None),
    ],
)
def test_whether_a_target_is_a_logarithm(program: Program, line: str, log_target: bool | None) -> None:
    assert kl(program, line, "options = eval(input())").log_target is log_target


def test_where_the_tensors_of_a_loss_come_from(program: Program) -> None:
    use = program.one(
        LossUse,
        """
        model, teacher = nn.Linear(4, 3), nn.Linear(4, 3)
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(8, 4), torch.rand(8, 3)))
        for x, y in loader:
            F.binary_cross_entropy(y.float(), model(x.view(-1, 4))).backward()
        """,
    )
    assert (use.input_source, use.target_source, use.reconstructs) == (Source.DATA, Source.TRAINED_MODEL, False)


@pytest.mark.parametrize(
    ("call", "source"),
    [("teacher(x)", Source.TRAINED_MODEL), ("still(x)", Source.FIXED_MODEL), ("read(x)", Source.UNKNOWN)],
)
def test_a_model_counts_as_fixed_only_without_gradients(program: Program, call: str, source: Source) -> None:
    use = program.one(
        LossUse,
        f"""
        model, teacher, x = nn.Linear(4, 3), nn.Linear(4, 3), torch.randn(8, 4)
        @torch.no_grad()
        def still(x):
            return teacher(x)
        F.kl_div({call}, model(x)).backward()
        """,
    )
    assert use.input_source is source


def test_the_input_of_the_model_as_its_target_is_a_reconstruction(program: Program) -> None:
    use = program.one(
        LossUse,
        """
        model, x = nn.Linear(4, 4), torch.rand(8, 4)
        F.binary_cross_entropy(x, model(x.view(8, 4))).backward()
        """,
    )
    assert use.reconstructs


@pytest.mark.parametrize(
    ("target", "whole"),
    [
        ("torch.randint(0, 2, (4, 1)).float()", True),
        ("torch.tensor([[0.0], [1.0]])", True),
        ("F.one_hot(torch.arange(3)).float().view(3, 3)", True),
        ("(x > 0).float()", True),
        ("x.argmax(1)", True),
        ("torch.tensor([[0.5], [1.0]])", False),
        ("torch.ones(4, 1)", False),
        ("torch.randint(0, 2, (4, 1)) * 0.9", False),
        ("torch.sigmoid(torch.randint(0, 2, (4, 1)).float())", False),
        ("x", False),
    ],
)
def test_which_targets_are_labels(program: Program, target: str, whole: bool) -> None:
    use = program.one(LossUse, f"x = torch.randn(4, 3)\nF.mse_loss(torch.sigmoid(x), {target})")
    assert use.whole_target is whole


@pytest.mark.parametrize(
    ("expression", "of", "single"),
    [
        ("torch.log(torch.softmax(y, dim=1))", "softmax", True),
        ("y.softmax(1).log()", "softmax", True),
        ("torch.sigmoid(y).squeeze().log()", "sigmoid", True),
        ("torch.log(y.exp().sum(1))", "sum of exp", True),
        ("p.log()", "softmax", True),
        ("p.log() * p", "softmax", False),
        ("twice.log()", "softmax", False),
    ],
)
def test_logarithms(program: Program, expression: str, of: str, single: bool) -> None:
    use = program.one(
        LogUse,
        f"""
        y = nn.Linear(4, 3)(torch.randn(8, 4))
        p = y.softmax(1)
        twice = y.softmax(1)
        twice = twice if input() else y.softmax(1)
        print({expression})
        """,
    )
    assert (use.of, use.single_use, use.recorded) == (of, single, True)


@pytest.mark.parametrize(
    "expression",
    [
        "torch.log(y)",
        "(y.softmax(1) + 1e-8).log()",
        "y.sigmoid().clamp(1e-6).log()",
        "x.exp().sum(1).log()",
        "y.log1p()",
    ],
)
def test_other_logarithms_are_no_facts(program: Program, expression: str) -> None:
    source = f"x = torch.randn(8, 4)\ny = nn.Linear(4, 3)(x)\nprint({expression})"
    assert program.all(LogUse, source) == []


@pytest.mark.parametrize(
    ("statement", "role", "known", "read_later"),
    [
        ("x.to('cpu')", "tensor", True, True),
        ("torch.clamp(x, 0, 1)", "tensor", True, True),
        ("nn.functional.relu(x)", "tensor", True, True),
        ("x.view(2, 2).float()", "tensor", True, True),
        ("unread.to('cpu')", "tensor", True, False),
        ("drop(x)", "layer", True, True),
        ("torch.no_grad()", "context", True, True),
    ],
)
def test_dropped_results(program: Program, statement: str, role: str, known: bool, read_later: bool) -> None:
    value = program.one(
        DiscardedValue,
        f"""
        drop = nn.Dropout()

        def use():
            x, unread = torch.ones(4), torch.ones(4)
            {statement}
            return x
        """,
    )
    assert (value.role, value.known, value.read_later, value.excused) == (role, known, read_later, False)


@pytest.mark.parametrize(
    ("data", "known"),
    [("given", False), ("torch.utils.data.TensorDataset(torch.ones(4))", True)],
)
def test_a_batch_is_a_tensor_for_sure_where_its_samples_are(program: Program, data: str, known: bool) -> None:
    value = program.one(
        DiscardedValue,
        f"""
        def use(given):
            for (x,) in torch.utils.data.DataLoader({data}):
                x.to("cuda")
                print(x)
        """,
    )
    assert value.known is known


@pytest.mark.parametrize(
    "statement",
    ["x.relu_()", "F.relu(x, inplace=True)", "F.dropout(x, 0.5, True)", "torch.add(x, 1, out=x)", "x.sum()",
     "nn.Linear(4, 4)(x)", "nn.ReLU(True)(x)", "nn.Linear(4, 4).to('cpu')", "torch.set_grad_enabled(False)",
     "x.add_(1).view(2, 2)", "print(x)"],
)  # fmt: skip
def test_statements_with_an_effect_are_no_facts(program: Program, statement: str) -> None:
    assert program.all(DiscardedValue, f"x = torch.ones(4)\n{statement}\nprint(x)") == []


@pytest.mark.parametrize(
    "around",
    ["try:\n    x.view(3)\nexcept RuntimeError:\n    pass", "with pytest.raises(RuntimeError):\n    x.view(3)",
     "start = time.time()\nx.view(3)"],
)  # fmt: skip
def test_statements_that_are_watched_are_excused(program: Program, around: str) -> None:
    value = program.one(DiscardedValue, f"import time\nimport pytest\nx = torch.ones(4)\n{around}\nprint(x)")
    assert value.excused


def test_a_name_that_holds_a_dropped_layer(program: Program) -> None:
    value = program.one(
        DiscardedValue,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(4, 4)
                self.drop = nn.Dropout()

            def forward(self, x):
                h = self.fc(x)
                unread = self.drop(h)
                read = self.drop(h)
                return self.fc(h) + read

        Net()(torch.randn(2, 4))
        """,
    )
    assert (value.role, value.name, value.receiver, value.attribute) == ("unread", "unread", "h", "Dropout")
    assert value.known
    assert value.read_later


@pytest.mark.parametrize(
    ("expression", "in_forward"), [("model(x).data", False), ("(model(x) * 2).data", False), ("Net()(x)", True)]
)
def test_reads_of_data(program: Program, expression: str, in_forward: bool) -> None:
    read = program.one(
        DataAttribute,
        f"""
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(4, 2)

            def forward(self, x):
                return self.fc(x).data

        model, x = nn.Linear(4, 2), torch.randn(8, 4)
        {expression}
        """
        if in_forward
        else f"model, x = nn.Linear(4, 2), torch.randn(8, 4)\n{expression}",
    )
    assert read.in_forward is in_forward


@pytest.mark.parametrize("expression", ["model.weight.data", "given.data", "next(model.parameters()).data"])
def test_data_of_parameters_and_of_what_is_unknown_is_no_fact(program: Program, expression: str) -> None:
    source = f"model = nn.Linear(4, 2)\ndef read(given):\n    return {expression}"
    assert program.all(DataAttribute, source) == []


TRAINED = """
model, x, y = nn.Linear(4, 1), torch.randn(8, 4), torch.rand(8, 1)
F.binary_cross_entropy_with_logits(model(x), y).backward()
"""


@pytest.mark.parametrize(
    ("expression", "test"),
    [
        ("model(x) > 0.5", "> 0.5"),
        ("0.5 <= model(x)", ">= 0.5"),
        ("model(x).squeeze().ge(0.5)", ">= 0.5"),
        ("torch.gt(model(x), 0.5)", "> 0.5"),
        ("torch.round(model(x))", "round"),
        ("model(x).round()", "round"),
    ],
)
def test_thresholds(program: Program, expression: str, test: str) -> None:
    use = program.one(ThresholdUse, f"{TRAINED}print({expression})")
    assert (use.test, use.trains, use.loss) == (test, True, "F.binary_cross_entropy_with_logits")


@pytest.mark.parametrize(
    "expression",
    ["model(x) > 0", "model(x).sigmoid() > 0.5", "model(x) > 0.4", "nn.Linear(4, 1)(x) > 0.5", "x > 0.5",
     "(model(x) + 0.5) > 0.5", "model(x).round(decimals=2)"],
)  # fmt: skip
def test_other_comparisons_are_no_thresholds(program: Program, expression: str) -> None:
    assert program.all(ThresholdUse, f"{TRAINED}print({expression})") == []
