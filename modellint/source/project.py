"""Other files on demand: where a project starts, what an import means in it, who reads an attribute."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modellint.facts.reading import BadInput
from modellint.facts.torch_version import TorchVersions
from modellint.source.interpreter.records import Records
from modellint.source.interpreter.values import FunctionValue, LazyImport, Scope, Value
from modellint.source.layout import Layout, init_file, project_root
from modellint.source.outline import AttributeRead, Outline
from modellint.source.survey import Asked, Contents, Survey, nearest_first
from modellint.source.text import SourceText, read_text
from modellint.source.torch_version import declared, from_text

_PASSED_ON = 5
"""Through so many files a name is followed that each imports from the next."""
_BEFORE = re.compile(rb"[ \t]*(?:(?:(?:async[ \t]+)?def|class|for)[ \t]+|[\w \t,()*\x80-\xff]*)$")
_AFTER = re.compile(rb"[\w \t,()*\x80-\xff]*(?::[^=\n]*)?=(?!=)|[ \t]*(?:\(|:|in\b)")


@dataclass(slots=True, eq=False)
class SourceFile:
    """One file of the project, parsed, with what evaluating its top level gave."""

    path: Path
    text: SourceText
    scope: Scope = None  # type: ignore[assignment]
    state: str = "new"
    """`new`, `loading` or `loaded`."""
    main_blocks: list[ast.If] = field(default_factory=list)
    functions: list[FunctionValue] = field(default_factory=list)
    records: Records = field(default_factory=Records)
    in_test_suite: bool = False
    entered: set[ast.AST] = field(default_factory=set)
    """Functions that ran while the top level was evaluated, or since the file was entered."""
    entered_at_top: frozenset[ast.AST] = frozenset()
    """Those of the top level."""
    long_decorators: set[tuple[ast.AST, type[ast.AST]]] = field(default_factory=set)
    """Decorators that took too long to follow when this file used them, with what they decorated."""
    stars: list[Path] = field(default_factory=list)
    """The files of which it imports all names."""
    loads: tuple[SourceFile, ...] = ()
    """The files that evaluating its top level loaded."""
    effects: tuple[tuple[dict[Any, Any], Any, Any], ...] = ()
    """What that wrote into objects of other files."""
    asked: Asked = field(default_factory=Asked)
    """What evaluating its top level rests on, besides the files that it loaded."""

    def name(self, key: str) -> Value | None:
        """A global name."""
        value = self.scope.names.get(key)
        return value.value() if isinstance(value, LazyImport) else value


class Project:
    """Finds, reads and remembers files. Never imports them."""

    def __init__(
        self,
        cwd: Path,
        given: dict[Path, bytes] | None = None,
        torch_version: Callable[[Path], str | None] = lambda file: None,
        survey: Survey | None = None,
    ) -> None:
        self.cwd = cwd
        self._torch_version = torch_version
        """What the settings of a file say about torch."""
        self._torch_versions: dict[Path, TorchVersions | None] = {}
        self._files: dict[Path, SourceFile | BadInput] = {}
        self._outlines: dict[Path, Outline] = {}
        self._registers: dict[Path, tuple[bool, Asked]] = {}
        self._exports: dict[tuple[Path, str], tuple[bool, Asked]] = {}
        self._star_files: dict[Path, tuple[Path, ...]] = {}
        self._library_names: dict[Path, frozenset[str]] = {}
        self._parsed = 0
        self.survey = survey or Survey(Contents(given or {}), Layout())
        """What is known of the files as texts; it may be shared."""
        self.contents = self.survey.contents
        self.layout = self.survey.layout
        self.asked = Asked()
        """What the current answers rest on."""

    def renewed(self) -> Project:
        """The same project with nothing parsed."""
        other = Project(self.cwd, None, self._torch_version, self.survey)
        other._torch_versions = self._torch_versions
        return other

    @property
    def parsed(self) -> int:
        """Characters of what was parsed: what a reader of this project holds grows with them."""
        return self._parsed

    def shown(self, path: Path) -> str:
        """As printed: relative to the working directory where that is short, with forward slashes."""
        try:
            return path.relative_to(self.cwd).as_posix()
        except ValueError:
            return path.as_posix()

    def torch_versions(self, path: Path) -> TorchVersions | None:
        """The versions of torch that a file runs with: as configured, else as its project declares."""
        configured = self._torch_version(path)
        bounds = from_text(configured) if configured is not None else None
        if bounds is not None:
            return TorchVersions(*bounds, "the configuration")
        root = project_root(path.parent)
        if root not in self._torch_versions:
            self._torch_versions[root] = declared(root)
        return self._torch_versions[root]

    def file(self, path: Path) -> SourceFile | BadInput:
        """The parsed file, read once."""
        self.asked.files.add(path)
        known = self._files.get(path)
        if known is None:
            text = read_text(path, self.shown(path)) if path not in self.contents.given else self._parse_given(path)
            if isinstance(text, BadInput):
                known = text
            else:
                known = SourceFile(path, text, in_test_suite=_in_test_suite(path, project_root(path.parent)))
                self._parsed += len(text.text)
            self._files[path] = known
        return known

    def _parse_given(self, path: Path) -> SourceText | BadInput:
        from modellint.source.text import parse_bytes

        return parse_bytes(self.contents.given[path], path, self.shown(path))

    # ---------------------------------------------------------------- imports

    def find(self, importer: Path, dotted: str, level: int) -> Path | None:
        """The file or folder that `import dotted` means in `importer`; None when it lies outside of the project."""
        return self.layout.find(importer, dotted, level, self.asked.lookups)

    def member(self, folder: Path, name: str) -> Path | None:
        """The submodule `name` of a package folder."""
        return self.layout.member(folder, name, self.asked.lookups)

    # ---------------------------------------------------------------- contents

    def content(self, path: Path) -> bytes:
        """The bytes of a file; empty when it cannot be read."""
        self.asked.files.add(path)
        return self.contents.read(path)

    def outline(self, path: Path) -> Outline | None:
        """The outline of a file; None when it cannot be parsed."""
        self.asked.files.add(path)
        known = self._outlines.get(path)
        if known is None:
            file = self.file(path)
            if isinstance(file, BadInput):
                return None
            known = self._outlines[path] = Outline(file.text.tree)
        return known

    def exports(self, path: Path, name: str) -> bool:
        """Whether `from path import *` may bind a name, as far as its text says."""
        key = (path, name)
        if key not in self._exports:
            before, self.asked = self.asked, Asked()
            self.asked.words.add(name)
            self.asked.graph = True
            self._exports[key] = not name.startswith("_") and self._is_exported(path, name), self.asked
            self.asked = before
        found, asked = self._exports[key]
        self.asked.update(asked)
        return found

    def _is_exported(self, path: Path, name: str) -> bool:
        waiting, seen = [path], {path}
        while waiting:
            source = waiting.pop()
            if self.may_bind(source, name):
                return True
            for inner in self._stars(source):
                if inner not in seen:
                    seen.add(inner)
                    waiting.append(inner)
        return False

    def _stars(self, source: Path) -> tuple[Path, ...]:
        """The files of which a file imports all names."""
        known = self._star_files.get(source)
        if known is None:
            found = [
                self.find(source, item.module, item.level) for item in self.survey.imported(source) if item.name == "*"
            ]
            inner = [init_file(path) for path in found if path is not None]
            known = self._star_files[source] = tuple(path for path in inner if path is not None)
        return known

    def may_bind(self, source: Path, name: str) -> bool:
        """Whether a file has a statement that may bind a name."""
        data = self.contents.read(source)
        spelled = name.encode()
        at = data.find(spelled)
        if at < 0:
            return False
        self.asked.files.add(source)
        if any(item.bound == name for item in self.survey.imported(source)):
            return True
        while at >= 0:
            line = data[data.rfind(b"\n", 0, at) + 1 : at]
            if _BEFORE.match(line) is not None and _AFTER.match(data, at + len(spelled)) is not None:
                return True
            at = data.find(spelled, at + len(spelled))
        return False

    def registers(self, path: Path) -> bool:
        """Whether importing a file may change objects of other files: `@register_model`, `MODELS["tiny"] = Tiny`."""
        source = init_file(path)
        if source is None:
            return False
        if source not in self._registers:
            before, self.asked = self.asked, Asked()
            self.asked.files.add(source)
            self._registers[source] = self._has_effects(source), self.asked
            self.asked = before
        found, asked = self._registers[source]
        self.asked.update(asked)
        return found

    def _has_effects(self, source: Path) -> bool:
        effects = self.survey.outside_effects(source)
        if not effects:
            return False
        imported = {item.bound: item for item in self.survey.imported(source)}
        for root, only_called in effects:
            item = imported.get(root)
            target = self.find(source, item.module, item.level) if item is not None else None
            if item is None or target is None:
                continue
            if only_called and item.name is not None and self._harmless(target, item.name):
                continue
            return True
        return False

    def _harmless(self, target: Path, name: str) -> bool:
        """Whether calling a function of a file changes no object of the file's top level, as far as it shows."""
        for _ in range(_PASSED_ON):
            source = init_file(target)
            if source is None:
                return False
            self.asked.files.add(source)
            item = next((item for item in self.survey.imported(source) if item.bound == name), None)
            if item is None or item.name is None:
                break
            found = self.find(source, item.module, item.level)
            if found is None:
                break
            target, name = found, item.name
        source = init_file(target)
        key = (source, name)
        if source is not None and key not in self.survey.harmless:
            outline = self.outline(source)
            self.survey.harmless[key] = outline is not None and outline.harmless(name)
        return self.survey.harmless.get(key, False)

    # ---------------------------------------------------------------- the whole project

    def imports(self, path: Path) -> frozenset[Path]:
        """The files of the project that a file imports, anywhere in it."""
        self.asked.graph = True
        return self.survey.imports(path)

    def importers(self, targets: Iterable[Path]) -> list[Path]:
        """Files of the same project that import one of the targets, directly or through others."""
        self.asked.graph = True
        return self.survey.importers(targets)

    def connected(self, root: Path, a: Path, b: Path) -> bool:
        """Whether imports, in whichever direction, lead from one file to the other."""
        if a == b:
            return True
        self.asked.graph = True
        groups = self.survey.groups(root)
        return a in groups and groups[a] == groups.get(b)

    def library_names(self, path: Path) -> frozenset[str]:
        """Names that a file binds to modules and objects from outside the project."""
        self.asked.files.add(path)
        self.asked.graph = True
        known = self._library_names.get(path)
        if known is None:
            outline = self.outline(path)
            imported = outline.imported if outline is not None else ()
            known = self._library_names[path] = frozenset(
                item.bound for item in imported if self.find(path, item.module, item.level) is None
            )
        return known

    def attribute_reads(self, home: Path, name: str) -> Iterator[tuple[Path, AttributeRead]]:
        """Every place in the project of `home` that reads `.name`, the nearest files first.

        A string literal equal to the name, or one that starts a dotted path with it, may be a read by name and is
        given as well.
        """
        root = project_root(home.parent)
        for path in nearest_first(home, self.survey.files_with(root, name)):
            outline = self.outline(path)
            if outline is not None:
                for read in outline.reads(name):
                    yield path, read
        self.asked.words.add(name)

    def files_saying(self, home: Path, text: str) -> Iterator[tuple[Path, bytes]]:
        """The files in the project of `home` that have a dotted name (`torch.save`, `.norm`), nearest first.

        Each comes with its content.
        """
        spelled = text.encode()
        word = text.rpartition(".")[2]
        for path in nearest_first(home, {home, *self.survey.files_with(project_root(home.parent), word)}):
            data = self.contents.read(path)
            if spelled in data:
                self.asked.files.add(path)
                yield path, data
        self.asked.words.add(text)


def _in_test_suite(path: Path, root: Path) -> bool:
    try:
        folders = path.relative_to(root).parts[:-1]
    except ValueError:
        folders = ()
    return path.name.startswith("test_") or path.name.endswith("_test.py") or "tests" in folders or "test" in folders
