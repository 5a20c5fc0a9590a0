"""The methods that nn.Module and torch's containers give to every instance."""

from __future__ import annotations

MOVES: frozenset[str] = frozenset(
    {"to", "cuda", "cpu", "xpu", "half", "float", "double", "bfloat16", "to_empty", "type", "share_memory"}
)
"""They move or cast the module in place and return it."""

MODULE_METHODS: frozenset[str] = MOVES | {
    "eval",
    "train",
    "parameters",
    "named_parameters",
    "modules",
    "named_modules",
    "children",
    "named_children",
    "apply",
    "forward",
    "__call__",
    "zero_grad",
    "requires_grad_",
    "load_state_dict",
    "state_dict",
    "add_module",
    "register_module",
    "register_parameter",
    "register_buffer",
    "append",
    "extend",
    "insert",
    "update",
    "items",
    "keys",
    "values",
    "pop",
    "clear",
    "get_submodule",
    "get_parameter",
    "register_forward_hook",
    "register_forward_pre_hook",
    "register_full_backward_hook",
    "compile",
    "buffers",
    "named_buffers",
    "extra_repr",
    "_get_name",
    "set_submodule",
    "get_buffer",
    "register_state_dict_pre_hook",
    "register_load_state_dict_post_hook",
}
