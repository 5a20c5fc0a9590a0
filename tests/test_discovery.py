"""Which files are found, and which are left out and why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modellint.config import Configuration, Flags, UsageError
from modellint.discovery import Found, find_files
from modellint.source.text import shown_path


def write(root: Path, *names: str, text: str = "import torch\n") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def found(root: Path, *paths: str, flags: Flags | None = None, force: bool = False) -> tuple[list[str], Found]:
    result = find_files(paths or (".",), Configuration(root, flags), force_exclude=force)
    return [shown_path(file, root) for file in result.files], result


def names(root: Path, *paths: str, flags: Flags | None = None, force: bool = False) -> list[str]:
    return found(root, *paths, flags=flags, force=force)[0]


def test_finds_python_files_sorted_and_once(tmp_path: Path) -> None:
    write(tmp_path, "b.py", "a/z.py", "a/b/c.py", "notes.txt", "a/data.pyc")
    assert names(tmp_path) == ["a/b/c.py", "a/z.py", "b.py"]
    assert names(tmp_path, ".", "a", "a/z.py", "./b.py") == ["a/b/c.py", "a/z.py", "b.py"]


def test_a_named_file_needs_no_suffix(tmp_path: Path) -> None:
    write(tmp_path, "train")
    assert names(tmp_path, "train") == ["train"]
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "folder", [".venv", "venv", ".git", "node_modules", "build", "dist", "site-packages", "wandb", "lightning_logs"]
)
def test_default_excludes(tmp_path: Path, folder: str) -> None:
    write(tmp_path, f"{folder}/x.py", f"deep/{folder}/x.py", "y.py")
    assert names(tmp_path) == ["y.py"]
    assert names(tmp_path, folder) == [f"{folder}/x.py"], "a named folder is walked"


def test_other_patterns_hold_in_a_named_folder_that_is_ignored(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(tmp_path, ".gitignore", text="/gen/\n*_scratch.py\ndeep/\n")
    write(tmp_path, "gen/a.py", "gen/a_scratch.py", "gen/deep/b.py", "gen/sub/c.py")
    assert names(tmp_path) == []
    assert names(tmp_path, "gen") == ["gen/a.py", "gen/sub/c.py"]
    assert names(tmp_path, "gen/sub") == ["gen/sub/c.py"]
    assert names(tmp_path, "gen", "gen/sub", ".", force=True) == []


def test_virtual_environment_under_any_name(tmp_path: Path) -> None:
    write(tmp_path, "myenv/lib/x.py", "myenv/pyvenv.cfg", "y.py")
    listed, result = found(tmp_path)
    assert listed == ["y.py"]
    assert ("myenv", "a virtual environment") in result.left_out


def test_nested_gitignore_and_negation(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(tmp_path, ".gitignore", text="gen_*.py\n/out/\n# comment\n\n")
    write(tmp_path, "sub/.gitignore", text="!gen_keep.py\nlocal.py\n")
    write(tmp_path, "gen_a.py", "a.py", "out/x.py", "sub/out/x.py", "sub/gen_keep.py", "sub/gen_b.py", "sub/local.py")
    write(tmp_path, "local.py")
    listed, result = found(tmp_path)
    assert listed == ["a.py", "local.py", "sub/gen_keep.py", "sub/out/x.py"]
    assert result.ignored == 3
    assert ("sub/local.py", "ignored by sub/.gitignore") in result.left_out
    assert names(tmp_path / "sub") == ["gen_keep.py", "out/x.py"], "the .gitignore above the working directory counts"


def test_everything_ignored_but_python(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(tmp_path, ".gitignore", text="*\n!*/\n!*.py\n")
    write(tmp_path, "a.py", "b/c.py")
    assert names(tmp_path) == ["a.py", "b/c.py"]


def test_gitignore_outside_of_the_repository_does_not_count(tmp_path: Path) -> None:
    write(tmp_path, ".gitignore", text="*.py\n")
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    write(tmp_path, "repo/a.py")
    assert names(tmp_path / "repo") == ["a.py"]
    assert names(tmp_path, "repo") == ["repo/a.py"]


def test_info_exclude_and_global_excludes(tmp_path: Path) -> None:
    write(tmp_path, ".git/info/exclude", text="private.py\n")
    home = Path(os.environ["HOME"])
    (home / ".gitconfig").write_text("[user]\n\tname = x\n[core]\n\texcludesFile = ~/my-ignores\n")
    (home / "my-ignores").write_text("*_scratch.py\n")
    write(tmp_path, "a.py", "private.py", "b_scratch.py")
    listed, result = found(tmp_path)
    assert listed == ["a.py"]
    assert ("private.py", "ignored by .git/info/exclude") in result.left_out


def test_default_place_of_global_excludes(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    place = Path(os.environ["HOME"]) / ".config" / "git" / "ignore"
    place.parent.mkdir(parents=True)
    place.write_text("b.py\n")
    write(tmp_path, "a.py", "b.py")
    assert names(tmp_path) == ["a.py"]


def test_work_tree_reads_the_excludes_of_its_repository(tmp_path: Path) -> None:
    write(tmp_path, "main/.git/info/exclude", text="b.py\n")
    write(tmp_path, "main/.git/worktrees/tree/commondir", text="../..\n")
    write(tmp_path, "tree/.git", text="gitdir: ../main/.git/worktrees/tree\n")
    write(tmp_path, "tree/a.py", "tree/b.py")
    assert names(tmp_path / "tree") == ["a.py"]


def test_force_exclude_applies_to_named_files(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(tmp_path, ".gitignore", text="gen/\n")
    write(tmp_path, "gen/a.py", "build/b.py", "c.py")
    given = ("gen/a.py", "build/b.py", "c.py")
    assert names(tmp_path, *given) == ["build/b.py", "c.py", "gen/a.py"]
    listed, result = found(tmp_path, *given, force=True)
    assert listed == ["c.py"]
    assert result.ignored == 2
    assert names(tmp_path, ".", "gen", force=True) == ["c.py"]


def test_exclude_replaces_and_extend_exclude_adds(tmp_path: Path) -> None:
    write(tmp_path, "build/x.py", "a/x.py", "b/x.py")
    assert names(tmp_path, flags=Flags(exclude=("a",))) == ["b/x.py", "build/x.py"]
    assert names(tmp_path, flags=Flags(extend_exclude=("/a", "b/*.py"))) == []


def test_excludes_of_a_config_are_relative_to_it(tmp_path: Path) -> None:
    write(tmp_path, "sub/modellint.toml", text='extend-exclude = ["/gen"]\n')
    write(tmp_path, "gen/x.py", "sub/gen/x.py", "sub/deep/gen/x.py")
    assert names(tmp_path) == ["gen/x.py", "sub/deep/gen/x.py"]


def test_symbolic_links(tmp_path: Path) -> None:
    write(tmp_path, "a/x.py")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "self").symlink_to("self")
    (tmp_path / "a" / "broken.py").symlink_to("nowhere.py")
    (tmp_path / "a" / ".#x.py").symlink_to("user@host.1234")
    listed, result = found(tmp_path)
    assert listed == ["a/broken.py", "a/x.py"]
    assert ("a/up", "symbolic link to a folder") in result.left_out
    assert names(tmp_path, "a/up") == ["a/up/a/broken.py", "a/up/a/x.py"], "a named link is walked"


def test_special_files_and_notebooks_are_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    write(tmp_path, "n.ipynb", text="{}")
    listed, result = found(tmp_path)
    assert listed == []
    assert result.ignored == 2
    assert dict(result.left_out) == {"pipe.py": "not a regular file", "n.ipynb": "notebooks are not read"}


def test_deep_folders(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*(["d"] * 300))
    deep.mkdir(parents=True)
    (deep / "x.py").write_text("import torch\n")
    assert len(names(tmp_path)) == 1


def test_missing_path_stops_everything(tmp_path: Path) -> None:
    write(tmp_path, "a.py")
    with pytest.raises(UsageError, match=r"^no such file or directory: nope\.py$"):
        names(tmp_path, "a.py", "nope.py")
    with pytest.raises(UsageError, match="did you mean the command `explain`"):
        find_files(["explian"], Configuration(tmp_path), commands=["check", "explain"])
