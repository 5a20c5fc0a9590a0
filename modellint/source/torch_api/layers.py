"""The layers of `torch.nn`: constructor signatures, what kind of layer each is, what its output is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import prod

from modellint.facts.record import record

Shapes = dict[str, tuple[int, ...]]
"""Parameter name (`weight`, `out_proj.bias`) -> shape."""


@record
class LayerSpec:
    """One class of `torch.nn`."""

    signature: tuple[str, ...]
    """Parameter names of the constructor, in order; those that only bind by keyword come last."""
    defaults: Mapping[str, object]
    """Those with a constant default."""
    parametric: bool
    """It owns parameters as constructed by default."""
    family: str
    """`linear`, `conv`, `norm_running`, `dropout`, `container`, `loss` and so on: see the table."""
    output: str | None
    """What an activation's output is (`sigmoid`, `softmax`, `log_softmax`, `non_negative`, `tanh`, `other`),
    `transparent` when each value is what it was in the input, None for all else."""


# Family, parametric, output, constructors. `...` stands for a default that is no constant.
# Fold is no shape operation: it adds up patches. Hardtanh is `other`, as its bounds are arguments.
_TABLE: tuple[tuple[str, bool, str | None, str], ...] = (
    ("linear", True, None, """
        LazyLinear(out_features, bias=True, device=None, dtype=None)
        Linear(in_features, out_features, bias=True, device=None, dtype=None)
    """),
    ("bilinear", True, None, """
        Bilinear(in1_features, in2_features, out_features, bias=True, device=None, dtype=None)
    """),
    ("conv", True, None, """
        Conv1d(in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
            padding_mode='zeros', device=None, dtype=None)
        Conv2d(in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
            padding_mode='zeros', device=None, dtype=None)
        Conv3d(in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
            padding_mode='zeros', device=None, dtype=None)
        LazyConv1d(out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
            padding_mode='zeros', device=None, dtype=None)
        LazyConv2d(out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
            padding_mode='zeros', device=None, dtype=None)
        LazyConv3d(out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
            padding_mode='zeros', device=None, dtype=None)
    """),
    ("conv_transpose", True, None, """
        ConvTranspose1d(in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1,
            bias=True, dilation=1, padding_mode='zeros', device=None, dtype=None)
        ConvTranspose2d(in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1,
            bias=True, dilation=1, padding_mode='zeros', device=None, dtype=None)
        ConvTranspose3d(in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1,
            bias=True, dilation=1, padding_mode='zeros', device=None, dtype=None)
        LazyConvTranspose1d(out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1,
            bias=True, dilation=1, padding_mode='zeros', device=None, dtype=None)
        LazyConvTranspose2d(out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1,
            bias=True, dilation=1, padding_mode='zeros', device=None, dtype=None)
        LazyConvTranspose3d(out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1,
            bias=True, dilation=1, padding_mode='zeros', device=None, dtype=None)
    """),
    ("norm_running", True, None, """
        BatchNorm1d(num_features, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, device=None,
            dtype=None, *, bias=True)
        BatchNorm2d(num_features, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, device=None,
            dtype=None, *, bias=True)
        BatchNorm3d(num_features, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, device=None,
            dtype=None, *, bias=True)
        LazyBatchNorm1d(eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None,
            *, bias=True)
        LazyBatchNorm2d(eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None,
            *, bias=True)
        LazyBatchNorm3d(eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None,
            *, bias=True)
        SyncBatchNorm(num_features, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True,
            process_group=None, device=None, dtype=None, *, bias=True)
    """),
    ("norm_instance", True, None, """
        LazyInstanceNorm1d(eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, device=None,
            dtype=None, *, bias=True)
        LazyInstanceNorm2d(eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, device=None,
            dtype=None, *, bias=True)
        LazyInstanceNorm3d(eps=1e-05, momentum=0.1, affine=True, track_running_stats=True, device=None,
            dtype=None, *, bias=True)
    """),
    ("norm_instance", False, None, """
        InstanceNorm1d(num_features, eps=1e-05, momentum=0.1, affine=False, track_running_stats=False,
            device=None, dtype=None, *, bias=True)
        InstanceNorm2d(num_features, eps=1e-05, momentum=0.1, affine=False, track_running_stats=False,
            device=None, dtype=None, *, bias=True)
        InstanceNorm3d(num_features, eps=1e-05, momentum=0.1, affine=False, track_running_stats=False,
            device=None, dtype=None, *, bias=True)
    """),
    ("norm", True, None, """
        GroupNorm(num_groups, num_channels, eps=1e-05, affine=True, device=None, dtype=None, *, bias=True)
        LayerNorm(normalized_shape, eps=1e-05, elementwise_affine=True, bias=True, device=None, dtype=None)
        RMSNorm(normalized_shape, eps=None, elementwise_affine=True, device=None, dtype=None)
    """),
    ("norm", False, None, """
        CrossMapLRN2d(size, alpha=0.0001, beta=0.75, k=1)
        LocalResponseNorm(size, alpha=0.0001, beta=0.75, k=1.0)
    """),
    ("dropout", False, "transparent", """
        AlphaDropout(p=0.5, inplace=False)
        Dropout(p=0.5, inplace=False)
        Dropout1d(p=0.5, inplace=False)
        Dropout2d(p=0.5, inplace=False)
        Dropout3d(p=0.5, inplace=False)
        FeatureAlphaDropout(p=0.5, inplace=False)
    """),
    ("rrelu", False, None, """
        RReLU(lower=0.125, upper=0.3333333333333333, inplace=False)
    """),
    ("recurrent", True, None, """
        GRU(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
            bidirectional=False, device=None, dtype=None)
        LSTM(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
            bidirectional=False, proj_size=0, device=None, dtype=None)
        RNN(input_size, hidden_size, num_layers=1, nonlinearity='tanh', bias=True, batch_first=False,
            dropout=0.0, bidirectional=False, device=None, dtype=None)
        RNNBase(mode, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
            bidirectional=False, proj_size=0, device=None, dtype=None)
    """),
    ("recurrent_cell", True, None, """
        GRUCell(input_size, hidden_size, bias=True, device=None, dtype=None)
        LSTMCell(input_size, hidden_size, bias=True, device=None, dtype=None)
        RNNCell(input_size, hidden_size, bias=True, nonlinearity='tanh', device=None, dtype=None)
        RNNCellBase(input_size, hidden_size, bias, num_chunks, device=None, dtype=None)
    """),
    ("attention", True, None, """
        MultiheadAttention(embed_dim, num_heads, dropout=0.0, bias=True, add_bias_kv=False, add_zero_attn=False,
            kdim=None, vdim=None, batch_first=False, device=None, dtype=None)
    """),
    ("transformer", True, None, """
        Transformer(d_model=512, nhead=8, num_encoder_layers=6, num_decoder_layers=6, dim_feedforward=2048,
            dropout=0.1, activation=..., custom_encoder=None, custom_decoder=None, layer_norm_eps=1e-05,
            batch_first=False, norm_first=False, bias=True, device=None, dtype=None)
        TransformerDecoder(decoder_layer, num_layers, norm=None)
        TransformerDecoderLayer(d_model, nhead, dim_feedforward=2048, dropout=0.1, activation=...,
            layer_norm_eps=1e-05, batch_first=False, norm_first=False, bias=True, device=None, dtype=None)
        TransformerEncoder(encoder_layer, num_layers, norm=None, enable_nested_tensor=True, mask_check=True)
        TransformerEncoderLayer(d_model, nhead, dim_feedforward=2048, dropout=0.1, activation=...,
            layer_norm_eps=1e-05, batch_first=False, norm_first=False, bias=True, device=None, dtype=None)
    """),
    ("embedding", True, None, """
        Embedding(num_embeddings, embedding_dim, padding_idx=None, max_norm=None, norm_type=2.0,
            scale_grad_by_freq=False, sparse=False, _weight=None, _freeze=False, device=None, dtype=None)
        EmbeddingBag(num_embeddings, embedding_dim, max_norm=None, norm_type=2.0, scale_grad_by_freq=False,
            mode='mean', sparse=False, _weight=None, include_last_offset=False, padding_idx=None, device=None,
            dtype=None)
    """),
    ("activation", True, "other", """
        PReLU(num_parameters=1, init=0.25, device=None, dtype=None)
    """),
    ("activation", False, "log_softmax", """
        LogSoftmax(dim=None)
    """),
    ("activation", False, "non_negative", """
        ReLU(inplace=False)
        ReLU6(inplace=False)
        Softplus(beta=1.0, threshold=20.0)
    """),
    ("activation", False, "other", """
        CELU(alpha=1.0, inplace=False)
        ELU(alpha=1.0, inplace=False)
        GELU(approximate='none')
        GLU(dim=-1)
        Hardshrink(lambd=0.5)
        Hardswish(inplace=False)
        Hardtanh(min_val=-1.0, max_val=1.0, inplace=False, min_value=None, max_value=None)
        LeakyReLU(negative_slope=0.01, inplace=False)
        LogSigmoid()
        Mish(inplace=False)
        SELU(inplace=False)
        SiLU(inplace=False)
        Softshrink(lambd=0.5)
        Tanhshrink()
        Threshold(threshold, value, inplace=False)
    """),
    ("activation", False, "sigmoid", """
        Hardsigmoid(inplace=False)
        Sigmoid()
    """),
    ("activation", False, "softmax", """
        Softmax(dim=None)
        Softmax2d()
        Softmin(dim=None)
    """),
    ("activation", False, "tanh", """
        Softsign()
        Tanh()
    """),
    ("pool", False, None, """
        AdaptiveAvgPool1d(output_size)
        AdaptiveAvgPool2d(output_size)
        AdaptiveAvgPool3d(output_size)
        AdaptiveMaxPool1d(output_size, return_indices=False)
        AdaptiveMaxPool2d(output_size, return_indices=False)
        AdaptiveMaxPool3d(output_size, return_indices=False)
        AvgPool1d(kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True)
        AvgPool2d(kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
            divisor_override=None)
        AvgPool3d(kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
            divisor_override=None)
        FractionalMaxPool2d(kernel_size, output_size=None, output_ratio=None, return_indices=False,
            _random_samples=None)
        FractionalMaxPool3d(kernel_size, output_size=None, output_ratio=None, return_indices=False,
            _random_samples=None)
        LPPool1d(norm_type, kernel_size, stride=None, ceil_mode=False)
        LPPool2d(norm_type, kernel_size, stride=None, ceil_mode=False)
        LPPool3d(norm_type, kernel_size, stride=None, ceil_mode=False)
        MaxPool1d(kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False)
        MaxPool2d(kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False)
        MaxPool3d(kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False)
        MaxUnpool1d(kernel_size, stride=None, padding=0)
        MaxUnpool2d(kernel_size, stride=None, padding=0)
        MaxUnpool3d(kernel_size, stride=None, padding=0)
    """),
    ("shape", False, "transparent", """
        ChannelShuffle(groups)
        CircularPad1d(padding)
        CircularPad2d(padding)
        CircularPad3d(padding)
        ConstantPad1d(padding, value)
        ConstantPad2d(padding, value)
        ConstantPad3d(padding, value)
        Flatten(start_dim=1, end_dim=-1)
        Identity()
        PixelShuffle(upscale_factor)
        PixelUnshuffle(downscale_factor)
        ReflectionPad1d(padding)
        ReflectionPad2d(padding)
        ReflectionPad3d(padding)
        ReplicationPad1d(padding)
        ReplicationPad2d(padding)
        ReplicationPad3d(padding)
        Unflatten(dim, unflattened_size)
        Unfold(kernel_size, dilation=1, padding=0, stride=1)
        Upsample(size=None, scale_factor=None, mode='nearest', align_corners=None, recompute_scale_factor=None)
        UpsamplingBilinear2d(size=None, scale_factor=None)
        UpsamplingNearest2d(size=None, scale_factor=None)
        ZeroPad1d(padding)
        ZeroPad2d(padding)
        ZeroPad3d(padding)
    """),
    ("container", False, None, """
        Container()
        ModuleDict(modules=None)
        ModuleList(modules=None)
        ParameterDict(parameters=None)
        ParameterList(values=None)
        Sequential()
    """),
    ("loss", True, None, """
        AdaptiveLogSoftmaxWithLoss(in_features, n_classes, cutoffs, div_value=4.0, head_bias=False, device=None,
            dtype=None)
        LinearCrossEntropyLoss(in_features, num_classes, *, out_features=(), bias=False, device=None,
            dtype=None, reduction='mean', weight=None, ignore_index=None, label_smoothing=0.0, options=None)
    """),
    ("loss", False, None, """
        BCELoss(weight=None, size_average=None, reduce=None, reduction='mean')
        BCEWithLogitsLoss(weight=None, size_average=None, reduce=None, reduction='mean', pos_weight=None)
        CTCLoss(blank=0, reduction='mean', zero_infinity=False)
        CosineEmbeddingLoss(margin=0.0, size_average=None, reduce=None, reduction='mean')
        CrossEntropyLoss(weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean',
            label_smoothing=0.0)
        GaussianNLLLoss(*, full=False, eps=1e-06, reduction='mean')
        HingeEmbeddingLoss(margin=1.0, size_average=None, reduce=None, reduction='mean')
        HuberLoss(reduction='mean', delta=1.0)
        KLDivLoss(size_average=None, reduce=None, reduction='mean', log_target=False)
        L1Loss(size_average=None, reduce=None, reduction='mean')
        MSELoss(size_average=None, reduce=None, reduction='mean')
        MarginRankingLoss(margin=0.0, size_average=None, reduce=None, reduction='mean')
        MultiLabelMarginLoss(size_average=None, reduce=None, reduction='mean')
        MultiLabelSoftMarginLoss(weight=None, size_average=None, reduce=None, reduction='mean')
        MultiMarginLoss(p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction='mean')
        NLLLoss(weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean')
        NLLLoss2d(weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean')
        PoissonNLLLoss(log_input=True, full=False, size_average=None, eps=1e-08, reduce=None, reduction='mean')
        SmoothL1Loss(size_average=None, reduce=None, reduction='mean', beta=1.0)
        SoftMarginLoss(size_average=None, reduce=None, reduction='mean')
        TripletMarginLoss(margin=1.0, p=2.0, eps=1e-06, swap=False, size_average=None, reduce=None,
            reduction='mean')
        TripletMarginWithDistanceLoss(*, distance_function=None, margin=1.0, swap=False, reduction='mean')
    """),
    ("distance", False, None, """
        CosineSimilarity(dim=1, eps=1e-08)
        PairwiseDistance(p=2.0, eps=1e-06, keepdim=False)
    """),
    ("other", False, None, """
        DataParallel(module, device_ids=None, output_device=None, dim=0)
        Fold(output_size, kernel_size, dilation=1, padding=0, stride=1)
    """),
)  # fmt: skip
_CONSTRUCTOR = re.compile(r"(\w+)\(([^()]*(?:\(\)[^()]*)*)\)")
_WORDS: dict[str, object] = {"None": None, "True": True, "False": False, "()": ()}


def _constant(text: str) -> object:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == "'":
        return text[1:-1]
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _spec(arguments: str, family: str, parametric: bool, output: str | None) -> LayerSpec:
    names: list[str] = []
    defaults: dict[str, object] = {}
    for part in arguments.split(","):
        name, _, default = part.strip().partition("=")
        if name in ("", "*"):
            continue
        names.append(name)
        if default and default != "...":
            defaults[name] = _constant(default)
    return LayerSpec(tuple(names), defaults, parametric, family, output)


LAYERS: Mapping[str, LayerSpec] = {
    f"torch.nn.{name}": _spec(arguments, family, parametric, output)
    for family, parametric, output, text in _TABLE
    for name, arguments in _CONSTRUCTOR.findall(text)
}
"""Every module class that `torch.nn` exports, except Module itself."""


def weight_shapes(name: str, constants: Mapping[str, object]) -> Shapes | None:
    """Shapes of the parameters that a layer constructed with these arguments registers itself; None when unknown.

    `constants` maps parameter names of the constructor to constants; what is missing has its default. An argument that
    was given but not followed must be there with a value that is no constant: it gives None where it matters.
    The children of a container are not its own parameters.
    """
    spec = LAYERS.get(name)
    if spec is None:
        return None
    values = {**spec.defaults, **constants}
    try:
        if spec.family == "norm_instance":
            return _norm(values)
        if not spec.parametric:
            return None if name in _PARAMETER_CONTAINERS else {}
        make = _SHAPES.get(spec.family) or _SHAPES.get(name.rpartition(".")[2])
        return make(name, values) if make is not None else None
    except _NotKnown:
        return None


def parameter_count(name: str, constants: Mapping[str, object]) -> int | None:
    """How many numbers the parameters of a layer hold; None when a size is not known."""
    shapes = weight_shapes(name, constants)
    return None if shapes is None else sum(prod(shape) for shape in shapes.values())


_PARAMETER_CONTAINERS = frozenset({"torch.nn.ParameterList", "torch.nn.ParameterDict"})
_Values = Mapping[str, object]


class _NotKnown(Exception):
    """A size is not a constant."""


def _int(values: _Values, key: str) -> int:
    value = values.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _NotKnown(key)


_MOST_LAYERS = 1000
"""Whose parameters are named one by one."""


def _depth(values: _Values, key: str) -> int:
    """A number of layers."""
    count = _int(values, key)
    if count > _MOST_LAYERS:
        raise _NotKnown(key)
    return count


def _flag(values: _Values, key: str) -> bool:
    value = values.get(key, True)
    if value is None or isinstance(value, int | float | str):
        return bool(value)
    raise _NotKnown(key)


def _sizes(values: _Values, key: str, count: int | None = None) -> tuple[int, ...]:
    value = values.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,) * (count or 1)
    if isinstance(value, tuple | list) and all(isinstance(size, int) for size in value):
        if count is None or len(value) == count:
            return tuple(value)
        if len(value) == 1:
            return (value[0],) * count
    raise _NotKnown(key)


def _with_bias(shapes: Shapes, size: int, values: _Values) -> Shapes:
    return {**shapes, "bias": (size,)} if _flag(values, "bias") else shapes


def _below(prefix: str, shapes: Shapes) -> Shapes:
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def _linear(name: str, values: _Values) -> Shapes:
    rows = _int(values, "out_features")
    return _with_bias({"weight": (rows, _int(values, "in_features"))}, rows, values)


def _bilinear(name: str, values: _Values) -> Shapes:
    rows = _int(values, "out_features")
    return _with_bias({"weight": (rows, _int(values, "in1_features"), _int(values, "in2_features"))}, rows, values)


def _convolution(name: str, values: _Values) -> Shapes:
    inputs, outputs, groups = _int(values, "in_channels"), _int(values, "out_channels"), _int(values, "groups")
    if groups < 1 or inputs % groups or outputs % groups:
        raise _NotKnown("groups")
    first, second = (inputs, outputs // groups) if "Transpose" in name else (outputs, inputs // groups)
    kernel = _sizes(values, "kernel_size", int(name[-2]))
    return _with_bias({"weight": (first, second, *kernel)}, outputs, values)


def _norm(values: _Values, size: str = "num_features") -> Shapes:
    if not _flag(values, "affine"):
        return {}
    features = _int(values, size)
    return _with_bias({"weight": (features,)}, features, values)


def _running_norm(name: str, values: _Values) -> Shapes:
    return _norm(values)


def _other_norm(name: str, values: _Values) -> Shapes:
    if name.endswith("GroupNorm"):
        return _norm(values, "num_channels")
    if not _flag(values, "elementwise_affine"):
        return {}
    shape = _sizes(values, "normalized_shape")
    with_bias = name.endswith("LayerNorm") and _flag(values, "bias")
    return {"weight": shape, "bias": shape} if with_bias else {"weight": shape}


def _embedding(name: str, values: _Values) -> Shapes:
    return {"weight": (_int(values, "num_embeddings"), _int(values, "embedding_dim"))}


def _prelu(name: str, values: _Values) -> Shapes:
    return {"weight": (_int(values, "num_parameters"),)}


_GATES = {
    "RNN": 1, "GRU": 3, "LSTM": 4, "RNNCell": 1, "GRUCell": 3, "LSTMCell": 4, "RNN_TANH": 1, "RNN_RELU": 1,
}  # fmt: skip


def _gates(name: str, values: _Values) -> int:
    kind = name.rpartition(".")[2]
    if kind == "RNNCellBase":
        return _int(values, "num_chunks")
    gates = _GATES.get(kind) or _GATES.get(str(values.get("mode")))
    if gates is None:
        raise _NotKnown("mode")
    return gates


def _recurrent(name: str, values: _Values) -> Shapes:
    inputs, hidden, layers = _int(values, "input_size"), _int(values, "hidden_size"), _depth(values, "num_layers")
    rows = _gates(name, values) * hidden
    projected = _int(values, "proj_size") if "proj_size" in values else 0
    output = projected or hidden
    suffixes = ("", "_reverse") if _flag({"bidirectional": False, **values}, "bidirectional") else ("",)
    bias = _flag(values, "bias")
    shapes: Shapes = {}
    for layer in range(layers):
        for suffix in suffixes:
            end = f"l{layer}{suffix}"
            shapes[f"weight_ih_{end}"] = (rows, inputs if layer == 0 else output * len(suffixes))
            shapes[f"weight_hh_{end}"] = (rows, output)
            if bias:
                shapes[f"bias_ih_{end}"] = shapes[f"bias_hh_{end}"] = (rows,)
            if projected:
                shapes[f"weight_hr_{end}"] = (projected, hidden)
    return shapes


def _cell(name: str, values: _Values) -> Shapes:
    inputs, hidden = _int(values, "input_size"), _int(values, "hidden_size")
    rows = _gates(name, values) * hidden
    shapes: Shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, hidden)}
    return {**shapes, "bias_ih": (rows,), "bias_hh": (rows,)} if _flag(values, "bias") else shapes


def _attention(name: str, values: _Values) -> Shapes:
    width = _int(values, "embed_dim")
    keys = width if values.get("kdim") is None else _int(values, "kdim")
    content = width if values.get("vdim") is None else _int(values, "vdim")
    shapes: Shapes
    if keys == content == width:
        shapes = {"in_proj_weight": (3 * width, width)}
    else:
        shapes = {"q_proj_weight": (width, width), "k_proj_weight": (width, keys), "v_proj_weight": (width, content)}
    shapes["out_proj.weight"] = (width, width)
    if _flag(values, "bias"):
        shapes["in_proj_bias"], shapes["out_proj.bias"] = (3 * width,), (width,)
    if _flag({"add_bias_kv": False, **values}, "add_bias_kv"):
        shapes["bias_k"] = shapes["bias_v"] = (1, 1, width)
    return shapes


def _transformer(name: str, values: _Values) -> Shapes:
    if name.endswith("Layer"):
        return _transformer_layer(values, decodes=name.endswith("DecoderLayer"))
    if not name.endswith(".Transformer") or (values["custom_encoder"], values["custom_decoder"]) != (None, None):
        raise _NotKnown("its layers")
    width = _int(values, "d_model")
    norm = _below("norm", _other_norm("LayerNorm", {"normalized_shape": width, "bias": values["bias"]}))
    shapes: Shapes = {}
    for part in ("encoder", "decoder"):
        layer = _transformer_layer(values, decodes=part == "decoder")
        for index in range(_depth(values, f"num_{part}_layers")):
            shapes.update(_below(f"{part}.layers.{index}", layer))
        shapes.update(_below(part, norm))
    return shapes


def _transformer_layer(values: _Values, decodes: bool) -> Shapes:
    width, hidden, bias = _int(values, "d_model"), _int(values, "dim_feedforward"), values["bias"]
    attention = _attention("", {"embed_dim": width, "bias": bias})
    norm = _other_norm("LayerNorm", {"normalized_shape": width, "bias": bias})
    shapes = {
        **_below("self_attn", attention),
        **_below("linear1", _linear("", {"in_features": width, "out_features": hidden, "bias": bias})),
        **_below("linear2", _linear("", {"in_features": hidden, "out_features": width, "bias": bias})),
        **_below("norm1", norm),
        **_below("norm2", norm),
    }
    return {**shapes, **_below("multihead_attn", attention), **_below("norm3", norm)} if decodes else shapes


_SHAPES: dict[str, Callable[[str, _Values], Shapes]] = {
    "linear": _linear, "bilinear": _bilinear, "conv": _convolution, "conv_transpose": _convolution,
    "norm_running": _running_norm, "norm": _other_norm, "embedding": _embedding, "PReLU": _prelu,
    "recurrent": _recurrent, "recurrent_cell": _cell, "attention": _attention, "transformer": _transformer,
}  # fmt: skip
