"""direct-forward-call."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Rule, TorchCall


class DirectForwardCall(Rule):
    """A module's `forward` is called directly instead of the module.

    `net.forward(x)` on a resolved module, outside of a wrapper's own forward.

    `net(x)` runs forward and everything around it: hooks, DistributedDataParallel, torch.compile, and observers
    such as modellint's own runtime side. `net.forward(x)` runs forward only.
    """

    category = Category.PEDANTIC
    bad = """
    import torch
    from torch import nn

    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    scores = net.forward(torch.randn(3, 4))  # expect: direct-forward-call
    """
    good = """
    import torch
    from torch import nn

    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    scores = net(torch.randn(3, 4))
    """
    fine_when = (
        "`super().forward(x)`, `Base.forward(self, x)`, `self.forward(x)` and a wrapper's forward that delegates.",
        "Tests of forward itself.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.forward",)

    def torch_call(self, call: TorchCall) -> Iterator[Finding]:
        if call.name != "torch.nn.Module.forward" or call.receiver_kind != "module":
            return
        if call.delegating or call.in_test_suite or call.receiver is None or call.receiver.startswith("super("):
            return
        yield self.finding(
            at=call.place,
            message=f"`{call.text}` is called directly, not through `{call.receiver}(...)`",
            label="hooks, DistributedDataParallel and torch.compile are passed by",
            why="only __call__ runs forward hooks and what wraps the module",
            help=f"write `{call.receiver}(...)`",
        )
