"""Input that no reader wants: each has its exit code and its one line, and the other files of the run still report."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CommandLine

OTHER = "other.py:2:23: error[invalid-device]"
"""What the good neighbour of every bad file reports."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "other.py").write_text('import torch\ndevice = torch.device("gpu")\n')
    return tmp_path


def first_lines(output: bytes) -> list[str]:
    """`path:line:column: level[rule] message` of every finding."""
    return [line for line in output.decode().splitlines() if "[" in line.split("(")[0]]


def gbk(text: str) -> bytes:
    return text.encode("gbk")


REFUSED: dict[str, tuple[bytes, str]] = {
    "syntax error": (b"import torch\nx = (\n", "2:5: error[syntax-error] '(' was never closed"),
    "null bytes": (
        b"import torch\nx\0 = 1\n",
        "2:2: error[syntax-error] source code string cannot contain null bytes",
    ),
    "GBK without a cookie": (
        gbk("import torch\n# \u8bad\u7ec3\u6a21\u578b\n"),  # its first character happens to be valid UTF-8
        "2:4: error[unreadable-file] not UTF-8 and no encoding declared; Python will refuse this file "
        "(it decodes as GB18030)",
    ),
    "wrong cookie": (
        b"# coding: utf-9\nimport torch\n",
        "1:1: error[unreadable-file] declares the unknown encoding utf-9; Python will refuse this file",
    ),
    "2,000 nested parentheses": (
        b"import torch\nx = " + b"(" * 2000 + b")" * 2000 + b"\n",
        "2:205: error[too-deep] too many nested parentheses",
    ),
    "100,000 minus signs": (
        b"import torch\nx = " + b"-" * 100_000 + b"1\n",
        "1:1: error[too-deep] nested too deeply for Python's parser",
    ),
}


@pytest.mark.parametrize(("data", "line"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(modellint: CommandLine, folder: Path, data: bytes, line: str) -> None:
    (folder / "bad.py").write_bytes(data)
    alone = modellint("bad.py", "--select", "unused-module", "--output-format", "concise", cwd=folder)
    assert (alone.returncode, alone.stderr) == (1, b"")
    assert first_lines(alone.stdout) == [f"bad.py:{line}"]
    both = modellint("--output-format", "concise", cwd=folder)
    assert (both.returncode, both.stderr) == (1, b"")
    lines = first_lines(both.stdout)
    assert lines[0] == f"bad.py:{line}"
    assert lines[1].startswith(OTHER)
    assert len(lines) == 2
    full = modellint(cwd=folder)
    assert (full.returncode, full.stderr) == (1, b"")
    assert b"Traceback" not in full.stdout


def _folder(path: Path) -> None:
    path.mkdir()


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere.py")


def _forbidden(path: Path) -> None:
    path.write_text("import torch\n")
    path.chmod(0)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_dangling, "No such file or directory"),
        pytest.param(
            _forbidden,
            "Permission denied",
            marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything"),
        ),
    ],
)
def test_unreadable(modellint: CommandLine, folder: Path, make: Callable[[Path], None], reason: str) -> None:
    make(folder / "bad.py")
    done = modellint("--output-format", "concise", cwd=folder)
    assert (done.returncode, done.stderr) == (1, b"")
    lines = first_lines(done.stdout)
    assert lines[0] == f"bad.py:1:1: error[unreadable-file] cannot be read: {reason}"
    assert lines[1].startswith(OTHER)


def test_a_folder_named_like_a_file(modellint: CommandLine, folder: Path) -> None:
    (folder / "x.py").mkdir()
    (folder / "x.py" / "inner.py").write_text("import torch\nx = (\n")
    done = modellint("--output-format", "concise", cwd=folder)
    assert (done.returncode, done.stderr) == (1, b"")
    assert [line.split(":")[0] for line in first_lines(done.stdout)] == ["other.py", "x.py/inner.py"]


def test_a_folder_that_links_to_itself(modellint: CommandLine, folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "a" / "loop").symlink_to("loop")
    (folder / "a" / "loop.py").symlink_to("loop.py")
    done = modellint("--output-format", "concise", cwd=folder)
    assert (done.returncode, done.stderr) == (1, b"")
    lines = first_lines(done.stdout)
    assert lines[0].startswith("a/loop.py:1:1: error[unreadable-file] cannot be read: ")
    assert lines[1].startswith(OTHER)
    assert len(lines) == 2
    assert modellint("a/loop", cwd=folder).returncode == 1, "named, it is an unreadable file"


def test_a_missing_path_stops_the_run(modellint: CommandLine, folder: Path) -> None:
    done = modellint("other.py", "nope.py", cwd=folder)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"error: no such file or directory: nope.py\n"


ACCEPTED: dict[str, bytes] = {
    "empty": b"",
    "one newline": b"\n",
    "only a byte order mark": b"\xef\xbb\xbf",
    "byte order mark": b"\xef\xbb\xbfimport torch\n",
    "CRLF": b"import torch\r\n\r\nx = torch.zeros(1)\r\n",
    "old Macintosh newlines": b"import torch\rx = torch.zeros(1)\r",
    "no newline at the end": b"import torch",
    "form feed": b"import torch\n\x0c\nx = 1\n",
    "GBK with a cookie": gbk("# -*- coding: gbk -*-\nimport torch\nx = '\u6a21\u578b'\n"),
    "GBK and no torch": gbk("# \u6a21\u578b\n"),
    "900-term sum": b"import torch\nx = " + b" + ".join([b"torch.zeros(1)"] * 900) + b"\n",
    "900 chained calls": b"import torch\nx = torch.zeros(1)" + b".float()" * 900 + b"\n",
    "500 elif": b"import torch\nx = torch.zeros(1)\nif x == 0:\n    y = 0\n"
    + b"".join(b"elif x == %d:\n    y = %d\n" % (n, n) for n in range(1, 501)),
    "90 nested blocks": b"import torch\n" + b"".join(b" " * n + b"if x:\n" for n in range(90)) + b" " * 90 + b"pass\n",
}


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted(modellint: CommandLine, folder: Path, data: bytes) -> None:
    (folder / "good.py").write_bytes(data)
    alone = modellint("good.py", cwd=folder)
    assert (alone.returncode, alone.stderr) == (0, b""), alone.stdout.decode()
    used = b"torch" in data
    assert alone.stdout.startswith(b"All clear: 1 file checked" if used else b"No Python files that use torch under")
    both = modellint("--output-format", "concise", cwd=folder)
    assert (both.returncode, both.stderr) == (1, b"")
    (line,) = first_lines(both.stdout)
    assert line.startswith(OTHER)


PLACES: dict[str, tuple[bytes, str]] = {
    "byte order mark": (b'\xef\xbb\xbfimport torch; d = torch.device("gpu")\n', "1:32"),
    "CRLF": (b'import torch\r\n\r\nd = torch.device("gpu")\r\n', "3:18"),
    "GBK with a cookie": (
        gbk("# coding: gbk\nimport torch\nx = '\u6a21\u578b'; d = torch.device('gpu')\n"),
        "3:28",
    ),
    "behind an emoji": ("import torch\nx = '\U0001f600'; d = torch.device('gpu')\n".encode(), "2:27"),
}


@pytest.mark.parametrize(("data", "place"), PLACES.values(), ids=PLACES.keys())
def test_places_count_code_points(modellint: CommandLine, tmp_path: Path, data: bytes, place: str) -> None:
    (tmp_path / "x.py").write_bytes(data)
    done = modellint("--output-format", "concise", cwd=tmp_path)
    (line,) = first_lines(done.stdout)
    assert line.startswith(f"x.py:{place}: error[invalid-device]")


@pytest.mark.slow
def test_a_generated_file_of_five_megabytes(modellint: CommandLine, folder: Path) -> None:
    row = f"    [{', '.join(str(number) for number in range(1000, 1100))}],\n"
    lines = ["import torch\n", "TABLE = torch.tensor([\n", *[row] * (5_000_000 // len(row) + 1), "])\n"]
    (folder / "generated.py").write_text("".join(lines))
    assert (folder / "generated.py").stat().st_size > 5_000_000
    done = modellint("--output-format", "concise", cwd=folder, timeout=120)
    assert (done.returncode, done.stderr) == (1, b"")
    (line,) = first_lines(done.stdout)
    assert line.startswith(OTHER)


def test_all_of_it_at_once(modellint: CommandLine, folder: Path) -> None:
    for number, (data, _) in enumerate(REFUSED.values()):
        (folder / f"refused_{number}.py").write_bytes(data)
    for number, data in enumerate(ACCEPTED.values()):
        (folder / f"accepted_{number}.py").write_bytes(data)
    _dangling(folder / "dangling.py")
    _folder(folder / "folder.py")
    done = modellint("--output-format", "concise", cwd=folder)
    assert (done.returncode, done.stderr) == (1, b"")
    lines = first_lines(done.stdout)
    assert len(lines) == 2 + len(REFUSED)
    assert sum(line.startswith(OTHER) for line in lines) == 1


def test_a_pipe_in_a_project_is_not_waited_for(modellint: CommandLine, folder: Path) -> None:
    """Named on no command line, it is met where the project is searched for files that import the checked one."""
    os.mkfifo(folder / "stream.py")
    (folder / "pyproject.toml").write_text("")
    (folder / "more").mkdir()
    (folder / "more" / "x.py").write_bytes(b"import torch\n")
    done = modellint("more/x.py", cwd=folder, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")
