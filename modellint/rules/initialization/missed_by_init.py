"""missed-by-init."""

from __future__ import annotations

from modellint.rule import Category, Finding, InitPass, Iterator, Note, Rule
from modellint.rules._wording import instance_name, listing


class MissedByInit(Rule):
    """An initialisation does not reach the layers that it was written for.

    A function that draws weights by the class of each layer and passes over another class of the same kind that the
    instance has (`BatchNorm2d` but not `BatchNorm1d`, `Conv2d` but not `ConvTranspose2d`); or a method that initialises
    and that nobody in the project calls.

    These layers keep torch's default: the model starts half in one way and half in another, and what was written about
    its initialisation is not what was run.
    """

    category = Category.SUSPICIOUS
    bad = """
    import torch
    from torch import nn


    def init_weights(m):
        if isinstance(m, nn.Conv2d):  # expect: missed-by-init
            nn.init.normal_(m.weight, 0.0, 0.02)


    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(8, 8, 4)
            self.out = nn.Conv2d(8, 3, 3)

        def forward(self, x):
            return self.out(torch.relu(self.up(x)))


    model = Generator()
    model.apply(init_weights)
    print(model(torch.randn(2, 8, 4, 4)).shape)
    """
    good = """
    import torch
    from torch import nn


    def init_weights(m):
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(m.weight, 0.0, 0.02)


    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(8, 8, 4)
            self.out = nn.Conv2d(8, 3, 3)

        def forward(self, x):
            return self.out(torch.relu(self.up(x)))


    model = Generator()
    model.apply(init_weights)
    print(model(torch.randn(2, 8, 4, 4)).shape)
    """
    fine_when = (
        "The function names no layer of that kind at all.",
        "What it writes is the default anyway: ones and zeros for a norm.",
        "Other code initialises these layers, or a base class or framework calls the method.",
    )
    references = ("docs.pytorch.org/docs/stable/nn.init.html",)

    def init_pass(self, run: InitPass) -> Iterator[Finding]:
        if run.in_test_suite:
            return
        if run.never_called:
            yield self.finding(
                at=run.place,
                message=f"nobody calls `{run.function}`: `{run.class_name}` keeps torch's default weights",
                label="its name stands nowhere else in the project",
                why="the initialisation that is written here never runs",
                help=f"call self.{run.function}() at the end of __init__, or delete it",
            )
        for passed in run.passed_over:
            model = instance_name(run.model) if run.model is not None else "the model"
            names = listing([layer.name or layer.kind for layer in passed.layers])
            kinds = dict.fromkeys(_kind(layer.kind) for layer in passed.layers)
            asked = ", ".join(passed.asked)
            yield self.finding(
                at=passed.place,
                message=f"`{run.function}` passes over `{names}` of `{model}`: it asks for {asked} only",
                label=f"not {listing(list(kinds))}",
                related=[Note(run.place, "run on the model here")],
                why=f"`{passed.fill_text}` is not done for {'it' if len(passed.layers) == 1 else 'them'}: "
                "torch's default stays",
                help=f"ask for {' and '.join([*passed.asked, *kinds])}",
            )


def _kind(kind: str) -> str:
    return "NonDynamicallyQuantizableLinear" if kind == "MultiheadAttention" else kind
