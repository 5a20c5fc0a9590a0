"""What every reader of facts needs: spans of sites, references to models and layers."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.span import Span
from modellint.source.interpreter.entry import Interpreter
from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.records import Assumed, Records
from modellint.source.interpreter.values import Const, FunctionValue, ModuleValue, ParameterValue, Site
from modellint.source.project import SourceFile
from modellint.source.surroundings import Surroundings
from modellint.source.torch_api.layers import parameter_count
from modellint.source.tree import walk


class Places:
    """Turns what the interpreter noted about one file into the words of the facts."""

    def __init__(self, interpreter: Interpreter, records: Records, file: SourceFile) -> None:
        self.interpreter = interpreter
        self.project = interpreter.project
        self.records = records
        self.file = file
        self.surroundings = Surroundings()
        self._disagreeing: dict[int, frozenset[int]] = {}
        self._find_disagreements()

    def span(self, site: Site) -> Span:
        """The span of a node."""
        node = site.node
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            return self.name_span(site)
        if isinstance(node, ast.For | ast.AsyncFor | ast.While):
            full = site.file.text.span(node)
            end = site.file.text.span(node.test if isinstance(node, ast.While) else node.iter)
            return Span(full.path, full.line, full.column, end.end_line, end.end_column)
        return site.file.text.span(node)

    def optional(self, site: Site | None) -> Span | None:
        """The span, if there is a site."""
        return self.span(site) if site is not None else None

    def name_span(self, site: Site) -> Span:
        """The name in a `class` or `def` statement."""
        node = site.node
        text = site.file.text
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.lineno > len(text.lines):
            return text.span(node)
        line = text.lines[node.lineno - 1]
        start = text.span(node)
        column = line.find(node.name, start.column - 1)
        if column < 0:
            return Span(start.path, start.line, start.column, start.line, start.column + 1)
        return Span(start.path, node.lineno, column + 1, node.lineno, column + 1 + len(node.name))

    # ---------------------------------------------------------------- layers and models

    def layer(self, name: str, module: ModuleValue) -> LayerRef:
        """A layer below an instance."""
        kind = module.name.rpartition(".")[2]
        return LayerRef(name, self.interpreter.layer_text(module), kind, self.optional(module.site))

    def model(
        self,
        module: ModuleValue,
        text: str,
        mode_dependent: Iterable[tuple[str, ModuleValue, bool]] = (),
    ) -> ModelRef:
        """A reference to an instance."""
        dependent = list(mode_dependent)
        made_here = not module.from_outside
        return ModelRef(
            key=module.key,
            text=text,
            class_name=module.name.rpartition(".")[2],
            class_place=self.name_span(Site(module.cls.file, module.cls.node)) if module.cls is not None else None,
            place=self.optional(module.site) if made_here else None,
            arguments=self.deciding_arguments(module),
            complete=self.is_complete(module),
            mode_dependent=tuple(self.layer(name, part) for name, part, _ in dependent),
            certain_mode_dependent=any(certain for _, _, certain in dependent),
            mode_matters=self.mode_matters(module, dependent),
            losses_in_training=_losses_in_training(module),
            trainable=self.trainable(module),
        )

    @staticmethod
    def mode_matters(module: ModuleValue, dependent: list[tuple[str, ModuleValue, bool]]) -> bool:
        """The mode matters, whatever was not followed of the module."""
        if not dependent:
            return False
        parts = module.walk_values()
        if any(part.cls is not None and part.cls.unknown_base for part in parts):
            return False
        layers = [(part, sure) for _, part, sure in dependent if part.cls is None or part.spec is not None]
        certain = any(sure and part.complete for part, sure in layers)
        return certain or all(part.complete or "wrapped" in part.state for part in parts)

    @staticmethod
    def is_complete(module: ModuleValue) -> bool:
        """All of it and below was followed."""
        return all(part.complete for _, part in module.walk())

    @staticmethod
    def trainable(module: ModuleValue) -> bool | None:
        """It has parameters that require a gradient."""
        unknown = module.known_library is not None
        for _, part in module.walk():
            frozen = part.state.get("frozen") or any(
                value for key, value in part.state.items() if key.startswith(("frozen:weight", "frozen:*"))
            )
            unknown = unknown or not part.complete or ("frozen" in part.state and frozen is None)
            if part.spec is not None and part.spec.parametric and not frozen:
                return True
            if not frozen and any(isinstance(value, ParameterValue) for value in part.attrs.values()):
                return True
        if module.state.get("frozen"):
            return False
        return None if unknown else False

    def parameters(self, module: ModuleValue) -> int | None:
        """How many numbers the parameters of a module and all below it hold; None when a size is not known."""
        total = 0
        for _, part in module.walk():
            if part.spec is not None and part.spec.parametric:
                constants: dict[str, object] = {}
                for name, value in part.arguments.items():
                    if isinstance(value, Const):
                        constants[name] = value.value
                    elif hasattr(value, "items") and all(isinstance(i, Const) for i in getattr(value, "items", ())):
                        constants[name] = tuple(i.value for i in value.items)
                    elif name not in ("device", "dtype"):
                        return None
                own = part.name if part.cls is None else next(iter(part.cls.library_bases), "")
                count = parameter_count(own, constants)
                if count is None:
                    return None
                total += count
            elif part.known_library is not None or any(
                isinstance(value, ParameterValue) for value in part.attrs.values()
            ):
                return None
        return total

    @staticmethod
    def has_parameters(module: ModuleValue) -> bool:
        """It or a module below it owns parameters."""
        return any(
            (part.spec is not None and part.spec.parametric)
            or part.known_library is not None
            or any(isinstance(value, ParameterValue) for value in part.attrs.values())
            for _, part in module.walk()
        )

    # ---------------------------------------------------------------- instances that differ

    def _find_disagreements(self) -> None:
        """Tests that instances of one class decide differently: their arguments tell the instances apart."""
        outcomes: dict[tuple[int, int], set[bool]] = {}
        modules: dict[int, list[ModuleValue]] = {}
        for construction in self.records.constructions:
            module = construction.module
            if module.cls is not None and not module.from_outside:
                modules.setdefault(id(module.cls), []).append(module)
                for test, (_, _, taken, _) in module.decided.items():
                    outcomes.setdefault((id(module.cls), test), set()).add(taken)
        for cls in modules:
            self._disagreeing[cls] = frozenset(
                test for (owner, test), taken in outcomes.items() if owner == cls and len(taken) > 1
            )

    def deciding_arguments(self, module: ModuleValue) -> str:
        """`use_sequential=False`: constructor constants by which this instance differs from others of its class."""
        if module.cls is None or module.from_outside:
            return ""
        tests = self._disagreeing.get(id(module.cls), frozenset())
        return ", ".join(
            dict.fromkeys(
                text
                for test, (site, _, _, _) in module.decided.items()
                if test in tests
                for text in self.constants_of(module, site.node)
            )
        )

    def constants_of(self, module: ModuleValue, test: ast.AST) -> list[str]:
        """The constructor arguments (or attributes) that a test of an instance reads, with their constants."""
        call: CallArguments | None = module.call
        init = module.cls.lookup("__init__") if module.cls is not None else None
        parameters: list[str] = []
        if init is not None and hasattr(init, "node"):
            arguments = init.node.args
            parameters = [a.arg for a in (*arguments.posonlyargs, *arguments.args)][1:]
        result: list[str] = []
        for node in walk(test):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
            if name is None or name == "self":
                continue
            value = None
            if call is not None and name in parameters:
                value = call.get(parameters.index(name), name)
            if value is None:
                value = module.attrs.get(name)
            if isinstance(value, Const):
                result.append(f"{name}={value.value!r}")
        return result


def contradicts(a: Assumed, b: Assumed) -> bool:
    """Whether two sets of assumptions exclude each other."""
    for key, outcome in a:
        if (key, not outcome) in b:
            return True
        if outcome and key[0] == "equals":
            for other, other_outcome in b:
                if other_outcome and other[0] == "equals" and other[1] is key[1] and other[2] != key[2]:
                    return True
    return False


def _losses_in_training(module: ModuleValue) -> bool:
    """Its own forward returns under a test of `self.training`, from an argument that only this branch reads."""
    forward = module.cls.lookup("forward") if module.cls is not None else None
    if not isinstance(forward, FunctionValue) or not isinstance(forward.node, ast.FunctionDef):
        return False
    arguments = forward.node.args
    own = {argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    for node in walk(forward.node):
        if not isinstance(node, ast.If) or not any(_reads_training(part) for part in walk(node.test)):
            continue
        inside = [part for statement in node.body for part in walk(statement)]
        if any(isinstance(part, ast.Return) for part in inside):
            known = {id(part) for part in inside}
            outside = [part for part in walk(forward.node) if id(part) not in known]
            if own & (_names(inside) - _names(outside)):
                return True
    return False


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def _reads_training(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "training" and isinstance(node.value, ast.Name)
