"""no-grad-in-training."""

from __future__ import annotations

from modellint.facts.forward_use import Unrecorded
from modellint.rule import Category, Finding, ForwardUse, Iterator, Note, Rule
from modellint.rules._wording import listing
from modellint.rules.evaluation._purpose import region, seen


class NoGradInTraining(Rule):
    """A training forward runs without gradients.

    A model that is called under `no_grad`, and a backward and an optimizer step that follow and reach none of its
    parameters, there or anywhere; in a run also a reentrant checkpoint none of whose inputs requires a gradient.

    Autograd recorded nothing, so the parameters keep the values they started with, whatever the loss says.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 2)
    bias = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([*model.parameters(), bias], lr=0.1)
    for _ in range(5):
        x, y = torch.randn(8, 4), torch.randint(0, 2, (8,))
        with torch.no_grad():
            scores = model(x)  # expect: no-grad-in-training
        optimizer.zero_grad()
        nn.functional.cross_entropy(scores + bias, y).backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 2)
    bias = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([*model.parameters(), bias], lr=0.1)
    for _ in range(5):
        x, y = torch.randn(8, 4), torch.randint(0, 2, (8,))
        scores = model(x)
        optimizer.zero_grad()
        nn.functional.cross_entropy(scores + bias, y).backward()
        optimizer.step()
    """
    fine_when = (
        "It is a teacher, a target or a frozen extractor beside a forward that is recorded.",
        "It is a rollout, and the forward that trains comes later.",
        "It is the first run of a checkpoint, whose layers run again in backward.",
    )
    references = (
        "docs.pytorch.org/docs/stable/notes/autograd.html#locally-disabling-gradient-computation",
        "docs.pytorch.org/docs/stable/checkpoint.html",
    )

    def forward_use(self, use: ForwardUse) -> Iterator[Finding]:
        if use.unrecorded is None:
            return
        text = use.model.text
        counted = seen(use, "training steps reached none of its parameters")
        if use.unrecorded is Unrecorded.GRAD_OFF:
            yield self.finding(
                at=use.place,
                message=f"`{text}` runs without gradients in training",
                label="autograd records nothing here",
                why="no backward reaches its parameters: the optimizer steps and leaves them as they are",
                help=f"call `{text}` outside of no_grad and inference_mode, with gradients on",
                seen=counted,
                group=region(use),
            )
            return
        layers = use.unrecorded_layers
        names = listing([f"`{layer.name}`" for layer in layers])
        yield self.finding(
            at=use.place,
            message=f"{names} of `{use.model.class_name}` receive{'s' if len(layers) == 1 else ''} no gradients",
            label="no input of this checkpoint requires a gradient",
            related=[Note(layer.place, "never trained") for layer in layers if layer.place is not None],
            why="a reentrant checkpoint runs its layers without gradients, and again in backward only if an input "
            "requires a gradient",
            help="pass use_reentrant=False to the checkpoint",
            seen=counted,
        )
