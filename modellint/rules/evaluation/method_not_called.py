"""method-not-called."""

from __future__ import annotations

from modellint.rule import Category, DiscardedValue, Finding, Iterator, Note, Rule

_EFFECTS = {
    "module": {
        "eval": "the model stays in training mode",
        "train": "the model stays in the mode it was in",
        "zero_grad": "the gradients of earlier batches stay and are added up",
    },
    "optimizer": {
        "step": "no parameter is updated here",
        "zero_grad": "the gradients of earlier batches stay and are added up",
    },
    "scheduler": {"step": "the learning rate stays as it is"},
    "tensor": {"backward": "no gradient is computed here"},
    "scaler": {"update": "the scale is never adapted"},
}
"""What a statement without parentheses leaves undone."""


class MethodNotCalled(Rule):
    """A method is named but not called.

    `model.eval`, `optimizer.step`, `optimizer.zero_grad`, `loss.backward`, `scheduler.step` as a statement without
    parentheses, and `model.state_dict` where its result is wanted.

    Python evaluates the name and drops it: nothing happens and nothing warns. A saved `model.state_dict` is a
    pickled method with the whole model behind it, not a dictionary of weights.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    model.eval  # expect: method-not-called
    """
    good = """
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    model.eval()
    """
    fine_when = (
        "The method is passed on to be called later, as a callback.",
        "It is the last expression of a notebook cell.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval",)

    def discarded_value(self, value: DiscardedValue) -> Iterator[Finding]:
        related = []
        if value.given_to is not None:
            if value.attribute != "state_dict" or value.receiver_kind not in ("module", "optimizer", "scheduler"):
                return
            label, why = "a method, not a dictionary", f"{value.given_to} gets the method itself, not the weights"
            if value.given_to.rpartition(".")[2] == "save":
                why += ": the file holds a pickled method with its whole object, and load_state_dict refuses it"
            if value.given_place is not None and value.given_place != value.place:
                related.append(Note(value.given_place, "its result is wanted here"))
        else:
            effect = _EFFECTS.get(value.receiver_kind, {}).get(value.attribute)
            if effect is None:
                return
            label, why = "without parentheses nothing happens", f"the name is evaluated and dropped: {effect}"
        yield self.finding(
            at=value.place,
            message=f"`{value.text}` is named but not called",
            label=label,
            related=related,
            why=why,
            help=f"write `{value.text}()`",
        )
