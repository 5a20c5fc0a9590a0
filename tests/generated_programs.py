"""Programs that look like PyTorch code, made by chance: every construct of Python in torch's clothes."""

from __future__ import annotations

from random import Random
from typing import Any

HEAD = """\
import contextlib
import functools
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from missing_library import Thing, wrap

COUNT = 0
"""
_NAMES = ("x", "y", "z", "net", "out", "loss", "opt", "items", "flag", "n")
_LAYERS = (
    "nn.Linear(4, 4)", "nn.BatchNorm1d(4)", "nn.Dropout(0.5)", "nn.ReLU()", "nn.Sequential(nn.Linear(4, 4), nn.Tanh())",
    "nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])", "nn.ModuleDict({'a': nn.Linear(4, 4)})", "[nn.Linear(4, 4)]",
    "nn.Linear", "nn.Sequential(*[nn.Linear(4, 4)] * 2)", "nn.Parameter(torch.zeros(4))", "None",
)  # fmt: skip
_CALLS = (
    "torch.sigmoid", "F.dropout", "nn.CrossEntropyLoss()", "F.cross_entropy", "nn.BCEWithLogitsLoss()", "len", "zip",
    "torch.cat", "wrap", "Thing", "print", "getattr", "enumerate", "super", "isinstance", "functools.partial", "iter",
    "optim.SGD", "nn.init.constant_", "torch.softmax", "next", "reversed", "setattr", "map", "sorted", "vars",
    "torch.no_grad",
)  # fmt: skip
_METHODS = (
    "eval", "train", "backward", "step", "zero_grad", "parameters", "to", "cuda", "item", "squeeze", "append",
    "modules", "children", "apply", "named_modules", "state_dict", "log", "detach", "forward", "items", "keys", "pop",
    "__init__",
)  # fmt: skip
_MANAGERS = (
    "torch.no_grad()", "torch.enable_grad()", "torch.set_grad_enabled(flag)", "torch.autocast('cuda')", "open('f')",
    "contextlib.suppress(ValueError)", "wrap(net)",
)  # fmt: skip
_DECORATORS = (
    "@torch.no_grad()", "@staticmethod", "@property", "@functools.wraps(print)", "@wrap", "@contextlib.contextmanager",
    "@classmethod", "@functools.lru_cache(maxsize=None)",
)  # fmt: skip


def program(random: Random) -> str:
    """One program; equal states of `random` give equal programs."""
    maker = _Maker(random)
    parts = [HEAD]
    for _ in range(random.randint(1, 3)):
        parts.append(maker.choose(maker.module_class, maker.function, maker.plain_class)(0))
    parts += [maker.block(0) for _ in range(random.randint(1, 2))]
    if random.random() < 0.3:
        parts.append("if __name__ == '__main__':\n" + maker.block(1))
    return "\n".join(parts) + "\n"


class _Maker:
    """Draws statements and expressions, each kind as likely as any other."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.depth = 0
        self.classes = ["nn.Linear"]
        self.functions = ["print"]
        self.in_function = 0
        self.in_loop = 0
        self.in_async = False
        self.in_class_body = False

    def choose(self, *options: Any) -> Any:
        return self.random.choice(options)

    def name(self) -> str:
        return self.choose(*_NAMES)

    def arguments(self) -> str:
        kinds = [self.expression() for _ in range(self.random.randint(0, 2))]
        if self.random.random() < 0.2:
            kinds.append(f"*{self.name()}")
        if self.random.random() < 0.2:
            kinds.append(self.choose("dim=1", "lr=0.1", "inplace=True", "training=self.training", "p=n"))
        if self.random.random() < 0.15:
            kinds.append(f"**{self.name()}")
        return ", ".join(kinds)

    def expression(self) -> str:
        if self.depth > 3:
            return self.choose(self.name(), "0", "'a'", "self.layer", "torch.randn(2, 4)", "...")
        self.depth += 1
        try:
            return self.choose(*self._EXPRESSIONS)(self)
        finally:
            self.depth -= 1

    def _comprehension(self) -> str:
        kind = self.choose(
            "[{}]", "{{{}}}", "({})", "{{n: {}}}", "list({})", "nn.ModuleList([{}])", "nn.Sequential(*[{}])"
        )
        condition = f" if {self.expression()}" if self.random.random() < 0.3 else ""
        source = self.choose("range(3)", "items", "net.modules()", "self.layers", "zip(x, y)")
        return kind.format(f"{self.expression()} for {self.choose('n', 'x, y', '(x, *y)')} in {source}{condition}")

    _EXPRESSIONS = (
        lambda self: self.name(),
        lambda self: f"self.{self.choose('layer', 'norm', 'layers', 'flag', 'training', 'x')}",
        lambda self: self.choose(
            "0", "1.5", "'a'", "None", "True", "b'b'", "f'{x!r:>{n}}'", "10**9", "-1", "1j", "..."
        ),
        lambda self: f"{self.choose(*_CALLS)}({self.arguments()})",
        lambda self: f"{self.name()}.{self.choose(*_METHODS)}({self.arguments()})",
        lambda self: f"{self.name()}({self.arguments()})",
        lambda self: f"{self.choose(*self.classes)}({self.arguments()})",
        lambda self: f"{self.choose(*self.functions)}({self.arguments()})",
        lambda self: self.choose(*_LAYERS),
        lambda self: (
            f"({self.expression()} {self.choose('+', '*', '@', '//', '%', '**', '<', 'is', 'in', 'and', 'or')} "
            f"{self.expression()})"
        ),
        lambda self: f"({self.expression()} if {self.expression()} else {self.expression()})",
        lambda self: f"(kept := {self.expression()})" if not self.in_class_body else "x",
        lambda self: f"{self.name()}[{self.choose('0', '-1', '1:', '::2', 'n', ':, None', repr('a'), '...')}]",
        lambda self: f"(lambda {self.choose('', 'x', 'x, *y', '*, n=1', '**z')}: {self.expression()})",
        lambda self: self.choose("[{}, {}]", "({}, {})", "{{'a': {}, **{}}}", "[*{}, {}]", "{{{}, {}}}").format(
            self.expression(), self.name()
        ),
        _comprehension,
        lambda self: f"(not {self.expression()})",
        lambda self: f"({self.expression()}).{self.choose('shape', 'weight', 'data', 'grad', 'T')}",
    )

    def target(self) -> str:
        return self.choose(
            self.name(), self.name(), "self.layer", "self.norm", "x, y", "(x, *y)", "[x, (y, z)]", "items[0]",
            "net.weight.data", "self.layers[n]", "items['a']", "x[:, 0]", "net.layer.weight", "x.y.z",
        )  # fmt: skip

    def block(self, level: int) -> str:
        return "\n".join(self.statement(level) for _ in range(self.random.randint(1, 4)))

    def statement(self, level: int) -> str:
        pad = "    " * level
        simple = [
            lambda: f"{self.target()} = {self.expression()}",
            lambda: f"{self.expression()}",
            lambda: f"{self.name()} {self.choose('+=', '*=', '@=')} {self.expression()}",
            lambda: f"{self.name()}: torch.Tensor = {self.expression()}",
            lambda: f"assert {self.expression()}, 'message'",
            lambda: f"del {self.choose('x', 'items[0]', 'self.layer', 'x, y')}",
            lambda: f"{self.name()} = {self.name()} = {self.expression()}",
            lambda: self.choose("pass", "import os.path as path", "from . import sibling", "raise ValueError(x)"),
        ]
        if self.in_function:
            simple += [
                lambda: f"return {self.expression()}",
                lambda: "COUNT = n" if self.in_async else f"yield {self.expression()}",
                lambda: f"COUNT = {self.expression()}",
            ]
        if self.in_loop:
            simple += [lambda: self.choose("break", "continue")]
        if self.in_async:
            simple += [lambda: f"x = await {self.expression()}"]
        if level > 3 or self.random.random() < 0.55:
            return pad + self.choose(*simple)()
        compound = [self._if, self._for, self._while, self._with, self._try, self._match, self.function]
        if self.random.random() < 0.15:
            compound.append(self.module_class)
        return self.choose(*compound)(level)

    def _if(self, level: int) -> str:
        pad = "    " * level
        text = f"{pad}if {self.expression()}:\n{self.block(level + 1)}"
        for _ in range(self.random.randint(0, 1)):
            text += f"\n{pad}elif {self.expression()}:\n{self.block(level + 1)}"
        return text + (f"\n{pad}else:\n{self.block(level + 1)}" if self.random.random() < 0.5 else "")

    def _loop(self, level: int, head: str) -> str:
        pad = "    " * level
        self.in_loop += 1
        text = f"{pad}{head}:\n{self.block(level + 1)}"
        self.in_loop -= 1
        return text + (f"\n{pad}else:\n{self.block(level + 1)}" if self.random.random() < 0.2 else "")

    def _for(self, level: int) -> str:
        start = "async for" if self.in_async and self.random.random() < 0.3 else "for"
        source = self.choose(
            "range(3)", "loader", "enumerate(items)", "['train', 'val']", "net.modules()", self.expression()
        )
        return self._loop(level, f"{start} {self.choose('x', 'x, y', 'n, (x, y)', '(x, *y)')} in {source}")

    def _while(self, level: int) -> str:
        return self._loop(level, f"while {self.choose('True', 'n < 3', self.expression())}")

    def _with(self, level: int) -> str:
        start = "async with" if self.in_async and self.random.random() < 0.3 else "with"
        more = f", {self.choose(*_MANAGERS)}" if self.random.random() < 0.3 else ""
        bound = f" as {self.choose('x', 'net.layer', '(x, y)')}" if self.random.random() < 0.3 else ""
        return f"{'    ' * level}{start} {self.choose(*_MANAGERS)}{bound}{more}:\n{self.block(level + 1)}"

    def _try(self, level: int) -> str:
        pad = "    " * level
        text = f"{pad}try:\n{self.block(level + 1)}"
        caught = self.choose("except ValueError as error", "except (KeyError, RuntimeError)", "except* OSError", "")
        if caught:
            self.in_loop, kept = 0, self.in_loop  # no break or continue in `except*`
            self.in_function, inside = 0, self.in_function
            text += f"\n{pad}{caught}:\n{self.block(level + 1)}"
            self.in_loop, self.in_function = kept, inside
        if caught and self.random.random() < 0.3:
            text += f"\n{pad}else:\n{self.block(level + 1)}"
        if not caught or self.random.random() < 0.3:
            text += f"\n{pad}finally:\n{self.block(level + 1)}"
        return text

    def _match(self, level: int) -> str:
        pad = "    " * level
        patterns = (
            "0", "'a' | 'b'", "[x, *y]", "{'k': x, **z}", "nn.Linear(in_features=n)", "(x, y) if flag", "None",
            "str() as z", "torch.Tensor()",
        )  # fmt: skip
        text = f"{pad}match {self.expression()}:"
        for _ in range(self.random.randint(1, 2)):
            text += f"\n{pad}    case {self.choose(*patterns)}:\n{self.block(level + 2)}"
        return text + f"\n{pad}    case _:\n{self.block(level + 2)}"

    def function(self, level: int, *, method: str = "") -> str:
        pad = "    " * level
        name = method or f"run{len(self.functions)}"
        parameters = self.choose(
            "x", "x, y=None", "*x", "x, /, y, *, n=1, **z", "", "net: nn.Module, opt, loader", "x, *y, **z"
        )
        first = ("self, " + parameters).rstrip(", ") if method else parameters
        kept = self.in_function, self.in_loop, self.in_async
        self.in_function, self.in_loop = 1, 0
        self.in_async = not method and self.random.random() < 0.1
        text = f"{pad}{self.choose(*_DECORATORS)}\n" if not method and self.random.random() < 0.2 else ""
        text += f"{pad}{'async ' if self.in_async else ''}def {name}({first}):\n"
        if self.random.random() < 0.15:
            # Both declarations must come first, and `nonlocal` needs the name in the function around it.
            inner = "    " * (level + 1)
            text += f"{inner}global COUNT\n{inner}held = 0\n{inner}def inner():\n{inner}    nonlocal held\n"
            text += f"{inner}    held += 1\n{inner}inner()\n"
        if self.in_async:
            text += f"{'    ' * (level + 1)}await asleep\n"
        if self.random.random() < 0.3:
            bound = self.choose("self.layer" if method else "x", "out")
            text += f"{'    ' * (level + 1)}{bound} = {self.choose(*_LAYERS)}\n"
        text += self.block(level + 1)
        self.in_function, self.in_loop, self.in_async = kept
        if not method:
            self.functions.append(name)
        return text

    def module_class(self, level: int) -> str:
        pad = "    " * (level + 1)
        name = f"Net{len(self.classes)}"
        base = self.choose(
            "nn.Module", "nn.Module", "nn.Sequential", *self.classes[-1:], "Thing", "torch.nn.Module, Thing"
        )
        text = f"{'    ' * level}class {name}({base}):\n"
        text += f"{pad}def __init__(self, width=4, *layers, flag=False):\n"
        text += f"{pad}    {self.choose('super().__init__()', 'nn.Module.__init__(self)', 'pass')}\n"
        text += f"{pad}    self.flag = flag\n"
        for attribute in ("layer", "norm", "layers"):
            text += f"{pad}    self.{attribute} = {self.choose(*_LAYERS)}\n"
        text += f"{self._body(level + 2)}\n"
        text += f"{self.function(level + 1, method=self.choose('forward', 'helper', '__call__'))}\n"
        text += (
            f"{pad}def forward(self, x, y=None):\n{self._body(level + 2)}\n{pad}    return self.norm(self.layer(x))\n"
        )
        self.classes.append(name)
        return text

    def plain_class(self, level: int) -> str:
        name = f"Trainer{len(self.classes)}"
        self.in_class_body = True
        text = f"{'    ' * level}class {name}:\n{'    ' * (level + 1)}flag = {self.expression()}\n"
        self.in_class_body = False
        for method in ("__init__", "fit", "evaluate"):
            text += self.function(level + 1, method=method) + "\n"
        self.classes.append(name)
        return text

    def _body(self, level: int) -> str:
        kept = self.in_function, self.in_loop
        self.in_function, self.in_loop = 1, 0
        text = self.block(level)
        self.in_function, self.in_loop = kept
        return text
