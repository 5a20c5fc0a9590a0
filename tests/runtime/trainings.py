"""Small trainings of many kinds, each deterministic from its seed: for identity, leftovers and overhead.

Each is a function `(steps) -> state`: it trains for so many steps and returns everything a checker could have changed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

State = dict[str, Any]
Training = Callable[[int], State]


def seeded() -> None:
    torch.manual_seed(0)
    random.seed(0)
    numpy.random.seed(0)


def state_of(models: dict[str, nn.Module], optimizers: dict[str, torch.optim.Optimizer], losses: list[Any]) -> State:
    """Parameters, buffers, gradients, optimizer state, the losses and the state of every random generator."""
    state: State = {"losses": [float(loss) for loss in losses]}
    for name, model in models.items():
        for key, value in model.state_dict().items():
            state[f"{name}.{key}"] = value.detach().clone()
        for key, parameter in model.named_parameters():
            state[f"{name}.{key}.grad"] = None if parameter.grad is None else parameter.grad.clone()
        state[f"{name}.modes"] = [module.training for module in model.modules()]
        state[f"{name}.hooks"] = [
            (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
            for module in model.modules()
        ]
    for name, optimizer in optimizers.items():
        for index, group in enumerate(optimizer.param_groups):
            state[f"{name}.lr.{index}"] = group["lr"]
        for index, values in enumerate(optimizer.state.values()):
            for key, value in sorted(values.items(), key=lambda item: item[0]):
                state[f"{name}.{index}.{key}"] = value.clone() if isinstance(value, torch.Tensor) else repr(value)
    state["torch rng"] = torch.get_rng_state()
    state["python rng"] = random.getstate()
    state["numpy rng"] = repr(numpy.random.get_state())
    return state


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.first(x)))
        x = F.relu(x + self.second_norm(self.second(x)))
        return self.head(self.drop(x.mean((2, 3))))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=self.dropout if self.training else 0.0)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.feed(self.feed_norm(x))


class Gpt(nn.Module):
    def __init__(self, depth: int = 2, width: int = 16, heads: int = 2, vocabulary: int = 20, length: int = 8) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def mlp(steps: int) -> State:
    seeded()
    layers: list[nn.Module] = [nn.Linear(8, 16)]
    for _ in range(3):
        layers += [nn.ReLU(), nn.Linear(16, 16)]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    losses = []
    loader = DataLoader(TensorDataset(torch.randn(40, 8), torch.randint(0, 3, (40,))), batch_size=8, shuffle=True)
    while len(losses) < steps:
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        schedule.step()
        model.eval()
        with torch.no_grad():
            losses.append(sum(F.cross_entropy(model(x), y).item() for x, y in loader))
    return state_of({"model": model}, {"optimizer": optimizer}, losses)


def cnn(steps: int) -> State:
    seeded()
    model = Cnn()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for step in range(steps):
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(torch.randn(4, 3, 8, 8)), torch.randint(0, 4, (4,)))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 10 == 9:
            model.eval()
            with torch.no_grad():
                losses.append(model(torch.randn(4, 3, 8, 8)).sum().item())
    return state_of({"model": model}, {"optimizer": optimizer}, losses)


def gpt(steps: int) -> State:
    seeded()
    model = Gpt()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=True)
    losses = []
    for step in range(steps):
        ids = torch.randint(0, 20, (4, 9))
        optimizer.zero_grad(set_to_none=False)
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 20 == 19:
            model.eval()
            with torch.no_grad():
                losses.append(model(ids[:, :-1]).sum().item())
            model.train()
    return state_of({"model": model}, {"optimizer": optimizer}, losses)


def gan(steps: int) -> State:
    seeded()
    generator = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 6))
    critic = nn.Sequential(nn.Linear(6, 16), nn.LeakyReLU(0.2), nn.Dropout(0.1), nn.Linear(16, 1))
    for_generator = torch.optim.Adam(generator.parameters(), lr=1e-3)
    for_critic = torch.optim.Adam(critic.parameters(), lr=1e-3)
    losses = []
    for _ in range(steps):
        real, noise = torch.randn(8, 6), torch.randn(8, 4)
        for_critic.zero_grad()
        fake = generator(noise)
        loss = F.softplus(-critic(real)).mean() + F.softplus(critic(fake.detach())).mean()
        loss.backward()
        for_critic.step()
        for_generator.zero_grad()
        wish = F.softplus(-critic(fake)).mean()
        wish.backward()
        for_generator.step()
        losses += [loss.item(), wish.item()]
    return state_of(
        {"generator": generator, "critic": critic}, {"generator": for_generator, "critic": for_critic}, losses
    )


def amp_bfloat16(steps: int) -> State:
    seeded()
    model = Cnn()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(torch.randn(4, 3, 8, 8)), torch.randint(0, 4, (4,)))
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return state_of({"model": model}, {"optimizer": optimizer}, losses)


def accumulation(steps: int) -> State:
    seeded()
    model = Cnn()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    losses = []
    for step in range(4 * steps):
        loss = F.cross_entropy(model(torch.randn(2, 3, 8, 8)), torch.randint(0, 4, (2,))) / 4
        loss.backward()
        if step % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
    return state_of({"model": model}, {"optimizer": optimizer}, losses)


def lbfgs(steps: int) -> State:
    seeded()
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    x = torch.randn(32, 5)
    y = x.sum(1, keepdim=True)
    losses = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss

    for _ in range(steps):
        losses.append(optimizer.step(closure).item())
    return state_of({"model": model}, {"optimizer": optimizer}, losses)


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.stem = nn.Linear(8, 16)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1)) for _ in range(3)
        )
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.reentrant)
        return self.head(x)


def _checkpointed(steps: int, *, reentrant: bool) -> State:
    seeded()
    model = Checkpointed(reentrant)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(torch.randn(8, 8)), torch.randint(0, 3, (8,)))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return state_of({"model": model}, {"optimizer": optimizer}, losses)


def checkpoint_reentrant(steps: int) -> State:
    return _checkpointed(steps, reentrant=True)


def checkpoint_plain(steps: int) -> State:
    return _checkpointed(steps, reentrant=False)


def compiled(steps: int) -> State:
    seeded()
    torch._dynamo.reset()
    inner = Cnn()
    model = torch.compile(inner, backend="aot_eager")
    optimizer = torch.optim.AdamW(inner.parameters(), lr=1e-3)
    losses = []
    for step in range(steps):
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(torch.randn(4, 3, 8, 8)), torch.randint(0, 4, (4,)))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 25 == 24:
            model.eval()
            with torch.no_grad():
                losses.append(model(torch.randn(4, 3, 8, 8)).sum().item())
    return state_of({"model": inner}, {"optimizer": optimizer}, losses)


def lstm(steps: int) -> State:
    seeded()
    recurrent, head = nn.LSTM(6, 12, num_layers=2, dropout=0.2, batch_first=True), nn.Linear(12, 3)
    optimizer = torch.optim.RMSprop([*recurrent.parameters(), *head.parameters()], lr=1e-3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        out, _ = recurrent(torch.randn(4, 7, 6))
        loss = F.cross_entropy(head(out[:, -1]), torch.randint(0, 3, (4,)))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return state_of({"recurrent": recurrent, "head": head}, {"optimizer": optimizer}, losses)


def fused(steps: int) -> State:
    seeded()
    model = Gpt()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    losses = []
    for _ in range(steps):
        ids = torch.randint(0, 20, (4, 9))
        optimizer.zero_grad()
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return state_of({"model": model}, {"optimizer": optimizer}, losses)


def transformer_with_frozen_part(steps: int) -> State:
    """A frozen encoder in eval mode below a root in training mode: its fast path must stay what it is."""
    seeded()
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).eval().requires_grad_(False)
    body = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    model = nn.Sequential(encoder, body, nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(filter(lambda p: p.requires_grad, model.parameters()), lr=1e-3)
    losses = []
    for step in range(steps):
        model.train()
        encoder.eval()
        optimizer.zero_grad()
        loss = model(torch.randn(4, 5, 16)).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 10 == 9:
            model.eval()
            with torch.no_grad():
                losses.append(model(torch.randn(4, 5, 16)).sum().item())
    return state_of({"model": model}, {"optimizer": optimizer}, losses)


def ema(steps: int) -> State:
    seeded()
    model = Cnn()
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9), use_buffers=True
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(torch.randn(4, 3, 8, 8)), torch.randint(0, 4, (4,)))
        loss.backward()
        optimizer.step()
        average.update_parameters(model)
        losses.append(loss.item())
    average.eval()
    with torch.no_grad():
        losses.append(average(torch.randn(2, 3, 8, 8)).sum().item())
    return state_of({"model": model, "average": average}, {"optimizer": optimizer}, losses)


TRAININGS: tuple[Training, ...] = (
    mlp, cnn, gpt, gan, amp_bfloat16, accumulation, lbfgs, checkpoint_reentrant, checkpoint_plain, compiled, lstm,
    fused,
    transformer_with_frozen_part, ema,
)  # fmt: skip


def differences(one: State, other: State) -> list[str]:
    """The names of what differs in any bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not _equal(one[name], other[name])]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        return (
            one.numpy().tobytes() == other.numpy().tobytes() if one.dtype != torch.bfloat16 else torch.equal(one, other)
        )
    return bool(one == other)


@contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
