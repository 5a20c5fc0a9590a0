"""detached-loss."""

from __future__ import annotations

from modellint.facts.backward_use import BackwardUse
from modellint.rule import Category, Finding, Iterator, Note, Rule


class DetachedLoss(Rule):
    """The graph between a model and its loss is cut, so backward trains nothing.

    A backward that starts from a tensor which no operation made (`torch.tensor(loss.item(), requires_grad=True)`), or
    that reaches none of the tensors of the optimizer which steps after it, although their model ran with gradients.

    Nothing is raised. The optimizer steps without gradients, the weights stay as they were initialised, and the loss
    moves only as much as the batches differ.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        x, y = torch.randn(16, 4), torch.randn(16, 1)
        optimizer.zero_grad()
        value = nn.functional.mse_loss(model(x), y).item()
        loss = torch.tensor(value, requires_grad=True)
        loss.backward()  # expect: detached-loss
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        x, y = torch.randn(16, 4), torch.randn(16, 1)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "One operand of the loss is detached while another lives: targets, baselines, straight-through, stop-gradient.",
        "The input is optimised and the model is not.",
        "A frozen extractor stands before a head that is trained.",
    )
    references = (
        "github.com/speechbrain/speechbrain/issues/735",
        "docs.pytorch.org/docs/stable/generated/torch.Tensor.detach.html",
    )

    def backward_use(self, use: BackwardUse) -> Iterator[Finding]:
        if use.decides:
            return  # argmax-before-loss says it
        owner, optimizer = use.model.text, use.optimizer.text
        if use.leaf:
            message = f"`{use.text}` starts from a tensor that no operation made"
            help = (
                "call backward on the loss itself: torch.tensor(...), .item(), .data and numpy cut the graph, and "
                "requires_grad=True only silences the error"
            )
        else:
            message = f"`{use.text}` reaches no parameter that `{optimizer}` holds"
            help = f"look for .detach(), .data, .item(), argmax or numpy between `{owner}` and `{use.loss}`"
            if use.cut:
                help = f"leave out the cut at `{use.cut}`, or move it to a copy that is only logged"
        notes = [Note(use.model_place, f"`{owner}` runs here with gradients")] if use.model_place is not None else []
        if use.cut_place is not None:
            notes.append(Note(use.cut_place, "the graph ends here", cause=True))
        yield self.finding(
            at=use.place,
            message=message,
            label="no gradient reaches the model",
            related=notes,
            why=f"no parameter of `{owner}` ever {'received' if use.run is not None else 'receives'} a gradient: "
            f"the steps of `{optimizer}` change nothing",
            help=help,
            group=(use.place, use.optimizer.key),
        )
