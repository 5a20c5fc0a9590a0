"""channel-mismatch."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, Rule, SizeClash

_SAID = {
    "in_features": "features",
    "in_channels": "channels",
    "num_features": "channels",
    "num_channels": "channels",
    "input_size": "features",
    "embed_dim": "features",
    "normalized_shape": "elements along its last axes",
}


class ChannelMismatch(Rule):
    """A layer gets an input of another size than it was built for.

    The channels or features that one layer of an instance makes, as numbers in the code, differ from those that the
    next one takes: Linear, convolutions, batch, group and layer norms, recurrent layers and attention. So do a batch
    norm for another number of axes, and channels that groups or heads do not divide.

    The first forward raises an error. The code shows it before anything is downloaded, queued or loaded, and shows
    where the wrong number comes from: the message of torch names two matrices (`4x16 and 32x5`).
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3)
            self.norm = nn.BatchNorm2d(32)

        def forward(self, x):
            return self.norm(self.conv(x))  # expect: channel-mismatch


    model = Net()
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3)
            self.norm = nn.BatchNorm2d(16)

        def forward(self, x):
            return self.norm(self.conv(x))


    model = Net()
    """
    fine_when = (
        "Something between the layers changes the axis and is not followed: a concatenation of unknown parts, a view "
        "with -1 of a size that is not known, a function of another library.",
        "A size is an argument that nobody in the project gives, or the layer is a Lazy one.",
        "The call lies in one arm of a test that the code does not decide, or expects an error (`pytest.raises`).",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html",
    )

    def size_clash(self, clash: SizeClash) -> Iterator[Finding]:
        layer, wanted = clash.layer, clash.wanted[0]
        called = f"`{layer.name}` ({layer.text})" if layer.name and not layer.name[0].isdigit() else f"`{layer.text}`"
        related = []
        if clash.maker_place is not None:
            related.append(Note(clash.maker_place, f"{clash.maker} makes them", order=1, cause=True))
        if layer.place is not None and layer.place != clash.place:
            related.append(Note(layer.place, "built for another size here", order=len(related) + 2))
        if clash.parameter == "rank":
            takes = " or ".join(str(rank) for rank in clash.wanted)
            message = f"{called} takes an input of {takes} axes and gets one of {clash.given}"
            why = f"the forward raises an error: {layer.kind} checks the number of axes"
            help = "use the layer for this number of axes (BatchNorm1d, 2d, 3d), or reshape the input before it"
        elif " by " in clash.parameter:
            size, _, parts = clash.parameter.partition(" by ")
            message = f"`{layer.text}` cannot be built: {size} is {clash.given}, and {parts} is {wanted}"
            why = f"{clash.given} cannot be divided by {wanted}: the constructor raises an error"
            help = f"choose {parts} among the divisors of {clash.given}, or make {size} a multiple of {wanted}"
        else:
            what = _SAID.get(clash.parameter, "elements")
            message = f"{called} takes {wanted:,} {what} and gets {clash.given:,}"
            by = f" from {clash.maker}" if clash.maker is not None else ""
            why = f"the forward raises an error: {clash.given:,} {what}{by} do not fit {clash.parameter}={wanted:,}"
            help = f"give {layer.kind} {clash.parameter}={clash.given}, or make the layer before it give {wanted}"
        yield self.finding(
            at=clash.place,
            message=message,
            label=f"{clash.given:,} given, {' or '.join(f'{n:,}' for n in clash.wanted)} wanted",
            order=2 if clash.maker_place is not None else 1 if related else None,
            related=related,
            why=why,
            help=help,
            group=(layer.place or clash.place, clash.parameter, clash.given),
        )
