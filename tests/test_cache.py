"""What drops a stored result, what does not, and what a damaged or hostile cache can do: nothing."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from conftest import ROOT, CommandLine

import modellint
from modellint import cache, cli
from modellint.config import Configuration, Flags
from modellint.lint import How, lint
from modellint.report import render
from modellint.source.reader import EntryReading, Reader

FILES = {
    "pyproject.toml": "",
    "model.py": """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.aux = nn.Linear(4, 4)

    def forward(self, x):
        return self.body(x)
""",
    "train.py": """\
import torch
from model import Net
from parts.loss import loss_of

try:
    from extras import build
except ImportError:
    build = None

net = Net()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for x, y in loader:
    loss = loss_of(net(x), y)
    loss.backward()
    opt.step()
""",
    "parts/loss.py": """\
import torch
import torch.nn.functional as F


def loss_of(scores, y):
    return F.cross_entropy(torch.softmax(scores, dim=1), y)
""",
    "alone.py": 'import torch\nd = torch.device("gpu")\n',
    "old.py": 'import torch\nstate = torch.load("x.pt")\n',
    "plain.py": "x = 1\n",
}


class Tree:
    """A project with a cache; every run is compared with one that has none."""

    def __init__(self, folder: Path, store: Path, read: list[str]) -> None:
        self.folder, self.store = folder, store
        self._read = read

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def append(self, name: str, text: str) -> None:
        self.write(name, (self.folder / name).read_text() + text)

    def run(self, flags: Flags | None = None, cwd: Path | None = None, *paths: str) -> set[str]:
        """The names of the files that are read again."""
        where = cwd or self.folder
        named = paths or (str(self.folder),)
        warm = lint(named, Configuration(where, flags), cwd=where, how=How(cache=self.store))
        names = {os.path.relpath(path, self.folder) for path in self._read}
        cold = lint(named, Configuration(where, flags), cwd=where)
        assert render("json", warm) == render("json", cold)
        self._read.clear()
        return names

    def found(self) -> set[str]:
        report = lint([str(self.folder)], cwd=self.folder, how=How(cache=self.store))
        self._read.clear()
        return {f"{finding.span.path}:{finding.rule}" for finding in report.findings}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the files that were read, in order."""
    original = Reader.read
    found: list[str] = []

    def noted(self: Reader, path: Path) -> EntryReading:
        found.append(str(path))
        return original(self, path)

    monkeypatch.setattr(Reader, "read", noted)
    return found


@pytest.fixture
def tree(tmp_path: Path, read: list[str]) -> Tree:
    result = Tree(tmp_path / "project", tmp_path / "store", read)
    for name, text in FILES.items():
        result.write(name, text)
    assert result.run() == ALL
    assert result.run() == set()
    return result


ALL = {"model.py", "train.py", "parts/loss.py", "alone.py", "old.py"}

# ---------------------------------------------------------------- what drops a result


def test_the_file_itself(tree: Tree) -> None:
    tree.append("alone.py", "x = 1\n")
    assert tree.run() == {"alone.py"}
    assert tree.run() == set()


def test_a_file_that_was_consulted(tree: Tree) -> None:
    assert "train.py:softmax-before-cross-entropy" in tree.found() or "parts/loss.py:softmax-before-cross-entropy" in (
        tree.found()
    )
    tree.write("parts/loss.py", FILES["parts/loss.py"].replace("torch.softmax(scores, dim=1)", "scores"))
    again = tree.run()
    assert {"train.py", "parts/loss.py"} <= again
    assert not {"alone.py", "old.py"} & again
    assert not any("softmax" in finding for finding in tree.found())


def test_a_word_that_was_looked_for_in_vain(tree: Tree) -> None:
    tree.write("plain.py", "from model import Net\nx = Net()\n")
    tree.run()
    assert "model.py:unused-module" in tree.found()
    tree.append("plain.py", "print(x.aux)\n")
    again = tree.run()
    assert "model.py" in again
    assert "alone.py" not in again
    assert "model.py:unused-module" not in tree.found()
    tree.write("plain.py", "x = 1\n")
    assert "model.py" in tree.run()
    assert "model.py:unused-module" in tree.found()


def test_a_module_that_appears_and_vanishes(tree: Tree) -> None:
    tree.write("extras.py", "import torch\n\ndef build():\n    return torch.device('gpu')\n")
    again = tree.run()
    assert {"train.py", "extras.py"} <= again
    assert "alone.py" not in again
    (tree.folder / "extras.py").unlink()
    again = tree.run()
    assert "train.py" in again
    assert "alone.py" not in again
    (tree.folder / "model.py").unlink()
    assert "train.py" in tree.run()


def test_an_import_that_leads_elsewhere(tree: Tree) -> None:
    tree.write("sub/use.py", FILES["train.py"])
    assert "sub/use.py" in tree.run()
    tree.write("sub/model.py", FILES["model.py"].replace("self.body(x)", "self.aux(self.body(x))"))
    again = tree.run()
    assert "sub/use.py" in again
    assert "alone.py" not in again


def test_imports_that_connect_other_files(tree: Tree) -> None:
    """`unused-module` is said unless a file that is connected with the model uses the name."""
    tree.write("plain.py", "def f(net):\n    return net.aux\n")
    tree.run()
    assert "model.py:unused-module" in tree.found()
    tree.write("plain.py", "import link\n\ndef f(net):\n    return net.aux\n")
    tree.write("link.py", "from model import Net\n")
    tree.run()
    assert "model.py:unused-module" not in tree.found()
    tree.write("link.py", "x = 1\n")
    assert "model.py" in tree.run()
    assert "model.py:unused-module" in tree.found()


def test_a_package_that_becomes_one(tree: Tree) -> None:
    tree.write("parts/__init__.py", "")
    assert tree.run() >= ALL


def test_where_a_project_starts(tree: Tree) -> None:
    """`from model import Net` finds nothing in `sub` once `sub` is a project of its own."""
    tree.write("sub/use.py", "from model import Net\nnet = Net()\n")
    tree.write("top.py", "import torch\nfrom sub.use import net\n\ndef f(x):\n    return net(x)\n")
    tree.run()
    tree.write("sub/setup.cfg", "")
    assert "top.py" in tree.run()
    (tree.folder / "sub" / "setup.cfg").unlink()
    assert "top.py" in tree.run()


def test_the_version_of_torch(tree: Tree) -> None:
    (tree.folder / "requirements.txt").write_text("torch==2.0\n")
    tree.run()
    assert "old.py" not in tree.run()
    (tree.folder / "requirements.txt").write_text("torch==2.7\n")
    assert "old.py" in tree.run()
    (tree.folder / "modellint.toml").write_text('torch-version = "2.1"\n')
    assert "old.py" in tree.run()
    (tree.folder / "modellint.toml").write_text('torch-version = "2.2"\n')
    assert "old.py" in tree.run()
    tree.write("sub/old.py", FILES["old.py"])
    tree.run()
    tree.write("sub/requirements.txt", "torch==1.9\n")
    assert "sub/old.py" in tree.run()
    assert "sub/old.py" in tree.run(Flags(config=("torch-version='1.8'",)))


def test_the_version_of_torch_where_an_imported_file_lies(tree: Tree) -> None:
    tree.write("sub/loading.py", 'import torch\n\ndef load():\n    return torch.load("x.pt")\n')
    tree.write("use.py", "import torch\nfrom sub.loading import load\nstate = load()\n")
    tree.write("sub/modellint.toml", 'torch-version = "2.1"\n')
    tree.run()
    tree.write("sub/modellint.toml", 'torch-version = "2.7"\n')
    assert "use.py" in tree.run(None, None, "use.py")


def test_other_rules(tree: Tree) -> None:
    assert tree.run(Flags(select=("invalid-device",))) >= ALL
    assert tree.run(Flags(select=("invalid-device",))) == set()
    assert tree.run() == set(), "both are kept"
    assert tree.run(Flags(ignore=("invalid-device",))) >= ALL
    assert tree.run(Flags(per_file_ignores=("alone.py:invalid-device",))) == set(), "applied to what was found"
    assert tree.run(Flags(fail_on="note")) == set()


def test_another_modellint(tree: Tree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(modellint, "__version__", "9.9")
    assert tree.run() == ALL
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (package / "inner" / "a.py").write_text("x = 1\n")
    first = cache.of_package(package)
    assert cache.of_package(package) == first
    os.utime(package / "inner" / "a.py", (1, 1))
    second = cache.of_package(package)
    assert second != first
    (package / "b.py").write_text("")
    assert cache.of_package(package) not in (first, second)


def test_another_working_directory(tree: Tree) -> None:
    assert tree.run(None, tree.folder / "parts") == ALL
    assert tree.run(None, tree.folder / "parts") == set()


def test_a_reading_that_failed_is_tried_again(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: Reader, *_: object) -> None:
        raise LookupError

    tree.append("alone.py", "y = 2\n")
    with monkeypatch.context() as patch:
        patch.setattr(Reader, "_read", failing)
        assert lint([str(tree.folder)], cwd=tree.folder, how=How(cache=tree.store)).failures
    tree._read.clear()
    assert tree.run() == {"alone.py"}


# ---------------------------------------------------------------- what does not


def test_a_time_that_changes(tree: Tree) -> None:
    for path in tree.folder.rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert tree.run() == set()


def test_a_comment_in_an_unrelated_file(tree: Tree) -> None:
    tree.append("plain.py", "# nothing of interest\n")
    assert tree.run() == set()
    tree.append("alone.py", "# nothing of interest\n")
    assert tree.run() == {"alone.py"}


def test_a_file_that_nothing_imports(tree: Tree) -> None:
    tree.write("tools/clean.py", "import os\nos.sync()\n")
    assert not {"alone.py", "old.py"} & tree.run()
    tree.write("tools/more.py", 'import torch\ne = torch.device("gpu")\n')
    again = tree.run()
    assert "tools/more.py" in again
    assert not {"alone.py", "old.py"} & again


def test_one_file_after_all_and_all_after_one(tree: Tree) -> None:
    assert tree.run(None, None, "model.py") == set()
    tree.append("model.py", "x = 1\n")
    assert "model.py" in tree.run(None, None, "model.py")
    assert tree.run(None, None, "alone.py") == set()
    assert not {"model.py", "alone.py"} & tree.run()


# ---------------------------------------------------------------- any edits


def _append(random: Random, files: list[Path], text: str) -> None:
    file = random.choice(files)
    file.write_text(file.read_text() + text)


def edit(random: Random, folder: Path) -> str:
    """Change something in a tree of Python files; says what."""
    files = sorted(folder.rglob("*.py"))
    kind = random.choice(
        ["statement", "comment", "delete", "rename", "add", "package", "import", "swap", "word", "marker", "move"]
    )
    file, other = random.choice(files), random.choice(files)
    names = sorted({path.stem for path in files})
    if kind == "statement":
        _append(random, files, random.choice(["x = 1\n", "import torch\nd = torch.device('gpu')\n", "y = (\n"]))
    elif kind == "comment":
        _append(random, files, f"# {random.choice(names)}.eval\n")
    elif kind == "delete" and len(files) > 4:
        file.unlink()
    elif kind == "rename":
        target = file.with_name(f"{random.choice(names)}{random.choice(['', '_2'])}.py")
        file.rename(target)
    elif kind == "add":
        body = f"import torch\nfrom {random.choice(names)} import *\nnet.eval()\n"
        (file.parent / f"added{random.randrange(4)}.py").write_text(body)
    elif kind == "package":
        init = file.parent / "__init__.py"
        if init.exists():
            init.unlink()
        else:
            init.write_text(random.choice(["", f"from .{random.choice(names)} import *\n"]))
    elif kind == "import":
        text = file.read_text()
        file.write_text(text.replace(f"from {random.choice(names)} ", f"from {random.choice(names)} "))
    elif kind == "swap":
        one, two = file.read_text(), other.read_text()
        file.write_text(two)
        other.write_text(one)
    elif kind == "word":
        words = sorted({word for path in files for word in path.read_text().replace(".", " ").split()})
        _append(random, files, f"\nprint(z.{random.choice([w for w in words if w.isidentifier()] or ['x'])})\n")
    elif kind == "marker":
        marker = file.parent / random.choice(["setup.cfg", "requirements.txt"])
        if marker.exists():
            marker.unlink()
        else:
            marker.write_text("torch==1.9\n" if marker.name == "requirements.txt" else "")
    elif kind == "move":
        (file.parent / "inner").mkdir(exist_ok=True)
        file.rename(file.parent / "inner" / file.name)
    return f"{kind} {file.relative_to(folder)}"


@pytest.mark.parametrize("seed", range(3))
def test_any_edits(tmp_path: Path, seed: int) -> None:
    """After every edit a run with the cache says what one without says, of everything and of one file."""
    random = Random(seed)
    folder = tmp_path / "project"
    for name in (["twin"], ["two_files_loop", "two_files_criterion"], ["trainer_class"])[seed]:
        shutil.copytree(ROOT / "fixtures" / "projects" / name, folder, dirs_exist_ok=True)
    done: list[str] = []
    for step in range(18):
        if step:
            done += [edit(random, folder) for _ in range(random.choice([1, 1, 3]))]
        files = sorted(folder.rglob("*.py"))
        paths = [str(folder)] if step % 3 else [str(random.choice(files))]
        warm = lint(paths, cwd=tmp_path, how=How(cache=tmp_path / "store"))
        cold = lint(paths, cwd=tmp_path)
        assert render("json", warm) == render("json", cold), done


# ---------------------------------------------------------------- a cache that is not what it should be


def stored(tree: Tree) -> Path:
    (file,) = tree.store.glob("*.cache")
    return file


def with_head(body: bytes) -> bytes:
    return f"modellint {cache._FORM} {hashlib.blake2b(body, digest_size=16).hexdigest()}\n".encode() + body


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "one byte": lambda data: data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
    "another form": lambda data: data.replace(b"modellint 2", b"modellint 1", 1),
    "something else": lambda data: os.urandom(5000),
    "a pickle": lambda data: b"cposix\nsystem\n(S'touch /tmp/never'\ntR.",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_ignored(tree: Tree, damage: Callable[[bytes], bytes]) -> None:
    file = stored(tree)
    file.write_bytes(damage(file.read_bytes()))
    assert tree.run() == ALL
    assert tree.run() == set(), "and replaced"


def changed(change: Callable[[Any], object]) -> Callable[[bytes], bytes]:
    """Well formed, with another content."""

    def apply(data: bytes) -> bytes:
        projects = json.loads(data.partition(b"\n")[2])
        (project,) = projects.values()
        change(project)
        return with_head(json.dumps(projects).encode())

    return apply


def _entries(value: object, *keys: str) -> Callable[[bytes], bytes]:
    def change(project: Any) -> None:
        for entry in project["entries"]:
            for key in keys:
                entry[key] = value

    return changed(change)


def _span(value: Any) -> Callable[[bytes], bytes]:
    def change(project: Any) -> None:
        for entry in project["entries"]:
            for finding in entry.get("findings", ()):
                finding["span"][1] = value

    return changed(change)


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "a list": lambda data: with_head(b"[]"),
    "a number": lambda data: with_head(b"1"),
    "no JSON": lambda data: with_head(b"{"),
    "nested deeply": lambda data: with_head(b"[" * 100_000 + b"]" * 100_000),
    "nested objects": lambda data: with_head(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "a project of another type": lambda data: with_head(b'{"/": [1, 2], "x": null}'),
    "missing keys": changed(lambda project: project.pop("hashes")),
    "missing entries": changed(lambda project: project.pop("entries")),
    "names of another type": changed(lambda project: project.update(names=[1] * 1000)),
    "paths that are none": changed(lambda project: project["names"].__setitem__(0, "a\0b")),
    "names that are no text": changed(lambda project: project["names"].__setitem__(0, "\ud800")),
    "numbers out of range": changed(lambda project: project.update(hashes=[[10**9, "x"]])),
    "hashes of another type": changed(lambda project: project.update(others=[[n, n] for n in range(5)])),
    "findings of another type": _entries([None], "findings"),
    "findings that are a number": _entries(1, "findings"),
    "an empty failure": _entries([], "reader_failure"),
    "nothing to rest on": changed(lambda project: [entry.pop("rests") for entry in project["entries"]]),
    "a huge line": _span(10**4000),
    "no line": _span("x"),
    "an infinite line": _span(float("inf")),
    "a line that is no number": _span(float("nan")),
    "a negative line": _span(-5),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_does_no_harm(
    tree: Tree, make: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = stored(tree)
    file.write_bytes(make(file.read_bytes()))
    monkeypatch.chdir(tree.folder)
    for format_name in ("full", "json", "sarif"):
        code = cli.run([str(tree.folder), "-j", "1", "--cache-dir", str(tree.store), "--output-format", format_name])
        out, err = capsys.readouterr()
        assert (code, err) == (1, "")
        assert "alone.py" in out


def test_names_in_a_cache_are_not_read_for_ever(tree: Tree, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    names = [str(tmp_path / "pipe"), "/dev/zero"]

    def change(project: Any) -> None:
        project["names"] += names
        last = len(project["names"])
        project["others"] += [[last - 1, "x"], [last - 2, "x"]]

    stored(tree).write_bytes(changed(change)(stored(tree).read_bytes()))
    assert tree.run() == set()


def test_a_link_in_the_place_of_the_file(tree: Tree, tmp_path: Path) -> None:
    file = stored(tree)
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    before = elsewhere.read_bytes()
    file.symlink_to(elsewhere)
    assert tree.run() == ALL
    assert elsewhere.read_bytes() == before
    assert not file.is_symlink()


def test_a_pipe_in_the_place_of_the_file(tree: Tree) -> None:
    file = stored(tree)
    file.unlink()
    os.mkfifo(file)
    assert tree.run() == ALL


def test_a_folder_that_is_a_link(tree: Tree, tmp_path: Path) -> None:
    tree.store.rename(tmp_path / "elsewhere")
    before = sorted((tmp_path / "elsewhere").iterdir())
    tree.store.symlink_to(tmp_path / "elsewhere")
    assert cache.refusal(tree.store) == "not a folder"
    assert tree.run() == ALL
    assert tree.run() == ALL
    assert sorted((tmp_path / "elsewhere").iterdir()) == before
    assert not cache.clean(tree.store)


def test_a_folder_of_somebody_else(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    assert cache.refusal(tree.store) == "it belongs to another user"
    assert tree.run() == ALL
    assert not cache.clean(tree.store)


def test_a_file_of_somebody_else(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_is_mine", lambda status: os.path.stat.S_ISDIR(status.st_mode))  # type: ignore[attr-defined]
    assert tree.run() == ALL


def test_a_folder_that_holds_other_things(tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`cache-dir = "data"` by mistake: nothing is written there, and nothing is ever deleted."""
    data = tmp_path / "data"
    data.mkdir()
    names = {f"{number:032x}.json" for number in range(20)} | {"notes.txt"}
    for name in names:
        (data / name).write_text("{}")
    tree.store = data
    assert cache.refusal(data) == "it holds other files"
    assert tree.run() == ALL
    assert {path.name for path in data.iterdir()} == names
    assert not cache.clean(data)
    arguments = ["-v", "--cache-dir", str(data), str(tree.folder)]
    assert cli.run(arguments) == 1
    assert capsys.readouterr().err == f"no cache: {data}: it holds other files\n"
    assert cli.run([*arguments, "--no-cache"]) == 1
    assert capsys.readouterr().err == ""


def test_links_in_an_empty_folder_are_not_followed(tmp_path: Path, tree: Tree) -> None:
    """A checked project can bring a cache folder with it; nothing outside of it is written."""
    tree.store = tmp_path / "brought"
    shutil.copytree(tmp_path / "store", tree.store)
    for path in tree.store.glob("*.cache"):
        path.unlink()
    (tree.store / ".gitignore").unlink()
    (tree.store / ".gitignore").symlink_to(tmp_path / "target")
    assert tree.run() == ALL
    assert not (tmp_path / "target").exists()


def test_old_files_are_dropped(tree: Tree) -> None:
    for number in range(20):
        old = tree.store / f"{number:032x}.cache"
        old.write_text("")
        os.utime(old, (number, number))
    left, young = tree.store / ".tmpleft", tree.store / ".tmpyoung"
    left.write_text("")
    os.utime(left, (1, 1))
    young.write_text("")
    tree.append("alone.py", "x = 1\n")
    tree.run()
    assert len(list(tree.store.glob("*.cache"))) == cache._KEPT
    assert not left.exists()
    assert young.exists(), "another run may be writing it"
    assert tree.run() == set()


# ---------------------------------------------------------------- a disk that does not do as it should


def test_a_result_of_a_moment_is_not_kept(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is another one while it is read, and then the old one again."""
    inner = Reader.read
    tree.append("alone.py", "x = 1\n")
    text = (tree.folder / "alone.py").read_text()

    def meddled(self: Reader, path: Path) -> EntryReading:
        tree.write("alone.py", text.replace('"gpu"', '"cpu"'))
        result = inner(self, path)
        tree.write("alone.py", text)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Reader, "read", meddled)
        assert "alone.py:invalid-device" not in tree.found()
    assert tree.run() == {"alone.py"}


def test_the_folder_is_removed_during_the_run(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = Reader.read

    def removing(self: Reader, path: Path) -> EntryReading:
        shutil.rmtree(tree.store, ignore_errors=True)
        return inner(self, path)

    tree.append("alone.py", "x = 1\n")
    with monkeypatch.context() as patch:
        patch.setattr(Reader, "read", removing)
        lint([str(tree.folder)], cwd=tree.folder, how=How(cache=tree.store))
    tree._read.clear()
    assert tree.run() == set()


def test_a_place_that_takes_no_folder(tree: Tree, tmp_path: Path) -> None:
    for place in (Path("/proc/nowhere"), tmp_path / "project" / "plain.py" / "x", tmp_path / ("n" * 300)):
        tree.store = place
        assert tree.run() == ALL
        assert not cache.clean(place)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 KB, nearly full."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)], capture_output=True)
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        (place / "old.json").write_text("old")
        with (place / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 512)
            except OSError:
                pass
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(tree: Tree, small_disk: Path, modellint: CommandLine) -> None:
    tree.store = small_disk / "cache"
    assert tree.run() == ALL
    left = [path for path in small_disk.rglob("*") if path.is_file()]
    assert all(path.name in ("old.json", "filler") or path.parent.name == "cache" for path in left)
    target = str(small_disk / "old.json")
    done = modellint("--output-format", "json", "-o", target, cwd=tree.folder)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode() == f"error: cannot write {target}: No space left on device\n"
    assert (small_disk / "old.json").read_text() == "old"
    (small_disk / "filler").unlink()
    assert tree.run() == ALL
    assert tree.run() == set() or not list(tree.store.glob("*.cache")), "with room again, it is used again"


def test_a_limit_of_file_sizes(tree: Tree, tmp_path: Path) -> None:
    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

    target = tmp_path / "old.json"
    target.write_text("old")
    store = tmp_path / "limited"
    command = [sys.executable, "-m", "modellint", "--cache-dir", str(store), "--output-format", "json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    for more, code, message in (
        (["-o", str(target)], 2, f"error: cannot write {target}: File too large\n"),
        ([], 1, ""),
    ):
        done = subprocess.run(
            [*command, *more], cwd=tree.folder, env=environment, preexec_fn=limited, capture_output=True, timeout=60
        )
        assert (done.returncode, done.stderr.decode()) == (code, message)
        assert target.read_text() == "old"
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp")) == []
        assert not list(store.glob("*.cache"))


@pytest.fixture
def locked(tree: Tree, tmp_path: Path) -> Iterator[Path]:
    """The project in a place where nothing can be written."""
    place = tmp_path / "locked"
    if os.geteuid():
        shutil.copytree(tree.folder, place)
        place.chmod(0o555)
        yield place
        place.chmod(0o755)
        return
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        shutil.copytree(tree.folder, place, dirs_exist_ok=True)
        shutil.copytree(tree.store, place / ".modellint_cache")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)  # lazily: it is the working directory


def test_a_tree_that_takes_no_files(
    locked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Checked, and nothing said about the cache that is not there."""
    monkeypatch.chdir(locked)
    monkeypatch.delenv("MODELLINT_CACHE_DIR")
    assert cli.run(["--output-format", "concise"]) == 1
    out, err = capsys.readouterr()
    assert "alone.py:2:18: error[invalid-device]" in out
    assert err == ""
    if (locked / ".modellint_cache").exists():
        assert cli.run(["clean"]) == 2
        assert capsys.readouterr().err == f"error: cannot delete {locked}/.modellint_cache: Read-only file system\n"
    assert cli.run(["-o", "report.txt"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: cannot write report.txt: ")
    assert err.count("\n") == 1


def test_two_runs_at_a_time(tree: Tree, tmp_path: Path) -> None:
    store = tmp_path / "shared"
    command = [sys.executable, "-m", "modellint", "--cache-dir", str(store), "--output-format", "json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    runs = [
        subprocess.Popen(command, cwd=tree.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    results = [(*run.communicate(timeout=60), run.returncode) for run in runs]
    assert len(set(results)) == 1
    assert results[0][1:] == (b"", 1)
    tree.store = store
    assert [path.suffix for path in store.iterdir() if path.name not in ("CACHEDIR.TAG", ".gitignore")] == [".cache"]
    assert tree.run() == set()


def test_a_killed_run_leaves_a_cache_that_works(tree: Tree, tmp_path: Path) -> None:
    """At whatever moment: the file is the old one or the new one."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = """
import os, signal, sys
from modellint import cache, cli
moment = sys.argv.pop(1)
if moment == "before":
    cache._write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
else:
    replace = os.replace
    def dying(source, target):
        if str(target).endswith(".cache"):
            if moment == "after":
                replace(source, target)
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
    os.replace = dying
cli.run(sys.argv[1:])
"""
    for moment, again in (("before", ALL), ("between", ALL), ("after", set())):
        tree.store = tmp_path / moment
        command = [sys.executable, "-c", program, moment, str(tree.folder), "--cache-dir", str(tree.store)]
        done = subprocess.run(command, cwd=tree.folder, env=environment, capture_output=True, timeout=60)
        assert done.returncode == -signal.SIGKILL
        assert tree.run() == again, moment
        assert tree.run() == set()


# ---------------------------------------------------------------- the command line


def test_clean(tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tree.folder)
    monkeypatch.delenv("MODELLINT_CACHE_DIR")
    store = tree.folder / ".modellint_cache"
    assert cli.run(["clean"]) == 0
    assert capsys.readouterr().out == f"no cache in {store}\n"
    cli.run([])
    assert (store / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    assert (store / ".gitignore").read_text() == "*\n"
    capsys.readouterr()
    (store / "kept.txt").write_text("")
    assert cli.run(["clean"]) == 0
    assert capsys.readouterr().out == f"deleted {store}\n"
    assert [path.name for path in store.iterdir()] == ["kept.txt"], "what modellint did not write stays"
    (store / "kept.txt").unlink()
    cli.run([])
    cli.run(["clean"])
    assert not store.exists()


def test_where_it_lies(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.folder)
    cli.run([])
    assert list(Path(os.environ["MODELLINT_CACHE_DIR"]).glob("*.cache"))
    monkeypatch.delenv("MODELLINT_CACHE_DIR")
    cli.run(["--no-cache"])
    assert not (tree.folder / ".modellint_cache").exists()
    cli.run(["--cache-dir", "../flag"])
    assert list((tmp_path / "flag").glob("*.cache"))
    (tree.folder / "modellint.toml").write_text('cache-dir = "../set"\n')
    cli.run([])
    assert list((tmp_path / "set").glob("*.cache"))
    (tree.folder / "modellint.toml").write_text("")
    monkeypatch.chdir(tree.folder / "parts")
    cli.run([])
    assert list((tree.folder / ".modellint_cache").glob("*.cache")), "beside the configuration"


# ---------------------------------------------------------------- --output-file


def test_a_report_replaces_a_file_as_a_whole(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tree.folder)
    target, link = tmp_path / "report.json", tmp_path / "link.json"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    assert cli.run(["-o", str(link), "--output-format", "json"]) == 1
    assert link.is_symlink()
    assert json.loads(target.read_text())["findings"]
    assert target.stat().st_mode & 0o777 == 0o640
    assert cli.run(["-o", "/dev/stdout", "--output-format", "json"]) == 1
    assert cli.run(["-o", "/dev/full", "--output-format", "json"]) == 2
    assert capsys.readouterr().err == "error: cannot write /dev/full: No space left on device\n"
    new = tmp_path / "new.json"
    assert cli.run(["-o", str(new), "--output-format", "json"]) == 1
    mask = os.umask(0)
    os.umask(mask)
    assert new.stat().st_mode & 0o777 == 0o666 & ~mask
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp")) == []


@pytest.mark.parametrize("stream", ["stdout", "stderr", "both"])
def test_a_stream_that_takes_nothing(tree: Tree, stream: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "modellint"],
            cwd=tree.folder,
            env=environment,
            stdout=full if stream != "stderr" else subprocess.PIPE,
            stderr=full if stream != "stdout" else subprocess.PIPE,
            timeout=60,
        )
    assert done.returncode == (1 if stream == "stderr" else 2)
    if stream == "stdout":
        assert done.stderr == b"error: cannot write to the standard output: No space left on device\n"


def test_streams_that_are_closed(tree: Tree) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = f'"{sys.executable}" -m modellint'
    for closing in (">&-", "2>&-", ">&- 2>&-"):
        done = subprocess.run(
            ["bash", "-c", f"{command} {closing}"], cwd=tree.folder, env=environment, capture_output=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (1, b"")
