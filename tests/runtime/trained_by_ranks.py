"""Small trainings of two processes for `test_run_ranks`: what must be found is marked, everything else is silent."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import distributed, nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

RANK = int(os.environ["RANK"])


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 5)
        self.head = nn.Linear(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.body(x)))  # type: ignore[no-any-return]


def data() -> torch.Tensor:
    return torch.randn(8, 4)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def seeded() -> None:
    """Weights are equal on all ranks from here, data are not after `own`."""
    torch.manual_seed(3)


def own() -> None:
    torch.manual_seed(RANK + 1)


def wrapped(**options: bool) -> DistributedDataParallel:
    seeded()
    model = DistributedDataParallel(Net(), **options)
    own()
    return model


def averaged(parameters: Iterable[torch.Tensor | None]) -> None:
    for parameter in parameters:
        assert parameter is not None
        distributed.all_reduce(parameter)
        parameter /= 2


# found


def inner_called() -> None:
    model = wrapped()
    optimizer = sgd(model)
    for _ in range(5):
        optimizer.zero_grad()
        loss = model.module(data()).pow(2).mean()  # expect: ddp-bypassed "`model.module`"
        loss.backward()
        optimizer.step()


def parts_called() -> None:
    model = wrapped()
    optimizer = sgd(model)
    for _ in range(5):
        optimizer.zero_grad()
        code = model.module.body(data())  # expect: ddp-bypassed "`model.module.body`" "same cause at"
        loss = model.module.head(torch.tanh(code)).pow(2).mean()
        loss.backward()
        optimizer.step()


def alternating() -> None:
    model = wrapped()
    optimizer = sgd(model)
    for step in range(6):
        optimizer.zero_grad()
        if step % 2:
            loss = model.module(data()).pow(2).mean()  # expect: ddp-bypassed
        else:
            loss = model(data()).pow(2).mean()
        loss.backward()
        optimizer.step()


def backward_beside() -> None:
    model = wrapped()
    optimizer = sgd(model)
    for _ in range(5):
        optimizer.zero_grad()
        model(data()).pow(2).mean().backward()
        model.module(data()).abs().mean().backward()  # expect: ddp-bypassed
        optimizer.step()


def never_wrapped() -> None:
    seeded()
    model = Net()
    own()
    optimizer = sgd(model)
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(data()).pow(2).mean()  # expect: gradients-not-averaged "2 ranks train `model`"
        loss.backward()
        optimizer.step()


# silent


def validated_inside() -> None:
    model = wrapped()
    optimizer = sgd(model)
    for _ in range(5):
        optimizer.zero_grad()
        model(data()).pow(2).mean().backward()
        optimizer.step()
        model.eval()
        model.module(data())  # expect: missing-no-grad
        with torch.no_grad():
            model.module(data()).pow(2).mean()
        model.train()


def accumulated() -> None:
    model = wrapped()
    optimizer = sgd(model)
    for _ in range(5):
        optimizer.zero_grad()
        with model.no_sync():
            model(data()).pow(2).mean().backward()
            model.module(data()).pow(2).mean().backward()
        model(data()).pow(2).mean().backward()
        optimizer.step()


def static_graph() -> None:
    model = wrapped(static_graph=True)
    optimizer = sgd(model)
    for _ in range(5):
        optimizer.zero_grad()
        model(data()).pow(2).mean().backward()
        optimizer.step()


def unused_found() -> None:
    model = wrapped(find_unused_parameters=True)
    optimizer = sgd(model)
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(data()).pow(2).mean() + model(data()).abs().mean()
        loss.backward()
        optimizer.step()


def forward_by_name() -> None:
    model = wrapped()
    optimizer = sgd(model)
    for _ in range(5):
        optimizer.zero_grad()
        model.forward(data()).pow(2).mean().backward()
        optimizer.step()


def both_in_one_loss() -> None:
    model = wrapped()
    optimizer = sgd(model)
    for _ in range(5):
        optimizer.zero_grad()
        loss = model(data()).pow(2).mean() + model.module(data()).abs().mean()
        loss.backward()
        optimizer.step()


def averaged_by_hand() -> None:
    seeded()
    model = Net()
    own()
    optimizer = sgd(model)
    for _ in range(5):
        optimizer.zero_grad()
        model(data()).pow(2).mean().backward()
        averaged(parameter.grad for parameter in model.parameters())
        optimizer.step()


def inner_averaged_by_hand() -> None:
    model = wrapped()
    optimizer = sgd(model)
    for _ in range(5):
        optimizer.zero_grad()
        model.module(data()).pow(2).mean().backward()
        averaged(parameter.grad for parameter in model.parameters())
        optimizer.step()


@torch.no_grad()
def average_weights(model: nn.Module) -> None:
    averaged(model.parameters())


def weights_averaged_every_few_steps() -> None:
    seeded()
    model = Net()
    own()
    optimizer = sgd(model)
    for step in range(1, 9):
        optimizer.zero_grad()
        model(data()).pow(2).mean().backward()
        optimizer.step()
        if step % 4 == 0:
            average_weights(model)


def weights_averaged_every_round() -> None:
    seeded()
    model = Net()
    own()
    optimizer = sgd(model)
    for _ in range(2):
        for (batch,) in torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(torch.randn(56, 4)), batch_size=8, shuffle=True
        ):
            optimizer.zero_grad()
            model(batch).pow(2).mean().backward()
            optimizer.step()
        average_weights(model)


def weights_averaged_after_each_step() -> None:
    seeded()
    model = Net()
    own()
    optimizer = sgd(model)
    for _ in range(5):
        optimizer.zero_grad()
        model(data()).pow(2).mean().backward()
        optimizer.step()
        average_weights(model)


def a_model_of_its_own_on_each_rank() -> None:
    own()
    model = Net()
    optimizer = sgd(model)
    for _ in range(5 + RANK):
        optimizer.zero_grad()
        model(data()).pow(2).mean().backward()
        optimizer.step()


def gan() -> None:
    torch.manual_seed(RANK)
    maker, judge = DistributedDataParallel(nn.Linear(4, 4)), DistributedDataParallel(Net())
    own()
    of_maker, of_judge = sgd(maker), sgd(judge)
    for _ in range(5):
        of_judge.zero_grad()
        fake = maker(data())
        judge(fake.detach()).mean().backward()
        judge(data()).mean().neg().backward()
        of_judge.step()
        of_maker.zero_grad()
        judge(fake).mean().neg().backward()
        of_maker.step()


def sharded_optimizer() -> None:
    model = wrapped()
    optimizer = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=torch.optim.SGD, lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        model(data()).pow(2).mean().backward()
        optimizer.step()


def own_hook() -> None:
    model = wrapped()
    model.register_comm_hook(None, lambda state, bucket: resolved(bucket.buffer()))
    optimizer = sgd(model)
    for _ in range(5):
        optimizer.zero_grad()
        model.module(data()).pow(2).mean().backward()
        optimizer.step()


def resolved(value: torch.Tensor) -> torch.futures.Future[torch.Tensor]:
    future: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    future.set_result(value)
    return future


def one_step_of_a_rank_less() -> None:
    model = wrapped()
    optimizer = sgd(model)
    with model.join():
        for _ in range(5 + RANK):
            optimizer.zero_grad()
            model(data()).pow(2).mean().backward()
            optimizer.step()


def only_one_rank_trains() -> None:
    own()
    model = Net()
    optimizer = sgd(model)
    for _ in range(5 if RANK == 0 else 0):
        optimizer.zero_grad()
        model(data()).pow(2).mean().backward()
        optimizer.step()


FOUND = (inner_called, parts_called, alternating, backward_beside, never_wrapped)
SILENT = (
    validated_inside,
    accumulated,
    static_graph,
    unused_found,
    forward_by_name,
    both_in_one_loss,
    averaged_by_hand,
    inner_averaged_by_hand,
    weights_averaged_every_few_steps,
    weights_averaged_every_round,
    weights_averaged_after_each_step,
    a_model_of_its_own_on_each_rank,
    gan,
    sharded_optimizer,
    own_hook,
    one_step_of_a_rank_less,
    only_one_rank_trains,
)

if __name__ == "__main__":
    distributed.init_process_group("gloo")
    for case in (*FOUND, *SILENT):
        case()
    distributed.destroy_process_group()
    print("done")
