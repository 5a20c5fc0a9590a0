"""The rules about what modules are made of: on facts made by hand, and the facts that small programs give."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_programs import Program

from modellint.catalog import all_rules
from modellint.facts.aliased_module import AliasedModule, Aliasing
from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.module_class import HiddenTensor, ModuleClass, Shadow, ShadowedMethod, StrayFlag, SuperInit
from modellint.facts.module_instance import ModuleInstance, UnusedParameter
from modellint.facts.norm_use import NormUse
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.facts.torch_call import UNKNOWN, Argument, TorchCall
from modellint.facts.weight_tie import WeightTie
from modellint.finding import Certainty, Finding
from modellint.judge import judge


def at(line: int, path: str = "net.py") -> Span:
    return Span(path, line, 5, line, 15)


def run(rule: str, *facts: object) -> list[Finding]:
    findings, failures = judge(facts, [all_rules()[rule]()])
    assert failures == []
    return findings


def only(rule: str, fact: object) -> Finding:
    (finding,) = run(rule, fact)
    return finding


RUN = RunEvidence(4, 4, 0)
MODEL = ModelRef(1, "model", "Net", at(3), at(30), "", complete=True)
CLASS = ModuleClass(
    name="Net",
    place=at(3),
    init_place=None,
    bases="nn.Module",
    super_init=SuperInit.UNKNOWN,
    super_place=None,
    first_registration=None,
    first_registration_place=None,
    hidden=(),
)

# ---------------------------------------------------------------- tensors in attributes

TRAINABLE = HiddenTensor(
    attribute="scale",
    place=at(7),
    container="",
    shape=(8,),
    trainable=True,
    leaf=True,
    used_in_forward=True,
    registered=False,
    trained=False,
    device="",
    module_device="",
    moved_at_use=False,
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "trainable tensor (8)"),
        ({"shape": None}, "is a trainable tensor that"),
        ({"shape": ()}, "scalar"),
        ({"container": "list"}, "in a plain list"),
        ({"leaf": False}, "computed from a parameter"),
    ],
)
def test_a_trainable_tensor_in_an_attribute(changes: dict[str, object], words: str) -> None:
    tensor = replace(TRAINABLE, **changes)  # type: ignore[arg-type]
    assert words in only("unregistered-parameter", replace(CLASS, tensors=(tensor,))).message


@pytest.mark.parametrize(
    "changes", [{"trainable": False}, {"used_in_forward": False}, {"registered": True}, {"trained": True}]
)
def test_a_tensor_that_is_seen_to(changes: dict[str, object]) -> None:
    assert run("unregistered-parameter", replace(CLASS, tensors=(replace(TRAINABLE, **changes),))) == []  # type: ignore[arg-type]


LEFT = replace(TRAINABLE, trainable=False, device="cpu", module_device="cuda")


def test_a_constant_that_stays_on_the_cpu() -> None:
    assert "`cuda`" in only("unregistered-buffer", replace(CLASS, tensors=(LEFT,))).message


@pytest.mark.parametrize(
    "changes",
    [
        {"trainable": True},
        {"registered": True},
        {"used_in_forward": False},
        {"moved_at_use": True},
        {"module_device": ""},
        {"module_device": "cpu"},
    ],
)
def test_a_constant_that_is_where_it_is_needed(changes: dict[str, object]) -> None:
    assert run("unregistered-buffer", replace(CLASS, tensors=(replace(LEFT, **changes),))) == []  # type: ignore[arg-type]


# ---------------------------------------------------------------- requires_grad

FLAG = StrayFlag("require_grad", at(9), "model.body", False, False, 72, False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "72 parameters are still trainable"),
        ({"value": True}, "still frozen"),
        ({"value": None, "parameters": None}, "its parameters are as before"),
        ({"on_parameter": True, "parameters": 1}, "`model.body` is still trainable"),
    ],
)
def test_a_misspelt_flag(changes: dict[str, object], words: str) -> None:
    flag = replace(FLAG, **changes)  # type: ignore[arg-type]
    assert words in only("requires-grad-typo", replace(CLASS, flags=(flag,))).why
    assert run("requires-grad-on-module", replace(CLASS, flags=(flag,))) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "72 of its parameters are still trainable"),
        ({"value": None}, "as before"),
        ({"parameters": None}, "its parameters are still trainable"),
    ],
)
def test_the_flag_on_a_module(changes: dict[str, object], words: str) -> None:
    flag = replace(FLAG, attribute="requires_grad", **changes)  # type: ignore[arg-type]
    finding = only("requires-grad-on-module", replace(CLASS, flags=(flag,)))
    assert words in finding.why
    assert finding.help.startswith("model.body.requires_grad_(")
    assert run("requires-grad-typo", replace(CLASS, flags=(flag,))) == []


@pytest.mark.parametrize(
    ("rule", "flag"),
    [
        ("requires-grad-typo", replace(FLAG, defined_by_class=True)),
        ("requires-grad-on-module", replace(FLAG, attribute="requires_grad", defined_by_class=True)),
        ("requires-grad-on-module", replace(FLAG, attribute="requires_grad", on_parameter=True)),
    ],
)
def test_a_flag_that_means_something(rule: str, flag: StrayFlag) -> None:
    assert run(rule, replace(CLASS, flags=(flag,))) == []


def test_flags_of_one_run_are_one_finding_and_those_of_code_are_not() -> None:
    other = replace(FLAG, place=at(12))
    assert len(run("requires-grad-typo", replace(CLASS, flags=(FLAG, other)))) == 2
    assert len(run("requires-grad-typo", replace(CLASS, flags=(FLAG, other), run=RUN))) == 1


# ---------------------------------------------------------------- names of nn.Module

SHADOWED = ShadowedMethod("train", at(11), Shadow.SIGNATURE, "train(self, loader)", "")


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (SHADOWED, "train(self, loader)"),
        (replace(SHADOWED, how=Shadow.PROPERTY), "is a property"),
        (replace(SHADOWED, name="training", how=Shadow.VALUE, signature="bool"), "is set to bool"),
        (replace(SHADOWED, how=Shadow.NO_BASE_CALL), "never calls"),
    ],
)
def test_a_name_with_another_meaning(method: ShadowedMethod, words: str) -> None:
    assert words in only("shadowed-module-method", replace(CLASS, shadowed=(method,))).message


def test_a_run_shows_whether_a_missing_base_call_matters() -> None:
    method = replace(SHADOWED, how=Shadow.NO_BASE_CALL)
    assert run("shadowed-module-method", replace(CLASS, shadowed=(method,), run=RUN)) == []
    seen = replace(method, still_training="body.drop")
    assert "body.drop" in only("shadowed-module-method", replace(CLASS, shadowed=(seen,), run=RUN)).why


# ---------------------------------------------------------------- parameters and layers

INSTANCE = ModuleInstance(
    model=MODEL,
    calls=(),
    unused=(),
    parameters=None,
    optimizer=None,
    optimizer_place=None,
    root=True,
    unused_parameters=(UnusedParameter("positions", "Parameter", None, at(6)),),
)


def test_a_parameter_that_no_forward_uses() -> None:
    finding = only("unused-parameter", INSTANCE)
    assert "`self.positions` is a parameter" in finding.message
    assert finding.seen == ""
    assert "in 4 passes" in only("unused-parameter", replace(INSTANCE, run=RUN)).seen


def test_a_model_that_was_not_followed_is_not_judged() -> None:
    assert run("unused-parameter", replace(INSTANCE, model=replace(MODEL, complete=False))) == []


def built(**changes: object) -> TorchCall:
    call = TorchCall(
        name="torch.nn.Linear",
        place=at(14),
        text="Linear(4, 4)",
        arguments=(),
        open_arguments=False,
        receiver=None,
        receiver_kind="module",
        module_class="Net",
        function="forward",
        training_only=False,
        stochastic_on_purpose=False,
        delegating=False,
        framework=None,
        in_test_suite=False,
        built_each_forward=True,
        has_parameters=True,
    )
    return replace(call, **changes)  # type: ignore[arg-type]


def test_a_layer_that_every_forward_builds() -> None:
    finding = only("module-created-in-forward", built())
    assert finding.certainty is Certainty.CERTAIN
    assert "no optimizer holds them" in finding.why
    share = Argument("p", "rate", at(14), UNKNOWN, False)
    dropout = only("module-created-in-forward", built(has_parameters=False, arguments=(share,)))
    assert dropout.certainty is Certainty.LIKELY
    assert "eval() on the model does not reach it" in dropout.why


@pytest.mark.parametrize(
    "changes", [{"built_each_forward": False}, {"in_test_suite": True}, {"stochastic_on_purpose": True}]
)
def test_a_layer_that_may_be_built(changes: dict[str, object]) -> None:
    assert run("module-created-in-forward", built(**changes)) == []


NORM = NormUse(at(5), MODEL, LayerRef("norm", "BatchNorm1d(8)", "BatchNorm1d", at(5)), 0.99, "", 0, False)


@pytest.mark.parametrize(("momentum", "found"), [(0.99, 1), (0.5, 1), (0.49, 0), (0.1, 0), (None, 0)])
def test_the_momentum_of_a_norm(momentum: float | None, found: int) -> None:
    assert len(run("batchnorm-momentum", replace(NORM, momentum=momentum))) == found


TIE = WeightTie(at(8), MODEL, "head.weight", "table.weight", None, None, None, "model.to_empty()", at(20))


def test_a_tie_that_a_call_undoes() -> None:
    finding = only("untied-after-load", TIE)
    assert "`model.to_empty()`" in finding.why
    assert [note.span for note in finding.related] == [at(20)]
    seen = only("untied-after-load", replace(TIE, lost_by="", lost_place=None, lost_after=2, steps_since=9))
    assert "in the 9 steps since" in seen.why


ALIAS = AliasedModule(
    at(6), Aliasing.MULTIPLIED, LayerRef("", "Linear(8, 8)", "Linear", at(6)), 4, (), 72, used=True, in_test_suite=False
)


@pytest.mark.parametrize(
    ("changes", "words", "certainty"),
    [
        ({}, "four places hold one and the same `Linear(8, 8)`", Certainty.CERTAIN),
        ({"slots": None}, "several places", Certainty.CERTAIN),
        ({"how": Aliasing.FROM_KEYS}, "four places", Certainty.CERTAIN),
        ({"made_there": False}, "four places", Certainty.LIKELY),
        ({"how": Aliasing.COMPREHENSION}, "four places", Certainty.LIKELY),
        ({"how": Aliasing.MOVED, "names": ("a", "b")}, "`a`, `b` are one", Certainty.LIKELY),
        ({"how": Aliasing.DEFAULT, "slots": 2}, "one module in two instances", Certainty.LIKELY),
        ({"how": Aliasing.CLASS_ATTRIBUTE, "names": ("Net.fc",)}, "`Net.fc` is one module", Certainty.CERTAIN),
        ({"how": Aliasing.SELF_LOAD, "slots": None}, "its own weights", Certainty.CERTAIN),
    ],
)
def test_one_module_where_several_were_meant(changes: dict[str, object], words: str, certainty: Certainty) -> None:
    finding = only("aliased-modules", replace(ALIAS, **changes))  # type: ignore[arg-type]
    assert words in finding.message
    assert finding.certainty is certainty


def test_the_parameters_that_are_missing_are_counted() -> None:
    assert "72 parameters in all, not 288" in only("aliased-modules", ALIAS).why


@pytest.mark.parametrize("changes", [{"used": False}, {"slots": 1}, {"how": Aliasing.SELF_LOAD, "in_test_suite": True}])
def test_one_module_that_is_meant(changes: dict[str, object]) -> None:
    assert run("aliased-modules", replace(ALIAS, **changes)) == []  # type: ignore[arg-type]


# ---------------------------------------------------------------- the facts of small programs


def tensors(program: Program, assignments: str, use: str = "x") -> dict[str, HiddenTensor]:
    lines = "\n".join("        " + line for line in assignments.splitlines())
    source = f"""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
{lines}

    def forward(self, x):
        return self.fc({use})

net = Net().to("cuda")
net(torch.randn(2, 4))
"""
    facts = [fact for fact in program.read(source).facts if isinstance(fact, ModuleClass)]
    return {tensor.attribute: tensor for fact in facts for tensor in fact.tensors}


@pytest.mark.parametrize(
    ("value", "leaf"),
    [
        ("torch.zeros(4, requires_grad=True)", True),
        ("torch.zeros(4).requires_grad_()", True),
        ("torch.autograd.Variable(torch.zeros(4), requires_grad=True)", True),
        ("torch.autograd.Variable(torch.zeros(4))", None),
        ("nn.Parameter(torch.zeros(4)).cuda()", False),
        ("nn.Parameter(torch.zeros(4)).to(torch.float16)", None),
        ("nn.Parameter(torch.zeros(4)).to('cpu')", None),
        ("nn.Parameter(torch.zeros(4)) * 0.1", False),
        ("nn.Parameter(torch.zeros(4), requires_grad=False).cuda()", None),
        ("nn.Parameter(torch.zeros(4))", None),
    ],
)
def test_what_is_a_trainable_tensor(program: Program, value: str, leaf: bool | None) -> None:
    found = tensors(program, f"self.scale = {value}", "x * self.scale").get("scale")
    assert (found.leaf if found is not None and found.trainable else None) is leaf


@pytest.mark.parametrize(
    ("use", "moved"),
    [
        ("x * self.table", False),
        ("x[:, self.table]", False),
        ("torch.mul(x, self.table)", False),
        ("x * self.table.to(x.device)", True),
        ("x * self.table[None].type_as(x)", True),
        ("x.view(self.table.shape)", True),
        ("helper(x, self.table)", True),
    ],
)
def test_where_a_constant_is_moved(program: Program, use: str, moved: bool) -> None:
    found = tensors(program, "self.table = torch.arange(4)", use)["table"]
    assert found.moved_at_use is moved
    assert (found.device, found.module_device, found.trainable) == ("cpu", "cuda", False)


@pytest.mark.parametrize("value", ["torch.tensor(2.0)", "torch.zeros(4, device='cuda')", "4", "torch.zeros(4).cuda()"])
def test_what_needs_no_move(program: Program, value: str) -> None:
    assert tensors(program, f"self.table = {value}", "x * self.table") == {}


FLAGS = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x)

net = Net()
{statement}
"""


@pytest.mark.parametrize(
    ("statement", "attribute", "on_parameter", "value"),
    [
        ("net.requires_grad = False", "requires_grad", False, False),
        ("net.fc.requires_grad = flag", "requires_grad", False, None),
        ("net.fc.weight.require_grad = False", "require_grad", True, False),
        ("for p in net.parameters():\n    p.requires_gard = False", "requires_gard", True, False),
        ("for p in unknown.parameters():\n    p.requiresgrad = False", "requiresgrad", True, False),
        ("x = torch.zeros(4)\nx.require_grad = True", "require_grad", True, True),
        ("x = torch.zeros(4, requires_grad=True)\nx.require_grad = False", "require_grad", True, False),
    ],
)
def test_a_flag_is_noted(
    program: Program, statement: str, attribute: str, on_parameter: bool, value: bool | None
) -> None:
    facts = program.all(ModuleClass, FLAGS.format(statement=statement))
    (flag,) = [flag for fact in facts for flag in fact.flags]
    assert (flag.attribute, flag.on_parameter, flag.value) == (attribute, on_parameter, value)


@pytest.mark.parametrize(
    "statement",
    [
        "net.requires_grad = True",
        "net.fc.weight.requires_grad = False",
        "net.requires_gradient = False",
        "net.require_grad = 'no'",
        "net.requires_grad = False\nnet.requires_grad_(False)",
        "unknown.require_grad = False",
        "for p in unknown:\n    p.require_grad = False",
        "table = torch.zeros(4)\ntable.require_grad = False",
    ],
)
def test_a_flag_that_is_none(program: Program, statement: str) -> None:
    facts = program.all(ModuleClass, FLAGS.format(statement=statement))
    assert [flag for fact in facts for flag in fact.flags] == []


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("def train(self, data): pass", Shadow.SIGNATURE),
        ("def train(self): pass", Shadow.SIGNATURE),
        ("def train(self, mode=True):\n    self.on = mode", Shadow.NO_BASE_CALL),
        ("def train(self, mode=True):\n    helper(self)\n    self.on = mode", None),
        ("def train(self, mode=True): return self", None),
        ("def train(self, *args): pass", None),
        ("def eval(self, loader): pass", Shadow.SIGNATURE),
        ("def eval(self): pass", None),
        ("def buffers(self, a, b): pass", Shadow.SIGNATURE),
        ("def apply(self, fn): pass", None),
        ("@property\ndef parameters(self): return []", Shadow.PROPERTY),
        ("@unknown\ndef parameters(self, a): return []", None),
        ("def fit(self, data): pass", None),
    ],
)
def test_what_shadows_a_method(program: Program, code: str, how: Shadow | None) -> None:
    body = "\n".join("    " + line for line in code.splitlines())
    facts = program.all(
        ModuleClass, f"class Net(nn.Module):\n{body}\n    def forward(self, x):\n        return x\nNet()"
    )
    found = {method.how for fact in facts for method in fact.shadowed}
    assert found == ({how} if how is not None else set())


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        ("x = nn.Linear(4, 4)(x)", True),
        ("x = nn.Dropout(0.5)(x)", True),
        ("x = nn.Dropout(0)(x)", False),
        ("x = nn.ReLU()(x)", False),
        ("x = nn.LayerNorm(4)(x)", True),
        ("x = nn.LayerNorm(4, elementwise_affine=False)(x)", False),
        ("layer = nn.Linear(4, 4)", False),
        ("if x.sum() > 0:\n    x = nn.Linear(4, 4)(x)", False),
        ("layer = nn.Linear(4, 4)\nlayer.weight.data.fill_(1)\nx = layer(x)", False),
    ],
)
def test_what_is_built_in_a_forward(program: Program, statements: str, found: bool) -> None:
    body = "\n".join("        " + line for line in statements.splitlines())
    source = f"class Net(nn.Module):\n    def forward(self, x):\n{body}\n        return x\nNet()(torch.randn(2, 4))"
    assert any(call.built_each_forward for call in program.all(TorchCall, source)) is found


@pytest.mark.parametrize(
    ("value", "momentum"),
    [
        ("nn.BatchNorm2d(8, momentum=0.99)", 0.99),
        ("nn.BatchNorm2d(8, 1e-5, 0.9)", 0.9),
        ("nn.InstanceNorm1d(8, momentum=0.9, track_running_stats=True)", 0.9),
        ("nn.InstanceNorm1d(8, momentum=0.9)", None),
        ("nn.BatchNorm2d(8, momentum=0.9, track_running_stats=False)", None),
        ("nn.BatchNorm2d(8, momentum=config.momentum)", None),
        ("nn.BatchNorm2d(8)", None),
    ],
)
def test_the_momentum_that_is_read(program: Program, value: str, momentum: float | None) -> None:
    assert [use.momentum for use in program.all(NormUse, f"norm = {value}")] == ([momentum] if momentum else [])


TIED = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.table.weight

    def forward(self, x):
        return self.head(self.table(x))

net = Net()
{statements}
"""


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        ("net.load_state_dict(state, assign=True)\noptimizer = torch.optim.SGD(net.parameters(), lr=0.1)", True),
        ("net.to_empty(device='cuda')\noptimizer = torch.optim.SGD(net.parameters(), lr=0.1)", True),
        ("net.load_state_dict(state, assign=True)\nnet(torch.zeros(2, 3)).sum().backward()", True),
        ("net.load_state_dict(state, assign=True)", False),
        ("net.load_state_dict(state)\noptimizer = torch.optim.SGD(net.parameters(), lr=0.1)", False),
        ("net.head.load_state_dict(s, assign=True)\noptimizer = torch.optim.SGD(net.parameters(), lr=0.1)", False),
        (
            "net.load_state_dict(state, assign=True)\nnet.head.weight = net.table.weight\n"
            "optimizer = torch.optim.SGD(net.parameters(), lr=0.1)",
            False,
        ),
    ],
)
def test_a_tie_that_is_lost(program: Program, statements: str, found: bool) -> None:
    ties = program.all(WeightTie, TIED.format(statements=statements))
    assert [(tie.changed, tie.other) for tie in ties] == ([("head.weight", "table.weight")] if found else [])


@pytest.mark.parametrize(
    ("source", "how"),
    [
        ("nn.ModuleList([nn.Linear(4, 4)] * 3)", Aliasing.MULTIPLIED),
        ("nn.Sequential(*[nn.Linear(4, 4)] * n)", Aliasing.MULTIPLIED),
        ("nn.ModuleDict(dict.fromkeys(['a', 'b'], nn.Linear(4, 4)))", Aliasing.FROM_KEYS),
        ("nn.ModuleList([layer for _ in range(3)])", Aliasing.COMPREHENSION),
        ("nn.ModuleList([holder.layer for _ in range(3)])", None),
        ("nn.ModuleList([nn.ReLU()] * 3)", None),
        ("nn.ModuleList([nn.Linear] * 3)", None),
        ("nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])", None),
        ("nn.Sequential(layer, nn.ReLU(), layer)", None),
        ("layer.load_state_dict(layer.state_dict())", Aliasing.SELF_LOAD),
        ("layer.load_state_dict(nn.Linear(4, 4).state_dict())", None),
    ],
)
def test_how_a_module_is_repeated(program: Program, source: str, how: Aliasing | None) -> None:
    program_text = f"layer = nn.Linear(4, 4)\nholder = nn.Module()\nholder.layer = layer\nresult = {source}"
    found = [alias.how for alias in program.all(AliasedModule, program_text) if alias.used]
    assert found == ([how] if how is not None else [])
