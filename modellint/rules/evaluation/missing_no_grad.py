"""missing-no-grad."""

from __future__ import annotations

from modellint.facts.forward_use import SignKind
from modellint.rule import Category, Finding, ForwardUse, Iterator, Rule
from modellint.rules.evaluation._purpose import innermost_function, is_evaluation, region, seen


class MissingNoGrad(Rule):
    """Evaluation builds the autograd graph that nothing uses.

    A repeated call of a model with trainable parameters whose output is judged, collected or returned but never
    backwarded, while gradients are on.

    The result is the same, but every layer keeps its activations for a backward that never comes: evaluation
    needs more memory and time, and outputs kept in a list keep their whole graphs.
    """

    category = Category.PERFORMANCE
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    val_loader = DataLoader(TensorDataset(torch.randn(16, 4), torch.randint(0, 2, (16,))), batch_size=8)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))


    def evaluate(model, loader):
        model.eval()
        correct = 0
        for x, y in loader:
            scores = model(x)  # expect: missing-no-grad
            correct += (scores.argmax(1) == y).sum().item()
        return correct / len(loader.dataset)


    print(evaluate(model, val_loader))
    """
    good = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    val_loader = DataLoader(TensorDataset(torch.randn(16, 4), torch.randint(0, 2, (16,))), batch_size=8)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))


    @torch.no_grad()
    def evaluate(model, loader):
        model.eval()
        correct = 0
        for x, y in loader:
            scores = model(x)
            correct += (scores.argmax(1) == y).sum().item()
        return correct / len(loader.dataset)


    print(evaluate(model, val_loader))
    """
    fine_when = (
        "Gradients are wanted: saliency, forces, attacks, influence, test-time optimisation.",
        "The caller or a decorator holds `no_grad` or `inference_mode`.",
        "All parameters are frozen, or it is a single forward.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.no_grad.html",)

    def forward_use(self, use: ForwardUse) -> Iterator[Finding]:
        if use.grad is not True or not use.repeated or use.model.trainable is False or not is_evaluation(use):
            return
        # A function that evaluates may be switched as a whole; another one may need gradients elsewhere.
        function = innermost_function(use) if any(s.kind is SignKind.FUNCTION_NAME for s in use.signs) else None
        decorated = f"decorate {function} with @torch.no_grad(), or " if function else ""
        yield self.finding(
            at=use.place,
            message=f"`{use.model.text}` is evaluated with gradients on",
            label="every call keeps its activations for a backward that never comes",
            why="the result is the same, but it takes more memory and time than under no_grad",
            help=f"{decorated}put this call under `with torch.no_grad():`",
            seen=seen(use, "evaluation batches with a graph that nothing used"),
            group=region(use),
        )
