"""Other files on demand: where a project starts, what an import means in it, who reads an attribute."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from modellint.facts.reading import BadInput
from modellint.facts.torch_version import TorchVersions
from modellint.source.interpreter.records import Records
from modellint.source.interpreter.values import FunctionValue, Scope, Value
from modellint.source.text import SourceText, read_text
from modellint.source.torch_version import declared, from_text
from modellint.source.tree import children, statements

_MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", "modellint.toml", ".git", "requirements.txt", "environment.yml")
# Files of these names never shadow the library: torch is torch, the standard library is Python's own.
_NEVER_PROJECT = frozenset(sys.stdlib_module_names) | {"torch", "numpy"}
_SKIPPED_FOLDERS = frozenset(
    [
        ".git",
        ".hg",
        ".venv",
        "venv",
        ".tox",
        ".nox",
        "node_modules",
        "__pycache__",
        "site-packages",
        "build",
        "dist",
        "wandb",
        "mlruns",
    ]
)
_ATTRIBUTE_FILE_LIMIT = 5_000_000


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
    """Functions that ran while the top level was evaluated."""

    def name(self, key: str) -> Value | None:
        """A global name."""
        return self.scope.names.get(key)


@lru_cache(maxsize=4096)
def project_root(folder: Path) -> Path:
    """The folder where the project of a file starts: the nearest one with a marker, else the top of its package."""
    for candidate in (folder, *folder.parents):
        if any((candidate / marker).exists() for marker in _MARKERS):
            return candidate
    top = folder
    while (top / "__init__.py").exists() and top.parent != top:
        top = top.parent
    if top.name == "src":
        return top.parent
    # No marker: a script in `scripts/` beside a `src/` belongs with it.
    return next((parent for parent in (top, *list(top.parents)[:1]) if (parent / "src").is_dir()), top)


class Project:
    """Finds, reads and remembers files. Never imports them."""

    def __init__(
        self,
        cwd: Path,
        given: dict[Path, bytes] | None = None,
        torch_version: Callable[[Path], str | None] = lambda file: None,
    ) -> None:
        self.cwd = cwd
        self._torch_version = torch_version
        """What the settings of a file say about torch."""
        self._torch_versions: dict[Path, TorchVersions | None] = {}
        self._given = given or {}
        """Contents that come from elsewhere than the disk (standard input), by path."""
        self._files: dict[Path, SourceFile | BadInput] = {}
        self._exists: dict[Path, str] = {}
        self._trees: dict[Path, list[Path]] = {}
        self._bytes: dict[Path, bytes] = {}
        self.unreadable: set[Path] = set()
        self._imports: dict[Path, frozenset[Path]] = {}
        self._groups: dict[Path, dict[Path, int]] = {}
        self._library_names: dict[Path, frozenset[str]] = {}
        self._attributes: dict[Path, _AttributeIndex] = {}
        self._readers: dict[tuple[Path, str], tuple[tuple[Path, ast.Attribute, str | None, str | None], ...]] = {}

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
        known = self._files.get(path)
        if known is None:
            text = read_text(path, self.shown(path)) if path not in self._given else self._parse_given(path)
            if isinstance(text, BadInput):
                known = text
            else:
                known = SourceFile(path, text, in_test_suite=_in_test_suite(path, project_root(path.parent)))
            self._files[path] = known
        return known

    def _parse_given(self, path: Path) -> SourceText | BadInput:
        from modellint.source.text import parse_bytes

        return parse_bytes(self._given[path], path, self.shown(path))

    # ---------------------------------------------------------------- imports

    def find(self, importer: Path, dotted: str, level: int) -> Path | None:
        """The file or folder that `import dotted` means in `importer`; None when it lies outside of the project.

        Looks beside the file first, as Python does for a script, then in the folders above it up to the root of the
        project and its `src`.
        """
        parts = [part for part in dotted.split(".") if part]
        if level:
            folder = importer.parent
            for _ in range(level - 1):
                folder = folder.parent
            return self._descend(folder, parts)
        if not parts or parts[0] in _NEVER_PROJECT:
            return None
        root = project_root(importer.parent)
        folder = importer.parent
        while True:
            if self._kind(folder, parts[0]) and (found := self._descend(folder, parts)) is not None:
                return found
            if folder == root or folder.parent == folder:
                break
            folder = folder.parent
        source = root / "src"
        if self._kind(source, parts[0]):
            return self._descend(source, parts)
        return None

    def _descend(self, folder: Path, parts: list[str]) -> Path | None:
        for index, part in enumerate(parts):
            kind = self._kind(folder, part)
            if kind == "file":
                return folder / f"{part}.py" if index == len(parts) - 1 else None
            if kind != "folder":
                return None
            folder = folder / part
        return folder

    def member(self, folder: Path, name: str) -> Path | None:
        """The submodule `name` of a package folder."""
        kind = self._kind(folder, name)
        if kind == "file":
            return folder / f"{name}.py"
        return folder / name if kind == "folder" else None

    def _kind(self, folder: Path, name: str) -> str:
        base = folder / name
        known = self._exists.get(base)
        if known is None:
            if (base / "__init__.py").is_file():
                known = "folder"
            elif (folder / f"{name}.py").is_file():
                known = "file"
            elif base.is_dir() and any(base.glob("*.py")):
                known = "folder"
            else:
                known = ""
            self._exists[base] = known
        return known

    # ---------------------------------------------------------------- who reads an attribute

    def python_files(self, root: Path) -> list[Path]:
        """All Python files below the root of a project, sorted; nested environments and builds left out."""
        known = self._trees.get(root)
        if known is None:
            known = []
            stack = [root]
            while stack:
                folder = stack.pop()
                try:
                    with os.scandir(folder) as entries:
                        for entry in entries:
                            if entry.is_dir(follow_symlinks=False):
                                inner = Path(entry.path)
                                if entry.name not in _SKIPPED_FOLDERS and not (inner / "pyvenv.cfg").exists():
                                    stack.append(inner)
                            # A pipe that is called x.py would be waited for, for ever.
                            elif entry.name.endswith(".py") and entry.is_file(follow_symlinks=False):
                                known.append(Path(entry.path))
                except OSError:
                    continue
            known.sort()
            self._trees[root] = known
        return known

    def content(self, path: Path) -> bytes:
        """The bytes of a file; empty when it cannot be read."""
        known = self._given.get(path)
        if known is None:
            known = self._bytes.get(path)
        if known is None:
            try:
                known = path.read_bytes()
            except OSError:
                known = b""
                self.unreadable.add(path)
            self._bytes[path] = known
        return known

    def importers(self, targets: Iterable[Path]) -> list[Path]:
        """Files of the same project that import one of the targets, directly or through others."""
        reached = set(targets)
        result: set[Path] = set()
        frontier = list(reached)
        while frontier:
            found: list[Path] = []
            roots = {project_root(path.parent) for path in frontier}
            stems = {path.stem if path.name != "__init__.py" else path.parent.name for path in frontier}
            pattern = re.compile(
                rb"\b(?:import|from)\b[^\n]*\b(?:" + b"|".join(map(_bytes_name, sorted(stems))) + rb")\b"
            )
            dotted = re.compile(rb"\b(?:" + b"|".join(map(_bytes_name, sorted(stems))) + rb")\b")
            wanted = set(frontier)
            for root in roots:
                for path in self.python_files(root):
                    if path in reached:
                        continue
                    data = self.content(path)
                    if pattern.search(data) is None and not (b"import (" in data and dotted.search(data)):
                        continue
                    if self._imports_any(path, wanted):
                        found.append(path)
            for path in found:
                reached.add(path)
                result.add(path)
            frontier = found
        return sorted(result)

    def _imports_any(self, path: Path, targets: set[Path]) -> bool:
        return not targets.isdisjoint(self.imports(path))

    def imports(self, path: Path) -> frozenset[Path]:
        """The files of the project that a file imports, anywhere in it."""
        known = self._imports.get(path)
        if known is not None:
            return known
        found: set[Path | None] = set()
        file = self.file(path)
        if not isinstance(file, BadInput):
            for node in statements(file.text.tree):
                if isinstance(node, ast.Import):
                    found.update(self.find(path, alias.name, 0) for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    base = self.find(path, node.module or "", node.level)
                    found.add(base)
                    if base is not None and base.suffix != ".py":
                        found.update(self.member(base, alias.name) for alias in node.names)
        files = frozenset(p if p.suffix == ".py" else p / "__init__.py" for p in found if p is not None)
        self._imports[path] = files
        return files

    def connected(self, root: Path, a: Path, b: Path) -> bool:
        """Whether imports, in whichever direction, lead from one file to the other."""
        if a == b:
            return True
        groups = self._groups.get(root)
        if groups is None:
            groups = self._groups[root] = self._components(root)
        return a in groups and groups[a] == groups.get(b)

    def _components(self, root: Path) -> dict[Path, int]:
        links: dict[Path, set[Path]] = {}
        for path in self.python_files(root):
            links.setdefault(path, set())
            for other in self.imports(path):
                links[path].add(other)
                links.setdefault(other, set()).add(path)
        groups: dict[Path, int] = {}
        for number, start in enumerate(links):
            stack = [start]
            while stack:
                path = stack.pop()
                if path not in groups:
                    groups[path] = number
                    stack.extend(links[path])
        return groups

    def library_names(self, path: Path) -> frozenset[str]:
        """Names that a file binds to modules and objects from outside the project."""
        known = self._library_names.get(path)
        if known is None:
            found: set[str] = set()
            file = self.file(path)
            if not isinstance(file, BadInput):
                for node in statements(file.text.tree):
                    if isinstance(node, ast.Import):
                        found.update(
                            a.asname or a.name.split(".")[0] for a in node.names if self.find(path, a.name, 0) is None
                        )
                    elif isinstance(node, ast.ImportFrom) and self.find(path, node.module or "", node.level) is None:
                        found.update(a.asname or a.name for a in node.names)
            known = self._library_names[path] = frozenset(found)
        return known

    def attribute_reads(self, root: Path, name: str) -> tuple[tuple[Path, ast.Attribute, str | None, str | None], ...]:
        """Every place below `root` that reads `.name`: file, node, class around it, function around it.

        A string literal equal to the name, or one that starts a dotted path with it, may be a read by name and is
        given as well (with the string's position).
        """
        key = (root, name)
        known = self._readers.get(key)
        if known is not None:
            return known
        spelled = name.encode()
        pattern = re.compile(rb"(?:\.\s*|[\"'])" + re.escape(spelled) + rb"\b")
        found: list[tuple[Path, ast.Attribute, str | None, str | None]] = []
        for path in self.python_files(root):
            data = self.content(path)
            if len(data) > _ATTRIBUTE_FILE_LIMIT or pattern.search(data) is None:
                continue
            file = self.file(path)
            if not isinstance(file, BadInput):
                index = self._attributes.get(path)
                if index is None:
                    index = self._attributes[path] = _AttributeIndex(file.text.tree)
                found.extend((path, *read) for read in index.reads(name))
        result = self._readers[key] = tuple(found)
        return result


def _bytes_name(name: str) -> bytes:
    return re.escape(name.encode())


class _AttributeIndex:
    """Where a file reads attributes and has texts that may name one: with the class and the function around."""

    def __init__(self, tree: ast.AST) -> None:
        self._attributes: dict[str, list[tuple[ast.Attribute, str | None, str | None]]] = {}
        self._texts: dict[str, list[tuple[ast.Constant, str | None, str | None]]] = {}
        stack: list[tuple[ast.AST, str | None, str | None]] = [(tree, None, None)]
        while stack:
            node, cls, function = stack.pop()
            kind = type(node)
            if kind is ast.ClassDef:
                cls, function = node.name, None  # type: ignore[attr-defined]
            elif kind is ast.FunctionDef or kind is ast.AsyncFunctionDef:
                function = node.name if function is None else function  # type: ignore[attr-defined]
            elif kind is ast.Attribute:
                if type(node.ctx) is not ast.Store:  # type: ignore[attr-defined]
                    self._attributes.setdefault(node.attr, []).append((node, cls, function))  # type: ignore[attr-defined, arg-type]
            elif kind is ast.Constant:
                value = node.value  # type: ignore[attr-defined]
                if type(value) is str:
                    self._texts.setdefault(value.partition(".")[0], []).append((node, cls, function))  # type: ignore[arg-type]
                continue
            stack.extend((child, cls, function) for child in children(node))

    def reads(self, name: str) -> Iterator[tuple[ast.Attribute, str | None, str | None]]:
        """Reads of `.name`, then texts that are the name or start a dotted path with it, as reads at their places."""
        yield from self._attributes.get(name, ())
        for node, cls, function in self._texts.get(name, ()):
            read = ast.Attribute(value=node, attr=name, ctx=ast.Load())
            yield ast.copy_location(read, node), cls, function


def _in_test_suite(path: Path, root: Path) -> bool:
    try:
        folders = path.relative_to(root).parts[:-1]
    except ValueError:
        folders = ()
    return path.name.startswith("test_") or path.name.endswith("_test.py") or "tests" in folders or "test" in folders
