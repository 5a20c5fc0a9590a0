"""unsafe-torch-load."""

from __future__ import annotations

from modellint.rule import Category, CheckpointRead, Finding, Iterator, Rule

SAFE_BY_DEFAULT = (2, 6)


class UnsafeTorchLoad(Rule):
    """A file that somebody else may have written is unpickled, which runs the code in it.

    torch.load with `weights_only=False`, or without the argument in a project whose torch is older than 2.6, in a
    project that writes no checkpoints itself.

    A pickle can name any function to be called while it is read: a downloaded checkpoint is a program. Since torch 2.6
    the default is `weights_only=True`, which reads tensors and plain containers only.
    """

    category = Category.SUSPICIOUS
    bad = """
    import sys

    import torch

    state = torch.load(sys.argv[1], weights_only=False)  # expect: unsafe-torch-load
    """
    good = """
    import sys

    import torch

    state = torch.load(sys.argv[1], weights_only=True)
    """
    fine_when = (
        "The project writes the file itself.",
        "The project runs with torch 2.6 or newer and the argument is left out.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.load.html",
        "github.com/pytorch/pytorch/security/advisories/GHSA-53q9-r3pm-6pq6",
    )

    def checkpoint_read(self, read: CheckpointRead) -> Iterator[Finding]:
        if read.saved_here or read.in_test_suite:
            return
        if read.weights_only is False:
            label = "anything in the file is executed"
            message = f"`torch.load` unpickles `{read.text}` with `weights_only=False`"
        elif read.weights_only is None and read.versions is not None and read.versions.all_below(SAFE_BY_DEFAULT):
            label = "weights_only is False by default here"
            message = f"`torch.load` unpickles `{read.text}`, as torch before 2.6 does by default"
        else:
            return
        why = "a pickle may call any function while it is read; torch 2.6 made weights_only=True the default"
        if read.weights_only is None and read.versions is not None:
            why = f"{why} ({read.versions.source} allows only older ones)"
        yield self.finding(
            at=read.weights_only_place or read.place,
            message=message,
            label=label,
            why=why,
            help="pass weights_only=True, and torch.serialization.add_safe_globals for classes that the file needs",
        )
