"""batch-size-mismatch."""

from __future__ import annotations

from modellint.facts.input_record import InputRecord, InputSize
from modellint.rule import Category, Finding, Iterator, Rule
from modellint.rules._wording import instance_name


class BatchSizeMismatch(Rule):
    """One argument of a model holds a single sample, the others a whole batch.

    In every traced training call a tensor argument has one sample along its first axis while another one and the
    output have several, and no other axis of it has the size of the batch.

    Broadcasting repeats the one sample for all others without a word: the model is trained on pairs that do not belong
    together.
    """

    category = Category.NURSERY
    sides = ("runtime",)
    bad = """
    import torch
    from torch import nn


    class Matcher(nn.Module):
        def __init__(self):
            super().__init__()
            self.text = nn.Linear(6, 8)
            self.image = nn.Linear(4, 8)
            self.head = nn.Linear(8, 3)

        def forward(self, text, image):
            return self.head(torch.relu(self.text(text) + self.image(image)))


    model = Matcher()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(4):
        texts, images, y = torch.randn(16, 6), torch.randn(16, 4), torch.randint(0, 3, (16,))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(texts[:1], images), y)  # expect: batch-size-mismatch
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn


    class Matcher(nn.Module):
        def __init__(self):
            super().__init__()
            self.text = nn.Linear(6, 8)
            self.image = nn.Linear(4, 8)
            self.head = nn.Linear(8, 3)

        def forward(self, text, image):
            return self.head(torch.relu(self.text(text) + self.image(image)))


    model = Matcher()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(4):
        texts, images, y = torch.randn(16, 6), torch.randn(16, 4), torch.randint(0, 3, (16,))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(texts, images), y)
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The argument is the same for all samples: positions, a mask, a query, one image with many prompts.",
        "One and the same tensor is passed in every call.",
    )
    references = ("github.com/huggingface/transformers/issues/34204",)

    def input_record(self, record: InputRecord) -> Iterator[Finding]:
        whole = [size for size in record.inputs if size.shape and size.shape[0] == record.batch]
        if record.calls < 2 or not whole or not record.model.complete:
            return
        for size in record.inputs:
            if size.broadcast == record.calls and not size.same_object and not _belongs_to_all(size, whole):
                yield self.finding(
                    at=record.place,
                    message=f"`{size.name}` holds one sample, `{whole[0].name}` and the output of "
                    f"`{instance_name(record.model)}` hold {record.batch}",
                    label=f"`{size.name}` {size.shape}, `{whole[0].name}` {whole[0].shape}",
                    why=f"broadcasting repeats the one sample of `{size.name}` for all {record.batch} of the batch",
                    help=f"look where `{size.name}` is put together: one entry for each sample of the batch",
                    evidence={"batch": record.batch},
                )


def _belongs_to_all(size: InputSize, whole: list[InputSize]) -> bool:
    """A mask, or positions beside the ids that they number."""
    square = len(size.shape) > 2 and size.shape[-1] == size.shape[-2]
    positions = size.integer and any(other.integer and other.shape[1:] == size.shape[1:] for other in whole)
    return size.boolean or square or positions
