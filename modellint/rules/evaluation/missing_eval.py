"""missing-eval."""

from __future__ import annotations

from modellint.facts.forward_use import Mode
from modellint.rule import Category, Certainty, Finding, ForwardUse, Iterator, Note, Rule, Span
from modellint.rules.evaluation._mode_layers import contains, drops, norm_family, telling_layer
from modellint.rules.evaluation._purpose import innermost_function, is_evaluation, region, seen


class MissingEval(Rule):
    """Validation or inference runs in training mode.

    A call of a model that judges or uses its output, made while the model is known to be in training mode and
    contains a layer that acts differently there.

    Dropout still zeroes values at random, so the score is noisy and too low. BatchNorm normalises with the very
    batch it is judged on, and moves its running statistics towards the validation data.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(4, 16)
            self.drop = nn.Dropout(0.5)
            self.fc2 = nn.Linear(16, 2)

        def forward(self, x):
            return self.fc2(self.drop(torch.relu(self.fc1(x))))


    def evaluate(model, loader):
        correct = 0
        with torch.no_grad():
            for x, y in loader:
                scores = model(x)  # expect: missing-eval
                correct += (scores.argmax(1) == y).sum().item()
        return correct / len(loader.dataset)


    train_set = TensorDataset(torch.randn(32, 4), torch.randint(0, 2, (32,)))
    val_set = TensorDataset(torch.randn(16, 4), torch.randint(0, 2, (16,)))
    train_loader = DataLoader(train_set, batch_size=8, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=8)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(2):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(evaluate(model, val_loader))
    """
    good = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(4, 16)
            self.drop = nn.Dropout(0.5)
            self.fc2 = nn.Linear(16, 2)

        def forward(self, x):
            return self.fc2(self.drop(torch.relu(self.fc1(x))))


    def evaluate(model, loader):
        model.eval()
        correct = 0
        with torch.no_grad():
            for x, y in loader:
                scores = model(x)
                correct += (scores.argmax(1) == y).sum().item()
        return correct / len(loader.dataset)


    train_set = TensorDataset(torch.randn(32, 4), torch.randint(0, 2, (32,)))
    val_set = TensorDataset(torch.randn(16, 4), torch.randint(0, 2, (16,)))
    train_loader = DataLoader(train_set, batch_size=8, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=8)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(2):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        print(evaluate(model, val_loader))
    """
    fine_when = (
        "The caller, a decorator or a context manager switches to eval().",
        "The model has no layer that depends on the mode.",
        "The mode is on purpose: Monte Carlo dropout, recalibration of BatchNorm, samples of a GAN during training.",
        "A framework such as Lightning or the Hugging Face Trainer switches the mode.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval",
        "docs.pytorch.org/docs/stable/notes/autograd.html#evaluation-mode-nn-module-eval",
    )

    def forward_use(self, use: ForwardUse) -> Iterator[Finding]:
        model = use.model
        if not (model.complete or model.mode_matters) or not model.mode_dependent:
            return
        if model.losses_in_training or not use.modes:
            return
        if any(state.mode is not Mode.TRAIN for state in use.modes) or not is_evaluation(use):
            return
        layer = telling_layer(model)
        family = norm_family(layer)
        if family:
            label = f"{family} uses the batch and updates its statistics"
            effect = (
                "validation data leaks into running_mean / running_var and the score depends on how the batch was drawn"
            )
        elif drops(layer):
            label = "dropout still zeroes values at random"
            effect = "the result is another one at every call, and worse than the model is"
        else:
            label = f"{layer.kind} acts as in training"
            effect = "it acts differently under train() and eval()"
        function = innermost_function(use)
        where = f"at the top of {function}()" if function else "before it"
        yield self.finding(
            at=use.place,
            message=f"`{model.text}` is still in training mode when it is evaluated",
            label=label,
            related=_notes(use),
            certainty=Certainty.CERTAIN if model.certain_mode_dependent else Certainty.LIKELY,
            why=f"{contains(model, layer)}: {effect}",
            help=f"call {model.text}.eval() {where}, and {model.text}.train() before training goes on",
            seen=seen(use, "evaluation batches in training mode"),
            group=region(use),
        )


def _notes(use: ForwardUse) -> list[Note]:
    notes: dict[Span, Note] = {}
    for state in use.modes:
        if state.place is not None:
            if use.run is not None:
                label = state.text
            elif state.by_construction:
                label = "constructed here, in training mode"
            else:
                label = "training mode is switched on here"
            notes.setdefault(state.place, Note(state.place, label))
    if use.calls:
        call = use.calls[-1].place
        notes.setdefault(call, Note(call, "called from here, no eval() in between"))
    return list(notes.values())
