"""Finds the Python files below the paths that a user names.

Honours nested `.gitignore` files, `.git/info/exclude` and the user's global excludes without calling git, the exclude
patterns of the settings, and leaves out virtual environments. What was left out is kept with its reason.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path

from modellint.config import Configuration, Patterns, UsageError, nearest
from modellint.facts.record import slotted
from modellint.gitignore import IgnoreList
from modellint.source.layout import leads_out
from modellint.source.text import shown_path


@slotted
class Found:
    """The files to check, and what was left out."""

    files: list[Path] = field(default_factory=list)
    """Absolute, sorted as they are shown, each once."""
    ignored: int = 0
    """Python files that were seen and left out."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """Files and folders with the reason."""


def find_files(
    paths: Sequence[str], configuration: Configuration, *, force_exclude: bool = False, commands: Sequence[str] = ()
) -> Found:
    """The files below `paths`; a path that does not exist is a UsageError and nothing is checked.

    A file that is named is taken whatever it is called, unless `force_exclude` applies the excludes to it as well.
    """
    cwd = configuration.cwd
    walk = _Walk(configuration, Found())
    named = []
    for path in paths:
        absolute = Path(os.path.abspath(cwd / path))
        if not os.path.lexists(absolute):
            close = nearest(path, commands).replace("did you mean", "did you mean the command")
            raise UsageError(f"no such file or directory: {path}{close}")
        named.append(absolute)
    for absolute in named:
        if os.path.isdir(absolute):
            reason = walk.reason_above(absolute) if force_exclude else None
            if reason is not None:
                walk.leave_out(absolute, reason)
            else:
                walk.folder(absolute)
            continue
        reason = walk.reason_above(absolute) if force_exclude else None
        walk.file(absolute, reason)
    found = walk.found
    found.files = sorted(set(found.files), key=lambda file: (shown_path(file, cwd), file))
    found.left_out.sort()
    return found


class _Walk:
    """One run over the named paths."""

    def __init__(self, configuration: Configuration, found: Found) -> None:
        self.found = found
        self._configuration = configuration
        self._ignores: dict[Path, IgnoreList | None] = {}
        self._repositories: dict[Path, Path | None] = {}
        self._outer: dict[Path | None, list[tuple[IgnoreList, str]]] = {}
        self._specs: dict[Patterns, IgnoreList] = {}
        self._top: Path | None = None
        self._roots: dict[tuple[int, Path], Path] = {}
        self._seen: set[Path] = set()

    def folder(self, folder: Path) -> None:
        """Take every Python file below a folder. Iterative: no depth of folders overflows the stack."""
        self._top, self._roots = folder, {}
        waiting = [folder]
        while waiting:
            here = waiting.pop()
            if here in self._seen:
                continue
            self._seen.add(here)
            try:
                with os.scandir(here) as entries:
                    listed = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self.leave_out(here, f"cannot be listed: {error.strerror}")
                continue
            for entry in listed:
                path = here / entry.name
                try:
                    is_folder = entry.is_dir()
                    is_link = entry.is_symlink()
                except OSError:
                    is_folder, is_link = False, True
                if is_folder:
                    # A link can lead anywhere, back up included; what it leads to inside the project has a name of
                    # its own there.
                    reason = "symbolic link to a folder" if is_link else self.reason(path, is_folder=True)
                    if reason is None:
                        waiting.append(path)
                    elif entry.name not in (".git", "__pycache__"):
                        self.leave_out(path, reason)
                elif entry.name.endswith((".py", ".ipynb")) and not _is_lock(entry.name, path):
                    reason = "symbolic link out of the project" if is_link and self._leads_out(path) else None
                    self.file(path, reason or self.reason(path, is_folder=False))
        self._top = None

    def _leads_out(self, link: Path) -> bool:
        """Whether a link leads to a file neither below the folder that the user named nor in its project."""
        top = os.path.realpath(self._top or link.parent)
        return not Path(os.path.realpath(link)).is_relative_to(top) and leads_out(link)

    def file(self, path: Path, reason: str | None) -> None:
        """Take one file, or leave it out for a reason."""
        if path in self._seen:
            return
        self._seen.add(path)
        if reason is None and path.suffix == ".ipynb":
            reason = "notebooks are not read"
        if reason is None and os.path.exists(path) and not os.path.isfile(path):
            reason = "not a regular file"
        if reason is None:
            self.found.files.append(path)
            return
        self.found.ignored += 1
        self.leave_out(path, reason)

    def leave_out(self, path: Path, reason: str) -> None:
        self.found.left_out.append((shown_path(path, self._configuration.cwd), reason))

    def reason_above(self, path: Path) -> str | None:
        """Why a named path or a folder above it is left out; looks up to the repository or the working directory."""
        top = self._repository(path.parent) or self._configuration.cwd
        if not path.is_relative_to(top):
            return self.reason(path, is_folder=os.path.isdir(path))
        for above in [folder for folder in reversed(path.parents) if folder != top and folder.is_relative_to(top)]:
            reason = self.reason(above, is_folder=True)
            if reason is not None:
                return reason
        return self.reason(path, is_folder=os.path.isdir(path)) if path != top else None

    def reason(self, path: Path, *, is_folder: bool) -> str | None:
        """Why one entry of a folder is left out, None if it is not."""
        if is_folder and os.path.isfile(path / "pyvenv.cfg"):
            return "a virtual environment"
        for patterns in self._configuration.for_folder(path.parent).excludes:
            if self._matches(self._spec(patterns), patterns.root, path, is_folder):
                return "excluded by the settings"
        return self._gitignored(path, is_folder)

    def _gitignored(self, path: Path, is_folder: bool) -> str | None:
        """The deepest `.gitignore` that says anything about a path decides, then the excludes outside of the tree."""
        repository = self._repository(path.parent)
        for folder in path.parents:
            spec = self._ignore_file(folder)
            if spec is not None:
                decision = self._matches(spec, folder, path, is_folder)
                if decision is not None:
                    shown = shown_path(folder / ".gitignore", self._configuration.cwd)
                    return f"ignored by {shown}" if decision else None
            if folder == repository or (repository is None and folder == self._configuration.cwd):
                break
        if repository is None:
            return None
        for spec, name in self._outer_excludes(repository):
            decision = self._matches(spec, repository, path, is_folder)
            if decision is not None:
                return f"ignored by {name}" if decision else None
        return None

    def _matches(self, spec: IgnoreList, root: Path, path: Path, is_folder: bool) -> bool | None:
        if not path.is_relative_to(root):
            return None
        relative = path.relative_to(self._root(spec, root, path)).as_posix()
        return spec.decides(relative, is_folder=is_folder)

    def _root(self, spec: IgnoreList, root: Path, path: Path) -> Path:
        """The folder that paths are relative to: that of the patterns.

        Where they ignore the folder that the user named, its content is matched as if they stood in it: named, it is
        walked, and the pattern that ignores it as a whole must not ignore all that is in it.
        """
        top = self._top
        if top is None or path == top or not path.is_relative_to(top) or top == root or not top.is_relative_to(root):
            return root
        key = (id(spec), root)
        if key not in self._roots:
            ignored = spec.covers(top.relative_to(root).as_posix(), is_folder=True)
            self._roots[key] = top if ignored else root
        return self._roots[key]

    def _spec(self, patterns: Patterns) -> IgnoreList:
        spec = self._specs.get(patterns)
        if spec is None:
            spec = self._specs[patterns] = IgnoreList(patterns.lines)
        return spec

    def _ignore_file(self, folder: Path) -> IgnoreList | None:
        if folder not in self._ignores:
            self._ignores[folder] = _read_ignores(folder / ".gitignore")
        return self._ignores[folder]

    def _repository(self, folder: Path) -> Path | None:
        """The root of the git repository around a folder."""
        if folder not in self._repositories:
            if os.path.exists(folder / ".git"):
                self._repositories[folder] = folder
            else:
                self._repositories[folder] = self._repository(folder.parent) if folder.parent != folder else None
        return self._repositories[folder]

    def _outer_excludes(self, repository: Path) -> list[tuple[IgnoreList, str]]:
        """`.git/info/exclude`, then the user's global excludes."""
        known = self._outer.get(repository)
        if known is None:
            known = []
            git = _git_folder(repository)
            for file, name in ((git / "info" / "exclude", ".git/info/exclude"), (_global_excludes(git), "")):
                spec = _read_ignores(file) if file is not None else None
                if spec is not None:
                    known.append((spec, name or f"git's global excludes ({file})"))
            self._outer[repository] = known
        return known


def _is_lock(name: str, path: Path) -> bool:
    """Emacs marks an open file by a dangling link named `.#file`."""
    return name.startswith(".#") and not os.path.exists(path)


def _read_ignores(file: Path) -> IgnoreList | None:
    text = _text(file)
    if text is None:
        return None
    lines = text.removeprefix("\ufeff").splitlines()
    return IgnoreList(lines)


def _text(file: Path) -> str | None:
    """The content of a file; None where there is none, or where no end of it is in sight: a pipe, a device."""
    try:
        return file.read_bytes().decode("utf-8", "surrogateescape") if os.path.isfile(file) else None
    except (OSError, ValueError):
        return None


def _git_folder(repository: Path) -> Path:
    """`.git`, or where the `.git` file of a work tree or submodule points, at the folder that all work trees share."""
    git = repository / ".git"
    pointer = _text(git)
    if pointer is not None:
        git = repository / pointer.removeprefix("gitdir:").strip()
        common = _text(git / "commondir")
        if common is not None:
            git = git / common.strip()
    return git


def _global_excludes(git: Path) -> Path | None:
    """git's `core.excludesFile`: the repository's own setting, the user's, else the default place."""
    home = Path.home()
    user = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "git"
    for config in (git / "config", home / ".gitconfig", user / "config"):
        value = _excludes_file(config)
        if value is not None:
            return home / re.sub(r"^~/", "", value)
    return user / "ignore"


def _excludes_file(config: Path) -> str | None:
    """`core.excludesFile` of one git configuration file."""
    text = _text(config)
    if text is None:
        return None
    import configparser  # late: most runs pass no git configuration

    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, delimiters=("=",))
    try:
        # git indents the keys, which configparser would take for continued lines.
        parser.read_string("\n".join(line.strip() for line in text.splitlines()))
    except configparser.Error:
        return None
    for section in parser.sections():
        if section.lower() == "core":
            value = parser.get(section, "excludesfile", fallback=None)
            if value:
                return value.strip().strip('"')
    return None
