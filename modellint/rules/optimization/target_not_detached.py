"""target-not-detached."""

from __future__ import annotations

from modellint.facts.bootstrap_target import BootstrapTarget
from modellint.rule import Category, Finding, Iterator, Note, Rule


class TargetNotDetached(Rule):
    """A bootstrapped target carries a gradient into the model that it is the target of.

    A regression whose target is data plus what the same model says of something else (`reward + 0.99 * net(next)`),
    with a live gradient, while an optimizer holds that model.

    The model is also pulled the other way, the target towards the prediction: with a discount of 0.99 the gradient of
    the next state's value has 99 % of the size of the wanted one.
    """

    category = Category.NURSERY
    bad = """
    import torch
    from torch import nn

    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(5):
        state, following, reward = torch.randn(16, 4), torch.randn(16, 4), torch.randn(16, 1)
        optimizer.zero_grad()
        target = reward + 0.99 * net(following)
        loss = nn.functional.mse_loss(net(state), target)  # expect: target-not-detached
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn

    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(5):
        state, following, reward = torch.randn(16, 4), torch.randn(16, 4), torch.randn(16, 1)
        optimizer.zero_grad()
        target = reward + 0.99 * net(following).detach()
        loss = nn.functional.mse_loss(net(state), target)
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "A target network of its own that no optimizer holds.",
        "The target is detached where it is used, or made under no_grad.",
        "Residual-gradient methods differentiate the target on purpose.",
    )
    references = ("docs.pytorch.org/tutorials/intermediate/reinforcement_q_learning.html",)

    def bootstrap_target(self, use: BootstrapTarget) -> Iterator[Finding]:
        model = use.model.text
        yield self.finding(
            at=use.place,
            message=f"the target `{use.target}` carries a gradient into `{model}`",
            label=f"pulls the target towards the prediction of `{model}` too",
            related=[Note(place, f"`{model}` runs here with gradients") for place in use.model_places[:3]],
            why=f"`{use.optimizer.text}` follows 2 gradients: that of the prediction, and that of its own target",
            help=f"detach it: {use.target}.detach(), or make it under torch.no_grad()",
        )
