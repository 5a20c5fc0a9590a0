"""Results of earlier runs, kept in `.modellint_cache/` and used again where nothing has changed that they rest on.

One JSON file for one working directory, one set of rules and one version of modellint. It says how each project looked
(a hash of every file) and what entering each file gave. On the next run the two looks are compared: a
result is dropped when a file that was consulted for it changed, when a word that was looked for in vain now stands
somewhere, when a module appeared or vanished where one was looked for, or when imports lead elsewhere than before.

The folder holds data only, and nothing in it is ever executed. It never changes an answer: a file that is damaged,
belongs to somebody else, is a link or does not have the expected form is not used. Nor is a folder that holds other
things, so that a mistaken setting costs nobody a file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modellint.entries import EntryResult, as_json, from_json
from modellint.source.survey import Survey

_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of modellint.\n"
_FORM = 2
_NAME = re.compile(r"[0-9a-f]{32}\.cache")
_LARGEST = 1 << 30
"""Bytes of a file that is still read."""
_TICK = 50_000_000
"""Nanoseconds: more than a file system rounds its times by."""
_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)
_KEPT = 12
"""So many files are kept in a folder: other sets of rules, other projects, other versions."""


@dataclass(slots=True)
class _Known:
    """What one file of the cache says."""

    marks: str = ""
    """Where projects and packages start, in short."""
    hashes: dict[str, str] = field(default_factory=dict)
    """Of all files of the project."""
    others: dict[str, str] = field(default_factory=dict)
    """Of further files that were consulted."""
    kinds: dict[str, str] = field(default_factory=dict)
    """What stood for each module name that was looked for."""
    imports: dict[str, list[str]] = field(default_factory=dict)
    """The files that each file imports."""
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Results as JSON, by path."""


class ProjectCache:
    """What is known of the files of one project from earlier runs."""

    def __init__(self, known: _Known, root: Path, survey: Survey) -> None:
        self._root = root
        self._contents = survey.contents
        self._layout = survey.layout
        self._survey = survey
        self._known = known
        self.changed = False
        """There is something to be written."""
        self._began = time.time_ns()
        self._times: dict[str, tuple[int, int]] = {}
        self._fresh: list[str] = []
        self._bring_up_to_date()

    def get(self, path: Path, settings: str) -> EntryResult | None:
        """The result for an entered file, if one is known that still holds; `settings`: what is said about it."""
        data = self._known.entries.get(str(path))
        if data is None or data.get("settings") != settings:
            return None
        try:
            return from_json(data)
        except _MALFORMED:
            self._known.entries.pop(str(path))
            return None

    def put(self, result: EntryResult, settings: str) -> None:
        """Remember a result."""
        if result.reader_failure is not None or result.rule_failures or result.bad_input is not None:
            return  # to be tried again
        data = as_json(result)
        data["settings"] = settings
        self._known.entries[result.path] = data
        self._fresh.append(result.path)
        self.changed = True

    def finished(self) -> _Known:
        """All that is known at the end of a run."""
        known = self._known
        for entered in dict.fromkeys(self._fresh):
            if not all(map(self._still, known.entries[entered]["rests"][0])):
                del known.entries[entered]  # it may rest on a state that lasted for a moment
        for data in known.entries.values():
            files, _, lookups, _ = data["rests"]
            for name in files:
                if name not in known.hashes and name not in known.others:
                    known.others[name] = self._hash(name)
            for base in lookups:
                if base not in known.kinds:
                    known.kinds[base] = self._layout.kind(Path(base))
        if any(data["rests"][3] for data in known.entries.values()):
            for path in self._layout.python_files(self._root):
                known.imports[str(path)] = sorted(map(str, self._survey.imports(path)))
        return known

    # ---------------------------------------------------------------- what still holds

    def _bring_up_to_date(self) -> None:
        """Compare how the project looks with how it looked, and drop what rests on a difference."""
        known = self._known
        marks = _digest("\0".join(map(str, self._layout.marks(self._root))))
        if known.marks != marks:
            # Imports are looked for up to where a project starts, and a package is more than a folder.
            known.entries, known.imports, known.kinds, known.marks = {}, {}, {}, marks
            self.changed = True
        hashes = {str(path): self._hash(str(path)) for path in self._layout.python_files(self._root)}
        others = {name: self._hash(name) for name in known.others if name not in hashes}
        before = {**known.others, **known.hashes}
        now = {**others, **hashes}
        changed = {name for name in {*before, *now} if before.get(name) != now.get(name)}
        moved = {base for base, kind in known.kinds.items() if self._layout.kind(Path(base)) != kind}
        graph = known.hashes.keys() != hashes.keys() or bool(moved)
        if not graph:
            self._survey.remember({name: found for name, found in known.imports.items() if name not in changed})
            graph = any(
                sorted(map(str, self._survey.imports(Path(name)))) != known.imports[name]
                for name in changed
                if name in known.imports and name in hashes
            )
        if changed or moved or graph:
            self._drop(changed, self._words_in(changed & now.keys()), moved, graph=graph)
            self.changed = True
        known.hashes, known.others = hashes, others
        if graph:
            known.imports = {}

    def _words_in(self, names: Iterable[str]) -> set[str]:
        """Those of the words that were looked for in vain that stand in some files now."""
        texts = [self._contents.read(Path(name)) for name in names]
        words = {word for data in self._known.entries.values() for word in data["rests"][1]}
        return {word for word in words if any(word.encode("utf-8", "surrogatepass") in text for text in texts)}

    def _drop(self, files: set[str], words: set[str], lookups: set[str], *, graph: bool) -> None:
        entries = self._known.entries
        for path, data in list(entries.items()):
            own_files, own_words, own_lookups, own_graph = data["rests"]
            if (
                (graph and own_graph)
                or not files.isdisjoint(own_files)
                or not words.isdisjoint(own_words)
                or not lookups.isdisjoint(own_lookups)
            ):
                del entries[path]
        for base in lookups:
            self._known.kinds.pop(base, None)

    def _hash(self, name: str) -> str:
        """Of the content of a file; empty where there is none."""
        try:
            status = os.stat(name)
        except (OSError, ValueError):
            return ""
        if not stat.S_ISREG(status.st_mode):
            return ""
        self._times[name] = (status.st_mtime_ns, status.st_ctime_ns)
        return hashlib.blake2b(self._contents.read(Path(name)), digest_size=12).hexdigest()

    def _still(self, name: str) -> bool:
        """Whether a file is as it was when the run began."""
        try:
            status = os.stat(name)
        except (OSError, ValueError):
            return name not in self._times
        known = self._times.get(name)
        if known is None:
            return max(status.st_mtime_ns, status.st_ctime_ns) < self._began - _TICK
        return known == (status.st_mtime_ns, status.st_ctime_ns)


class Cache:
    """A cache folder."""

    def __init__(self, folder: Path, about: Sequence[str]) -> None:
        """`about` says what all results depend on besides files: the working directory, the rules."""
        self._file: Path | None = None
        if refusal(folder) is None:
            self._file = folder / f"{_digest(chr(0).join((*about, *_of_this_program())))}.cache"
        self._known = _read(self._file) if self._file is not None else {}
        self._projects: dict[str, ProjectCache] = {}

    def project(self, root: Path, survey: Survey) -> ProjectCache:
        """What is known about the project that starts at `root`."""
        name = str(root)
        if name not in self._projects:
            known = self._known.get(name) or _Known()
            self._projects[name] = ProjectCache(known, root, survey)
        return self._projects[name]

    def save(self) -> None:
        """Write what is known. A cache that cannot be written is no error."""
        if self._file is None or not any(project.changed for project in self._projects.values()):
            return
        known = {**self._known, **{root: project.finished() for root, project in self._projects.items()}}
        _write(self._file, {root: _packed(one) for root, one in known.items()})


def clean(folder: Path) -> bool:
    """Delete a cache folder; False where there is none, or one that modellint did not make. Raises OSError."""
    if refusal(folder) is not None or not _is_tagged(folder):
        return False
    for file in folder.iterdir():
        if _NAME.fullmatch(file.name) or file.name in ("CACHEDIR.TAG", ".gitignore") or file.name.startswith(".tmp"):
            file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()  # unless somebody else has put something there
    return True


def refusal(folder: Path) -> str | None:
    """Why a folder is not used: it is none, belongs to another user, or holds other things. None where it is used."""
    try:
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode):
            return "not a folder"
        if not _is_mine(status):
            return "it belongs to another user"
        if not _is_tagged(folder) and any(not name.startswith(".tmp") for name in os.listdir(folder)):
            return "it holds other files"
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or "not a path"
    return None


def _is_tagged(folder: Path) -> bool:
    """Whether modellint made a folder."""
    tag = folder / "CACHEDIR.TAG"
    try:
        status = tag.lstat()
        return stat.S_ISREG(status.st_mode) and status.st_size == len(_TAG) and tag.read_bytes() == _TAG.encode()
    except OSError:
        return False


def _is_mine(status: os.stat_result) -> bool:
    return not hasattr(os, "getuid") or status.st_uid == os.getuid()


def of_package(folder: Path) -> str:
    """What changes whenever the files of a package do: their names, sizes and times, in short."""
    found: list[str] = []
    stack = [folder]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "__pycache__":
                        stack.append(Path(entry.path))
                elif entry.name.endswith(".py"):
                    status = entry.stat()
                    found.append(f"{entry.path}:{status.st_size}:{status.st_mtime_ns}")
    return _digest("\0".join(sorted(found)))


def _of_this_program() -> tuple[str, ...]:
    import modellint

    return modellint.__version__, of_package(Path(modellint.__file__).parent), sys.version


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _read(file: Path) -> dict[str, _Known]:
    """What a file of the cache says; nothing where it cannot be read, is damaged or is not in the form written here."""
    try:
        # Neither a link is followed nor a pipe waited for.
        handle = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb") as stream:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or not _is_mine(status) or status.st_size > _LARGEST:
                return {}
            head, _, body = stream.read().partition(b"\n")
        if head != _head(body):
            return {}
        return {str(root): _unpacked(one) for root, one in json.loads(body).items()}
    except (OSError, *_MALFORMED):
        return {}


def _head(body: bytes) -> bytes:
    """The first line of a file: it tells a damaged one, and one of another form."""
    return f"modellint {_FORM} {hashlib.blake2b(body, digest_size=16).hexdigest()}".encode()


def _packed(known: _Known) -> dict[str, Any]:
    """Every path and word once, elsewhere its number."""
    names: dict[str, int] = {}

    def number(name: str) -> int:
        return names.setdefault(name, len(names))

    def numbers(items: Iterable[str]) -> list[int]:
        return [number(item) for item in items]

    entries = []
    for data in known.entries.values():
        files, words, lookups, graph = data["rests"]
        rests = [numbers(files), numbers(words), numbers(lookups), graph]
        entries.append({**data, "path": number(data["path"]), "rests": rests})
    return {
        "marks": known.marks,
        "hashes": [[number(name), value] for name, value in known.hashes.items()],
        "others": [[number(name), value] for name, value in known.others.items()],
        "kinds": [[number(name), value] for name, value in known.kinds.items()],
        "imports": [[number(name), numbers(found)] for name, found in known.imports.items()],
        "entries": entries,
        "names": list(names),
    }


def _unpacked(data: Any) -> _Known:
    names = data["names"]
    if not all(isinstance(name, str) for name in names):
        raise TypeError("names are texts")
    entries = {}
    for entry in data["entries"]:
        files, words, lookups, graph = entry["rests"]
        entry["path"] = names[entry["path"]]
        entry["rests"] = [
            [names[one] for one in files], [names[one] for one in words], [names[one] for one in lookups], graph
        ]  # fmt: skip
        entries[entry["path"]] = entry
    return _Known(
        data["marks"],
        {names[one]: value for one, value in data["hashes"]},
        {names[one]: value for one, value in data["others"]},
        {names[one]: value for one, value in data["kinds"]},
        {names[one]: [names[other] for other in found] for one, found in data["imports"]},
        entries,
    )


def _write(file: Path, projects: Mapping[str, Any]) -> None:
    """Replace a file of the cache as a whole: whoever reads meanwhile sees the old one."""
    folder = file.parent
    try:
        body = json.dumps(projects, separators=(",", ":")).encode()
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        if refusal(folder) is not None:
            return  # made by somebody else meanwhile
        for name, text in (("CACHEDIR.TAG", _TAG), (".gitignore", "*\n")):
            if not (folder / name).exists():
                _replace(folder / name, text.encode())
        _replace(file, _head(body) + b"\n" + body)
        _prune(folder)
    except (OSError, ValueError):
        pass  # a full disk, a read-only folder, one that was removed meanwhile: the next run starts cold


def _replace(file: Path, data: bytes) -> None:
    import tempfile  # late: most runs write nothing

    handle, name = tempfile.mkstemp(prefix=".tmp", dir=file.parent)
    try:
        with open(handle, "wb") as stream:
            stream.write(data)
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _prune(folder: Path) -> None:
    """Drop the files that were not written for longest, and what a killed run has left."""
    files = [(file.stat().st_mtime, file) for file in folder.iterdir()]
    kept = sorted((item for item in files if _NAME.fullmatch(item[1].name)), reverse=True)
    stale = [item for item in files if item[1].name.startswith(".tmp") and item[0] < time.time() - 3600]
    for _, file in (*kept[_KEPT:], *stale):
        with contextlib.suppress(OSError):
            file.unlink()
