"""Functions, classes and imports: what a file binds."""

from __future__ import annotations

import ast
from typing import Any

from modellint.source.interpreter.loops import Loops
from modellint.source.interpreter.values import (
    BoundMethod,
    Choice,
    ClassValue,
    External,
    FileValue,
    FunctionValue,
    Scope,
    Unknown,
    Value,
)
from modellint.source.project import SourceFile


class Definitions(Loops):
    """Makes functions, classes and imported names."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._execute.update(
            {
                ast.FunctionDef: self._function,
                ast.AsyncFunctionDef: self._function,
                ast.ClassDef: self._class,
                ast.Import: self._import,
                ast.ImportFrom: self._import_from,
            }
        )

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
        value = self.make_function(node, None)
        self.assign(ast.copy_location(ast.Name(node.name, ast.Store()), node), value)
        return None

    def make_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, owner: ClassValue | None) -> Value:
        """The value of a `def`, decorators applied."""
        arguments = node.args
        defaults = tuple(self.eval(default) for default in arguments.defaults)
        keyword_defaults = {
            a.arg: self.eval(d)
            for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            if d is not None
        }
        decorators = tuple(self.eval(decorator) for decorator in node.decorator_list)
        scope: Scope = self.frame.scope
        if owner is not None and scope.parent is not None:
            scope = scope.parent
        function = FunctionValue(node, self.file, scope, node.name, defaults, keyword_defaults, owner, decorators)
        if owner is None and scope is self.file.scope:
            self.file.functions.append(function)
        result: Value = function
        for decorator in reversed(decorators):
            if isinstance(decorator, FunctionValue | BoundMethod):
                wrapped = self.call(decorator, self._positional(node, result), node)
                if isinstance(wrapped, FunctionValue):
                    # A wrapper in another file still stands for this function: it keeps its class for `super()`.
                    result = wrapped
        return result

    def _class(self, node: ast.ClassDef) -> str | None:
        bases = [self.eval(base.value if isinstance(base, ast.Starred) else base) for base in node.bases]
        for keyword in node.keywords:
            self.eval(keyword.value)
        decorators = [self.eval(decorator) for decorator in node.decorator_list]
        if decorators:
            self.class_decorated(node, decorators)
        frame = self.frame
        outer = frame.scope
        scope = Scope({}, outer, self.file)
        cls = self._class_value(node, bases, scope)
        frame.scope = scope
        try:
            for statement in node.body:
                if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                    self.put(scope.names, statement.name, self.make_function(statement, cls))
                elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                    self.run_block([statement])
        finally:
            frame.scope = outer
        if outer is self.file.scope:
            self.file.functions.extend(
                f for f in scope.names.values() if isinstance(f, FunctionValue) and f.owner is cls
            )
        result: Value = cls
        for decorator in reversed(decorators):
            if isinstance(decorator, FunctionValue | BoundMethod):
                decorated = self.call(decorator, self._positional(node, result), node)
                result = decorated if isinstance(decorated, ClassValue) else result
        self.assign(ast.copy_location(ast.Name(node.name, ast.Store()), node), result)
        return None

    def _class_value(self, node: ast.ClassDef, bases: list[Value], scope: Scope) -> ClassValue:
        project_bases = [base for base in bases if isinstance(base, ClassValue)]
        library: list[str] = []
        unknown = any(isinstance(base, Unknown | Choice) for base in bases)
        for base in bases:
            if isinstance(base, External):
                library.append(base.name)
            elif isinstance(base, ClassValue):
                library.extend(base.library_bases)
                unknown = unknown or base.unknown_base
        is_module = any(base.is_module for base in project_bases) or any(
            self.library_is_module(base.name) for base in bases if isinstance(base, External)
        )
        cls = ClassValue(node, self.file, node.name, tuple(bases), scope.names, unknown, tuple(library), is_module, ())
        ancestors: list[ClassValue] = []
        for base in project_bases:
            for ancestor in base.mro:
                if ancestor in ancestors:
                    ancestors.remove(ancestor)
                ancestors.append(ancestor)
        cls.mro = (cls, *ancestors)
        return cls

    def behind_module(self, cls: ClassValue, base: ClassValue) -> bool:
        """Whether Python looks at nn.Module before it looks at `base`, as in `class Net(nn.Module, Base)`."""
        for heir in cls.mro:
            modules, holders = [], []
            for place, one in enumerate(heir.bases):
                if isinstance(one, ClassValue):
                    if one.is_module:
                        modules.append(place)
                    elif base in one.mro:
                        holders.append(place)
                elif isinstance(one, External) and self.library_is_module(one.name):
                    modules.append(place)
            if modules and holders and holders[0] > modules[-1]:
                return True
        return False

    def _import(self, node: ast.Import) -> str | None:
        for alias in node.names:
            path = self.project.find(self.file.path, alias.name, 0)
            if path is None:
                if alias.asname:
                    self._bind(alias.asname, External(alias.name))
                else:
                    top = alias.name.split(".")[0]
                    self._bind(top, External(top))
            elif alias.asname:
                self._bind(alias.asname, self.file_value(path, alias.name))
            else:
                top = alias.name.split(".")[0]
                top_path = self.project.find(self.file.path, top, 0)
                self._bind(top, self.file_value(top_path, top) if top_path else Unknown("an import"))
        return None

    def _bind(self, name: str, value: Value) -> None:
        self.put(self.frame.scope.names, name, value)

    def file_value(self, path: Any, dotted: str) -> Value:
        """A file or package of the project as a value."""
        if path.is_dir():
            init = path / "__init__.py"
            if init.is_file():
                path = init
            else:
                return FileValue(None, path.as_posix())
        file = self.project.file(path)
        if not isinstance(file, SourceFile):
            return Unknown(f"`{dotted}` cannot be read")
        return FileValue(file, dotted)

    def _import_from(self, node: ast.ImportFrom) -> str | None:
        if node.module == "__future__":
            return None
        dotted = node.module or ""
        path = self.project.find(self.file.path, dotted, node.level)
        if path is None:
            for alias in node.names:
                name = alias.asname or alias.name
                if alias.name == "*":
                    continue
                self._bind(name, External(f"{dotted}.{alias.name}") if not node.level else Unknown("an import"))
            return None
        source = self.file_value(path, dotted)
        for alias in node.names:
            if alias.name == "*":
                if isinstance(source, FileValue) and source.file is not None:
                    self.load(source.file)
                    for key, value in list(source.file.scope.names.items()):
                        if not key.startswith("_"):
                            self._bind(key, value)
                continue
            self._bind(alias.asname or alias.name, self.import_member(source, alias.name))
        return None

    def import_member(self, source: Value, name: str) -> Value:
        """`from source import name`."""
        if not isinstance(source, FileValue):
            return Unknown("an import from a file that cannot be read")
        if source.file is not None:
            self.load(source.file)
            value = source.file.scope.names.get(name)
            if value is not None:
                return value
            if source.file.path.name != "__init__.py":
                return Unknown(f"`{name}` is not bound in {source.file.text.path}")
            folder = source.file.path.parent
        else:
            from pathlib import Path

            folder = Path(source.dotted)
        member = self.project.member(folder, name)
        return self.file_value(member, name) if member is not None else Unknown(f"an import of `{name}`")
