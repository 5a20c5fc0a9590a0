"""What a watch costs a training, in pairs: `python tests/benchmarks/run_overhead.py [--rounds N] [--threads N]`.

Prints, for an MLP, a small GPT and a ResNet-18-like CNN, the median over rounds of the time of a stretch of steps
divided by that of the same stretch unwatched, run next to each other in one process. The first row measures nothing
twice: what it differs from 1 is noise.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch
from torch import nn
from torch.nn import functional as F

from modellint.runtime import hooks
from modellint.runtime.watch import watch

WARM_UP = 12
"""Steps before the clock starts: the first passes are traced."""


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        project = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut = nn.Identity() if same else project

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.shortcut(x))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.feed(self.feed_norm(x))


def mlp() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """8 x Linear(64) + ReLU, batch 64."""
    layers: list[nn.Module] = []
    for _ in range(8):
        layers += [nn.Linear(64, 64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10)), torch.randn(64, 64), torch.randint(0, 10, (64,))


def gpt() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """6 layers of width 128, 64 tokens, batch 8."""
    model = nn.Sequential(
        nn.Embedding(256, 128), *(Attention(128, 4) for _ in range(6)), nn.LayerNorm(128), nn.Linear(128, 256)
    )
    ids = torch.randint(0, 256, (8, 64))
    return model, ids, ids.flatten()


def cnn() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """ResNet-18-like, widths 16 to 128, 32 x 32, batch 16."""
    blocks: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    inputs = 16
    for outputs, stride in ((16, 1), (32, 2), (64, 2), (128, 2)):
        blocks += [Residual(inputs, outputs, stride), Residual(outputs, outputs, 1)]
        inputs = outputs
    model = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
    return model, torch.randn(16, 3, 32, 32), torch.randint(0, 10, (16,))


WORKLOADS = {"MLP": (mlp, 200), "GPT": (gpt, 12), "CNN": (cnn, 20)}


@contextlib.contextmanager
def tracing_every_step() -> Iterator[None]:
    before = hooks.TRACED_STEPS, hooks.MOST_FIRST_WINDOWS
    hooks.TRACED_STEPS = hooks.MOST_FIRST_WINDOWS = 10**9
    try:
        with watch():
            yield
    finally:
        hooks.TRACED_STEPS, hooks.MOST_FIRST_WINDOWS = before


@contextlib.contextmanager
def tracing_everything() -> Iterator[None]:
    before = hooks.TRACED_STEPS, hooks.MOST_FIRST_WINDOWS
    hooks.TRACED_STEPS = hooks.MOST_FIRST_WINDOWS = 10**9
    try:
        with watch(select=["ALL"]):
            yield
    finally:
        hooks.TRACED_STEPS, hooks.MOST_FIRST_WINDOWS = before


CONFIGURATIONS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "nothing, twice": contextlib.nullcontext,
    "watch, steady state": watch,
    "watch, traced steps": tracing_every_step,
    "all rules, steady state": lambda: watch(select=["ALL"]),
    "all rules, traced steps": tracing_everything,
    "torch.autograd.detect_anomaly": lambda: torch.autograd.detect_anomaly(check_nan=True),
}


def peers(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Callable[[], AbstractContextManager[object]]]:
    """Other live checkers, where they are installed."""
    found: dict[str, Callable[[], AbstractContextManager[object]]] = {}
    if importlib.util.find_spec("torch_audit") is not None:
        found["torch-audit, one step in 1000"] = lambda: _torch_audit(model, optimizer, 1000)
        found["torch-audit, every step"] = lambda: _torch_audit(model, optimizer, 1)
    return found


@contextlib.contextmanager
def _torch_audit(model: nn.Module, optimizer: torch.optim.Optimizer, every: int) -> Iterator[None]:
    from torch_audit import autopatch

    auditor = autopatch(model, optimizer=optimizer, every_n_steps=every, reporters=[], suppress_internal_errors=True)
    try:
        yield
    finally:
        auditor.unpatch()


def measure(name: str, rounds: int, only: str) -> dict[str, list[float]]:
    """Ratios to the unwatched stretch beside it, by configuration whose name contains `only`."""
    make, steps = WORKLOADS[name]
    torch.manual_seed(0)
    model, x, y = make()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    criterion = nn.CrossEntropyLoss()

    def train(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            optimizer.zero_grad()
            output = model(x)
            loss = criterion(output.flatten(0, -2) if output.dim() == 3 else output, y)
            loss.backward()
            optimizer.step()
        return time.perf_counter() - start

    train(WARM_UP)
    ratios: dict[str, list[float]] = {}
    for _ in range(rounds):
        for configuration, context in {**CONFIGURATIONS, **peers(model, optimizer)}.items():
            if only not in configuration:
                continue
            with context():
                train(WARM_UP)
                middle = train(steps)
            before, after = train(steps), train(steps)
            ratios.setdefault(configuration, []).append(middle / ((before + after) / 2))
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workload", choices=list(WORKLOADS), action="append")
    parser.add_argument("--only", default="", help="configurations whose name contains this")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    names = options.workload or list(WORKLOADS)
    results = {name: measure(name, options.rounds, options.only) for name in names}
    print(f"| ratio to unwatched, median of {options.rounds} pairs | {' | '.join(names)} |")
    print("|---|" + "---|" * len(names))
    for configuration in results[names[0]]:
        cells = []
        for name in names:
            values = results[name][configuration]
            low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
            cells.append(f"{statistics.median(values):.3f} ({low:.2f} to {high:.2f})")
        print(f"| {configuration} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
