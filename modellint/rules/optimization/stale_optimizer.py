"""stale-optimizer."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, OptimizerSetup, Rule
from modellint.rules._wording import listing


class StaleOptimizer(Rule):
    """The optimizer holds tensors that the model no longer uses.

    An optimizer with parameters that belong to no model in use and never have a gradient, while parameters of the model
    receive gradients and belong to no optimizer: a layer was replaced, or the model converted or wrapped, after the
    optimizer was made.

    The steps update tensors that nobody reads, and the new parameters keep their initial values.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)  # expect: stale-optimizer
    model[2] = nn.Linear(8, 1)
    for _ in range(6):
        model.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 10))
    model[2] = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        model.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The model is moved by `.to(device)` or wrapped in DistributedDataParallel: the parameters stay the same.",
        "The optimizer holds master copies in float32, which get gradients by hand.",
        "The new parameters are added by `add_param_group`.",
    )
    references = ("docs.pytorch.org/docs/stable/optim.html#constructing-it",)

    def optimizer_setup(self, setup: OptimizerSetup) -> Iterator[Finding]:
        if not setup.foreign or not setup.missing:
            return
        name, model = setup.optimizer.text, setup.model.text
        every = setup.foreign == setup.holds
        what = "only tensors" if every else f"{setup.foreign} tensors"
        if not every and setup.run is None:
            what = "layers" if setup.foreign > 1 else "a layer"
        parts = listing([f"`{part.name}`" for part in setup.missing], 4)
        yield self.finding(
            at=setup.place,
            message=f"`{name}` holds {what} that `{model}` does not use",
            label="took its parameters before they were replaced",
            related=[
                Note(part.place, f"`{part.name}` belongs to no optimizer") for part in setup.missing[:4] if part.place
            ],
            why=_why(setup, parts),
            help=f"make `{name}` after the last change to `{model}`: layers replaced, converted, wrapped",
        )


def _why(setup: OptimizerSetup, parts: str) -> str:
    if setup.run is not None:
        return (
            f"{setup.foreign} of its {setup.holds} tensors never have a gradient, "
            f"while {parts} receive gradients and belong to no optimizer"
        )
    layers = "1 layer that was" if setup.foreign == 1 else f"{setup.foreign} layers that were"
    receive = "receives gradients and belongs" if len(setup.missing) == 1 else "receive gradients and belong"
    return f"it still holds {layers} replaced, while {parts} {receive} to no optimizer"
