"""frozen-batchnorm-updating."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, NormUse, Note, Rule


class FrozenBatchnormUpdating(Rule):
    """The parameters of a part are frozen, but its norms go on learning the statistics of the batches.

    A norm with running statistics, called in train mode in two or more training passes, while neither it nor anything
    in the module around it needs a gradient, and none of their weights change.

    `requires_grad` does not hold running statistics: the features that were meant to stay fixed move with every batch,
    and in evaluation the frozen weights meet statistics that they were not trained with.
    """

    category = Category.SUSPICIOUS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)
            self.norm = nn.BatchNorm1d(8)  # expect: frozen-batchnorm-updating

        def forward(self, x):
            return torch.relu(self.norm(self.fc(x)))


    class Net(nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = backbone.requires_grad_(False)
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return self.head(self.backbone(x))

    model = Net(Backbone())
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
    for _ in range(4):
        model.train()
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn


    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)
            self.norm = nn.BatchNorm1d(8)

        def forward(self, x):
            return torch.relu(self.norm(self.fc(x)))


    class Net(nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = backbone.requires_grad_(False)
            self.head = nn.Linear(8, 1)

        def forward(self, x):
            return self.head(self.backbone(x))

        def train(self, mode=True):
            super().train(mode)
            self.backbone.eval()
            return self


    model = Net(Backbone())
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
    for _ in range(4):
        model.train()
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The norm is in eval mode, or a frozen variant of BatchNorm takes its place.",
        "The weights move without a gradient: a momentum encoder, a mean teacher.",
        "Statistics are adapted on purpose: `momentum=None`, a trainable scale and shift, an adapter (LoRA) around it.",
        "The part is unfrozen later.",
    )
    references = (
        "github.com/pytorch/pytorch/issues/86590",
        "github.com/poppinace/indexnet_matting/issues/35",
    )

    def norm_use(self, use: NormUse) -> Iterator[Finding]:
        if use.run is None and use.held_place is not None and use.momentum:
            yield self.finding(
                at=use.place,
                message=f"`{use.layer.name}` was put in eval mode, but a later `train()` has switched it back",
                label="in train mode: every forward moves running_mean and running_var",
                related=[Note(use.held_place, "put in eval mode here")],
                why=f"{1 - (1 - use.momentum) ** 100:.0%} of the statistics are replaced within 100 batches",
                help=f"put it in eval mode after every {use.model.text}.train(), or override `train` to do so",
                group=(use.model.key, "held"),
            )
            return
        if use.run is None:
            if not use.frozen_part:
                return
        elif use.frozen_passes < 2 or use.frozen_passes < use.run.watched or not use.model.complete:
            return
        if not use.momentum or use.adapter:
            return
        part = use.frozen_part or use.layer.name
        yield self.finding(
            at=use.place,
            message=f"`{use.layer.name}` learns running statistics although `{part}` is frozen",
            label="in train mode: every forward moves running_mean and running_var",
            why=f"{1 - (1 - use.momentum) ** 100:.0%} of the statistics are replaced within 100 batches",
            help=f"call {use.model.text}.{part}.eval() after every {use.model.text}.train(), "
            "or override `train` to do so",
            group=(use.model.key, part),
        )
