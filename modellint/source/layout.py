"""Where a project starts, and which file an import means in it: asked of the file system alone."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path

_MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", "modellint.toml", ".git", "requirements.txt", "environment.yml")
# Files of these names never shadow the library: torch is torch, the standard library is Python's own.
_NEVER_PROJECT = frozenset(sys.stdlib_module_names) | {"torch", "numpy"}
_REQUIREMENTS = ("requirements", "environment.yaml", "poetry.lock", "uv.lock", "pdm.lock")
_PACKAGES = ("__init__.py", "src")
_TELLING = frozenset({*_MARKERS, *_REQUIREMENTS, *_PACKAGES})
_SKIPPED_FOLDERS = frozenset({
    ".git", ".hg", ".venv", "venv", ".tox", ".nox", "node_modules", "__pycache__", "site-packages", "build", "dist",
    "wandb", "mlruns",
})  # fmt: skip


@lru_cache(maxsize=4096)
def project_root(folder: Path) -> Path:
    """The folder where the project of a file starts: the nearest one with a marker, else the top of its package."""
    for candidate in (folder, *folder.parents):
        if any(os.path.exists(f"{candidate}/{marker}") for marker in _MARKERS):
            return candidate
    top = folder
    while os.path.exists(top / "__init__.py") and top.parent != top:
        top = top.parent
    if top.name == "src":
        return top.parent
    # No marker: a script in `scripts/` beside a `src/` belongs with it.
    return next((parent for parent in (top, *list(top.parents)[:1]) if os.path.isdir(parent / "src")), top)


def init_file(path: Path) -> Path | None:
    """The file that importing a path evaluates: itself, or the `__init__.py` of a folder; None where there is none."""
    if path.suffix == ".py":
        return path
    init = path / "__init__.py"
    return init if _reachable(init) else None


class Layout:
    """Remembers what is where."""

    def __init__(self) -> None:
        self._kinds: dict[Path, str] = {}
        self._trees: dict[Path, list[Path]] = {}
        self._marks: dict[Path, list[Path]] = {}

    def kind(self, base: Path) -> str:
        """What a module name stands for, given as a path without `.py`: `file`, `folder`, or nothing."""
        known = self._kinds.get(base)
        if known is None:
            if _reachable(base / "__init__.py") and not leads_out(base):
                known = "folder"
            elif _reachable(base.parent / f"{base.name}.py"):
                known = "file"
            elif os.path.isdir(base) and not leads_out(base) and any(base.glob("*.py")):
                known = "folder"
            else:
                known = ""
            self._kinds[base] = known
        return known

    def find(self, importer: Path, dotted: str, level: int, asked: set[Path] | None = None) -> Path | None:
        """The file or folder that `import dotted` means in `importer`; None when it lies outside of the project.

        Looks beside the file first, as Python does for a script, then in the folders above it up to the root of the
        project and its `src`. The modules that were looked for are added to `asked`.
        """
        parts = [part for part in dotted.split(".") if part]
        if level:
            folder = importer.parent
            root = project_root(folder)
            for _ in range(level - 1):
                folder = folder.parent
                # Above the root there is only what Python itself would find there: packages around this one.
                if not folder.is_relative_to(root) and not _reachable(folder / "__init__.py"):
                    return None
            return self._descend(folder, parts, asked)
        if not parts or parts[0] in _NEVER_PROJECT:
            return None
        root = project_root(importer.parent)
        folder = importer.parent
        while True:
            if (found := self._descend(folder, parts, asked)) is not None:
                return found
            if folder == root or folder.parent == folder:
                break
            folder = folder.parent
        return self._descend(root / "src", parts, asked)

    def _descend(self, folder: Path, parts: list[str], asked: set[Path] | None) -> Path | None:
        for index, part in enumerate(parts):
            base = folder / part
            if asked is not None:
                asked.add(base)
            kind = self.kind(base)
            if kind == "file":
                return folder / f"{part}.py" if index == len(parts) - 1 else None
            if kind != "folder":
                return None
            folder = base
        return folder

    def member(self, folder: Path, name: str, asked: set[Path] | None = None) -> Path | None:
        """The submodule `name` of a package folder."""
        return self._descend(folder, [name], asked)

    def python_files(self, root: Path) -> list[Path]:
        """All Python files below the root of a project, sorted; nested environments and builds left out."""
        known = self._trees.get(root)
        if known is None:
            known, marks = [], []
            stack = [root]
            while stack:
                folder = stack.pop()
                try:
                    with os.scandir(folder) as entries:
                        for entry in entries:
                            if entry.name in _TELLING:
                                marks.append(Path(entry.path))
                            if entry.is_dir(follow_symlinks=False):
                                inner = Path(entry.path)
                                if entry.name not in _SKIPPED_FOLDERS and not os.path.exists(inner / "pyvenv.cfg"):
                                    stack.append(inner)
                            # A pipe that is called x.py would be waited for, for ever.
                            elif entry.name.endswith(".py") and entry.is_file(follow_symlinks=False):
                                known.append(Path(entry.path))
                except OSError:
                    continue
            known.sort()
            marks.sort()
            self._trees[root], self._marks[root] = known, marks
        return known

    def marks(self, root: Path) -> list[Path]:
        """What below a root says where projects and packages start, and which requirements they have; sorted."""
        self.python_files(root)
        return self._marks[root]

    def project_folders(self, root: Path) -> list[Path]:
        """The folders below a root, and itself, in which other requirements or settings may hold than above them."""
        return sorted({root} | {mark.parent for mark in self.marks(root) if mark.name not in _PACKAGES})


def _reachable(file: Path) -> bool:
    return os.path.isfile(file) and not leads_out(file)  # Path.is_file raises for a name that is too long


def leads_out(path: Path) -> bool:
    """Whether a path is a link to somewhere outside of the project: what lies there is nobody's to read."""
    return os.path.islink(path) and not _real(path).is_relative_to(_real(project_root(path.parent)))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve raises for a link to itself
