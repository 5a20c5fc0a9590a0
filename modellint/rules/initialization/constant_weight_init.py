"""constant-weight-init."""

from __future__ import annotations

from modellint.facts.parameter_fill import FilledLayer, FillPattern
from modellint.rule import Category, Certainty, Finding, Iterator, Note, ParameterFill, Rule
from modellint.rules._wording import instance_name, listing


class ConstantWeightInit(Rule):
    """All weights of a layer start at one constant, so that its units start as copies of each other.

    The last write before training fills the weight matrix of a Linear, convolution or recurrent layer with one
    constant, by whatever spelling, in an instance that is trained. Zeros count only where every weight layer is zero.

    Equal units receive equal gradients and stay equal: the layer has rank one however wide it is. Measured, the
    rows were still bit-identical after 30 epochs and the loss stuck at 0.640 where default weights reach 0.512.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(4, 9).apply(lambda m: nn.init.ones_(m.weight))  # expect: constant-weight-init
            self.fc2 = nn.Linear(9, 1)

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x)))


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(4, 9).apply(lambda m: nn.init.kaiming_normal_(m.weight))
            self.fc2 = nn.Linear(9, 1)

        def forward(self, x):
            return self.fc2(torch.relu(self.fc1(x)))


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "Biases, the scale of a norm and other one-dimensional parameters may start at any constant.",
        "A zero last layer or residual branch end: Fixup, adaLN-zero, LoRA B, ControlNet's zero convolutions.",
        "Linear and logistic regression, layers with one unit, depthwise convolutions, frozen kernels such as Sobel.",
        "The model is filled for a demonstration or a test and never trained.",
    )
    references = (
        "docs.pytorch.org/docs/stable/nn.init.html",
        "github.com/yz93/LAVT-RIS/issues/25",
    )

    def parameter_fill(self, fill: ParameterFill) -> Iterator[Finding]:
        if not fill.trained or fill.in_test_suite or not fill.model.complete:
            return
        if fill.pattern is FillPattern.COPIED_ROWS:
            return
        called = [layer for layer in fill.layers if layer.called]
        hit = [layer for layer in called if not (layer.frozen or layer.depthwise or layer.bias_set_per_unit)]
        if not hit or (not fill.others and all(layer.last for layer in called)):
            return  # nothing is reached, or it is a linear model, which needs no random start
        if fill.value == 0 and not fill.in_series and (fill.others or len(hit) < len(called)):
            return  # single zero layers are a technique; only an instance of nothing else is dead
        names = listing(list(dict.fromkeys(layer.ref.name or layer.ref.kind for layer in hit)))
        notes = []
        if fill.applied_place is not None and fill.applied_place != fill.place:
            notes.append(Note(fill.applied_place, "run on the model here"))
        if fill.trained_place is not None:
            notes.append(Note(fill.trained_place, "trained from there on"))
        notes += [Note(span, "an earlier fill of the same weights") for span in fill.overwritten]
        yield self.finding(
            at=fill.place,
            message=_message(fill, names),
            label="every unit of a layer becomes a copy of the others",
            related=notes,
            certainty=Certainty.CERTAIN if fill.kept or _all_hidden(fill, hit) else Certainty.LIKELY,
            seen=_seen(fill),
            why=_why(fill),
            help="keep the default initialisation, or use Kaiming or Xavier; "
            "to compare two models fairly use one seed or copy a state dict",
        )


def _all_hidden(fill: ParameterFill, hit: list[FilledLayer]) -> bool:
    """Whether no hidden layer is left alone: no other layer at all, or only the last one."""
    return not fill.others or (len(fill.others) == 1 and not any(layer.last for layer in hit))


def _message(fill: ParameterFill, names: str) -> str:
    where = f"`{names}` in `{instance_name(fill.model)}`"
    if fill.pattern is FillPattern.EQUAL_ROWS:
        return f"all rows of the weights of {where} start equal"
    return f"all weights of {where} start at {fill.value:g}"


def _seen(fill: ParameterFill) -> str:
    if fill.run is None:
        return ""
    if fill.kept is None:
        return "so at the first forward"
    return f"{'still' if fill.kept else 'no longer'} so after {fill.run.watched} training steps"


def _why(fill: ParameterFill) -> str:
    if fill.in_series:
        return "each one's gradient is multiplied by the other's zeros: no training step can move them"
    if fill.value == 0:
        return "no gradient passes a weight of zero: only the last layer can learn at first, and its units learn alike"
    if fill.others and not fill.kept:
        return "its units get equal inputs and start equal: only the random weights of other layers can separate them"
    return "equal units get equal gradients and stay equal: each layer has rank one however wide it is"
