"""The rules about the order of events in a loop: hand-made facts, and the facts that the source reader makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from small_programs import Program

from modellint.catalog import all_rules
from modellint.facts.retained_graph import RetainedGraph
from modellint.facts.scheduler_setup import Interval, SchedulePlace, SchedulerSetup
from modellint.facts.span import Span
from modellint.facts.training_loop import (
    Accumulation,
    Event,
    EventKind,
    OptimizerRef,
    ScalerRef,
    TrainingLoop,
)
from modellint.finding import Certainty, Finding
from modellint.judge import judge

Kind = EventKind


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


SGD = OptimizerRef(1, "optimizer", "SGD", at(5))
OTHER = OptimizerRef(2, "other", "Adam", at(6))


def event(kind: EventKind, line: int, *optimizers: int, **more: Any) -> Event:
    return Event(kind, at(line), f"{kind.value.lower()}()", optimizers, **more)


def loop(*passes: tuple[Event, ...], **more: Any) -> TrainingLoop:
    return TrainingLoop(
        at(20), passes, **{"complete": True, "optimizers": (SGD,), "cleared_outside": (), "framework": None, **more}
    )


CLEAR = event(Kind.ZERO_GRAD, 21, 1)
FORWARD = event(Kind.FORWARD, 22, 1)
LOSS = event(Kind.LOSS, 23)
BACKWARD = event(Kind.BACKWARD, 24, 1)
CLIP = event(Kind.CLIP, 25, 1)
STEP = event(Kind.OPTIMIZER_STEP, 26, 1)
UNKNOWN = event(Kind.UNKNOWN_CALL, 27)
SCALED = replace(BACKWARD, scaled=True)
UNSCALE = event(Kind.UNSCALE, 28, 1)
BY_SCALER = replace(STEP, scaled=True)
UPDATE = event(Kind.SCALER_UPDATE, 29)

# --- missing-optimizer-step -------------------------------------------------------------------------------------------

UNSTEPPED = loop((BACKWARD,))


def test_missing_optimizer_step_at_the_backward() -> None:
    finding = only("missing-optimizer-step", UNSTEPPED)
    assert finding.span == BACKWARD.place
    assert finding.message == "`optimizer` never steps on the gradients that are made here"
    assert finding.certainty is Certainty.CERTAIN


def test_missing_optimizer_step_of_one_that_another_replaces_is_likely_and_at_its_construction() -> None:
    finding = only("missing-optimizer-step", loop((BACKWARD, event(Kind.OPTIMIZER_STEP, 26, 2))))
    assert finding.span == SGD.place
    assert finding.certainty is Certainty.LIKELY
    assert [note.span for note in finding.related] == [at(26)]


@pytest.mark.parametrize(
    "fact",
    [
        loop((BACKWARD, STEP)),
        loop((replace(BACKWARD, optimizers=(2,)),)),
        replace(UNSTEPPED, complete=False),
        replace(UNSTEPPED, framework="lightning"),
        replace(UNSTEPPED, optimizers=()),
        loop((BACKWARD, event(Kind.OPTIMIZER_STEP, 26, 2)), optimizers=(replace(SGD, place=None),)),
    ],
)
def test_missing_optimizer_step_stays_silent(fact: TrainingLoop) -> None:
    assert run("missing-optimizer-step", fact) == []


# --- missing-backward -------------------------------------------------------------------------------------------------

IDLE = loop((CLEAR, FORWARD, LOSS, STEP))


def test_missing_backward_at_the_step() -> None:
    finding = only("missing-backward", IDLE)
    assert finding.span == STEP.place
    assert [note.span for note in finding.related] == [FORWARD.place]


@pytest.mark.parametrize(
    "fact",
    [
        loop((CLEAR, FORWARD, LOSS, BACKWARD, STEP)),
        loop((CLEAR, FORWARD, LOSS, STEP), (BACKWARD,)),
        loop((FORWARD, LOSS, STEP), (FORWARD, LOSS, UNKNOWN)),
        loop((FORWARD, LOSS, replace(UNKNOWN, optimizers=(2,)), STEP)),
        loop((FORWARD, STEP)),
        loop((LOSS, STEP)),
        loop((replace(FORWARD, optimizers=(2,)), LOSS, STEP)),
        loop((FORWARD, LOSS)),
        replace(IDLE, complete=False),
        replace(IDLE, framework="fastai"),
    ],
)
def test_missing_backward_stays_silent(fact: TrainingLoop) -> None:
    assert run("missing-backward", fact) == []


# --- step-before-backward ---------------------------------------------------------------------------------------------

REVERSED = loop((CLEAR, FORWARD, LOSS, STEP, BACKWARD))


def test_step_before_backward_says_what_the_step_finds() -> None:
    finding = only("step-before-backward", REVERSED)
    assert finding.span == STEP.place
    assert "finds none" in finding.why
    assert "at the weights of an earlier step" in only("step-before-backward", loop((LOSS, STEP, BACKWARD))).why


@pytest.mark.parametrize(
    "fact",
    [
        loop((CLEAR, LOSS, BACKWARD, STEP)),
        loop((LOSS, STEP, CLEAR, BACKWARD)),
        loop((LOSS, STEP, BACKWARD), (LOSS, BACKWARD, STEP)),
        loop((LOSS, STEP, BACKWARD, BACKWARD)),
        loop((STEP, LOSS, BACKWARD)),
        loop((LOSS, UNKNOWN, STEP, BACKWARD)),
        loop((LOSS, STEP, replace(BACKWARD, optimizers=(2,)))),
        loop((LOSS, STEP)),
        replace(REVERSED, complete=False),
        replace(REVERSED, framework="ignite"),
    ],
)
def test_step_before_backward_stays_silent(fact: TrainingLoop) -> None:
    assert run("step-before-backward", fact) == []


# --- zero-grad-before-step --------------------------------------------------------------------------------------------

WIPED = loop((FORWARD, LOSS, BACKWARD, CLEAR, STEP))
WAITING = Accumulation(1, STEP.place, BACKWARD.place, "every", 4, True, True, True, False)
IN_PART = loop((CLEAR, BACKWARD, STEP), (CLEAR, BACKWARD), accumulations=(WAITING,))


def test_zero_grad_before_step() -> None:
    finding = only("zero-grad-before-step", WIPED)
    assert (finding.span, finding.certainty) == (STEP.place, Certainty.CERTAIN)
    assert finding.message == "`optimizer` steps on gradients that were cleared"


def test_zero_grad_before_step_of_all_micro_batches_but_one_is_likely() -> None:
    finding = only("zero-grad-before-step", IN_PART)
    assert finding.message == "`optimizer` steps on the gradients of the last micro-batch only"
    assert finding.certainty is Certainty.LIKELY


@pytest.mark.parametrize(
    "fact",
    [
        loop((CLEAR, BACKWARD, STEP)),
        loop((BACKWARD, STEP, CLEAR)),
        loop((BACKWARD, CLEAR, STEP), (BACKWARD, STEP)),
        loop((BACKWARD, CLEAR, BACKWARD, STEP)),
        loop((BACKWARD, replace(CLEAR, optimizers=(2,)), STEP)),
        loop((BACKWARD, replace(CLEAR, sure=False), STEP)),
        loop((BACKWARD, CLEAR, UNKNOWN, STEP)),
        replace(WIPED, complete=False),
        replace(WIPED, framework="accelerate"),
        replace(IN_PART, accumulations=()),
        replace(IN_PART, accumulations=(replace(WAITING, cleared=False),)),
        replace(IN_PART, accumulations=(replace(WAITING, framework=True),)),
        replace(IN_PART, accumulations=(replace(WAITING, number=1),)),
        replace(IN_PART, accumulations=(replace(WAITING, optimizer=2),)),
        replace(IN_PART, passes=((CLEAR, BACKWARD, STEP), (CLEAR, UNKNOWN, BACKWARD))),
    ],
)
def test_zero_grad_before_step_stays_silent(fact: TrainingLoop) -> None:
    assert run("zero-grad-before-step", fact) == []


# --- scheduler-before-optimizer ---------------------------------------------------------------------------------------

EARLY = loop((STEP,), start=(event(Kind.SCHEDULER_STEP, 21, 1), STEP))


def test_scheduler_before_optimizer() -> None:
    finding = only("scheduler-before-optimizer", EARLY)
    assert finding.span == at(21)
    assert finding.message == "`scheduler_step()` comes before the first step of `optimizer`"


@pytest.mark.parametrize(
    "fact",
    [replace(EARLY, start=()), replace(EARLY, start=(STEP,)), replace(EARLY, framework="lightning")],
)
def test_scheduler_before_optimizer_stays_silent(fact: TrainingLoop) -> None:
    assert run("scheduler-before-optimizer", fact) == []


# --- misplaced-gradient-clipping --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        (loop((CLEAR, BACKWARD, STEP, CLIP)), "where no step uses them"),
        (loop((CLEAR, CLIP, BACKWARD, STEP)), "where no step uses them"),
        (loop((BACKWARD, CLIP), (BACKWARD, CLIP, STEP, CLEAR)), "while further micro-batches are added"),
    ],
)
def test_misplaced_gradient_clipping(fact: TrainingLoop, words: str) -> None:
    finding = only("misplaced-gradient-clipping", fact)
    assert finding.span == CLIP.place
    assert finding.message == f"the gradients of `optimizer` are clipped {words}"


@pytest.mark.parametrize(
    "fact",
    [
        loop((CLEAR, BACKWARD, CLIP, STEP)),
        loop((CLIP, BACKWARD, STEP), (BACKWARD, STEP)),
        loop((BACKWARD, STEP, replace(CLIP, sure=False))),
        loop((BACKWARD, STEP, replace(CLIP, optimizers=(2,)))),
        loop((BACKWARD, STEP, CLIP, UNKNOWN)),
        loop((CLEAR, BACKWARD, CLIP), (CLEAR, BACKWARD, CLIP, STEP)),
        loop((BACKWARD, CLIP), (BACKWARD, STEP, CLEAR)),
        loop((BACKWARD, STEP, CLIP), complete=False),
        loop((BACKWARD, STEP, CLIP), framework="lightning"),
    ],
)
def test_misplaced_gradient_clipping_stays_silent(fact: TrainingLoop) -> None:
    assert run("misplaced-gradient-clipping", fact) == []


# --- unscaled-gradient-clipping ---------------------------------------------------------------------------------------

STILL_SCALED = loop((SCALED, replace(CLIP, scaled=True), BY_SCALER, UPDATE))


def test_unscaled_gradient_clipping() -> None:
    finding = only("unscaled-gradient-clipping", STILL_SCALED)
    assert (finding.span, finding.certainty) == (CLIP.place, Certainty.CERTAIN)


def test_unscaled_gradient_clipping_is_likely_where_the_scaler_may_be_off() -> None:
    unsure = replace(STILL_SCALED, passes=((replace(SCALED, sure=False), replace(CLIP, scaled=True), BY_SCALER),))
    assert only("unscaled-gradient-clipping", unsure).certainty is Certainty.LIKELY


@pytest.mark.parametrize(
    "fact",
    [
        loop((SCALED, UNSCALE, CLIP, BY_SCALER)),
        loop((SCALED, CLIP, BY_SCALER)),
        loop((BACKWARD, replace(CLIP, scaled=True), STEP)),
        loop((SCALED, UNKNOWN, replace(CLIP, scaled=True), BY_SCALER)),
        loop((SCALED, replace(CLIP, scaled=True, optimizers=(2,)), BY_SCALER)),
        replace(STILL_SCALED, framework="lightning"),
    ],
)
def test_unscaled_gradient_clipping_stays_silent(fact: TrainingLoop) -> None:
    assert run("unscaled-gradient-clipping", fact) == []


# --- grad-scaler-misused ----------------------------------------------------------------------------------------------

SCALER = ScalerRef("scaler", 1, STEP.place, scales=True, updates=True, on=True, complete=True)
TWICE = loop((SCALED, BY_SCALER, UPDATE, event(Kind.OPTIMIZER_STEP, 30, 1)), scalers=(SCALER,))
NEVER = loop((SCALED, BY_SCALER), scalers=(replace(SCALER, updates=False),))
UNSCALED = loop((BACKWARD, BY_SCALER, UPDATE), scalers=(replace(SCALER, scales=False),))


@pytest.mark.parametrize(
    ("fact", "line", "words"),
    [
        (loop((SCALED, STEP, UPDATE)), 26, "`optimizer` steps on gradients that still carry the scale of the loss"),
        (TWICE, 30, "`optimizer` steps twice: `optimizer_step()` has already called it"),
        (NEVER, 26, "`scaler` is never updated"),
        (UNSCALED, 24, "`scaler` steps on gradients that it has not scaled"),
    ],
)
def test_grad_scaler_misused(fact: TrainingLoop, line: int, words: str) -> None:
    finding = only("grad-scaler-misused", fact)
    assert (finding.span, finding.message) == (at(line), words)
    assert finding.certainty is Certainty.CERTAIN


def test_grad_scaler_misused_is_likely_where_the_scaler_may_be_off() -> None:
    unsure = replace(NEVER, scalers=(replace(NEVER.scalers[0], on=False),))
    assert only("grad-scaler-misused", unsure).certainty is Certainty.LIKELY


@pytest.mark.parametrize(
    "fact",
    [
        loop((SCALED, BY_SCALER, UPDATE), scalers=(SCALER,)),
        loop((SCALED, UNSCALE, STEP, UPDATE)),
        loop((SCALED, UNKNOWN, STEP)),
        loop((BACKWARD, STEP)),
        loop((SCALED, BY_SCALER, UPDATE, BACKWARD, STEP), scalers=(SCALER,)),
        replace(TWICE, framework="lightning"),
        replace(NEVER, scalers=(replace(SCALER, updates=False, complete=False),)),
        replace(NEVER, scalers=(replace(SCALER, updates=False, optimizer=2),)),
        replace(UNSCALED, scalers=(replace(SCALER, scales=False, complete=False),)),
        replace(UNSCALED, passes=((BACKWARD, UNKNOWN, BY_SCALER),)),
        replace(UNSCALED, passes=((BY_SCALER, BACKWARD),)),
    ],
)
def test_grad_scaler_misused_stays_silent(fact: TrainingLoop) -> None:
    assert run("grad-scaler-misused", fact) == []


# --- accumulation-not-scaled ------------------------------------------------------------------------------------------

SUMMED = Accumulation(1, STEP.place, BACKWARD.place, "every", 4, False, True, False, False)
ADDED_UP = loop((BACKWARD, STEP, CLEAR), (BACKWARD,), accumulations=(SUMMED,))


def test_accumulation_not_scaled() -> None:
    finding = only("accumulation-not-scaled", ADDED_UP)
    assert (finding.span, finding.certainty) == (BACKWARD.place, Certainty.CERTAIN)
    assert finding.message == "`optimizer` steps on the sum of 4 mean losses, not on their mean"


def test_accumulation_not_scaled_of_an_adaptive_optimizer_is_likely_and_says_so() -> None:
    finding = only("accumulation-not-scaled", replace(ADDED_UP, optimizers=(replace(SGD, kind="AdamW"),)))
    assert finding.certainty is Certainty.LIKELY
    assert "AdamW divides by the size of its gradients" in finding.why


def test_accumulation_not_scaled_names_what_is_not_a_number() -> None:
    unknown = replace(ADDED_UP, accumulations=(replace(SUMMED, number=None),))
    assert "sum of `every` mean losses" in only("accumulation-not-scaled", unknown).message


@pytest.mark.parametrize(
    "changes",
    [{"weighed": True}, {"mean": False}, {"framework": True}, {"cleared": True}, {"number": 1}, {"optimizer": 2}],
    ids=str,
)
def test_accumulation_not_scaled_stays_silent(changes: dict[str, Any]) -> None:
    assert run("accumulation-not-scaled", replace(ADDED_UP, accumulations=(replace(SUMMED, **changes),))) == []


@pytest.mark.parametrize(
    "fact",
    [
        replace(ADDED_UP, complete=False),
        replace(ADDED_UP, framework="lightning"),
        replace(ADDED_UP, passes=((BACKWARD, CLIP, STEP, CLEAR), (BACKWARD,))),
        replace(ADDED_UP, passes=((BACKWARD, UNKNOWN, STEP, CLEAR), (BACKWARD,))),
    ],
)
def test_accumulation_not_scaled_stays_silent_in_other_loops(fact: TrainingLoop) -> None:
    assert run("accumulation-not-scaled", fact) == []


# --- scheduler-never-stepped ------------------------------------------------------------------------------------------

BY_BATCH = SchedulePlace(at(30), "scheduler.step()", Interval.BATCH, True)
BY_EPOCH = SchedulePlace(at(31), "scheduler.step()", Interval.EPOCH, True)
SETUP = SchedulerSetup(
    place=at(8), text="scheduler", kind="StepLR", optimizer=SGD, trains=True, other=None, other_step=None, steps=(),
    untouched=True, counts=Interval.UNKNOWN, shown="", framework=None,
)  # fmt: skip
OF_ANOTHER = replace(SETUP, trains=False, other=OTHER, other_step=at(26), steps=(BY_EPOCH,))


def test_scheduler_never_stepped() -> None:
    finding = only("scheduler-never-stepped", SETUP)
    assert (finding.span, finding.message) == (at(8), "`scheduler` is never stepped")
    assert run("scheduler-never-stepped", replace(SETUP, trains=False, other=OTHER, other_step=at(26)))


def test_scheduler_never_stepped_where_it_schedules_another_optimizer() -> None:
    finding = only("scheduler-never-stepped", OF_ANOTHER)
    assert finding.message == "`scheduler` schedules `optimizer`, and `other` trains the parameters"
    assert [note.span for note in finding.related] == [at(26), at(31)]


@pytest.mark.parametrize(
    "setup",
    [
        replace(SETUP, steps=(BY_EPOCH,)),
        replace(SETUP, untouched=False),
        replace(SETUP, trains=False),
        replace(SETUP, optimizer=None),
        replace(SETUP, framework="lightning"),
        replace(OF_ANOTHER, framework="lightning"),
        replace(OF_ANOTHER, other=None, trains=True),
    ],
)
def test_scheduler_never_stepped_stays_silent(setup: SchedulerSetup) -> None:
    assert run("scheduler-never-stepped", setup) == []


# --- scheduler-wrong-interval -----------------------------------------------------------------------------------------

OF_EPOCHS = replace(SETUP, steps=(BY_BATCH,), counts=Interval.EPOCH, shown="`step_size=30` lies within the 90 epochs")
OF_BATCHES = replace(OF_EPOCHS, kind="OneCycleLR", steps=(BY_EPOCH,), counts=Interval.BATCH)
BOTH = replace(SETUP, steps=(BY_BATCH, BY_EPOCH))


@pytest.mark.parametrize(
    ("setup", "line", "words"),
    [
        (OF_EPOCHS, 30, "`scheduler` counts epochs and is stepped after every batch"),
        (OF_BATCHES, 31, "`scheduler` counts batches and is stepped after every epoch"),
        (BOTH, 31, "`scheduler` is stepped after every batch, and again after every epoch"),
    ],
)
def test_scheduler_wrong_interval(setup: SchedulerSetup, line: int, words: str) -> None:
    finding = only("scheduler-wrong-interval", setup)
    assert (finding.span, finding.message) == (at(line), words)


def test_scheduler_wrong_interval_of_a_decay_is_likely() -> None:
    assert only("scheduler-wrong-interval", replace(OF_EPOCHS, kind="ExponentialLR")).certainty is Certainty.LIKELY


@pytest.mark.parametrize(
    "setup",
    [
        SETUP,
        replace(OF_EPOCHS, steps=(BY_EPOCH,)),
        replace(OF_EPOCHS, counts=Interval.UNKNOWN),
        replace(OF_EPOCHS, steps=(replace(BY_BATCH, interval=Interval.UNKNOWN),)),
        replace(OF_BATCHES, steps=(BY_BATCH,)),
        replace(BOTH, steps=(replace(BY_BATCH, always=False), BY_EPOCH)),
        replace(BOTH, steps=(BY_BATCH, replace(BY_EPOCH, always=False))),
        replace(OF_EPOCHS, framework="lightning"),
    ],
)
def test_scheduler_wrong_interval_stays_silent(setup: SchedulerSetup) -> None:
    assert run("scheduler-wrong-interval", setup) == []


# --- retain-graph -----------------------------------------------------------------------------------------------------


def test_retain_graph_fires_where_one_backward_goes_through_a_graph() -> None:
    graph = RetainedGraph(at(24), "loss.backward(retain_graph=True)", at(24), at(20), 1)
    finding = only("retain-graph", graph)
    assert finding.span == at(24)
    assert [note.span for note in finding.related] == [at(20)]
    assert run("retain-graph", replace(graph, backwards=2)) == []


# --- missing-zero-grad ------------------------------------------------------------------------------------------------


def test_missing_zero_grad_in_some_rounds_of_the_outer_loop() -> None:
    fact = loop((BACKWARD, STEP), when="`epoch == 0` is false")
    finding = only("missing-zero-grad", fact)
    assert finding.message == "`optimizer` steps on gradients that are not cleared while `epoch == 0` is false"


# --- the facts --------------------------------------------------------------------------------------------------------

HEAD = """
net = nn.Linear(4, 3)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
data = torch.utils.data.TensorDataset(torch.randn(8, 4), torch.randint(0, 3, (8,)))
xs = torch.utils.data.DataLoader(data)
"""


def training(program: Program, body: str) -> TrainingLoop:
    return program.one(TrainingLoop, HEAD + body)


def told(fact: TrainingLoop, keep: Callable[[Event], bool]) -> list[str]:
    return [" ".join(e.kind.value for e in one if keep(e)) for one in fact.passes]


AMP_LOOP = """
amp = torch.cuda.device_count()
scaler = torch.amp.GradScaler("cuda")
for x, y in xs:
    opt.zero_grad()
    loss = F.cross_entropy(net(x), y)
    if {first}:
        scaler.scale(loss).backward()
    else:
        loss.backward()
    if {second}:
        scaler.unscale_(opt)
        scaler.step(opt)
    else:
        opt.step()
"""


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        ("amp", "amp", 2),
        ("amp > 1", "amp > 1", 2),
        ("amp == 1", "amp == 1", 2),
        ("len(xs) > 3 and amp", "len(xs) > 3 and amp", 2),
        ("loss > 1", "loss > 1", 2),
        ("x[0] > 1", "x[0] > 1", 2),
        ("amp > 1", "amp > 2", 4),
        ("torch.rand(1) > 0.5", "torch.rand(1) > 0.5", 4),
    ],
)
def test_a_path_does_not_contradict_itself(program: Program, first: str, second: str, count: int) -> None:
    fact = training(program, AMP_LOOP.format(first=first, second=second))
    assert fact.complete
    assert len(fact.passes) == count


def test_the_negation_of_a_test_is_its_other_outcome(program: Program) -> None:
    fact = training(program, AMP_LOOP.format(first="x[0] != 1", second="not x[0] == 1"))
    paired = {tuple(e.scaled for e in one if e.kind is Kind.BACKWARD): told_steps(one) for one in fact.passes}
    assert paired == {(True,): [True], (False,): [False]}


def told_steps(events: tuple[Event, ...]) -> list[bool]:
    return [event.scaled for event in events if event.kind is Kind.OPTIMIZER_STEP]


def test_a_test_of_what_changed_between_is_another_test(program: Program) -> None:
    body = """
seen = 0
for x, y in xs:
    loss = F.cross_entropy(net(x), y)
    if seen == 0:
        opt.zero_grad()
    loss.backward()
    seen += 1
    if seen == 0:
        opt.step()
"""
    assert len(training(program, body).passes) == 4


@pytest.mark.parametrize(
    ("enabled", "scaled", "sure"),
    [("", True, True), (", enabled=False", False, True), (", enabled=bool(xs)", True, False)],
)
def test_what_a_scaler_scales(program: Program, enabled: str, scaled: bool, sure: bool) -> None:
    body = f"""
scaler = torch.amp.GradScaler("cuda"{enabled})
for x, y in xs:
    opt.zero_grad()
    scaled = scaler.scale(F.cross_entropy(net(x), y) / 4)
    scaled.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    scaler.step(opt)
    scaler.update()
"""
    fact = training(program, body)
    (events,) = fact.passes
    marked = [(e.scaled, e.sure) for e in events if e.kind in (Kind.BACKWARD, Kind.CLIP)]
    assert marked == [(scaled, sure), (scaled, True)]
    assert [(s.text, s.scales, s.updates, s.on) for s in fact.scalers] == (
        [("scaler", True, True, sure)] if scaled else []
    )


def test_the_scale_is_off_after_unscale(program: Program) -> None:
    body = """
scaler = torch.amp.GradScaler("cuda")
for x, y in xs:
    scaler.scale(F.cross_entropy(net(x), y)).backward()
    scaler.unscale_(opt)
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    scaler.step(opt)
"""
    (events,) = training(program, body).passes
    assert [e.scaled for e in events if e.kind is Kind.CLIP] == [False]


@pytest.mark.parametrize(
    ("clip", "events"),
    [
        ("nn.utils.clip_grad_norm_(net.parameters(), 1.0)", "CLIP"),
        ("nn.utils.clip_grad_norm_(list(net.parameters()), max_norm=1.0)", "CLIP"),
        ("nn.utils.clip_grad_value_(net.parameters(), clip_value=0.5)", "CLIP"),
        ("nn.utils.clip_grad_norm_(net.parameters(), float('inf'))", ""),
        ("nn.utils.clip_grad_norm_(net.parameters(), max_norm=torch.inf)", ""),
        ("nn.utils.clip_grad_norm_(nn.Linear(2, 2).parameters(), 1.0)", "other"),
        ("[p.grad.data.clamp_(-1, 1) for p in net.parameters()]", "CLIP CLIP"),
        ("net.weight.data.clamp_(-1, 1)", ""),
    ],
)
def test_what_clips_the_gradients_of_an_optimizer(program: Program, clip: str, events: str) -> None:
    body = f"for x, y in xs:\n    F.cross_entropy(net(x), y).backward()\n    {clip}\n    opt.step()\n"
    fact = training(program, body)
    key = fact.optimizers[0].key
    (one,) = fact.passes
    clips = ["CLIP" if key in e.optimizers else "other" for e in one if e.kind is Kind.CLIP]
    assert " ".join(clips) == events


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("p.grad = None", Kind.ZERO_GRAD),
        ("p.grad = p.grad / 2", Kind.UNKNOWN_CALL),
        ("p.grad.zero_()", Kind.ZERO_GRAD),
        ("p.grad.div_(8)", Kind.UNSCALE),
    ],
)
def test_what_is_done_to_gradients_one_by_one(program: Program, statement: str, kind: EventKind) -> None:
    body = (
        "for x, y in xs:\n    F.cross_entropy(net(x), y).backward()\n"
        f"    for p in net.parameters():\n        {statement}\n    opt.step()\n"
    )
    fact = training(program, body)
    assert {e.kind for one in fact.passes for e in one if e.place.line > 11} >= {kind}
    others = {Kind.ZERO_GRAD, Kind.UNKNOWN_CALL, Kind.UNSCALE} - {kind}
    assert not others & {e.kind for one in fact.passes for e in one}


def test_a_loop_inside_that_only_runs_backward_is_a_part_of_the_pass(program: Program) -> None:
    body = """
for _ in range(3):
    opt.zero_grad()
    for x, y in xs:
        F.cross_entropy(net(x), y).backward()
    opt.step()
"""
    inner, outer = sorted(program.all(TrainingLoop, HEAD + body), key=lambda fact: -fact.place.line)
    assert told(outer, lambda e: True) == ["ZERO_GRAD FORWARD LOSS BACKWARD OPTIMIZER_STEP"]
    assert told(inner, lambda e: True) == ["FORWARD LOSS BACKWARD"]


def test_a_loop_inside_that_steps_may_do_anything_to_its_optimizer(program: Program) -> None:
    body = """
for _ in range(3):
    for x, y in xs:
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
    F.cross_entropy(net(x), y).backward()
    opt.step()
"""
    outer = min(program.all(TrainingLoop, HEAD + body), key=lambda fact: fact.place.line)
    assert told(outer, lambda e: e.kind is not Kind.FORWARD) == ["UNKNOWN_CALL LOSS BACKWARD OPTIMIZER_STEP"]


def test_rounds_of_an_outer_loop_that_decide_what_the_inner_one_does(program: Program) -> None:
    body = """
for epoch in range(30):
    for x, y in xs:
        if epoch == 0:
            opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
"""
    facts = program.all(TrainingLoop, HEAD + body)
    passes = {fact.when: told(fact, lambda e: e.kind is Kind.ZERO_GRAD) for fact in facts}
    assert passes == {"`epoch == 0` is true": ["ZERO_GRAD"], "`epoch == 0` is false": [""]}


@pytest.mark.parametrize(
    ("test", "period", "number"),
    [
        ("(i + 1) % every == 0", "every", 4),
        ("i % 8 == 7", "8", 8),
        ("not (i + 1) % every", "every", 4),
        ("(i + 1) % every == 0 or i + 1 == len(xs)", "every", 4),
    ],
)
def test_a_step_that_waits(program: Program, test: str, period: str, number: int) -> None:
    body = f"""
every = 4
for i, (x, y) in enumerate(xs):
    F.cross_entropy(net(x), y).backward()
    if {test}:
        opt.step()
        opt.zero_grad()
"""
    (one,) = training(program, body).accumulations
    assert (one.period, one.number, one.mean, one.weighed, one.cleared) == (period, number, True, False, False)


@pytest.mark.parametrize(
    ("loss", "mean", "weighed"),
    [
        ("F.cross_entropy(net(x), y) / every", True, True),
        ("0.5 * F.cross_entropy(net(x), y)", True, True),
        ("F.cross_entropy(net(x), y, reduction='sum')", False, False),
        ("F.cross_entropy(net(x), y, reduction='mean')", True, False),
        ("F.cross_entropy(net(x), y) + F.mse_loss(net(x), y)", True, False),
        ("net(x).sum()", False, False),
    ],
)
def test_how_a_loss_is_weighed(program: Program, loss: str, mean: bool, weighed: bool) -> None:
    body = f"""
every = 4
for i, (x, y) in enumerate(xs):
    loss = {loss}
    loss.backward()
    if (i + 1) % every == 0:
        opt.step()
        opt.zero_grad()
"""
    (one,) = training(program, body).accumulations
    assert (one.mean, one.weighed) == (mean, weighed)


@pytest.mark.parametrize("test", ["i > 3", "every == 0", "loss > 1"])
def test_a_step_under_another_test_accumulates_nothing(program: Program, test: str) -> None:
    body = f"""
every = len(xs)
for i, (x, y) in enumerate(xs):
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    if {test}:
        opt.step()
"""
    assert training(program, body).accumulations == ()


SCHEDULE = """
sched = torch.optim.lr_scheduler.{made}
for epoch in range(20):
    for x, y in xs:
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
        {inner}
    {outer}
"""


@pytest.mark.parametrize(
    ("made", "counts"),
    [
        ("StepLR(opt, 5)", Interval.EPOCH),
        ("StepLR(opt, step_size=5000)", Interval.UNKNOWN),
        ("StepLR(opt, len(xs))", Interval.UNKNOWN),
        ("MultiStepLR(opt, [5, 10])", Interval.EPOCH),
        ("MultiStepLR(opt, [5, 1000])", Interval.UNKNOWN),
        ("CosineAnnealingLR(opt, T_max=20)", Interval.EPOCH),
        ("CosineAnnealingLR(opt, T_max=20 * len(xs))", Interval.UNKNOWN),
        ("ExponentialLR(opt, 0.9)", Interval.EPOCH),
        ("ExponentialLR(opt, 0.9999)", Interval.UNKNOWN),
        ("OneCycleLR(opt, 0.1, epochs=20, steps_per_epoch=len(xs))", Interval.BATCH),
        ("OneCycleLR(opt, 0.1, epochs=20, steps_per_epoch=1)", Interval.UNKNOWN),
        ("OneCycleLR(opt, 0.1, total_steps=20)", Interval.UNKNOWN),
        ("CyclicLR(opt, 0.01, 0.1)", Interval.BATCH),
        ("CyclicLR(opt, 0.01, 0.1, step_size_up=5)", Interval.UNKNOWN),
        ("LambdaLR(opt, lambda step: 0.9 ** step)", Interval.UNKNOWN),
    ],
)
def test_what_a_schedule_counts(program: Program, made: str, counts: Interval) -> None:
    body = SCHEDULE.format(made=made, inner="sched.step()", outer="")
    setup = program.one(SchedulerSetup, HEAD + body)
    assert setup.counts is counts
    assert bool(setup.shown) is (counts is not Interval.UNKNOWN)


@pytest.mark.parametrize(
    ("inner", "outer", "intervals"),
    [
        ("sched.step()", "pass", [(Interval.BATCH, True)]),
        ("pass", "sched.step()", [(Interval.EPOCH, True)]),
        ("sched.step()", "sched.step()", [(Interval.BATCH, True), (Interval.EPOCH, True)]),
        ("_ = len(xs) > 3 and sched.step()", "pass", [(Interval.BATCH, False)]),
        ("pass", "pass", []),
    ],
)
def test_where_a_schedule_is_stepped(
    program: Program, inner: str, outer: str, intervals: list[tuple[Interval, bool]]
) -> None:
    setup = program.one(SchedulerSetup, HEAD + SCHEDULE.format(made="StepLR(opt, 5)", inner=inner, outer=outer))
    assert [(step.interval, step.always) for step in setup.steps] == intervals
    assert setup.trains
    assert setup.untouched is (not intervals)


@pytest.mark.parametrize(
    ("use", "untouched"),
    [
        ("pass", True),
        ("sched.get_last_lr()", False),
        ("torch.save(sched.state_dict(), 'x.pt')", False),
        ("print(sched)", False),
        ("plans = [sched]", False),
        ("after = sched.step", False),
        ("look_at(sched)", True),
        ("keep(sched)", False),
        ("unknown(sched)", False),
    ],
)
def test_what_else_is_done_with_a_schedule(program: Program, use: str, untouched: bool) -> None:
    helpers = """
kept = []
def look_at(plan):
    return 3
def keep(plan):
    kept.append(plan)
"""
    body = helpers + SCHEDULE.format(made="StepLR(opt, 5)", inner="pass", outer=use)
    assert program.one(SchedulerSetup, HEAD + body).untouched is untouched


@pytest.mark.parametrize(
    ("body", "early"),
    [
        ("for _ in range(3):\n    sched.step()\n    one()", True),
        ("for _ in range(3):\n    one()\n    sched.step()", False),
        ("for epoch in range(3):\n    if epoch > 0:\n        sched.step()\n    one()", False),
        ("one()\nfor _ in range(3):\n    sched.step()\n    one()", False),
        ("for epoch in range(3):\n    sched.step(epoch)\n    one()", False),
        ("for _ in range(3):\n    unknown(opt)\n    sched.step()\n    one()", False),
    ],
)
def test_what_comes_first(program: Program, body: str, early: bool) -> None:
    helper = """
sched = torch.optim.lr_scheduler.StepLR(opt, 5)
def one():
    for x, y in xs:
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
"""
    facts = program.all(TrainingLoop, HEAD + helper + body + "\n")
    starts = {tuple(event.kind for event in fact.start) for fact in facts if fact.start}
    assert starts == ({(Kind.SCHEDULER_STEP, Kind.OPTIMIZER_STEP)} if early else set())


@pytest.mark.parametrize(
    ("after", "backwards"),
    [("pass", [1]), ("out.mean().backward()", [2]), ("unknown(loss)", [])],
)
def test_how_often_a_kept_graph_is_gone_through(program: Program, after: str, backwards: list[int]) -> None:
    body = f"""
for x, y in xs:
    opt.zero_grad()
    out = net(x)
    loss = F.cross_entropy(out, y)
    loss.backward(retain_graph=True)
    {after}
    opt.step()
"""
    assert [graph.backwards for graph in program.all(RetainedGraph, HEAD + body)] == backwards


@pytest.mark.parametrize(
    ("used", "found"),
    [
        ("idle.zero_grad()", True),
        ("pass", True),
        ("idle.param_groups[0]['lr'] = 0.1", True),
        ("apply(idle.param_groups)", False),
        ("p.data.sub_(p.grad)", False),
        ("update(idle)", False),
        ("xs.append(idle)", False),
    ],
)
def test_an_optimizer_that_never_steps_is_a_loop_of_its_own(program: Program, used: str, found: bool) -> None:
    body = f"""
idle = torch.optim.Adam(net.parameters())
for x, y in xs:
    F.cross_entropy(net(x), y).backward()
    {used}
"""
    facts = program.all(TrainingLoop, HEAD.replace("opt = torch.optim.SGD(net.parameters(), lr=0.1)", "") + body)
    assert ["idle" in [o.text for o in fact.optimizers] for fact in facts].count(True) == int(found)
