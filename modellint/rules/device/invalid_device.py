"""invalid-device."""

from __future__ import annotations

import re

from modellint.facts.torch_call import UNKNOWN, Argument
from modellint.rule import Category, Finding, Iterator, Rule, TorchCall

_TYPES = frozenset(
    (
        *("cpu", "cuda", "mps", "xpu", "meta", "hpu", "npu", "xla", "privateuseone", "ipu", "hip", "mtia", "maia"),
        *("vulkan", "ve", "fpga", "lazy", "mlu", "musa", "opengl", "opencl", "ideep", "mkldnn"),
    )
)
_ARMS = re.compile(r"""(['"])(?P<yes>[^'"]*)\1\s+if\s+.+\s+else\s+(['"])(?P<no>[^'"]*)\3""", re.DOTALL)
_FORM = re.compile(r"([A-Za-z]+)[\s:_-]*(\d*)")
_ALSO_MEANT = {"gpu": "cuda", "nvidia": "cuda"}


class InvalidDevice(Rule):
    """A device string that torch does not know.

    `'gpu'`, `'cuda0'`, `'CUDA'` and the like, given to torch.device, `.to(...)` or `device=`.

    torch raises RuntimeError where the string is used. That is usually the branch for machines with an accelerator,
    so the program works on the author's machine and fails on the one that matters.
    """

    category = Category.CORRECTNESS
    bad = """
    import torch

    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("gpu")  # expect: invalid-device
    """
    good = """
    import torch

    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda")
    """
    fine_when = (
        "Another library's own name: `accelerator='gpu'` of Lightning, devices of TensorFlow and JAX.",
        "A backend that registered its own name.",
    )
    references = ("docs.pytorch.org/docs/stable/tensor_attributes.html#torch.device",)

    def torch_call(self, call: TorchCall) -> Iterator[Finding]:
        names = {"device", "map_location"}
        if call.name == "torch.device":
            names |= {"type", "*0"}
        elif call.name.endswith((".to", ".cuda")):
            names |= {"*0"}
        for argument in call.arguments:
            if argument.name not in names:
                continue
            given, meant = next(((text, _meant(text)) for text in _texts(argument) if _meant(text)), ("", None))
            if meant is None:
                continue
            yield self.finding(
                at=argument.place,
                message=f'torch knows no device `"{given}"`',
                label=f'"{meant}" is meant' if given.lower() != "gpu" else f'torch calls it "{meant}"',
                why="torch raises RuntimeError here, on the machine where this line is reached",
                help=f'write "{meant}"',
                group=None if given in argument.text else (given, argument.place.path),
            )


def _texts(argument: Argument) -> list[str]:
    """The strings that may arrive here: the constant, or both arms of `"x" if test else "y"`."""
    if argument.options or isinstance(argument.constant, str):
        return [option for option in (*argument.options, argument.constant) if isinstance(option, str)]
    arms = _ARMS.fullmatch(argument.text.strip()) if argument.constant is UNKNOWN else None
    return [arms["yes"], arms["no"]] if arms else []


def _meant(constant: str) -> str | None:
    """The right spelling of a string that torch refuses, None for a right one and for one that means nothing here."""
    form = _FORM.fullmatch(constant.strip())
    if form is None:
        return None
    kind, index = form.group(1).lower(), form.group(2)
    kind = _ALSO_MEANT.get(kind, kind)
    meant = f"{kind}:{index}" if index else kind
    return meant if kind in _TYPES and meant != constant else None
