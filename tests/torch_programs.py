"""Programs in torch's clothes that are made by chance: for trainings, for shapes, and to make a reader run for ever.

Each function takes a `Random` and gives source text; equal states give equal text. `programs()` and `damaged_files()`
are the strategies of them: Hypothesis draws every choice, so that it can shrink what fails.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from generated_programs import program
from hypothesis import strategies as st

IMPORTS = """\
import asyncio
import functools
import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split
"""


def any_program(random: Random) -> str:
    """One program of any kind."""
    return random.choice((program, training, shapes, shapes, growth))(random)


def programs(*makers: Callable[[Random], str]) -> st.SearchStrategy[str]:
    """Programs of these kinds, or of any."""
    return st.builds(
        lambda make, random: make(random),
        st.sampled_from(makers or (any_program,)),
        st.randoms(use_true_random=False),
    )


def damaged_files(paths: Sequence[Path]) -> st.SearchStrategy[tuple[Path, bytes]]:
    """A file and what is left of it."""
    return st.builds(
        lambda path, random: (path, damaged_file(path.read_bytes(), random)),
        st.sampled_from(paths),
        st.randoms(use_true_random=False),
    )


def indented(lines: Sequence[str], by: int = 1) -> list[str]:
    """Lines in a block."""
    return ["    " * by + line for line in lines]


# --- trainings --------------------------------------------------------------------------------------------------------

LAYERS = (
    "nn.Linear(8, 8)", "nn.ReLU()", "nn.Dropout(0.5)", "nn.BatchNorm1d(8)", "nn.LayerNorm(8)", "nn.Tanh()",
    "nn.Sigmoid()", "nn.Softmax(dim=1)", "nn.Identity()", "nn.GELU()", "nn.Sequential(nn.Linear(8, 8), nn.ReLU())",
    "nn.ModuleList([nn.Linear(8, 8) for _ in range(2)])", "nn.Linear(8, 8, bias=False)", "nn.LogSoftmax(dim=-1)",
    "nn.Parameter(torch.zeros(8))", "nn.ParameterList([nn.Parameter(torch.ones(8))])", "[nn.Linear(8, 8)]",
    "nn.ModuleDict({'a': nn.Linear(8, 8)})", "nn.LSTM(8, 8)", "nn.MultiheadAttention(8, 2)",
)  # fmt: skip
LOSSES = (
    "nn.CrossEntropyLoss()", "nn.BCEWithLogitsLoss()", "nn.BCELoss()", "nn.MSELoss()", "nn.NLLLoss()",
    "F.cross_entropy", "functools.partial(F.cross_entropy, label_smoothing=0.1)", "nn.L1Loss(reduction='none')",
)  # fmt: skip
OPTIMIZERS = (
    "optim.SGD(model.parameters(), lr=0.1)", "optim.Adam([p for p in model.parameters() if p.requires_grad])",
    "optim.AdamW([{'params': model.parameters()}, {'params': [model.a]}], lr=1e-3)", "optim.SGD(model.a, lr=0.1)",
    "optim.Adam(filter(lambda p: p.requires_grad, model.parameters()))",
)  # fmt: skip


def training(random: Random) -> str:
    """A model, its data and a training of it; what belongs there may be missing, doubled or out of order."""
    names = ["a", "b", "c"]
    lines = [IMPORTS]
    if random.random() < 0.3:
        lines += ["class Base(nn.Module):", "    def helper(self, *parts, **options):", "        return parts[0]"]
        base = "Base"
    else:
        base = random.choice(("nn.Module", "nn.Module", "nn.Sequential", "torch.jit.ScriptModule"))
    lines += [f"class Net({base}):", "    def __init__(self, width=8, *rest, flag=False, **more):"]
    lines += indented(_some(random, ["super().__init__()"], 0.95), 2)
    for name in names:
        lines.append(f"        self.{name} = {random.choice(LAYERS)}")
    extra = (
        "nn.init.constant_(self.a.weight, 0.)", "self.b.weight = self.a.weight", "self.apply(self.reset)",
        "self.mask = torch.ones(8, 8)", "self.register_buffer('mask', torch.ones(8))", "self.c = self.a",
        "for p in self.parameters(): p.requires_grad = flag", "self.layers = [self.a] * width",
        "self.d = nn.Sequential(*[nn.Linear(8, 8) for _ in range(width)], *rest)", "setattr(self, 'e', self.a)",
        "self.flag = flag",
    )  # fmt: skip
    lines += indented(random.sample(extra, random.randint(0, 4)), 2)
    lines += ["    def reset(self, m):", "        if isinstance(m, (nn.Linear, nn.LSTM)):"]
    lines.append(f"            {random.choice(('m.weight.data.zero_()', 'nn.init.zeros_(m.bias)', 'pass'))}")
    if random.random() < 0.2:
        lines.append(f"    {random.choice(('@torch.no_grad()', '@property', '@torch.jit.export', '@wraps(print)'))}")
    lines += ["    def forward(self, x, *, y=None):", *_wrapped(random, _forward(random, names), 2, False)]
    lines.append(f"        return {random.choice(('x', 'x, y', 'F.softmax(x, dim=1)', 'torch.sigmoid(x)'))}")
    lines += _data(random)
    lines += _training_run(random)
    return "\n".join(lines) + "\n"


def _some(random: Random, lines: Sequence[str], chance: float = 0.8) -> list[str]:
    """Most of these; now and then one twice."""
    result: list[str] = []
    for line in lines:
        if random.random() < chance:
            result.append(line)
        if random.random() < 0.05:
            result.append(line)
    if len(result) > 1 and random.random() < 0.15:
        index = random.randrange(len(result) - 1)
        result[index], result[index + 1] = result[index + 1], result[index]
    return result


def _forward(random: Random, names: Sequence[str]) -> list[str]:
    options = [f"x = self.{name}(x)" for name in names]
    options += [
        "x = F.dropout(x, 0.5)", "x = F.relu(self.a(x)) + x", "for layer in self.layers: x = layer(x)",
        "x = torch.cat([x, self.b(x)], dim=1)", "x, h = self.c(x)", "x = self.forward(x) if self.training else x",
        "x = x.view(x.size(0), -1)", "x = [part for part in self.children()][0](x)", "x += self.a.bias",
        "if (n := x.shape[0]) > 1: x = x[:n]", "x = self.a(x).item()", "x = getattr(self, 'b')(x)",
        "y = y if y is not None else x.detach()", "x = sum(layer(x) for layer in self.layers)", "x = self(x)",
        "x = torch.utils.checkpoint.checkpoint(self.b, x)", "self.last = x", "x = x.squeeze()",
    ]  # fmt: skip
    return random.choices(options, k=random.randint(1, 5))


def _data(random: Random) -> list[str]:
    return [
        "class Items(Dataset):",
        "    def __len__(self):",
        "        return 100",
        "    def __getitem__(self, i):",
        f"        {random.choice(('return torch.randn(8), 0', 'yield i', 'return self[i]', 'x, *y = self.all[i]'))}",
        random.choice(("data = Items()", "data = TensorDataset(torch.randn(9, 8), torch.ones(9))", "data = load()")),
        "train_set, val_set = random_split(data, [80, 20])",
        f"train_loader = DataLoader({random.choice(('train_set, shuffle=True', 'data', 'val_set, 8', 'data, **o'))})",
        f"val_loader = {random.choice(('DataLoader(val_set)', 'train_loader', 'DataLoader(val_set, shuffle=True)'))}",
    ]


def _training_run(random: Random) -> list[str]:
    step = ["opt.zero_grad()", "out = model(x)", f"loss = {random.choice(('criterion(out, y)', 'criterion(y, out)'))}"]
    step += ["loss.backward()", "opt.step()"]
    extra = (
        "total += loss", "total += loss.item()", "scheduler.step()", "print(f'{loss}')", "losses.append(loss)",
        "nn.utils.clip_grad_norm_(model.parameters(), 1.0)", "scaler.scale(loss).backward()", "model.train()",
        "if i % 4 == 0: opt.zero_grad()", "x = x.to('cuda')", "best = model.state_dict()", "with torch.no_grad(): pass",
        "if loss < 0.1: break", "assert not torch.isnan(loss)", "del out",
        "loss = loss / 4", "(loss := loss * 2)", "pred = out.argmax(1)", "acc = (out.max(1)[1] == y).sum()",
    )  # fmt: skip
    body = _some(random, step)
    for line in random.sample(extra, random.randint(0, 4)):
        body.insert(random.randint(0, len(body)), line)
    body = body or ["pass"]
    helper: list[str] = []
    kind = random.randrange(5)
    if kind == 0:
        helper = ["def step(x, y, *rest, **options):", "    global total", *_wrapped(random, body, 1, False)]
        body = [
            random.choice(("step(x, y)", "step(*batch)", "step(**dict(x=x, y=y))", "functools.partial(step, x)(y)"))
        ]
    evaluation = _some(random, ["model.eval()"])
    evaluation += random.choice(
        (
            ["for x, y in val_loader: print(criterion(model(x), y))"],
            ["with torch.no_grad():", "    for x, y in val_loader:", "        total += criterion(model(x), y).item()"],
            ["with torch.inference_mode(), guard:", "    out = [model(x) for x, *_ in val_loader]"],
            [],
        )
    )
    start = [
        "model = Net()",
        f"criterion = {random.choice(LOSSES)}",
        f"opt = {random.choice(OPTIMIZERS)}",
        f"scheduler = optim.lr_scheduler.{random.choice(('StepLR(opt, 1)', 'OneCycleLR(opt, 0.1, 10)'))}",
        "total, losses = 0, []",
    ]
    start = _some(random, start, 0.95)
    loops = ("for x, y in train_loader:", "for i, (x, y) in enumerate(train_loader):", "while True:",
             "for batch in iter(train_loader):", "for x in train_loader:", "for _ in range(10**9):")  # fmt: skip
    wrapped = _wrapped(random, body, 1, kind != 0)
    inner = [random.choice(loops), *wrapped]
    epochs = random.choice(("for epoch in range(3):", "while epoch < 3:", "for epoch in itertools.count():", "if 1:"))
    run = [*start, epochs, *indented(inner), *indented(evaluation)]
    if kind in (1, 2):
        head = random.choice(("def main():", "def main(args=None, *, lr=0.1):", "async def main(*, n: int = 3):"))
        tail = random.choice(("main()", "asyncio.run(main())", "if __name__ == '__main__':\n    main()", ""))
        return [*helper, head, *indented(run), tail]
    if kind == 3:
        held = [line.replace("model", "self.model").replace("opt.", "self.opt.") for line in run]
        lines = ["class Trainer:", "    def __init__(self, **options):", "        self.__dict__.update(options)"]
        return [*lines, "    def fit(self):", *indented(held, 2), "Trainer(model=Net()).fit()"]
    return [*helper, *run]


def _wrapped(random: Random, lines: Sequence[str], by: int, in_loop: bool) -> list[str]:
    """Lines in a block, some of them in blocks of their own."""
    heads = (
        ("if flag:",), ("if self.training:",), ("with torch.no_grad():",), ("for _ in range(2):",),
        ("try:", "except (RuntimeError, ValueError) as error:"), ("with torch.autocast('cuda'), guard as g:",),
        ("match mode:", "case"), ("while True:", "break"), ("def inner(x=x, *y):", "call"), ("try:", "finally:"),
    )  # fmt: skip
    result: list[str] = []
    for line in lines:
        if random.random() > 0.15:
            result.append(line)
            continue
        head, *end = random.choice(heads)
        if head == "match mode:":
            result += [head, "    case {'k': [v, *w], **z} if v:", f"        {line}", "    case Net(a=1) | None:"]
            result += ["        pass"]
            continue
        result += [head, *indented(line.split("\n"))]
        if end == ["break"]:
            result.append("    break")
        elif end == ["call"]:
            result += ["    return x", "x = inner()"]
        elif end:
            result += [end[0], f"    {'continue' if in_loop and random.random() < 0.3 else 'pass'}"]
    return indented(result, by)


# --- shapes and constants ---------------------------------------------------------------------------------------------

ODD = (
    "0", "1", "-1", "2", "3", "8", "None", "()", "(3,)", "(1, 2)", "[2, 2]", "True", "1.5", "-0.0", "1e400", "1e-400",
    "float('nan')", "float('inf')", "10**11", "10**30", "2**63", "'same'", "'valid'", "''", "'a'", "...", "1j", "n",
    "x", "x.size(0)", "x.shape[-1]", "x.shape", "*x.shape", "len(x)", "math.prod(x.shape)", "0x" + "f" * 4000, "-n",
    "n // 0", "n % 0", "0 ** -1", "'%99999999d' % 1", "'a' * 10**9", "[0] * 10**9", "(0,) * 99", "b'\\xff'", "slice(0)",
    "range(10**12)", "range(0, 9, 0)", "{}", "set()", "lambda: 0", "int('9' * 5000)", "round(float('nan'))", "n << 99",
    "int(1e400)", f"1{'0' * 400}", "round(5, -10**9)", "x.shape[-10**11:]", "x.shape[:10**9]", "x[::0]", "n[::0]",
    "'{:>99999999}'.format(1)", "f'{n:99999999}'", "'\\ud800'", "chr(0x110000)", "max()", "min([])",
)  # fmt: skip
_LAYER_NAMES = (
    "Linear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d", "MaxPool2d", "AvgPool1d", "AdaptiveAvgPool2d",
    "BatchNorm2d", "GroupNorm", "LayerNorm", "InstanceNorm1d", "Flatten", "Unflatten", "Embedding", "EmbeddingBag",
    "LSTM", "GRU", "RNNCell", "MultiheadAttention", "TransformerEncoderLayer", "PixelShuffle", "Upsample", "Fold",
    "Unfold", "ZeroPad2d", "ReflectionPad1d", "Dropout", "Softmax", "Bilinear", "LocalResponseNorm", "CosineSimilarity",
    "Sequential", "ModuleList", "LazyLinear", "Identity", "ChannelShuffle", "FractionalMaxPool2d", "LPPool2d",
)  # fmt: skip
_LAYER_WORDS = (
    "kernel_size", "stride", "padding", "dilation", "groups", "bias", "num_layers", "batch_first", "bidirectional",
    "output_size", "in_features", "out_channels", "ceil_mode", "return_indices", "hidden_size", "proj_size",
    "padding_idx", "p", "dim", "scale_factor", "num_heads", "device", "dtype", "start_dim", "inplace", "momentum",
)  # fmt: skip
_METHODS = (
    "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "flatten", "unflatten", "expand", "repeat",
    "chunk", "split", "unbind", "narrow", "select", "sum", "mean", "max", "argmax", "softmax", "size", "t", "mT",
    "movedim", "swapaxes", "roll", "tile", "unfold", "gather", "index_select", "masked_fill", "matmul", "bmm", "norm",
    "to", "type", "new_zeros", "fill_", "clamp", "topk", "sort", "cumsum", "item", "tolist", "view_as", "__getitem__",
    "repeat_interleave", "flip", "diagonal", "broadcast_to", "std", "log_softmax", "tensor_split",
)  # fmt: skip
_FUNCTIONS = (
    "torch.cat", "torch.stack", "torch.randn", "torch.zeros", "torch.full", "torch.arange", "torch.linspace", "F.pad",
    "torch.einsum", "torch.matmul", "F.interpolate", "F.one_hot", "F.unfold", "F.conv2d", "F.linear", "F.max_pool2d",
    "F.softmax", "F.cross_entropy", "F.binary_cross_entropy", "torch.where", "torch.chunk", "torch.tensor", "F.glu",
    "torch.split", "torch.meshgrid", "torch.outer", "F.normalize", "F.embedding", "torch.vmap", "F.grid_sample",
    "rearrange", "repeat", "reduce", "int", "len", "range", "sum", "max", "str", "round", "divmod", "tuple", "sorted",
    "isinstance", "zip", "enumerate", "pow", "abs", "slice", "getattr", "F.scaled_dot_product_attention", "math.log",
    "torch.Size", "nn.init.normal_", "nn.init.constant_", "nn.init.xavier_uniform_", "torch.triu", "torch.eye", "map",
    "torch.utils.data.DataLoader", "torch.optim.SGD", "torch.optim.lr_scheduler.StepLR", "nn.CrossEntropyLoss", "bool",
    "torch.optim.lr_scheduler.OneCycleLR", "torch.tril", "F.nll_loss", "F.dropout", "torch.bmm", "dict", "list",
)  # fmt: skip
_PATTERNS = (
    "'b c h w -> b (c h w)'", "'b (h w) c -> b c h w'", "'... -> ...'", "'(a b) -> a b'", "'b -> b b ('", "'->'",
    "'bij,bjk->bik'", "'ij'", "'i->'", "'...i,ij->...j'", "'ii->i'", "',->'", "'b 1 () -> b'", "'((a)) -> a'",
)  # fmt: skip


class _Shapes:
    """Draws calls with arguments that fit, nearly fit and make no sense."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.depth = 0

    def argument(self) -> str:
        chance = self.random.random()
        if self.depth < 3 and chance < 0.2:
            return self.call()
        if chance < 0.3:
            return self.random.choice(_PATTERNS)
        if chance < 0.4:
            return (
                f"[{', '.join(self.argument() for _ in range(self.random.randint(0, 3)))}]" if self.depth < 3 else "x"
            )
        return self.random.choice(ODD)

    def arguments(self, words: Sequence[str]) -> str:
        self.depth += 1
        given = [self.argument() for _ in range(self.random.randint(0, 4))]
        names = self.random.sample(words, self.random.randint(0, 2))
        self.depth -= 1
        return ", ".join([*given, *(f"{name}={self.random.choice(ODD)}" for name in names if "*" not in name)])

    def call(self) -> str:
        chance = self.random.random()
        words = ("dim", "size", "keepdim", "dtype", "mode", "b", "c", "h")
        if chance < 0.45:
            return f"x.{self.random.choice(_METHODS)}({self.arguments(words)})"
        if chance < 0.8:
            return f"{self.random.choice(_FUNCTIONS)}({self.arguments(words)})"
        if chance < 0.9:
            parts = [self.random.choice((":", "None", "...", "0", "-1", "::2", "n", "5:1", "[0, 1]", "x > 0", "::0"))
                     for _ in range(self.random.randint(1, 4))]  # fmt: skip
            return f"x[{', '.join(parts)}]"
        return f"(x {self.random.choice('+-*/@%')} {self.argument()})".replace("*x.shape", "x")

    def layer(self) -> str:
        return f"nn.{self.random.choice(_LAYER_NAMES)}({self.arguments(_LAYER_WORDS)})".replace("*x.shape", "8")


def shapes(random: Random) -> str:
    """A module whose layers and operators get odd sizes."""
    maker = _Shapes(random)
    # A word after a star, or a dangling `=*`, is no syntax.
    lines = [IMPORTS, "from einops import rearrange, repeat, reduce", "class Net(nn.Module):"]
    lines += [
        "    def __init__(self, n=4, x=torch.zeros(2, 3)):",
        "        super().__init__()",
        "        self.width = n",
    ]
    count = random.randint(1, 4)
    lines += [f"        self.layer{index} = {maker.layer()}" for index in range(count)]
    lines += ["    def forward(self, x):", "        n = self.width"]
    for _ in range(random.randint(1, 6)):
        if random.random() < 0.5:
            lines.append(f"        x = self.layer{random.randrange(count)}(x)")
        else:
            target = random.choice(("x", "x", "x", "n", "x, n", "x, *n", "n[0]", "self.width", "(n := x)"))
            lines.append(f"        {target} = {maker.call()}" if ":=" not in target else f"        {target}")
    lines += ["        return x", f"x = torch.randn({', '.join(random.choices('0123456789', k=random.randint(0, 5)))})"]
    lines += ["n = x.size(0)", f"net = Net({random.choice(ODD)})", "y = net(x)"]
    lines += [f"x = {maker.call()}" for _ in range(random.randint(0, 4))]
    lines.append(f"{random.choice(LOSSES)}(y, {maker.argument()})".replace("*x.shape", "x"))
    return "\n".join(lines).replace("=*x.shape", "=x.shape") + "\n"


# --- growth -----------------------------------------------------------------------------------------------------------


def growth(random: Random) -> str:
    """Few lines that cost much: doubling, recursion, long chains, containers that hold themselves."""
    parts = random.sample(_GROWING, random.randint(1, 3))
    return IMPORTS + "\n".join(part(random) for part in parts) + "\n"


def _doubling(random: Random) -> str:
    start = random.choice(
        ("[0]", "(0,)", "'ab'", "[nn.Linear(1, 1)]", "{'a': 0}", "b'ab'", "torch.ones(1)", "2", "[[]]")
    )
    change = random.choice(
        ("x + x", "x * 2", "[x, x]", "(x, x)", "{'a': x, 'b': x}", "f'{x}{x}'", "[*x, *x]", "nn.Sequential(x, x)",
         "x * x", "x if flag else [x]", "torch.cat([x, x])", "lambda y=x: [x, y]", "list(x) + list(x)", "[x] * 24",
         "[(a, b) for a in x for b in x]", "dict(x, **x)", "x.append(x) or x", "zip(x, x)", "str(x) + repr(x)",
         "{**x, len(x): x}", "sum([x, x], [])", "max(x, [x, x])", "'%s%s' % (x, x)", "'{0}{0}'.format(x)", "x ** 9",
         "functools.partial(x, x)", "x.view(x.size(0), -1, *x.shape)", "nn.ModuleList([x, x])", "sorted(x + x)")
    )  # fmt: skip
    times = random.choice((5, 30, 60, 200))
    match random.randrange(4):
        case 0:
            return "\n".join([f"x = {start}", *[f"x = {change}"] * times])
        case 1:
            return f"x = {start}\nfor _ in range({random.choice((times, 10**9))}):\n    x = {change}"
        case 2:
            return f"def grow(x, n):\n    return x if n == 0 else grow({change}, n - 1)\ngrow({start}, {times})"
        case _:
            return f"x = {start}\nwhile flag:\n    x = {change}\n    if x: continue\n    x = {change}"


def _recursion(random: Random) -> str:
    return random.choice(
        (
            "def f(n):\n    return f(n - 1) + f(n - 2) if n else f\nf(10**6)",
            "def f(*a, **k):\n    return g(*a, *a, **k)\ndef g(*a, **k):\n    return f(*a, **k)\nf(1)",
            "class A:\n    def __init__(self):\n        self.a, self.b = A(), A()\nA()",
            "class Tree(nn.Module):\n    def __init__(self, d):\n        super().__init__()\n"
            "        self.kids = nn.ModuleList([Tree(d - 1) for _ in range(3)]) if d else None\n"
            "    def forward(self, x):\n        return sum(k(x) for k in self.kids)\nTree(50)(torch.ones(1))",
            "class A(nn.Module):\n    def forward(self, x):\n        return self(self(x))\nA()(torch.ones(1))",
            "class A(nn.Module):\n    def __getattr__(self, n):\n        return getattr(self, n)\nA().x.y.z()",
            "class A(B): pass\nclass B(A): pass\nB().f()",
            "class A: pass\nA = type('A', (A,), {})\nclass A(A): x = A()\nA.x.x.x",
            "f = lambda f: f(f)\nf(f)",
            "def f(g): return lambda x: g(g(x))\nh = f(f(f(f(f(f))))) (f)\nh(h)(h)(1)",
            "x = []\nx.append(x)\nx += x\nprint(x, *x, [*x], f'{x}')\nfor y in x:\n    for x in y: y.append(x)",
            "d = {}\nd['d'] = d\nd.update(d)\nd.update(**d, e=d)\nfor k, v in d.items(): d[k, v] = d",
            "net = nn.Sequential()\nnet.add_module('a', net)\nnet.a.a.a = net\nnet.eval()\nnet(torch.ones(1))",
            "net = nn.Module()\nnet.self = net\nnet.apply(lambda m: m.apply(net.apply))\nlist(net.modules())",
            "def gen():\n    yield from gen()\n    yield from [*gen(), *gen()]\nlist(gen())",
            "import functools\nf = print\nfor _ in range(99): f = functools.partial(f, f)\nf()",
            "def deco(f):\n    return deco(f)\n@deco\n@deco\ndef g(): return g\ng()",
            "class P:\n    @property\n    def p(self): return self.p.p\nP().p",
            "try:\n    raise\nexcept* (ValueError if x else TypeError):\n    f = lambda: f()\nf()",
            "class M(type):\n    def __call__(c, *a): return c(*a)\nclass C(metaclass=M): pass\nC(C(C()))",
        )
    )


def _chain(random: Random) -> str:
    count = random.choice((50, 300, 900))
    return random.choice(
        (
            "x = " + "net(" * min(count, 80) + "1" + ")" * min(count, 80),
            "x = " + " + ".join(["x"] * count),
            "x = x" + ".relu()" * count,
            "x = x" + "[0]" * count,
            "x = " + " if y else ".join(["x"] * min(count, 300)),
            "x = " + " and ".join(["x < y"] * count),
            "x = " + "not " * min(count, 90) + "x",
            "if x: pass\n" + "elif x: y = x\n" * count,
            "x = " + "[" * 80 + "]" * 80,
            "x = " + "lambda: " * min(count, 90) + "x",
            "\n".join(f"{'    ' * level}if x{level}:" for level in range(90)) + "\n" + "    " * 90 + "y = 1",
            "\n".join(f"if x{index}: y = [y, {index}]\nelse: y = (y,)" for index in range(count)),
            "\n".join(f"def f{i}(x): return f{i + 1}(x), f{i + 1}(x)" for i in range(count)) + "\nf0(1)",
            "\n".join(f"class C{index}(C{index - 1}): a = C{index - 1}" for index in range(1, count)),
            "\n".join(f"x{index} = x{index - 1} or flag" for index in range(1, count)),
            "def f(" + ", ".join(f"a{index}=f" for index in range(count)) + "): return f(*locals())\nf()",
            "nn.Sequential(" + "nn.Linear(1, 1), " * count + ")(x)",
            "\n".join(f"{'    ' * level}for a in [a, x]:" for level in range(18)) + "\n" + "    " * 18 + "x = a",
            "x = " + "[" * 40 + "y" + " for y in range(9)]" * 40,
            "with a:\n" + "".join(f"{'    ' * level}try:\n{'    ' * level}    x = {level}\n{'    ' * level}finally:\n"
                                  for level in range(1, 40)) + "    " * 40 + "y = x",
            "while a:\n" + "\n".join(f"{'    ' * level}while b{level}:" for level in range(1, 15)) + "\n" + "    " * 15
            + "x = [x]\n" + "    " * 15 + "if x: break",
            "@f\n" * count + "def f(x): return x\nf(f)",
            "x = f'" + "{x}" * count + "'",
            "x: " + "list[" * 60 + "int" + "]" * 60 + " = 0",
            "global " + ", ".join(f"g{index}" for index in range(count)),
            "match x:\n    case " + "[" * 60 + "y" + "]" * 60 + ": pass",
            "match x:\n    case " + " | ".join(str(index) for index in range(count)) + ": x = 0",
            " = ".join(f"x{index}" for index in range(count)) + " = x",
        )
    )  # fmt: skip


_GROWING: tuple[Callable[[Random], str], ...] = (_doubling, _doubling, _recursion, _recursion, _chain, _chain)


# --- damage -----------------------------------------------------------------------------------------------------------


def damaged(source: str, random: Random) -> str:
    """Delete, swap, double or copy a few statements, wherever they stand."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    for _ in range(random.randint(1, 6)):
        blocks = [
            block
            for node in ast.walk(tree)
            for _, block in ast.iter_fields(node)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt)
        ]
        if not blocks:
            break
        block = random.choice(blocks)
        index = random.randrange(len(block))
        other = random.choice(random.choice(blocks))
        match random.choice(("delete", "swap", "double", "copy")):
            case "delete":
                block[index : index + 1] = [] if len(block) > 1 else [ast.Pass()]
            case "swap":
                second = random.randrange(len(block))
                block[index], block[second] = block[second], block[index]
            case "double":
                block.insert(index, block[index])
            case _:
                block.insert(index, ast.parse(ast.unparse(other)).body[0])
    return ast.unparse(ast.fix_missing_locations(tree))


def damaged_lines(source: str, random: Random) -> str:
    """Delete, swap and double lines; most of the time Python refuses the rest."""
    lines = source.splitlines(keepends=True)
    for _ in range(random.randint(1, 3)):
        if not lines:
            break
        first, second = random.randrange(len(lines)), random.randrange(len(lines))
        match random.choice(("delete", "swap", "double")):
            case "delete":
                del lines[first]
            case "swap":
                lines[first], lines[second] = lines[second], lines[first]
            case _:
                lines.insert(second, lines[first])
    return "".join(lines)


def damaged_bytes(data: bytes, random: Random) -> bytes:
    """Cut, change and insert bytes."""
    result = bytearray(data)
    for _ in range(random.randint(1, 8)):
        place = random.randint(0, len(result))
        match random.choice(("cut", "change", "insert", "truncate")):
            case "cut":
                del result[place : place + random.randint(1, 40)]
            case "change" if place < len(result):
                result[place] = random.randrange(256)
            case "truncate" if random.random() < 0.2:
                del result[place:]
            case _:
                garbage = (b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\x0c", b"\\\n", b"'''", b"(" * 99, b"\xc3\xa9")
                result[place:place] = random.choice(garbage)
    return bytes(result)


def damaged_file(data: bytes, random: Random) -> bytes:
    """A file after some damage: mostly to its statements, now and then to its lines or bytes."""
    kind = random.random()
    if kind < 0.1:
        return damaged_bytes(data, random)
    try:
        source = data.decode()
        if kind < 0.2:
            return damaged_lines(source, random).encode()
        return damaged(source, random).encode()
    except (SyntaxError, ValueError, RecursionError):
        return damaged_bytes(data, random)
