"""uninitialized-parameter."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Rule, UnfilledParameter


class UninitializedParameter(Rule):
    """A parameter is made of memory that nothing fills.

    `nn.Parameter(torch.empty(...))`, `torch.Tensor(n)` or `new_empty` that forward reads, and that no initialisation
    reached before the first forward: neither the class nor its bases nor the code around it.

    It starts with whatever was in the memory: often zeros in a test, and after some minutes of training the remains of
    other tensors, up to 1e38 or NaN. Two runs with one seed start differently.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn


    class Scale(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.weight = nn.Parameter(torch.empty(dim))  # expect: uninitialized-parameter

        def forward(self, x):
            return x * self.weight


    model = nn.Sequential(nn.Linear(4, 8), Scale(8), nn.Linear(8, 1))
    print(model(torch.randn(16, 4)))
    """
    good = """
    import torch
    from torch import nn


    class Scale(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.weight = nn.Parameter(torch.empty(dim))
            self.reset_parameters()

        def reset_parameters(self):
            nn.init.ones_(self.weight)

        def forward(self, x):
            return x * self.weight


    model = nn.Sequential(nn.Linear(4, 8), Scale(8), nn.Linear(8, 1))
    print(model(torch.randn(16, 4)))
    """
    fine_when = (
        "An initialisation fills it: `reset_parameters`, `apply`, a loop over `parameters()` in the calling script.",
        "Weights are loaded before the first forward, or it is made on the meta device.",
        "It needs no gradient: room for weights that are loaded or computed.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.empty.html",
        "docs.pytorch.org/docs/stable/nn.init.html",
    )

    def unfilled_parameter(self, parameter: UnfilledParameter) -> Iterator[Finding]:
        if parameter.may_be_filled or parameter.in_test_suite:
            return
        name = parameter.name.rpartition(".")[2]
        yield self.finding(
            at=parameter.place,
            message=f"`{name}` of `{parameter.owner}` is never initialised",
            label="whatever was in this memory",
            why="its values depend on what ran before: zeros, remains of other tensors, at times NaN",
            help=f"fill it where it is made, for example nn.init.zeros_(self.{name}) or nn.init.normal_(self.{name}, "
            "std=0.02)",
        )
