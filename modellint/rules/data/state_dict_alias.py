"""state-dict-alias."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, Rule, StateCopy


class StateDictAlias(Rule):
    """A state dict is kept for later, but it is not a copy.

    The tensors of a `state_dict()` call are still there when training ends, two or more steps after the call, and are
    still the memory of the model's own parameters: `.copy()`, `dict()` and `v.cpu()` on a CPU model copy no tensor.

    The kept weights change with every step: the best model of the training is always the last one.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    best = None
    for epoch in range(5):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
        if epoch == 1:
            best = model.state_dict()  # expect: state-dict-alias
    model.load_state_dict(best)
    """
    good = """
    import copy

    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    best = None
    for epoch in range(5):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
        if epoch == 1:
            best = copy.deepcopy(model.state_dict())
    model.load_state_dict(best)
    """
    fine_when = (
        "It is saved or loaded elsewhere at once.",
        "The tensors are cloned: `copy.deepcopy`, `{k: v.clone() ...}`, `.cpu()` of a model on an accelerator.",
        "No training step follows.",
    )
    references = ("docs.pytorch.org/tutorials/beginner/saving_loading_models.html",)

    def state_copy(self, state: StateCopy) -> Iterator[Finding]:
        if state.used_at_once or not state.used_later:
            return
        if state.run is not None and state.later_steps < 2:
            return
        if state.run is None:
            why = "every later step changes it: it is the latest state, not that of the call"
        else:
            why = f"{state.later_steps:,} later steps have changed it: it is the latest state, not that of the call"
        yield self.finding(
            at=state.place,
            message=f"`{state.text}` is kept, but it is no copy: it follows the training",
            label="holds the parameters themselves",
            related=[Note(state.used_place, "used here, after later steps")] if state.used_place is not None else [],
            why=why,
            help=f"copy.deepcopy({state.text})",
        )
