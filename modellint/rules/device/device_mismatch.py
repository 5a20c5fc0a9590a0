"""device-mismatch."""

from __future__ import annotations

from modellint.facts.forward_use import DeviceState
from modellint.rule import Category, Finding, ForwardUse, Iterator, Note, Rule


class DeviceMismatch(Rule):
    """A model and its input are on different devices.

    A call of a model that was moved to a device while its batches come from a loader or a constructor and were not,
    or the reverse.

    On a machine without that device both stay on the CPU and everything works. Where the device exists the call
    raises RuntimeError, "Expected all tensors to be on the same device".
    """

    category = Category.CORRECTNESS
    bad = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = nn.Linear(4, 1).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loader = DataLoader(TensorDataset(torch.randn(16, 4), torch.randn(16, 1)), batch_size=8, shuffle=True)
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)  # expect: device-mismatch
        loss.backward()
        optimizer.step()
    """
    good = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = nn.Linear(4, 1).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loader = DataLoader(TensorDataset(torch.randn(16, 4), torch.randn(16, 1)), batch_size=8, shuffle=True)
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "The collate function, a Trainer or Accelerate moves the batches.",
        "The device is the CPU, or nothing is moved at all.",
        "A default device is set, or the model dispatches its input itself (`device_map`).",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.Tensor.to.html",)

    def forward_use(self, use: ForwardUse) -> Iterator[Finding]:
        if use.framework is not None:
            return
        model, data = use.model.text, use.input_text or "the input"
        if use.model_device is not None and use.model_device.may_be_other_than_cpu and use.input_unmoved:
            state, moved, left = use.model_device, model, data
            unmoved_place, origin = use.input_place, "comes from here, on the CPU"
        elif use.input_device is not None and use.input_device.may_be_other_than_cpu and use.model_unmoved:
            state, moved, left = use.input_device, data, model
            unmoved_place, origin = use.model.place, "constructed here, on the CPU"
        else:
            return
        notes = {}
        if state.place is not None and state.place != use.place:
            notes[state.place] = Note(state.place, f"moved to `{state.device}` here")
        if unmoved_place is not None and unmoved_place != use.place:
            notes.setdefault(unmoved_place, Note(unmoved_place, origin))
        yield self.finding(
            at=use.place,
            message=f"`{moved}` is on `{state.device}`, `{left}` is still on the CPU",
            label=f"`{left}` is on the CPU here",
            related=notes.values(),
            why="where the device is not the CPU this call raises RuntimeError; on a machine without one it works",
            help=_help(state, left, is_model=left == model),
            group=(use.model.key, state.place),  # one missing move, however many calls suffer from it
            weight=int(use.backwarded),
        )


def _help(state: DeviceState, left: str, *, is_model: bool) -> str:
    # The device is an expression of the user (`device`, `args.device`) or the name of one (`cuda`, `cuda:0`).
    literal = state.device.partition(":")[0] in ("cuda", "mps", "xpu")
    device = f'"{state.device}"' if literal else state.device
    if is_model:
        return f"move the model too: {left}.to({device}), before its optimizer is made"
    return f"move every batch too: {left} = {left}.to({device})" if left.isidentifier() else "move every batch too"
