"""Questions about all files of a project: who imports a file, which files two ends have between them, who reads a name.

Every answer notes what it rests on (`Asked`), so that it is known later whether it still holds: the files that were
looked at, and the words for which all the others were searched in vain.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from modellint.source.layout import Layout, project_root
from modellint.source.outline import Imported
from modellint.source.text import mentions_torch, read_bytes

_LARGE = 5_000_000
"""Files with more bytes are data: nobody looks for reads of an attribute in them."""
_SCANS = 6
"""So many words are looked for in every file; then an index of all words pays."""
# Bytes from 0x80 on belong to names in other scripts: Python allows `from 模型 import 网络`.
_WORD = re.compile(rb"[.\"']\s*([A-Za-z_]\w*)")
_FROM = re.compile(rb"(?:.*[;:])?[ \t]*from[ \t]+(\.*[ \t]*[\w.\x80-\xff]*)[ \t]+$")
_PLAIN = re.compile(rb"(?:.*[;:])?[ \t]*$")
_NAMES = re.compile(rb"[ \t]*(\([^)]*\)|(?:[^\n\\;]|\\\r?\n)*)")
_EFFECT = re.compile(
    rb"^(?:@[ \t]*([A-Za-z_]\w*)|([A-Za-z_]\w*)(?=[\w.]*\()"
    rb"|([A-Za-z_]\w*)(?=[\w.]*(?:\[[^\]\n]*\]|\.\w+)[ \t]*[-+*/|&]?=(?!=)))([.\[(]?)",
    re.MULTILINE,
)
"""A line of the top level that may change an object of another file: a decorator, a call, an item or attribute."""
_COMMENT = re.compile(rb"#[^\n]*")


class Asked:
    """What answers about a project rest on."""

    __slots__ = ("files", "graph", "lookups", "words")

    def __init__(self) -> None:
        self.files: set[Path] = set()
        """Their content."""
        self.words: set[str] = set()
        """No other file of the project has these texts in it, or those that have were looked at."""
        self.lookups: set[Path] = set()
        """Whether a module or package is there, without `.py`."""
        self.graph = False
        """Which files import which."""

    def update(self, other: Asked) -> None:
        """What rests on another answer rests on what that rests on."""
        self.files |= other.files
        self.words |= other.words
        self.lookups |= other.lookups
        self.graph = self.graph or other.graph


class Contents:
    """The bytes of files, never kept: the system does that."""

    def __init__(self, given: dict[Path, bytes]) -> None:
        self.given = given
        """Those that come from elsewhere than the disk (standard input)."""
        self.unreadable: set[Path] = set()

    def read(self, path: Path) -> bytes:
        """The bytes of a file; empty when it cannot be read."""
        known = self.given.get(path)
        if known is not None:
            return known
        try:
            return read_bytes(path)
        except OSError:
            self.unreadable.add(path)
            return b""


class Survey:
    """The files of projects as texts. Outlives what was parsed of them, and is small."""

    def __init__(self, contents: Contents, layout: Layout) -> None:
        self.contents = contents
        self.layout = layout
        self._imported: dict[Path, tuple[Imported, ...]] = {}
        self.harmless: dict[tuple[Path | None, str], bool] = {}
        """Of functions: whether calling them at the top level changes nothing in their own file."""
        self._effects: dict[Path, tuple[tuple[str, bool], ...]] = {}
        self._imports: dict[Path, frozenset[Path]] = {}
        self._importing: dict[Path, dict[Path, list[Path]]] = {}
        self._groups: dict[Path, dict[Path, int]] = {}
        self._index: dict[Path, dict[bytes, array[int]]] = {}
        self._scanned: dict[tuple[Path, str], list[Path]] = {}

    def files(self, root: Path) -> list[Path]:
        """All Python files below the root of a project, those that are given and not on the disk among them."""
        known = self.layout.python_files(root)
        more = [path for path in self.contents.given if path.is_relative_to(root) and path not in known]
        return sorted([*known, *more]) if more else known

    def entries(self, paths: Iterable[Path]) -> tuple[list[Path], list[Path], int]:
        """The files to enter for some paths: those that can use torch, those that import them; and how many cannot.

        What is wrong in a model may only show where it is trained.
        """
        given = list(paths)
        own = {path for path in given if mentions_torch(self.contents.read(path)) or path in self.contents.unreadable}
        others: set[Path] = set()
        passed = set(given)
        for root in sorted({project_root(path.parent) for path in own}):
            if not passed.issuperset(self.files(root)):
                others.update(self.importers(path for path in own if project_root(path.parent) == root))
        other = {path for path in others - own if mentions_torch(self.contents.read(path))}
        return sorted(own), sorted(other), len(passed) - len(own)

    # ---------------------------------------------------------------- imports

    def importers(self, targets: Iterable[Path]) -> list[Path]:
        """Files of the same projects that import one of the targets, directly or through others."""
        reached = set(targets)
        roots = sorted({project_root(path.parent) for path in reached})
        result: list[Path] = []
        frontier = list(reached)
        while frontier:
            found = [importer for root in roots for path in frontier for importer in self.importing(root).get(path, ())]
            frontier = []
            for path in found:
                if path not in reached:
                    reached.add(path)
                    result.append(path)
                    frontier.append(path)
        return sorted(result)

    def imported(self, path: Path) -> tuple[Imported, ...]:
        """What the import statements of a file name, read from its text: at worst a line of a docstring too many."""
        known = self._imported.get(path)
        if known is None:
            known = self._imported[path] = tuple(_imports_in(self.contents.read(path)))
        return known

    def remember(self, imports: Mapping[str, Iterable[str]]) -> None:
        """Take over which files import which, where that is known already."""
        for path, found in imports.items():
            self._imports[Path(path)] = frozenset(map(Path, found))

    def imports(self, path: Path) -> frozenset[Path]:
        """The files of the project that a file imports, anywhere in it."""
        known = self._imports.get(path)
        if known is None:
            found: set[Path] = set()
            bases: dict[tuple[str, int], Path | None] = {}
            for module, level, name, _ in self.imported(path):
                key = (module, level)
                if key not in bases:
                    bases[key] = self.layout.find(path, module, level)
                base = bases[key]
                if base is None:
                    continue
                found.add(base)
                if name is not None and base.suffix != ".py":
                    member = base / f"{name}.py"
                    found.add(member if os.path.isfile(member) else base / name / "__init__.py")
            known = frozenset(p if p.suffix == ".py" else p / "__init__.py" for p in found)
            self._imports[path] = known
        return known

    def outside_effects(self, path: Path) -> tuple[tuple[str, bool], ...]:
        """The names whose objects the top level of a file may change; whether all it does is to call them.

        `@register_model` gives (`register_model`, True), `@MODELS.register` and `MODELS["tiny"] = Tiny` give
        (`MODELS`, False). Read from the text: at worst a line of a docstring too many.
        """
        known = self._effects.get(path)
        if known is None:
            found = {
                ((decorator or called or stored).decode("ascii"), behind in (b"", b"(") and not stored)
                for decorator, called, stored, behind in _EFFECT.findall(self.contents.read(path))
            }
            known = self._effects[path] = tuple(sorted(found))
        return known

    def importing(self, root: Path) -> dict[Path, list[Path]]:
        """For each file those that import it."""
        known = self._importing.get(root)
        if known is None:
            known = self._importing[root] = {}
            for path in self.files(root):
                for target in self.imports(path):
                    known.setdefault(target, []).append(path)
        return known

    def groups(self, root: Path) -> dict[Path, int]:
        """For each file the number of its group: the files that imports connect, in whichever direction."""
        known = self._groups.get(root)
        if known is None:
            links: dict[Path, set[Path]] = {}
            for path in self.files(root):
                links.setdefault(path, set())
                for other in self.imports(path):
                    links[path].add(other)
                    links.setdefault(other, set()).add(path)
            known = self._groups[root] = {}
            for number, start in enumerate(links):
                stack = [start]
                while stack:
                    path = stack.pop()
                    if path not in known:
                        known[path] = number
                        stack.extend(links[path])
        return known

    # ---------------------------------------------------------------- words

    def files_with(self, root: Path, word: str) -> list[Path]:
        """The files below a root in which a word follows a dot or a quote; all for a word beyond ASCII."""
        if not word.isascii():
            return self.files(root)
        index = self._index.get(root)
        if index is None:
            known = self._scanned.get((root, word))
            if known is not None:
                return known
            if len(self._scanned) < _SCANS:
                pattern = re.compile(rb"[.\"']\s*" + re.escape(word.encode()) + rb"\b")
                spelled = word.encode()
                found = []
                for path in self.files(root):
                    data = self.contents.read(path)
                    if spelled in data and len(data) <= _LARGE and pattern.search(data) is not None:
                        found.append(path)
                self._scanned[root, word] = found
                return found
            index = self.index(root)
        files = self.files(root)
        return [files[number] for number in index.get(word.encode(), ())]

    def index(self, root: Path) -> dict[bytes, array[int]]:
        """The numbers of the files that have each word behind a dot or a quote."""
        known = self._index.get(root)
        if known is None:
            known = {}
            for number, path in enumerate(self.files(root)):
                data = self.contents.read(path)
                if len(data) <= _LARGE:
                    for word in set(_WORD.findall(data)):
                        numbers = known.get(word)
                        if numbers is None:
                            numbers = known[word] = array("I")
                        numbers.append(number)
            self._index[root] = known
        return known


def _imports_in(data: bytes) -> Iterator[Imported]:
    # Looking for the word and then at its line is ten times as fast as looking for whole statements.
    at = data.find(b"import")
    while at >= 0:
        line = data[data.rfind(b"\n", 0, at) + 1 : at]
        behind = data[at + 6 : at + 7]
        if behind in (b" ", b"\t", b"(", b"*", b"\\"):
            found = _NAMES.match(data, at + 6)
            names = _COMMENT.sub(b"", found.group(1)) if found is not None else b""
            source = _FROM.match(line)
            if source is not None:
                yield from _names_from(source.group(1), names)
            elif behind in b" \t" and _PLAIN.match(line) is not None:
                yield from _modules(names)
        at = data.find(b"import", at + 6)


def _names_from(module: bytes, names: bytes) -> Iterator[Imported]:
    target = module.replace(b" ", b"").decode("utf-8", "replace")
    dotted = target.lstrip(".")
    level = len(target) - len(dotted)
    if not dotted and not level:
        return
    for part in names.strip(b"()\r\n\t ").split(b","):
        words = part.replace(b"\\", b" ").split()
        if words and (words[0] == b"*" or _is_name(words[0])):
            name = words[0].decode("utf-8", "replace")
            yield Imported(dotted, level, name, words[2].decode("utf-8", "replace") if len(words) == 3 else name)


def _modules(names: bytes) -> Iterator[Imported]:
    for part in names.split(b","):
        words = part.replace(b"\\", b" ").split()
        if words and _is_name(words[0]):
            dotted = words[0].decode("utf-8", "replace")
            bound = words[2].decode("utf-8", "replace") if len(words) == 3 else dotted.split(".")[0]
            yield Imported(dotted, 0, None, bound)


def _is_name(word: bytes) -> bool:
    return all(part.isidentifier() for part in word.decode("utf-8", "replace").split("."))


def nearest_first(home: Path, paths: Iterable[Path]) -> list[Path]:
    """The file itself, then those of its folder, then the others."""
    return sorted(paths, key=lambda path: (path != home, path.parent != home.parent, path))
