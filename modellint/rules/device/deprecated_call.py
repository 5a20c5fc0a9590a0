"""deprecated-call."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, OldName, Rule


class DeprecatedCall(Rule):
    """A call by a name that torch has removed, or has replaced by another.

    Removed names always, unless the project declares a torch that still has them; deprecated ones where the project
    declares a torch that has the replacement. Not under a test of the version or in a `try`.

    A removed name fails when the line is reached, which may be hours into a run; a deprecated one will.
    """

    category = Category.PEDANTIC
    bad = """
    import torch

    values, vectors = torch.symeig(torch.eye(3), eigenvectors=True)  # expect: deprecated-call
    """
    good = """
    import torch

    values, vectors = torch.linalg.eigh(torch.eye(3))
    """
    fine_when = (
        "The project declares a torch that still has the name.",
        "It is the branch for older versions of torch.",
    )
    references = (
        "docs.pytorch.org/docs/stable/amp.html",
        "github.com/pytorch/pytorch/releases",
    )

    def old_name(self, old: OldName) -> Iterator[Finding]:
        if old.guarded:
            return
        since = ".".join(map(str, old.since))
        if old.removed:
            if old.versions is not None and old.versions.all_below(old.since):
                return
            what, why = "was removed", f"the call fails with torch {since} and newer"
        else:
            if old.versions is None or not old.versions.all_from(old.since):
                return
            what, why = "is deprecated", f"torch calls it deprecated since {since} and may remove it"
        if old.versions is not None:
            why = f"{why}; {old.versions.source} allows these"
        yield self.finding(
            at=old.place,
            message=f"`{old.name}` {what}",
            label=f"use {old.instead}",
            why=why,
            help=f"use {old.instead}",
        )
