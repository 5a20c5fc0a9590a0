"""The functions and tensor methods of torch: what they make of their input."""

from __future__ import annotations

import re
from collections.abc import Mapping

from modellint.facts.record import record

_F = "torch.nn.functional."
_EVERYWHERE = ("torch.", _F, "torch.Tensor.")


def _all(names: str, *prefixes: str) -> list[str]:
    return [prefix + name for name in names.split() for prefix in prefixes]


ACTIVATIONS: Mapping[str, str] = {
    **dict.fromkeys(_all("sigmoid", *_EVERYWHERE), "sigmoid"),
    **dict.fromkeys(["torch.special.expit", _F + "hardsigmoid", "torch.sigmoid_", "torch.Tensor.sigmoid_"], "sigmoid"),
    **dict.fromkeys(_all("softmax", *_EVERYWHERE, "torch.special."), "softmax"),
    _F + "softmin": "softmax",
    **dict.fromkeys(_all("log_softmax", *_EVERYWHERE, "torch.special."), "log_softmax"),
    **dict.fromkeys(_all("relu relu_", *_EVERYWHERE), "non_negative"),
    **dict.fromkeys([_F + "relu6", _F + "softplus"], "non_negative"),
    **dict.fromkeys(_all("tanh", *_EVERYWHERE), "tanh"),
    **dict.fromkeys([_F + "softsign", "torch.tanh_", "torch.Tensor.tanh_"], "tanh"),
    # The bounds of hardtanh are arguments; gumbel_softmax draws samples; rrelu is random in train mode.
    **dict.fromkeys(
        _all(
            """gelu silu elu elu_ selu selu_ celu celu_ leaky_relu leaky_relu_ mish hardswish hardtanh hardtanh_
            logsigmoid hardshrink softshrink tanhshrink prelu glu threshold threshold_ gumbel_softmax rrelu rrelu_""",
            _F,
        ),
        "other",
    ),
    **dict.fromkeys(
        _all("selu selu_ celu celu_ prelu rrelu rrelu_ hardshrink threshold threshold_", "torch."), "other"
    ),
    **dict.fromkeys(_all("prelu hardshrink", "torch.Tensor."), "other"),
    **dict.fromkeys(_all("exp exp_", "torch.", "torch.Tensor."), "exp"),
    **dict.fromkeys(_all("log log_", "torch.", "torch.Tensor."), "log"),
    **dict.fromkeys(_all("logit logit_", "torch.", "torch.Tensor."), "other"),
    "torch.special.logit": "other",
}
"""Functions and methods by dotted name -> kind of their output, whatever went in: `sigmoid` each in [0, 1], `softmax`
non-negative and summing to 1 along `dim`, `log_softmax` the logarithm of that, `non_negative`, `tanh` each in [-1, 1],
`exp` and `log`, which lead from one of these to the other, `other` none of these."""

_SHAPE = """squeeze unsqueeze flatten unflatten permute transpose t swapaxes swapdims movedim moveaxis reshape ravel
broadcast_to clone detach flip fliplr flipud roll rot90 tile adjoint"""
_SHAPE_METHODS = """view view_as reshape_as resize contiguous expand expand_as repeat squeeze_ unsqueeze_ transpose_ t_
swapaxes_ swapdims_ detach_ to type type_as float half double bfloat16 cpu cuda pin_memory"""
_SHAPE_FUNCTIONS = """pad interpolate upsample upsample_nearest upsample_bilinear pixel_shuffle pixel_unshuffle
channel_shuffle"""
SHAPE_OPS: frozenset[str] = frozenset(
    [
        *_all(_SHAPE, "torch.", "torch.Tensor."),
        *_all(_SHAPE_METHODS, "torch.Tensor."),
        *_all(_SHAPE_FUNCTIONS, _F),
        *_all("atleast_1d atleast_2d atleast_3d pixel_shuffle pixel_unshuffle channel_shuffle", "torch."),
        "torch.autograd.Variable",
    ]
)
"""They move, copy, cast or resize values and keep the kind of the input. Selecting (`narrow`, `gather`) is not here: it
may run along the class axis; `long()` and `int()` are not: they make classes of scores."""


@record
class DropoutSpec:
    """A functional dropout."""

    signature: tuple[str, ...]
    switch: str
    """The parameter that turns it on and off."""
    default: bool | None
    """The value of `switch` when it is not given; None when it must be given."""


def _dropout(signature: str, default: bool | None, switch: str = "training") -> DropoutSpec:
    return DropoutSpec(tuple(signature.split()), switch, default)


DROPOUTS: Mapping[str, DropoutSpec] = {
    **dict.fromkeys(_all("dropout dropout1d dropout2d dropout3d", _F), _dropout("input p training inplace", True)),
    **dict.fromkeys(_all("alpha_dropout feature_alpha_dropout", _F), _dropout("input p training inplace", False)),
    **dict.fromkeys(
        _all("dropout dropout_ alpha_dropout alpha_dropout_ feature_dropout feature_dropout_", "torch."),
        _dropout("input p train", None, "train"),
    ),
    **dict.fromkeys(
        _all("feature_alpha_dropout feature_alpha_dropout_", "torch."), _dropout("input p train", None, "train")
    ),
    "torchvision.ops.stochastic_depth": _dropout("input p mode training", True),
    "torchvision.ops.drop_block2d": _dropout("input p block_size inplace eps training", True),
    "torchvision.ops.drop_block3d": _dropout("input p block_size inplace eps training", True),
    "timm.layers.drop_path": _dropout("x drop_prob training scale_by_keep", False),
    "timm.models.layers.drop_path": _dropout("x drop_prob training scale_by_keep", False),
}
"""Functional dropouts by dotted name."""

CREATORS: frozenset[str] = frozenset(
    _all(
        """zeros ones randn rand randint empty empty_strided full tensor as_tensor asarray scalar_tensor from_numpy
        frombuffer arange range linspace logspace eye normal randperm tril_indices triu_indices zeros_like ones_like
        rand_like randn_like randint_like full_like empty_like""",
        "torch.",
    )
)
"""They make a new tensor, on the CPU unless told otherwise."""

_METRIC_OPS = """argmax argmin argsort max min topk kthvalue sort round where eq ne gt ge lt le not_equal greater
greater_equal less less_equal equal allclose isclose"""
METRIC_OPS: frozenset[str] = frozenset(_METRIC_OPS.split())
"""Names of functions and methods that turn an output into a decision."""


@record
class InitSpec:
    """A function that fills a parameter."""

    constant: float | None = None
    """It fills with this number."""
    parameter: str | None = None
    """It fills with the argument of this name …"""
    position: int = 1
    """… at this position."""
    random: bool = False
    """It draws the values."""


_RANDOM = InitSpec(random=True)
INIT_FUNCTIONS: Mapping[str, InitSpec] = {
    "torch.nn.init.constant_": InitSpec(parameter="val"),
    "torch.nn.init.ones_": InitSpec(constant=1.0),
    "torch.nn.init.zeros_": InitSpec(constant=0.0),
    "torch.nn.init.eye_": InitSpec(),
    "torch.nn.init.dirac_": InitSpec(),
    **dict.fromkeys(
        _all(
            """normal_ uniform_ trunc_normal_ xavier_uniform_ xavier_normal_ kaiming_uniform_ kaiming_normal_
            orthogonal_ sparse_""",
            "torch.nn.init.",
        ),
        _RANDOM,
    ),
    "torch.fill_": InitSpec(parameter="value"),
    "torch.zero_": InitSpec(constant=0.0),
    "torch.Tensor.fill_": InitSpec(parameter="value"),
    "torch.Tensor.zero_": InitSpec(constant=0.0),
    **dict.fromkeys(
        _all("normal_ uniform_ random_ exponential_ bernoulli_ cauchy_ geometric_ log_normal_", "torch.Tensor."),
        _RANDOM,
    ),
}
"""What a call leaves in its first argument. A position counts this argument, also for a method called on its class."""

_SIGNATURE = re.compile(r"([\w.]+)\(([^)]*)\)")
_SIGNATURES: Mapping[str, str] = {
    "torch.nn.functional.": """
        adaptive_avg_pool1d(input, output_size)
        adaptive_avg_pool2d(input, output_size)
        adaptive_avg_pool3d(input, output_size)
        adaptive_max_pool1d(input, output_size, return_indices)
        adaptive_max_pool2d(input, output_size, return_indices)
        adaptive_max_pool3d(input, output_size, return_indices)
        affine_grid(theta, size, align_corners)
        alpha_dropout(input, p, training, inplace)
        avg_pool1d(input, kernel_size, stride, padding, ceil_mode, count_include_pad)
        avg_pool2d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
        avg_pool3d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
        batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
        bilinear(input1, input2, weight, bias)
        binary_cross_entropy(input, target, weight, size_average, reduce, reduction)
        binary_cross_entropy_with_logits(input, target, weight, size_average, reduce, reduction, pos_weight)
        celu(input, alpha, inplace)
        celu_(input, alpha)
        channel_shuffle(input, groups)
        conv1d(input, weight, bias, stride, padding, dilation, groups)
        conv2d(input, weight, bias, stride, padding, dilation, groups)
        conv3d(input, weight, bias, stride, padding, dilation, groups)
        conv_transpose1d(input, weight, bias, stride, padding, output_padding, groups, dilation)
        conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)
        conv_transpose3d(input, weight, bias, stride, padding, output_padding, groups, dilation)
        cosine_embedding_loss(input1, input2, target, margin, size_average, reduce, reduction)
        cosine_similarity(x1, x2, dim, eps)
        cross_entropy(input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing)
        ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity)
        dropout(input, p, training, inplace)
        dropout1d(input, p, training, inplace)
        dropout2d(input, p, training, inplace)
        dropout3d(input, p, training, inplace)
        elu(input, alpha, inplace)
        elu_(input, alpha)
        embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
        embedding_bag(input, weight, offsets, max_norm, norm_type, scale_grad_by_freq, mode, sparse,
            per_sample_weights, include_last_offset, padding_idx)
        feature_alpha_dropout(input, p, training, inplace)
        fold(input, output_size, kernel_size, dilation, padding, stride)
        fractional_max_pool2d(input, kernel_size, output_size, output_ratio, return_indices, _random_samples)
        fractional_max_pool3d(input, kernel_size, output_size, output_ratio, return_indices, _random_samples)
        gaussian_nll_loss(input, target, var, full, eps, reduction)
        gelu(input, approximate)
        glu(input, dim)
        grid_sample(input, grid, mode, padding_mode, align_corners)
        group_norm(input, num_groups, weight, bias, eps)
        gumbel_softmax(logits, tau, hard, eps, dim)
        hardshrink(input, lambd)
        hardsigmoid(input, inplace)
        hardswish(input, inplace)
        hardtanh(input, min_val, max_val, inplace)
        hardtanh_(input, min_val, max_val)
        hinge_embedding_loss(input, target, margin, size_average, reduce, reduction)
        huber_loss(input, target, reduction, delta, weight)
        instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
        interpolate(input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
        kl_div(input, target, size_average, reduce, reduction, log_target)
        l1_loss(input, target, size_average, reduce, reduction, weight)
        layer_norm(input, normalized_shape, weight, bias, eps)
        leaky_relu(input, negative_slope, inplace)
        leaky_relu_(input, negative_slope)
        linear(input, weight, bias)
        linear_cross_entropy(input, linear_weight, target)
        local_response_norm(input, size, alpha, beta, k)
        log_softmax(input, dim, _stacklevel, dtype)
        logsigmoid(input)
        lp_pool1d(input, norm_type, kernel_size, stride, ceil_mode)
        lp_pool2d(input, norm_type, kernel_size, stride, ceil_mode)
        lp_pool3d(input, norm_type, kernel_size, stride, ceil_mode)
        margin_ranking_loss(input1, input2, target, margin, size_average, reduce, reduction)
        max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
        max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
        max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
        max_unpool1d(input, indices, kernel_size, stride, padding, output_size)
        max_unpool2d(input, indices, kernel_size, stride, padding, output_size)
        max_unpool3d(input, indices, kernel_size, stride, padding, output_size)
        mish(input, inplace)
        mse_loss(input, target, size_average, reduce, reduction, weight)
        multi_head_attention_forward(query, key, value, embed_dim_to_check, num_heads, in_proj_weight,
            in_proj_bias, bias_k, bias_v, add_zero_attn, dropout_p, out_proj_weight, out_proj_bias, training,
            key_padding_mask, need_weights, attn_mask, use_separate_proj_weight, q_proj_weight, k_proj_weight,
            v_proj_weight, static_k, static_v, average_attn_weights, is_causal)
        multi_margin_loss(input, target, p, margin, weight, size_average, reduce, reduction)
        multilabel_margin_loss(input, target, size_average, reduce, reduction)
        multilabel_soft_margin_loss(input, target, weight, size_average, reduce, reduction)
        nll_loss(input, target, weight, size_average, ignore_index, reduce, reduction)
        normalize(input, p, dim, eps, out)
        one_hot(tensor, num_classes)
        pad(input, pad, mode, value)
        pairwise_distance(x1, x2, p, eps, keepdim)
        pdist(input, p)
        pixel_shuffle(input, upscale_factor)
        pixel_unshuffle(input, downscale_factor)
        poisson_nll_loss(input, target, log_input, full, size_average, eps, reduce, reduction)
        prelu(input, weight)
        relu(input, inplace)
        relu6(input, inplace)
        relu_(input)
        rms_norm(input, normalized_shape, weight, eps)
        rrelu(input, lower, upper, training, inplace)
        rrelu_(input, lower, upper, training)
        scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal)
        selu(input, inplace)
        selu_(input)
        sigmoid(input)
        silu(input, inplace)
        smooth_l1_loss(input, target, size_average, reduce, reduction, beta)
        soft_margin_loss(input, target, size_average, reduce, reduction)
        softmax(input, dim, _stacklevel, dtype)
        softmin(input, dim, _stacklevel, dtype)
        softplus(input, beta, threshold)
        softshrink(input, lambd)
        softsign(input)
        tanh(input)
        tanhshrink(input)
        threshold(input, threshold, value, inplace)
        threshold_(input, threshold, value)
        triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, size_average, reduce, reduction)
        triplet_margin_with_distance_loss(anchor, positive, negative)
        unfold(input, kernel_size, dilation, padding, stride)
        upsample(input, size, scale_factor, mode, align_corners)
        upsample_bilinear(input, size, scale_factor)
        upsample_nearest(input, size, scale_factor)
    """,
    "torch.nn.init.": """
        constant_(tensor, val)
        dirac_(tensor, groups)
        eye_(tensor)
        kaiming_normal_(tensor, a, mode, nonlinearity, generator)
        kaiming_uniform_(tensor, a, mode, nonlinearity, generator)
        normal_(tensor, mean, std, generator)
        ones_(tensor)
        orthogonal_(tensor, gain, generator)
        sparse_(tensor, sparsity, std, generator)
        trunc_normal_(tensor, mean, std, a, b, generator)
        uniform_(tensor, a, b, generator)
        xavier_normal_(tensor, gain, generator)
        xavier_uniform_(tensor, gain, generator)
        zeros_(tensor)
        calculate_gain(nonlinearity, param)
    """,
    "torch.": """
        as_tensor(data)
        asarray(obj)
        from_numpy(ndarray)
        frombuffer(buffer)
        tensor(data)
        arange(start, end, step)
        range(start, end, step)
        linspace(start, end, steps)
        logspace(start, end, steps, base)
        eye(n, m)
        full(size, fill_value)
        normal(mean, std)
        bernoulli(input)
        randint(low, high, size)
        randperm(n)
        zeros_like(input)
        ones_like(input)
        empty_like(input)
        full_like(input, fill_value)
        rand_like(input)
        randn_like(input)
        randint_like(input, low, high)
        empty_strided(size, stride)
        tril_indices(row, col, offset)
        triu_indices(row, col, offset)
        zeros()
        ones()
        empty()
        rand()
        randn()
        cuda.set_device(device)
        cuda.device(device)
        set_default_device(device)
        load(f, map_location, pickle_module)
        save(obj, f, pickle_module, pickle_protocol)
        manual_seed(seed)
        inference_mode(mode)
        set_grad_enabled(mode)
        autograd.grad(outputs, inputs, grad_outputs, retain_graph, create_graph, only_inputs, allow_unused,
            is_grads_batched, materialize_grads)
        autograd.backward(tensors, grad_tensors, retain_graph, create_graph, grad_variables, inputs)
        nn.utils.clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)
        nn.utils.clip_grad_value_(parameters, clip_value, foreach)
        nn.utils.clip_grad_norm(parameters, max_norm, norm_type, error_if_nonfinite, foreach)
        utils.data.DataLoader(dataset, batch_size, shuffle, sampler, batch_sampler, num_workers, collate_fn,
            pin_memory, drop_last, timeout, worker_init_fn, multiprocessing_context, generator)
        utils.data.random_split(dataset, lengths, generator)
        utils.data.Subset(dataset, indices)
        softmax(input, dim, dtype)
        log_softmax(input, dim, dtype)
        dropout(input, p, train)
        dropout_(input, p, train)
        alpha_dropout(input, p, train)
        alpha_dropout_(input, p, train)
        feature_dropout(input, p, train)
        feature_alpha_dropout(input, p, train)
        rrelu(input, lower, upper, training, inplace)
        relu(input)
        utils.checkpoint.checkpoint(function)
        device(type, index)
        sigmoid(input)
        relu_(input)
        tanh(input)
        cat(tensors, dim)
        concat(tensors, dim)
        concatenate(tensors, axis)
        stack(tensors, dim)
        hstack(tensors)
        vstack(tensors)
        where(condition, input, other)
        clamp(input, min, max)
        argmax(input, dim, keepdim)
        argmin(input, dim, keepdim)
        topk(input, k, dim, largest, sorted)
        sum(input, dim, keepdim)
        mean(input, dim, keepdim)
        matmul(input, other)
        mm(input, mat2)
        bmm(input, mat2)
        flatten(input, start_dim, end_dim)
        reshape(input, shape)
        squeeze(input, dim)
        unsqueeze(input, dim)
        transpose(input, dim0, dim1)
        permute(input, dims)
        chunk(input, chunks, dim)
        split(tensor, split_size_or_sections, dim)
        log(input)
        exp(input)
        sqrt(input)
        pow(input, exponent)
        mul(input, other)
        add(input, other)
        round(input)
        eq(input, other)
        gt(input, other)
        lt(input, other)
        ge(input, other)
        le(input, other)
        nn.Module.cuda(device)
        nn.Module.load_state_dict(state_dict, strict, assign)
        nn.Module.train(mode)
        nn.Module.requires_grad_(requires_grad)
        nn.Module.zero_grad(set_to_none)
        nn.Module.apply(fn)
        nn.Module.register_buffer(name, tensor, persistent)
        nn.Module.register_parameter(name, param)
        nn.Module.add_module(name, module)
        jit.load(f, map_location)
        nn.parallel.DistributedDataParallel(module, device_ids, output_device, dim, broadcast_buffers)
        nn.Parameter(data, requires_grad)
        Tensor.cuda(device, non_blocking, memory_format)
        Tensor.cpu(memory_format)
        Tensor.backward(gradient, retain_graph, create_graph, inputs)
        Tensor.softmax(dim)
        Tensor.fill_(value)
    """,
}
SIGNATURES: Mapping[str, tuple[str, ...]] = {
    prefix + name: tuple(arguments.replace(",", " ").split())
    for prefix, text in _SIGNATURES.items()
    for name, arguments in _SIGNATURE.findall(text)
}
"""Names of the positional parameters, in order; a method's receiver is left out. Not here: `.to(...)`, whose first
argument may be a device, a dtype or a tensor, and autocast, which has two signatures under one name."""

_METHODS = """
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
"""
TENSOR_METHODS: frozenset[str] = frozenset(_METHODS.split())
"""Every public method of `torch.Tensor`."""

_NO_TENSOR = """
    apply_ backward const_data_ptr data_ptr dense_dim dim dim_order element_size equal allclose get_device
    is_coalesced is_complex is_conj is_contiguous is_distributed is_floating_point is_inference is_neg is_nonzero
    is_pinned is_same_size is_set_to is_shared is_signed item map_ module_load ndimension nelement numel numpy
    q_per_channel_axis q_scale q_zero_point qscheme record_stream register_hook
    register_post_accumulate_grad_hook reinforce requires_grad_ resize resize_ resize_as resize_as_ retain_grad
    share_memory_ size slice_inverse sparse_dim storage storage_offset storage_type stride tolist untyped_storage new
"""
PURE_TENSOR_METHODS: frozenset[str] = frozenset(
    name for name in TENSOR_METHODS if not name.endswith("_") and name not in frozenset(_NO_TENSOR.split())
)
"""Methods that do nothing but return tensors: as a statement they are without effect."""
