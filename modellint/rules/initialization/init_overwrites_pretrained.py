"""init-overwrites-pretrained."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, OverwrittenLoad, Rule
from modellint.rules._wording import listing


class InitOverwritesPretrained(Rule):
    """An initialisation runs over weights that have just been loaded.

    `apply(init)`, a loop over `modules()` or a method that fills weights, after `load_state_dict`, `pretrained=True` or
    `weights=...` of the same layers, with no forward in between. It must reach more than half of the loaded layers.

    The pretrained weights are gone before anything has used them: the training starts from random weights, and the only
    sign is that it takes longer and ends lower.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn


    def init_weights(m):
        if isinstance(m, nn.Linear):
            nn.init.xavier_uniform_(m.weight)
            nn.init.zeros_(m.bias)


    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    model.load_state_dict(torch.load("pretrained.pt", weights_only=True))
    model.apply(init_weights)  # expect: init-overwrites-pretrained
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    """
    good = """
    import torch
    from torch import nn


    def init_weights(m):
        if isinstance(m, nn.Linear):
            nn.init.xavier_uniform_(m.weight)
            nn.init.zeros_(m.bias)


    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    model.apply(init_weights)
    model.load_state_dict(torch.load("pretrained.pt", weights_only=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    """
    fine_when = (
        "Only a new head is initialised, or a part that is to be trained afresh.",
        "Weights are loaded again afterwards, or the loaded ones have been used before.",
        "It depends on a flag: with pretrained weights it does not run.",
    )
    references = (
        "github.com/open-mmlab/mmengine/issues/1335",
        "docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.apply",
    )

    def overwritten_load(self, load: OverwrittenLoad) -> Iterator[Finding]:
        if load.reloaded or load.in_test_suite:
            return
        if not load.library and (len(load.layers) < 2 or 2 * len(load.layers) <= load.loaded_layers):
            return
        if load.library:
            what = f"the convolutions of `{load.model.class_name}`"
        else:
            what = f"`{listing([layer.name or layer.kind for layer in load.layers])}` of `{load.model.class_name}`"
        related = [Note(load.load_place, "loaded here")]
        if load.fill_place != load.place:
            related.append(Note(load.fill_place, "written here"))
        yield self.finding(
            at=load.place,
            message=f"this initialises {what} again: the loaded weights are lost",
            label="after the weights were loaded",
            related=related,
            why="nothing has used them since they were loaded: the training starts from random weights",
            help="initialise first and load afterwards, or initialise the new layers only",
        )
