"""The facts by themselves: what the reader makes of small programs, before any rule judges."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from conftest import ROOT
from small_programs import HEAD, Program

from modellint.config import Configuration, Flags
from modellint.facts.forward_use import ForwardUse, Mode, SignKind
from modellint.facts.loss_use import LossUse, OutputKind
from modellint.facts.module_class import ModuleClass, SuperInit
from modellint.facts.module_instance import ModuleInstance
from modellint.facts.parameter_fill import ParameterFill
from modellint.facts.reading import Reading
from modellint.facts.torch_call import TorchCall
from modellint.facts.training_loop import EventKind, TrainingLoop
from modellint.lint import lint

# --- instances --------------------------------------------------------------------------------------------------------

NET = """
class Net(nn.Module):
    def __init__(self, width, flag=False):
        super().__init__()
        self.flag = flag
        self.a = nn.Linear(4, width)
        self.norm = nn.BatchNorm1d(width)
        self.b = nn.Linear(width, 1)
        if flag:
            self.extra = nn.Linear(width, width)

    def forward(self, x):
        x = self.norm(self.a(x))
        if self.flag:
            x = self.norm(self.extra(x))
        return self.b(x)

"""


def roots(facts: list[ModuleInstance]) -> dict[str, ModuleInstance]:
    """The instances by what constructed them, in lines of main.py."""
    return {str(fact.model.place.line if fact.model.place else None): fact for fact in facts if fact.root}


def calls(fact: ModuleInstance) -> list[str]:
    return [call.ref.name for call in fact.calls]


def net_program(body: str) -> str:
    return NET + inspect.cleandoc(body)


def line_of(source: str, part: str) -> int:
    """The line in main.py on which a part of the program stands."""
    lines = (HEAD + inspect.cleandoc(source)).splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if part in line]
    return number


@pytest.mark.parametrize(
    ("construction", "flag"),
    [
        ("model = Net(8)", False),
        ("model = Net(8, True)", True),
        ("model = Net(width=8, flag=True)", True),
        ("options = {'width': 8, 'flag': True}\nmodel = Net(**options)", True),
        ("arguments = (8, True)\nmodel = Net(*arguments)", True),
        ("def build(flag):\n    return Net(8, flag=flag)\n\nmodel = build(True)", True),
        ("def build(flag=True):\n    net = Net(8, flag)\n    return net.to('cpu')\n\nmodel = build()", True),
        ("make = functools.partial(Net, flag=True)\nmodel = make(8)", True),
        ("make = lambda width: Net(width, True)\nmodel = make(8)", True),
        ("TABLE = {'net': Net}\nmodel = TABLE['net'](8, True)", True),
        ("class Sub(Net):\n    def __init__(self):\n        super().__init__(8, flag=True)\n\nmodel = Sub()", True),
        (
            "class Maker:\n    flag = True\n\n    def make(self):\n        return Net(8, self.flag)\n\n"
            "model = Maker().make()",
            True,
        ),
        ("for flag in [True]:\n    model = Net(8, flag)", True),
        ("models = [Net(8, True)]\nmodel = models[0]", True),
    ],
)
def test_the_arguments_of_an_instance_decide(program: Program, construction: str, flag: bool) -> None:
    facts = program.all(ModuleInstance, NET + construction + "\nout = model(torch.randn(2, 4))\n")
    (fact,) = [fact for fact in facts if fact.root]
    assert calls(fact) == (["a", "norm", "extra", "norm", "b"] if flag else ["a", "norm", "b"])
    assert fact.model.complete


def test_two_instances_of_one_class_are_two_facts(program: Program) -> None:
    source = net_program("""
        one = Net(8)
        two = Net(8, flag=True)
        x = torch.randn(2, 4)
        one(x)
        two(x)
    """)
    facts = roots(program.all(ModuleInstance, source))
    assert {place: len(calls(fact)) for place, fact in facts.items()} == {
        str(line_of(source, "one = ")): 3,
        str(line_of(source, "two = ")): 5,
    }
    assert len({fact.model.key for fact in facts.values()}) == 2


def test_one_layer_under_two_names_is_one_layer(program: Program) -> None:
    source = """
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                self.a = nn.Linear(4, 4)
                self.b = self.a
                self.c = nn.Linear(4, 4)

            def forward(self, x):
                return self.c(self.b(self.a(x)))

        Tied()(torch.randn(2, 4))
    """
    fact = program.one(ModuleInstance, source)
    first, second, third = (call.layer for call in fact.calls)
    assert first == second != third


FOLLOWED_LAYERS = {
    "by name": ("self.layer = nn.Linear(4, 4)", "self.layer(x)", 1),
    "getattr": ("self.layer1 = nn.Linear(4, 4)", "getattr(self, 'layer1')(x)", 1),
    "getattr of a made name": ("self.layer1 = nn.Linear(4, 4)", "getattr(self, f'layer{1}')(x)", 1),
    "setattr": ("setattr(self, 'layer', nn.Linear(4, 4))", "self.layer(x)", 1),
    "add_module": ("self.add_module('layer', nn.Linear(4, 4))", "self.layer(x)", 1),
    "Sequential": ("self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))", "self.body(x)", 2),
    "Sequential by index": ("self.body = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))", "self.body[1](x)", 1),
    "Sequential by slice": (
        "self.body = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))", "self.body[1:](x)", 2,
    ),
    "Sequential of a list": ("self.body = nn.Sequential(*[nn.Linear(4, 4) for _ in range(3)])", "self.body(x)", 3),
    "ModuleList in a comprehension": (
        "self.body = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])", "[layer(x) for layer in self.body][0]", 3,
    ),
    "ModuleList by index": ("self.body = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])", "self.body[-1](x)", 1),
    "ModuleDict": ("self.body = nn.ModuleDict({'a': nn.Linear(4, 4), 'b': nn.Linear(4, 4)})", "self.body['b'](x)", 1),
    "method": ("self.layer = nn.Linear(4, 4)", "self.step(x)", 1),
}  # fmt: skip


@pytest.mark.parametrize(("made", "used", "count"), FOLLOWED_LAYERS.values(), ids=FOLLOWED_LAYERS.keys())
def test_ways_to_a_layer(program: Program, made: str, used: str, count: int) -> None:
    """Each gives calls of so many different layers; layers without parameters are not traced."""
    source = f"""
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                {made}

            def step(self, x):
                return self.layer(x)

            def forward(self, x):
                return {used}

        Net()(torch.randn(2, 4))
    """
    fact = program.one(ModuleInstance, source)
    assert len(fact.calls) == count
    assert len({call.layer for call in fact.calls}) == count


def test_a_loop_over_layers_is_walked(program: Program) -> None:
    source = """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.blocks = nn.ModuleList()
                for width in (4, 5, 6):
                    self.blocks.append(nn.Linear(width, width + 1))

            def forward(self, x):
                for block in self.blocks:
                    x = F.relu(block(x))
                return x

        Net()(torch.randn(2, 4))
    """
    fact = program.one(ModuleInstance, source)
    assert [call.ref.text for call in fact.calls] == ["Linear(4, 5)", "Linear(5, 6)", "Linear(6, 7)"]
    assert fact.parameters == 5 * 5 + 6 * 6 + 7 * 7


def test_what_no_forward_uses(program: Program) -> None:
    source = """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.used = nn.Linear(4, 4)
                self.idle = nn.Linear(4, 8)

            def forward(self, x):
                return self.used(x)

        model = Net()
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        model(torch.randn(2, 4)).sum().backward()
        opt.step()
    """
    fact = program.one(ModuleInstance, source)
    assert [(layer.ref.name, layer.parameters, layer.excluded_by) for layer in fact.unused] == [("idle", 40, ())]
    assert (fact.parameters, fact.optimizer) == (60, "SGD")


def test_a_decided_branch_is_named(program: Program) -> None:
    source = net_program("""
        class Both(nn.Module):
            def __init__(self, deep):
                super().__init__()
                self.deep = deep
                self.flat = nn.Linear(4, 4)
                self.tall = nn.Linear(4, 4)

            def forward(self, x):
                if self.deep:
                    return self.tall(x)
                return self.flat(x)

        Both(deep=True)(torch.randn(2, 4))
    """)
    fact = next(fact for fact in program.all(ModuleInstance, source) if fact.model.class_name == "Both")
    (layer,) = fact.unused
    (branch,) = layer.excluded_by
    assert (layer.ref.name, branch.test, branch.taken) == ("flat", "self.deep", True)
    assert "deep=True" in (branch.because, fact.model.arguments)


def test_what_feeds_a_layer(program: Program) -> None:
    fact = program.one(ModuleInstance, NET + "model = Net(8, True)\nmodel(torch.randn(2, 4))\n")
    norms = [call for call in fact.calls if call.ref.name == "norm"]
    assert [call.producer for call in norms] == ["output of Linear(4, 8)", "output of Linear(8, 8)"]
    assert norms[0].producer_key != norms[1].producer_key
    assert all(call.stateful_norm for call in norms)


def test_layers_in_arms_that_exclude_each_other(program: Program) -> None:
    source = """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.norm = nn.BatchNorm1d(4)

            def forward(self, x, which):
                if which:
                    return self.norm(x)
                else:
                    return self.norm(x + 1)

        def use(which):
            return Net()(torch.randn(2, 4), which)
    """
    fact = program.one(ModuleInstance, source)
    first, second = (dict(call.branches) for call in fact.calls)
    assert any(second[branch] != arm for branch, arm in first.items() if branch in second)


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        ("super().__init__()\n        self.a = nn.Linear(4, 4)", SuperInit.CALLED),
        ("nn.Module.__init__(self)\n        self.a = nn.Linear(4, 4)", SuperInit.CALLED),
        ("self.a = nn.Linear(4, 4)", SuperInit.ABSENT),
        ("self.a = nn.Linear(4, 4)\n        super().__init__()", SuperInit.LATE),
    ],
)
def test_super_init(program: Program, init: str, expected: SuperInit) -> None:
    source = f"class Net(nn.Module):\n    def __init__(self):\n        {init}\n\nNet()\n"
    assert program.one(ModuleClass, source).super_init is expected


def test_modules_in_a_list_are_hidden(program: Program) -> None:
    source = """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.blocks = [nn.Linear(4, 4) for _ in range(2)]
                self.proper = nn.ModuleList([nn.Linear(4, 4)])

            def forward(self, x):
                for block in self.blocks:
                    x = block(x)
                return self.proper[0](x)

        Net()(torch.randn(2, 4))
    """
    (hidden,) = program.one(ModuleClass, source).hidden
    assert (hidden.attribute, hidden.container, hidden.element.text) == ("blocks", "list", "Linear(4, 4)")
    assert hidden.used_in_forward


# --- modes and gradients ----------------------------------------------------------------------------------------------

MODES = {
    "constructed": ("model(x)", {Mode.TRAIN}),
    "eval": ("model.eval()\nmodel(x)", {Mode.EVAL}),
    "eval in a chain": ("model = Net(8).eval()\nmodel(x)", {Mode.EVAL}),
    "train(False)": ("model.train(False)\nmodel(x)", {Mode.EVAL}),
    "eval, then train": ("model.eval()\nmodel.train()\nmodel(x)", {Mode.TRAIN}),
    "helper": ("def prepare(net):\n    net.eval()\n\nprepare(model)\nmodel(x)", {Mode.EVAL}),
    "nested helper": (
        "def inner(net):\n    return net.eval()\n\ndef prepare(net):\n    return inner(net)\n\nprepare(model)(x)",
        {Mode.EVAL},
    ),
    "decorator": (
        "def evaluating(function):\n    @functools.wraps(function)\n    def inner(net, x):\n        net.eval()\n"
        "        return function(net, x)\n    return inner\n\n"
        "@evaluating\ndef predict(net, x):\n    return net(x)\n\npredict(model, x)",
        {Mode.EVAL},
    ),
    "context manager": (
        "import contextlib\n\n@contextlib.contextmanager\ndef evaluating(net):\n    net.eval()\n    yield net\n"
        "    net.train()\n\nwith evaluating(model):\n    model(x)",
        {Mode.EVAL},
    ),
    "after a context manager": (
        "import contextlib\n\n@contextlib.contextmanager\ndef evaluating(net):\n    net.eval()\n    yield net\n"
        "    net.train()\n\nwith evaluating(model):\n    pass\nmodel(x)",
        {Mode.TRAIN},
    ),
    "phase loop": (
        "for phase in ['train', 'val']:\n    if phase == 'train':\n        model.train()\n    else:\n"
        "        model.eval()\n    model(x)",
        {Mode.TRAIN, Mode.EVAL},
    ),
    "flag": ("def run(train):\n    model.train(train)\n    model(x)\n\nrun(False)", {Mode.EVAL}),
    "through an attribute": (
        "class Trainer:\n    def __init__(self, net):\n        self.net = net\n\n    def off(self):\n"
        "        self.net.eval()\n\n    def run(self):\n        self.off()\n        return self.net(x)\n\n"
        "Trainer(model).run()",
        {Mode.EVAL},
    ),
    "undecided": ("import sys\nif len(sys.argv) > 1:\n    model.eval()\nmodel(x)", {Mode.TRAIN, Mode.EVAL}),
    "library": ("import mystery\nmystery.prepare(model)\nmodel(x)", {Mode.UNKNOWN}),
}  # fmt: skip


@pytest.mark.parametrize(("body", "modes"), MODES.values(), ids=MODES.keys())
def test_modes(program: Program, body: str, modes: set[Mode]) -> None:
    facts = program.all(ForwardUse, NET + "model = Net(8)\nx = torch.randn(2, 4)\n" + body + "\n")
    assert {state.mode for fact in facts for state in fact.modes} == modes


def test_the_second_round_of_a_loop_starts_in_the_mode_of_the_first(program: Program) -> None:
    source = net_program("""
        def run(loader, held_out, epochs):
            model = Net(8)
            for epoch in range(epochs):
                for x in loader:
                    model(x).sum().backward()
                model.eval()
                for x in held_out:
                    print(model(x))
    """)
    training, validation = sorted(program.all(ForwardUse, source), key=lambda fact: fact.place)
    assert {state.mode for state in training.modes} == {Mode.TRAIN, Mode.EVAL}
    assert {state.mode for state in validation.modes} == {Mode.EVAL}
    (late,) = [state for state in training.modes if state.mode is Mode.EVAL]
    assert late.place is not None
    assert late.place.line == line_of(source, "model.eval()")
    assert (training.backwarded, validation.backwarded) == (True, False)


GRADS = {
    "plain": ("model(x)", True),
    "with no_grad": ("with torch.no_grad():\n    model(x)", False),
    "with inference_mode": ("with torch.inference_mode():\n    model(x)", False),
    "after with": ("with torch.no_grad():\n    pass\nmodel(x)", True),
    "enable_grad inside": ("with torch.no_grad():\n    with torch.enable_grad():\n        model(x)", True),
    "decorator": ("@torch.no_grad()\ndef predict():\n    return model(x)\n\npredict()", False),
    "decorator without brackets": ("@torch.no_grad\ndef predict():\n    return model(x)\n\npredict()", False),
    "set_grad_enabled": ("torch.set_grad_enabled(False)\nmodel(x)", False),
    "set_grad_enabled with": ("with torch.set_grad_enabled(False):\n    model(x)", False),
    "called under no_grad": ("def predict():\n    return model(x)\n\nwith torch.no_grad():\n    predict()", False),
    "two managers": ("with open('f') as f, torch.no_grad():\n    model(x)", False),
    "inner function": (
        "def outer():\n    @torch.no_grad()\n    def inner():\n        return model(x)\n    return inner()\n\nouter()",
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "grad"), GRADS.values(), ids=GRADS.keys())
def test_gradients(program: Program, body: str, grad: bool) -> None:
    fact = program.one(ForwardUse, NET + "model = Net(8)\nx = torch.randn(2, 4)\n" + body + "\n")
    assert fact.grad is grad
    assert grad or fact.grad_place is not None


def test_grad_by_a_phase(program: Program) -> None:
    source = net_program("""
        model = Net(8)
        for phase in ["train", "val"]:
            with torch.set_grad_enabled(phase == "train"):
                model(torch.randn(2, 4))
    """)
    assert {fact.grad for fact in program.all(ForwardUse, source)} in ({True, False}, {None})


def test_the_signs_of_validation(program: Program) -> None:
    source = net_program("""
        def validate(model, val_loader):
            hits = 0
            with torch.no_grad():
                for x, y in val_loader:
                    hits += (model(x).argmax(1) == y).sum().item()
            return hits

        def main(val_loader):
            validate(Net(8), val_loader)
    """)
    fact = program.one(ForwardUse, source)
    kinds = {sign.kind for sign in fact.signs}
    assert {SignKind.METRIC, SignKind.NO_GRAD, SignKind.FUNCTION_NAME, SignKind.LOADER_NAME} <= kinds
    assert fact.functions[-1] == "validate"
    assert [call.function for call in fact.calls][-1:] == ["validate"]


# --- loops ------------------------------------------------------------------------------------------------------------

SETUP = NET + "model = Net(8)\nopt = torch.optim.SGD(model.parameters(), lr=0.1)\nloader = make_loader()\n"
LOOPS: dict[str, tuple[str, list[str]]] = {
    "plain": (
        "for x, y in loader:\n    opt.zero_grad()\n    loss = F.mse_loss(model(x), y)\n    loss.backward()\n"
        "    opt.step()",
        ["ZERO_GRAD FORWARD LOSS BACKWARD OPTIMIZER_STEP"],
    ),
    "no clear": (
        "for x, y in loader:\n    loss = F.mse_loss(model(x), y)\n    loss.backward()\n    opt.step()",
        ["FORWARD LOSS BACKWARD OPTIMIZER_STEP"],
    ),
    "clear by the model, clip, schedule": (
        "plan = torch.optim.lr_scheduler.StepLR(opt, 1)\nfor x, y in loader:\n    model.zero_grad()\n"
        "    F.mse_loss(model(x), y).backward()\n    nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
        "    opt.step()\n    plan.step()",
        ["ZERO_GRAD FORWARD LOSS BACKWARD CLIP OPTIMIZER_STEP SCHEDULER_STEP"],
    ),
    "helper": (
        "def update(loss):\n    opt.zero_grad()\n    loss.backward()\n    opt.step()\n\n"
        "for x, y in loader:\n    update(F.mse_loss(model(x), y))",
        ["FORWARD LOSS ZERO_GRAD BACKWARD OPTIMIZER_STEP"],
    ),
    "closure": (
        "for x, y in loader:\n    def closure():\n        opt.zero_grad()\n        loss = F.mse_loss(model(x), y)\n"
        "        loss.backward()\n        return loss\n    opt.step(closure)",
        ["ZERO_GRAD FORWARD LOSS BACKWARD OPTIMIZER_STEP"],
    ),
    "accumulation": (
        "for i, (x, y) in enumerate(loader):\n    F.mse_loss(model(x), y).backward()\n    if (i + 1) % 4 == 0:\n"
        "        opt.step()\n        opt.zero_grad()",
        ["FORWARD LOSS BACKWARD", "FORWARD LOSS BACKWARD OPTIMIZER_STEP ZERO_GRAD"],
    ),
    "continue": (
        "for x, y in loader:\n    opt.zero_grad()\n    loss = F.mse_loss(model(x), y)\n    if torch.isnan(loss):\n"
        "        continue\n    loss.backward()\n    opt.step()",
        ["ZERO_GRAD FORWARD LOSS", "ZERO_GRAD FORWARD LOSS BACKWARD OPTIMIZER_STEP"],
    ),
    "mixed precision": (
        "scaler = torch.amp.GradScaler()\nfor x, y in loader:\n    opt.zero_grad()\n    with torch.autocast('cuda'):\n"
        "        loss = F.mse_loss(model(x), y)\n    scaler.scale(loss).backward()\n    scaler.unscale_(opt)\n"
        "    nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n    scaler.step(opt)\n    scaler.update()",
        ["ZERO_GRAD FORWARD LOSS BACKWARD UNSCALE CLIP OPTIMIZER_STEP SCALER_UPDATE"],
    ),
    "not followed": (
        "import mystery\nfor x, y in loader:\n    F.mse_loss(model(x), y).backward()\n    mystery.update(opt)\n"
        "    opt.step()",
        ["FORWARD LOSS BACKWARD UNKNOWN_CALL OPTIMIZER_STEP"],
    ),
    "while": (
        "n = 0\nwhile n < 10:\n    opt.zero_grad()\n    model(torch.randn(2, 4)).sum().backward()\n    opt.step()\n"
        "    n += 1",
        ["ZERO_GRAD FORWARD BACKWARD OPTIMIZER_STEP"],
    ),
}


@pytest.mark.parametrize(("body", "passes"), LOOPS.values(), ids=LOOPS.keys())
def test_the_passes_of_a_loop(program: Program, body: str, passes: list[str]) -> None:
    fact = program.one(TrainingLoop, SETUP + body + "\n")
    assert sorted(" ".join(event.kind.value for event in one) for one in fact.passes) == sorted(passes)
    assert fact.complete


def test_every_optimizer_has_its_own_events(program: Program) -> None:
    source = net_program("""
        one, two = Net(8), Net(8)
        first = torch.optim.SGD(one.parameters(), lr=0.1)
        second = torch.optim.Adam(two.parameters())
        for x, y in make_loader():
            first.zero_grad()
            second.zero_grad()
            F.mse_loss(one(x), y).backward()
            first.step()
            F.mse_loss(two(x), y).backward()
            second.step()
    """)
    fact = program.one(TrainingLoop, source)
    names = {optimizer.key: optimizer.text for optimizer in fact.optimizers}
    assert {optimizer.kind for optimizer in fact.optimizers} == {"SGD", "Adam"}
    (events,) = fact.passes
    told = [
        (event.kind.value, [names[key] for key in event.optimizers])
        for event in events
        if event.kind in (EventKind.ZERO_GRAD, EventKind.BACKWARD, EventKind.OPTIMIZER_STEP)
    ]
    assert told == [
        ("ZERO_GRAD", ["first"]),
        ("ZERO_GRAD", ["second"]),
        ("BACKWARD", ["first"]),
        ("OPTIMIZER_STEP", ["first"]),
        ("BACKWARD", ["second"]),
        ("OPTIMIZER_STEP", ["second"]),
    ]


def test_a_clear_in_the_outer_loop(program: Program) -> None:
    source = SETUP + (
        "for epoch in range(3):\n    opt.zero_grad()\n    for x, y in loader:\n"
        "        F.mse_loss(model(x), y).backward()\n        opt.step()\n"
    )
    fact = program.one(TrainingLoop, source)
    assert [event.text for event in fact.cleared_outside] == ["opt.zero_grad()"]
    assert not any(event.kind is EventKind.ZERO_GRAD for one in fact.passes for event in one)


# --- losses -----------------------------------------------------------------------------------------------------------


def test_the_path_of_a_loss_across_two_files(program: Program) -> None:
    source = """
        from net import Net
        model = Net()
        criterion = nn.BCEWithLogitsLoss()
        score = model(torch.randn(2, 4)).squeeze(1)
        loss = criterion(score, torch.rand(2))
        loss.backward()
    """
    net = """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(4, 1)

            def forward(self, x):
                z = self.head(x)
                return torch.sigmoid(z)
    """
    fact = program.one(LossUse, source, net=net)
    assert (fact.loss, fact.loss_text, fact.input, fact.maker) == (
        "BCEWithLogitsLoss", "criterion", OutputKind.PROBABILITIES, "torch.sigmoid",
    )  # fmt: skip
    assert [(step.place.path, step.text) for step in fact.steps] == [
        ("net.py", "torch.sigmoid"),
        ("net.py", "return"),
        ("main.py", "model(...)"),
        ("main.py", ".squeeze(1)"),
        ("main.py", "score"),
        ("main.py", "criterion(score, ...)"),
    ]
    assert fact.maker_place is not None
    assert (fact.maker_place.path, fact.maker_place.line) == ("net.py", 12)
    assert fact.loss_place is not None
    assert fact.loss_place.line == line_of(source, "criterion = ")
    assert fact.trains


KINDS = {
    "linear": ("nn.Linear(4, 3)(x)", OutputKind.LOGITS),
    "sigmoid": ("nn.Linear(4, 1)(x).sigmoid()", OutputKind.PROBABILITIES),
    "softmax": ("F.softmax(nn.Linear(4, 3)(x), dim=1)", OutputKind.DISTRIBUTION),
    "softmax of a Sequential": ("nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))(x)", OutputKind.DISTRIBUTION),
    "a member by __dict__": ('nn.__dict__["Sigmoid"]()(nn.Linear(4, 1)(x))', OutputKind.PROBABILITIES),
    "log_softmax": ("nn.LogSoftmax(dim=1)(nn.Linear(4, 3)(x))", OutputKind.LOG_PROBABILITIES),
    "relu": ("F.relu(nn.Linear(4, 3)(x))", OutputKind.NON_NEGATIVE),
    "tanh": ("torch.tanh(nn.Linear(4, 3)(x))", OutputKind.TANH),
    "arithmetic": ("torch.sigmoid(nn.Linear(4, 1)(x)) * 2 - 1", OutputKind.UNKNOWN),
    "either": ("(lambda a: a if maybe() else torch.sigmoid(a))(nn.Linear(4, 3)(x))", OutputKind.UNKNOWN),
    "library": ("mystery.head(x)", OutputKind.UNKNOWN),
}


@pytest.mark.parametrize(("made", "kind"), KINDS.values(), ids=KINDS.keys())
def test_what_reaches_a_loss(program: Program, made: str, kind: OutputKind) -> None:
    source = f"import mystery\nx = torch.randn(2, 4)\nscore = {made}\nloss = F.cross_entropy(score, torch.rand(2))\n"
    facts = program.all(LossUse, source)
    assert {fact.input for fact in facts} == {kind}


def test_the_log_of_a_softmax_is_no_distribution(program: Program) -> None:
    source = """
        x = torch.randn(2, 4)
        F.nll_loss(torch.log(torch.softmax(nn.Linear(4, 3)(x), 1)), torch.tensor([0, 1]))
    """
    assert program.one(LossUse, source).input in (OutputKind.LOG_PROBABILITIES, OutputKind.UNKNOWN)


def test_a_criterion_that_is_an_argument(program: Program) -> None:
    source = net_program("""
        def train(model, criterion, loader):
            for x, y in loader:
                criterion(model(x), y).backward()

        def main(loader):
            train(Net(1), nn.CrossEntropyLoss(), loader)
    """)
    fact = program.one(LossUse, source)
    assert (fact.loss, fact.loss_text, fact.input) == ("CrossEntropyLoss", "criterion", OutputKind.LOGITS)
    assert fact.loss_place is not None
    assert fact.loss_place.line == line_of(source, "nn.CrossEntropyLoss()")


# --- fills and calls --------------------------------------------------------------------------------------------------


def test_a_fill_by_apply_reaches_the_layers_of_its_kind(program: Program) -> None:
    source = net_program("""
        def init(m):
            if isinstance(m, nn.Linear):
                nn.init.constant_(m.weight, 0.01)

        model = Net(8)
        model.apply(init)
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        model(torch.randn(2, 4)).sum().backward()
        opt.step()
    """)
    fact = program.one(ParameterFill, source)
    assert (fact.value, [layer.ref.name for layer in fact.layers]) == (0.01, ["a"]), "b has one unit: nothing to tell"
    assert fact.applied_place is not None
    assert fact.applied_place.line == line_of(source, "model.apply")
    assert fact.trained


def test_arguments_are_bound_to_their_names(program: Program) -> None:
    source = """
        def f(x, training):
            return F.dropout(x, 0.3, training=training)
    """
    (call,) = [call for call in program.all(TorchCall, source) if call.name == "torch.nn.functional.dropout"]
    assert [(argument.name, argument.text) for argument in call.arguments] == [
        ("input", "x"), ("p", "0.3"), ("training", "training"),
    ]  # fmt: skip
    assert call.argument("p").constant == 0.3  # type: ignore[union-attr]
    assert (call.function, call.text) == ("f", "F.dropout")


# --- what is not followed ---------------------------------------------------------------------------------------------


def reasons(reading: Reading) -> list[str]:
    return [f"{item.text}: {item.reason}" for item in reading.not_followed]


@pytest.mark.parametrize(("call", "uses"), [("sys.exit()", 0), ("mystery.exit()", 1)])
def test_only_the_end_of_the_program_ends_a_path(program: Program, call: str, uses: int) -> None:
    source = f"""
        import sys
        import mystery

        {call}
        F.binary_cross_entropy_with_logits(nn.Linear(4, 1)(x), y)
    """
    assert len(_losses(program, source)) == uses


def _losses(program: Program, source: str) -> list[LossUse]:
    return [fact for fact in program.read(source).facts if isinstance(fact, LossUse)]


def test_each_model_that_may_have_made_an_input_is_a_use_of_its_own(program: Program) -> None:
    source = """
        model = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()) if maybe() else nn.Linear(4, 1)
        F.binary_cross_entropy_with_logits(model(x), y)
    """
    kinds = {fact.input for fact in program.all(LossUse, source)}
    assert kinds == {OutputKind.PROBABILITIES, OutputKind.LOGITS}


def test_a_parameter_of_an_uncalled_function_is_unknown(program: Program) -> None:
    source = """
        def train(model, criterion, x, y):
            loss = criterion(model(x), y)
            loss.backward()
    """
    reading = program.read(source)
    assert not [fact for fact in reading.facts if isinstance(fact, LossUse | ModuleInstance)]
    listed = reasons(reading)
    assert any("model" in text and "entered with unknown arguments" in text for text in listed), listed


def test_an_unknown_base_is_not_judged_as_complete(program: Program) -> None:
    source = """
        from mystery import Base

        class Net(Base, nn.Module):
            def __init__(self):
                super().__init__()
                self.a = nn.Linear(4, 4)
                self.b = nn.Linear(4, 4)

            def forward(self, x):
                return self.a(x)

        Net()(torch.randn(2, 4))
    """
    facts = program.all(ModuleInstance, source)
    assert not any(fact.unused and fact.model.complete for fact in facts)


TAKEN = net_program("""
    import mystery
    model = Net(8)
    model.eval()
    mystery.wrap(model)
    with torch.no_grad():
        model(torch.randn(2, 4))
""")


def test_a_library_call_that_takes_the_model_loses_its_mode(program: Program) -> None:
    assert Mode.UNKNOWN in {state.mode for state in program.one(ForwardUse, TAKEN).modes}


def test_a_library_call_that_takes_the_model_is_listed(program: Program) -> None:
    listed = reasons(program.read(TAKEN))
    assert any("mystery.wrap" in text for text in listed), listed


def test_a_layer_by_an_unknown_name_is_not_followed(program: Program) -> None:
    source = """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.a = nn.Linear(4, 4)
                self.b = nn.Linear(4, 4)

            def forward(self, x, which):
                return getattr(self, which)(x)

        def use(which):
            return Net()(torch.randn(2, 4), which)
    """
    (fact,) = [fact for fact in program.all(ModuleInstance, source) if fact.root]
    assert not fact.unused


def test_a_loop_around_unknown_code_is_silent_about_the_mode(program: Program) -> None:
    source = net_program("""
        def run(trainer, x):
            model = Net(8)
            trainer.fit(model)
            return model(x)
    """)
    fact = program.one(ForwardUse, source)
    assert Mode.UNKNOWN in {state.mode for state in fact.modes}


def test_recursion_ends(program: Program) -> None:
    source = net_program("""
        def again(model, n):
            model(torch.randn(2, 4))
            return again(model, n + 1)

        again(Net(8), 0)
    """)
    reading = program.read(source)
    assert any("recursive" in text for text in reasons(reading)), reasons(reading)


def test_facts_of_a_file_without_torch(program: Program) -> None:
    reading = program.read("x = 1\n", head="")
    assert (reading.facts, reading.checked, reading.skipped) == ([], 0, 1)


def test_a_registry_that_other_files_fill_is_unknown(program: Program) -> None:
    """What one file enters by a decorator is not all there is."""
    source = """
    from registry import make, register

    @register("outer")
    class Outer(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = make(inner)
            self.first = nn.Conv2d(3, 8, 1)
        def forward(self, x):
            return self.inner(self.first(x))

    net = Outer("inner")
    net(torch.randn(1, 3, 4, 4))
    """
    registry = """
    known = {}

    def register(name):
        def decorator(cls):
            known[name] = cls
            return cls
        return decorator

    def make(name):
        return known[name.lower()]("outer")
    """
    instances = program.all(ModuleInstance, source, registry=registry)
    assert [{call.ref.name for call in instance.calls} for instance in instances] == [{"first"}]


def test_a_dictionary_that_holds_itself_ends(program: Program) -> None:
    body = """
    def forward(self, x):
        losses = {"a": x.mean()}
        losses["all"] = losses
        return losses
    """
    use = program.one(ForwardUse, f"class Net(nn.Module):\n{body}\nNet()(torch.randn(2, 3))['a'].item()")
    assert use.model.class_name == "Net"


def test_what_only_stands_in_the_standard_input_is_searched_as_well(tmp_path: Path) -> None:
    """The state that `new.py` keeps is read in `new.py` itself, which is not on the disk."""
    data = (ROOT / "fixtures" / "rules" / "hidden-state-ignored" / "silent_used.py").read_bytes()
    configuration = Configuration(tmp_path, Flags(select=("hidden-state-ignored",), isolated=True))
    report = lint((), configuration, stdin=("new.py", data))
    assert (report.checked, report.findings) == (1, ())


def test_names_in_other_scripts_are_followed(tmp_path: Path) -> None:
    """The layer is read in another file only; import and attribute are not in ASCII."""
    names = [f"n{number}" for number in range(9)]  # more words than are looked for one by one
    lines = [f"        self.{name} = nn.Linear(1, 1)" for name in (*names, "层")]
    net = ["import torch", "from torch import nn", "class 网络(nn.Module):", "    def __init__(self):"]
    net += ["        super().__init__()", *lines, "    def forward(self, x):", "        return x"]
    use = ["import torch", "from 模型 import 网络", "net = 网络()", "def head(net, x):", "    return net.层(x)"]
    use += ["net(torch.ones(1))"]
    (tmp_path / "模型.py").write_text("\n".join(net) + "\n", encoding="utf-8")
    (tmp_path / "use.py").write_text("\n".join(use) + "\n", encoding="utf-8")
    report = lint((tmp_path,), Configuration(tmp_path, Flags(select=("unused-module",), isolated=True)))
    assert sorted(finding.message.split("`")[1].rpartition(".")[2] for finding in report.findings) == names
