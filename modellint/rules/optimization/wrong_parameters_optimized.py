"""wrong-parameters-optimized."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, OptimizerSetup, Rule


class WrongParametersOptimized(Rule):
    """The optimizer holds the parameters of one model while another one trains.

    An optimizer whose parameters all belong to a model without any gradient at its steps, while another model receives
    gradients and belongs to no optimizer.

    The steps do nothing, and the model that is trained keeps its initial values.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    teacher, student = nn.Linear(4, 1), nn.Linear(4, 1)
    optimizer = torch.optim.SGD(teacher.parameters(), lr=0.01)  # expect: wrong-parameters-optimized
    for _ in range(6):
        student.zero_grad()
        x = torch.randn(16, 4)
        with torch.no_grad():
            target = teacher(x)
        nn.functional.mse_loss(student(x), target).backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    teacher, student = nn.Linear(4, 1), nn.Linear(4, 1)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.01)
    for _ in range(6):
        student.zero_grad()
        x = torch.randn(16, 4)
        with torch.no_grad():
            target = teacher(x)
        nn.functional.mse_loss(student(x), target).backward()
        optimizer.step()
    """
    fine_when = (
        "Models that are trained in turn, each with an optimizer of its own.",
        "The second model is trained by hand, as in meta-learning.",
    )
    references = ("docs.pytorch.org/docs/stable/optim.html#constructing-it",)

    def optimizer_setup(self, setup: OptimizerSetup) -> Iterator[Finding]:
        if setup.foreign or setup.idle_model is None or not setup.missing:
            return
        name, idle, model = setup.optimizer.text, setup.idle_model.text, setup.model.text
        yield self.finding(
            at=setup.place,
            message=f"`{name}` holds the parameters of `{idle}`, but it is `{model}` that receives gradients",
            label=f"takes the parameters of `{idle}`",
            why=f"none of its {setup.holds} tensors had a gradient at any step"
            if setup.run is not None
            else f"no backward reaches `{idle}`: 0 of the parameters that `{name}` holds get a gradient",
            help=f"pass `{model}.parameters()` to `{name}`",
        )
