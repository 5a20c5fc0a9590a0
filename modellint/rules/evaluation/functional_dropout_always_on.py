"""functional-dropout-always-on."""

from __future__ import annotations

from modellint.facts.torch_call import UNKNOWN, Argument
from modellint.rule import Category, Certainty, Finding, Iterator, Rule, TorchCall

_F = "torch.nn.functional."
_ON_BY_DEFAULT = {
    _F + n for n in ("dropout", "dropout1d", "dropout2d", "dropout3d", "multi_head_attention_forward")
} | {
    "torchvision.ops.stochastic_depth",
    "torchvision.ops.stochastic_depth.stochastic_depth",
}
_OFF_BY_DEFAULT = {_F + n for n in ("alpha_dropout", "feature_alpha_dropout", "rrelu")} | {"torch.dropout"}
_ATTENTION = _F + "scaled_dot_product_attention"


class FunctionalDropoutAlwaysOn(Rule):
    """A functional dropout in a module does not follow the mode: it drops in evaluation too.

    `F.dropout` and its relatives without `training=self.training`, and `scaled_dot_product_attention` with a
    `dropout_p` that the mode does not switch off.

    `eval()` only sets `self.training`; a function that is not told keeps dropping. Predictions then change from
    call to call, and validation judges a weaker model than the one that was trained.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn
    from torch.nn import functional as F


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)
            self.head = nn.Linear(8, 2)

        def forward(self, x):
            x = F.dropout(torch.relu(self.fc(x)), 0.5)  # expect: functional-dropout-always-on
            return self.head(x)


    model = Net().eval()
    with torch.no_grad():
        for x in torch.randn(4, 3, 8):
            print(model(x).argmax(1))
    """
    good = """
    import torch
    from torch import nn
    from torch.nn import functional as F


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)
            self.head = nn.Linear(8, 2)

        def forward(self, x):
            x = F.dropout(torch.relu(self.fc(x)), 0.5, training=self.training)
            return self.head(x)


    model = Net().eval()
    with torch.no_grad():
        for x in torch.randn(4, 3, 8):
            print(model(x).argmax(1))
    """
    fine_when = (
        "The call stands under `if self.training:`, or the probability is set by the mode one line above.",
        "Dropping in evaluation is the point: Monte Carlo dropout, the Tacotron 2 prenet, augmentation, sampling.",
        "The probability is literally 0.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html",
    )

    def torch_call(self, call: TorchCall) -> Iterator[Finding]:
        if call.module_class is None or call.open_arguments or call.training_only or call.stochastic_on_purpose:
            return
        if call.name == _ATTENTION:
            yield from self._attention(call)
        elif call.name in _ON_BY_DEFAULT or call.name in _OFF_BY_DEFAULT:
            yield from self._dropout(call)

    def _dropout(self, call: TorchCall) -> Iterator[Finding]:
        probability = call.argument("p") or call.argument("dropout_p")
        if probability is not None and (probability.mode_gated or _is_zero(probability)):
            return
        training = call.argument("training") or call.argument("train")
        if training is None:
            if call.name in _OFF_BY_DEFAULT:
                return
            label = "`training` is not given, its default is True"
        elif training.constant is True and not training.mode_gated:
            label = "`training=True` does not follow the mode" if call.run is None else "it is on in eval mode"
        else:
            return
        yield self._report(call, label, probability, "pass training=self.training", certain=training is None)

    def _attention(self, call: TorchCall) -> Iterator[Finding]:
        probability = call.argument("dropout_p")
        if probability is None or probability.mode_gated or _is_zero(probability):
            return
        # A plain name may be gated where it is set or by the caller; an attribute is the same in every mode.
        known = probability.constant is not UNKNOWN
        if not known and not _is_attribute(probability.text):
            return
        help = f"pass dropout_p={_value(probability)} if self.training else 0.0"
        yield self._report(call, "`dropout_p` applies in every mode", probability, help, certain=known)

    def _report(
        self, call: TorchCall, label: str, probability: Argument | None, help: str, *, certain: bool
    ) -> Finding:
        share = probability.constant if probability is not None else UNKNOWN
        much = f"a share of {share:g} of the values" if isinstance(share, int | float) else "part of the values"
        return self.finding(
            at=call.place,
            message=f"`{call.text}` in `{call.module_class}` drops values in evaluation too",
            label=label,
            certainty=Certainty.CERTAIN if certain else Certainty.LIKELY,
            why=f"eval() only sets self.training: {much} is zeroed at random in every prediction",
            help=help,
        )


def _is_zero(argument: Argument) -> bool:
    return isinstance(argument.constant, int | float) and argument.constant == 0


def _value(argument: Argument) -> str:
    """The text of the value, also where the text includes the keyword."""
    return argument.text.removeprefix(f"{argument.name}=").strip()


def _is_attribute(text: str) -> bool:
    parts = text.rpartition("=")[2].strip().split(".")
    return len(parts) > 1 and parts[0] == "self" and all(part.isidentifier() for part in parts)
