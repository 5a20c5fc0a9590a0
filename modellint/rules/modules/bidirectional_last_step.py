"""bidirectional-last-step."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, Rule, SequenceCall


class BidirectionalLastStep(Rule):
    """The last time step of a bidirectional layer is taken as a summary of the sequence.

    A recurrent layer made with `bidirectional=True` whose output is read at the last time step only, with the
    features of both directions.

    The reverse direction starts at the end: its half of the last step has seen one token, so that half of the summary
    knows nothing of the rest of the sequence. What it knows of the whole stands at the first step and in `h_n`.
    """

    category = Category.SUSPICIOUS
    bad = """
    import torch
    from torch import nn


    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(16, 32, batch_first=True, bidirectional=True)
            self.head = nn.Linear(64, 5)

        def forward(self, x):
            out, _ = self.lstm(x)
            return self.head(out[:, -1])  # expect: bidirectional-last-step


    print(Classifier()(torch.randn(2, 7, 16)).shape)
    """
    good = """
    import torch
    from torch import nn


    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(16, 32, batch_first=True, bidirectional=True)
            self.head = nn.Linear(64, 5)

        def forward(self, x):
            _, (hidden, _) = self.lstm(x)
            return self.head(torch.cat((hidden[-2], hidden[-1]), dim=1))


    print(Classifier()(torch.randn(2, 7, 16)).shape)
    """
    fine_when = (
        "The two halves are taken from both ends: `out[:, -1, :hidden]` and `out[:, 0, hidden:]`.",
        "The summary is made of `h_n`, of pooling or of attention over all steps.",
        "The layer runs in one direction.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html",
        "github.com/yunjey/pytorch-tutorial/issues/149",
    )

    def sequence_call(self, call: SequenceCall) -> Iterator[Finding]:
        if call.family != "recurrent" or call.bidirectional is not True or call.batch_first is None:
            return
        if call.read_otherwise or call.packed or call.unbatched:
            return
        time = 1 if call.batch_first else 0
        if not call.steps or any(step.axis != time or step.index != -1 or not step.features for step in call.steps):
            return
        step = call.steps[0]
        name = call.layer.name.rpartition(".")[2] or call.layer.kind
        yield self.finding(
            at=step.place,
            message=f"`{step.text}` is the last step of both directions of `{name}`",
            label="the reverse half has seen one step",
            related=[Note(call.layer.place, "bidirectional", cause=True)] if call.layer.place is not None else [],
            why="the reverse direction starts at the end: at the last step its half of the features comes from one "
            "step, not from the sequence",
            help="use torch.cat((h_n[-2], h_n[-1]), dim=-1), where h_n is the state that the layer returns",
            group=step.place,
        )
