"""The rules about how layers feed each other: on facts made by hand, and the facts by themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_programs import Program

from modellint.catalog import all_rules
from modellint.facts.dropout_use import DropoutUse
from modellint.facts.hidden_state import HiddenState
from modellint.facts.inplace_read import InplaceRead
from modellint.facts.layer_flow import LayerFlow
from modellint.facts.mask_use import MaskUse
from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.module_instance import LayerCall, ModuleInstance
from modellint.facts.sequence_call import AxisSign, SequenceCall, StepRead
from modellint.facts.span import Span
from modellint.facts.xavier_fill import XavierFill
from modellint.finding import Category, Finding
from modellint.judge import judge


def at(line: int, path: str = "train.py") -> Span:
    return Span(path, line, 5, line, 15)


def layer(name: str, kind: str = "Linear", line: int = 8) -> LayerRef:
    return LayerRef(name, f"{kind}(8, 8)", kind, at(line, "net.py"))


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
    mode_dependent=(),
    certain_mode_dependent=False,
)

# shared-prelu

FIRST = LayerCall(3, layer("act", "PReLU"), at(11), False, "output of Linear(8, 8)", 1, (), trained_slope=True)
SECOND = replace(FIRST, place=at(12), producer="output of Linear(8, 4)", producer_key=2)
SHARED = ModuleInstance(MODEL, (FIRST, SECOND), (), 100, None, None, True)


def test_a_slope_of_two_positions() -> None:
    finding = only("shared-prelu", SHARED)
    assert finding.span == at(8, "net.py")
    assert "two different layers" in finding.message
    assert [note.label for note in finding.related] == [
        "1st use: output of Linear(8, 8)",
        "2nd use: output of Linear(8, 4)",
    ]


def test_a_slope_that_arguments_share_is_reported_where_they_are_given() -> None:
    finding = only("shared-prelu", replace(SHARED, model=replace(MODEL, arguments="share=True")))
    assert finding.span == at(17)
    assert "share=True" in finding.label


@pytest.mark.parametrize(
    "calls",
    [
        (FIRST, replace(SECOND, producer_key=1)),
        (FIRST, replace(SECOND, producer_key=None)),
        (FIRST, replace(SECOND, trained_slope=False)),
        (FIRST, replace(SECOND, layer=4)),
        (replace(FIRST, branches=((1, 0),)), replace(SECOND, branches=((1, 1),))),
    ],
)
def test_slopes_of_one_position(calls: tuple[LayerCall, ...]) -> None:
    assert run("shared-prelu", replace(SHARED, calls=calls)) == []


# linear-without-activation, bias-before-batchnorm

FLOW = LayerFlow(
    layer=layer("fc1", line=8),
    family="linear",
    call=at(12, "net.py"),
    next=layer("fc2", line=9),
    next_family="linear",
    next_call=at(13, "net.py"),
    through=(),
    owner=MODEL,
    same_owner=True,
    disagrees=False,
    bias=True,
    bottleneck=False,
    exclusive=True,
    next_trains=True,
    loaded=False,
    replaced_weight=False,
)
NORMED = replace(FLOW, next=layer("norm", "BatchNorm1d", 9), next_family="norm_running")


def test_two_linear_layers_in_a_row() -> None:
    finding = only("linear-without-activation", FLOW)
    assert finding.span == at(9, "net.py")
    assert "`self.fc1` and `self.fc2`" in finding.message
    assert "dropout" not in finding.help
    assert "dropout is none" in only("linear-without-activation", replace(FLOW, through=("Dropout",))).help


def test_linear_layers_that_only_some_instances_join() -> None:
    some = replace(FLOW, disagrees=True)
    assert run("linear-without-activation", some) == []
    finding = only("linear-without-activation", replace(some, owner=replace(MODEL, arguments="act=False")))
    assert finding.span == at(17)
    assert "Net(act=False)" in finding.message


@pytest.mark.parametrize(
    "flow",
    [
        replace(FLOW, family="conv"),
        replace(FLOW, next_family="activation"),
        NORMED,
        replace(FLOW, bias=False),
        replace(FLOW, same_owner=False),
        replace(FLOW, exclusive=False),
        replace(FLOW, bottleneck=True),
        replace(FLOW, bottleneck=None),
        replace(FLOW, loaded=True),
        replace(FLOW, replaced_weight=True),
        replace(FLOW, said_linear=True),
        replace(FLOW, in_test_suite=True),
    ],
)
def test_linear_layers_that_do_not_collapse(flow: LayerFlow) -> None:
    assert run("linear-without-activation", flow) == []


def test_a_bias_that_the_norm_takes_away() -> None:
    finding = only("bias-before-batchnorm", NORMED)
    assert finding.span == at(8, "net.py")
    assert finding.category is Category.PEDANTIC
    assert "norm has a bias" in finding.help
    assert "where the norm follows" in only("bias-before-batchnorm", replace(NORMED, sometimes=True)).help
    instance = replace(NORMED, family="conv", next=layer("norm", "InstanceNorm2d"), next_family="norm_instance")
    assert "bias of its own" not in only("bias-before-batchnorm", instance).help


@pytest.mark.parametrize(
    "flow",
    [
        FLOW,
        replace(NORMED, next_family="norm"),
        replace(NORMED, bias=False),
        replace(NORMED, bias=None),
        replace(NORMED, through=("Dropout",)),
        replace(NORMED, next_trains=False),
        replace(NORMED, loaded=True),
        replace(NORMED, replaced_weight=True),
        replace(NORMED, statistics_read=True),
        replace(NORMED, disagrees=True),
    ],
)
def test_biases_that_count(flow: LayerFlow) -> None:
    assert run("bias-before-batchnorm", flow) == []


CHAIN = """
class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.one = nn.Linear(8, width)
        self.two = nn.Linear(width, 8)

    def forward(self, x):
        {body}


Net()(torch.randn(2, 8))
"""


@pytest.mark.parametrize(
    ("body", "through"),
    [
        ("return self.two(self.one(x))", ()),
        ("return self.two(F.dropout(self.one(x), 0.1, self.training).float())", ("dropout",)),
        ("y = self.one(x); print(y.shape, y.size(0)); return self.two(y)", ()),
        ("y = self.one(x)\n        if y.ndim == 3: pass\n        return self.two(y)", ()),
    ],
)
def test_what_stands_between_two_layers(program: Program, body: str, through: tuple[str, ...]) -> None:
    fact = program.one(LayerFlow, CHAIN.format(body=body))
    assert (fact.layer.name, fact.next.name, fact.through) == ("one", "two", through)
    assert (fact.same_owner, fact.exclusive, fact.bottleneck, fact.disagrees) == (True, True, False, False)


@pytest.mark.parametrize(
    "body",
    [
        "return self.two(torch.relu(self.one(x)))",
        "y = self.one(x); return self.two(y) + y",
        "y = self.one(x); return self.two(y), y",
        "y = self.one(x); self.kept = y; return self.two(y)",
        "y = self.one(x); kept = [y]; return self.two(y)",
        "y = self.one(x); z = y > 0; return self.two(y)",
        "y = self.one(x); log(y); return self.two(y)",
        "return self.two(self.one(x)[:, :4])",
        "return self.two(-self.one(x))",
        "y = self.one(x); y[0] = 1; return self.two(y)",
    ],
)
def test_a_second_reader_or_an_operation_between(program: Program, body: str) -> None:
    assert program.all(LayerFlow, CHAIN.format(body=body)) == []


@pytest.mark.parametrize(("width", "bottleneck"), [(4, True), (8, False), (16, False)])
def test_how_wide_the_middle_is(program: Program, width: int, bottleneck: bool) -> None:
    source = CHAIN.format(body="return self.two(self.one(x))").replace("width=8", f"width={width}")
    assert program.one(LayerFlow, source).bottleneck is bottleneck


# inplace-on-skip-connection

WRITTEN = InplaceRead(
    text="ReLU(inplace=True)",
    place=at(8, "net.py"),
    layer=layer("act", "ReLU"),
    call=at(12, "net.py"),
    read=at(13, "net.py"),
    read_text="x + out",
    unchanged=False,
    grad=True,
)


def test_an_overwritten_skip() -> None:
    finding = only("inplace-on-skip-connection", WRITTEN)
    assert finding.span == at(8, "net.py")
    assert "`x + out`" in finding.message
    assert [note.span.line for note in finding.related] == [12, 13]
    functional = replace(WRITTEN, layer=None, place=at(12, "net.py"))
    assert [note.span.line for note in only("inplace-on-skip-connection", functional).related] == [13]


@pytest.mark.parametrize("read", [replace(WRITTEN, unchanged=True), replace(WRITTEN, grad=False)])
def test_skips_that_keep_their_value(read: InplaceRead) -> None:
    assert run("inplace-on-skip-connection", read) == []


BLOCK = """
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        {body}


Block()(torch.randn(2, 8))
"""


@pytest.mark.parametrize(
    ("body", "unchanged"),
    [
        ("return x + self.fc(F.relu(x, True))", [False]),
        ("return x + self.fc(F.relu(input=x, inplace=True))", [False]),
        ("y = self.fc(x.relu_()); return y.add_(x)", []),  # the method binds x again
        ("keep = x; y = self.fc(torch.relu_(x)); return torch.add(y, keep)", [False]),
        ("x = x.exp(); return x + self.fc(F.relu_(x))", [True]),
        ("x = x.exp(); return x + self.fc(F.elu_(x))", [False]),
        ("return x + self.fc(F.relu(x, inplace=False))", []),
        ("y = x + 1; return y + self.fc(F.relu_(x))", []),
        ("z = self.fc(F.relu_(x)); return x * z", []),
    ],
)
def test_what_is_read_after_an_in_place_operation(program: Program, body: str, unchanged: list[bool]) -> None:
    assert [fact.unchanged for fact in program.all(InplaceRead, BLOCK.format(body=body))] == unchanged


# bidirectional-last-step, batch-first-mismatch

LAST = StepRead(at(13, "net.py"), "out[:, -1]", 1, -1, True)
RECURRENT = SequenceCall(
    layer=layer("lstm", "LSTM"),
    family="recurrent",
    call=at(12, "net.py"),
    batch_first=True,
    bidirectional=True,
    signs=(),
    steps=(LAST,),
    read_otherwise=False,
    packed=False,
    unbatched=None,
)


def test_the_last_step_of_both_directions() -> None:
    finding = only("bidirectional-last-step", RECURRENT)
    assert finding.span == at(13, "net.py")
    assert "`out[:, -1]`" in finding.message
    first = replace(RECURRENT, batch_first=False, steps=(replace(LAST, axis=0),))
    assert len(run("bidirectional-last-step", first)) == 1


@pytest.mark.parametrize(
    "call",
    [
        replace(RECURRENT, family="attention"),
        replace(RECURRENT, bidirectional=False),
        replace(RECURRENT, bidirectional=None),
        replace(RECURRENT, batch_first=None),
        replace(RECURRENT, batch_first=False),
        replace(RECURRENT, read_otherwise=True),
        replace(RECURRENT, packed=True),
        replace(RECURRENT, unbatched=True),
        replace(RECURRENT, steps=()),
        replace(RECURRENT, steps=(LAST, replace(LAST, index=0))),
        replace(RECURRENT, steps=(replace(LAST, features=False),)),
    ],
)
def test_other_summaries(call: SequenceCall) -> None:
    assert run("bidirectional-last-step", call) == []


LOADED = AxisSign(0, "a DataLoader stacks samples along the first axis", at(30))
READ = AxisSign(0, "the output is read as `out[:, -1]`", at(13, "net.py"))
MISMATCH = replace(RECURRENT, bidirectional=False, batch_first=False, signs=(LOADED, READ))


def test_a_layer_that_runs_along_the_batch() -> None:
    finding = only("batch-first-mismatch", MISMATCH)
    assert finding.span == at(8, "net.py")
    assert "batch_first=True" in finding.help
    assert len(run("batch-first-mismatch", replace(MISMATCH, signs=(replace(LOADED, decisive=True),)))) == 1
    reverse = tuple(replace(sign, batch_axis=1) for sign in MISMATCH.signs)
    assert "batch_first=False" in only("batch-first-mismatch", replace(MISMATCH, batch_first=True, signs=reverse)).help


@pytest.mark.parametrize(
    "call",
    [
        replace(MISMATCH, batch_first=True),
        replace(MISMATCH, batch_first=None),
        replace(MISMATCH, signs=()),
        replace(MISMATCH, signs=(READ,)),
        replace(MISMATCH, signs=(READ, replace(READ, place=at(14, "net.py")))),
        replace(MISMATCH, signs=(LOADED, READ, replace(READ, batch_axis=1))),
        replace(MISMATCH, packed=True),
        replace(MISMATCH, unbatched=True),
        replace(MISMATCH, one_sample=True),
    ],
)
def test_axes_that_fit_or_are_not_known(call: SequenceCall) -> None:
    assert run("batch-first-mismatch", call) == []


LAYER = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 3)
        self.rnn = nn.{kind}

    def forward(self, x):
        {body}


Net()(torch.randn(2, 4, 9))
"""


@pytest.mark.parametrize(
    ("body", "signs"),
    [
        ("return self.rnn(self.conv(x).transpose(1, 2))[0]", [(0, True)]),
        ("return self.rnn(self.conv(x).permute(0, 2, 1))[0]", [(0, True)]),
        ("return self.rnn(self.conv(x).permute(2, 0, 1))[0]", [(1, True)]),
        ("return self.rnn(self.conv(x).permute(2, 0, 1).transpose(0, 1))[0]", [(0, True)]),
        ("return self.rnn(x)[0]", []),
        ("out, _ = self.rnn(x); return out[:, -1]", [(0, False)]),
        ("out, _ = self.rnn(x); return out[-1]", [(1, False)]),
        ("out, _ = self.rnn(x); return out[..., -1, :]", [(0, False)]),
        ("out, _ = self.rnn(x); return out.transpose(0, 1)[:, -1]", [(1, False)]),
        ("out, _ = self.rnn(x); return out.mean(dim=1)", [(0, False)]),
        ("out, _ = self.rnn(x); return torch.max(out, 0)", [(1, False)]),
        ("out, _ = self.rnn(x); return out.flatten(1)", [(0, False)]),
        ("out, _ = self.rnn(x); return out[:, 0]", []),
        ("out, h = self.rnn(x); return h[-1]", []),
    ],
)
def test_signs_of_the_axes(program: Program, body: str, signs: list[tuple[int, bool]]) -> None:
    fact = program.one(SequenceCall, LAYER.format(kind="GRU(8, 8)", body=body))
    assert [(sign.batch_axis, sign.decisive) for sign in fact.signs] == signs


@pytest.mark.parametrize(
    ("kind", "batch_first", "bidirectional"),
    [
        ("GRU(8, 8)", False, False),
        ("LSTM(8, 8, batch_first=True, bidirectional=True)", True, True),
        ("LSTM(8, 8, batch_first=unknown(), bidirectional=unknown())", None, None),
        ("TransformerEncoder(nn.TransformerEncoderLayer(8, 2, batch_first=True), 1)", True, False),
    ],
)
def test_flags_of_a_layer(program: Program, kind: str, batch_first: bool | None, bidirectional: bool | None) -> None:
    fact = program.one(SequenceCall, LAYER.format(kind=kind, body="return self.rnn(x)"))
    assert (fact.batch_first, fact.bidirectional) == (batch_first, bidirectional)


@pytest.mark.parametrize(
    ("body", "steps", "otherwise"),
    [
        ("out, _ = self.rnn(x); return out[:, -1]", [(1, -1, True)], False),
        ("out, _ = self.rnn(x); return out.relu().select(1, -1)", [(1, -1, True)], False),
        ("out, _ = self.rnn(x); return out[:, -1, :4]", [(1, -1, False)], False),
        ("out, _ = self.rnn(x); return out[:, -1][:, :4]", [(1, -1, False)], False),
        ("out, _ = self.rnn(x); return out[:, -1] + out.mean(1)", [(1, -1, True)], True),
        ("out, _ = self.rnn(x); return out[:, 3]", [], True),
        ("return self.rnn(x)", [], True),
    ],
)
def test_steps_of_the_output(program: Program, body: str, steps: list[tuple[int, int, bool]], otherwise: bool) -> None:
    fact = program.one(SequenceCall, LAYER.format(kind="GRU(8, 8)", body=body))
    assert [(step.axis, step.index, step.features) for step in fact.steps] == steps
    assert fact.read_otherwise is otherwise


# hidden-state-ignored

STATE = HiddenState(
    model=MODEL,
    attribute="hidden",
    prepared=at(9, "net.py"),
    layer=layer("lstm", "LSTM"),
    call=at(12, "net.py"),
    call_text="self.lstm(x)",
    given=False,
    read=False,
    rewritten=True,
    reset_outside=at(30),
)


def test_a_state_that_nobody_reads() -> None:
    finding = only("hidden-state-ignored", STATE)
    assert finding.span == at(12, "net.py")
    assert "`self.hidden`" in finding.message
    assert "self.lstm(x, self.hidden)" in finding.help
    assert [note.span for note in finding.related] == [at(9, "net.py"), at(30)]
    assert len(only("hidden-state-ignored", replace(STATE, reset_outside=None)).related) == 1


@pytest.mark.parametrize(
    "state",
    [
        replace(STATE, given=True),
        replace(STATE, read=True),
        replace(STATE, model=replace(MODEL, complete=False)),
    ],
)
def test_states_that_are_used(state: HiddenState) -> None:
    assert run("hidden-state-ignored", state) == []


def test_an_argument_that_is_replaced() -> None:
    finding = only("hidden-state-ignored", replace(STATE, argument=True))
    assert "the argument `hidden`" in finding.message
    assert "self.lstm(x, hidden)" in finding.help


MEMORY = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(8, 8)
        {prepared}

    def forward(self, x, state):
        {body}


net = Net()
net(torch.randn(5, 1, 8), torch.zeros(1, 1, 8))
{after}
"""


@pytest.mark.parametrize(
    ("prepared", "body", "after", "facts"),
    [
        ("self.h = torch.zeros(1, 1, 8)", "return self.rnn(x)[0]", "", [("h", False, False)]),
        ("self.h = torch.zeros(1, 1, 8)", "return self.rnn(x, self.h)[0]", "", [("h", True, True)]),
        ("self.h = torch.zeros(1, 1, 8)", "return self.rnn(x)[0]", "print(net.h)", [("h", False, True)]),
        ("self.h = torch.zeros(1, 1, 8)", "return self.rnn(x)[0]", "net.h = net.h.detach()", [("h", False, False)]),
        ("self.h = None", "return self.rnn(x)[0]", "", []),
        ("self.h = torch.zeros(1, 1, 4)", "return self.rnn(x)[0]", "", []),  # no state of this layer
        ("self.h = torch.zeros(8)", "return self.rnn(x)[0]", "", []),
        ("self.h = torch.zeros(8)", "out, self.h = self.rnn(x); return out", "", [("h", False, False)]),
        ("self.h = 0.5", "out, self.h = self.rnn(x); return out", "", []),
        ("pass", "out, state = self.rnn(x)\n        return out, state", "", [("state", False, False)]),
        ("pass", "out, state = self.rnn(x, state)\n        return out, state", "", []),
        ("pass", "print(state)\n        out, state = self.rnn(x)\n        return out", "", []),
    ],
)
def test_states_of_a_module(
    program: Program, prepared: str, body: str, after: str, facts: list[tuple[str, bool, bool]]
) -> None:
    states = program.all(HiddenState, MEMORY.format(prepared=prepared, body=body, after=after))
    assert [(state.attribute, state.given, state.read) for state in states] == facts


# inverted-padding-mask

MASK = MaskUse("MultiheadAttention", at(14), "key_padding_mask", True, False, at(13), "ids != 0")


def test_a_mask_of_the_wrong_polarity() -> None:
    finding = only("inverted-padding-mask", MASK)
    assert finding.span == at(14)
    assert finding.category is Category.NURSERY
    assert "True for the tokens" in finding.message
    sdpa = replace(MASK, parameter="attn_mask", true_ignores=False, true_for_padding=True)
    assert "True for the padding" in only("inverted-padding-mask", sdpa).message


@pytest.mark.parametrize(
    "use", [replace(MASK, true_for_padding=True), replace(MASK, true_ignores=False, true_for_padding=False)]
)
def test_masks_that_say_what_is_meant(use: MaskUse) -> None:
    assert run("inverted-padding-mask", use) == []


ATTENTION = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 8)
        self.attention = nn.MultiheadAttention(8, 2)

    def forward(self, ids, lengths):
        x = self.embedding(ids)
        steps = torch.arange(7)
        return self.attention(x, x, x, key_padding_mask={mask})


Net()(torch.randint(0, 9, (2, 7)), torch.tensor([7, 3]))
"""


@pytest.mark.parametrize(
    ("mask", "true_for_padding"),
    [
        ("ids == 0", [True]),
        ("ids != 0", [False]),
        ("~(ids != 0)", [True]),
        ("(ids == 0).unsqueeze(1).bool()", [True]),
        ("steps[None] < lengths[:, None]", [False]),
        ("steps >= lengths.unsqueeze(1)", [True]),
        ("lengths.unsqueeze(1) > steps", [False]),
        ("(ids == 0) | (ids == 1)", []),
        ("(ids == 0).float()", []),
        ("ids", []),
        ("ids > 0", []),
        ("None", []),
    ],
)
def test_what_a_mask_is_true_for(program: Program, mask: str, true_for_padding: list[bool]) -> None:
    facts = program.all(MaskUse, ATTENTION.format(mask=mask))
    assert [fact.true_for_padding for fact in facts] == true_for_padding
    assert all(fact.true_ignores for fact in facts)


# dropout-without-effect

DROPOUT = DropoutUse("Dropout(0.0)", at(9), "Dropout", 0.0, None)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (DROPOUT, "drops nothing"),
        (replace(DROPOUT, rate=1.0), "zeroes everything"),
        (replace(DROPOUT, rate=1.0, holds_a_place=True), "zeroes everything"),
        (replace(DROPOUT, kind="LSTM", rate=0.5, layers=1), "one layer"),
        (replace(DROPOUT, rate=0.5, flat_input=at(14)), "rows of features"),
    ],
)
def test_dropouts_that_do_not_drop_as_meant(use: DropoutUse, words: str) -> None:
    finding = only("dropout-without-effect", use)
    assert words in finding.message
    assert finding.span == at(9)


@pytest.mark.parametrize(
    "use",
    [
        replace(DROPOUT, rate=0.5),
        replace(DROPOUT, rate=None),
        replace(DROPOUT, holds_a_place=True),
        replace(DROPOUT, in_test_suite=True),
        replace(DROPOUT, kind="LSTM", rate=0.5, layers=2),
        replace(DROPOUT, kind="LSTM", rate=None, layers=1),
        replace(DROPOUT, kind="LSTM", rate=0.5, layers=None),
    ],
)
def test_dropouts_that_do_what_is_written(use: DropoutUse) -> None:
    assert run("dropout-without-effect", use) == []


@pytest.mark.parametrize(
    ("made", "facts"),
    [
        ("nn.Dropout(0.0)", [(0.0, None)]),
        ("nn.Dropout(p=0)", [(0.0, None)]),
        ("nn.Dropout()", [(None, None)]),
        ("nn.Dropout(RATE)", [(None, None)]),
        ("nn.GRU(8, 8, dropout=0.5)", [(0.5, 1)]),
        ("nn.GRU(8, 8, 1, dropout=RATE)", [(None, 1)]),
        ("nn.GRU(8, 8, DEPTH, dropout=0.5)", [(0.5, None)]),
        ("nn.GRU(8, 8)", [(None, 1)]),
    ],
)
def test_what_is_written_about_a_dropout(
    program: Program, made: str, facts: list[tuple[float | None, int | None]]
) -> None:
    uses = program.all(DropoutUse, f"RATE, DEPTH = 0.0, 1\nlayer = {made}")
    assert [(use.rate, use.layers) for use in uses] == facts


# xavier-with-relu

XAVIER = XavierFill(at(9), "xavier_uniform_", False, (layer("fc1"),), 1)


def test_xavier_in_front_of_relu() -> None:
    finding = only("xavier-with-relu", XAVIER)
    assert finding.category is Category.PEDANTIC
    assert finding.span == at(9)
    assert "`Linear(8, 8)`, which ReLU follows" in finding.message
    several = replace(XAVIER, rectified=(layer("fc1"), layer("conv", "Conv2d"), layer("fc2")))
    assert "`Linear(8, 8)` and 2 more" in only("xavier-with-relu", several).message


@pytest.mark.parametrize("fill", [replace(XAVIER, gain_given=True), replace(XAVIER, rectified=())])
def test_xavier_that_fits(fill: XavierFill) -> None:
    assert run("xavier-with-relu", fill) == []


FILLED = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)
        nn.init.xavier_normal_(self.fc.{attribute})

    def forward(self, x):
        y = self.fc(x)
        return {result}


Net()(torch.randn(2, 8))
"""


@pytest.mark.parametrize(
    ("attribute", "result", "rectified"),
    [
        ("weight", "F.relu(y)", [1]),
        ("weight.data", "y.relu()", [1]),
        ("weight, gain=2", "torch.relu(y)", [1]),
        ("weight", "torch.relu(y) + y", [0]),
        ("weight", "F.gelu(y)", [0]),
        ("bias", "F.relu(y)", []),
    ],
)
def test_what_stands_behind_a_fill(program: Program, attribute: str, result: str, rectified: list[int]) -> None:
    facts = program.all(XavierFill, FILLED.format(attribute=attribute, result=result))
    assert [len(fact.rectified) for fact in facts] == rectified
    assert [fact.others for fact in facts] == [1 - count for count in rectified]
    assert [fact.gain_given for fact in facts] == ["gain" in attribute for _ in rectified]


def test_every_rule_of_this_file_has_fixtures() -> None:
    folder = Path(__file__).resolve().parent.parent / "fixtures" / "rules"
    for rule in (
        "shared-prelu",
        "linear-without-activation",
        "bias-before-batchnorm",
        "inplace-on-skip-connection",
        "bidirectional-last-step",
        "batch-first-mismatch",
        "hidden-state-ignored",
        "inverted-padding-mask",
        "dropout-without-effect",
        "xavier-with-relu",
    ):
        names = [path.name for path in (folder / rule).iterdir()]
        assert any(name.startswith("fires_") for name in names)
        assert any(name.startswith("silent_") for name in names)
