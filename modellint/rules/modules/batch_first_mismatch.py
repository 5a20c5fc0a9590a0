"""batch-first-mismatch."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, Rule, SequenceCall


class BatchFirstMismatch(Rule):
    """A layer takes the batch for the time: its input has its axes in the other order.

    A recurrent, attention or transformer layer whose `batch_first` contradicts two signs of the code around it: where
    its input comes from (a loader, a convolution) and how its output is read (`out[:, -1]`, a mean over axis 1).

    The layer runs along the batch: sample 3 is computed from samples 1 and 2, and the steps of a sample never meet.
    Shapes fit, so nothing crashes; results depend on what else is in the batch and on its order.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(4, 16, 3)
            self.lstm = nn.LSTM(16, 32)  # expect: batch-first-mismatch
            self.head = nn.Linear(32, 5)

        def forward(self, x):
            steps = self.conv(x).transpose(1, 2)
            out, _ = self.lstm(steps)
            return self.head(out[:, -1])


    print(Net()(torch.randn(2, 4, 20)).shape)
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(4, 16, 3)
            self.lstm = nn.LSTM(16, 32, batch_first=True)
            self.head = nn.Linear(32, 5)

        def forward(self, x):
            steps = self.conv(x).transpose(1, 2)
            out, _ = self.lstm(steps)
            return self.head(out[:, -1])


    print(Net()(torch.randn(2, 4, 20)).shape)
    """
    fine_when = (
        "A transpose or permute puts the axes into the order that the layer expects.",
        "The data is (time, batch, features) from the start.",
        "The last state is read from `h_n`, whose first axis counts layers whatever `batch_first` says.",
        "The input is one sequence without a batch, or a packed sequence.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html",
    )

    def sequence_call(self, call: SequenceCall) -> Iterator[Finding]:
        if call.batch_first is None or call.packed or call.unbatched or call.one_sample:
            return
        expected = 0 if call.batch_first else 1
        signs = [sign for sign in call.signs if sign.batch_axis != expected]
        if len(signs) != len(call.signs) or len({sign.text for sign in signs}) < 2 - any(s.decisive for s in signs):
            return
        order = "(batch, time, features)" if expected else "(time, batch, features)"
        takes = "(time, batch, features)" if expected else "(batch, time, features)"
        flag = "batch_first=True" if expected else "batch_first=False"
        yield self.finding(
            at=call.layer.place or call.call,
            message=f"`{call.layer.text}` expects {takes}, and gets {order}",
            label=f"made without {flag}" if expected else "made with batch_first=True",
            related=[Note(call.call, "called here"), *(Note(sign.place, sign.text) for sign in signs[:3])],
            why="it runs along the batch: each sample is computed from the samples before it, "
            "and its own time steps never meet"
            if call.family == "recurrent"
            else "it attends across the samples of the batch, and the positions of a sample never meet",
            help=f"pass {flag}, or transpose the first two axes of the input",
            group=call.layer.place,
        )
