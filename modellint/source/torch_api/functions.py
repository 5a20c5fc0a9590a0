"""The functions and tensor methods of torch: what they make of their input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_F = "torch.nn.functional."


def _everywhere(names: str, *prefixes: str) -> list[str]:
    return [prefix + name for name in names.split() for prefix in prefixes]


ACTIVATIONS: Mapping[str, str] = {
    **dict.fromkeys(_everywhere("sigmoid", "torch.", _F, "torch.Tensor."), "sigmoid"),
    **dict.fromkeys(["torch.special.expit", _F + "hardsigmoid", "torch.sigmoid_", "torch.Tensor.sigmoid_"], "sigmoid"),
    **dict.fromkeys(_everywhere("softmax", "torch.", _F, "torch.Tensor.", "torch.special."), "softmax"),
    _F + "softmin": "softmax",
    **dict.fromkeys(_everywhere("log_softmax", "torch.", _F, "torch.Tensor.", "torch.special."), "log_softmax"),
    **dict.fromkeys(_everywhere("relu relu_", "torch.", _F, "torch.Tensor."), "non_negative"),
    **dict.fromkeys([_F + "relu6", _F + "softplus"], "non_negative"),
    **dict.fromkeys(_everywhere("tanh", "torch.", _F, "torch.Tensor."), "tanh"),
    **dict.fromkeys([_F + "hardtanh", _F + "softsign", "torch.Tensor.tanh_"], "tanh"),
    **dict.fromkeys(
        [
            _F + name
            for name in """gelu silu elu elu_ selu selu_ celu celu_ leaky_relu leaky_relu_ mish hardswish logsigmoid
            hardshrink softshrink tanhshrink prelu glu threshold""".split()
        ],
        "other",
    ),
    **dict.fromkeys(["torch.exp", "torch.Tensor.exp", "torch.log", "torch.Tensor.log", "torch.logit"], "other"),
}
"""Functions and methods by dotted name -> kind of their output."""

_SHAPE = """squeeze unsqueeze flatten permute transpose contiguous clone reshape movedim moveaxis swapaxes swapdims
narrow ravel unflatten broadcast_to"""
_SHAPE_METHODS = """view view_as reshape_as t to float half double bfloat16 cpu cuda type_as type expand expand_as detach
requires_grad_ squeeze_ unsqueeze_ transpose_ t_ repeat repeat_interleave index_select masked_select as_strided
pin_memory retain_grad"""
SHAPE_OPS: frozenset[str] = frozenset(
    [
        *_everywhere(" ".join(n for n in _SHAPE.split() if n != "contiguous"), "torch."),
        *_everywhere(_SHAPE, "torch.Tensor."),
        *_everywhere(_SHAPE_METHODS, "torch.Tensor."),
        "torch.detach",
        "torch.t",
    ]
)
"""They move values and leave each as it is."""

DROPOUTS: frozenset[str] = frozenset(
    _F + name for name in "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout".split()
)
"""Functional dropouts: `(input, p=0.5, training=True, inplace=False)`."""

CREATORS: frozenset[str] = frozenset(
    _everywhere(
        """zeros ones randn rand randint empty full tensor as_tensor arange linspace eye from_numpy zeros_like ones_like
        rand_like randn_like randint_like full_like empty_like normal randperm asarray""",
        "torch.",
    )
)
"""They make a new tensor, on the CPU unless told otherwise."""

METRIC_OPS: frozenset[str] = frozenset(
    "argmax argmin argsort max min topk eq ne gt ge lt le equal round where sort allclose isclose".split()
)
"""Names of functions and methods that turn an output into a decision."""


@dataclass(frozen=True, slots=True)
class InitSpec:
    """One function of `torch.nn.init`."""

    constant: float | None = None
    """It fills with this number."""
    parameter: str | None = None
    """It fills with the argument of this name …"""
    position: int = 1
    """… at this position."""


_I = "torch.nn.init."
INIT_FUNCTIONS: Mapping[str, InitSpec] = {
    _I + "constant_": InitSpec(parameter="val"),
    _I + "ones_": InitSpec(constant=1.0),
    _I + "zeros_": InitSpec(constant=0.0),
    **{
        _I + name: InitSpec()
        for name in """normal_ uniform_ trunc_normal_ xavier_uniform_ xavier_normal_ kaiming_uniform_ kaiming_normal_
        orthogonal_ sparse_ eye_ dirac_""".split()
    },
}
"""What a call leaves in a parameter: a constant, or something that is none."""

SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "torch.device": ("type", "index", ),
    "torch.nn.functional.adaptive_avg_pool2d": ("input", "output_size", ),
    "torch.nn.functional.adaptive_avg_pool3d": ("input", "output_size", ),
    "torch.nn.functional.adaptive_max_pool1d_with_indices": ("input", "output_size", "return_indices", ),
    "torch.nn.functional.adaptive_max_pool2d_with_indices": ("input", "output_size", "return_indices", ),
    "torch.nn.functional.adaptive_max_pool3d_with_indices": ("input", "output_size", "return_indices", ),
    "torch.nn.functional.affine_grid": ("theta", "size", "align_corners", ),
    "torch.nn.functional.alpha_dropout": ("input", "p", "training", "inplace", ),
    "torch.nn.functional.assert_int_or_pair": ("arg", "arg_name", "message", ),
    "torch.nn.functional.batch_norm": ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps", ),
    "torch.nn.functional.binary_cross_entropy": ("input", "target", "weight", "size_average", "reduce", "reduction", ),
    "torch.nn.functional.binary_cross_entropy_with_logits": ("input", "target", "weight", "size_average", "reduce", "reduction", "pos_weight", ),
    "torch.nn.functional.boolean_dispatch": ("arg_name", "arg_index", "default", "if_true", "if_false", "module_name", "func_name", ),
    "torch.nn.functional.celu": ("input", "alpha", "inplace", ),
    "torch.nn.functional.cosine_embedding_loss": ("input1", "input2", "target", "margin", "size_average", "reduce", "reduction", ),
    "torch.nn.functional.cross_entropy": ("input", "target", "weight", "size_average", "ignore_index", "reduce", "reduction", "label_smoothing", ),
    "torch.nn.functional.ctc_loss": ("log_probs", "targets", "input_lengths", "target_lengths", "blank", "reduction", "zero_infinity", ),
    "torch.nn.functional.dropout": ("input", "p", "training", "inplace", ),
    "torch.nn.functional.dropout1d": ("input", "p", "training", "inplace", ),
    "torch.nn.functional.dropout2d": ("input", "p", "training", "inplace", ),
    "torch.nn.functional.dropout3d": ("input", "p", "training", "inplace", ),
    "torch.nn.functional.elu": ("input", "alpha", "inplace", ),
    "torch.nn.functional.embedding": ("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse", ),
    "torch.nn.functional.embedding_bag": ("input", "weight", "offsets", "max_norm", "norm_type", "scale_grad_by_freq", "mode", "sparse", "per_sample_weights", "include_last_offset", "padding_idx", ),
    "torch.nn.functional.feature_alpha_dropout": ("input", "p", "training", "inplace", ),
    "torch.nn.functional.fold": ("input", "output_size", "kernel_size", "dilation", "padding", "stride", ),
    "torch.nn.functional.fractional_max_pool2d_with_indices": ("input", "kernel_size", "output_size", "output_ratio", "return_indices", "_random_samples", ),
    "torch.nn.functional.fractional_max_pool3d_with_indices": ("input", "kernel_size", "output_size", "output_ratio", "return_indices", "_random_samples", ),
    "torch.nn.functional.gaussian_nll_loss": ("input", "target", "var", "full", "eps", "reduction", ),
    "torch.nn.functional.glu": ("input", "dim", ),
    "torch.nn.functional.grid_sample": ("input", "grid", "mode", "padding_mode", "align_corners", ),
    "torch.nn.functional.group_norm": ("input", "num_groups", "weight", "bias", "eps", ),
    "torch.nn.functional.grouped_mm": ("mat_a", "mat_b", "offs", "bias", "out_dtype", ),
    "torch.nn.functional.gumbel_softmax": ("logits", "tau", "hard", "eps", "dim", ),
    "torch.nn.functional.handle_torch_function": ("public_api", "relevant_args", ),
    "torch.nn.functional.hardsigmoid": ("input", "inplace", ),
    "torch.nn.functional.hardswish": ("input", "inplace", ),
    "torch.nn.functional.hardtanh": ("input", "min_val", "max_val", "inplace", ),
    "torch.nn.functional.hinge_embedding_loss": ("input", "target", "margin", "size_average", "reduce", "reduction", ),
    "torch.nn.functional.huber_loss": ("input", "target", "reduction", "delta", "weight", ),
    "torch.nn.functional.instance_norm": ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps", ),
    "torch.nn.functional.interpolate": ("input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias", ),
    "torch.nn.functional.kl_div": ("input", "target", "size_average", "reduce", "reduction", "log_target", ),
    "torch.nn.functional.l1_loss": ("input", "target", "size_average", "reduce", "reduction", "weight", ),
    "torch.nn.functional.layer_norm": ("input", "normalized_shape", "weight", "bias", "eps", ),
    "torch.nn.functional.leaky_relu": ("input", "negative_slope", "inplace", ),
    "torch.nn.functional.linear_cross_entropy": ("input", "linear_weight", "target", "linear_bias", "weight", "reduction", "ignore_index", "label_smoothing", "options", ),
    "torch.nn.functional.local_response_norm": ("input", "size", "alpha", "beta", "k", ),
    "torch.nn.functional.log_softmax": ("input", "dim", "_stacklevel", "dtype", ),
    "torch.nn.functional.lp_pool1d": ("input", "norm_type", "kernel_size", "stride", "ceil_mode", ),
    "torch.nn.functional.lp_pool2d": ("input", "norm_type", "kernel_size", "stride", "ceil_mode", ),
    "torch.nn.functional.lp_pool3d": ("input", "norm_type", "kernel_size", "stride", "ceil_mode", ),
    "torch.nn.functional.margin_ranking_loss": ("input1", "input2", "target", "margin", "size_average", "reduce", "reduction", ),
    "torch.nn.functional.max_pool1d_with_indices": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices", ),
    "torch.nn.functional.max_pool2d_with_indices": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices", ),
    "torch.nn.functional.max_pool3d_with_indices": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices", ),
    "torch.nn.functional.max_unpool1d": ("input", "indices", "kernel_size", "stride", "padding", "output_size", ),
    "torch.nn.functional.max_unpool2d": ("input", "indices", "kernel_size", "stride", "padding", "output_size", ),
    "torch.nn.functional.max_unpool3d": ("input", "indices", "kernel_size", "stride", "padding", "output_size", ),
    "torch.nn.functional.mish": ("input", "inplace", ),
    "torch.nn.functional.mse_loss": ("input", "target", "size_average", "reduce", "reduction", "weight", ),
    "torch.nn.functional.multi_head_attention_forward": ("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias", "training", "key_padding_mask", "need_weights", "attn_mask", "use_separate_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "static_k", "static_v", "average_attn_weights", "is_causal", ),
    "torch.nn.functional.multi_margin_loss": ("input", "target", "p", "margin", "weight", "size_average", "reduce", "reduction", ),
    "torch.nn.functional.multilabel_margin_loss": ("input", "target", "size_average", "reduce", "reduction", ),
    "torch.nn.functional.multilabel_soft_margin_loss": ("input", "target", "weight", "size_average", "reduce", "reduction", ),
    "torch.nn.functional.nll_loss": ("input", "target", "weight", "size_average", "ignore_index", "reduce", "reduction", ),
    "torch.nn.functional.normalize": ("input", "p", "dim", "eps", "out", ),
    "torch.nn.functional.pad": ("input", "pad", "mode", "value", ),
    "torch.nn.functional.poisson_nll_loss": ("input", "target", "log_input", "full", "size_average", "eps", "reduce", "reduction", ),
    "torch.nn.functional.relu": ("input", "inplace", ),
    "torch.nn.functional.relu6": ("input", "inplace", ),
    "torch.nn.functional.rms_norm": ("input", "normalized_shape", "weight", "eps", ),
    "torch.nn.functional.rrelu": ("input", "lower", "upper", "training", "inplace", ),
    "torch.nn.functional.scaled_dot_product_attention": ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa", ),
    "torch.nn.functional.scaled_grouped_mm": ("mat_a", "mat_b", "scale_a", "scale_recipe_a", "scale_b", "scale_recipe_b", "swizzle_a", "swizzle_b", "bias", "offs", "output_dtype", "contraction_dim", "use_fast_accum", ),
    "torch.nn.functional.scaled_mm": ("mat_a", "mat_b", "scale_a", "scale_recipe_a", "scale_b", "scale_recipe_b", "swizzle_a", "swizzle_b", "bias", "output_dtype", "contraction_dim", "use_fast_accum", ),
    "torch.nn.functional.selu": ("input", "inplace", ),
    "torch.nn.functional.sigmoid": ("input", ),
    "torch.nn.functional.silu": ("input", "inplace", ),
    "torch.nn.functional.smooth_l1_loss": ("input", "target", "size_average", "reduce", "reduction", "beta", ),
    "torch.nn.functional.soft_margin_loss": ("input", "target", "size_average", "reduce", "reduction", ),
    "torch.nn.functional.softmax": ("input", "dim", "_stacklevel", "dtype", ),
    "torch.nn.functional.softmin": ("input", "dim", "_stacklevel", "dtype", ),
    "torch.nn.functional.softsign": ("input", ),
    "torch.nn.functional.tanh": ("input", ),
    "torch.nn.functional.tanhshrink": ("input", ),
    "torch.nn.functional.threshold": ("input", "threshold", "value", "inplace", ),
    "torch.nn.functional.triplet_margin_loss": ("anchor", "positive", "negative", "margin", "p", "eps", "swap", "size_average", "reduce", "reduction", ),
    "torch.nn.functional.triplet_margin_with_distance_loss": ("anchor", "positive", "negative", "distance_function", "margin", "swap", "reduction", ),
    "torch.nn.functional.unfold": ("input", "kernel_size", "dilation", "padding", "stride", ),
    "torch.nn.functional.upsample": ("input", "size", "scale_factor", "mode", "align_corners", ),
    "torch.nn.functional.upsample_bilinear": ("input", "size", "scale_factor", ),
    "torch.nn.functional.upsample_nearest": ("input", "size", "scale_factor", ),
    "torch.nn.init.calculate_gain": ("nonlinearity", "param", ),
    "torch.nn.init.constant_": ("tensor", "val", ),
    "torch.nn.init.dirac_": ("tensor", "groups", ),
    "torch.nn.init.eye_": ("tensor", ),
    "torch.nn.init.kaiming_normal_": ("tensor", "a", "mode", "nonlinearity", "generator", ),
    "torch.nn.init.kaiming_uniform_": ("tensor", "a", "mode", "nonlinearity", "generator", ),
    "torch.nn.init.normal_": ("tensor", "mean", "std", "generator", ),
    "torch.nn.init.ones_": ("tensor", ),
    "torch.nn.init.orthogonal_": ("tensor", "gain", "generator", ),
    "torch.nn.init.sparse_": ("tensor", "sparsity", "std", "generator", ),
    "torch.nn.init.trunc_normal_": ("tensor", "mean", "std", "a", "b", "generator", ),
    "torch.nn.init.uniform_": ("tensor", "a", "b", "generator", ),
    "torch.nn.init.xavier_normal_": ("tensor", "gain", "generator", ),
    "torch.nn.init.xavier_uniform_": ("tensor", "gain", "generator", ),
    "torch.nn.init.zeros_": ("tensor", ),
}  # fmt: skip
"""Parameter names, in order."""

TENSOR_METHODS: frozenset[str] = frozenset(
    """
    abs abs_ absolute absolute_ acos acos_ acosh acosh_ add add_ addbmm addbmm_ addcdiv addcdiv_ addcmul addcmul_
    addmm addmm_ addmv addmv_ addr addr_ adjoint all allclose amax amin aminmax angle any apply_ arccos arccos_
    arccosh arccosh_ arcsin arcsin_ arcsinh arcsinh_ arctan arctan2 arctan2_ arctan_ arctanh arctanh_ argmax argmin
    argsort argwhere as_strided as_strided_ as_strided_scatter as_subclass asin asin_ asinh asinh_ atan atan2 atan2_
    atan_ atanh atanh_ backward baddbmm baddbmm_ bernoulli bernoulli_ bfloat16 bincount bitwise_and bitwise_and_
    bitwise_left_shift bitwise_left_shift_ bitwise_not bitwise_not_ bitwise_or bitwise_or_ bitwise_right_shift
    bitwise_right_shift_ bitwise_xor bitwise_xor_ bmm bool broadcast_to byte cauchy_ ccol_indices cdouble ceil ceil_
    cfloat chalf char cholesky cholesky_inverse cholesky_solve chunk clamp clamp_ clamp_max clamp_max_ clamp_min
    clamp_min_ clip clip_ clone coalesce col_indices conj conj_physical conj_physical_ const_data_ptr contiguous
    copy_ copysign copysign_ corrcoef cos cos_ cosh cosh_ count_nonzero cov cpu cross crow_indices cuda cummax
    cummin cumprod cumprod_ cumsum cumsum_ data_ptr deg2rad deg2rad_ dense_dim dequantize det detach detach_ diag
    diag_embed diagflat diagonal diagonal_scatter diff digamma digamma_ dim dim_order dist div div_ divide divide_
    dot double dsplit eig element_size eq eq_ equal erf erf_ erfc erfc_ erfinv erfinv_ exp exp2 exp2_ exp_ expand
    expand_as expm1 expm1_ exponential_ fill_ fill_diagonal_ fix fix_ flatten flip fliplr flipud float float_power
    float_power_ floor floor_ floor_divide floor_divide_ fmax fmin fmod fmod_ frac frac_ frexp gather gcd gcd_ ge
    ge_ geometric_ geqrf ger get_device greater greater_ greater_equal greater_equal_ gt gt_ half hardshrink
    hash_tensor heaviside heaviside_ histc histogram hsplit hypot hypot_ i0 i0_ igamma igamma_ igammac igammac_
    index index_add index_add_ index_copy index_copy_ index_fill index_fill_ index_put index_put_ index_reduce
    index_reduce_ index_select indices inner int int_repr inverse ipu is_coalesced is_complex is_conj is_contiguous
    is_distributed is_floating_point is_inference is_neg is_nonzero is_pinned is_same_size is_set_to is_shared
    is_signed isclose isfinite isinf isnan isneginf isposinf isreal istft item kron kthvalue lcm lcm_ ldexp ldexp_
    le le_ lerp lerp_ less less_ less_equal less_equal_ lgamma lgamma_ log log10 log10_ log1p log1p_ log2 log2_ log_
    log_normal_ log_softmax logaddexp logaddexp2 logcumsumexp logdet logical_and logical_and_ logical_not
    logical_not_ logical_or logical_or_ logical_xor logical_xor_ logit logit_ logsumexp long lstsq lt lt_ lu
    lu_solve map2_ map_ masked_fill masked_fill_ masked_scatter masked_scatter_ masked_select matmul matrix_exp
    matrix_power max maximum mean median min minimum mm mode module_load moveaxis movedim msort mtia mul mul_
    multinomial multiply multiply_ mv mvlgamma mvlgamma_ nan_to_num nan_to_num_ nanmean nanmedian nanquantile nansum
    narrow narrow_copy ndimension ne ne_ neg neg_ negative negative_ nelement new new_empty new_empty_strided
    new_full new_ones new_tensor new_zeros nextafter nextafter_ nonzero nonzero_static norm normal_ not_equal
    not_equal_ numel numpy orgqr ormqr outer permute pin_memory pinverse polygamma polygamma_ positive pow pow_
    prelu prod put put_ q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point qr
    qscheme quantile rad2deg rad2deg_ random_ ravel reciprocal reciprocal_ record_stream register_hook
    register_post_accumulate_grad_hook reinforce relu relu_ remainder remainder_ renorm renorm_ repeat
    repeat_interleave requires_grad_ reshape reshape_as resize resize_ resize_as resize_as_ resize_as_sparse_
    resolve_conj resolve_neg retain_grad roll rot90 round round_ row_indices rsqrt rsqrt_ scatter scatter_
    scatter_add scatter_add_ scatter_reduce scatter_reduce_ select select_scatter set_ sgn sgn_ share_memory_ short
    sigmoid sigmoid_ sign sign_ signbit sin sin_ sinc sinc_ sinh sinh_ size slice_inverse slice_scatter slogdet smm
    softmax solve sort sparse_dim sparse_mask sparse_resize_ sparse_resize_and_clear_ split split_with_sizes sqrt
    sqrt_ square square_ squeeze squeeze_ sspaddmm std stft storage storage_offset storage_type stride sub sub_
    subtract subtract_ sum sum_to_size svd swapaxes swapaxes_ swapdims swapdims_ symeig t t_ take take_along_dim tan
    tan_ tanh tanh_ tensor_split tile to to_dense to_mkldnn to_padded_tensor to_sparse to_sparse_bsc to_sparse_bsr
    to_sparse_coo to_sparse_csc to_sparse_csr tolist topk trace transpose transpose_ triangular_solve tril tril_
    triu triu_ true_divide true_divide_ trunc trunc_ type type_as unbind unflatten unfold uniform_ unique
    unique_consecutive unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze unsqueeze_ untyped_storage values
    var vdot view view_as vsplit where xlogy xlogy_ xpu zero_
    """.split()
)
"""Every method of `torch.Tensor`."""
