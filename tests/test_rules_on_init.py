"""The rules about initial, loaded, frozen and copied weights: on facts made by hand, and the facts by themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_programs import Program

from modellint.catalog import all_rules
from modellint.facts.decayed_norms import DecayedNorms
from modellint.facts.embedding_table import EmbeddingTable
from modellint.facts.init_pass import InitPass, PassedOver
from modellint.facts.initial_spread import InitialSpread, SpreadLayer
from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.norm_use import NormUse
from modellint.facts.overwritten_load import OverwrittenLoad
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.facts.state_copy import StateCopy
from modellint.facts.teacher_forward import TeacherForward
from modellint.facts.unfilled_parameter import UnfilledParameter
from modellint.finding import Finding
from modellint.judge import judge


def at(line: int, path: str = "train.py") -> Span:
    return Span(path, line, 5, line, 15)


def layer(name: str, kind: str = "Linear", line: int = 8) -> LayerRef:
    return LayerRef(name, f"{kind}(8)", kind, at(line, "net.py"))


def run(rule: str, fact: object) -> list[Finding]:
    """What one rule says about a fact."""
    findings, failures = judge([fact], [all_rules()[rule]()])
    assert failures == []
    return findings


def only(rule: str, fact: object) -> Finding:
    (finding,) = run(rule, fact)
    return finding


MODEL = ModelRef(
    key=1,
    text="model",
    class_name="Net",
    class_place=at(5, "net.py"),
    place=at(17),
    arguments="",
    complete=True,
    mode_dependent=(layer("drop", "Dropout"),),
    certain_mode_dependent=True,
)
SEEN = RunEvidence(4, 4, 0)

# uninitialized-parameter

RAW = UnfilledParameter(at(9), "nn.Parameter(torch.empty(4))", MODEL, "encoder.scale", "Encoder", False, False)


def test_a_parameter_that_nothing_filled_is_reported() -> None:
    finding = only("uninitialized-parameter", RAW)
    assert finding.span == at(9)
    assert "`scale` of `Encoder`" in finding.message
    assert "self.scale" in finding.help


@pytest.mark.parametrize("change", [{"may_be_filled": True}, {"in_test_suite": True}], ids=str)
def test_a_parameter_that_may_be_filled_is_not(change: dict[str, bool]) -> None:
    assert run("uninitialized-parameter", replace(RAW, **change)) == []


# init-overwrites-pretrained

LOST = OverwrittenLoad(
    place=at(20),
    text="model.apply(init)",
    fill_place=at(6),
    fill_text="nn.init.normal_(m.weight)",
    model=MODEL,
    load_place=at(19),
    load_text="model.load_state_dict(state)",
    layers=(layer("a"), layer("b")),
    loaded_layers=3,
    reloaded=False,
    library=False,
    in_test_suite=False,
)


def test_an_init_of_most_loaded_layers_is_reported_with_the_load() -> None:
    finding = only("init-overwrites-pretrained", LOST)
    assert "`a, b` of `Net`" in finding.message
    assert [note.span for note in finding.related] == [at(19), at(6)]
    of_library = replace(LOST, library=True, layers=(layer("", "Conv2d"),), loaded_layers=1, fill_place=at(20))
    finding = only("init-overwrites-pretrained", of_library)
    assert "the convolutions of `Net`" in finding.message
    assert [note.span for note in finding.related] == [at(19)]


@pytest.mark.parametrize(
    "change",
    [{"reloaded": True}, {"in_test_suite": True}, {"loaded_layers": 4}, {"layers": (layer("a"),), "loaded_layers": 1}],
    ids=lambda change: next(iter(change)),
)
def test_an_init_of_a_head_or_before_a_load_is_not(change: dict[str, object]) -> None:
    assert run("init-overwrites-pretrained", replace(LOST, **change)) == []  # type: ignore[arg-type]


# exploding-init

WIDE = SpreadLayer(layer("fc1"), 400, normed=False, scaled=False, frozen=False)
SPREAD = InitialSpread(at(12), "nn.init.normal_(m.weight, 0, 1)", 1.0, (WIDE,), 1, in_test_suite=False)


def test_a_spread_is_judged_by_the_square_root_of_the_inputs() -> None:
    finding = only("exploding-init", SPREAD)
    assert "`fc1`" in finding.message
    assert "400 inputs" in finding.label
    assert "std=0.05" in finding.help
    assert run("exploding-init", replace(SPREAD, spread=0.249)) == []
    assert len(run("exploding-init", replace(SPREAD, spread=0.251))) == 1


@pytest.mark.parametrize("name", ["normed", "scaled", "frozen"])
def test_a_layer_whose_width_does_no_harm_is_left_out(name: str) -> None:
    harmless = replace(WIDE, ref=layer("fc2"), **{name: True})
    assert run("exploding-init", replace(SPREAD, layers=(harmless,))) == []
    assert "`fc1`" in only("exploding-init", replace(SPREAD, layers=(WIDE, harmless))).message


def test_small_weights_count_in_every_layer_only() -> None:
    small = replace(SPREAD, spread=1e-4, layers=(WIDE, replace(WIDE, ref=layer("fc2"))), other_layers=0)
    assert "too small" in only("exploding-init", small).message
    assert run("exploding-init", replace(small, other_layers=1)) == []
    assert run("exploding-init", replace(small, layers=(WIDE,))) == []
    assert run("exploding-init", replace(small, spread=0.0)) == []
    assert run("exploding-init", replace(SPREAD, in_test_suite=True)) == []


# missed-by-init

OVER = PassedOver(("BatchNorm2d",), at(5), "nn.init.normal_(m.weight, 1.0, 0.02)", (layer("bn", "BatchNorm1d"),))
PASS = InitPass(at(30), "init_weights", "", MODEL, (OVER,), never_called=False, in_test_suite=False)


def test_a_pass_that_misses_layers_is_reported_at_its_test() -> None:
    finding = only("missed-by-init", PASS)
    assert finding.span == at(5)
    assert "`init_weights` passes over `bn` of `Net`: it asks for BatchNorm2d only" in finding.message
    assert "BatchNorm2d and BatchNorm1d" in finding.help
    assert "1.0, 0.02" in finding.why
    assert [note.span for note in finding.related] == [at(30)]


def test_an_init_that_never_runs_is_reported_at_its_def() -> None:
    never = replace(PASS, class_name="Net", model=None, passed_over=(), never_called=True)
    finding = only("missed-by-init", never)
    assert finding.span == at(30)
    assert "nobody calls `init_weights`" in finding.message


def test_a_pass_that_reaches_everything_is_not() -> None:
    assert run("missed-by-init", replace(PASS, passed_over=())) == []
    assert run("missed-by-init", replace(PASS, in_test_suite=True)) == []


# embedding-padding-overwritten

TABLE = EmbeddingTable(at(8, "net.py"), MODEL, layer("table", "Embedding"), 0, None, False, at(11), "normal_(w)")


def test_a_filled_padding_row_is_reported_at_the_table() -> None:
    finding = only("embedding-padding-overwritten", TABLE)
    assert finding.span == at(8, "net.py")
    assert "row 0 of `table`" in finding.message
    assert [note.span for note in finding.related] == [at(11)]
    assert run("embedding-padding-overwritten", replace(TABLE, may_be_loaded=True)) == []


def test_a_run_adds_the_largest_value() -> None:
    finding = only("embedding-padding-overwritten", replace(TABLE, largest=0.25, filled_place=None, run=SEEN))
    assert "0.25" in finding.why
    assert finding.related == ()


def test_an_index_of_none_zeroes_the_whole_table() -> None:
    whole = replace(TABLE, place=at(12), padding_index=None, largest=0.0)
    finding = only("embedding-padding-overwritten", whole)
    assert finding.span == at(12)
    assert "zeroes the whole table `table`" in finding.message


# frozen-batchnorm-updating

NORM = NormUse(at(9), MODEL, layer("backbone.norm", "BatchNorm2d"), 0.1, "backbone", 2, adapter=False)


@pytest.mark.parametrize("use", [NORM, replace(NORM, frozen_passes=4, run=SEEN)], ids=["code", "run"])
def test_a_norm_that_moves_in_a_frozen_part_is_reported(use: NormUse) -> None:
    finding = only("frozen-batchnorm-updating", use)
    assert "`backbone` is frozen" in finding.message
    assert "100%" in finding.why


@pytest.mark.parametrize(
    "use",
    [
        replace(NORM, frozen_part=""),
        replace(NORM, momentum=None),
        replace(NORM, momentum=0.0),
        replace(NORM, adapter=True),
        replace(NORM, frozen_passes=3, run=SEEN),
        replace(NORM, frozen_passes=4, run=SEEN, model=replace(MODEL, complete=False)),
    ],
)
def test_a_norm_that_is_meant_to_move_is_not(use: NormUse) -> None:
    assert run("frozen-batchnorm-updating", use) == []


def test_a_norm_that_was_held_and_let_go_is_reported() -> None:
    held = replace(NORM, frozen_part="", frozen_passes=0, held_place=at(21))
    finding = only("frozen-batchnorm-updating", held)
    assert "`backbone.norm` was put in eval mode, but a later `train()`" in finding.message
    assert [note.span for note in finding.related] == [at(21)]
    assert run("frozen-batchnorm-updating", replace(held, momentum=None)) == []


# teacher-in-train-mode

TEACHER = TeacherForward(at(25), replace(MODEL, text="teacher"), "student", 1, moves=False)


@pytest.mark.parametrize("use", [TEACHER, replace(TEACHER, train_passes=4, run=SEEN)], ids=["code", "run"])
def test_a_teacher_in_train_mode_is_reported(use: TeacherForward) -> None:
    finding = only("teacher-in-train-mode", use)
    assert "`teacher` is not trained but runs in train mode while `student` learns" in finding.message


@pytest.mark.parametrize(
    "use",
    [
        replace(TEACHER, moves=True),
        replace(TEACHER, told_to_train=True),
        replace(TEACHER, train_passes=0),
        replace(TEACHER, model=replace(MODEL, mode_dependent=())),
        replace(TEACHER, model=replace(MODEL, certain_mode_dependent=False)),
        replace(TEACHER, train_passes=1, run=SEEN),
        replace(TEACHER, train_passes=3, run=SEEN),
    ],
)
def test_a_teacher_that_moves_or_is_meant_so_is_not(use: TeacherForward) -> None:
    assert run("teacher-in-train-mode", use) == []


# state-dict-alias

KEPT = StateCopy(at(14), "model.state_dict()", MODEL, 1, used_at_once=False, used_later=True, used_place=at(16))


def test_a_state_dict_that_follows_the_training_is_reported() -> None:
    finding = only("state-dict-alias", KEPT)
    assert finding.help == "copy.deepcopy(model.state_dict())"
    assert [note.span for note in finding.related] == [at(16)]
    seen = only("state-dict-alias", replace(KEPT, later_steps=3, used_place=None, run=SEEN))
    assert "3 later steps" in seen.why


@pytest.mark.parametrize(
    "state", [replace(KEPT, used_at_once=True), replace(KEPT, used_later=False), replace(KEPT, run=SEEN)]
)
def test_a_state_dict_that_is_used_at_once_is_not(state: StateCopy) -> None:
    assert run("state-dict-alias", state) == []


# weight-decay-on-norm

DECAY = DecayedNorms(at(18), "AdamW", 0.01, False, MODEL, (layer("norm", "LayerNorm"),), in_test_suite=False)


def test_decay_that_reaches_norms_is_reported() -> None:
    assert only("weight-decay-on-norm", DECAY).label == "weight_decay=0.01, the default of AdamW"
    assert only("weight-decay-on-norm", replace(DECAY, decay_given=True)).label == "weight_decay=0.01"
    assert run("weight-decay-on-norm", replace(DECAY, norms=())) == []
    assert run("weight-decay-on-norm", replace(DECAY, in_test_suite=True)) == []


# The facts by themselves.


def test_fact_of_an_unfilled_parameter(program: Program) -> None:
    raw = program.one(
        UnfilledParameter,
        """
        class Inner(nn.Module):
            def __init__(self):
                super().__init__()
                self.a = nn.Parameter(torch.empty(3))
                self.b = nn.Parameter(torch.empty(3).zero_())
                self.c = nn.Parameter(torch.empty(3))

            def forward(self, x):
                return x * self.a + self.b

        class Outer(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = Inner()

            def forward(self, x):
                return self.inner(x)

        Outer()(torch.zeros(3))
        """,
    )
    assert (raw.name, raw.owner, raw.model.class_name) == ("inner.a", "Inner", "Outer")
    assert raw.text == "nn.Parameter(torch.empty(3))"
    assert not raw.may_be_filled


@pytest.mark.parametrize(
    ("extra", "others", "filled"),
    [
        ("", {}, False),
        ("def reset(self): nn.init.ones_(self.a)", {}, True),
        ("def total(self): return sum(p.sum() for p in self.parameters())", {}, False),
        ("", {"user": "from main import Inner\n\ndef use(net: Inner): ..."}, True),
    ],
)
def test_who_else_may_fill_a_class_that_nobody_constructs(
    program: Program, extra: str, others: dict[str, str], filled: bool
) -> None:
    source = f"""
class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.empty(3))

    def forward(self, x):
        return x * self.a

    {extra}
"""
    facts = [fact for fact in program.read(source, **others).facts if isinstance(fact, UnfilledParameter)]
    assert [fact.may_be_filled for fact in facts] == [filled]


_NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 8)
        self.b = nn.Linear(8, 8)

    def forward(self, x):
        return self.b(self.a(x))

def init(m):
    if isinstance(m, nn.Linear):
        nn.init.normal_(m.weight, 0, 0.5)

net = Net()
"""


@pytest.mark.parametrize(
    ("code", "lost", "reloaded"),
    [
        ("net.load_state_dict(torch.load('x'))\nnet.apply(init)", 2, False),
        ("net.load_state_dict(torch.load('x'))\nnet.a.reset_parameters()", 1, False),
        ("net.load_state_dict(torch.load('x'))\nnet.apply(init)\nnet.load_state_dict(torch.load('x'))", 2, True),
    ],
)
def test_fact_of_an_overwritten_load(program: Program, code: str, lost: int, reloaded: bool) -> None:
    load = program.one(OverwrittenLoad, _NET + code)
    assert (len(load.layers), load.loaded_layers, load.reloaded) == (lost, 2, reloaded)


@pytest.mark.parametrize(
    "code",
    [
        "net.apply(init)\nnet.load_state_dict(torch.load('x'))",
        "net.load_state_dict(torch.load('x'))\nnet(torch.zeros(1, 8))\nnet.apply(init)",
        "net.load_state_dict(torch.load('x'))\nif input():\n    net.apply(init)",
        "net.load_state_dict(torch.load('x'))\nstate = net.state_dict()\nnet.apply(init)",
    ],
)
def test_a_load_that_is_used_or_comes_last_is_not_overwritten(program: Program, code: str) -> None:
    assert program.all(OverwrittenLoad, _NET + code) == []


@pytest.mark.parametrize(
    ("write", "spread"),
    [
        ("nn.init.normal_(m.weight, 0, 0.5)", 0.5),
        ("nn.init.normal_(m.weight, std=0.25)", 0.25),
        ("nn.init.trunc_normal_(m.weight)", 1.0),
        ("m.weight.data.normal_(0, 2)", 2.0),
        ("nn.init.uniform_(m.weight, -3, 3)", 12**0.5 / 2),
        ("m.weight.data.uniform_(-3, 3)", 12**0.5 / 2),
    ],
)
def test_fact_of_an_initial_spread(program: Program, write: str, spread: float) -> None:
    source = _NET.replace("nn.init.normal_(m.weight, 0, 0.5)", write)
    fact = program.one(InitialSpread, source + "net.apply(init)\nnet(torch.zeros(1, 8))")
    assert fact.spread == pytest.approx(spread)
    assert sorted(one.ref.name for one in fact.layers) == ["a", "b"]
    assert {(one.fan_in, one.normed, one.scaled, one.frozen) for one in fact.layers} == {(8, False, False, False)}
    assert fact.other_layers == 0


@pytest.mark.parametrize("write", ["nn.init.xavier_normal_(m.weight)", "nn.init.normal_(m.weight, 0, float(input()))"])
def test_a_spread_that_depends_on_the_layer_or_is_unknown_is_none(program: Program, write: str) -> None:
    source = _NET.replace("nn.init.normal_(m.weight, 0, 0.5)", write)
    assert program.all(InitialSpread, source + "net.apply(init)\nnet(torch.zeros(1, 8))") == []


def test_fact_of_an_init_pass(program: Program) -> None:
    passed = program.one(InitPass, _NET + "net.c = nn.Conv2d(1, 1, 1)\nnet.d = nn.LazyLinear(3)\nnet.apply(init)")
    assert (passed.function, passed.class_name, passed.never_called) == ("init", "", False)
    assert passed.passed_over == ()


def test_fact_of_an_embedding_table(program: Program) -> None:
    table = program.one(
        EmbeddingTable,
        """
        table = nn.Embedding(10, 4, padding_idx=2)
        nn.init.normal_(table.weight)
        net = nn.Sequential(table)
        net(torch.zeros(1, dtype=torch.long))
        """,
    )
    assert (table.padding_index, table.largest, table.may_be_loaded) == (2, None, False)
    assert table.fill_text == "nn.init.normal_(table.weight)"
    assert table.filled_place is not None


_STEP = """
    optimizer.zero_grad()
    F.mse_loss(net(x), x).backward()
    optimizer.step()
"""


def test_fact_of_a_norm_in_a_frozen_part(program: Program) -> None:
    use = program.one(
        NormUse,
        "net = nn.Sequential(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)), nn.Linear(8, 8))\n"
        "net[0].requires_grad_(False)\n"
        "optimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n"
        f"for x in torch.randn(3, 4, 8):{_STEP}",
    )
    assert (use.layer.name, use.frozen_part, use.momentum, use.adapter) == ("0.1", "0", 0.1, False)
    assert use.frozen_passes > 0


@pytest.mark.parametrize(
    ("before", "in_loop", "released"),
    [
        ("net[1].eval()", "net.train()", 1),
        ("net[1].eval()\nnet.train()", "", 1),
        ("net[1].eval()", "", 0),
        ("net.train()", "net[1].eval()", 0),
        ("net[1].eval()", "net.train(); net[1].eval()", 0),
        ("if input(): net[1].eval()", "net.train()", 0),
        ("net.eval()", "net.train()", 0),
    ],
)
def test_fact_of_a_norm_that_is_let_go(program: Program, before: str, in_loop: str, released: int) -> None:
    source = (
        "net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))\n"
        f"{before}\n"
        "optimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n"
        f"for x in torch.randn(3, 4, 8):\n    {in_loop}{_STEP}"
    )
    uses = [use for use in program.all(NormUse, source) if use.held_place is not None]
    assert len(uses) == released


@pytest.mark.parametrize(
    ("prepare", "each", "moves", "told"),
    [
        ("", "", False, False),
        ("teacher.train()", "", False, True),
        ("", "for p in teacher.parameters(): p.data.mul_(0.9)", True, False),
    ],
)
def test_fact_of_a_teacher(program: Program, prepare: str, each: str, moves: bool, told: bool) -> None:
    use = program.one(
        TeacherForward,
        "import copy\nnet = nn.Linear(8, 8)\nteacher = copy.deepcopy(nn.Sequential(nn.Linear(8, 8), nn.Dropout()))\n"
        f"{prepare}\n"
        "optimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n"
        "for x in torch.randn(3, 4, 8):\n"
        "    with torch.no_grad():\n"
        "        y = teacher(x)\n"
        "    optimizer.zero_grad()\n"
        "    F.mse_loss(net(x), y).backward()\n"
        "    optimizer.step()\n"
        f"    {each}\n",
    )
    assert (use.model.text, use.student, use.moves, use.told_to_train) == ("teacher", "net", moves, told)


@pytest.mark.parametrize(
    ("kept", "used", "found"),
    [
        ("net.state_dict()", "net.load_state_dict(kept)", True),
        ("{'model': net.state_dict()}", "torch.save(kept, 'x')", True),
        ("copy.deepcopy(net.state_dict())", "net.load_state_dict(kept)", False),
        ("net.state_dict()", "print(kept)", False),
    ],
)
def test_fact_of_a_state_copy(program: Program, kept: str, used: str, found: bool) -> None:
    source = (
        "import copy\nnet = nn.Linear(8, 8)\noptimizer = torch.optim.SGD(net.parameters(), lr=0.1)\n"
        f"kept = {kept}\nfor x in torch.randn(3, 4, 8):{_STEP}{used}\n"
    )
    facts = program.all(StateCopy, source)
    assert [(fact.text, fact.used_later) for fact in facts] == [("net.state_dict()", True)] * found


def test_fact_of_decayed_norms(program: Program) -> None:
    fact = program.one(
        DecayedNorms,
        """
        net = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.BatchNorm1d(8, affine=False))
        torch.optim.RMSprop(net.parameters(), weight_decay=0.5)
        """,
    )
    assert (fact.optimizer, fact.decay, fact.decay_given) == ("RMSprop", 0.5, True)
    assert [one.name for one in fact.norms] == ["1"]
