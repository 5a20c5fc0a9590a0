"""The layers of `torch.nn`: constructor signatures, what kind of layer each is, what its output is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One class of `torch.nn`."""

    signature: tuple[str, ...]
    """Parameter names of the constructor, in order."""
    defaults: Mapping[str, object]
    """Those with a constant default."""
    parametric: bool
    """It owns parameters as constructed by default."""
    family: str
    """`linear`, `conv`, `norm_running`, `dropout`, `container`, `loss` and so on."""
    output: str | None
    """What an activation's output is (`sigmoid`, `softmax`, `log_softmax`, `non_negative`, `tanh`, `other`),
    `transparent` when it is what the input was, None for all else."""


LAYERS: Mapping[str, LayerSpec] = {
    "torch.nn.AdaptiveAvgPool1d": LayerSpec(("output_size", ), {}, False, "pool", None),
    "torch.nn.AdaptiveAvgPool2d": LayerSpec(("output_size", ), {}, False, "pool", None),
    "torch.nn.AdaptiveAvgPool3d": LayerSpec(("output_size", ), {}, False, "pool", None),
    "torch.nn.AdaptiveLogSoftmaxWithLoss": LayerSpec(("in_features", "n_classes", "cutoffs", "div_value", "head_bias", "device", "dtype", ), {"div_value": 4.0, "head_bias": False}, True, "loss", None),
    "torch.nn.AdaptiveMaxPool1d": LayerSpec(("output_size", "return_indices", ), {"return_indices": False}, False, "pool", None),
    "torch.nn.AdaptiveMaxPool2d": LayerSpec(("output_size", "return_indices", ), {"return_indices": False}, False, "pool", None),
    "torch.nn.AdaptiveMaxPool3d": LayerSpec(("output_size", "return_indices", ), {"return_indices": False}, False, "pool", None),
    "torch.nn.AlphaDropout": LayerSpec(("p", "inplace", ), {"p": 0.5}, False, "dropout", None),
    "torch.nn.AvgPool1d": LayerSpec(("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", ), {"padding": 0, "ceil_mode": False, "count_include_pad": True}, False, "pool", None),
    "torch.nn.AvgPool2d": LayerSpec(("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override", ), {"padding": 0, "ceil_mode": False, "count_include_pad": True}, False, "pool", None),
    "torch.nn.AvgPool3d": LayerSpec(("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override", ), {"padding": 0, "ceil_mode": False, "count_include_pad": True}, False, "pool", None),
    "torch.nn.BCELoss": LayerSpec(("weight", "size_average", "reduce", "reduction", ), {"reduction": "mean"}, False, "loss", None),
    "torch.nn.BCEWithLogitsLoss": LayerSpec(("weight", "size_average", "reduce", "reduction", "pos_weight", ), {"reduction": "mean"}, False, "loss", None),
    "torch.nn.BatchNorm1d": LayerSpec(("num_features", "eps", "momentum", "affine", "track_running_stats", "device", "dtype", "bias", ), {"eps": 1e-05, "momentum": 0.1, "affine": True, "track_running_stats": True, "bias": True}, True, "norm_running", None),
    "torch.nn.BatchNorm2d": LayerSpec(("num_features", "eps", "momentum", "affine", "track_running_stats", "device", "dtype", "bias", ), {"eps": 1e-05, "momentum": 0.1, "affine": True, "track_running_stats": True, "bias": True}, True, "norm_running", None),
    "torch.nn.BatchNorm3d": LayerSpec(("num_features", "eps", "momentum", "affine", "track_running_stats", "device", "dtype", "bias", ), {"eps": 1e-05, "momentum": 0.1, "affine": True, "track_running_stats": True, "bias": True}, True, "norm_running", None),
    "torch.nn.Bilinear": LayerSpec(("in1_features", "in2_features", "out_features", "bias", "device", "dtype", ), {"bias": True}, True, "bilinear", None),
    "torch.nn.CELU": LayerSpec(("alpha", "inplace", ), {"alpha": 1.0}, False, "activation", "other"),
    "torch.nn.CTCLoss": LayerSpec(("blank", "reduction", "zero_infinity", ), {"blank": 0, "reduction": "mean", "zero_infinity": False}, False, "loss", None),
    "torch.nn.ChannelShuffle": LayerSpec(("groups", ), {}, False, "shape", "transparent"),
    "torch.nn.CircularPad1d": LayerSpec(("padding", ), {}, False, "shape", "transparent"),
    "torch.nn.CircularPad2d": LayerSpec(("padding", ), {}, False, "shape", "transparent"),
    "torch.nn.CircularPad3d": LayerSpec(("padding", ), {}, False, "shape", "transparent"),
    "torch.nn.ConstantPad1d": LayerSpec(("padding", "value", ), {}, False, "shape", "transparent"),
    "torch.nn.ConstantPad2d": LayerSpec(("padding", "value", ), {}, False, "shape", "transparent"),
    "torch.nn.ConstantPad3d": LayerSpec(("padding", "value", ), {}, False, "shape", "transparent"),
    "torch.nn.Container": LayerSpec((), {}, False, "container", None),
    "torch.nn.Conv1d": LayerSpec(("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias", "padding_mode", "device", "dtype", ), {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True, "padding_mode": "zeros"}, True, "conv", None),
    "torch.nn.Conv2d": LayerSpec(("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias", "padding_mode", "device", "dtype", ), {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True, "padding_mode": "zeros"}, True, "conv", None),
    "torch.nn.Conv3d": LayerSpec(("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias", "padding_mode", "device", "dtype", ), {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True, "padding_mode": "zeros"}, True, "conv", None),
    "torch.nn.ConvTranspose1d": LayerSpec(("in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding", "groups", "bias", "dilation", "padding_mode", "device", "dtype", ), {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "bias": True, "dilation": 1, "padding_mode": "zeros"}, True, "conv_transpose", None),
    "torch.nn.ConvTranspose2d": LayerSpec(("in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding", "groups", "bias", "dilation", "padding_mode", "device", "dtype", ), {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "bias": True, "dilation": 1, "padding_mode": "zeros"}, True, "conv_transpose", None),
    "torch.nn.ConvTranspose3d": LayerSpec(("in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding", "groups", "bias", "dilation", "padding_mode", "device", "dtype", ), {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "bias": True, "dilation": 1, "padding_mode": "zeros"}, True, "conv_transpose", None),
    "torch.nn.CosineEmbeddingLoss": LayerSpec(("margin", "size_average", "reduce", "reduction", ), {"margin": 0.0, "reduction": "mean"}, False, "loss", None),
    "torch.nn.CosineSimilarity": LayerSpec(("dim", "eps", ), {"dim": 1, "eps": 1e-08}, False, "distance", None),
    "torch.nn.CrossEntropyLoss": LayerSpec(("weight", "size_average", "ignore_index", "reduce", "reduction", "label_smoothing", ), {"ignore_index": -100, "reduction": "mean", "label_smoothing": 0.0}, False, "loss", None),
    "torch.nn.CrossMapLRN2d": LayerSpec(("size", "alpha", "beta", "k", ), {"alpha": 0.0001, "beta": 0.75, "k": 1}, False, "norm", None),
    "torch.nn.DataParallel": LayerSpec(("module", "device_ids", "output_device", "dim", ), {"dim": 0}, False, "other", None),
    "torch.nn.Dropout": LayerSpec(("p", "inplace", ), {"p": 0.5}, False, "dropout", None),
    "torch.nn.Dropout1d": LayerSpec(("p", "inplace", ), {"p": 0.5}, False, "dropout", None),
    "torch.nn.Dropout2d": LayerSpec(("p", "inplace", ), {"p": 0.5}, False, "dropout", None),
    "torch.nn.Dropout3d": LayerSpec(("p", "inplace", ), {"p": 0.5}, False, "dropout", None),
    "torch.nn.ELU": LayerSpec(("alpha", "inplace", ), {"alpha": 1.0}, False, "activation", "other"),
    "torch.nn.Embedding": LayerSpec(("num_embeddings", "embedding_dim", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse", "_weight", "_freeze", "device", "dtype", ), {"norm_type": 2.0, "scale_grad_by_freq": False, "sparse": False, "_freeze": False}, True, "embedding", None),
    "torch.nn.EmbeddingBag": LayerSpec(("num_embeddings", "embedding_dim", "max_norm", "norm_type", "scale_grad_by_freq", "mode", "sparse", "_weight", "include_last_offset", "padding_idx", "device", "dtype", ), {"norm_type": 2.0, "scale_grad_by_freq": False, "mode": "mean", "sparse": False, "include_last_offset": False}, True, "embedding", None),
    "torch.nn.FeatureAlphaDropout": LayerSpec(("p", "inplace", ), {"p": 0.5}, False, "dropout", None),
    "torch.nn.Flatten": LayerSpec(("start_dim", "end_dim", ), {"start_dim": 1, "end_dim": -1}, False, "shape", "transparent"),
    "torch.nn.Fold": LayerSpec(("output_size", "kernel_size", "dilation", "padding", "stride", ), {"dilation": 1, "padding": 0, "stride": 1}, False, "shape", "transparent"),
    "torch.nn.FractionalMaxPool2d": LayerSpec(("kernel_size", "output_size", "output_ratio", "return_indices", "_random_samples", ), {"return_indices": False}, False, "pool", None),
    "torch.nn.FractionalMaxPool3d": LayerSpec(("kernel_size", "output_size", "output_ratio", "return_indices", "_random_samples", ), {"return_indices": False}, False, "pool", None),
    "torch.nn.GELU": LayerSpec(("approximate", ), {"approximate": "none"}, False, "activation", "other"),
    "torch.nn.GLU": LayerSpec(("dim", ), {"dim": -1}, False, "activation", "other"),
    "torch.nn.GRU": LayerSpec((), {}, True, "recurrent", None),
    "torch.nn.GRUCell": LayerSpec(("input_size", "hidden_size", "bias", "device", "dtype", ), {"bias": True}, True, "recurrent_cell", None),
    "torch.nn.GaussianNLLLoss": LayerSpec(("full", "eps", "reduction", ), {"full": False, "eps": 1e-06, "reduction": "mean"}, False, "loss", None),
    "torch.nn.GroupNorm": LayerSpec(("num_groups", "num_channels", "eps", "affine", "device", "dtype", "bias", ), {"eps": 1e-05, "affine": True, "bias": True}, True, "norm", None),
    "torch.nn.Hardshrink": LayerSpec(("lambd", ), {"lambd": 0.5}, False, "activation", "other"),
    "torch.nn.Hardsigmoid": LayerSpec(("inplace", ), {}, False, "activation", "sigmoid"),
    "torch.nn.Hardswish": LayerSpec(("inplace", ), {}, False, "activation", "other"),
    "torch.nn.Hardtanh": LayerSpec(("min_val", "max_val", "inplace", "min_value", "max_value", ), {"min_val": -1.0, "max_val": 1.0}, False, "activation", "tanh"),
    "torch.nn.HingeEmbeddingLoss": LayerSpec(("margin", "size_average", "reduce", "reduction", ), {"margin": 1.0, "reduction": "mean"}, False, "loss", None),
    "torch.nn.HuberLoss": LayerSpec(("reduction", "delta", ), {"reduction": "mean", "delta": 1.0}, False, "loss", None),
    "torch.nn.Identity": LayerSpec((), {}, False, "shape", "transparent"),
    "torch.nn.InstanceNorm1d": LayerSpec(("num_features", "eps", "momentum", "affine", "track_running_stats", "device", "dtype", "bias", ), {"eps": 1e-05, "momentum": 0.1, "affine": False, "track_running_stats": False, "bias": True}, False, "norm_instance", None),
    "torch.nn.InstanceNorm2d": LayerSpec(("num_features", "eps", "momentum", "affine", "track_running_stats", "device", "dtype", "bias", ), {"eps": 1e-05, "momentum": 0.1, "affine": False, "track_running_stats": False, "bias": True}, False, "norm_instance", None),
    "torch.nn.InstanceNorm3d": LayerSpec(("num_features", "eps", "momentum", "affine", "track_running_stats", "device", "dtype", "bias", ), {"eps": 1e-05, "momentum": 0.1, "affine": False, "track_running_stats": False, "bias": True}, False, "norm_instance", None),
    "torch.nn.KLDivLoss": LayerSpec(("size_average", "reduce", "reduction", "log_target", ), {"reduction": "mean", "log_target": False}, False, "loss", None),
    "torch.nn.L1Loss": LayerSpec(("size_average", "reduce", "reduction", ), {"reduction": "mean"}, False, "loss", None),
    "torch.nn.LPPool1d": LayerSpec(("norm_type", "kernel_size", "stride", "ceil_mode", ), {"ceil_mode": False}, False, "pool", None),
    "torch.nn.LPPool2d": LayerSpec(("norm_type", "kernel_size", "stride", "ceil_mode", ), {"ceil_mode": False}, False, "pool", None),
    "torch.nn.LPPool3d": LayerSpec(("norm_type", "kernel_size", "stride", "ceil_mode", ), {"ceil_mode": False}, False, "pool", None),
    "torch.nn.LSTM": LayerSpec((), {}, True, "recurrent", None),
    "torch.nn.LSTMCell": LayerSpec(("input_size", "hidden_size", "bias", "device", "dtype", ), {"bias": True}, True, "recurrent_cell", None),
    "torch.nn.LayerNorm": LayerSpec(("normalized_shape", "eps", "elementwise_affine", "bias", "device", "dtype", ), {"eps": 1e-05, "elementwise_affine": True, "bias": True}, True, "norm", None),
    "torch.nn.LazyBatchNorm1d": LayerSpec(("eps", "momentum", "affine", "track_running_stats", "device", "dtype", "bias", ), {"eps": 1e-05, "momentum": 0.1, "affine": True, "track_running_stats": True, "bias": True}, True, "norm_running", None),
    "torch.nn.LazyBatchNorm2d": LayerSpec(("eps", "momentum", "affine", "track_running_stats", "device", "dtype", "bias", ), {"eps": 1e-05, "momentum": 0.1, "affine": True, "track_running_stats": True, "bias": True}, True, "norm_running", None),
    "torch.nn.LazyBatchNorm3d": LayerSpec(("eps", "momentum", "affine", "track_running_stats", "device", "dtype", "bias", ), {"eps": 1e-05, "momentum": 0.1, "affine": True, "track_running_stats": True, "bias": True}, True, "norm_running", None),
    "torch.nn.LazyConv1d": LayerSpec(("out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias", "padding_mode", "device", "dtype", ), {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True, "padding_mode": "zeros"}, True, "conv", None),
    "torch.nn.LazyConv2d": LayerSpec(("out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias", "padding_mode", "device", "dtype", ), {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True, "padding_mode": "zeros"}, True, "conv", None),
    "torch.nn.LazyConv3d": LayerSpec(("out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias", "padding_mode", "device", "dtype", ), {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True, "padding_mode": "zeros"}, True, "conv", None),
    "torch.nn.LazyConvTranspose1d": LayerSpec(("out_channels", "kernel_size", "stride", "padding", "output_padding", "groups", "bias", "dilation", "padding_mode", "device", "dtype", ), {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "bias": True, "dilation": 1, "padding_mode": "zeros"}, True, "conv_transpose", None),
    "torch.nn.LazyConvTranspose2d": LayerSpec(("out_channels", "kernel_size", "stride", "padding", "output_padding", "groups", "bias", "dilation", "padding_mode", "device", "dtype", ), {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "bias": True, "dilation": 1, "padding_mode": "zeros"}, True, "conv_transpose", None),
    "torch.nn.LazyConvTranspose3d": LayerSpec(("out_channels", "kernel_size", "stride", "padding", "output_padding", "groups", "bias", "dilation", "padding_mode", "device", "dtype", ), {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "bias": True, "dilation": 1, "padding_mode": "zeros"}, True, "conv_transpose", None),
    "torch.nn.LazyInstanceNorm1d": LayerSpec(("eps", "momentum", "affine", "track_running_stats", "device", "dtype", "bias", ), {"eps": 1e-05, "momentum": 0.1, "affine": True, "track_running_stats": True, "bias": True}, False, "norm_instance", None),
    "torch.nn.LazyInstanceNorm2d": LayerSpec(("eps", "momentum", "affine", "track_running_stats", "device", "dtype", "bias", ), {"eps": 1e-05, "momentum": 0.1, "affine": True, "track_running_stats": True, "bias": True}, False, "norm_instance", None),
    "torch.nn.LazyInstanceNorm3d": LayerSpec(("eps", "momentum", "affine", "track_running_stats", "device", "dtype", "bias", ), {"eps": 1e-05, "momentum": 0.1, "affine": True, "track_running_stats": True, "bias": True}, False, "norm_instance", None),
    "torch.nn.LazyLinear": LayerSpec(("out_features", "bias", "device", "dtype", ), {"bias": True}, True, "linear", None),
    "torch.nn.LeakyReLU": LayerSpec(("negative_slope", "inplace", ), {"negative_slope": 0.01}, False, "activation", "other"),
    "torch.nn.Linear": LayerSpec(("in_features", "out_features", "bias", "device", "dtype", ), {"bias": True}, True, "linear", None),
    "torch.nn.LinearCrossEntropyLoss": LayerSpec(("in_features", "num_classes", "out_features", "bias", "device", "dtype", "reduction", "weight", "ignore_index", "label_smoothing", "options", ), {"bias": False, "reduction": "mean", "label_smoothing": 0.0}, False, "loss", None),
    "torch.nn.LocalResponseNorm": LayerSpec(("size", "alpha", "beta", "k", ), {"alpha": 0.0001, "beta": 0.75, "k": 1.0}, False, "norm", None),
    "torch.nn.LogSigmoid": LayerSpec((), {}, False, "activation", "other"),
    "torch.nn.LogSoftmax": LayerSpec(("dim", ), {}, False, "activation", "log_softmax"),
    "torch.nn.MSELoss": LayerSpec(("size_average", "reduce", "reduction", ), {"reduction": "mean"}, False, "loss", None),
    "torch.nn.MarginRankingLoss": LayerSpec(("margin", "size_average", "reduce", "reduction", ), {"margin": 0.0, "reduction": "mean"}, False, "loss", None),
    "torch.nn.MaxPool1d": LayerSpec(("kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode", ), {"padding": 0, "dilation": 1, "return_indices": False, "ceil_mode": False}, False, "pool", None),
    "torch.nn.MaxPool2d": LayerSpec(("kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode", ), {"padding": 0, "dilation": 1, "return_indices": False, "ceil_mode": False}, False, "pool", None),
    "torch.nn.MaxPool3d": LayerSpec(("kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode", ), {"padding": 0, "dilation": 1, "return_indices": False, "ceil_mode": False}, False, "pool", None),
    "torch.nn.MaxUnpool1d": LayerSpec(("kernel_size", "stride", "padding", ), {"padding": 0}, False, "other", None),
    "torch.nn.MaxUnpool2d": LayerSpec(("kernel_size", "stride", "padding", ), {"padding": 0}, False, "other", None),
    "torch.nn.MaxUnpool3d": LayerSpec(("kernel_size", "stride", "padding", ), {"padding": 0}, False, "other", None),
    "torch.nn.Mish": LayerSpec(("inplace", ), {}, False, "activation", "other"),
    "torch.nn.ModuleDict": LayerSpec(("modules", ), {}, False, "container", None),
    "torch.nn.ModuleList": LayerSpec(("modules", ), {}, False, "container", None),
    "torch.nn.MultiLabelMarginLoss": LayerSpec(("size_average", "reduce", "reduction", ), {"reduction": "mean"}, False, "loss", None),
    "torch.nn.MultiLabelSoftMarginLoss": LayerSpec(("weight", "size_average", "reduce", "reduction", ), {"reduction": "mean"}, False, "loss", None),
    "torch.nn.MultiMarginLoss": LayerSpec(("p", "margin", "weight", "size_average", "reduce", "reduction", ), {"p": 1, "margin": 1.0, "reduction": "mean"}, False, "loss", None),
    "torch.nn.MultiheadAttention": LayerSpec(("embed_dim", "num_heads", "dropout", "bias", "add_bias_kv", "add_zero_attn", "kdim", "vdim", "batch_first", "device", "dtype", ), {"dropout": 0.0, "bias": True, "add_bias_kv": False, "add_zero_attn": False, "batch_first": False}, True, "attention", None),
    "torch.nn.NLLLoss": LayerSpec(("weight", "size_average", "ignore_index", "reduce", "reduction", ), {"ignore_index": -100, "reduction": "mean"}, False, "loss", None),
    "torch.nn.NLLLoss2d": LayerSpec(("weight", "size_average", "ignore_index", "reduce", "reduction", ), {"ignore_index": -100, "reduction": "mean"}, False, "loss", None),
    "torch.nn.PReLU": LayerSpec(("num_parameters", "init", "device", "dtype", ), {"num_parameters": 1, "init": 0.25}, True, "activation", "other"),
    "torch.nn.PairwiseDistance": LayerSpec(("p", "eps", "keepdim", ), {"p": 2.0, "eps": 1e-06, "keepdim": False}, False, "distance", None),
    "torch.nn.ParameterDict": LayerSpec(("parameters", ), {}, False, "container", None),
    "torch.nn.ParameterList": LayerSpec(("values", ), {}, False, "container", None),
    "torch.nn.PixelShuffle": LayerSpec(("upscale_factor", ), {}, False, "shape", "transparent"),
    "torch.nn.PixelUnshuffle": LayerSpec(("downscale_factor", ), {}, False, "shape", "transparent"),
    "torch.nn.PoissonNLLLoss": LayerSpec(("log_input", "full", "size_average", "eps", "reduce", "reduction", ), {"log_input": True, "full": False, "eps": 1e-08, "reduction": "mean"}, False, "loss", None),
    "torch.nn.RMSNorm": LayerSpec(("normalized_shape", "eps", "elementwise_affine", "device", "dtype", ), {"elementwise_affine": True}, True, "norm", None),
    "torch.nn.RNN": LayerSpec((), {}, True, "recurrent", None),
    "torch.nn.RNNBase": LayerSpec(("mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size", "device", "dtype", ), {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False, "proj_size": 0}, True, "recurrent", None),
    "torch.nn.RNNCell": LayerSpec(("input_size", "hidden_size", "bias", "nonlinearity", "device", "dtype", ), {"bias": True, "nonlinearity": "tanh"}, True, "recurrent_cell", None),
    "torch.nn.RNNCellBase": LayerSpec(("input_size", "hidden_size", "bias", "num_chunks", "device", "dtype", ), {}, True, "recurrent_cell", None),
    "torch.nn.RReLU": LayerSpec(("lower", "upper", "inplace", ), {"lower": 0.125, "upper": 0.3333333333333333}, False, "rrelu", None),
    "torch.nn.ReLU": LayerSpec(("inplace", ), {}, False, "activation", "non_negative"),
    "torch.nn.ReLU6": LayerSpec(("inplace", ), {}, False, "activation", "non_negative"),
    "torch.nn.ReflectionPad1d": LayerSpec(("padding", ), {}, False, "shape", "transparent"),
    "torch.nn.ReflectionPad2d": LayerSpec(("padding", ), {}, False, "shape", "transparent"),
    "torch.nn.ReflectionPad3d": LayerSpec(("padding", ), {}, False, "shape", "transparent"),
    "torch.nn.ReplicationPad1d": LayerSpec(("padding", ), {}, False, "shape", "transparent"),
    "torch.nn.ReplicationPad2d": LayerSpec(("padding", ), {}, False, "shape", "transparent"),
    "torch.nn.ReplicationPad3d": LayerSpec(("padding", ), {}, False, "shape", "transparent"),
    "torch.nn.SELU": LayerSpec(("inplace", ), {}, False, "activation", "other"),
    "torch.nn.Sequential": LayerSpec((), {}, False, "container", None),
    "torch.nn.SiLU": LayerSpec(("inplace", ), {}, False, "activation", "other"),
    "torch.nn.Sigmoid": LayerSpec((), {}, False, "activation", "sigmoid"),
    "torch.nn.SmoothL1Loss": LayerSpec(("size_average", "reduce", "reduction", "beta", ), {"reduction": "mean", "beta": 1.0}, False, "loss", None),
    "torch.nn.SoftMarginLoss": LayerSpec(("size_average", "reduce", "reduction", ), {"reduction": "mean"}, False, "loss", None),
    "torch.nn.Softmax": LayerSpec(("dim", ), {}, False, "activation", "softmax"),
    "torch.nn.Softmax2d": LayerSpec((), {}, False, "activation", "softmax"),
    "torch.nn.Softmin": LayerSpec(("dim", ), {}, False, "activation", "softmax"),
    "torch.nn.Softplus": LayerSpec(("beta", "threshold", ), {"beta": 1.0, "threshold": 20.0}, False, "activation", "non_negative"),
    "torch.nn.Softshrink": LayerSpec(("lambd", ), {"lambd": 0.5}, False, "activation", "other"),
    "torch.nn.Softsign": LayerSpec((), {}, False, "activation", "tanh"),
    "torch.nn.SyncBatchNorm": LayerSpec(("num_features", "eps", "momentum", "affine", "track_running_stats", "process_group", "device", "dtype", "bias", ), {"eps": 1e-05, "momentum": 0.1, "affine": True, "track_running_stats": True, "bias": True}, True, "norm_running", None),
    "torch.nn.Tanh": LayerSpec((), {}, False, "activation", "tanh"),
    "torch.nn.Tanhshrink": LayerSpec((), {}, False, "activation", "other"),
    "torch.nn.Threshold": LayerSpec(("threshold", "value", "inplace", ), {}, False, "activation", "other"),
    "torch.nn.Transformer": LayerSpec(("d_model", "nhead", "num_encoder_layers", "num_decoder_layers", "dim_feedforward", "dropout", "activation", "custom_encoder", "custom_decoder", "layer_norm_eps", "batch_first", "norm_first", "bias", "device", "dtype", ), {"d_model": 512, "nhead": 8, "num_encoder_layers": 6, "num_decoder_layers": 6, "dim_feedforward": 2048, "dropout": 0.1, "layer_norm_eps": 1e-05, "batch_first": False, "norm_first": False, "bias": True}, True, "transformer", None),
    "torch.nn.TransformerDecoder": LayerSpec(("decoder_layer", "num_layers", "norm", ), {}, True, "transformer", None),
    "torch.nn.TransformerDecoderLayer": LayerSpec(("d_model", "nhead", "dim_feedforward", "dropout", "activation", "layer_norm_eps", "batch_first", "norm_first", "bias", "device", "dtype", ), {"dim_feedforward": 2048, "dropout": 0.1, "layer_norm_eps": 1e-05, "batch_first": False, "norm_first": False, "bias": True}, True, "transformer", None),
    "torch.nn.TransformerEncoder": LayerSpec(("encoder_layer", "num_layers", "norm", "enable_nested_tensor", "mask_check", ), {"enable_nested_tensor": True, "mask_check": True}, True, "transformer", None),
    "torch.nn.TransformerEncoderLayer": LayerSpec(("d_model", "nhead", "dim_feedforward", "dropout", "activation", "layer_norm_eps", "batch_first", "norm_first", "bias", "device", "dtype", ), {"dim_feedforward": 2048, "dropout": 0.1, "layer_norm_eps": 1e-05, "batch_first": False, "norm_first": False, "bias": True}, True, "transformer", None),
    "torch.nn.TripletMarginLoss": LayerSpec(("margin", "p", "eps", "swap", "size_average", "reduce", "reduction", ), {"margin": 1.0, "p": 2.0, "eps": 1e-06, "swap": False, "reduction": "mean"}, False, "loss", None),
    "torch.nn.TripletMarginWithDistanceLoss": LayerSpec(("distance_function", "margin", "swap", "reduction", ), {"margin": 1.0, "swap": False, "reduction": "mean"}, False, "loss", None),
    "torch.nn.Unflatten": LayerSpec(("dim", "unflattened_size", ), {}, False, "shape", "transparent"),
    "torch.nn.Unfold": LayerSpec(("kernel_size", "dilation", "padding", "stride", ), {"dilation": 1, "padding": 0, "stride": 1}, False, "shape", "transparent"),
    "torch.nn.Upsample": LayerSpec(("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", ), {"mode": "nearest"}, False, "shape", "transparent"),
    "torch.nn.UpsamplingBilinear2d": LayerSpec(("size", "scale_factor", ), {}, False, "shape", "transparent"),
    "torch.nn.UpsamplingNearest2d": LayerSpec(("size", "scale_factor", ), {}, False, "shape", "transparent"),
    "torch.nn.ZeroPad1d": LayerSpec(("padding", ), {}, False, "shape", "transparent"),
    "torch.nn.ZeroPad2d": LayerSpec(("padding", ), {}, False, "shape", "transparent"),
    "torch.nn.ZeroPad3d": LayerSpec(("padding", ), {}, False, "shape", "transparent"),
}  # fmt: skip


def weight_shapes(name: str, constants: Mapping[str, object]) -> dict[str, tuple[int, ...]] | None:
    """Shapes of the parameters of a layer constructed with these arguments; None when a size is not known.

    `constants` maps parameter names of the constructor to constants; what is missing has its default.
    """
    spec = LAYERS.get(name)
    if spec is None or not spec.parametric:
        return {} if spec is not None and spec.family not in ("container", "other", "loss", "norm_instance") else None
    values = {**spec.defaults, **constants}
    bias = bool(values.get("bias", True))
    if spec.family == "linear":
        rows, columns = _int(values, "out_features"), _int(values, "in_features")
        return None if rows is None or columns is None else _with_bias({"weight": (rows, columns)}, rows, bias)
    if spec.family in ("conv", "conv_transpose"):
        return _convolution(spec.family, int(name[-2]), values, bias)
    if spec.family == "norm_running":
        features = _int(values, "num_features")
        if features is None:
            return None
        return {"weight": (features,), "bias": (features,)} if values.get("affine", True) else {}
    if spec.family == "embedding":
        rows, columns = _int(values, "num_embeddings"), _int(values, "embedding_dim")
        return None if rows is None or columns is None else {"weight": (rows, columns)}
    if spec.family == "bilinear":
        sizes = [_int(values, key) for key in ("out_features", "in1_features", "in2_features")]
        known = [size for size in sizes if size is not None]
        return _with_bias({"weight": tuple(known)}, known[0], bias) if len(known) == 3 else None
    return _norm_or_recurrent(name, spec.family, values, bias)


def _int(values: Mapping[str, object], key: str) -> int | None:
    value = values.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _with_bias(shapes: dict[str, tuple[int, ...]], size: int, bias: bool) -> dict[str, tuple[int, ...]]:
    return {**shapes, "bias": (size,)} if bias else shapes


def _convolution(family: str, dimensions: int, values: Mapping[str, object], bias: bool) -> dict[str, tuple[int, ...]] | None:
    inputs, outputs, groups = _int(values, "in_channels"), _int(values, "out_channels"), _int(values, "groups")
    kernel = values.get("kernel_size")
    if isinstance(kernel, int):
        kernel = (kernel,) * dimensions
    if inputs is None or outputs is None or not groups or not isinstance(kernel, tuple):
        return None
    if not all(isinstance(size, int) for size in kernel) or len(kernel) != dimensions:
        return None
    first, second = (outputs, inputs // groups) if family == "conv" else (inputs, outputs // groups)
    return _with_bias({"weight": (first, second, *kernel)}, outputs, bias)


def _norm_or_recurrent(
    name: str, family: str, values: Mapping[str, object], bias: bool
) -> dict[str, tuple[int, ...]] | None:
    kind = name.rpartition(".")[2]
    if kind == "GroupNorm":
        channels = _int(values, "num_channels")
        if channels is None:
            return None
        return {"weight": (channels,), "bias": (channels,)} if values.get("affine", True) else {}
    if kind in ("LayerNorm", "RMSNorm"):
        shape = values.get("normalized_shape")
        shape = (shape,) if isinstance(shape, int) else shape
        if not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape):
            return None
        if not values.get("elementwise_affine", True):
            return {}
        return {"weight": shape, "bias": shape} if kind == "LayerNorm" and bias else {"weight": shape}
    if kind == "PReLU":
        count = _int(values, "num_parameters")
        return None if count is None else {"weight": (count,)}
    if kind in _GATES and family == "recurrent" and not values.get("proj_size"):
        return _recurrent(_GATES[kind], values, bias)
    if kind in _GATES:
        inputs, hidden = _int(values, "input_size"), _int(values, "hidden_size")
        if inputs is None or hidden is None or values.get("proj_size"):
            return None
        rows = _GATES[kind] * hidden
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, inputs), "weight_hh": (rows, hidden)}
        return {**shapes, "bias_ih": (rows,), "bias_hh": (rows,)} if bias else shapes
    return None


_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4, "RNNCell": 1, "GRUCell": 3, "LSTMCell": 4}


def _recurrent(gates: int, values: Mapping[str, object], bias: bool) -> dict[str, tuple[int, ...]] | None:
    inputs, hidden = _int(values, "input_size"), _int(values, "hidden_size")
    layers = values.get("num_layers", 1)
    if inputs is None or hidden is None or not isinstance(layers, int):
        return None
    directions = 2 if values.get("bidirectional") else 1
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        for suffix in ("", "_reverse")[:directions]:
            width = inputs if layer == 0 else hidden * directions
            shapes[f"weight_ih_l{layer}{suffix}"] = (gates * hidden, width)
            shapes[f"weight_hh_l{layer}{suffix}"] = (gates * hidden, hidden)
            if bias:
                shapes[f"bias_ih_l{layer}{suffix}"] = (gates * hidden,)
                shapes[f"bias_hh_l{layer}{suffix}"] = (gates * hidden,)
    return shapes


def parameter_count(name: str, constants: Mapping[str, object]) -> int | None:
    """How many numbers the parameters of a layer hold; None when a size is not known."""
    shapes = weight_shapes(name, constants)
    return None if shapes is None else sum(prod(shape) for shape in shapes.values())
