"""dropout-without-effect."""

from __future__ import annotations

from modellint.rule import Category, DropoutUse, Finding, Iterator, Note, Rule


class DropoutWithoutEffect(Rule):
    """A dropout does nothing, or zeroes everything.

    A dropout whose rate is written as 0 or 1, the `dropout` of a recurrent layer that has one layer, or a dropout of
    whole channels on a value that has none.

    A rate of 0 drops nothing and a rate of 1 everything. A recurrent layer drops between its layers: with one there is
    nothing between. `Dropout2d` on rows of features has no channels to drop: it is a plain dropout with a warning.
    """

    category = Category.PEDANTIC
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(16, 32, dropout=0.5, batch_first=True)  # expect: dropout-without-effect
            self.head = nn.Linear(32, 5)

        def forward(self, x):
            out, _ = self.lstm(x)
            return self.head(out[:, -1])


    print(Net()(torch.randn(2, 7, 16)).shape)
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(16, 32, num_layers=2, dropout=0.5, batch_first=True)
            self.head = nn.Linear(32, 5)

        def forward(self, x):
            out, _ = self.lstm(x)
            return self.head(out[:, -1])


    print(Net()(torch.randn(2, 7, 16)).shape)
    """
    fine_when = (
        "The rate is an argument, whose default happens to be 0.",
        "It stands in a test, which wants a result that it knows.",
        "The layer holds a place in a Sequential, so that the layers after it keep their names in checkpoints.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html",
    )

    def dropout_use(self, use: DropoutUse) -> Iterator[Finding]:
        if use.in_test_suite:
            return  # a test wants a result that it knows
        notes: list[Note] = []
        if use.layers is not None:
            if use.layers != 1 or not use.rate:
                return
            message = f"the dropout of `{use.text}` does nothing: it has one layer"
            why = "the dropout of a recurrent layer stands between its layers, and there is nothing between"
            help = "apply nn.Dropout to its output, or use two layers"
        elif use.rate == 0 and not use.holds_a_place:
            message, why = f"`{use.text}` drops nothing", "its rate is written as 0"
            help = "delete it, or give it the rate that was meant"
        elif use.rate == 1:
            message, why = f"`{use.text}` zeroes everything in training", "its rate is written as 1"
            help = "give it the rate that was meant: the share that is dropped, not the share that is kept"
        elif use.flat_input is not None:
            message = f"`{use.text}` is given rows of features, which have no channels"
            why = "it acts as a plain dropout on single numbers, and torch warns that it will be an error"
            help = "use nn.Dropout"
            if use.flat_input != use.place:
                notes.append(Note(use.flat_input, "called here"))
        else:
            return
        yield self.finding(at=use.place, message=message, related=notes, why=why, help=help, group=use.place)
