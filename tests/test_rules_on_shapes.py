"""Shapes in code: what the reader makes of them is what torch makes of them, and what the rules say of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_programs import Program

from modellint.catalog import all_rules
from modellint.facts.folded_batch import FoldedBatch
from modellint.facts.loss_use import Expects, LossUse, OutputKind
from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.recut_view import RecutView
from modellint.facts.size_clash import SizeClash
from modellint.facts.softmax_use import SingleAxis, SoftmaxUse
from modellint.facts.span import Span
from modellint.facts.starved_norm import StarvedNorm
from modellint.finding import Certainty, Finding
from modellint.judge import judge
from modellint.source.interpreter.entry import Interpreter
from modellint.source.interpreter.values import Sizes, Tensor
from modellint.source.project import Project, SourceFile


def at(line: int) -> Span:
    return Span("net.py", line, 5, line, 15)


def run(rule: str, *facts: object) -> list[Finding]:
    """What one rule says about some facts."""
    findings, failures = judge(facts, [all_rules()[rule]()])
    assert failures == []
    return findings


def only(rule: str, *facts: object) -> Finding:
    (finding,) = run(rule, *facts)
    return finding


LINEAR = LayerRef("head", "Linear(30, 5)", "Linear", at(6))
MODEL = ModelRef(1, "model", "Net", at(4), at(20), "", True)

# ---------------------------------------------------------------- the shapes themselves

GIVEN = """
x = torch.randn(4, 6, 8, 10)
m = torch.randn(5, 7)
v = torch.randn(9)
s = torch.randn(3, 5, 12)
k = torch.randint(0, 10, (4, 11))
"""
EXPRESSIONS = """
    x.view(4, -1)
    x.view(-1, 80)
    x.view(x.size(0), -1)
    x.view(-1)
    x.reshape(4, 6, -1)
    x.reshape((2, 2, -1, 10))
    x.view(x.shape[0], x.shape[1], -1)
    x.flatten()
    x.flatten(1)
    x.flatten(1, 2)
    x.flatten(2)
    torch.flatten(x)
    torch.flatten(x, 1)
    torch.flatten(x, start_dim=2)
    x.ravel()
    x.permute(0, 2, 3, 1)
    x.permute((3, 2, 1, 0))
    torch.permute(x, (0, 3, 1, 2))
    x.transpose(1, 2)
    x.transpose(-1, -2)
    torch.transpose(x, 0, 3)
    m.t()
    m.T
    x.mT
    x.swapaxes(0, 1)
    x.unsqueeze(0)
    x.unsqueeze(-1)
    x[:, None]
    x[..., None]
    x[None]
    x.unsqueeze(2).squeeze(2)
    x.unsqueeze(2).squeeze()
    torch.unsqueeze(v, 1)
    x.squeeze(1)
    x.mean()
    x.mean(1)
    x.mean(dim=(2, 3))
    x.mean(-1, keepdim=True)
    x.sum(dim=[1, 2])
    x.std(0)
    x.var(1, keepdim=True)
    torch.mean(x, 1)
    torch.sum(x, dim=(0, 1), keepdim=True)
    x.argmax(1)
    x.amax(dim=-1)
    x.norm(dim=1)
    torch.logsumexp(x, dim=1)
    x.max()
    torch.argmax(x, dim=-1)
    x.any(1)
    x + 1
    x * x
    x + torch.randn(10)
    x - torch.randn(8, 1)
    2 * x
    x / x.mean(1, keepdim=True)
    m @ m.T
    s @ s.transpose(1, 2)
    torch.matmul(s, torch.randn(12, 3))
    torch.bmm(s, s.transpose(1, 2))
    x.add(1)
    torch.mul(x, x)
    torch.maximum(x, x)
    x ** 2
    -x
    x.clamp(min=0)
    x.pow(2)
    x[0]
    x[:, 0]
    x[..., 0]
    x[:, :2]
    x[:, :, 1:3]
    x[0, 1]
    x[..., :1]
    x[:, -1]
    x[:, 1:]
    x[..., -1:]
    x[:, :, :, 2]
    x[::2]
    m[1:3, 0]
    x[:, None, 0]
    x[-1, ..., 0]
    torch.cat([x, x], dim=1)
    torch.cat((m, m))
    torch.stack([m, m])
    torch.stack([v, v, v], dim=1)
    torch.cat([x, x[:, :2]], 1)
    torch.cat([s, s], dim=-1)
    torch.concat([m, m], dim=1)
    F.relu(x)
    F.softmax(x, dim=1)
    x.softmax(-1)
    torch.sigmoid(x)
    F.dropout(x, 0.1)
    F.max_pool2d(x, 2)
    F.avg_pool2d(x, 3, stride=2, padding=1)
    F.adaptive_avg_pool2d(x, 1)
    F.adaptive_avg_pool2d(x, (2, 3))
    F.max_pool2d(x, (2, 3))
    F.max_pool1d(s, 2)
    F.interpolate(x, scale_factor=2)
    F.interpolate(x, size=(5, 5))
    F.pad(x, (1, 2))
    F.pad(x, (1, 1, 2, 2))
    F.one_hot(k, 10)
    F.normalize(x, dim=1)
    F.layer_norm(x, (10,))
    F.gelu(x)
    F.max_pool2d(x, 3, 2, ceil_mode=True)
    F.scaled_dot_product_attention(s, s, s)
    torch.zeros(3, 4)
    torch.ones((2, 3))
    torch.full((2, 2), 1.0)
    torch.randint(5, (2, 3))
    torch.randint(0, 5, size=(7,))
    torch.arange(5)
    torch.linspace(0, 1, 7)
    torch.eye(4)
    torch.eye(3, 5)
    torch.zeros_like(x)
    torch.tensor([[1., 2.], [3., 4.]])
    torch.tensor([1, 2, 3])
    torch.tensor(1.0)
    torch.randperm(6)
    torch.empty(2, 3, 4)
    torch.rand(x.shape)
    torch.randn(x.size(0), 3)
    torch.zeros(x.shape[0], x.shape[1] * 2)
    x.new_zeros(3, 4)
    x.new_zeros((3, 4))
    torch.normal(0.0, 1.0, (3, 4))
    torch.randn(x.shape[0] // 2, x.shape[1] + 1)
    torch.randn(2, 3).to(torch.float64)
    x.expand(4, 6, 8, 10)
    v.expand(3, -1)
    v.expand(2, 3, 9)
    m.repeat(2, 3)
    v.repeat(4, 1)
    x.expand_as(x)
    x.view_as(x)
    x.detach().clone().float().contiguous()
    x.masked_fill(x > 0, 0.0)
    x.cumsum(1)
    x.type_as(m)
    x.long()
    x.unflatten(1, (2, 3))
    k.gather(1, k[:, :3])
    x.data
    x.abs().log1p().sqrt()
    x.relu_()
    x.add_(1)
    x.flip(1)
    x.roll(1, 0)
    nn.Linear(10, 3)(x)
    nn.Conv2d(6, 16, 3)(x)
    nn.Conv2d(6, 16, 3, padding=1)(x)
    nn.Conv2d(6, 16, 3, stride=2, padding=1)(x)
    nn.Conv2d(6, 12, (3, 5), dilation=1)(x)
    nn.Conv2d(6, 12, 3, padding='same')(x)
    nn.Conv2d(6, 12, 3, dilation=2)(x)
    nn.Conv1d(5, 8, 3)(s)
    nn.ConvTranspose2d(6, 8, 2, stride=2)(x)
    nn.ConvTranspose2d(6, 8, 4, 2, 1)(x)
    nn.ConvTranspose2d(6, 8, 3, stride=2, padding=1, output_padding=1)(x)
    nn.Conv2d(6, 6, 3, groups=3)(x)
    nn.MaxPool2d(2)(x)
    nn.MaxPool2d(3, 2, 1)(x)
    nn.MaxPool2d(3, stride=2, ceil_mode=True)(x)
    nn.AvgPool2d(2)(x)
    nn.AdaptiveAvgPool2d(1)(x)
    nn.AdaptiveAvgPool2d((2, None))(x)
    nn.AdaptiveMaxPool2d((3, 4))(x)
    nn.AvgPool1d(2)(s)
    nn.AdaptiveAvgPool1d(1)(s)
    nn.AvgPool2d(3, 2, ceil_mode=True)(x)
    nn.MaxPool1d(3, 3)(s)
    nn.LPPool2d(2, 3)(x)
    nn.BatchNorm2d(6)(x)
    nn.BatchNorm1d(7)(m)
    nn.BatchNorm1d(5)(s)
    nn.GroupNorm(2, 6)(x)
    nn.LayerNorm(10)(x)
    nn.LayerNorm([8, 10])(x)
    nn.InstanceNorm2d(6)(x)
    nn.Dropout(0.5)(x)
    nn.ReLU()(x)
    nn.PReLU()(x)
    nn.Softmax(dim=1)(x)
    nn.GELU()(x)
    nn.Embedding(10, 5)(k)
    nn.Flatten()(x)
    nn.Flatten(2)(x)
    nn.Flatten(1, 2)(x)
    nn.Identity()(x)
    nn.Upsample(scale_factor=2)(x)
    nn.Upsample(size=(5, 6))(x)
    nn.PixelShuffle(1)(x)
    nn.PixelShuffle(2)(torch.randn(1, 8, 3, 3))
    nn.PixelUnshuffle(2)(x)
    nn.ZeroPad2d(1)(x)
    nn.ReflectionPad2d((1, 1, 2, 2))(x)
    nn.Unflatten(1, (2, 3))(x)
    nn.ConstantPad1d(2, 0.0)(s)
    nn.LSTM(12, 7)(s)[0]
    nn.GRU(12, 7, bidirectional=True, batch_first=True)(s)[0]
    nn.LSTM(12, 8, proj_size=3)(s)[0]
    nn.RNN(12, 5, 2)(s)[0]
    nn.MultiheadAttention(12, 3)(s, s, s)[0]
    nn.TransformerEncoderLayer(12, 3)(s)
    nn.TransformerEncoder(nn.TransformerEncoderLayer(12, 2), 2)(s)
    nn.Sequential(nn.Conv2d(6, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))(x)
    nn.Sequential(nn.Linear(7, 3), nn.Softmax(dim=-1))(m)
    nn.LSTM(12, 7)(s)[0][:, -1]
    nn.LSTM(12, 7)(s)[0][-1]
    torch.tril(torch.ones(4, 4))
    torch.squeeze(x[:1])
    torch.roll(x, 1)
    x.new_full((2, 3), 1.0)
    x.prod(1)
    torch.prod(x, 1, True)
    x.squeeze().unsqueeze(1)
    torch.t(m)
    torch.std(x, dim=1, keepdim=True)
    x.std(1, True)
    x.logical_not()
    torch.linalg.norm(x, dim=1)
    torch.norm(x, dim=1)
    torch.norm(x, 2, 1)
    x.norm(2, 1, True)
    x.norm(2, -1)
"""
NOT_FOLLOWED = """
    nn.GLU()(x)
    F.conv2d(x, torch.randn(3, 6, 3, 3))
    torch.einsum('ij,kj->ik', m, m)
    x.chunk(2, 1)[0]
    x.topk(2)[0]
    x.max(1)[0]
    x[torch.tensor([0, 1])]
    x.unfold(1, 2, 2)
    torch.cdist(m, m)
    unheard_of(x)
"""
HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"


def sizes_of(folder: Path, source: str) -> dict[str, Sizes | None]:
    """What the reader knows of the shape of each tensor that a script binds."""
    path = folder / "script.py"
    path.write_text(HEAD + source)
    project = Project(folder, {})
    file = project.file(path)
    assert isinstance(file, SourceFile)
    interpreter = Interpreter(project)
    interpreter.run_file(file)
    return {name: value.sizes for name, value in file.scope.names.items() if isinstance(value, Tensor)}


def by_torch(source: str) -> dict[str, Any]:
    """The same script, executed."""
    names: dict[str, Any] = {}
    exec(HEAD + source, names)
    return names


def listed(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


@pytest.mark.parametrize("expression", listed(EXPRESSIONS))
@pytest.mark.filterwarnings("ignore")
def test_a_shape_is_the_one_that_torch_makes(tmp_path: Path, expression: str) -> None:
    pytest.importorskip("torch")
    source = f"{GIVEN}y = {expression}\n"
    sizes = sizes_of(tmp_path, source)["y"]
    assert sizes is not None
    axes = sizes.whole()
    assert axes is not None
    assert tuple(axis.number for axis in axes) == tuple(by_torch(source)["y"].shape)


@pytest.mark.parametrize("expression", listed(NOT_FOLLOWED))
def test_what_is_not_followed_has_no_shape(tmp_path: Path, expression: str) -> None:
    sizes = sizes_of(tmp_path, f"{GIVEN}y = {expression}\n")
    assert sizes["x"] is not None
    assert sizes.get("y") is None


UNKNOWN_INPUT = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 3), nn.Linear(8, 4)
        self.lstm, self.embed = nn.LSTM(8, 6, bidirectional=True), nn.Embedding(10, 8)

    def forward(self, x):
        return @@

def f(x):
    return Net()(x)

y = f(made_elsewhere())
"""


@pytest.mark.parametrize(
    ("expression", "axes", "open"),
    [
        ("self.conv(x)", (None, 16, None, None), False),
        ("self.fc(x)", (4,), True),
        ("self.fc(x).mean(-1)", (), True),
        ("torch.flatten(x, 1)", (None, None), False),
        ("F.adaptive_avg_pool2d(self.conv(x), 1).flatten(1)", (None, 16), False),
        ("F.adaptive_avg_pool2d(self.conv(x), 1).squeeze()", (None, 16), False),
        ("F.max_pool2d(self.conv(x), 2).view(x.size(0), -1)", (None, None), False),
        ("self.lstm(self.embed(x))[0]", (None, None, 12), False),
        ("self.lstm(self.embed(x))[0][:, -1]", (None, 12), False),
        ("self.fc(x)[..., :1]", (1,), True),
        ("self.fc(x).unsqueeze(-1)", (4, 1), True),
        ("torch.cat([self.fc(x), self.fc(x)], dim=-1)", (8,), True),
        ("self.fc(x) + self.fc(x)", (4,), True),
        ("self.fc(x) * x", (4,), True),
        ("self.fc(x).transpose(-1, -2)", None, False),
    ],
)
def test_what_is_known_of_an_unknown_input(
    tmp_path: Path, expression: str, axes: tuple[int | None, ...] | None, open: bool
) -> None:
    sizes = sizes_of(tmp_path, UNKNOWN_INPUT.replace("@@", expression))["y"]
    if axes is None:
        assert sizes is None
        return
    assert sizes is not None
    assert (tuple(axis.number for axis in sizes.axes), sizes.open) == (axes, open)


@pytest.mark.parametrize(
    ("code", "shape"),
    [
        ("y = x if flag else x.flatten(2)", None),
        ("y = x if flag else x + 1", (4, 6, 8, 10)),
        ("y = x if flag else x[:, :3]", (4, None, 8, 10)),
        ("y = x\nfor _ in range(n):\n    y = F.max_pool2d(y, 2)", (4, 6, None, None)),
        ("y = x\nfor _ in range(n):\n    y = torch.relu(y)", (4, 6, 8, 10)),
        ("y = x\nfor _ in range(n):\n    y = y.unsqueeze(0)", None),
        ("y = x\nh = 8\nfor _ in range(n):\n    h = y.size(2) // 2\n    y = y[:, :, :h]", (4, 6, None, 10)),
        ("y = x\nif flag:\n    y.unsqueeze_(0)", None),
        ("b, c, h, w = x.shape\ny = torch.zeros(b, c * h, w // 2)", (4, 48, 5)),
        ("*_, h, w = x.shape\ny = torch.zeros(w, h)", (10, 8)),
        ("h, w = x.shape[-2:]\ny = torch.zeros(w, h)", (10, 8)),
    ],
)
def test_branches_and_loops_leave_what_is_sure(tmp_path: Path, code: str, shape: tuple[int | None, ...] | None) -> None:
    source = "from somewhere import made\nflag, n = made()\n" + GIVEN + code + "\n"
    sizes = sizes_of(tmp_path, source)["y"]
    axes = sizes.whole() if sizes is not None else None
    assert (None if axes is None else tuple(axis.number for axis in axes)) == shape


def test_a_known_shape_decides_no_test(program: Program) -> None:
    """What one input decides says nothing about another: the other arm is still used."""
    source = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.many = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x):
            return self.one(x) if x.shape[0] == 1 else self.many(x)

    Net()(torch.randn(1, 4))
    """
    from modellint.facts.module_instance import ModuleInstance

    (fact,) = [fact for fact in program.all(ModuleInstance, source) if fact.root]
    assert {call.ref.name for call in fact.calls} == {"one", "many"}


# ---------------------------------------------------------------- channel-mismatch

CLASH = SizeClash(at(12), LINEAR, MODEL, "in_features", 20, (30,), -1, "Linear(10, 20)", at(11))


def test_channel_mismatch() -> None:
    finding = only("channel-mismatch", CLASH)
    assert finding.message == "`head` (Linear(30, 5)) takes 30 features and gets 20"
    assert [note.label for note in finding.related] == ["Linear(10, 20) makes them", "built for another size here"]
    assert "in_features=20" in finding.help


@pytest.mark.parametrize(
    ("clash", "said"),
    [
        (replace(CLASH, parameter="rank", given=4, wanted=(2, 3)), "takes an input of 2 or 3 axes and gets one of 4"),
        (
            replace(CLASH, parameter="in_channels by groups", given=32, wanted=(5,)),
            "in_channels is 32, and groups is 5",
        ),
        (replace(CLASH, parameter="num_features", maker=None, maker_place=None), "takes 30 channels and gets 20"),
    ],
)
def test_channel_mismatch_says_what_does_not_fit(clash: SizeClash, said: str) -> None:
    assert said in only("channel-mismatch", clash).message


def test_a_clash_names_the_layer_that_made_the_size(program: Program) -> None:
    source = """
    net = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(30, 5))
    out = net(torch.randn(2, 10))
    """
    fact = program.one(SizeClash, source)
    assert (fact.given, fact.wanted, fact.parameter, fact.maker) == (20, (30,), "in_features", "Linear(10, 20)")
    assert fact.place == fact.layer.place


@pytest.mark.parametrize(
    "body",
    [
        "return self.b(self.a(x))",
        "return self.c(unknown(self.a(x)))",
        "return self.c(self.a(x)) if flag else x",
        "return self.c(self.a(x) if flag else x)",
        "for _ in range(n):\n            x = self.c(self.a(x))\n        return x",
        "return self.c(torch.cat([self.a(x), x], -1))",
        "return self.c(self.a(x).view(-1, n))",
    ],
)
def test_no_clash_where_the_size_fits_or_is_not_settled(program: Program, body: str) -> None:
    source = f"""
    from somewhere import made, unknown
    flag, n = made()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 2), nn.Linear(6, 2)

        def forward(self, x):
            {body.replace(chr(10), chr(10) + "    ")}

    def f(x):
        return Net()(x)
    """
    assert program.all(SizeClash, source) == []


# ---------------------------------------------------------------- view-as-permute

RECUT = RecutView(at(9), "x.view(b, h * w, c)", ("b", "c", "h * w"), ("b", "h * w", "c"), (0, 2, 3, 1))


def test_view_as_permute() -> None:
    finding = only("view-as-permute", RECUT)
    assert finding.message == "`view` to (b, h * w, c) of a tensor of (b, c, h * w) does not swap its axes"
    assert ".permute(0, 2, 3, 1).reshape(b, h * w, c)" in finding.help
    assert only("view-as-permute", replace(RECUT, order=None)).help == "permute the axes first"


@pytest.mark.parametrize(
    ("target", "order"),
    [
        ("b, c, h, w", ()),
        ("b, c, h * w", ()),
        ("b, c * h, w", ()),
        ("b * c, h, w", ()),
        ("b, -1", ()),
        ("b, -1, c", ()),
        ("b, c, n, h * w", ()),
        ("b, h, w, c", (0, 2, 3, 1)),
        ("b, h * w, c", (0, 2, 3, 1)),
        ("-1, h, w, c", (0, 2, 3, 1)),
        ("c, b, h, w", (1, 0, 2, 3)),
        ("b * h, c, w", (0, 2, 1, 3)),
    ],
)
def test_a_view_is_recut_when_no_neighbours_explain_it(program: Program, target: str, order: tuple[int, ...]) -> None:
    source = f"""
    def f(x: torch.Tensor, n):
        b, c, h, w = x.shape
        return x.view({target})
    """
    assert tuple(fact.order for fact in program.all(RecutView, source)) == ((order,) if order else ())


def test_a_recut_view_has_other_values_than_the_permuted_tensor() -> None:
    """What the rule claims, with torch: the shape is the same, and only values at both ends stay."""
    torch = pytest.importorskip("torch")
    x = torch.arange(6).reshape(2, 3)
    recut, moved = x.view(3, 2), x.t()
    assert recut.shape == moved.shape
    assert (recut == moved).flatten().tolist() == [True, False, False, False, False, True]


# ---------------------------------------------------------------- flattened-batch-dimension

FOLD = FoldedBatch(at(9), "x.view(-1, 384)", (4, 6, 16, 16), 384, 16, LINEAR)


def test_flattened_batch_dimension() -> None:
    finding = only("flattened-batch-dimension", FOLD)
    assert finding.message == "`x.view(-1, 384)` changes the number of samples"
    assert "it becomes 4 rows" in finding.why
    whole = only("flattened-batch-dimension", replace(FOLD, text="x.flatten()", width=None, rows=1))
    assert whole.message == "`x.flatten()` puts all samples of the batch into one row"


@pytest.mark.parametrize(
    ("shape", "reshape", "width"),
    [
        ("4, 3, 16, 16", "view(-1, 384)", 384),
        ("4, 3, 16, 16", "flatten()", None),
        ("4, 3, 16, 16", "view(-1, 6 * 16 * 16)", 0),
        ("4, 3, 16, 16", "view(-1, 16 * 16)", 0),
        ("4, 3, 16, 16", "flatten(1)", 0),
        ("1, 3, 16, 16", "flatten()", 0),
        ("3, 16, 16", "flatten()", 0),
        ("4, 3, 8, 8", "view(-1, 384)", 0),
    ],
)
def test_a_batch_is_folded_when_rows_are_no_samples(
    program: Program, shape: str, reshape: str, width: int | None
) -> None:
    source = f"""
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(384, 2)

        def forward(self, x):
            return self.fc(self.conv(x).{reshape})

    Net()(torch.randn({shape}))
    """
    assert [fact.width for fact in program.all(FoldedBatch, source)] == ([] if width == 0 else [width])


# ---------------------------------------------------------------- softmax

SOFTMAX = SoftmaxUse(at(9), "F.softmax", False, True, (3,), True, ())


@pytest.mark.parametrize(
    ("ranks", "every", "certainty"),
    [
        ((3,), True, Certainty.CERTAIN),
        ((4,), True, Certainty.LIKELY),
        ((), False, Certainty.LIKELY),
        ((2,), False, Certainty.LIKELY),
        ((2, 3), True, Certainty.CERTAIN),
        ((2,), True, None),
        ((1, 2), True, None),
    ],
)
def test_softmax_without_dim(ranks: tuple[int, ...], every: bool, certainty: Certainty | None) -> None:
    findings = run("softmax-without-dim", replace(SOFTMAX, ranks=ranks, every_rank_known=every))
    assert [finding.certainty for finding in findings] == ([] if certainty is None else [certainty])


def test_a_softmax_with_dim_is_silent() -> None:
    assert run("softmax-without-dim", replace(SOFTMAX, implicit=False)) == []


@pytest.mark.parametrize(("rank", "axis"), [(0, 0), (1, 0), (2, 1), (3, 0), (4, 1)])
@pytest.mark.filterwarnings("ignore")
def test_torch_picks_the_axis_that_the_rule_names(rank: int, axis: int) -> None:
    torch = pytest.importorskip("torch")
    x = torch.randn((2,) * rank)
    assert torch.equal(torch.nn.functional.softmax(x), torch.softmax(x, axis))


def test_softmax_of_one_class() -> None:
    single = SingleAxis(at(9), "Linear(8, 1)", at(8))
    finding = only("softmax-of-one-class", replace(SOFTMAX, implicit=False, single=(single,)))
    assert finding.message == "`F.softmax` over a single value is always 1.0"
    log = replace(SOFTMAX, text="F.log_softmax", log=True, single=(replace(single, maker="[...]"),))
    assert "always 0.0" in only("softmax-of-one-class", log).message
    assert run("softmax-of-one-class", SOFTMAX) == []


@pytest.mark.parametrize(
    ("layer", "call", "fires"),
    [
        ("nn.Linear(8, 1)", "dim=-1", True),
        ("nn.Linear(8, out_features=1)", "dim=1", True),
        ("nn.Linear(8, 1)", "dim=0", False),
        ("nn.Linear(8, 2)", "dim=-1", False),
        ("nn.Linear(8, n)", "dim=-1", False),
    ],
)
def test_a_single_axis_is_written_as_1(program: Program, layer: str, call: str, fires: bool) -> None:
    source = f"""
    n = 1
    y = torch.softmax({layer}(torch.randn(4, 8)), {call})
    """
    assert bool(program.one(SoftmaxUse, source).single) is fires


LOG = LossUse(
    place=at(30), loss="NLLLoss", loss_text="criterion", loss_place=at(20), expects=Expects.LOG_PROBABILITIES,
    input=OutputKind.LOG_PROBABILITIES, maker="F.log_softmax", maker_place=at(9), steps=(), model=MODEL,
    model_place=at(29), classes=5, softmax_dim=0, trains=True, target=OutputKind.UNKNOWN, softmax_shape=(None, 5),
)  # fmt: skip


def test_softmax_over_batch() -> None:
    finding = only("softmax-over-batch", LOG)
    assert finding.why.startswith("dim 0 of N x 5 is the batch: each class adds up to 1 over the samples of the batch")
    assert "over the 16 samples" in only("softmax-over-batch", replace(LOG, softmax_shape=(16, 5))).why


@pytest.mark.parametrize(
    "use",
    [
        replace(LOG, softmax_dim=1),
        replace(LOG, softmax_dim=None),
        replace(LOG, softmax_shape=(5,)),
        replace(LOG, softmax_shape=None),
        replace(LOG, softmax_shape=(6, 6)),
        replace(LOG, softmax_shape=(None, None)),
        replace(LOG, model=None),
        replace(LOG, trains=False),
        replace(LOG, input=OutputKind.LOGITS),
    ],
)
def test_softmax_over_another_axis_is_silent(use: LossUse) -> None:
    assert run("softmax-over-batch", use) == []


# ---------------------------------------------------------------- loss-broadcast

MSE = replace(
    LOG, loss="MSELoss", expects=Expects.RAW, input=OutputKind.LOGITS, softmax_dim=None, softmax_shape=None,
    input_shape=(None, 1), target_shape=(None,), element_wise=True, reduction="mean",
)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "target", "label"),
    [
        ((None, 1), (None,), "(N, 1) against (N,) becomes (N, N)"),
        ((None,), (None, 1), "(N,) against (N, 1) becomes (N, N)"),
        ((16, 1), (None,), "(16, 1) against (16,) becomes (16, 16)"),
        ((16, 1), (16,), "(16, 1) against (16,) becomes (16, 16)"),
        ((None, 1), (1, None), "(N, 1) against (1, N) becomes (N, N)"),
    ],
)
def test_loss_broadcast(given: tuple[int | None, ...], target: tuple[int | None, ...], label: str) -> None:
    assert only("loss-broadcast", replace(MSE, input_shape=given, target_shape=target)).label == label


@pytest.mark.parametrize(
    "use",
    [
        replace(MSE, target_shape=(None, 1)),
        replace(MSE, target_shape=()),
        replace(MSE, target_shape=(1,)),
        replace(MSE, input_shape=(None, 3, 8), target_shape=(3, 1)),
        replace(MSE, target_shape=None),
        replace(MSE, input_shape=None),
        replace(MSE, aligned=True),
        replace(MSE, element_wise=False),
        replace(MSE, input_shape=(1, 1), target_shape=(1,)),
    ],
)
def test_shapes_that_fit_or_grow_on_one_side_are_silent(use: LossUse) -> None:
    assert run("loss-broadcast", use) == []


@pytest.mark.parametrize(
    ("loss", "shapes"),
    [
        ("nn.MSELoss()(net(x), y)", [((16, 1), (16,))]),
        ("F.mse_loss(net(x).squeeze(1), y)", [((16,), (16,))]),
        ("(net(x) - y).pow(2).mean()", [((16, 1), (16,))]),
        ("(net(x)[:, 0] - y).pow(2).mean()", []),
        ("(x - x).sum() + net(x).mean()", []),
    ],
)
def test_the_shapes_of_a_loss_are_read(program: Program, loss: str, shapes: list[object]) -> None:
    source = f"""
    net = nn.Linear(8, 1)
    x, y = torch.randn(16, 8), torch.randn(16)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    {loss}.backward()
    optimizer.step()
    """
    uses = [use for use in program.all(LossUse, source) if use.element_wise]
    assert [(use.input_shape, use.target_shape) for use in uses] == shapes


# ---------------------------------------------------------------- batchnorm-starved

STARVED = StarvedNorm(at(9), LayerRef("norm", "BatchNorm1d(4)", "BatchNorm1d", at(6)), MODEL, 2, True)


def test_batchnorm_starved() -> None:
    assert only("batchnorm-starved", STARVED).message == "`BatchNorm1d(4)` normalises over 2 samples"
    assert run("batchnorm-starved", replace(STARVED, trains=False)) == []


def test_of_two_samples_a_batch_norm_keeps_the_sign_only() -> None:
    torch = pytest.importorskip("torch")
    out = torch.nn.BatchNorm1d(4, affine=False)(torch.randn(2, 4) * 100)
    assert torch.allclose(out.abs(), torch.ones(2, 4), atol=1e-3)
