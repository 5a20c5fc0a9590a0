"""hidden-state-ignored."""

from __future__ import annotations

from modellint.rule import Category, Finding, HiddenState, Iterator, Note, Rule


class HiddenStateIgnored(Rule):
    """A hidden state is prepared, and the recurrent layer never gets it.

    An attribute that is filled with zeros or random numbers in a module that calls a recurrent layer without a state,
    where no code of the project reads the attribute; or an argument of forward that the layer's own state replaces.

    Each call starts from zeros, whatever the attribute holds: a state that should be carried from batch to batch is
    lost, a reset in the training loop does nothing, and code that sets another start has no effect.
    """

    category = Category.SUSPICIOUS
    bad = """
    import torch
    from torch import nn


    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 16)
            self.head = nn.Linear(16, 4)
            self.hidden = self.init_hidden()

        def init_hidden(self):
            return torch.zeros(1, 2, 16), torch.zeros(1, 2, 16)

        def forward(self, x):
            out, self.hidden = self.lstm(x)  # expect: hidden-state-ignored
            return self.head(out)


    print(Tagger()(torch.randn(7, 2, 8)).shape)
    """
    good = """
    import torch
    from torch import nn


    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 16)
            self.head = nn.Linear(16, 4)
            self.hidden = self.init_hidden()

        def init_hidden(self):
            return torch.zeros(1, 2, 16), torch.zeros(1, 2, 16)

        def forward(self, x):
            out, self.hidden = self.lstm(x, self.hidden)
            return self.head(out)


    print(Tagger()(torch.randn(7, 2, 8)).shape)
    """
    fine_when = (
        "The attribute is returned, logged or given to a stepwise API.",
        "The call says that it starts from zeros: `self.lstm(x, None)`.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html",
        "docs.pytorch.org/tutorials/beginner/nlp/sequence_models_tutorial.html",
    )

    def hidden_state(self, state: HiddenState) -> Iterator[Finding]:
        if state.given or state.read or not state.model.complete:
            return
        name = state.layer.name.rpartition(".")[2] or state.layer.kind
        if state.argument:
            yield self.finding(
                at=state.call,
                message=f"the argument `{state.attribute}` is replaced before `{name}` gets it",
                label="starts from zeros at each call",
                related=[Note(state.prepared, "nothing reads this argument", cause=True)],
                why=f"what the caller passes as `{state.attribute}` changes nothing",
                help=f"pass it, as in `self.{name}(x, {state.attribute})`, or drop the argument",
                group=(state.call, state.attribute),
            )
            return
        notes = [Note(state.prepared, "filled here", cause=True)]
        if state.reset_outside is not None:
            notes.append(Note(state.reset_outside, "reset here, to no effect"))
        yield self.finding(
            at=state.call,
            message=f"`self.{state.attribute}` is prepared, but `{name}` never gets it",
            label="starts from zeros at each call",
            related=notes,
            why=f"no code reads `{state.attribute}`: what is put into it changes nothing",
            help=f"pass it, as in `self.{name}(x, self.{state.attribute})`, or delete it",
            group=(state.call, state.attribute),
        )
