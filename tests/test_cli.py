"""Commands, options, exit codes and streams."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import small_reader
from conftest import ROOT, CommandLine

import modellint as package
from modellint import cli
from modellint.lint import lint


@pytest.fixture
def frame(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working directory, and the small reader with its rules."""
    small_reader.install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(**files: str) -> None:
    for name, text in files.items():
        path = Path(name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import torch\n" + text)


class Shown:
    """What one command line did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def rules(self) -> list[str]:
        """`path:line rule` of every finding, from the concise format."""
        lines = [line for line in self.out.splitlines() if "[" in line and ": " in line]
        return [f"{line.split(':')[0]}:{line.split(':')[1]} {line.split('[')[1].split(']')[0]}" for line in lines]


@pytest.fixture
def run(frame: Path, capsys: pytest.CaptureFixture[str]) -> object:
    def run_(*args: str) -> Shown:
        code = cli.run(args)
        return Shown(code, *capsys.readouterr())

    return run_


# --- exit codes -------------------------------------------------------------------------------------------------------


def test_exit_0_when_clean(run) -> None:  # type: ignore[no-untyped-def]
    write(x="x = 1\n")
    shown = run()
    assert (shown.code, shown.out, shown.err) == (0, "All clear: 1 file checked, 4 rules\n", "")


def test_exit_0_without_files(run) -> None:  # type: ignore[no-untyped-def]
    Path("docs").mkdir()
    Path("docs/x.py").write_text("x = 1\n")
    assert run("docs").out == "No Python files that use torch under docs (1 file seen)\n"


@pytest.mark.parametrize(
    ("text", "args", "code"),
    [
        ("x.bug\n", [], 1),
        ("x.odd\n", [], 0),
        ("x.odd\n", ["--fail-on", "warning"], 1),
        ("x.off\n", ["--fail-on", "note"], 0),
        ("x.off\n", ["--fail-on", "note", "--extend-select", "pedantic"], 1),
        ("x.bug\n", ["--exit-zero"], 0),
        ("x.bug\n", ["--ignore", "some-bug"], 0),
        ("x.crash\n", [], 3),
        ("x.crash\nx.bug\n", [], 3),
        ("x.crash\nx.bug\n", ["--exit-zero"], 3),
        ("x = (\n", [], 1),
        ("x = (\n", ["--select", "odd-thing"], 1),
        ("x = (\n", ["--exit-zero"], 0),
    ],
)
def test_exit_codes(run, text: str, args: list[str], code: int) -> None:  # type: ignore[no-untyped-def]
    write(x=text)
    assert run(*args).code == code


def test_a_rule_that_fails_leaves_the_others(run) -> None:  # type: ignore[no-untyped-def]
    write(x="x.crash\nx.bug\n", y="x.odd\n")
    shown = run("--output-format", "concise")
    assert shown.code == 3
    assert shown.rules[:2] == ["x.py:3 some-bug", "y.py:2 odd-thing"]
    assert "internal error: rule crasher failed on x.py:2 (ZeroDivisionError); the other rules ran" in shown.out


def test_a_file_that_the_reader_fails_on_leaves_the_others(run) -> None:  # type: ignore[no-untyped-def]
    write(x="x.boom\nx.bug\nx.boom\n", y="x.odd\ny = 1  # modellint: ignore[some-bug]\n")
    shown = run("--output-format", "concise")
    assert shown.code == 3
    assert shown.rules[:2] == ["x.py:3 some-bug", "y.py:2 odd-thing"]
    assert "unused-ignore" not in shown.out, "what the comment silences may be what was not read"
    line = "internal error: the reader failed on x.py:2 (RecursionError); the other files were read. Please report it"
    assert shown.out.count("internal error") == 1
    assert line in shown.out.splitlines()
    assert "Found 1 error, 1 warning, 1 reader failure in 2 files" in shown.out
    document = json.loads(run("--output-format", "json").out)
    assert document["failures"] == [{"rule": "reader", "path": "x.py", "line": 2, "message": "RecursionError"}]
    (sarif,) = json.loads(run("--output-format", "sarif").out)["runs"]
    (notification,) = sarif["invocations"][0]["toolExecutionNotifications"]
    assert notification["descriptor"] == {"id": "reader-failure"}
    assert "associatedRule" not in notification
    listed = run("facts", "x.py")
    assert listed.code == 3
    assert "the reader failed (RecursionError)" in listed.out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nope.py"], "no such file or directory: nope.py"),
        (["x.py", "nope.py"], "no such file or directory: nope.py"),
        (["explian"], "no such file or directory: explian; did you mean the command `explain`?"),
        (["--select", "some-bgu"], "unknown rule `some-bgu` in --select; did you mean `some-bug`?"),
        (["--output-format", "jsno"], "unknown output format `jsno`; did you mean `json`?"),
        (["--selct", "x"], "no such option"),
        (["--fail-on", "loud"], "--fail-on: unknown level `loud`; expected note, warning, error"),
        (["--color", "pink"], "--color pink: expected auto, always or never"),
        (["explain", "some-bgu"], "unknown rule `some-bgu`; did you mean `some-bug`?"),
        (["facts", "nope.py"], "no such file: nope.py"),
        (["facts", "."], ". is a folder; `modellint facts` reads one file"),
        (["facts"], "missing argument"),
        (["-o", "no/such/folder/out.txt"], "cannot write no/such/folder/out.txt: No such file or directory"),
    ],
)
def test_exit_2_is_one_line(run, args: list[str], message: str) -> None:  # type: ignore[no-untyped-def]
    write(x="x.bug\n")
    shown = run(*args)
    assert shown.code == 2
    assert shown.out == ""
    assert shown.err.startswith(f"error: {message}")
    assert shown.err.count("\n") == 1


def test_a_mistake_in_the_configuration_stops_everything(run) -> None:  # type: ignore[no-untyped-def]
    write(a__x="x.bug\n", b__x="x.bug\n")
    Path("b/modellint.toml").write_text("select = ['some-bgu']\n")
    shown = run()
    assert (shown.code, shown.out) == (2, "")
    assert shown.err == "error: b/modellint.toml:1: unknown rule `some-bgu` in `select`; did you mean `some-bug`?\n"


def test_an_unforeseen_error_is_one_line(run, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    write(x="x.bug\n")

    def fail(*_: object) -> None:
        raise LookupError("made up")

    monkeypatch.setattr("modellint.lint.merge", fail)
    shown = run()
    assert shown.code == 3
    assert shown.err.startswith("internal error: LookupError: made up at test_cli.py:")
    assert shown.err.count("\n") == 1


# --- what is checked --------------------------------------------------------------------------------------------------


def test_the_first_word_is_a_command_if_it_equals_one(run) -> None:  # type: ignore[no-untyped-def]
    write(explain__x="x.bug\n", y="x.bug\n")
    assert run("./explain", "--output-format", "concise").rules == ["explain/x.py:2 some-bug"]
    assert run("check", "y.py", "--output-format", "concise").rules == ["y.py:2 some-bug"]
    assert run("y.py", "explain", "--output-format", "concise").rules == ["explain/x.py:2 some-bug", "y.py:2 some-bug"]
    assert "some-bug" in run("explain").out


def test_selection_by_flags(run) -> None:  # type: ignore[no-untyped-def]
    write(x="x.bug\nx.odd\nx.off\n")
    concise = ("--output-format", "concise")
    assert run(*concise).rules == ["x.py:2 some-bug", "x.py:3 odd-thing"]
    assert run(*concise, "--select", "off-thing,odd-thing").rules == ["x.py:3 odd-thing", "x.py:4 off-thing"]
    assert run(*concise, "--select", "ALL", "--ignore", "correctness").rules == ["x.py:3 odd-thing", "x.py:4 off-thing"]
    assert run(*concise, "--per-file-ignores", "x.py:some-bug,odd-thing").rules == []


def test_settings_of_each_file(run) -> None:  # type: ignore[no-untyped-def]
    write(a__x="x.bug\nx.odd\n", b__x="x.bug\nx.odd\n", b__tests__x="x.bug\nx.odd\n")
    Path("a/modellint.toml").write_text("ignore = ['odd-thing']\n[rules]\nsome-bug = 'note'\n")
    Path("b/modellint.toml").write_text("fail-on = 'warning'\n[per-file-ignores]\ntests = ['some-bug']\n")
    shown = run("--output-format", "concise")
    assert shown.rules == ["a/x.py:2 some-bug", "b/tests/x.py:3 odd-thing", "b/x.py:2 some-bug", "b/x.py:3 odd-thing"]
    assert "a/x.py:2:1: note[some-bug]" in shown.out
    assert run("a").code == 0
    assert run("b/tests").code == 1, "fail-on is the file's own"


def test_only_findings_of_passed_files_or_with_a_cause_there(run) -> None:  # type: ignore[no-untyped-def]
    write(a="x.cause\n", b="import a\nx.effect\n", c="y = 1\n")
    for paths in (["a.py", "b.py"], ["a.py"], ["b.py"]):
        assert [finding.span.path for finding in lint(paths).findings] == ["b.py"]
    assert lint(["c.py"]).findings == ()


def test_stdin(run, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    write(x="x.bug\n")
    give(b"import torch\n\nx.bug\n")
    assert run("-", "--output-format", "concise").rules == ["<stdin>:3 some-bug"]
    Path("modellint.toml").write_text("[per-file-ignores]\n'gen/*' = ['some-bug']\n")
    give(b"import torch\n\nx.bug  # modellint: ignore[odd-thing]\nx.odd\n")
    shown = run("-", "--stdin-filename", "gen/y.py", "--output-format", "concise")
    assert shown.rules == ["gen/y.py:3 unused-ignore", "gen/y.py:4 odd-thing"]
    give(b"x = 1\n")
    assert run("-", "x.py", "--output-format", "concise").rules == ["x.py:2 some-bug"]


def test_show_files(run) -> None:  # type: ignore[no-untyped-def]
    write(a="", build__b="", c="")
    Path("notebook.ipynb").write_text("{}")
    shown = run("--show-files", "-v")
    assert (shown.code, shown.out) == (0, "a.py\nc.py\n")
    assert shown.err == "skipped: build: excluded by the settings\nskipped: notebook.ipynb: notebooks are not read\n"


# --- output -----------------------------------------------------------------------------------------------------------


def test_quiet_silent_verbose(run) -> None:  # type: ignore[no-untyped-def]
    write(x="x.bug\nx.lost\n", build__y="")
    assert "Found 1 error" in run().out
    quiet = run("-q")
    assert "some-bug" in quiet.out
    assert "Found" not in quiet.out
    silent = run("-s")
    assert (silent.code, silent.out, silent.err) == (1, "", "")
    verbose = run("-v")
    assert verbose.err == "skipped: build: excluded by the settings\n"
    assert "x.py:3:1" in verbose.out
    assert "made up" in verbose.out


def test_output_file(run) -> None:  # type: ignore[no-untyped-def]
    write(x="x.bug\n")
    shown = run("--output-format", "json", "--output-file", "out.json", "--color", "always")
    assert (shown.code, shown.out) == (1, "")
    assert [finding["rule"] for finding in json.loads(Path("out.json").read_text())["findings"]] == ["some-bug"]


def test_statistics(run) -> None:  # type: ignore[no-untyped-def]
    write(x="x.bug\nx.odd\nx.bug\n")
    shown = run("--statistics")
    assert shown.code == 1
    assert "2" in shown.out.splitlines()[0]
    assert "some-bug" in shown.out.splitlines()[0]


def test_colour(run, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    write(x="x.bug\n")
    assert "\x1b[" not in run().out
    assert "\x1b[" in run("--color", "always").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in run().out
    assert "\x1b[" not in run("--color", "never").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in run().out
    assert "\x1b[" in run("--color", "always").out


def test_format_variable(run, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    write(x="x.bug\n")
    monkeypatch.setenv("MODELLINT_OUTPUT_FORMAT", "concise")
    assert run().out.startswith("x.py:2:1: error[some-bug]")
    assert json.loads(run("--output-format", "json").out)["version"] == 1


def test_explain_and_rules(run) -> None:  # type: ignore[no-untyped-def]
    listed = run("rules")
    assert listed.code == 0
    assert [line.split()[0] for line in listed.out.splitlines()[1:]] == sorted(small_reader.RULES)
    assert [rule["name"] for rule in json.loads(run("rules", "--output-format", "json").out)] == sorted(
        small_reader.RULES
    )
    assert run("explain").out == listed.out
    assert "unused-ignore\nwarning: an ignore comment that silences nothing" in run("explain", "unused-ignore").out


def test_facts(run) -> None:  # type: ignore[no-untyped-def]
    write(x="x.bug\nx.lost\n")
    text = run("facts", "x.py")
    assert text.code == 0
    assert text.out.splitlines() == [
        "DiscardedValue  x.py:2:1  text=x.bug, receiver=x, receiver_kind=module, attribute=bug",
        "not followed    x.py:3:1  x.lost: made up",
    ]
    found = json.loads(run("facts", "x.py", "--output-format", "json").out)
    assert found["facts"][0]["fact"] == "DiscardedValue"
    assert found["facts"][0]["place"] == {"path": "x.py", "line": 2, "column": 1, "end_line": 2, "end_column": 6}
    assert found["not_followed"][0]["reason"] == "made up"
    Path("plain.py").write_text("x = 1\n")
    assert run("facts", "plain.py").out == "plain.py: never mentions torch: not read\n"


# --- the process ------------------------------------------------------------------------------------------------------


def test_version(modellint: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.modellint]\n")
    (tmp_path / "a").mkdir()
    for args in (("--version",), ("--version", "--help")):
        done = modellint(*args, cwd=tmp_path / "a")
        lines = done.stdout.decode().splitlines()
        assert done.returncode == 0
        assert lines[0] == f"modellint {package.__version__}"
        assert lines[1] == "Python {}.{}.{}".format(*sys.version_info)
        assert lines[2].startswith("torch ")
        assert lines[3] == f"configuration: {os.path.join('..', 'pyproject.toml')}"


def test_help(modellint: CommandLine, tmp_path: Path) -> None:
    text = modellint("--help", cwd=tmp_path).stdout.decode()
    for command in ("check", "explain", "facts", "rules"):
        assert command in text
    assert "--extend-select" in modellint("check", "--help", cwd=tmp_path).stdout.decode()


TWO_BUGS = b"# \xe6\xa8\xa1\xe5\x9e\x8b\nimport torch\nx = torch.device('gpu')  # \xe6\xa8\xa1\ny = (\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "gbk", "utf-8"])
@pytest.mark.parametrize("output", ["full", "concise", "json", "github", "sarif"])
def test_any_output_encoding(modellint: CommandLine, tmp_path: Path, encoding: str, output: str) -> None:
    (tmp_path / "\u6a21\u578b.py").write_bytes(TWO_BUGS)
    done = modellint("--output-format", output, cwd=tmp_path, env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 1
    assert done.stderr == b""
    assert b"syntax-error" in done.stdout


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"x{number}.py").write_text("import torch\nx = (\n" * 20)
    command = f'"{sys.executable}" -m modellint --output-format full; echo $? >&2'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", f"({command}) | head -1"], cwd=tmp_path, env=environment, capture_output=True, timeout=60
    )
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b"1\n"


def test_module_and_public_names() -> None:
    from modellint.finding import Finding
    from modellint.rule import Rule

    assert (package.Finding, package.Rule) == (Finding, Rule)
    assert callable(package.lint)
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


@pytest.mark.parametrize("first", ["import modellint", "import modellint.lint", "from modellint.lint import lint"])
def test_lint_is_callable_whatever_was_imported_first(first: str, tmp_path: Path) -> None:
    code = f"{first}\nimport modellint\nprint(modellint.lint([]).checked)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True)
    assert done.stdout == b"0\n", done.stderr.decode()
