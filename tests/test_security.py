"""What is checked is only read: nothing of it is run, nothing outside of it is opened, nothing in it is obeyed."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

from modellint import cli
from modellint.config import Configuration
from modellint.discovery import find_files
from modellint.lint import lint
from modellint.report import FORMATS
from modellint.report.github import step_summary
from modellint.source.layout import Layout, project_root
from modellint.source.text import read_text

FINDING = 'import torch\nd = torch.device("gpu")\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is the working directory, with an outside beside it."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    (tmp_path / "outside").mkdir()
    monkeypatch.chdir(folder)
    return folder


def found(*paths: str) -> list[str]:
    return [f"{f.span.path}:{f.span.line} {f.rule}" for f in lint(paths or (".",)).findings]


# ---------------------------------------------------------------- nothing is run

MARK = "import os\nopen(os.environ['MODELLINT_MARK'] + __name__.replace('.', '_'), 'w').close()\n"
LIBRARIES = ("click", "pathspec", "libcst", "torch", "numpy", "distributed", "dask", "lightning", "transformers")
HOOKS = ("conftest", "setup", "sitecustomize", "usercustomize", "evil_rule", "plugin", "tasks", "noxfile")
# Those that Python itself may import before the first line of ours is a matter of its version.
LATE = ("json", "ast", "tomllib", "hashlib", "dataclasses", "difflib", "textwrap", "configparser", "shutil", "array")


def plant(folder: Path, names: Iterator[str] | tuple[str, ...], packages: tuple[str, ...]) -> None:
    """A project in which everything would leave a mark if it were imported."""
    for name in names:
        (folder / f"{name}.py").write_text(MARK)
    for name in packages:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(MARK)
        (folder / name / "__main__.py").write_text(MARK)
    (folder / "pyproject.toml").write_text(
        "[build-system]\nrequires = []\nbuild-backend = 'setup'\nbackend-path = ['.']\n"
        "[project.entry-points.'modellint.rules']\nevil = 'evil_rule:Evil'\n"
        "[tool.pytest.ini_options]\naddopts = '-p plugin'\n"
    )
    for info in (folder / "evil-1.0.dist-info", folder / "evil.egg-info"):
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[modellint.rules]\nevil = evil_rule:Evil\n")
    (folder / "pkg").mkdir()
    (folder / "pkg" / "__init__.py").write_text(MARK)
    body = "import click, json, libcst, conftest, evil_rule, torch\nfrom torch import nn\nimport pkg.inner\n"
    (folder / "train.py").write_text(body + MARK + 'd = torch.device("gpu")\n')
    (folder / "pkg" / "inner.py").write_text("import torch\n" + MARK)


def run_planted(folder: Path, marks: Path, command: list[str]) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PYTHONPATH": str(ROOT),
        "MODELLINT_MARK": f"{marks}{os.sep}",
    }
    for arguments, code in (
        (["--output-format", "concise", "-j", "1"], 1),
        (["--no-cache", "--output-format", "sarif", "-j", "2"], 1),
        (["facts", "train.py"], 0),
        (["rules"], 0),
        (["--version"], 0),
    ):
        done = subprocess.run([*command, *arguments], cwd=folder, env=environment, capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (code, b""), arguments
        assert sorted(mark.name for mark in marks.iterdir()) == [], arguments
        if code:
            assert b"invalid-device" in done.stdout


def test_the_script_imports_nothing_from_where_it_stands(here: Path, tmp_path: Path) -> None:
    names = tuple(name for name in sorted(sys.stdlib_module_names) if name not in sys.builtin_module_names)
    plant(here, (*names, *HOOKS), (*LIBRARIES, "modellint"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "marks").mkdir()
    script = tmp_path / "bin" / "modellint"  # as pip writes it
    script.write_text("import sys\nfrom modellint.__main__ import main\nsys.exit(main())\n")
    run_planted(here, tmp_path / "marks", [sys.executable, str(script)])


def test_the_module_imports_nothing_from_where_it_stands(here: Path, tmp_path: Path) -> None:
    """`python -m` imports what it needs itself from there, and a package of our name: only `python -P -m` does not."""
    plant(here, (*LATE, *HOOKS), LIBRARIES)
    (tmp_path / "marks").mkdir()
    run_planted(here, tmp_path / "marks", [sys.executable, "-m", "modellint"])


def test_the_safe_path_protects_from_everything(here: Path, tmp_path: Path) -> None:
    names = tuple(name for name in sorted(sys.stdlib_module_names) if name not in sys.builtin_module_names)
    plant(here, (*names, *HOOKS), (*LIBRARIES, "modellint"))
    (tmp_path / "marks").mkdir()
    run_planted(here, tmp_path / "marks", [sys.executable, "-P", "-m", "modellint"])


# ---------------------------------------------------------------- nothing outside is opened


def secret(folder: Path, name: str = "secret.py") -> Path:
    """A model whose layer is never used, to be seen in a report if it were read."""
    file = folder / name
    file.write_text(
        "import torch\nfrom torch import nn\n\n\nclass Secret(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.softmax = nn.Softmax(dim=1)\n\n    def forward(self, x):\n"
        "        return self.softmax(x)\n"
    )
    return file


USE = """\
import torch
import torch.nn.functional as F

net = Secret()
for x, y in loader:
    loss = F.cross_entropy(net(x), y)
"""


def test_what_a_secret_shows(here: Path) -> None:
    """Inside of the project it is read: the cases below would notice."""
    secret(here)
    (here / "use.py").write_text("from secret import Secret\n" + USE)
    assert "use.py:7 softmax-before-cross-entropy" in found("use.py")


@pytest.fixture
def outside_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Notes every file outside of the project that is opened, whatever the name under which that happens."""
    outside = str(tmp_path / "outside")
    touched: list[str] = []
    active = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if active and event == "open" and isinstance(arguments[0], str | os.PathLike):
            path = os.path.realpath(arguments[0])
            if path.startswith(outside):
                touched.append(path)

    sys.addaudithook(hook)
    yield touched
    active = False


def test_links_and_imports_that_lead_out(here: Path, tmp_path: Path, outside_is_closed: list[str]) -> None:
    outside = tmp_path / "outside"
    secret(outside)
    (outside / "package").mkdir()
    secret(outside / "package", "__init__.py")
    secret(outside / "package")
    outside_is_closed.clear()
    (here / "file.py").symlink_to(outside / "secret.py")
    (here / "relative.py").symlink_to("../outside/secret.py")
    (here / "folder").symlink_to(outside)
    (here / "package").symlink_to(outside / "package")
    (here / "own").mkdir()
    (here / "own" / "__init__.py").symlink_to(outside / "package" / "__init__.py")
    (here / "own" / "inner.py").symlink_to(outside / "package" / "secret.py")
    (here / "deep").mkdir()
    (here / "deep" / "package").symlink_to(outside / "package", target_is_directory=True)
    imports = [
        "from file import Secret",
        "from relative import Secret",
        "from folder.secret import Secret",
        "from package import Secret",
        "from package.secret import Secret",
        "from own import Secret",
        "from own.inner import Secret",
        "from deep.package.secret import Secret",
        "from deep.package import Secret",
        "from ..outside.secret import Secret",
        "from ...outside.secret import Secret",
        "from .. import outside\nSecret = outside.secret.Secret",
        "from ..outside import *",
        "import outside.secret\nSecret = outside.secret.Secret",
    ]
    (here / "sub").mkdir()
    for number, text in enumerate(imports):
        (here / f"use{number}.py").write_text(f"{text}\n{USE}")
        (here / "sub" / f"use{number}.py").write_text(f"{text}\n{USE}")
    assert found() == []
    assert found("sub") == []
    assert found("sub/use9.py") == []
    assert outside_is_closed == []
    left_out = dict(find_files(["."], Configuration(here)).left_out)
    assert left_out["file.py"] == "symbolic link out of the project"
    assert left_out["folder"] == "symbolic link to a folder"
    assert [path.name for path in Layout().python_files(here) if path.is_symlink()] == []


def test_links_that_stay_inside(here: Path) -> None:
    (here / "real").mkdir()
    secret(here / "real")
    (here / "linked").symlink_to("real")
    (here / "alias.py").symlink_to("real/secret.py")
    (here / "use.py").write_text("from linked.secret import Secret\n" + USE)
    (here / "other.py").write_text("from alias import Secret\n" + USE)
    assert {"use.py:7 softmax-before-cross-entropy", "other.py:7 softmax-before-cross-entropy"} <= set(found())
    files = [path.name for path in find_files(["."], Configuration(here)).files]
    assert "alias.py" in files


def test_a_link_that_is_named_is_followed(here: Path, tmp_path: Path) -> None:
    """Who names it wants it."""
    (tmp_path / "outside" / "x.py").write_text(FINDING)
    (here / "link.py").symlink_to(tmp_path / "outside" / "x.py")
    (here / "folder").symlink_to(tmp_path / "outside")
    assert found("link.py") == ["link.py:2 invalid-device"]
    assert found("folder") == ["folder/x.py:2 invalid-device"]
    assert found() == []


def test_relative_imports_above_a_package(tmp_path: Path) -> None:
    """A package around the project belongs to it; another folder does not."""
    inner = tmp_path / "top" / "project" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "top" / "project" / "requirements.txt").write_text("")
    (tmp_path / "top" / "other.py").write_text("")
    (inner / "x.py").write_text("")
    project_root.cache_clear()
    assert Layout().find(inner / "x.py", "other", 3) is None
    for folder in (tmp_path / "top", tmp_path / "top" / "project", inner):
        (folder / "__init__.py").write_text("")
    assert Layout().find(inner / "x.py", "other", 3) == tmp_path / "top" / "other.py"
    assert Layout().find(inner / "x.py", "x", 5) is None
    assert Layout().find(inner / "x.py", "x", 500) is None


def test_loops(here: Path) -> None:
    (here / "x.py").write_text(FINDING)
    (here / "a").mkdir()
    (here / "a" / "back").symlink_to("..")
    (here / "self").symlink_to("self")
    (here / "one.py").symlink_to("two.py")
    (here / "two.py").symlink_to("one.py")
    (here / "use.py").write_text(
        "import torch\nimport one\nimport a.back.a.back.x\nimport self.x\nfrom self import *\n"
    )
    assert "x.py:2 invalid-device" in found()
    assert found("use.py") == []


@pytest.mark.parametrize("name", [".gitignore", ".git/info/exclude", ".git/config", "requirements.txt", "setup.cfg"])
@pytest.mark.parametrize("kind", ["pipe", "zero", "folder", "loop"])
def test_files_without_an_end(here: Path, name: str, kind: str) -> None:
    """Nothing that is read beside the code is waited for."""
    (here / "x.py").write_text(FINDING)
    (here / ".git" / "info").mkdir(parents=True)
    special(here / name, kind)
    assert found() == ["x.py:2 invalid-device"]
    assert found("x.py") == ["x.py:2 invalid-device"]


def special(path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)


@pytest.mark.parametrize("kind", ["pipe", "zero", "folder", "socket"])
def test_code_without_an_end(here: Path, kind: str) -> None:
    (here / "x.py").write_text(FINDING)
    (here / "use.py").write_text("import torch\nfrom odd import *\nimport odd\nimport pkg\n")
    (here / "pkg").mkdir()
    special(here / "odd.py", kind)
    os.chdir(here / "pkg")
    special(here / "pkg" / "__init__.py", kind)
    os.chdir(here)
    assert found() == ["x.py:2 invalid-device"]
    assert found("use.py") == []
    report = lint(["odd.py"])
    assert [finding.message for finding in report.findings] == []
    assert report.ignored == (kind != "folder")


def test_a_pipe_is_never_waited_for(here: Path) -> None:
    os.mkfifo(here / "x.py")
    assert read_text(here / "x.py", "x.py").message == "cannot be read: Not a regular file"  # type: ignore[union-attr]
    assert cli.run(["facts", "x.py"]) == 0


def without_privileges() -> list[str]:
    """What makes root obey the permissions of files."""
    if os.geteuid():
        return []
    powers = "-dac_override,-dac_read_search"
    command = ["setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}"]
    if shutil.which("setpriv") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("root may read everything here")
    return command


def test_files_that_may_not_be_read(here: Path) -> None:
    for name in ("closed", "unlisted"):
        (here / name).mkdir()
        (here / name / "y.py").write_text(FINDING)
    (here / "x.py").write_text(FINDING)
    (here / "use.py").write_text("import torch\nfrom closed.y import d\nfrom unlisted.y import d\nimport forbidden\n")
    for name in ("forbidden.py", ".gitignore", "requirements.txt"):
        (here / name).write_text(FINDING)
        (here / name).chmod(0)
    (here / "closed").chmod(0)
    (here / "unlisted").chmod(0o644)
    command = [*without_privileges(), sys.executable, "-m", "modellint", "-v", "--output-format", "concise"]
    try:
        done = subprocess.run(
            command, cwd=here, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60
        )
    finally:
        for name in ("closed", "unlisted"):
            (here / name).chmod(0o755)
    assert done.returncode == 1
    assert done.stderr == b"skipped: closed: cannot be listed: Permission denied\n"
    assert [line.split(" torch ")[0] for line in done.stdout.decode().splitlines() if "[" in line] == [
        "forbidden.py:1:1: error[unreadable-file] cannot be read: Permission denied",
        "unlisted/y.py:1:1: error[unreadable-file] cannot be read: Permission denied",
        "x.py:2:18: error[invalid-device]",
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"gitdir: /dev/zero\n",
        b"gitdir: a\0b\n",
        b"gitdir: \xff\xfe\n",
        b"gitdir: " + b"../" * 5000 + b"\n",
        b"",
        b"\xff" * 100,
    ],
)
def test_a_pointer_that_leads_nowhere(here: Path, text: bytes) -> None:
    (here / ".git").write_bytes(text)
    (here / "x.py").write_text(FINDING)
    assert found() == ["x.py:2 invalid-device"]


def test_names_that_are_too_long(here: Path) -> None:
    long = "a" * 300
    text = f"import torch\nimport {long}\nfrom .{long} import x\nfrom pkg.{long} import y\nfrom pkg import {long}\n"
    (here / "pkg").mkdir()
    (here / "pkg" / "__init__.py").write_text("")
    (here / "x.py").write_text(text + 'd = torch.device("gpu")\n')
    (here / "y.py").write_text(f"import {'a.' * 2500}a\nimport torch\n")
    assert found() == ["x.py:6 invalid-device"]


# ---------------------------------------------------------------- nothing is obeyed

ESCAPES = "\x1b]0;title\x07\x1b[2J\x9b31m\x08\x00\r\u202e\u2066\u200f\u2028\x7f"
NAME = ESCAPES.replace("\0", "") + "\n::error::forged\n.py"
DIRECTION = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")


def assert_inert(text: str) -> None:
    """Nothing in it moves a cursor, sets a colour or a title, ends a line or turns the direction."""
    odd = {character for character in text if character != "\n" and not character.isprintable()} | DIRECTION & set(text)
    assert not odd, text


@pytest.fixture
def awkward(here: Path) -> Path:
    comment = ESCAPES.replace("\0", "").replace("\r", "")
    source = (
        f'import torch\nd = torch.device("gpu"), "{comment}"  # {comment}\n'
        f"e = torch.device('gpu')  # modellint: ignore[invalid-device] because {comment}\n"
        f"# modellint: ignore[no-such-{comment}]\n"
        f"f = d.nothing['{comment}'](open('{comment}'))\n"
        f"model = torch.load('{comment}')\n"
    )
    (here / NAME).write_text(source, newline="")
    (here / "build").mkdir()
    (here / "build" / NAME).write_text(source)
    (here / f"bad{NAME}").write_text(f"import torch\nx = (  # {comment}\n")
    (here / f"dir{comment}").mkdir()
    (here / f"dir{comment}" / "y.py").write_text(source)
    return here


@pytest.mark.parametrize("arguments", [[], ["-v"], ["--statistics"], ["-q"]], ids=str)
@pytest.mark.parametrize("name", ["full", "concise", "grouped"])
def test_nothing_moves_the_cursor(
    awkward: Path, capsys: pytest.CaptureFixture[str], name: str, arguments: list[str]
) -> None:
    assert cli.run(["--select", "ALL", "--output-format", name, *arguments]) == 1
    out, err = capsys.readouterr()
    assert "invalid-device" in out
    assert_inert(out)
    assert_inert(err)
    assert not any(line.startswith("::") for line in out.splitlines())


@pytest.mark.parametrize(
    "arguments",
    [["--show-files", "-v"], ["facts", NAME], ["facts", f"bad{NAME}"], ["explain", NAME], [f"no{NAME}"], ["clean"]],
    ids=["show-files", "facts", "facts of a bad file", "explain", "no such file", "clean"],
)
def test_other_commands(awkward: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    cli.run(arguments)
    out, err = capsys.readouterr()
    assert out + err
    assert_inert(out + err)


CONFIGURATIONS = {
    "a key": '"a\\u001b[2J\\u202e" = 1\n',
    "a rule": 'select = ["\\u001b[2J\\nx"]\n',
    "a level": '[rules]\ninvalid-device = "\\u001b[2J"\n',
    "an option": '[rules.invalid-device]\n"\\u001b[2J" = 1\n',
    "a file": 'extend = "\\u001b[2J\\u202e"\n',
    "a format": 'output-format = "\\u001b[2J"\n',
    "no TOML": "x = \x1b[2J\n",
    "an end": 'fail-on = "\\u001b]0;x\\u0007"\n',
    "a pattern": '[per-file-ignores]\n"\\u001b[2J" = 1\n',
}


@pytest.mark.parametrize("text", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_messages_about_the_configuration(awkward: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (awkward / "modellint.toml").write_text(text)
    folder = next(path for path in awkward.iterdir() if path.name.startswith("dir"))
    for paths in ([], [folder.name]):
        assert cli.run(paths) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert_inert(err)
    (awkward / "modellint.toml").rename(folder / "modellint.toml")
    assert cli.run([]) == (1 if text.startswith("output-format") else 2), "the first path says how it is shown"
    assert_inert("".join(capsys.readouterr()))


def test_a_failure_of_ours(awkward: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise LookupError(ESCAPES)

    monkeypatch.setattr(sys.modules["modellint.lint"], "suppress", fail)
    assert cli.run([]) == 3
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert_inert(err)


def test_commands_of_a_workflow(awkward: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--output-format", "github"]) == 1
    out = capsys.readouterr().out
    assert_inert(out)
    commands = [line for line in out.splitlines() if line.startswith("::")]
    assert commands
    assert all(line.startswith(("::error title=", "::warning title=")) for line in commands)
    assert all(line.split("::")[1].count("forged") <= 1 for line in commands)
    assert any("%0A" in line for line in commands)
    assert not [line for line in out.splitlines() if line.lstrip().startswith("::error::")]


def test_a_summary_in_markdown(here: Path) -> None:
    """A row a finding; nothing in a name ends its cell or its quotation, or is a tag."""
    name = f"`<img src=x>` | [a](b)\n\n# {ESCAPES}".replace("\0", "") + ".py"
    (here / name).write_text(FINDING)
    *_, row = step_summary(lint(["."])).splitlines()
    assert_inert(row)
    assert row.startswith("| `'&lt;img src=x>' \\| [a](b)")
    assert row.replace("\\|", "").count("|") == 5
    assert row.count("`") % 2 == 0


@pytest.mark.parametrize("name", ["json", "json-lines", "sarif"])
def test_documents(awkward: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """They carry the names as they are, in their own way of writing them."""
    assert cli.run(["--output-format", name]) == 1
    out = capsys.readouterr().out
    assert not {
        character for character in out if (character < " " and character != "\n") or "\x7f" <= character < "\xa0"
    }
    for text in out.splitlines() if name == "json-lines" else [out]:
        assert json.loads(text)
    assert "invalid-device" in out


def test_every_format_was_looked_at() -> None:
    assert set(FORMATS) == {"full", "concise", "grouped", "statistics", "github", "json", "json-lines", "sarif"}


def test_names_that_are_no_unicode(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(os.fsdecode(b"\xff\xfe.py")).write_text(FINDING)
    for name in FORMATS:
        assert cli.run(["--output-format", name, "-j", "2"]) == 1
        assert cli.run(["--output-format", name, "-o", str(tmp_path / name)]) == 1
        assert (tmp_path / name).read_text(encoding="utf-8")
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------- nothing costs without end


def limited() -> None:
    """Four gigabytes: the 512 MB of stack for deep code count as well."""
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


LARGE = {
    "a line of 50 MB": (
        lambda: b"import torch\nx = '" + b"a" * 50_000_000 + b"'\n",
        "longer than 10 MB; it is not read",
    ),
    "50 MB of other letters": (
        lambda: b"import torch\n#" + "\u6a21".encode() * 17_000_000,
        "longer than 10 MB; it is not read",
    ),
    "a million elements": (lambda: b"import torch\nx = [" + b"1, " * 1_000_000 + b"]\n", None),
    "very many elements": (
        lambda: b"import torch\nx = [" + b"1," * 3_000_000 + b"]\n",
        "3,000,005 operators, brackets and lines, more than 1,500,000; it is not read",
    ),
    "very many statements": (
        lambda: b"import torch\n" + b"a\n" * 3_000_000,
        "3,000,001 operators, brackets and lines, more than 1,500,000; it is not read",
    ),
    "a long text": (lambda: b"import torch\nx = '" + b"a" * 9_000_000 + b"'\n", None),
}


@pytest.mark.slow
@pytest.mark.parametrize(("make", "message"), LARGE.values(), ids=LARGE)
def test_large_files(here: Path, make: object, message: str | None) -> None:
    assert callable(make)
    (here / "x.py").write_text(FINDING)
    (here / "large.py").write_bytes(make())
    (here / "use.py").write_text("import torch\nfrom large import x\n")
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "modellint", "--no-cache", "--output-format", "full", "-j", "1"],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=limited,
        capture_output=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (1, b"")
    out = done.stdout.decode()
    assert len(out) < 5000
    assert "invalid-device" in out
    assert "internal error" not in out
    assert (f"error[unreadable-file]: {message}" in out) is (message is not None)
    assert time.monotonic() - start < 60


def test_a_configuration_that_is_nested_deeply(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "x.py").write_text(FINDING)
    (here / "requirements.txt").write_text("torch==2.1\n")
    deep = "x = " + "[" * 50_000 + "]" * 50_000 + "\n"
    (here / "poetry.lock").write_text(deep)
    (here / "pyproject.toml").write_text(deep)
    assert cli.run([]) == 1
    capsys.readouterr()
    (here / "pyproject.toml").write_text("[tool.modellint]\n" + deep)
    assert cli.run([]) == 2
    assert capsys.readouterr().err == "error: pyproject.toml: not valid TOML: nested too deeply\n"
