"""loss-kept-with-graph."""

from __future__ import annotations

from modellint.facts.kept_graph import KeptGraph
from modellint.rule import Category, Finding, Iterator, Note, Rule, Span


class LossKeptWithGraph(Rule):
    """Losses are kept as tensors, and each keeps the graph of its batch alive.

    A training loop that adds live tensors to what an earlier round left (`total += loss`, `losses.append(loss)`) and
    never calls backward on it; in a run, graphs of 32 or more past steps that are alive at once.

    Memory grows with every batch, and freeing the chain in the end takes time or overflows the stack. The numbers
    themselves are right.
    """

    category = Category.PERFORMANCE
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    total = 0
    for _ in range(60):
        x, y = torch.randn(16, 4), torch.randn(16, 1)
        optimizer.zero_grad()
        total += (loss := nn.functional.mse_loss(model(x), y))  # expect: loss-kept-with-graph
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    total = 0
    for _ in range(60):
        x, y = torch.randn(16, 4), torch.randn(16, 1)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
    """
    fine_when = (
        "The losses of one step are added up before its backward: micro-batches, several losses.",
        "The graph is needed again: backward through time, higher-order gradients.",
        "Reference cycles keep graphs until Python collects them; nothing is said before a full collection.",
    )
    references = ("docs.pytorch.org/docs/stable/notes/faq.html", "github.com/pytorch/pytorch/issues/64586")

    def kept_graph(self, kept: KeptGraph) -> Iterator[Finding]:
        if kept.keeper_place is not None:
            yield self._kept_by(kept, kept.keeper_place)
            return
        yield self.finding(
            at=kept.place,
            message=f"the graph behind `{kept.text}` stays alive after its step",
            label="a graph for every batch so far",
            why=f"the graphs of {kept.alive} past steps are alive at once: memory grows with every batch",
            help="keep numbers, not tensors: total += loss.item(), or losses.append(loss.detach())",
        )

    def _kept_by(self, kept: KeptGraph, place: Span) -> Finding:
        """Code shows what keeps them."""
        begins = kept.model is not None
        shown = f"the graph begins at `{kept.text}`" if begins else f"`{kept.text}` shows that it has a graph"
        return self.finding(
            at=place,
            message=f"`{kept.keeper}` keeps the graph of every batch",
            label="a tensor with its graph",
            related=[Note(kept.place, shown)],
            why="each tensor holds the graph of its batch, 1 more in every round: memory grows with every batch",
            help="keep numbers, not tensors: add `.item()` or `.detach()` to what is kept",
        )
