"""retain-graph."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, RetainedGraph, Rule


class RetainGraph(Rule):
    """`retain_graph=True` keeps a graph that nothing goes through again.

    A backward with `retain_graph=True` in a loop, where each pass builds its own graph and runs this one backward
    through it.

    The activations of a pass stay in memory until the loss is replaced, next to those of the following forward: up to
    twice the memory for the same result.
    """

    category = Category.PERFORMANCE
    bad = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward(retain_graph=True)  # expect: retain-graph
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "A second backward or `autograd.grad` goes through the same graph.",
        "A hidden state is carried on, with its graph, on purpose.",
        "Higher derivatives are wanted (`create_graph=True`).",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.Tensor.backward.html",)

    def retained_graph(self, graph: RetainedGraph) -> Iterator[Finding]:
        if graph.backwards == 1:
            yield self.finding(
                at=graph.place,
                message=f"`{graph.text}` keeps a graph that nothing goes through again",
                label="keeps all activations of this pass",
                related=[Note(graph.loop, "every pass builds a graph of its own")],
                why="without the flag, backward() frees each activation as it goes; with it they stay until the next "
                "forward is done, up to twice the memory",
                help="remove `retain_graph=True`",
            )
