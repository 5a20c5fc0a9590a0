"""Layers of other libraries that act like one of torch's: what one of them does is known, not guessed."""

from __future__ import annotations

from collections.abc import Mapping

from modellint.source.torch_api.layers import LayerSpec

_EINOPS = LayerSpec(("pattern",), {}, False, "shape", "transparent")
_DROP_PATH = LayerSpec(("p", "scale_by_keep"), {"p": 0.0, "scale_by_keep": True}, False, "dropout", None)
_DROP_BLOCK = LayerSpec(("p", "block_size", "inplace", "eps"), {"inplace": False, "eps": 1e-06}, False, "dropout", None)

LIBRARY_LAYERS: Mapping[str, LayerSpec] = {
    "einops.layers.torch.Rearrange": _EINOPS,
    "torchvision.ops.StochasticDepth": LayerSpec(("p", "mode"), {}, False, "dropout", None),
    "torchvision.ops.DropBlock2d": _DROP_BLOCK,
    "torchvision.ops.DropBlock3d": _DROP_BLOCK,
    **{f"timm.{package}.DropPath": _DROP_PATH for package in ("layers", "models.layers", "layers.drop")},
}
"""By dotted name. `p` is the rate whatever the library calls it, and drops in training mode only."""

RENAMED: Mapping[str, str] = {"drop_prob": "p"}
"""What a library calls a parameter that the table calls otherwise."""

SHAPE_FUNCTIONS: frozenset[str] = frozenset({"einops.rearrange", "einops.repeat", "einops.einops.rearrange"})
"""Functions of other libraries whose output holds the values of their first argument."""

PREPARES: Mapping[str, frozenset[str]] = {
    "accelerate.Accelerator": frozenset(
        {"prepare", "prepare_model", "prepare_optimizer", "prepare_scheduler", "prepare_data_loader"}
    ),
    "lightning.fabric.Fabric": frozenset({"setup", "setup_module", "setup_optimizers", "setup_dataloaders"}),
}
"""Objects that hand back what they are given, wrapped: by class, the methods that do."""

LEAVES_ALONE: Mapping[str, frozenset[str]] = {
    "accelerate.Accelerator": frozenset(
        [
            "backward",
            "clip_grad_norm_",
            "clip_grad_value_",
            "print",
            "log",
            "wait_for_everyone",
            "save",
            "save_state",
            "save_model",
            "get_state_dict",
            "register_for_checkpointing",
            "end_training",
            "init_trackers",
            "get_tracker",
            "set_trigger",
            "check_trigger",
            "gather",
            "gather_for_metrics",
            "reduce",
            "pad_across_processes",
            "unwrap_model",
            "free_memory",
            "unscale_gradients",
            "accumulate",
            "no_sync",
            "autocast",
            "join_uneven_inputs",
        ]
    ),
    "lightning.fabric.Fabric": frozenset(
        [
            "backward",
            "clip_gradients",
            "print",
            "log",
            "log_dict",
            "barrier",
            "all_gather",
            "all_reduce",
            "broadcast",
            "save",
            "load",
            "seed_everything",
            "to_device",
            "launch",
            "no_backward_sync",
            "autocast",
            "init_module",
        ]
    ),
}
"""Methods that are given models, optimizers and losses and change neither mode nor what is trained."""

SAME_CLASS: Mapping[str, str] = {
    "accelerate.accelerator.Accelerator": "accelerate.Accelerator",
    "lightning.Fabric": "lightning.fabric.Fabric",
    "lightning_fabric.Fabric": "lightning.fabric.Fabric",
    "lightning.fabric.fabric.Fabric": "lightning.fabric.Fabric",
}
"""Other paths to the same class."""
