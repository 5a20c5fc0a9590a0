"""gan-detach-missing."""

from __future__ import annotations

from modellint.facts.gradient_leak import GradientLeak
from modellint.rule import Category, Finding, Iterator, Note, Rule


class GanDetachMissing(Rule):
    """The gradient of one model's loss stays in another model and is part of its step.

    Two models trained in turn, each by its own optimizer: a backward before the step of the first one also reaches the
    second, nothing clears that, and the second one steps on it together with its own gradient.

    A discriminator's loss asks for the opposite of what the generator's asks for: both gradients are added up, and the
    generator follows their sum.
    """

    category = Category.SUSPICIOUS
    bad = """
    import torch
    from torch import nn

    generator, discriminator = nn.Linear(2, 4), nn.Linear(4, 1)
    optimizer_g = torch.optim.SGD(generator.parameters(), lr=0.1)
    optimizer_d = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    criterion = nn.BCEWithLogitsLoss()
    for _ in range(5):
        real, ones, zeros = torch.randn(16, 4), torch.ones(16, 1), torch.zeros(16, 1)
        optimizer_g.zero_grad()
        optimizer_d.zero_grad()
        fake = generator(torch.randn(16, 2))
        loss_d = criterion(discriminator(real), ones) + criterion(discriminator(fake), zeros)
        loss_d.backward(retain_graph=True)  # expect: gan-detach-missing
        optimizer_d.step()
        loss_g = criterion(discriminator(generator(torch.randn(16, 2))), ones)
        loss_g.backward()
        optimizer_g.step()
    """
    good = """
    import torch
    from torch import nn

    generator, discriminator = nn.Linear(2, 4), nn.Linear(4, 1)
    optimizer_g = torch.optim.SGD(generator.parameters(), lr=0.1)
    optimizer_d = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    criterion = nn.BCEWithLogitsLoss()
    for _ in range(5):
        real, ones, zeros = torch.randn(16, 4), torch.ones(16, 1), torch.zeros(16, 1)
        fake = generator(torch.randn(16, 2))
        optimizer_d.zero_grad()
        loss_d = criterion(discriminator(real), ones) + criterion(discriminator(fake.detach()), zeros)
        loss_d.backward()
        optimizer_d.step()
        optimizer_g.zero_grad()
        loss_g = criterion(discriminator(fake), ones)
        loss_g.backward()
        optimizer_g.step()
    """
    fine_when = (
        "The gradients are cleared before the backward that counts: then it is only waste.",
        "`requires_grad` is switched off, or the samples are made under no_grad.",
        "One backward serves both optimizers: several losses of one model.",
    )
    references = (
        "github.com/yunjey/pytorch-tutorial/issues/56",
        "docs.pytorch.org/tutorials/beginner/dcgan_faces_tutorial.html",
    )

    def gradient_leak(self, leak: GradientLeak) -> Iterator[Finding]:
        model, trained, polluted = leak.model.text, leak.trained.text, leak.polluted.text
        notes = [
            Note(leak.own_place, f"this backward is meant for `{polluted}`"),
            Note(leak.step_place, "steps on both"),
        ]
        if leak.model_place is not None:
            notes.append(Note(leak.model_place, f"the way to `{model}`"))
        yield self.finding(
            at=leak.place,
            message=f"`{leak.text}` also fills the gradients of `{model}`, and `{polluted}` steps on them",
            label=f"meant for `{trained}` only",
            related=notes,
            why=f"nothing clears them in between: `{polluted}` follows the sum of 2 losses, its own and that of "
            f"`{trained}`",
            help=f"detach what `{model}` made before this backward, or call {polluted}.zero_grad() right before "
            f"`{leak.own_text}`",
        )
