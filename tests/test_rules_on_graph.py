"""The rules about the way of a gradient: hand-made facts, and the facts that the source reader makes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_programs import Program

from modellint.catalog import all_rules
from modellint.facts.backward_use import BackwardUse
from modellint.facts.bootstrap_target import BootstrapTarget
from modellint.facts.forward_use import ForwardUse, Unrecorded
from modellint.facts.gradient_leak import GradientLeak
from modellint.facts.guarded_singularity import GuardedSingularity
from modellint.facts.kept_graph import KeptGraph
from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.optimizer_rebuild import OptimizerRebuild
from modellint.facts.optimizer_setup import OptimizerSetup
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.facts.training_loop import OptimizerRef
from modellint.finding import Category, Certainty, Finding
from modellint.judge import judge


def at(line: int) -> Span:
    return Span("train.py", line, 5, line, 15)


def run(rule: str, *facts: object) -> list[Finding]:
    """What one rule says about some facts."""
    findings, failures = judge(facts, [all_rules()[rule]()])
    assert failures == []
    return findings


def only(rule: str, *facts: object) -> Finding:
    (finding,) = run(rule, *facts)
    return finding


MODEL = ModelRef(1, "net", "Net", at(1), at(3), "", True)
OTHER_MODEL = ModelRef(2, "teacher", "Net", at(1), at(4), "", True)
ADAM = OptimizerRef(1, "optimizer", "Adam", at(5))
OTHER = OptimizerRef(2, "other", "Adam", at(6))


# Backwards that reach nothing.

CUT_OFF = BackwardUse(
    at(25), "loss.backward()", "loss", False, ADAM, MODEL, at(23), cut="value.detach()", cut_place=at(24)
)


def test_a_cut_is_named_and_pointed_at() -> None:
    finding = only("detached-loss", CUT_OFF)
    assert "reaches no parameter that `optimizer` holds" in finding.message
    assert [note.span for note in finding.related] == [at(23), at(24)]
    assert "`value.detach()`" in finding.help
    assert "ever receives a gradient" in finding.why


def test_without_a_cut_the_help_says_what_to_look_for() -> None:
    finding = only("detached-loss", replace(CUT_OFF, cut="", cut_place=None, run=RunEvidence(5, 5, 1)))
    assert "look for" in finding.help
    assert "ever received a gradient" in finding.why


def test_a_leaf_is_said_to_be_one() -> None:
    assert "no operation made" in only("detached-loss", replace(CUT_OFF, leaf=True)).message


def test_a_decision_belongs_to_one_rule_only() -> None:
    decided = replace(CUT_OFF, cut="scores.argmax(1)", decides=True)
    assert run("detached-loss", decided) == []
    finding = only("argmax-before-loss", decided)
    assert finding.span == at(24)
    assert "`scores.argmax(1)`" in finding.message
    assert run("argmax-before-loss", CUT_OFF) == []
    assert run("argmax-before-loss", replace(decided, cut_place=None)) == []


# Optimizers and what they hold.

GATE = LayerRef("gate", "Linear(4, 8)", "Linear", at(10))
LACKING = OptimizerSetup(at(5), ADAM, MODEL, 49, "", (GATE,), 40, counted=True)


def test_a_layer_that_is_left_out() -> None:
    finding = only("parameters-not-optimized", LACKING)
    assert finding.message == "`optimizer` leaves out `gate` of `net`"
    assert finding.certainty is Certainty.CERTAIN
    assert "40 values receive gradients" in finding.why


@pytest.mark.parametrize(
    ("missing", "words"),
    [(1, "1 layer receives gradients in every pass and belongs"), (3, "3 layers receive gradients in every pass")],
)
def test_layers_are_counted_where_sizes_are_not_known(missing: int, words: str) -> None:
    finding = only("parameters-not-optimized", replace(LACKING, given=4, missing_values=missing, counted=False))
    assert words in finding.why


@pytest.mark.parametrize("change", [{"given_part": "head"}, {"given": 12}])
def test_a_head_alone_is_only_likely(change: dict[str, object]) -> None:
    finding = only("parameters-not-optimized", replace(LACKING, **change))  # type: ignore[arg-type]
    assert finding.certainty is Certainty.LIKELY
    assert "freeze" in finding.help


@pytest.mark.parametrize("change", [{"foreign": 2}, {"idle_model": OTHER_MODEL}, {"given": 0}, {"missing": ()}])
def test_what_other_rules_say_is_not_said_twice(change: dict[str, object]) -> None:
    assert run("parameters-not-optimized", replace(LACKING, **change)) == []  # type: ignore[arg-type]


IDLE = replace(LACKING, given=0, holds=2, idle_model=OTHER_MODEL)


def test_an_optimizer_of_the_wrong_model() -> None:
    finding = only("wrong-parameters-optimized", IDLE)
    assert "holds the parameters of `teacher`, but it is `net`" in finding.message
    assert "no backward reaches `teacher`" in finding.why
    assert "none of its 2 tensors" in only("wrong-parameters-optimized", replace(IDLE, run=RunEvidence(5, 5, 1))).why


@pytest.mark.parametrize("change", [{"foreign": 1}, {"idle_model": None}, {"missing": ()}])
def test_no_wrong_model_without_all_of_it(change: dict[str, object]) -> None:
    assert run("wrong-parameters-optimized", replace(IDLE, **change)) == []  # type: ignore[arg-type]


STALE = replace(LACKING, foreign=1, holds=3, counted=False)


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        (STALE, "holds a layer that"),
        (replace(STALE, foreign=2), "holds layers that"),
        (replace(STALE, foreign=3), "holds only tensors that"),
        (replace(STALE, foreign=2, run=RunEvidence(5, 5, 1)), "holds 2 tensors that"),
    ],
)
def test_an_optimizer_of_replaced_layers(fact: OptimizerSetup, words: str) -> None:
    finding = only("stale-optimizer", fact)
    assert words in finding.message
    assert "`gate`" in finding.why


@pytest.mark.parametrize("change", [{"foreign": 0}, {"missing": ()}])
def test_nothing_is_stale_without_both_sides(change: dict[str, object]) -> None:
    assert run("stale-optimizer", replace(STALE, **change)) == []  # type: ignore[arg-type]


REBUILT = OptimizerRebuild(at(7), ADAM, MODEL, at(6), True, at(9), True, False, False)


def test_an_optimizer_for_every_batch_or_epoch() -> None:
    assert "for every batch" in only("optimizer-created-in-loop", REBUILT).message
    assert "for every epoch" in only("optimizer-created-in-loop", replace(REBUILT, each_batch=False)).message


@pytest.mark.parametrize("change", [{"momentum": False}, {"settings_change": True}, {"weights_change": True}])
def test_a_new_beginning_takes_a_new_optimizer(change: dict[str, bool]) -> None:
    assert run("optimizer-created-in-loop", replace(REBUILT, **change)) == []  # type: ignore[arg-type]


# What stays, leaks or breaks.


def test_what_keeps_a_graph_is_where_code_says_so() -> None:
    kept = KeptGraph(at(23), "net(x)", MODEL, 0, keeper="total += loss", keeper_place=at(27))
    finding = only("loss-kept-with-graph", kept)
    assert finding.span == at(27)
    assert "`total += loss`" in finding.message
    in_a_run = KeptGraph(at(23), "net(x)", MODEL, 48, RunEvidence(48, 48, 1))
    assert only("loss-kept-with-graph", in_a_run).span == at(23)


def test_a_backward_shows_the_graph_of_what_no_known_model_made() -> None:
    kept = KeptGraph(at(25), "loss.backward()", None, 0, keeper="total += loss", keeper_place=at(27))
    finding = only("loss-kept-with-graph", kept)
    assert finding.span == at(27)
    (note,) = finding.related
    assert (note.span, note.label) == (at(25), "`loss.backward()` shows that it has a graph")


def test_a_gradient_that_leaks() -> None:
    leak = GradientLeak(at(30), "loss_d.backward()", OTHER, ADAM, MODEL, at(28), at(34), "loss_g.backward()", at(35))
    finding = only("gan-detach-missing", leak)
    assert "`loss_d.backward()` also fills the gradients of `net`, and `optimizer` steps on them" in finding.message
    assert {note.span for note in finding.related} == {at(28), at(34), at(35)}


def test_nursery_rules_say_what_they_see() -> None:
    singular = GuardedSingularity(at(9), "x > 0", "x.sqrt()", at(9), "x", "0")
    assert "`x.sqrt()` is NaN where `x` is 0" in only("nan-gradient", singular).message
    target = BootstrapTarget(at(9), "mse_loss", "goal", MODEL, (at(8),), ADAM)
    assert "`goal` carries a gradient into `net`" in only("target-not-detached", target).message
    for name in ("nan-gradient", "target-not-detached"):
        assert all_rules()[name].category is Category.NURSERY


# The facts of the source side.

LOOP = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.body(x))

net = Net()
optimizer = torch.optim.Adam(net.parameters())
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(8, 4), torch.zeros(8).long()))
for x, y in loader:
    optimizer.zero_grad()
    {loss}
    loss.backward()
    optimizer.step()
"""


@pytest.mark.parametrize(
    ("loss", "cut", "leaf", "decides"),
    [
        ("loss = torch.tensor(F.cross_entropy(net(x), y).item(), requires_grad=True)", "item()", True, False),
        ("loss = F.cross_entropy(net(x).detach(), y)", "net(x).detach()", False, False),
        ("loss = F.cross_entropy(net(x), y).data", ".data", False, False),
        ("loss = torch.autograd.Variable(F.cross_entropy(net(x), y), requires_grad=True)", "Variable(", True, False),
        ("loss = F.mse_loss(net(x).argmax(1).float(), y.float())", "net(x).argmax(1)", False, True),
        ("loss = F.mse_loss(torch.round(net(x)), x[:, :2])", "torch.round(net(x))", False, True),
        ("loss = ((net(x) > 0).float() - x[:, :2]).mean()", "net(x) > 0", False, True),
        ("loss = net(x).max(1)[1].float().mean()", "net(x).max(1)", False, True),
        ("loss = net(x).to(torch.long).float().mean()", "net(x).to(torch.long)", False, True),
    ],
)
def test_a_way_that_is_cut_is_found_with_its_cut(
    program: Program, loss: str, cut: str, leaf: bool, decides: bool
) -> None:
    fact = program.one(BackwardUse, LOOP.replace("{loss}", loss))
    assert cut in fact.cut
    assert fact.cut_place is not None
    assert (fact.leaf, fact.decides) == (leaf, decides)
    assert fact.model.text == "net"


@pytest.mark.parametrize(
    "loss",
    [
        "loss = F.cross_entropy(net(x), y)",
        "loss = F.mse_loss(net(x), net(x).detach())",
        "out = net(x); loss = F.mse_loss(out + (out.round() - out).detach(), x[:, :2])",
        "out = net(x); loss = F.mse_loss(out.max(1).values, out.max(1).indices.float())",
        "out = torch.zeros(1, 2); out[0] = net(x)[0]; loss = out.sum()",
        "out = torch.zeros(1, 2); out[0].add_(net(x)[0]); loss = out.sum()",
        "loss = sum([F.cross_entropy(net(x), y)])",
        "loss = helper(net(x).detach())",
        "loss = torch.utils.checkpoint.checkpoint(net, x).mean()",
        "loss = F.cross_entropy(net(x).detach(), y) + net.head.weight.pow(2).sum()",
    ],
)
def test_a_way_that_is_open_or_not_known_is_no_fact(program: Program, loss: str) -> None:
    assert program.all(BackwardUse, LOOP.replace("{loss}", loss)) == []


def test_forwards_without_gradients_are_marked_only_if_nothing_else_trains(program: Program) -> None:
    alone = "with torch.no_grad(): out = net(x)\n    loss = F.cross_entropy(out, y)"
    beside = "with torch.no_grad(): out = net(x)\n    loss = F.mse_loss(net(x), out)"
    assert [u.unrecorded for u in program.all(ForwardUse, LOOP.replace("{loss}", alone))] == [Unrecorded.GRAD_OFF]
    assert {u.unrecorded for u in program.all(ForwardUse, LOOP.replace("{loss}", beside))} == {None}


@pytest.mark.parametrize(
    ("given", "part", "missing", "values"),
    [
        ("net.head.parameters()", "head", "body", 40),
        ("net.body.parameters()", "body", "head", 18),
        ("[p for n, p in net.named_parameters() if n.startswith('body')]", "body", "head", 18),
    ],
)
def test_what_an_optimizer_leaves_out_is_counted(
    program: Program, given: str, part: str, missing: str, values: int
) -> None:
    source = LOOP.replace("{loss}", "loss = F.cross_entropy(net(x), y)").replace("net.parameters()", given)
    fact = program.one(OptimizerSetup, source)
    assert (fact.given_part, [one.name for one in fact.missing]) == (part, [missing])
    assert (fact.missing_values, fact.counted, fact.foreign) == (values, True, 0)


@pytest.mark.parametrize("given", ["net.parameters()", "filter(lambda p: p.ndim > 1, net.parameters())", "unknown"])
def test_an_optimizer_of_everything_or_of_who_knows_what_is_no_fact(program: Program, given: str) -> None:
    source = LOOP.replace("{loss}", "loss = F.cross_entropy(net(x), y)").replace("net.parameters()", given)
    assert program.all(OptimizerSetup, source) == []


@pytest.mark.parametrize(
    ("change", "foreign"), [("net.head = nn.Linear(8, 2)", 1), ("net = Net()", 2), ("net = net.cuda()", None)]
)
def test_what_was_replaced_is_counted(program: Program, change: str, foreign: int | None) -> None:
    source = LOOP.replace("{loss}", "loss = F.cross_entropy(net(x), y)").replace("loader =", f"{change}\nloader =")
    facts = program.all(OptimizerSetup, source)
    assert [fact.foreign for fact in facts] == ([] if foreign is None else [foreign])


@pytest.mark.parametrize(
    ("kept", "found"),
    [
        ("total += loss", True),
        ("total = total + loss", True),
        ("total = loss + total", True),
        ("total = 0.9 * total + 0.1 * loss", True),
        ("history.append(loss)", True),
        ("total += loss.item()", False),
        ("total += loss.detach()", False),
        ("total += float(loss)", False),
        ("history.append(loss.data)", False),
        ("total = 0.9 * total + 0.1 * loss.item()", False),
        ("other = loss + 1", False),
    ],
)
def test_what_a_loop_keeps(program: Program, kept: str, found: bool) -> None:
    source = LOOP.replace("{loss}", "loss = F.cross_entropy(net(x), y)") + f"    {kept}\n"
    facts = program.all(KeptGraph, source.replace("for x, y", "total, history = 0, []\nfor x, y"))
    assert [fact.keeper for fact in facts] == ([kept] if found else [])


@pytest.mark.parametrize(
    ("made", "each_batch", "momentum", "changes"),
    [
        ("torch.optim.Adam(net.parameters())", True, True, False),
        ("torch.optim.SGD(net.parameters(), lr=0.1)", True, False, False),
        ("torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)", True, True, False),
        ("torch.optim.Adam(net.parameters(), lr=rate(x))", True, True, True),
    ],
)
def test_optimizers_made_in_a_loop(
    program: Program, made: str, each_batch: bool, momentum: bool, changes: bool
) -> None:
    source = LOOP.replace("{loss}", f"optimizer = {made}; loss = F.cross_entropy(net(x), y)")
    (fact,) = program.all(OptimizerRebuild, source)
    assert (fact.each_batch, fact.momentum, fact.settings_change) == (each_batch, momentum, changes)


GAN = """
gen, dis = nn.Linear(2, 4), nn.Linear(4, 1)
opt_g, opt_d = torch.optim.Adam(gen.parameters()), torch.optim.Adam(dis.parameters())
for _ in range(5):
    {top}
    fake = gen(torch.randn(8, 2))
    dis({fake}).mean().backward(retain_graph=True)
    opt_d.step()
    {middle}
    (-dis(fake).mean()).backward()
    opt_g.step()
"""


@pytest.mark.parametrize(
    ("top", "fake", "middle", "polluted"),
    [
        ("opt_d.zero_grad(); opt_g.zero_grad()", "fake", "", ["opt_g"]),
        ("opt_d.zero_grad()", "fake", "opt_g.zero_grad()", []),
        ("opt_d.zero_grad()", "fake", "gen.zero_grad()", []),
        ("opt_d.zero_grad(); opt_g.zero_grad()", "fake.detach()", "", []),
        ("opt_g.zero_grad()", "fake.detach()", "opt_d.zero_grad()", ["opt_d"]),
    ],
)
def test_gradients_that_leak_into_the_other_model(
    program: Program, top: str, fake: str, middle: str, polluted: list[str]
) -> None:
    source = GAN.replace("{top}", top).replace("{fake}", fake).replace("{middle}", middle or "pass")
    assert [fact.polluted.text for fact in program.all(GradientLeak, source)] == polluted
