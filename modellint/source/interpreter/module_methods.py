"""The methods that nn.Module and torch's containers give: `eval`, `to`, `apply`, `parameters`, `append`."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from modellint.facts.forward_use import Mode
from modellint.facts.training_loop import EventKind
from modellint.source.interpreter import alias_notes, module_notes
from modellint.source.interpreter.expressions import CallArguments, positional
from modellint.source.interpreter.modules import MODULE_LIMIT, Modules
from modellint.source.interpreter.records import (
    FillRecord,
)
from modellint.source.interpreter.values import (
    NONE,
    Choice,
    Const,
    DeviceMove,
    External,
    FunctionValue,
    IterationValue,
    ModuleValue,
    ParametersOf,
    ParameterValue,
    SequenceValue,
    Unknown,
    Value,
    const,
    sequence,
)
from modellint.source.torch_api.module_methods import MOVES
from modellint.source.tree import walk


class ModuleMethods(Modules):
    """Calls of methods of modules."""

    def release_closure(self, function: FunctionValue) -> None:
        """Code that runs nobody knows when: the modules it names count as used."""
        for node in walk(function.node):
            value = self.lookup_here(node.id, function.closure) if isinstance(node, ast.Name) else None
            if isinstance(value, ModuleValue):
                value.reads.add("*")
                for part in value.walk_values():
                    part.state["escaped"] = True

    # What the classes below provide.

    def _library_forward(self, module: ModuleValue, call: CallArguments, node: ast.AST) -> Value:
        raise NotImplementedError

    def call_module_method(self, module: ModuleValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        """A method that nn.Module (or a torch container) gives."""
        if name.startswith("super."):
            name = name[6:]
            if name == "__init__":
                self._library_init(module, call, node)
                return NONE
            if name == "__setattr__" and len(call.positional) == 2:
                attribute = call.positional[0]
                if isinstance(attribute, Const) and isinstance(attribute.value, str):
                    self.set_module_attribute(module, attribute.value, call.positional[1], node)
                return NONE
            if name == "forward":
                return self._library_forward(module, call, node)
        first = call.positional[0] if call.positional else None
        if name == "eval":
            override = module.cls.lookup("train") if module.cls is not None else None
            if isinstance(override, FunctionValue):
                self.set_modes(module, [self.mode_entry(Mode.EVAL, node)])
            else:
                self._train(module, const(False), node)
            return module
        if name == "train":
            self._train(module, call.get(0, "mode"), node)
            return module
        if name in MOVES:
            return self._move_by_method(module, name, call, node)
        if name in ("parameters", "named_parameters"):
            return ParametersOf((module,), named=name.startswith("named"))
        if name in ("modules", "named_modules", "children", "named_children"):
            return self._below(module, name, node)
        if name == "apply" and first is not None:
            return self._apply(module, first, node)
        if name in ("forward", "__call__"):
            return self.call_module(module, call, node, direct=name == "forward")
        if name == "zero_grad":
            self.event(EventKind.ZERO_GRAD, node, modules=(module,))
            return NONE
        if name in ("requires_grad_", "freeze"):
            flag = call.get(0, "requires_grad")
            frozen = False if flag is None else not self.truth(flag)
            for _, part in module.walk():
                self.put(part.state, "frozen", frozen)
            return module
        if name == "load_state_dict":
            alias_notes.note_self_load(self, module, first, node)
            assign = call.get(2, "assign")
            if isinstance(assign, Const) and assign.value is True:
                module_notes.untie(self, module, node)
            for _, part in module.walk():
                for key in [key for key in part.state if key.startswith("fill:")]:
                    self.put(part.state, key, FillRecord(self.site(node), "", None, None, None))
            return Unknown("the result of load_state_dict")
        if name in ("add_module", "register_module", "register_parameter", "register_buffer", "__setattr__"):
            return self._register(module, name, call, node)
        if name in ("append", "extend", "insert", "update", "items", "keys", "values", "pop", "clear"):
            return self._container_method(module, name, call, node)
        if name in ("get_submodule", "get_parameter", "__getattr__") and isinstance(first, Const):
            value: Value = module
            for step in str(first.value).split("."):
                value = self.get_attribute(value, step, node)
            return value
        if name.startswith("register_") and isinstance(first, FunctionValue):
            self.release_closure(first)
        if name in ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"):
            return Unknown("a hook handle")
        if name == "compile":
            return NONE
        if name in ("state_dict", "named_buffers", "buffers", "extra_repr", "__repr__", "train_mode"):
            return Unknown(f"the result of `{name}`")
        return self.unknown(node, f"the result of `{name}`", *call.values())

    def _move_by_method(self, module: ModuleValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name == "cuda":
            self.move_module(module, DeviceMove("cuda", None, True), node)
        elif name == "to_empty":
            module_notes.untie(self, module, node)
            self.move_module(module, self.device_of(call.get(0, "device")), node)
        elif name == "cpu":
            self.move_module(module, DeviceMove("cpu", None, False), node)
        elif name == "to":
            target = call.get(0, "device")
            if target is not None and not (isinstance(target, External) and not target.name.startswith("torch.device")):
                self.move_module(module, self.device_of(target), node)
        return module

    def _below(self, module: ModuleValue, name: str, node: ast.AST) -> Value:
        module.reads.add("*")
        if name.endswith("children"):
            pairs = list(module.children())
        else:
            pairs = list(module.walk())
        items: list[Value] = []
        for path, part in pairs[:MODULE_LIMIT]:
            items.append(sequence("tuple", (const(path), part)) if name.startswith("named") else part)
        return IterationValue("pairs", tuple(items))

    def _apply(self, module: ModuleValue, function: Value, node: ast.AST) -> Value:
        saved, self.applied = self.applied, self.site(node)
        try:
            for _, part in list(module.walk(MODULE_LIMIT))[::-1]:
                self.call(function, positional(node, part), node)
        finally:
            self.applied = saved
        return module

    def _register(self, module: ModuleValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        if len(call.values()) < 2:
            return NONE
        attribute = call.get(0, "name")
        value = call.get(1, {"register_parameter": "param", "register_buffer": "tensor"}.get(name, "module"))
        if value is None:
            return NONE
        if isinstance(attribute, Const) and isinstance(attribute.value, str):
            self._note_registration(module, attribute.value, node)
            if name == "__setattr__" and isinstance(value, ModuleValue | SequenceValue):
                self.put(module.attrs, attribute.value, Unknown("hidden on purpose"))
            else:
                self.set_module_attribute(module, attribute.value, value, node)
                module.element_sites[attribute.value] = self.site(node)
                if name == "register_buffer":
                    module.state.setdefault("buffers", set()).add(attribute.value)
        else:
            module.reads.add("*")
            self.put(module.attrs, f"?{len(module.attrs)}", value)
        return NONE

    def _container_method(self, module: ModuleValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        values, nodes = call.positional, call.positional_nodes
        children = [(n, v) for n, v in module.attrs.items() if isinstance(v, ModuleValue | Choice | Unknown)]
        if name == "append" and values:
            self._add_child(module, str(len(module.attrs)), values[0], nodes[0])
        elif name in ("extend", "update") and values:
            self._extend_container(module, values[0], nodes[0])
        elif name == "insert" and len(values) == 2:
            self._add_child(module, str(len(module.attrs)), values[1], nodes[1])
            module.complete = False
        elif name == "items":
            return IterationValue("pairs", tuple(sequence("tuple", (const(n), v)) for n, v in children))
        elif name == "values":
            return IterationValue("pairs", tuple(v for _, v in children))
        elif name == "keys":
            return IterationValue("pairs", tuple(const(n) for n, _ in children))
        elif name in ("pop", "clear"):
            module.complete = False
        return module if name in ("append", "extend", "insert") else NONE

    def parameters_below(self, modules: Iterable[ModuleValue]) -> list[tuple[str, ParameterValue]]:
        """The parameters of the torch layers below some modules, and free parameters, with dotted names."""
        result: list[tuple[str, ParameterValue]] = []
        for module in modules:
            for path, part in module.walk(MODULE_LIMIT):
                prefix = f"{path}." if path else ""
                if part.spec is not None and part.spec.parametric:
                    names = ["weight"]
                    bias = part.arguments.get("bias")
                    if not (isinstance(bias, Const) and not bias.value):
                        names.append("bias")
                    if part.spec.family in ("recurrent", "recurrent_cell"):
                        suffix = "_l0" if part.spec.family == "recurrent" else ""
                        names = [f"weight_ih{suffix}", f"weight_hh{suffix}", f"bias_ih{suffix}", f"bias_hh{suffix}"]
                    for name in names:
                        value = ParameterValue(
                            ((part, name),), self.parameter_dimensions(part, name), name=prefix + name
                        )
                        result.append((prefix + name, value))
                for name, attribute in part.attrs.items():
                    if isinstance(attribute, ParameterValue):
                        result.append((prefix + name, attribute))
        return result

    def iterate_parameters(self, value: ParametersOf) -> tuple[bool, list[Value]]:
        """One round for each group of parameters that look alike to the loop's body."""
        below = self.parameters_below(value.modules)
        if any(part.known_library is not None for module in value.modules for part in module.walk_values()):
            # What a library's model holds is known to nobody here: all of it stands in one round.
            parts = tuple((part, "*") for module in value.modules for part in module.walk_values())
            whole = ParameterValue(parts)
            return False, [sequence("tuple", (Unknown("a name"), whole)) if value.named else whole]
        if not below:
            return False, [Unknown("a parameter")]
        if value.named or len(below) <= 8:
            items: list[Value] = []
            for name, parameter in below[:60]:
                items.append(sequence("tuple", (const(name), parameter)) if value.named else parameter)
            return value.complete and len(below) <= 60, items
        groups: dict[int | None, list[tuple[ModuleValue, str]]] = {}
        for _, parameter in below:
            groups.setdefault(parameter.dimensions, []).extend(parameter.targets)
        return value.complete, [ParameterValue(tuple(targets), dimensions) for dimensions, targets in groups.items()]
