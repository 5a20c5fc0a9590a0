"""Imports: which file a name comes from, when that file is evaluated, and what doing so changes elsewhere.

A name that a file imports from another one is bound to a `LazyImport`: the other file is read when the name is used.
So an entry point costs what it uses, not what its package could reach. A file that registers something with another
one when it is imported (`@register_model`, `MODELS["tiny"] = Tiny`) is evaluated at the import, as Python does.

Every file is evaluated once. What that wrote into objects of other files is kept with it and written again for each
entry point that imports it, so that no entry point sees what only another one imports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from modellint.source.interpreter.loops import Loops
from modellint.source.interpreter.machine import MISSING, Frame, OutOfBudget
from modellint.source.interpreter.records import Records
from modellint.source.interpreter.statements import RAISE
from modellint.source.interpreter.values import Cells, External, FileValue, LazyImport, Scope, Unknown, Value, now
from modellint.source.layout import init_file
from modellint.source.project import SourceFile

Effect = tuple[dict[Any, Any], Any, Any]
"""A cell of another file's object and what it holds afterwards: a value, MISSING, or an `_Added`."""


class _Added:
    """Items that were put behind those of a list."""

    __slots__ = ("items",)

    def __init__(self, items: tuple[Value, ...]) -> None:
        self.items = items


class Imports(Loops):
    """Evaluates files and binds the names that they import."""

    SCRIPT_BUDGET = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._execute.update({ast.Import: self._import, ast.ImportFrom: self._import_from})
        self.active: dict[SourceFile, None] = {}
        """The files that the current entry point has loaded, itself included."""
        self._loading: list[_Load] = []
        self._searching: set[tuple[Path, str]] = set()
        """Names that are being looked for: files may import all names of one another."""
        self._owners: dict[int, SourceFile] = {}
        """Whose global names a dict holds."""

    # ---------------------------------------------------------------- loading

    def load(self, file: SourceFile) -> None:
        """Evaluate the top level of a file, once. Its main block is kept for when the file itself is run."""
        if self._loading:
            self._loading[-1].files[file] = None
        if file in self.active:
            return
        self.active[file] = None
        if file.state == "new":
            self._evaluate_file(file)
            return
        for other in file.loads:
            self.load(other)
        self._carry_out(file.effects)

    def _evaluate_file(self, file: SourceFile) -> None:
        file.state = "loading"
        saved = (
            self.file, self.frames, self.forwards, self.path, self.undecided, self.assumed, self.flow, self.trace,
            self.records, self.loops, self.loop_exits, self.log, self.steps, self.budget, self.project.asked,
        )  # fmt: skip
        self.file = file
        file.scope = Scope({}, None, file)
        self._owners[id(file.scope.names)] = file
        self.frames, self.forwards, self.path, self.undecided, self.assumed = [], [], (), 0, {}
        self.flow, self.trace, self.loops, self.loop_exits, self.log = {"grad": (True, None)}, [], (), [], []
        self.records = file.records = Records()
        self.steps, self.budget = 0, self.SCRIPT_BUDGET
        self.project.asked = file.asked
        self.frames.append(Frame("", file.scope, self.mark(), 0))
        load = _Load(now())
        self._loading.append(load)
        try:
            for statement in file.text.tree.body:
                if _is_main_guard(statement):
                    file.main_blocks.append(statement)  # type: ignore[arg-type]
                elif self.run_block([statement]) == RAISE:
                    break
        except OutOfBudget:
            self.records.cut((0,) * len(self.records.sizes()))
            self.not_followed(file.text.tree.body[0], file.text.path, "the budget of this file is used up")
        finally:
            file.state = "loaded"
            self._loading.pop()
            file.loads = tuple(load.files)
            file.entered_at_top = frozenset(file.entered)
            file.effects = self._taken_effects(file, load)
            if self._loading:
                self._loading[-1].inner.append((load.start, now()))
            (
                self.file, self.frames, self.forwards, self.path, self.undecided, self.assumed, self.flow, self.trace,
                self.records, self.loops, self.loop_exits, self.log, self.steps, self.budget, self.project.asked,
            ) = saved  # fmt: skip
        self._carry_out(file.effects)

    def _taken_effects(self, file: SourceFile, load: _Load) -> tuple[Effect, ...]:
        """What a file wrote into objects of others while it was evaluated, taken back."""
        before: dict[tuple[int, Any], tuple[dict[Any, Any], Any, Any]] = {}
        for target, key, old in self.log:
            if type(target) is Cells:
                foreign = target.born < load.start or any(start <= target.born <= end for start, end in load.inner)
            else:
                foreign = self._owners.get(id(target), file) is not file
            if foreign:
                before.setdefault((id(target), key), (target, key, old))
        effects: list[Effect] = []
        for target, key, old in before.values():
            value = target.get(key, MISSING)
            if key == "items" and isinstance(old, tuple) and isinstance(value, tuple) and value[: len(old)] == old:
                value = _Added(value[len(old) :])
            effects.append((target, key, value))
            if old is MISSING:
                target.pop(key, None)
            else:
                target[key] = old
        return tuple(effects)

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for target, key, value in effects:
            if isinstance(value, _Added):
                self.put(target, key, (*target.get(key, ()), *value.items))
            elif value is MISSING:
                self.drop(target, key)
            else:
                self.put(target, key, value)

    # ---------------------------------------------------------------- import statements

    def _bind(self, name: str, value: Value) -> None:
        self.put(self.frame.scope.names, name, value)

    def _import(self, node: ast.Import) -> str | None:
        for alias in node.names:
            path = self.project.find(self.file.path, alias.name, 0)
            if path is None:
                if alias.asname:
                    self._bind(alias.asname, External(alias.name))
                else:
                    top = alias.name.split(".")[0]
                    self._bind(top, External(top))
                continue
            if self.frame.scope is self.file.scope:
                # `import models` may stand there for what importing it does.
                file = self.file_value(path, alias.name)
                if isinstance(file, FileValue) and file.file is not None:
                    self.load(file.file)
            if alias.asname:
                self._bind(alias.asname, self.file_value(path, alias.name))
            else:
                top = alias.name.split(".")[0]
                top_path = self.project.find(self.file.path, top, 0)
                self._bind(top, self.file_value(top_path, top) if top_path else Unknown("an import"))
        return None

    def _import_from(self, node: ast.ImportFrom) -> str | None:
        if node.module == "__future__":
            return None
        dotted = node.module or ""
        path = self.project.find(self.file.path, dotted, node.level)
        if path is None:
            for alias in node.names:
                if alias.name != "*":
                    outside = External(f"{dotted}.{alias.name}") if not node.level else Unknown("an import")
                    self._bind(alias.asname or alias.name, outside)
            return None
        at_top = self.frame.scope is self.file.scope
        if at_top and self.project.registers(path):
            source = self.file_value(path, dotted)
            if isinstance(source, FileValue) and source.file is not None:
                self.load(source.file)
        for alias in node.names:
            if alias.name == "*":
                self._import_star(path, dotted, at_top)
            else:
                value = self._lazily(path, dotted, alias.name, at_top)
                self._bind(alias.asname or alias.name, value.value() if self.frame.scope.of_class else value)
        return None

    def _lazily(self, path: Path, dotted: str, name: str, at_top: bool) -> LazyImport:
        member = self.project.member(path, name) if path.suffix != ".py" else None
        if member is None:
            return LazyImport(lambda: self.import_member(self.file_value(path, dotted), name))
        if at_top and (member.suffix != ".py" or self.project.registers(member)):
            file = self.file_value(member, name)
            if isinstance(file, FileValue) and file.file is not None:
                self.load(file.file)
        init = init_file(path)
        if init is None or not self.project.may_bind(init, name):
            return LazyImport(lambda: self.file_value(member, name))
        return LazyImport(lambda: self.import_member(self.file_value(path, dotted), name))

    def _import_star(self, path: Path, dotted: str, at_top: bool) -> None:
        if at_top:
            source = init_file(path)
            if source is not None:
                self.file.stars.append(source)
            return
        value = self.file_value(path, dotted)
        if isinstance(value, FileValue) and value.file is not None:
            self.load(value.file)
            for key, bound in list(value.file.scope.names.items()):
                if not key.startswith("_"):
                    self._bind(key, bound.value() if isinstance(bound, LazyImport) else bound)

    # ---------------------------------------------------------------- names of other files

    def file_value(self, path: Path, dotted: str) -> Value:
        """A file or package of the project as a value."""
        source = init_file(path)
        if source is None:
            return FileValue(None, path.as_posix())
        file = self.project.file(source)
        if not isinstance(file, SourceFile):
            return Unknown(f"`{dotted}` cannot be read")
        return FileValue(file, dotted)

    def import_member(self, source: Value, name: str) -> Value:
        """`from source import name`."""
        if not isinstance(source, FileValue):
            return Unknown("an import from a file that cannot be read")
        if source.file is not None:
            value = self._global_of(source.file, name)
            if value is not None:
                return value
            if source.file.path.name != "__init__.py":
                return Unknown(f"`{name}` is not bound in {source.file.text.path}")
            folder = source.file.path.parent
        else:
            folder = Path(source.dotted)
        member = self.project.member(folder, name)
        return self.file_value(member, name) if member is not None else Unknown(f"an import of `{name}`")

    def _global_of(self, file: SourceFile, name: str) -> Value | None:
        """What a name stands for at the top level of a file."""
        self.load(file)
        value = file.scope.names.get(name)
        if value is not None:
            return value.value() if type(value) is LazyImport else value
        return self.from_stars(file, name)

    def from_stars(self, file: SourceFile, name: str) -> Value | None:
        """A name that a file has through `from other import *`."""
        for path in reversed(file.stars):
            if (path, name) not in self._searching and self.project.exports(path, name):
                source = self.file_value(path, name)
                if isinstance(source, FileValue) and source.file is not None:
                    self._searching.add((path, name))
                    try:
                        value = self._global_of(source.file, name)
                    finally:
                        self._searching.discard((path, name))
                    if value is not None:
                        return value
        return None


class _Load:
    """One file that is being evaluated."""

    __slots__ = ("files", "inner", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.files: dict[SourceFile, None] = {}
        """Those that it loads, in order."""
        self.inner: list[tuple[int, int]] = []
        """From when to when these were evaluated: what was made then is theirs."""


def _is_main_guard(node: ast.stmt) -> bool:
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
        return False
    sides = [node.test.left, *node.test.comparators]
    return any(isinstance(s, ast.Name) and s.id == "__name__" for s in sides) and any(
        isinstance(s, ast.Constant) and s.value == "__main__" for s in sides
    )
