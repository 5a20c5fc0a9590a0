"""unchecked-partial-load."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Rule, StateLoad


class UncheckedPartialLoad(Rule):
    """Weights are loaded with `strict=False`, and nobody looks at what did not fit.

    `load_state_dict(state, strict=False)` as a statement, where the state dict comes from a file as it is.

    A prefix such as `module.` before every key means that nothing is loaded at all: the model stays as it was
    initialised, and no error says so.
    """

    category = Category.PEDANTIC
    bad = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    model.load_state_dict(torch.load("backbone.pt", weights_only=True), strict=False)  # expect: unchecked-partial-load
    """
    good = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    missing, unexpected = model.load_state_dict(torch.load("backbone.pt", weights_only=True), strict=False)
    assert not unexpected and len(missing) < 3, missing
    """
    fine_when = (
        "The result is read: it lists the missing and the unexpected keys.",
        "Keys were taken out or renamed before, for a new head.",
        "The file holds an adapter only.",
    )
    references = (
        "github.com/pytorch/examples/issues/1029",
        "docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.load_state_dict",
    )

    def state_load(self, load: StateLoad) -> Iterator[Finding]:
        if load.strict is not False or not load.result_dropped or load.changed:
            return
        yield self.finding(
            at=load.place,
            message=f"`{load.text}` with `strict=False` ignores what does not fit, and its result is dropped",
            label="missing and unexpected keys are returned, not raised",
            why="a prefix in front of every key leaves all weights as they were initialised",
            help=f"read the result: missing, unexpected = {load.text}({load.given}, strict=False)",
        )
