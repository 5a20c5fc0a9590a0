"""The page of a rule and the table of rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from modellint.facts.loss_use import LossUse
from modellint.report import pages
from modellint.rule import Category, Finding, Rule, TorchCall

GOLDEN = Path(__file__).parent / "report_golden"


class SigmoidBeforeLogitsLoss(Rule):
    """A loss that applies sigmoid or softmax itself receives values that went through it already.

    A value that passed through sigmoid / nn.Sigmoid / .sigmoid() and reaches the input of BCEWithLogitsLoss,
    binary_cross_entropy_with_logits, ... through assignments, returns, reshapes and calls in the project.

    The model can only predict probabilities between 0.500 and 0.731. Training looks healthy, the loss stops near
    0.5, and a confident mistake gets 76 times less gradient (0.013 instead of 0.982 at a raw score of 4).
    """

    category = Category.CORRECTNESS
    fix_level = "unsafe"
    bad = """
    logits = torch.sigmoid(self.head(z))

    loss = F.binary_cross_entropy_with_logits(logits, y)  # expect: sigmoid-before-logits-loss
    """
    good = """
    logits = self.head(z)
    loss = F.binary_cross_entropy_with_logits(logits, y)
    """
    fine_when = ("A gate that ends in sigmoid and is turned back with torch.logit is not reported.",)
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html",)

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        """Never called here."""
        return iter(())


class Plain(Rule):
    """It is plain.

    And it matters.
    """

    category = Category.NURSERY
    bad = "x = 1  # expect-missed: plain"
    good = "x = 2"

    def torch_call(self, call: TorchCall) -> Iterator[Finding]:
        """Never called here."""
        return iter(())

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        """Never called here."""
        return iter(())


SigmoidBeforeLogitsLoss.name = "sigmoid-before-logits-loss"
Plain.name = "a-rule-whose-name-is-longer-than-the-column-it-stands-in"


@pytest.mark.parametrize(("format", "suffix"), [("text", "txt"), ("markdown", "md"), ("json", "json")])
def test_the_page(format: str, suffix: str) -> None:
    expected = (GOLDEN / f"page.{suffix}").read_text(encoding="utf-8")
    assert pages.page(SigmoidBeforeLogitsLoss, format) == expected


def test_a_short_page() -> None:
    text = pages.page(Plain)
    assert text.startswith(f"{Plain.name}  note, off, nursery, since 0.1, fix: none\nIt is plain.\n")
    assert "\nWhy it matters    And it matters.\nExample           x = 1\nUse instead       x = 2\n" in text
    assert "What it finds" not in text
    assert "When it is fine" not in text
    assert "References" not in text
    assert "source: LossUse (a use of a loss, and what reaches it); TorchCall (a resolved torch call" in text
    assert "##" not in text
    assert "When it is fine" not in pages.page(Plain, "markdown")


def test_a_page_fits_the_screen() -> None:
    assert max(map(len, pages.page(SigmoidBeforeLogitsLoss).splitlines())) <= 120


def test_a_page_shows_no_control_characters() -> None:
    class Odd(Plain):
        """Odd."""

        bad = "x = '\x1b[2J'"
        references = ("\x9b",)

    Odd.name = "odd"
    assert "\x1b" not in pages.page(Odd)
    assert "\x9b" not in pages.page(Odd)


def test_the_table() -> None:
    assert pages.rule_table([SigmoidBeforeLogitsLoss, Plain]).splitlines() == [
        "name                                                      category     level      sides   fix     since",
        "sigmoid-before-logits-loss                                correctness  error      source  unsafe  0.1",
        "a-rule-whose-name-is-longer-than-the-column-it-stands-in  nursery      note, off  source  none    0.1",
    ]
    assert pages.rule_table([SigmoidBeforeLogitsLoss], "markdown").splitlines() == [
        "| name | category | level | sides | fix | since |",
        "| --- | --- | --- | --- | --- | --- |",
        "| sigmoid-before-logits-loss | correctness | error | source | unsafe | 0.1 |",
    ]
    (row,) = json.loads(pages.rule_table([Plain], "json"))
    assert row == {
        "name": Plain.name,
        "summary": "It is plain.",
        "category": "nursery",
        "level": "note",
        "default": False,
        "sides": ["source"],
        "fix": "none",
        "since": "0.1",
    }
    assert pages.rule_table([]) == "name  category  level  sides  fix  since\n"


def test_an_unknown_format() -> None:
    with pytest.raises(ValueError, match="html"):
        pages.page(Plain, "html")
    with pytest.raises(ValueError, match="html"):
        pages.rule_table([Plain], "html")
