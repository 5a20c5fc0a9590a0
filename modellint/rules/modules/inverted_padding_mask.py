"""inverted-padding-mask."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, MaskUse, Note, Rule


class InvertedPaddingMask(Rule):
    """A padding mask says the opposite of what the attention takes it for.

    A boolean mask made by a comparison (`ids == 0`, `ids != 0`, `positions < lengths`) that reaches attention with
    True for the tokens where True means padding, or the other way round.

    The attention looks at the padding and at nothing else. In `key_padding_mask` True means: leave this out. In the
    `attn_mask` of scaled_dot_product_attention True means: look at this. Other libraries write 1 for tokens.
    """

    category = Category.NURSERY
    bad = """
    import torch
    from torch import nn


    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(100, 16)
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, ids):
            x = self.embedding(ids)
            mask = ids != 0
            out, _ = self.attention(x, x, x, key_padding_mask=mask)  # expect: inverted-padding-mask
            return out


    print(Encoder()(torch.randint(0, 100, (2, 7))).shape)
    """
    good = """
    import torch
    from torch import nn


    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(100, 16)
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, ids):
            x = self.embedding(ids)
            mask = ids == 0
            out, _ = self.attention(x, x, x, key_padding_mask=mask)
            return out


    print(Encoder()(torch.randint(0, 100, (2, 7))).shape)
    """
    fine_when = (
        "The mask is inverted on the way (`~mask`).",
        "A float mask is added to the scores: it has no polarity of this kind.",
        "The mask goes to another library, with its own convention.",
    )
    references = (
        "docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html",
        "docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html",
    )

    def mask_use(self, use: MaskUse) -> Iterator[Finding]:
        if use.true_ignores is use.true_for_padding:
            return
        means = "leave this position out" if use.true_ignores else "look at this position"
        true_for = "padding" if use.true_for_padding else "tokens"
        yield self.finding(
            at=use.place,
            message=f"`{use.parameter}` is True for the {true_for}, where True means: {means}",
            label=f"given to `{use.callee}`",
            related=[Note(use.made, f"`{use.made_text}` is True for {true_for}", cause=True)],
            why="the attention looks at the padding and leaves out the tokens",
            help="invert it with `~`",
            group=(use.place, use.parameter),
        )
