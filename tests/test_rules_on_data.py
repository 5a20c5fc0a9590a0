"""The rules about data and ranks: hand-made facts, and the facts that the source reader makes of small programs."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import pytest
from small_programs import Program

from modellint.catalog import all_rules
from modellint.facts.distributed_setup import Bypass, DistributedSetup
from modellint.facts.evaluation_data import DrawnStep, EvaluationData, Normalization, Overlap
from modellint.facts.loader_call import IterableRead, LoaderCall
from modellint.facts.loader_setup import LoaderSetup
from modellint.facts.model import ModelRef
from modellint.facts.prediction_order import PredictionOrder
from modellint.facts.rank_batches import RankBatches
from modellint.facts.repeated_batches import RepeatedBatches
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.selection_use import SelectionUse
from modellint.facts.span import Span
from modellint.facts.unused_sampler import UnusedSampler
from modellint.finding import Finding
from modellint.judge import judge


def at(line: int) -> Span:
    return Span("train.py", line, 5, line, 15)


def run(rule: str, *facts: object) -> list[Finding]:
    """What one rule says about some facts."""
    findings, failures = judge(facts, [all_rules()[rule]()])
    assert failures == []
    return findings


def changed(fact: Any, changes: dict[str, Any]) -> Any:
    return replace(fact, **changes)


# --- train-loader-not-shuffled, missing-set-epoch ---------------------------------------------------------------------

IN_ORDER = LoaderSetup(
    place=at(30), text="train_loader", sampler="SequentialSampler", sequential=True, distributed_shuffle=False,
    epochs=2, sampler_epochs=(), steps=0, shuffled_otherwise=False, ordered_on_purpose=False,
)  # fmt: skip


def test_a_training_in_order_is_reported_at_its_loop() -> None:
    (finding,) = run("train-loader-not-shuffled", IN_ORDER)
    assert finding.span == at(30)
    assert finding.message == "training reads `train_loader` in the same order in every epoch"
    assert "steps" not in finding.label
    (finding,) = run("train-loader-not-shuffled", replace(IN_ORDER, text="the loader"))
    assert "training reads the loader" in finding.message


@pytest.mark.parametrize(
    "changes",
    [{"sequential": False}, {"epochs": 1}, {"shuffled_otherwise": True}, {"ordered_on_purpose": True}],
    ids=str,
)
def test_an_order_that_is_meant_or_unknown_is_fine(changes: dict[str, Any]) -> None:
    assert run("train-loader-not-shuffled", changed(IN_ORDER, changes)) == []


UNTOLD = replace(
    IN_ORDER, sequential=False, sampler="DistributedSampler", distributed_shuffle=True, sampler_epochs=(0, 0),
    epoch_variable="epoch", sampler_text="sampler",
)  # fmt: skip


def test_a_sampler_that_is_never_told_the_epoch() -> None:
    (finding,) = run("missing-set-epoch", UNTOLD)
    assert "`train_loader` has the same order in every epoch" in finding.message
    assert "sampler.set_epoch(epoch)" in finding.help
    seen = replace(UNTOLD, run=RunEvidence(2, 2, 0, "epochs"))
    assert "was 0 in all 2 epochs" in run("missing-set-epoch", seen)[0].label


@pytest.mark.parametrize(
    "changes", [{"distributed_shuffle": False}, {"sampler_epochs": ()}, {"sampler_epochs": (0, 1)}], ids=str
)
def test_a_sampler_that_is_told_or_does_not_shuffle_is_fine(changes: dict[str, Any]) -> None:
    assert run("missing-set-epoch", changed(UNTOLD, changes)) == []


# --- duplicated-worker-randomness -------------------------------------------------------------------------------------

KEPT = RepeatedBatches(at(30), "loader", 4, 0, 0, cause="kept", generator="self.draw", generator_place=at(9))


@pytest.mark.parametrize(
    ("cause", "words"), [("kept", "its own copy of `self.draw`"), ("seeded", "gives all 4 workers")]
)
def test_one_generator_for_all_workers(cause: str, words: str) -> None:
    (finding,) = run("duplicated-worker-randomness", replace(KEPT, cause=cause))
    assert words in finding.why
    assert finding.related[0].span == at(9)


def test_a_run_needs_batches_that_repeat() -> None:
    assert run("duplicated-worker-randomness", replace(KEPT, cause="")) == []
    seen = replace(KEPT, cause="", pairs=1, batches=8, run=RunEvidence(1, 8, 0, "batches"))
    assert run("duplicated-worker-randomness", seen) == []
    assert run("duplicated-worker-randomness", replace(seen, pairs=2))


# --- ranks ------------------------------------------------------------------------------------------------------------

MODEL = ModelRef(7, "model", "Net", at(3), at(20), "", complete=True)
BYPASSED = DistributedSetup(
    MODEL, at(31), "DistributedDataParallel", 9, 0, (), bypass=Bypass(at(31), "model.module", 0, 0)
)  # fmt: skip


def test_the_inner_model_is_trained() -> None:
    (finding,) = run("ddp-bypassed", BYPASSED)
    assert finding.message.startswith("`model.module` is trained past its DistributedDataParallel wrapper")
    assert run("rank-divergence", BYPASSED) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"bypass": None}, {"complete": False}, {"wrapper": "DataParallel"},
        {"run": RunEvidence(1, 1, 0)},
    ],
    ids=str,
)  # fmt: skip
def test_a_bypass_that_is_not_sure_is_fine(changes: dict[str, Any]) -> None:
    assert run("ddp-bypassed", changed(BYPASSED, changes)) == []


ALONE = DistributedSetup(MODEL, at(31), "", 0, 0, (), alone=True)


def test_ranks_that_train_alone() -> None:
    (finding,) = run("gradients-not-averaged", ALONE)
    assert "`DistributedDataParallel(model)`" in finding.help


@pytest.mark.parametrize("changes", [{"alone": False}, {"complete": False}], ids=str)
def test_ranks_that_may_not_train_alone(changes: dict[str, Any]) -> None:
    assert run("gradients-not-averaged", changed(ALONE, changes)) == []


UNDIVIDED = RankBatches(MODEL, at(31), 0, 0, 0, 0, loader="train_loader", loader_place=at(12))


def test_every_rank_reads_all_the_data() -> None:
    (finding,) = run("duplicated-rank-batches", UNDIVIDED)
    assert finding.span == at(31)
    assert [note.span for note in finding.related] == [at(12)]
    assert run("duplicated-rank-batches", replace(UNDIVIDED, loader="")) == []
    seen = replace(UNDIVIDED, loader="", equal=3, distinct=3, compared=3, run=RunEvidence(3, 3, 0))
    assert "same batches" in run("duplicated-rank-batches", seen)[0].message


# --- sampler-with-shuffle, iterable-dataset-duplicated ----------------------------------------------------------------

CALL = LoaderCall(
    place=at(10), text="DataLoader", sampler="", batch_sampler="", shuffle=False, shuffle_place=None, others=(),
    workers=0, initialised=False, iterable=None, in_test_suite=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampler": "sampler", "shuffle": True, "shuffle_place": at(11)}, "`shuffle` beside `sampler=sampler`"),
        ({"batch_sampler": "batches", "shuffle": True, "shuffle_place": at(11)}, "`shuffle` beside `batch_sampler="),
        ({"batch_sampler": "batches", "others": (("drop_last", at(12)),)}, "`drop_last` beside"),
        ({"batch_sampler": "batches", "sampler": "one"}, "`sampler` beside `batch_sampler=batches`"),
    ],
)
def test_arguments_that_exclude_each_other(changes: dict[str, Any], words: str) -> None:
    (finding,) = run("sampler-with-shuffle", changed(CALL, changes))
    assert words in finding.message


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sampler": "sampler"},
        {"shuffle": True, "shuffle_place": at(11)},
        {"sampler": "sampler", "others": (("batch_size", at(12)),)},
        {"sampler": "sampler", "shuffle": True, "shuffle_place": at(11), "in_test_suite": True},
    ],
    ids=str,
)
def test_arguments_that_agree(changes: dict[str, Any]) -> None:
    assert run("sampler-with-shuffle", changed(CALL, changes)) == []


def test_a_sampler_that_nothing_reads() -> None:
    (finding,) = run("sampler-with-shuffle", UnusedSampler(at(9), "WeightedRandomSampler", "sampler", at(10)))
    assert finding.span == at(9)
    assert "sampler=sampler" in finding.help


STREAM = replace(CALL, workers=4, iterable=IterableRead("Lines", at(5), "open(self.path)", at(6), False, False))


def test_every_worker_reads_the_whole_stream() -> None:
    (finding,) = run("iterable-dataset-duplicated", STREAM)
    assert "every sample comes 4 times" in finding.message
    assert finding.related[0].span == at(6)


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": None}, {"workers": 0}, {"workers": 1}, {"initialised": True}, {"iterable": None},
        {"in_test_suite": True},
        {"iterable": IterableRead("Lines", at(5), "x", at(6), True, False)},
        {"iterable": IterableRead("Lines", at(5), "x", at(6), None, False)},
        {"iterable": IterableRead("Lines", at(5), "x", at(6), False, True)},
    ],
    ids=str,
)  # fmt: skip
def test_streams_that_are_divided_or_not_known(changes: dict[str, Any]) -> None:
    assert run("iterable-dataset-duplicated", changed(STREAM, changes)) == []


# --- evaluation data --------------------------------------------------------------------------------------------------

PAIR = EvaluationData(
    place=at(12), text="val_loader", train_place=at(11), train_text="train_loader", overlap=Overlap.SAME,
    split_place=None, held_out=True, training_meant=False, sampled=False, on_purpose=False, separate_parts=False,
    drawn=(), lost=(), lost_place=None, same_kind=True, train_steps=None, steps=None, transform_place=None,
    train_transform_place=None, in_test_suite=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("overlap", "words"),
    [(Overlap.SAME, "the dataset that"), (Overlap.WHOLE, "the whole dataset"), (Overlap.PART, "trains on all of it")],
)
def test_validation_reads_what_training_reads(overlap: Overlap, words: str) -> None:
    (finding,) = run("validation-on-training-data", replace(PAIR, overlap=overlap, split_place=at(10)))
    assert words in finding.message
    assert [note.span for note in finding.related] == [at(11), at(10)]


@pytest.mark.parametrize(
    "changes",
    [
        {"overlap": Overlap.UNKNOWN}, {"held_out": False}, {"training_meant": True}, {"sampled": True},
        {"on_purpose": True}, {"in_test_suite": True},
    ],
    ids=str,
)  # fmt: skip
def test_an_evaluation_that_may_read_training_data(changes: dict[str, Any]) -> None:
    assert run("validation-on-training-data", changed(PAIR, changes)) == []


PARTS = replace(
    PAIR, overlap=Overlap.UNKNOWN, separate_parts=True, split_place=at(10), drawn=(DrawnStep("RandomCrop", at(8)),)
)


def test_validation_reads_through_random_transforms() -> None:
    (finding,) = run("augmented-validation", PARTS)
    assert "`val_loader` reads its samples through random transforms: RandomCrop" in finding.message
    lost = replace(PARTS, drawn=(), lost=(DrawnStep("RandomCrop", at(8)),), lost_place=at(9))
    (finding,) = run("augmented-validation", lost)
    assert "RandomCrop is lost" in finding.message


@pytest.mark.parametrize(
    "changes", [{"separate_parts": False}, {"drawn": ()}, {"on_purpose": True}, {"in_test_suite": True}], ids=str
)
def test_validation_that_draws_nothing_or_on_purpose(changes: dict[str, Any]) -> None:
    assert run("augmented-validation", changed(PARTS, changes)) == []


ONE = (Normalization(at(5), (0.5,), (0.5,)),)
WIDE = (Normalization(at(6), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),)
OTHER = (Normalization(at(6), (0.485, 0.456, 0.406), (0.5, 0.5, 0.5)),)
PIPELINES = replace(
    PAIR, overlap=Overlap.UNKNOWN, train_steps=ONE, steps=OTHER, transform_place=at(4), train_transform_place=at(3)
)


@pytest.mark.parametrize(
    ("changes", "line", "words"),
    [
        ({}, 6, "different constants"),
        ({"steps": ()}, 4, "the evaluation does not"),
        ({"train_steps": ()}, 4, "training does not"),
    ],
)
def test_pipelines_that_differ(changes: dict[str, Any], line: int, words: str) -> None:
    (finding,) = run("normalization-mismatch", changed(PIPELINES, changes))
    assert finding.span.line == line
    assert words in finding.message


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": ONE}, {"steps": WIDE}, {"steps": None}, {"train_steps": None}, {"same_kind": False},
        {"steps": (), "train_steps": ()}, {"steps": (*ONE, *OTHER)}, {"transform_place": None}, {"in_test_suite": True},
        {"steps": (Normalization(at(6), None, (0.5,)),)},
    ],
    ids=str,
)  # fmt: skip
def test_pipelines_that_agree_or_are_not_known(changes: dict[str, Any]) -> None:
    assert run("normalization-mismatch", changed(PIPELINES, changes)) == []


# --- scores and predictions -------------------------------------------------------------------------------------------

ORDER = PredictionOrder(at(20), "test_set.targets", at(10), shuffled=True, order_kept=False, in_test_suite=False)


def test_predictions_in_another_order() -> None:
    (finding,) = run("shuffled-predictions", ORDER)
    assert "`test_set.targets`" in finding.message


@pytest.mark.parametrize("changes", [{"shuffled": False}, {"order_kept": True}, {"in_test_suite": True}], ids=str)
def test_predictions_in_the_same_order(changes: dict[str, Any]) -> None:
    assert run("shuffled-predictions", changed(ORDER, changes)) == []


CHOSEN = SelectionUse(
    at(40), "correct > best", "torch.save", at(42), "train=False", at(9), final_test=False, on_purpose=False,
    in_test_suite=False,
)  # fmt: skip


def test_the_test_split_chooses() -> None:
    (finding,) = run("model-selection-on-test", CHOSEN)
    assert "`correct > best`" in finding.message
    assert "torch.save" in finding.label


@pytest.mark.parametrize("changes", [{"final_test": True}, {"on_purpose": True}, {"in_test_suite": True}], ids=str)
def test_a_choice_that_is_fine(changes: dict[str, Any]) -> None:
    assert run("model-selection-on-test", changed(CHOSEN, changes)) == []


# --- the facts by themselves ------------------------------------------------------------------------------------------

LOOP = """
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Subset, random_split
from torchvision import datasets, transforms

DATA = datasets.MNIST("data", train=True, transform=transforms.ToTensor())
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
SETUP
LOADER
OPTIMIZER = torch.optim.SGD(MODEL.parameters(), lr=0.1)
for epoch in range(EPOCHS):
    BEFORE
    for x, y in loader:
        OPTIMIZER.zero_grad()
        loss = F.cross_entropy(CALL(x), y)
        loss.backward()
        AFTER
        OPTIMIZER.step()
"""


def loop(
    loader: str = "loader = DataLoader(DATA, batch_size=8)",
    *,
    setup: str = "pass",
    epochs: str = "3",
    before: str = "pass",
    after: str = "pass",
    call: str = "MODEL",
) -> str:
    """A training loop with some lines of its own."""
    text = inspect.cleandoc(LOOP)
    lines = {"SETUP": setup, "LOADER": loader, "BEFORE": before, "AFTER": after, "CALL": call, "EPOCHS": epochs}
    for name, line in lines.items():
        text = text.replace(name, line)
    return text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, (True, 3, False)),
        ({"epochs": "1"}, (True, 1, False)),
        ({"loader": "loader = DataLoader(DATA, batch_size=8, shuffle=True)"}, (False, 3, False)),
        ({"loader": "loader = DataLoader(DATA, batch_size=8, shuffle=None)"}, (True, 3, False)),
        ({"loader": "loader = DataLoader(DATA, 8, sampler=other)"}, (False, 3, False)),
        ({"loader": "loader = DataLoader(somewhere, batch_size=8)"}, (False, 3, False)),
        ({"loader": "loader = DataLoader(random_split(DATA, [1, 2])[0], batch_size=8)"}, (True, 3, True)),
        ({"loader": "loader = DataLoader(Subset(DATA, range(9)), batch_size=8)"}, (True, 3, False)),
        ({"loader": "loader = DataLoader(Subset(DATA, chosen), batch_size=8)"}, (True, 3, True)),
    ],
)
def test_the_order_of_a_training(program: Program, arguments: dict[str, str], expected: tuple[object, ...]) -> None:
    fact = program.one(LoaderSetup, loop(**arguments))
    assert (fact.sequential, fact.epochs, fact.shuffled_otherwise) == expected
    assert fact.text == "loader"


SAMPLED = "sampler = DistributedSampler(DATA)\nloader = DataLoader(DATA, batch_size=8, sampler=sampler)"


@pytest.mark.parametrize(
    ("loader", "before", "expected"),
    [
        (SAMPLED, "pass", (0, 0)),
        (SAMPLED, "sampler.set_epoch(epoch)", ()),
        (SAMPLED, "loader.sampler.set_epoch(epoch)", ()),
        (SAMPLED, "unknown.set_epoch(epoch)", ()),
        (SAMPLED, "unknown(sampler)", ()),
        (SAMPLED, "unknown(loader)", ()),
        (SAMPLED.replace("(DATA)", "(DATA, shuffle=False)"), "pass", ()),
        (SAMPLED.replace("(DATA)", "(DATA, shuffle=flag)"), "pass", ()),
    ],
)
def test_what_a_sampler_is_told(program: Program, loader: str, before: str, expected: tuple[int, ...]) -> None:
    fact = program.one(LoaderSetup, loop(loader, before=before))
    assert fact.sampler_epochs == expected


GROUP = 'distributed.init_process_group("gloo")'
WRAP = f"{GROUP}\nMODEL = DistributedDataParallel(MODEL)"


@pytest.mark.parametrize(
    ("arguments", "alone"),
    [
        ({}, None),
        ({"setup": GROUP}, True),
        ({"setup": GROUP.replace('"gloo"', '"gloo", world_size=1, rank=0')}, None),
        ({"setup": f"if flag:\n    {GROUP}"}, None),
        ({"setup": WRAP}, None),
        ({"setup": f"{GROUP}\nunknown(MODEL)"}, None),
        ({"setup": f"{GROUP}\nMODEL = DistributedDataParallel(MODEL) if flag else MODEL"}, None),
        ({"setup": f"{GROUP}\nimport horovod.torch"}, None),
        ({"setup": GROUP, "after": "distributed.all_reduce(loss)"}, True),
        ({"setup": GROUP, "after": "distributed.all_reduce(unknown)"}, None),
        ({"setup": GROUP, "after": "[distributed.all_reduce(p.grad) for p in MODEL.parameters()]"}, None),
        ({"setup": GROUP, "after": "unknown(OPTIMIZER)"}, None),
        ({"setup": f"{GROUP}\nfor p in MODEL.parameters():\n    p.requires_grad = False"}, None),
    ],
)
def test_who_averages_the_gradients(program: Program, arguments: dict[str, str], alone: bool | None) -> None:
    facts = program.all(DistributedSetup, loop(**arguments))
    assert [fact.alone for fact in facts] == ([] if alone is None else [alone])


@pytest.mark.parametrize(
    ("test", "found"), [("distributed.get_rank() == 0", 0), ("args.local_rank == 0", 0), ("args.train", 1)]
)
def test_one_rank_that_trains_alone(program: Program, test: str, found: int) -> None:
    source = loop(setup=GROUP)
    head, body = source.split("for epoch", 1)
    body = f"for epoch{body}".replace("\n", "\n    ")
    assert len(program.all(DistributedSetup, f"{head}if {test}:\n    {body}")) == found


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"setup": WRAP, "call": "MODEL.module"}, "MODEL.module"),
        ({"setup": f"{GROUP}\nwrapped = DistributedDataParallel(MODEL)"}, "MODEL"),
        ({"setup": WRAP}, None),
        ({"setup": f"{WRAP}\nunknown(MODEL.module)", "call": "MODEL.module"}, None),
        ({"setup": WRAP.replace("(MODEL)", "(MODEL, process_group=group)"), "call": "MODEL.module"}, None),
        ({"setup": WRAP, "call": "MODEL.module", "after": "distributed.all_reduce(loss)"}, "MODEL.module"),
        ({"setup": WRAP, "call": "MODEL.module", "after": "distributed.all_reduce(unknown)"}, None),
        (
            {"setup": WRAP.replace("DistributedDataParallel(MODEL)", "nn.DataParallel(MODEL)"), "call": "MODEL.module"},
            None,
        ),
    ],
)
def test_who_is_called_past_its_wrapper(program: Program, arguments: dict[str, str], text: str | None) -> None:
    facts = program.all(DistributedSetup, loop(**arguments))
    assert [fact.bypass.text for fact in facts if fact.bypass is not None] == ([] if text is None else [text])


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({}, True),
        ({"loader": "loader = DataLoader(DATA, batch_size=8, shuffle=True, num_workers=4)"}, True),
        ({"loader": SAMPLED}, False),
        ({"loader": "loader = DataLoader(DATA, batch_size=len(DATA))"}, False),
        ({"loader": "loader = DataLoader(unknown, batch_size=8)"}, False),
        ({"loader": "mine = range(distributed.get_rank(), 99, 2)\nloader = DataLoader(Subset(DATA, mine), 8)"}, False),
        ({"loader": "mine = range(99)\nloader = DataLoader(Subset(DATA, mine), 8)"}, True),
        ({"loader": "loader = DataLoader(DATA, batch_size=8, collate_fn=unknown)"}, False),
        ({"after": "distributed.broadcast(x, 0)"}, False),
        ({"setup": GROUP}, False),
    ],
)
def test_who_divides_the_data(program: Program, arguments: dict[str, str], found: bool) -> None:
    facts = program.all(RankBatches, loop(**{"setup": WRAP, **arguments}))
    assert [fact.loader for fact in facts] == (["loader"] if found else [])


DATASET = """
class Crops(Dataset):
    def __init__(self):
        self.draw = np.random.RandomState(0)

    def __len__(self):
        return 9

    def __getitem__(self, index):
        return torch.zeros(9)[self.draw.randint(4):], 0

loader = DataLoader(Crops(), batch_size=8, num_workers=2)
"""


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("num_workers=2", "num_workers=2", True),
        ("num_workers=2", "num_workers=1", False),
        ("num_workers=2", "num_workers=unknown", False),
        ("num_workers=2", "num_workers=2, worker_init_fn=unknown", False),
        ("self.draw.randint(4)", "np.random.randint(4)", False),
        ("np.random.RandomState(0)", "np.random.default_rng(0)", True),
        ("np.random.RandomState(0)", "random.Random()", True),
        ("return torch", "self.draw.seed(index)\n        return torch", False),
        ("return torch", "self.draw = np.random.RandomState(index)\n        return torch", False),
    ],
)
def test_generators_that_workers_share(program: Program, old: str, new: str, found: bool) -> None:
    dataset = "import random\nimport numpy as np\n" + DATASET.replace(old, new)
    facts = program.all(RepeatedBatches, loop(dataset))
    assert [fact.generator for fact in facts] == (["self.draw"] if found else [])


STREAMS = """
class Lines(IterableDataset):
    def __init__(self, path):
        self.path = path

    def __iter__(self):
        for line in open(self.path):
            yield line

loader = DataLoader(Lines("a"), num_workers=4)
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("open(", "open(", (4, False, False, False)),
        ("yield line", "yield random.choice(line)", (4, False, True, False)),
        ("open(self.path)", "islice(open(self.path), torch.utils.data.get_worker_info().id)", (4, True, False, False)),
        ("num_workers=4", "num_workers=n", (None, False, False, False)),
        ("num_workers=4", "num_workers=4, worker_init_fn=f", (4, False, False, True)),
    ],
)
def test_what_a_stream_reads(program: Program, old: str, new: str, expected: tuple[object, ...]) -> None:
    source = "import random\nfrom torch.utils.data import DataLoader, IterableDataset\n" + STREAMS.replace(old, new)
    (fact,) = program.all(LoaderCall, source)
    read = fact.iterable
    if expected[1] is True:
        assert read is None or read.divides is True
    else:
        assert read is not None
        assert (fact.workers, read.divides, read.endless, fact.initialised) == expected


def test_a_stream_over_something_unknown_is_not_judged(program: Program) -> None:
    source = STREAMS.replace("open(self.path)", "unknown(self.path)")
    (fact,) = program.all(LoaderCall, "from torch.utils.data import DataLoader, IterableDataset\n" + source)
    assert fact.iterable is None


EVALUATED = """
val_loader = EVALUATION
with torch.no_grad():
    for x, y in val_loader:
        print((MODEL(x).argmax(1) == y).sum())
"""
SPLIT = "part, rest = random_split(DATA, [9, 9])\nloader = DataLoader(part, batch_size=8, shuffle=True)"


@pytest.mark.parametrize(
    ("loader", "evaluation", "overlap", "separate"),
    [
        (SPLIT, "DataLoader(rest)", Overlap.UNKNOWN, True),
        (SPLIT, "DataLoader(rest.dataset)", Overlap.WHOLE, False),
        (SPLIT, "DataLoader(part)", Overlap.SAME, False),
        (SPLIT, "DataLoader(DATA)", Overlap.WHOLE, False),
        (SPLIT, "DataLoader(datasets.MNIST('data', train=False))", Overlap.UNKNOWN, False),
        ("loader = DataLoader(DATA)", "DataLoader(Subset(DATA, unknown))", Overlap.PART, False),
        ("loader = DataLoader(DATA)", "loader", Overlap.SAME, False),
        ("loader = DataLoader(Subset(DATA, a))", "DataLoader(Subset(DATA, b))", Overlap.UNKNOWN, True),
    ],
)
def test_what_an_evaluation_reads(
    program: Program, loader: str, evaluation: str, overlap: Overlap, separate: bool
) -> None:
    fact = program.one(EvaluationData, loop(loader) + "\n" + EVALUATED.replace("EVALUATION", evaluation))
    assert (fact.overlap, fact.separate_parts) == (overlap, separate)
    assert fact.held_out
    assert not fact.training_meant


def test_transforms_are_read_step_by_step(program: Program) -> None:
    made = """
    steps = [transforms.RandomCrop(28), transforms.ToTensor()]
    DATA = datasets.MNIST("data", transform=transforms.Compose([*steps, transforms.Normalize([0.1], [0.3])]))
    """
    source = loop(inspect.cleandoc(made) + "\n" + SPLIT) + EVALUATED.replace("EVALUATION", "DataLoader(rest)")
    fact = program.one(EvaluationData, source)
    assert [step.name for step in fact.drawn] == ["RandomCrop"]
    assert fact.steps is not None
    assert [(step.mean, step.std) for step in fact.steps] == [((0.1,), (0.3,))]
    unknown = source.replace("transforms.ToTensor()]", "transforms.ToTensor(), unknown]")
    assert program.one(EvaluationData, unknown).steps is None


@pytest.mark.parametrize(
    ("line", "found"),
    [("torch.save(MODEL, 'm')", True), ("break", True), ("print(right)", False), ("best = right", False)],
)
def test_what_a_score_guards(program: Program, line: str, found: bool) -> None:
    source = (
        loop()
        + f"""
    right = 0
    with torch.no_grad():
        for x, y in DataLoader(datasets.MNIST("data", train=False)):
            right += (MODEL(x).argmax(1) == y).sum().item()
    if right > best:
        {line}
"""
    )
    assert len(program.all(SelectionUse, source)) == found
    assert program.all(SelectionUse, source.replace("train=False", "train=True")) == []


@pytest.mark.parametrize(
    ("sampler", "found"),
    [("sampler = DistributedSampler(DATA)", True), ("sampler = DistributedSampler(DATA)\n    print(sampler)", False)],
)
def test_samplers_that_nothing_reads(program: Program, sampler: str, found: bool) -> None:
    source = f"""
from torch.utils.data import DataLoader, DistributedSampler

def loaders(DATA):
    {sampler}
    return DataLoader(DATA, batch_size=8)
"""
    assert len(program.all(UnusedSampler, source)) == found
