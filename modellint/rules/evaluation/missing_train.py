"""missing-train."""

from __future__ import annotations

from modellint.facts.forward_use import Mode, ModeState
from modellint.rule import Category, Certainty, Finding, ForwardUse, Iterator, Note, Rule
from modellint.rules.evaluation._mode_layers import contains, drops, norm_family, telling_layer
from modellint.rules.evaluation._purpose import seen


class MissingTrain(Rule):
    """After an evaluation the training goes on in eval mode.

    A forward whose result is backwarded and stepped, in a loop where `eval()` was called and nothing calls
    `train()` again before the next round.

    From then on dropout is off and BatchNorm's statistics stand still: only the first round is trained as meant.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(4, 16)
            self.drop = nn.Dropout(0.5)
            self.fc2 = nn.Linear(16, 2)

        def forward(self, x):
            return self.fc2(self.drop(torch.relu(self.fc1(x))))


    def evaluate(model, x, y):
        model.eval()
        with torch.no_grad():
            return (model(x).argmax(1) == y).float().mean().item()


    x, y = torch.randn(32, 4), torch.randint(0, 2, (32,))
    x_val, y_val = torch.randn(16, 4), torch.randint(0, 2, (16,))
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)  # expect: missing-train
        loss.backward()
        optimizer.step()
        print(evaluate(model, x_val, y_val))
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(4, 16)
            self.drop = nn.Dropout(0.5)
            self.fc2 = nn.Linear(16, 2)

        def forward(self, x):
            return self.fc2(self.drop(torch.relu(self.fc1(x))))


    def evaluate(model, x, y):
        model.eval()
        with torch.no_grad():
            return (model(x).argmax(1) == y).float().mean().item()


    x, y = torch.randn(32, 4), torch.randint(0, 2, (32,))
    x_val, y_val = torch.randn(16, 4), torch.randint(0, 2, (16,))
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        model.train()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        print(evaluate(model, x_val, y_val))
    """
    fine_when = (
        "`train()` is called at the top of each epoch, in the training function, or restored by a context manager.",
        "The whole model is in eval mode from the start, to keep pretrained BatchNorm statistics.",
        "Only a part is switched: `backbone.eval()` after `train()`.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.train",
        "github.com/isht7/pytorch-deeplab-resnet/issues/39",
    )

    def forward_use(self, use: ForwardUse) -> Iterator[Finding]:
        model = use.model
        if not (use.backwarded and use.stepped and use.repeated and use.grad is True):
            return
        if use.framework is not None or use.stochastic_on_purpose:
            return
        if not (model.complete or model.mode_matters) or not model.mode_dependent:
            return
        train = [state for state in use.modes if state.mode is Mode.TRAIN]
        if use.modes and all(state.mode is Mode.EVAL and state.by_construction for state in use.modes):
            yield self._never_switched(use)
            return
        evals = [state for state in use.modes if state.mode is Mode.EVAL and not state.by_construction]
        # eval() before the loop may be on purpose (frozen BatchNorm); in its rounds it is for the evaluation.
        evals = [state for state in evals if (state.place is not None or use.run is not None) and state.in_same_loop]
        if not train or not evals or any(state.mode is Mode.UNKNOWN for state in use.modes):
            return
        layer = telling_layer(model)
        after = f"after {evals[0].text}" if use.run is None else "after an evaluation"
        effect = (
            "its running statistics stand still"
            if norm_family(layer)
            else "nothing is dropped any more"
            if drops(layer)
            else "it acts as in evaluation"
        )
        yield self.finding(
            at=use.place,
            message=f"`{model.text}` {'can be' if use.run is None else 'is'} in eval mode when it is trained again",
            label="trained in eval mode from the second round on" if use.run is None else "trained in eval mode",
            related=_notes(use, evals, train),
            certainty=Certainty.CERTAIN if model.certain_mode_dependent else Certainty.LIKELY,
            why=f"{contains(model, layer)}: {after} {effect}, and no train() comes before this forward",
            help=f"call {model.text}.train() at the top of every epoch",
            seen=seen(use, "training steps in eval mode"),
            group=(model.key, evals[0].place),
        )

    def _never_switched(self, use: ForwardUse) -> Finding:
        """A library handed the model over in eval mode, and nothing switches it."""
        state, model = use.modes[0], use.model
        notes = [Note(state.place, state.text, cause=True)] if state.place is not None else []
        return self.finding(
            at=use.place,
            message=f"`{model.text}` is trained in eval mode: {state.text}",
            label="no train() comes before this forward",
            related=notes,
            why="dropout stays off and BatchNorm keeps its old statistics during the whole training",
            help=f"call {model.text}.train() at the top of every epoch",
            seen=seen(use, "training steps in eval mode"),
            group=(model.key, state.place),
        )


def _notes(use: ForwardUse, evals: list[ModeState], train: list[ModeState]) -> list[Note]:
    """What switched the mode, or where a run saw it."""
    notes = []
    for state in (*evals, *train):
        if state.place is None or state.place == use.place:
            continue
        evaluated = state.mode is Mode.EVAL
        if use.run is not None:
            label = state.text
        elif evaluated:
            label = "eval mode is switched on here"
        else:
            label = "constructed here, in training mode" if state.by_construction else "training mode was set here"
        notes.append(Note(state.place, label, cause=evaluated))
    return notes
