"""threshold-on-logits."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, Rule, ThresholdUse


class ThresholdOnLogits(Rule):
    """Raw scores are compared with a threshold for probabilities.

    `> 0.5`, `.ge(0.5)` or `.round()` on the output of a model that is trained with BCEWithLogitsLoss or another loss
    that applies sigmoid itself.

    A raw score of 0.5 is a probability of 0.622: samples between 0.5 and 0.622 are counted as negative, so recall is
    reported too low and precision too high. Rounded raw scores are 2, -3 and the like and equal no label.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn

    model = nn.Linear(8, 1)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(16, 8), torch.randint(0, 2, (16, 1)).float()
        optimizer.zero_grad()
        scores = model(x)
        loss = criterion(scores, y)
        loss.backward()
        optimizer.step()
        accuracy = ((scores > 0.5) == y).float().mean()  # expect: threshold-on-logits
    """
    good = """
    import torch
    from torch import nn

    model = nn.Linear(8, 1)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        x, y = torch.randn(16, 8), torch.randint(0, 2, (16, 1)).float()
        optimizer.zero_grad()
        scores = model(x)
        loss = criterion(scores, y)
        loss.backward()
        optimizer.step()
        accuracy = ((scores > 0) == y).float().mean()
    """
    fine_when = (
        "A sigmoid comes before the threshold, or the threshold is 0.",
        "The model is trained with another loss: its output may be a probability, or a number of its own.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html",)

    def threshold_use(self, use: ThresholdUse) -> Iterator[Finding]:
        if not use.trains:
            return
        related = [Note(use.loss_place, f"{use.loss} takes the same output as raw scores")]
        if use.maker_place is not None:
            related.append(Note(use.maker_place, "made here, without a sigmoid"))
        rounded = use.test == "round"
        yield self.finding(
            at=use.place,
            message=f"`{_shortened(use.text)}` applies a threshold for probabilities to raw scores",
            label="rounds raw scores" if rounded else "a raw score of 0.5 is a probability of 0.622",
            related=related,
            why="a rounded raw score may be any whole number: it equals a label by chance"
            if rounded
            else "samples with a probability between 0.5 and 0.622 are counted as negative: recall is reported too low",
            help="apply torch.sigmoid first" if rounded else "apply torch.sigmoid first, or compare with 0",
        )


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."
