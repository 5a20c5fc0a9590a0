"""The tables about torch's names say what the installed torch does."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from modellint.facts.loss_use import Expects
from modellint.source.torch_api.frameworks import FRAMEWORKS, KNOWN_MODELS, framework_of
from modellint.source.torch_api.functions import (
    ACTIVATIONS,
    CREATORS,
    DROPOUTS,
    INIT_FUNCTIONS,
    METRIC_OPS,
    PURE_TENSOR_METHODS,
    SHAPE_OPS,
    SIGNATURES,
    TENSOR_METHODS,
    InitSpec,
)
from modellint.source.torch_api.layers import LAYERS, parameter_count, weight_shapes
from modellint.source.torch_api.losses import EXCLUDED as EXCLUDED_LOSSES
from modellint.source.torch_api.losses import LOSSES
from modellint.source.torch_api.module_methods import MODULE_METHODS
from modellint.source.torch_api.names import SAME, STANDS_FOR, canonical
from modellint.source.torch_api.optimizers import (
    DEVICES,
    OPTIMIZERS,
    RENAMED_DEVICES,
    SCALERS,
    SCHEDULERS,
)
from modellint.source.torch_api.optimizers import EXCLUDED as EXCLUDED_OPTIMIZERS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch warns that numpy is not there
    import torch
    from torch import nn
    from torch.overrides import get_testing_overrides

# torch also warns about its deprecated names; they are looked up here all the same.
pytestmark = pytest.mark.filterwarnings("ignore")

F = torch.nn.functional
TABLES = ROOT / "modellint" / "source" / "torch_api"


@cache
def resolve(dotted: str) -> Any:
    """What `from a.b import c` gives for `a.b.c`."""
    parts = dotted.split(".")
    for split in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for part in parts[split:]:
            found = getattr(found, part)
        return found
    raise AssertionError(dotted)


def exported_modules() -> list[str]:
    return [
        f"torch.nn.{name}"
        for name in dir(nn)
        if inspect.isclass(cls := getattr(nn, name)) and issubclass(cls, nn.Module) and cls is not nn.Module
    ]


def of_torch(*tables: Iterable[str]) -> list[str]:
    names: set[str] = set()
    for table in tables:
        names.update(name for name in table if name.startswith("torch."))
    return sorted(names)


# ------------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize("path", sorted(TABLES.glob("*.py")), ids=lambda path: path.stem)
def test_the_tables_import_no_torch(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {"torch", "libcst", "numpy"} & {name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    "name",
    of_torch(
        LAYERS, LOSSES, EXCLUDED_LOSSES, ACTIVATIONS, SHAPE_OPS, DROPOUTS, CREATORS, INIT_FUNCTIONS, SIGNATURES,
        OPTIMIZERS, SCHEDULERS, SCALERS, EXCLUDED_OPTIMIZERS, SAME.values(), STANDS_FOR.values(),
    ),
)  # fmt: skip
def test_every_name_exists(name: str) -> None:
    assert callable(resolve(name))


@pytest.mark.parametrize("name", of_torch(LAYERS, LOSSES, OPTIMIZERS, SCHEDULERS, SCALERS, SIGNATURES, ACTIVATIONS))
def test_names_in_tables_are_canonical(name: str) -> None:
    assert canonical(name) == name


@pytest.mark.parametrize(("alias", "name"), SAME.items())
def test_an_alias_is_the_same_object(alias: str, name: str) -> None:
    assert resolve(alias) is resolve(name)
    assert canonical(alias) == name


@pytest.mark.parametrize(("alias", "name"), STANDS_FOR.items())
def test_what_stands_for_another_exists(alias: str, name: str) -> None:
    assert callable(resolve(alias))
    assert resolve(alias) is not resolve(name)
    assert canonical(alias) == name


@pytest.mark.parametrize("name", [name for name in of_torch(LAYERS, OPTIMIZERS) if "NLLLoss2d" not in name])
def test_the_defining_module_is_an_alias(name: str) -> None:
    cls = resolve(name)
    assert inspect.isclass(cls)
    assert canonical(f"{cls.__module__}.{cls.__qualname__}") == name


@pytest.mark.parametrize(
    ("dotted", "name"),
    [
        ("torch.nn.modules.BatchNorm1d", "torch.nn.BatchNorm1d"),
        ("torch.functional.norm", "torch.norm"),
        ("torch.sigmoid", "torch.sigmoid"),
        ("torch.nn.functional.sigmoid", "torch.nn.functional.sigmoid"),
        ("torch.nn.modules.batchnorm._BatchNorm", "torch.nn.modules.batchnorm._BatchNorm"),
        ("torch.optim.swa_utils.AveragedModel", "torch.optim.swa_utils.AveragedModel"),
        ("torch.optim.lr_scheduler.StepLR", "torch.optim.lr_scheduler.StepLR"),
        ("torchvision.ops.focal_loss.sigmoid_focal_loss", "torchvision.ops.sigmoid_focal_loss"),
        ("torchvision.models.resnet.resnet18", "torchvision.models.resnet18"),
        ("torchvision.models.segmentation.fcn_resnet50", "torchvision.models.segmentation.fcn_resnet50"),
        ("torchvision.models.segmentation.fcn.fcn_resnet50", "torchvision.models.segmentation.fcn_resnet50"),
        ("torchtext.nn.modules.Linear", "torchtext.nn.modules.Linear"),
        ("numpy.zeros", "numpy.zeros"),
    ],
)
def test_canonical(dotted: str, name: str) -> None:
    assert canonical(dotted) == name


# ------------------------------------------------------------------------------------------------ layers


def test_every_exported_module_is_a_layer() -> None:
    assert sorted(LAYERS) == sorted(exported_modules())


# Their constructors are `*args, **kwargs`: built below.
FORWARDED = {"torch.nn.RNN", "torch.nn.LSTM", "torch.nn.GRU"}


def constant(value: object) -> bool:
    return value is None or value == () or isinstance(value, int | float | str | bool)


@pytest.mark.parametrize("name", sorted(set(LAYERS) - FORWARDED))
def test_constructors_have_the_signature_of_the_table(name: str) -> None:
    parameters = list(inspect.signature(resolve(name).__init__).parameters.values())[1:]
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    named.sort(key=lambda p: p.kind is p.KEYWORD_ONLY)
    assert LAYERS[name].signature == tuple(p.name for p in named)
    defaults = {p.name: p.default for p in named if p.default is not p.empty and constant(p.default)}
    assert LAYERS[name].defaults == defaults


def test_recurrent_constructors_have_the_signature_of_the_table() -> None:
    given = {
        "input_size": 3, "hidden_size": 4, "num_layers": 2, "nonlinearity": "relu", "bias": False, "batch_first": True,
        "dropout": 0.25, "bidirectional": True, "proj_size": 2,
    }  # fmt: skip
    for name in FORWARDED:
        spec = LAYERS[name]
        names = [argument for argument in spec.signature if argument not in ("device", "dtype")]
        layer = resolve(name)(*(given[argument] for argument in names))
        assert {argument: getattr(layer, argument) for argument in names} == {a: given[a] for a in names}
        plain = resolve(name)(3, 4)
        assert {a: getattr(plain, a) for a in names[2:]} == {a: spec.defaults[a] for a in names[2:]}
        for argument in set(given) - set(names):
            with pytest.raises((TypeError, ValueError)):
                resolve(name)(3, 4, **{argument: given[argument]})


FAMILIES: dict[str, tuple[type[nn.Module], ...]] = {
    "linear": (nn.Linear,),
    "bilinear": (nn.Bilinear,),
    "conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
    "conv_transpose": (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    "norm_running": (nn.modules.batchnorm._BatchNorm,),
    "norm_instance": (nn.modules.instancenorm._InstanceNorm,),
    "norm": (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm, nn.CrossMapLRN2d),
    "dropout": (nn.modules.dropout._DropoutNd,),
    "rrelu": (nn.RReLU,),
    "recurrent": (nn.RNNBase,),
    "recurrent_cell": (nn.RNNCellBase,),
    "attention": (nn.MultiheadAttention,),
    "transformer": (
        nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder, nn.TransformerEncoderLayer,
        nn.TransformerDecoderLayer,
    ),
    "embedding": (nn.Embedding, nn.EmbeddingBag),
    "container": (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict, nn.Container),
    "loss": (nn.modules.loss._Loss, nn.AdaptiveLogSoftmaxWithLoss, nn.LinearCrossEntropyLoss),
    "distance": (nn.CosineSimilarity, nn.PairwiseDistance),
    "other": (nn.DataParallel, nn.Fold),
}  # fmt: skip
BY_DEFINING_MODULE = {"torch.nn.modules.activation": "activation", "torch.nn.modules.pooling": "pool"}


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_families(name: str) -> None:
    cls = resolve(name)
    assert inspect.isclass(cls)
    expected = next((family for family, bases in FAMILIES.items() if issubclass(cls, bases)), None)
    assert LAYERS[name].family == (expected or BY_DEFINING_MODULE.get(cls.__module__, "shape"))


# Arguments for classes that need some, by class or by family.
NEEDED: dict[str, dict[str, object]] = {
    "torch.nn.AdaptiveLogSoftmaxWithLoss": {"in_features": 4, "n_classes": 8, "cutoffs": [3, 5]},
    "torch.nn.LinearCrossEntropyLoss": {"in_features": 4, "num_classes": 8},
    "torch.nn.TransformerEncoder": {"encoder_layer": nn.TransformerEncoderLayer(8, 2), "num_layers": 1},
    "torch.nn.TransformerDecoder": {"decoder_layer": nn.TransformerDecoderLayer(8, 2), "num_layers": 1},
    "torch.nn.RNNBase": {"mode": "GRU", "input_size": 3, "hidden_size": 4},
    "torch.nn.RNNCellBase": {"input_size": 3, "hidden_size": 4, "bias": True, "num_chunks": 4},
    "torch.nn.DataParallel": {"module": nn.Identity()},
    "torch.nn.Fold": {"output_size": (4, 5), "kernel_size": (2, 2)},
    "torch.nn.Unfold": {"kernel_size": 2},
    "torch.nn.Unflatten": {"dim": 1, "unflattened_size": (2, 2)},
    "torch.nn.Threshold": {"threshold": 0.1, "value": 20.0},
    "torch.nn.GroupNorm": {"num_groups": 2, "num_channels": 6},
    "torch.nn.MultiheadAttention": {"embed_dim": 8, "num_heads": 2},
    "torch.nn.Bilinear": {"in1_features": 2, "in2_features": 3, "out_features": 4},
    "torch.nn.PixelShuffle": {"upscale_factor": 2},
    "torch.nn.PixelUnshuffle": {"downscale_factor": 2},
    "torch.nn.ChannelShuffle": {"groups": 2},
    "torch.nn.FractionalMaxPool2d": {"kernel_size": 2, "output_size": 3},
    "torch.nn.FractionalMaxPool3d": {"kernel_size": 2, "output_size": 3},
    "torch.nn.LocalResponseNorm": {"size": 2},
    "torch.nn.CrossMapLRN2d": {"size": 2},
}
BY_PARAMETER: dict[str, object] = {
    "in_features": 6, "out_features": 4, "in_channels": 6, "out_channels": 4, "kernel_size": 2, "num_features": 6,
    "normalized_shape": 6, "num_embeddings": 7, "embedding_dim": 3, "input_size": 3, "hidden_size": 4, "padding": 1,
    "output_size": 2, "norm_type": 2.0, "value": 0.5, "d_model": 8, "nhead": 2,
}  # fmt: skip


def arguments(name: str) -> dict[str, object]:
    spec = LAYERS[name]
    if name in NEEDED:
        return NEEDED[name]
    optional = {*spec.defaults, "activation"}
    return {argument: BY_PARAMETER[argument] for argument in spec.signature if argument not in optional}


def built(name: str, given: dict[str, object]) -> nn.Module:
    layer = resolve(name)(**given)
    assert isinstance(layer, nn.Module)
    return layer


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_parametric(name: str) -> None:
    layer = built(name, arguments(name))
    assert LAYERS[name].parametric == any(True for _ in layer.parameters())


# Shapes that need more than constants: other modules, or sizes seen at the first forward.
SHAPES_UNKNOWN = {
    "torch.nn.AdaptiveLogSoftmaxWithLoss", "torch.nn.LinearCrossEntropyLoss", "torch.nn.TransformerEncoder",
    "torch.nn.TransformerDecoder", "torch.nn.ParameterList", "torch.nn.ParameterDict",
    *(name for name in LAYERS if ".Lazy" in name),
}  # fmt: skip
MORE: list[tuple[str, dict[str, object]]] = [
    ("Linear", {"in_features": 3, "out_features": 5, "bias": False}),
    ("Linear", {"in_features": 3, "out_features": 5, "bias": None}),
    ("Bilinear", {"in1_features": 2, "in2_features": 3, "out_features": 4, "bias": False}),
    ("Conv1d", {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "stride": 2, "padding": 1}),
    ("Conv2d", {"in_channels": 4, "out_channels": 8, "kernel_size": (3, 5), "groups": 4, "bias": False}),
    ("Conv2d", {"in_channels": 6, "out_channels": 6, "kernel_size": [1, 2], "groups": 6}),
    ("Conv3d", {"in_channels": 1, "out_channels": 2, "kernel_size": (1, 2, 3), "padding_mode": "circular"}),
    ("ConvTranspose1d", {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "groups": 2}),
    ("ConvTranspose2d", {"in_channels": 4, "out_channels": 6, "kernel_size": (3, 2), "bias": False}),
    ("ConvTranspose3d", {"in_channels": 4, "out_channels": 6, "kernel_size": 2, "dilation": 2}),
    ("BatchNorm1d", {"num_features": 5, "affine": False}),
    ("BatchNorm2d", {"num_features": 5, "track_running_stats": False, "momentum": None}),
    ("BatchNorm3d", {"num_features": 5, "bias": False}),
    ("SyncBatchNorm", {"num_features": 5}),
    ("InstanceNorm1d", {"num_features": 5, "affine": True}),
    ("InstanceNorm2d", {"num_features": 5, "affine": True, "bias": False}),
    ("InstanceNorm3d", {"num_features": 5, "track_running_stats": True}),
    ("GroupNorm", {"num_groups": 2, "num_channels": 4, "affine": False}),
    ("GroupNorm", {"num_groups": 2, "num_channels": 4, "bias": False}),
    ("LayerNorm", {"normalized_shape": (3, 4)}),
    ("LayerNorm", {"normalized_shape": [3], "bias": False}),
    ("LayerNorm", {"normalized_shape": 3, "elementwise_affine": False}),
    ("RMSNorm", {"normalized_shape": (3, 4)}),
    ("RMSNorm", {"normalized_shape": 3, "elementwise_affine": False}),
    ("Embedding", {"num_embeddings": 7, "embedding_dim": 2, "padding_idx": 0}),
    ("EmbeddingBag", {"num_embeddings": 7, "embedding_dim": 2, "mode": "sum"}),
    ("PReLU", {"num_parameters": 9}),
    ("RNN", {"input_size": 3, "hidden_size": 4, "nonlinearity": "relu", "bidirectional": True}),
    ("RNN", {"input_size": 3, "hidden_size": 4, "num_layers": 3, "bias": False}),
    ("GRU", {"input_size": 3, "hidden_size": 4, "num_layers": 2, "bidirectional": True, "dropout": 0.5}),
    ("LSTM", {"input_size": 3, "hidden_size": 4, "num_layers": 2, "bidirectional": True, "proj_size": 2}),
    ("LSTM", {"input_size": 3, "hidden_size": 4, "num_layers": 2, "proj_size": 3, "bias": False}),
    ("RNNBase", {"mode": "RNN_TANH", "input_size": 3, "hidden_size": 4}),
    ("RNNBase", {"mode": "LSTM", "input_size": 3, "hidden_size": 4, "num_layers": 2}),
    ("RNNCell", {"input_size": 3, "hidden_size": 4, "bias": False}),
    ("GRUCell", {"input_size": 3, "hidden_size": 4}),
    ("LSTMCell", {"input_size": 3, "hidden_size": 4}),
    ("RNNCellBase", {"input_size": 3, "hidden_size": 4, "bias": False, "num_chunks": 2}),
    ("MultiheadAttention", {"embed_dim": 8, "num_heads": 2, "bias": False}),
    ("MultiheadAttention", {"embed_dim": 8, "num_heads": 2, "add_bias_kv": True, "dropout": 0.1}),
    ("MultiheadAttention", {"embed_dim": 8, "num_heads": 2, "kdim": 6}),
    ("MultiheadAttention", {"embed_dim": 8, "num_heads": 2, "kdim": 6, "vdim": 4, "bias": False}),
    ("MultiheadAttention", {"embed_dim": 8, "num_heads": 2, "kdim": 8, "vdim": 8}),
    ("TransformerEncoderLayer", {"d_model": 8, "nhead": 2, "dim_feedforward": 16}),
    ("TransformerDecoderLayer", {"d_model": 8, "nhead": 2, "dim_feedforward": 16, "bias": False}),
    ("Transformer", {"d_model": 8, "nhead": 2, "num_encoder_layers": 1, "num_decoder_layers": 2, "dim_feedforward": 4}),
    ("Transformer", {"d_model": 8, "nhead": 2, "num_encoder_layers": 2, "num_decoder_layers": 1, "bias": False}),
]


SHAPE_CASES = [(name, arguments(name)) for name in sorted(set(LAYERS) - SHAPES_UNKNOWN)]
SHAPE_CASES += [(f"torch.nn.{short}", given) for short, given in MORE]


@pytest.mark.parametrize(("name", "given"), SHAPE_CASES)
def test_shapes_are_those_of_the_real_parameters(name: str, given: dict[str, object]) -> None:
    layer = built(name, given)
    shapes = {key: tuple(parameter.shape) for key, parameter in layer.named_parameters()}
    assert weight_shapes(name, given) == shapes
    assert parameter_count(name, given) == sum(parameter.numel() for parameter in layer.parameters())


@pytest.mark.parametrize("name", sorted(SHAPES_UNKNOWN))
def test_shapes_that_constants_do_not_tell(name: str) -> None:
    assert weight_shapes(name, arguments(name)) is None
    assert parameter_count(name, arguments(name)) is None


# They divide the work, not the parameters.
NO_SIZES = frozenset({"num_groups", "num_heads", "nhead"})


@pytest.mark.parametrize("name", sorted(n for n, spec in LAYERS.items() if spec.parametric and n not in SHAPES_UNKNOWN))
def test_an_argument_that_was_not_followed_makes_the_shapes_unknown(name: str) -> None:
    given = arguments(name)
    assert weight_shapes(name, given)
    followed = {*given, *({"bias", "affine", "kdim", "proj_size", "groups"} & set(LAYERS[name].signature))} - NO_SIZES
    for argument in followed:
        assert weight_shapes(name, {**given, argument: object()}) is None, argument


def test_shapes_of_what_torch_refuses_are_unknown() -> None:
    sizes: dict[str, object] = {"in_channels": 5, "out_channels": 4, "kernel_size": 3}
    assert weight_shapes("torch.nn.Conv2d", sizes) is not None
    assert weight_shapes("torch.nn.Conv2d", {**sizes, "groups": 2}) is None
    assert weight_shapes("torch.nn.Conv2d", {**sizes, "kernel_size": (1, 2, 3)}) is None
    assert weight_shapes("torch.nn.Linear", {"in_features": True, "out_features": 4}) is None
    assert weight_shapes("torch.nn.NoSuchLayer", {}) is None
    assert weight_shapes("torch.nn.Transformer", {"custom_encoder": object()}) is None


# ------------------------------------------------------------------------------------------------ kinds of output


def of_kind(kind: str, result: torch.Tensor, dim: int) -> bool:
    """Whether a result has what its kind promises."""
    if kind == "sigmoid":
        return bool(((result >= 0) & (result <= 1)).all())
    if kind == "softmax":
        return bool((result >= 0).all()) and torch.allclose(result.sum(dim), torch.ones(()))
    if kind == "log_softmax":
        return torch.allclose(result.exp().sum(dim), torch.ones(()))
    if kind == "non_negative":
        return bool((result >= 0).all())
    if kind == "tanh":
        return bool((result.abs() <= 1).all()) and bool((result < 0).any())
    raise AssertionError(kind)


KINDS = ("sigmoid", "softmax", "log_softmax", "non_negative", "tanh")


def scores() -> torch.Tensor:
    return torch.randn(64, 7, generator=torch.Generator().manual_seed(0)) * 5


def kinds_of(result: torch.Tensor) -> set[str]:
    return {kind for kind in KINDS if of_kind(kind, result, 1)}


def activated(name: str) -> Any:
    value = scores()
    if name.startswith("torch.Tensor."):
        bound = getattr(value, name.rpartition(".")[2])
        if "softmax" in name:
            return bound(1)
        return bound(torch.tensor(0.25)) if name.endswith("prelu") else bound()
    function = resolve(name)
    assert callable(function)
    last = name.rpartition(".")[2]
    if last == "prelu":
        return function(value, torch.tensor(0.25))
    if last in ("softmax", "log_softmax", "softmin", "gumbel_softmax"):
        return function(value, dim=1)
    if last.startswith("threshold"):
        return function(value, 0.1, -20.0)
    if last == "glu":
        return function(value[:, :6])
    return function(value)


# With default arguments: other bounds, and samples, are not covered by it. exp is no activation.
PROMISE_MORE = frozenset({"hardtanh", "hardtanh_", "gumbel_softmax", "exp", "exp_"})


INVERSES = {"exp": ("log_softmax", "softmax"), "log": ("softmax", "log_softmax")}


@pytest.mark.parametrize(("name", "kind"), sorted((n, k) for n, k in ACTIVATIONS.items() if k in INVERSES))
def test_what_leads_from_one_kind_to_another(name: str, kind: str) -> None:
    before, after = INVERSES[kind]
    value = getattr(torch, before)(scores(), 1)
    function = resolve(name)
    assert callable(function)
    result = function(value)
    assert of_kind(after, result, 1)


@pytest.mark.parametrize(("name", "kind"), sorted(ACTIVATIONS.items()))
def test_activations_do_what_their_kind_says(name: str, kind: str) -> None:
    result = activated(name)
    if kind in ("other", *INVERSES):
        assert not kinds_of(result) or name.rpartition(".")[2] in PROMISE_MORE
    else:
        assert of_kind(kind, result, 1)


def test_a_value_with_a_narrower_kind_is_not_filed_under_a_wider_one() -> None:
    for name, kind in ACTIVATIONS.items():
        if kind in ("non_negative", "tanh"):
            assert not {"sigmoid", "softmax"} & kinds_of(activated(name)), name
        if kind == "sigmoid":
            assert "softmax" not in kinds_of(activated(name)), name


@pytest.mark.parametrize("name", sorted(name for name, spec in LAYERS.items() if spec.output in KINDS))
def test_activation_layers_do_what_their_kind_says(name: str) -> None:
    spec = LAYERS[name]
    given: dict[str, object] = {"dim": 1} if "dim" in spec.signature else {}
    value = scores().reshape(64, 7, 1, 1) if name.endswith("2d") else scores()
    assert spec.output is not None
    assert of_kind(spec.output, built(name, given)(value), 1)


def test_activation_layers_agree_with_their_functions() -> None:
    pairs = 0
    for name, spec in LAYERS.items():
        function = f"torch.nn.functional.{name.rpartition('.')[2].lower()}"
        if spec.family == "activation" and function in ACTIVATIONS:
            assert ACTIVATIONS[function] == spec.output, name
            pairs += 1
    assert pairs > 15


SHAPES_BY_LAYER: dict[str, tuple[int, ...]] = {
    "torch.nn.Unflatten": (2, 4, 3), "torch.nn.PixelShuffle": (1, 8, 4, 4), "torch.nn.PixelUnshuffle": (1, 2, 4, 4),
    "torch.nn.ChannelShuffle": (1, 4, 4, 4), "torch.nn.Unfold": (1, 2, 4, 4),
    "torch.nn.UpsamplingBilinear2d": (1, 2, 4, 4), "torch.nn.UpsamplingNearest2d": (1, 2, 4, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(name for name, spec in LAYERS.items() if spec.output == "transparent"))
def test_transparent_layers_keep_values_in_range(name: str) -> None:
    given = dict(arguments(name))
    if "Upsampl" in name:
        given["scale_factor"] = 2
    digit = int(name[-2]) if name[-1] == "d" and name[-2].isdigit() else 1
    value = torch.rand(SHAPES_BY_LAYER.get(name, (1, 2, *(4,) * digit)))
    result = built(name, given).eval()(value)
    assert of_kind("sigmoid", result, 1)
    assert result.numel() >= value.numel()


SHAPE_ARGUMENTS: dict[str, tuple[object, ...]] = {
    "resize": (4, 3),
    "unsqueeze": (0,), "unsqueeze_": (0,), "unflatten": (1, (2, 2)), "permute": ((1, 0),), "transpose": (0, 1),
    "transpose_": (0, 1), "swapaxes": (0, 1), "swapaxes_": (0, 1), "swapdims": (0, 1), "swapdims_": (0, 1),
    "movedim": (0, 1), "moveaxis": (0, 1), "reshape": ((4, 3),), "view": (4, 3), "view_as": (torch.zeros(2, 6),),
    "reshape_as": (torch.zeros(2, 6),), "broadcast_to": ((2, 3, 4),), "flip": ((0,),), "roll": (1,), "tile": ((2,),),
    "expand": (2, 3, 4), "expand_as": (torch.zeros(2, 3, 4),), "repeat": (2, 1), "type_as": (torch.zeros(1).double(),),
    "to": (torch.float64,), "type": (torch.float64,), "pad": ((1, 1), "replicate"), "interpolate": (None, 2),
    "upsample": (None, 2), "upsample_nearest": (None, 2), "upsample_bilinear": (None, 2), "pixel_shuffle": (2,),
    "pixel_unshuffle": (2,), "channel_shuffle": (2,),
}  # fmt: skip
FOUR_AXES = {"interpolate", "upsample", "upsample_nearest", "upsample_bilinear"} | {
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(SHAPE_OPS))
def test_shape_operations_keep_values_in_range(name: str) -> None:
    last = name.rpartition(".")[2]
    if last in ("cuda", "pin_memory"):
        assert last in TENSOR_METHODS  # needs an accelerator
        return
    value = torch.rand(1, 4, 4, 4) if last in FOUR_AXES else torch.rand(3, 4)
    values = set(value.reshape(-1).tolist())
    given = SHAPE_ARGUMENTS.get(last, ())
    if name.startswith("torch.Tensor."):
        assert last in TENSOR_METHODS
        result = getattr(value, last)(*given)
    else:
        result = resolve(name)(value, *given)
    assert isinstance(result, torch.Tensor)
    assert of_kind("sigmoid", result, 1)
    if result.dtype is torch.float32 and "bilinear" not in last:
        assert set(result.reshape(-1).tolist()) == values


# ------------------------------------------------------------------------------------------------ losses


def test_every_loss_of_torch_is_in_the_table() -> None:
    classes = {name for name, spec in LAYERS.items() if spec.family == "loss"}
    functions = {
        f"torch.nn.functional.{name}"
        for name in dir(F)
        if name.endswith(("_loss", "cross_entropy", "kl_div", "_with_logits")) and not name.startswith("_")
    }
    assert len(functions) > 20
    assert classes | functions == {name for name in {*LOSSES, *EXCLUDED_LOSSES} if name.startswith("torch.nn.")}
    assert not set(LOSSES) & set(EXCLUDED_LOSSES)


@pytest.mark.parametrize("name", of_torch(LOSSES))
def test_losses_take_the_tensors_of_the_table(name: str) -> None:
    spec = LOSSES[name]
    if name not in LAYERS:
        assert names_of(name)[: len(spec.signature)] == spec.signature
        assert spec.constructor == ()
        assert spec.functional_twin is None
        return
    forward = inspect.signature(resolve(name).forward)
    assert tuple(forward.parameters)[1:] == spec.signature
    assert spec.constructor == LAYERS[name].signature
    assert spec.functional_twin is not None
    twin = LOSSES[spec.functional_twin]
    assert (twin.expects, len(twin.signature)) == (spec.expects, len(spec.signature))


def test_what_losses_expect() -> None:
    """Each contract, as the number that the loss gives."""
    one = torch.ones(1)
    large = torch.tensor([40.0])
    for name, spec in LOSSES.items():
        if name not in LAYERS or spec.expects is not Expects.BINARY_LOGITS:
            continue
        loss = built(name, {})
        value = (large[None], one[None]) if "MultiLabel" in name else (large, one)
        assert float(loss(*value)) < 1e-6  # a large raw score is a sure one: sigmoid is inside
        assert float(loss(value[1], value[1])) == pytest.approx(0.3133, abs=1e-4)  # and probability 1 is not
    scores = torch.tensor([[0.0, 40.0]])
    target = torch.tensor([1])
    assert float(nn.CrossEntropyLoss()(scores, target)) < 1e-6
    assert float(nn.CrossEntropyLoss()(torch.tensor([[0.0, 1.0]]), target)) == pytest.approx(0.3133, abs=1e-4)
    assert LOSSES["torch.nn.CrossEntropyLoss"].expects is Expects.CLASS_LOGITS
    assert float(nn.NLLLoss()(scores, target)) == -40.0
    assert LOSSES["torch.nn.NLLLoss"].expects is Expects.LOG_PROBABILITIES
    with pytest.raises(RuntimeError):
        nn.BCELoss()(large, one)
    assert LOSSES["torch.nn.BCELoss"].expects is Expects.PROBABILITIES
    for name, spec in LOSSES.items():
        if name in LAYERS and spec.expects is Expects.RAW:
            assert float(built(name, {})(large, large)) == 0.0


# ------------------------------------------------------------------------------------------------ functions


def names_of(dotted: str) -> tuple[str, ...]:
    """Positional parameter names: from the signature, else from the first signature in the documentation."""
    function = resolve(dotted)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    method = dotted.startswith(("torch.Tensor.", "torch.nn.Module."))
    if parameters and not any(p.kind is p.VAR_POSITIONAL and index == 0 for index, p in enumerate(parameters)):
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return tuple(p.name for p in parameters if p.kind in kinds)[method:]
    last = dotted.rpartition(".")[2]
    documented = [
        tuple(word for part in _split(text) if (word := re.split(r"[:=\s]", part.strip())[0]).isidentifier())
        for text in re.findall(rf"(?<![\w.]){last}\(((?:[^()]|\([^()]*\))*)\)", (inspect.getdoc(function) or ""))
    ]
    if documented:
        return max(documented[:3], key=len)
    override = get_testing_overrides().get(function)
    return tuple(inspect.signature(override).parameters) if override is not None else ()


def _split(text: str) -> list[str]:
    parts = re.split(r",(?![^(\[]*[)\]])", text)
    for index, part in enumerate(parts):
        if part.strip().startswith("*"):
            return parts[:index]
    return parts


# Without a signature that can be read: bound by calling them.
BOUND_BY_CALL: dict[str, tuple[object, ...]] = {
    "torch.device": ("cuda", 1),
    "torch.softmax": (torch.ones(3), 0, torch.float64),
    "torch.dropout_": (torch.ones(3), 0.5, False),
    "torch.alpha_dropout_": (torch.ones(3), 0.5, False),
    "torch.log_softmax": (torch.ones(3), 0, torch.float64),
}


@pytest.mark.parametrize("name", sorted(set(SIGNATURES) - set(BOUND_BY_CALL)))
def test_signatures(name: str) -> None:
    names = names_of(name)
    assert names[: len(SIGNATURES[name])] == SIGNATURES[name]


@pytest.mark.parametrize(("name", "given"), BOUND_BY_CALL.items())
def test_signatures_by_call(name: str, given: tuple[object, ...]) -> None:
    function = resolve(name)
    assert callable(function)
    by_name = function(**dict(zip(SIGNATURES[name], given, strict=True)))
    by_position = function(*given)
    assert torch.equal(by_name, by_position) if isinstance(by_name, torch.Tensor) else by_name == by_position


# Plumbing of torch.nn.functional, and functions for low precision that no model code calls.
NO_FUNCTIONALS = re.compile(
    r"assert_int_or_pair|boolean_dispatch|conv_tbc|native_channel_shuffle|handle_torch_function|has_torch_function.*"
    r"|.*_with_indices|grouped_mm|scaled_mm|scaled_grouped_mm"
)


def test_every_public_functional_has_a_signature() -> None:
    public = {name for name in dir(F) if inspect.isroutine(getattr(F, name)) and not name.startswith("_")}
    listed = {name.rpartition(".")[2] for name in SIGNATURES if name.startswith("torch.nn.functional.")}
    assert {name for name in public if not NO_FUNCTIONALS.fullmatch(name)} == listed


@pytest.mark.parametrize("name", of_torch(DROPOUTS))
def test_functional_dropouts(name: str) -> None:
    spec = DROPOUTS[name]
    assert SIGNATURES.get(name, spec.signature) == spec.signature
    assert spec.switch in spec.signature
    function = resolve(name)
    assert callable(function)
    value = torch.ones(8, 64, 4)

    def drops(**given: object) -> bool:
        torch.manual_seed(0)
        arguments = dict(zip(spec.signature, (value.clone(), 0.5), strict=False)) | given
        if spec.default is None:
            return not torch.equal(function(*arguments.values()), value)
        return not torch.equal(function(**arguments), value)

    assert drops(**{spec.switch: True})
    assert not drops(**{spec.switch: False})
    if spec.default is not None:
        assert drops() == spec.default
        assert inspect.signature(function).parameters[spec.switch].default is spec.default
    else:
        with pytest.raises(TypeError):
            function(value.clone(), 0.5)


CREATOR_ARGUMENTS: dict[str, tuple[object, ...]] = {
    "tensor": ([1.0],), "as_tensor": ([1.0],), "asarray": ([1.0],), "scalar_tensor": (1.0,), "arange": (3,),
    "range": (0, 3), "linspace": (0, 1, 3), "logspace": (0, 1, 3), "eye": (2,), "randperm": (3,), "full": ((2,), 1.0),
    "randint": (3, (2,)), "normal": (0.0, 1.0, (2,)), "empty_strided": ((2,), (1,)), "tril_indices": (2, 2),
    "triu_indices": (2, 2), "full_like": (torch.zeros(2), 1.0), "randint_like": (torch.zeros(2), 3),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CREATORS))
def test_creators_make_tensors_on_the_cpu(name: str) -> None:
    last = name.rpartition(".")[2]
    if last == "from_numpy":
        assert callable(torch.from_numpy)  # numpy is no dependency
        return
    if last == "frombuffer":
        result = torch.frombuffer(bytearray(8), dtype=torch.uint8)
    elif last.endswith("_like") and last not in CREATOR_ARGUMENTS:
        result = resolve(name)(torch.zeros(2))
    else:
        result = resolve(name)(*CREATOR_ARGUMENTS.get(last, (2,)))
    assert isinstance(result, torch.Tensor)
    assert result.device.type == "cpu"


@pytest.mark.parametrize(("name", "spec"), list(INIT_FUNCTIONS.items()))
def test_initialisers_leave_what_the_table_says(name: str, spec: InitSpec) -> None:
    function = resolve(name)
    assert callable(function)
    weight = torch.full((4, 4, 3) if name.endswith("dirac_") else (4, 4), 0.123)
    extra: tuple[object, ...] = ()
    if spec.parameter is not None:
        extra = (0.75,)
        by_name = function(weight.clone(), **{spec.parameter: 0.75})
        assert bool((by_name == 0.75).all())
        assert spec.position == 1
    elif name.endswith(("sparse_", "geometric_")):
        extra = (0.5,)
    torch.manual_seed(0)
    function(weight, *extra)
    if spec.random:
        assert len(set(weight.flatten().tolist())) > 1
        first = weight.clone()
        torch.manual_seed(1)
        function(weight, *extra)
        assert not torch.equal(first, weight)
    elif spec.constant is not None or spec.parameter is not None:
        assert bool((weight == (spec.constant if spec.constant is not None else 0.75)).all())
    else:
        assert len(set(weight.flatten().tolist())) > 1


def test_every_initialiser_is_in_the_table() -> None:
    public = {f"torch.nn.init.{n}" for n in dir(torch.nn.init) if n.endswith("_") and not n.startswith("_")}
    assert public == {name for name in INIT_FUNCTIONS if name.startswith("torch.nn.init.")}


def test_every_tensor_method_is_in_the_table() -> None:
    public = {n for n in dir(torch.Tensor) if not n.startswith("_") and inspect.isroutine(getattr(torch.Tensor, n))}
    assert public == TENSOR_METHODS
    assert TENSOR_METHODS >= METRIC_OPS
    assert PURE_TENSOR_METHODS < TENSOR_METHODS


def test_pure_methods_return_tensors_and_change_nothing() -> None:
    checked = 0
    for name in sorted(PURE_TENSOR_METHODS):
        value = torch.rand(3, 3)
        before = value.clone()
        try:
            result = getattr(value, name)()
        except (TypeError, RuntimeError, AssertionError, NotImplementedError, ValueError):
            continue  # needs arguments, an accelerator or a sparse tensor
        results = result if isinstance(result, tuple | list) else (result,)
        assert all(isinstance(part, torch.Tensor | str) for part in results), name
        assert value._version == 0, name
        assert torch.equal(value, before), name
        checked += 1
    assert checked > 100
    assert not {"backward", "requires_grad_", "retain_grad", "register_hook", "item"} & PURE_TENSOR_METHODS


# ------------------------------------------------------------------------------------------------ optimizers, devices


def test_every_optimizer_and_scheduler_of_torch_is_in_the_table() -> None:
    optimizers = {
        f"torch.optim.{name}"
        for name in dir(torch.optim)
        if inspect.isclass(cls := getattr(torch.optim, name)) and issubclass(cls, torch.optim.Optimizer)
    }
    own = {name for name in OPTIMIZERS if name.startswith("torch.optim.")}
    assert optimizers == own | {name for name in EXCLUDED_OPTIMIZERS if name.count(".") == 2}
    schedules = torch.optim.lr_scheduler
    schedulers = {
        f"torch.optim.lr_scheduler.{name}"
        for name in dir(schedules)
        if name[0] != "_"
        and inspect.isclass(cls := getattr(schedules, name))
        and issubclass(cls, schedules.LRScheduler)
    }
    named = {name for name in {*SCHEDULERS, *EXCLUDED_OPTIMIZERS} if ".lr_scheduler." in name}
    assert schedulers == named
    assert issubclass(torch.optim.swa_utils.SWALR, schedules.LRScheduler)


def test_torch_takes_every_device_of_the_table() -> None:
    for name in DEVICES - RENAMED_DEVICES:
        assert torch.device(name).type == name
    with pytest.raises(RuntimeError) as refused:
        torch.device("gpu")
    listed = re.search(r"one of (.+?) device type", str(refused.value))
    assert listed is not None
    assert set(listed[1].split(", ")) == DEVICES - RENAMED_DEVICES


def test_no_renamed_device_is_one_of_torch_itself() -> None:
    for name in RENAMED_DEVICES:
        with pytest.raises(RuntimeError):
            torch.device(name)


# ------------------------------------------------------------------------------------------------ frameworks


@pytest.mark.parametrize(
    ("dotted", "name", "drives", "is_module"),
    [
        ("pytorch_lightning.LightningModule", "lightning", True, True),
        ("lightning.pytorch.LightningModule", "lightning", True, True),
        ("lightning.LightningDataModule", "lightning", True, False),
        ("pytorch_lightning.callbacks.Callback", "lightning", True, False),
        ("transformers.Trainer", "transformers", True, False),
        ("transformers.BertPreTrainedModel", "transformers", False, True),
        ("transformers.RobertaForSequenceClassification", "transformers", False, True),
        ("transformers.DataCollatorForLanguageModeling", "transformers", False, False),
        ("transformers.PretrainedConfig", "transformers", False, False),
        ("mmengine.model.BaseModel", "mmengine", True, True),
        ("mmengine.hooks.Hook", "mmengine", True, False),
        ("torchmetrics.Metric", "torchmetrics", False, True),
        ("torch_geometric.nn.MessagePassing", "torch_geometric", False, True),
        ("torch_geometric.nn.GCNConv", "torch_geometric", False, True),
        ("torch_geometric.nn.global_mean_pool", "torch_geometric", False, False),
        ("torch_geometric.data.InMemoryDataset", "torch_geometric", False, False),
        ("torchvision.models.ResNet", "torchvision", False, True),
        ("torchvision.datasets.MNIST", "torchvision", False, False),
        ("accelerate.Accelerator", "accelerate", False, False),
    ],
)
def test_frameworks(dotted: str, name: str, drives: bool, is_module: bool) -> None:
    framework = framework_of(dotted)
    assert framework is not None
    assert (framework.name, framework.drives(dotted), framework.is_module(dotted)) == (name, drives, is_module)


def test_what_is_no_framework() -> None:
    assert framework_of("torch.nn.Module") is None
    assert framework_of("lightningcss.Thing") is None


def test_lightning_calls_these_methods() -> None:
    for root in ("pytorch_lightning", "lightning"):
        assert {"training_step", "validation_step", "test_step", "predict_step"} <= FRAMEWORKS[root].hooks
        assert "configure_optimizers" in FRAMEWORKS[root].hooks


def test_known_models() -> None:
    for name, model in KNOWN_MODELS.items():
        assert canonical(name) == name
        assert model.detector == name.startswith("torchvision.models.detection.")
        assert not (model.detector and not model.mode_dependent)
    assert KNOWN_MODELS["torchvision.models.resnet18"].mode_dependent is True
    assert KNOWN_MODELS["torchvision.models.vit_b_16"].mode_dependent is False
    assert KNOWN_MODELS["timm.create_model"].mode_dependent is None


def test_every_method_of_the_table_is_one_of_a_module() -> None:
    owners = (torch.nn.Module, torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ModuleDict)
    missing = {name for name in MODULE_METHODS if not any(hasattr(owner, name) for owner in owners)}
    assert not missing
