"""embedding-padding-overwritten."""

from __future__ import annotations

from modellint.rule import Category, EmbeddingTable, Finding, Iterator, Note, Rule


class EmbeddingPaddingOverwritten(Rule):
    """The row of the padding index is not zero when training starts.

    A trainable nn.Embedding with `padding_idx` whose row for that index was filled after the construction, in a program
    that loads no weights.

    nn.Embedding zeroes the row once and then keeps gradients away from it: whatever an initialisation wrote there stays
    for good, and every padded position adds the same random vector.
    """

    category = Category.CORRECTNESS
    sides = ("source", "runtime")
    bad = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(20, 8, padding_idx=0)  # expect: embedding-padding-overwritten
            self.head = nn.Linear(8, 1)
            nn.init.normal_(self.table.weight, std=0.1)

        def forward(self, x):
            return self.head(self.table(x).mean(dim=1))


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randint(20, (16, 5))), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(20, 8, padding_idx=0)
            self.head = nn.Linear(8, 1)
            nn.init.normal_(self.table.weight, std=0.1)
            nn.init.zeros_(self.table.weight.data[self.table.padding_idx])

        def forward(self, x):
            return self.head(self.table(x).mean(dim=1))


    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(torch.randint(20, (16, 5))), torch.randn(16, 1))
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The row is zeroed again after the initialisation.",
        "The table was loaded, with a padding row of its own.",
        "The table is frozen, or has no `padding_idx`: the row is trained on purpose.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.Embedding.html",)

    def embedding_table(self, table: EmbeddingTable) -> Iterator[Finding]:
        if table.may_be_loaded:
            return
        name = table.layer.name or table.layer.kind
        if table.padding_index is None:
            yield self.finding(
                at=table.place,
                message=f"this zeroes the whole table `{name}`: its padding_idx is None",
                label="an index of None selects every row",
                related=[Note(table.layer.place, table.layer.text)] if table.layer.place is not None else [],
                why="`weight[None]` is the whole table with one axis more: every row starts as zero",
                help="do this under `if padding_idx is not None:`",
            )
            return
        if table.largest is None:
            why = "it holds what the initialisation wrote: each padded position adds that"
        else:
            why = f"it holds values up to {table.largest:.3g}: each padded position adds them"
        yield self.finding(
            at=table.place,
            message=f"row {table.padding_index} of `{name}`, its padding row, is not zero",
            label=f"padding_idx={table.padding_index}: no gradient will ever change this row",
            related=[Note(table.filled_place, "filled here, after its construction")] if table.filled_place else [],
            why=why,
            help=f"after the initialisation, under torch.no_grad(): {name}.weight[{table.padding_index}].zero_()",
        )
