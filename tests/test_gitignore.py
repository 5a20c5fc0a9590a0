"""Gitignore patterns, compared with git itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from modellint.gitignore import IgnoreList

FILES = (
    "a.py", "b.py", "#x.py", "!x.py", "sp ace.py", "trail .py", "x[1].py", "x1.py", "x2.py", "b^c.py",
    "build/a.py", "build/keep.py", "src/a.py", "src/build/a.py", "src/deep/q/a.py", "src/deep/q/r/a.py",
    "src/deep/a.py", "q/a.py", "data/x/other.py", "data/x/keep.py", "data/keep.py", "foo/bar/baz.py", "foo/baz.py",
)  # fmt: skip

PATTERNS = (
    "*\n!*/\n!*.py",
    "build",
    "build/",
    "/build",
    "/build/*\n!/build/keep.py",
    "build/\n!build/keep.py",
    "src/build",
    "**/build",
    "src/**/a.py",
    "src/**",
    "src/deep/*",
    "**/q/*",
    "q/**",
    "data/**\n!data/**/\n!data/**/keep.py",
    "foo/**/baz.py",
    "foo**baz.py\nfoo/b**/baz.py",
    "\\#x.py\n\\!x.py\n# a comment\n\n",
    "x[12].py",
    "x[!1].py",
    "x[^2].py",
    "x\\[1\\].py",
    "x[0-9].py",
    "x[.py",
    "b[^]^c.py\nb[\\^]c.py",
    "?.py",
    "sp ace.py   ",
    "trail\\ .py",
    "*.py\n!a.py\nsrc/a.py",
    "src/*\n!src/deep\nsrc/deep/*\n!src/deep/q",
    "/",
    "!*.py",
    "a.py/",
    "!\n//\n/b.py",
    "*\n!*/\n!keep.py",
    "/*\n!/src\n!/q/",
    "*\n!.gitignore\n!*/\n!*.py\n!*.md",
    "/data/*\n!/data/keep.py",
    "data/**\n!data/keep.py",
    "data\n!data/keep.py",
    "/*\n!/src/\n/src/*\n!/src/deep/",
    "**/deep/**\n!**/deep/q/",
    "*.py\n!src/**",
    "data/x/\n!data/x/",
)


def found(root: Path, lines: list[str]) -> set[str]:
    """The files that a walk from the top finds."""
    ignores = IgnoreList(lines)

    def walk(folder: Path) -> set[str]:
        files: set[str] = set()
        for entry in folder.iterdir():
            path = entry.relative_to(root).as_posix()
            if entry.name in (".git", ".gitignore") or ignores.decides(path, is_folder=entry.is_dir()):
                continue
            files |= walk(entry) if entry.is_dir() else {path}
        return files

    return walk(root)


@pytest.mark.skipif(shutil.which("git") is None, reason="compares with git")
@pytest.mark.parametrize("patterns", PATTERNS)
def test_same_files_as_git(tmp_path: Path, patterns: str) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / ".gitignore").write_text(patterns + "\n")
    command = ["git", "-C", str(tmp_path), "ls-files", "-z", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True).stdout.decode().split("\0")
    assert found(tmp_path, patterns.splitlines()) == set(listed) - {"", ".gitignore"}


def test_a_folder_covers_what_is_below_it() -> None:
    ignores = IgnoreList(["tests", "/docs/*.py"])
    assert ignores.covers("tests/deep/x.py")
    assert ignores.covers("docs/x.py")
    assert not ignores.covers("docs/deep/x.py")
    assert not ignores.covers("testing/x.py")
