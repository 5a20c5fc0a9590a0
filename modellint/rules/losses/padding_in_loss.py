"""padding-in-loss."""

from __future__ import annotations

from modellint.facts.loss_use import Expects
from modellint.rule import Category, Finding, Iterator, LossUse, Note, Rule

_CROSS_ENTROPIES = ("CrossEntropyLoss", "cross_entropy", "NLLLoss", "nll_loss")


class PaddingInLoss(Rule):
    """Padded positions enter the loss.

    Targets made by pad_sequence, given to a cross entropy or NLL whose `ignore_index` is another number than the one
    they were padded with.

    The model is trained to predict the padding, and the mean counts it: where a batch is half padding, half of the
    loss is about positions that do not exist.
    """

    category = Category.NURSERY
    bad = """
    import torch
    from torch import nn
    from torch.nn.utils.rnn import pad_sequence

    model = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 20))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        words = [torch.randint(1, 20, (n,)) for n in (7, 4, 2)]
        batch = pad_sequence(words, batch_first=True)
        scores = model(batch)
        loss = criterion(scores.flatten(0, 1), batch.flatten())  # expect: padding-in-loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn
    from torch.nn.utils.rnn import pad_sequence

    model = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 20))
    criterion = nn.CrossEntropyLoss(ignore_index=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        words = [torch.randint(1, 20, (n,)) for n in (7, 4, 2)]
        batch = pad_sequence(words, batch_first=True)
        scores = model(batch)
        loss = criterion(scores.flatten(0, 1), batch.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The targets are padded with -100, which the loss leaves out by default.",
        "A mask leaves the padded positions out, or the loss is weighted (`reduction='none'`).",
        "The padding is the end of the text, and is meant to be predicted.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html",)

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        if use.run is not None or use.loss.rpartition(".")[2] not in _CROSS_ENTROPIES:
            return
        if use.expects not in (Expects.CLASS_LOGITS, Expects.LOG_PROBABILITIES):
            return
        padding, ignored = use.target_padding, use.ignored
        if padding is None or ignored is None or padding == ignored or use.reduction == "none" or not use.trains:
            return
        related = [Note(use.loss_place, "constructed here")] if use.loss_place is not None else []
        yield self.finding(
            at=use.place,
            message=f"`{use.loss_text}` counts padded positions: they hold {padding:g}, it leaves out {ignored:g}",
            label=f"the target was padded with {padding:g}",
            related=related,
            why="the model is trained to predict the padding, and the mean of the loss counts it",
            help=f"pass ignore_index={padding:g}, or pad the targets with -100",
            group=(use.place, use.loss_place),
        )
