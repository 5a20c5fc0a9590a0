"""Findings made by hand, over the drawn example project and over awkward source, for the tests of the formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from modellint.facts.span import Span
from modellint.finding import Category, Certainty, Edit, Finding, Fix, FlowStep, Level, Note, RuleFailure, Safety
from modellint.report.model import LintReport

TWIN = """\
import torch
from torch import nn


class Twin(nn.Module):
    def __init__(self, d_text, d_image, d):
        super().__init__()
        self.norm = nn.BatchNorm1d(d)
        self.text = nn.Sequential(nn.Linear(d_text, d), self.norm, nn.ReLU())
        self.image = nn.Sequential(nn.Linear(d_image, d), self.norm, nn.ReLU())
        self.head = nn.Linear(2 * d, 1)
        self.aux = nn.Linear(d, d)

    def forward(self, text, image):
        z = torch.cat([self.text(text), self.image(image)], dim=1)
        return torch.sigmoid(self.head(z))
"""

TRAIN = """\
import torch
from torch import nn

from models.twin import Twin


def evaluate(model, loader, criterion):
    total = 0.0
    with torch.no_grad():
        for text, image, target in loader:
            score = model(text, image).squeeze(1)
            total += criterion(score, target).item()
    return total / len(loader)


def train(train_loader, val_loader, epochs):
    model = Twin(d_text=32, d_image=48, d=64)
    criterion = nn.BCEWithLogitsLoss()
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for epoch in range(epochs):
        model.train()
        for text, image, target in train_loader:
            score = model(text, image).squeeze(1)
            loss = criterion(score, target)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, evaluate(model, val_loader, criterion))
    return model
"""

FILES = {"models/twin.py": TWIN, "train.py": TRAIN}


def reader(files: Mapping[str, str]) -> Callable[[str], Sequence[str]]:
    """Reads lines from memory; a file that is not there is an OSError, as on disk."""

    def read(path: str) -> Sequence[str]:
        if path not in files:
            raise FileNotFoundError(path)
        return files[path].split("\n")[: -1 if files[path].endswith("\n") else None]

    return read


def at(path: str, line: int, text: str, files: Mapping[str, str] = FILES) -> Span:
    """The span of `text` in one line."""
    column = files[path].split("\n")[line - 1].index(text) + 1
    return Span(path, line, column, line, column + len(text))


def finding(span: Span, **changes: object) -> Finding:
    """A finding that says little."""
    plain = Finding(
        rule="invalid-device",
        category=Category.CORRECTNESS,
        level=Level.ERROR,
        certainty=Certainty.CERTAIN,
        message="torch knows no device `gpu`",
        span=span,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def report(findings: Sequence[Finding] = (), files: Mapping[str, str] = FILES, **changes: object) -> LintReport:
    """A report over files in memory."""
    plain = LintReport(
        findings=tuple(findings),
        suppressed=(),
        failures=(),
        checked=4,
        skipped=1,
        ignored=0,
        rules=18,
        paths=(".",),
        not_followed=(),
        read_lines=reader(files),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def twin_findings() -> tuple[Finding, ...]:
    """What the drawn session finds in the example project."""
    model, train = "models/twin.py", "train.py"
    sigmoid = at(model, 16, "torch.sigmoid(self.head(z))")
    forward = at(train, 23, "model(text, image)")
    loss = at(train, 24, "criterion(score, target)")
    return (
        Finding(
            rule="shared-batchnorm",
            category=Category.CORRECTNESS,
            level=Level.ERROR,
            certainty=Certainty.CERTAIN,
            message="one `BatchNorm1d` normalises two different inputs",
            span=at(model, 8, "nn.BatchNorm1d(d)"),
            label="one running_mean / running_var, created once",
            related=(
                Note(at(model, 9, "self.norm"), "1st use: output of Linear(32, 64)", cause=True),
                Note(at(model, 10, "self.norm"), "2nd use: output of Linear(48, 64)", cause=True),
            ),
            why="each training step updates the same statistics twice, with two distributions; "
            "in eval() both branches are then normalised with the blend of the two",
            help="create one layer per branch, or nn.GroupNorm if you want to share weights",
        ),
        Finding(
            rule="unused-module",
            category=Category.SUSPICIOUS,
            level=Level.WARNING,
            certainty=Certainty.CERTAIN,
            message="`self.aux` is created but no path through forward uses it",
            span=at(model, 12, "nn.Linear(d, d)"),
            label="4,160 of 9,665 parameters",
            why="`train.py` passes all parameters to AdamW; this layer never gets a gradient",
            help="delete it, or silence with `# modellint: ignore[unused-module] reason`",
        ),
        Finding(
            rule="missing-eval",
            category=Category.CORRECTNESS,
            level=Level.ERROR,
            certainty=Certainty.CERTAIN,
            message="`model` is still in training mode when it is evaluated",
            span=at(train, 11, "model(text, image)"),
            label="BatchNorm uses the batch and updates its statistics",
            related=(
                Note(at(train, 21, "model.train()"), "training mode is switched on here, every epoch"),
                Note(
                    at(train, 28, "evaluate(model, val_loader, criterion)"),
                    "called from here, no eval() in between",
                ),
            ),
            why="Twin contains BatchNorm1d (models/twin.py:8): validation data leaks into "
            "running_mean / running_var and the score depends on how the batch was drawn",
            help="call model.eval() at the top of evaluate(); the loop already restores train()",
            fix=Fix(
                "call `model.eval()` first",
                Safety.UNSAFE,
                "validation numbers will change",
                (Edit(Span(train, 8, 5, 8, 5), "model.eval()\n    "),),
            ),
        ),
        Finding(
            rule="sigmoid-before-logits-loss",
            category=Category.CORRECTNESS,
            level=Level.ERROR,
            certainty=Certainty.CERTAIN,
            message="`BCEWithLogitsLoss` is given probabilities, it needs raw scores",
            span=loss,
            label="a value in [0, 1] is read as a raw score",
            primary_order=3,
            related=(
                Note(sigmoid, "squashed to [0, 1] here", 1, cause=True),
                Note(forward, "returned by Twin.forward", 2),
                Note(at(train, 18, "nn.BCEWithLogitsLoss()"), "this loss applies sigmoid itself", 4),
            ),
            flow=(
                FlowStep(sigmoid, "torch.sigmoid"),
                FlowStep(at(model, 16, "return"), "return"),
                FlowStep(forward, "model(...)"),
                FlowStep(at(train, 23, ".squeeze(1)"), ".squeeze(1)"),
                FlowStep(at(train, 23, "score"), "score"),
                FlowStep(loss, "criterion(score, ...)"),
            ),
            why="sigmoid is applied twice: the predicted probability can never leave [0.500, 0.731], "
            "so the loss cannot fall below 0.313 on positives and 0.693 on negatives",
            help="return `self.head(z)` from forward and call torch.sigmoid only when you predict",
            notes=("same cause at train.py:12:22",),
            fix=Fix(
                "return the raw scores",
                Safety.UNSAFE,
                "code that reads Twin's output as a probability changes",
                (Edit(sigmoid, "self.head(z)"),),
            ),
        ),
    )


def failure() -> RuleFailure:
    """A rule that raised."""
    return RuleFailure("shared-batchnorm", "lib/big.py", 88, "RecursionError")
