"""shuffled-predictions."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, PredictionOrder, Rule


class ShuffledPredictions(Rule):
    """Predictions in shuffled order are compared with labels in the order of the dataset.

    What a model made of the batches of a loader with `shuffle=True` is compared, after the loop, with an array of the
    loader's own dataset (`test_set.targets`, a tensor of its TensorDataset).

    Row i of the predictions belongs to another sample than row i of the labels: accuracy is that of chance, 10 % for
    ten balanced classes, however good the model is.
    """

    category = Category.NURSERY
    bad = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    x_test, y_test = torch.randn(64, 8), torch.randint(0, 3, (64,))
    test_set = TensorDataset(x_test, y_test)
    loader = DataLoader(test_set, batch_size=16, shuffle=True)
    model = nn.Linear(8, 3)
    model.eval()
    predictions = []
    with torch.no_grad():
        for x, _ in loader:
            predictions.append(model(x).argmax(1))
    predictions = torch.cat(predictions)
    accuracy = (predictions == y_test).float().mean()  # expect: shuffled-predictions
    """
    good = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    x_test, y_test = torch.randn(64, 8), torch.randint(0, 3, (64,))
    test_set = TensorDataset(x_test, y_test)
    loader = DataLoader(test_set, batch_size=16)
    model = nn.Linear(8, 3)
    model.eval()
    predictions = []
    with torch.no_grad():
        for x, _ in loader:
            predictions.append(model(x).argmax(1))
    predictions = torch.cat(predictions)
    accuracy = (predictions == y_test).float().mean()
    """
    fine_when = (
        "The labels come out of the same batches.",
        "The indices of the samples are kept, and the order is restored.",
        "Only what does not depend on the order is compared: sums, counts, histograms.",
    )
    references = ("docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader",)

    def prediction_order(self, order: PredictionOrder) -> Iterator[Finding]:
        if not order.shuffled or order.order_kept or order.in_test_suite:
            return
        yield self.finding(
            at=order.place,
            message=f"predictions in shuffled order are compared with `{order.labels}`",
            label="in the order of the dataset",
            related=(Note(order.loader_place, "`shuffle=True`", order=1, cause=True),),
            order=2,
            why="row i of the predictions is another sample than row i of the labels",
            help="gather the labels in the same loop, or make the loader without `shuffle=True`",
        )
