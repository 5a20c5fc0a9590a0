"""`modellint run`: the script finds what `python SCRIPT` gives it, and the report comes at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from conftest import ROOT

TRAINS = """
import torch
from torch import nn

model = nn.Linear(4, 1)
optimizer = torch.optim.AdamW(model.parameters())
for _ in range(6):
    loss = model(torch.randn(8, 4)).pow(2).mean()
    loss.backward()
    optimizer.step(){clear}
"""
BUGGY = TRAINS.format(clear="")
CLEAN = TRAINS.format(clear="\n    optimizer.zero_grad()")


def start(command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(env or {})}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=variables, capture_output=True, text=True, timeout=120
    )


def run(*args: str, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return start(["-m", "modellint", "run", *args], cwd, env)


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / (name.replace("__in__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


# --- what the script finds --------------------------------------------------------------------------------------------

LOOKS = """
import sys, os
print(sys.argv, sys.path[0], os.getcwd())
names = sorted(name for name in globals() if name != "__annotations__")
print(__name__, __file__, __spec__ and __spec__.name, __package__, names)
print(sys.modules["__main__"].__dict__ is globals(), type(__loader__).__name__, __doc__, "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    "args",
    [
        ["start.py"],
        ["start.py", "--steps", "3", "-m", "x", "--", "--help", "-q"],
        ["sub/start.py", "a"],
        ["folder", "a"],
        ["-m", "start", "--lr", "1"],
        ["-m", "package.start", "-h"],
        ["-m", "package", "run", "check"],
    ],
    ids=" ".join,
)
def test_the_script_finds_what_python_gives_it(tmp_path: Path, args: list[str]) -> None:
    write(tmp_path, start=LOOKS, sub__in__start=LOOKS, folder__in____main__=LOOKS)
    write(tmp_path, package__in____init__="", package__in__start=LOOKS, package__in____main__=LOOKS)
    plain, watched = start(args, tmp_path), run(*args, cwd=tmp_path)
    same = slice(None)
    if args[0] == "folder":  # Python gives a folder a spec, which a worker that is spawned could not use
        same = slice(0, 1)
    assert plain.stdout.splitlines()[same] == watched.stdout.splitlines()[same]
    assert watched.returncode == 0, watched.stderr


def test_symbolic_links_are_followed_as_python_does(tmp_path: Path) -> None:
    write(tmp_path, real__in__start="import beside", real__in__beside="print('found')")
    (tmp_path / "link.py").symlink_to(tmp_path / "real" / "start.py")
    assert run("link.py", cwd=tmp_path).stdout == "found\n"


def test_what_a_script_sets_before_it_imports_torch_counts(tmp_path: Path) -> None:
    write(
        tmp_path, start="import os\nos.environ['OMP_NUM_THREADS'] = '2'\nimport torch\nprint(torch.get_num_threads())"
    )
    assert run("start.py", cwd=tmp_path, env={"OMP_NUM_THREADS": ""}).stdout == "2\n"


def test_torch_keeps_its_loader(tmp_path: Path) -> None:
    code = "import torch, sys\nprint(type(torch.__loader__).__name__, type(torch.__spec__.loader).__name__)\n"
    code += "print([finder for finder in sys.meta_path if 'modellint' in type(finder).__module__])"
    write(tmp_path, start=code)
    assert run("start.py", cwd=tmp_path).stdout == "SourceFileLoader SourceFileLoader\n[]\n"


def test_workers_started_by_spawn_import_the_script_again(tmp_path: Path) -> None:
    code = """
import torch
from torch.utils.data import DataLoader, Dataset

class Squares(Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return index * index

if __name__ == "__main__":
    print(list(DataLoader(Squares(), batch_size=4, num_workers=1, multiprocessing_context="spawn")))
"""
    write(tmp_path, start=code, package__in____init__="", package__in__start=code)
    assert run("start.py", cwd=tmp_path).stdout == "[tensor([0, 1, 4, 9])]\n"
    assert run("-m", "package.start", cwd=tmp_path).stdout == "[tensor([0, 1, 4, 9])]\n"


# --- how it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "args", "status"),
    [
        (CLEAN, [], 0),
        (BUGGY, ["--exit-zero"], 0),
        (BUGGY + "import sys; sys.exit(5)", [], 5),
        (BUGGY, ["--select", "no-such-rule"], 2),
        (BUGGY, ["--steps", "none"], 2),
        (BUGGY, ["--output-format", "xml"], 2),
    ],
)
def test_exit_status(tmp_path: Path, code: str, args: list[str], status: int) -> None:
    write(tmp_path, start=code)
    assert run(*args, "start.py", cwd=tmp_path).returncode == status


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["nope.py"], "error: no such file or directory: nope.py"),
        (["empty"], "error: no such file or directory: empty/__main__.py"),
        (["-m", "nope"], "error: no module named nope"),
        (["-m", "nope.inner"], "error: no module named nope.inner"),
        ([], "error: missing argument 'SCRIPT'"),
    ],
)
def test_a_script_that_is_not_there(tmp_path: Path, args: list[str], words: str) -> None:
    (tmp_path / "empty").mkdir()
    done = run(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(words)
    assert done.stdout == ""


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    {}['x']\nexcept KeyError as error:\n    raise ValueError('y') from error",
        "x = (\n",
        "import beside",
        "raise ExceptionGroup('two', [ValueError('a'), KeyError('b')])",
        "import sys\nsys.exit('the reason')",
        "import sys\nsys.excepthook = lambda *args: print('mine', args[0].__name__)\n1 / 0",
        "import nowhere",
    ],
)
def test_errors_are_shown_as_python_shows_them(tmp_path: Path, code: str) -> None:
    write(tmp_path, start=code, beside="def f():\n    1 / 0\nf()")
    for args in (["start.py"], ["-m", "start"]):
        plain, watched = start(args, tmp_path), run(*args, cwd=tmp_path)
        expected = plain.stderr
        if args[0] == "-m":  # runpy's own frames are not the user's
            lines = [line for line in expected.splitlines(keepends=True) if "runpy" not in line]
            expected = "".join(lines)
        shown, mark, _ = watched.stderr.partition("\nmodellint: ")
        assert mark
        if args[0] == "start.py":
            assert shown == expected
        assert "modellint" not in shown.replace(str(ROOT), "")
        assert (watched.returncode, watched.stdout) == (plain.returncode, plain.stdout)


def test_an_error_inside_of_a_backward_shows_no_frame_of_ours(tmp_path: Path) -> None:
    code = CLEAN + "loss = model(torch.randn(8, 4)).pow(2).mean()\nloss.backward()\nloss.backward()\n"
    write(tmp_path, start=code)
    plain, watched = start(["start.py"], tmp_path), run("start.py", cwd=tmp_path)
    assert watched.stderr.partition("\nmodellint: ")[0] == plain.stderr


def test_a_usage_error_that_the_script_raises_is_the_script_s(tmp_path: Path) -> None:
    write(tmp_path, start="import modellint\nmodellint.watch(select=['no-such-rule'])")
    done = run("start.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "UsageError: unknown rule `no-such-rule`" in done.stderr


def test_ctrl_c(tmp_path: Path) -> None:
    code = BUGGY + "print('trained', flush=True)\nimport time\ntime.sleep(60)\n"
    write(tmp_path, start=code)
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "modellint", "run", "start.py"],
        cwd=tmp_path,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "trained\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "KeyboardInterrupt\n\nmodellint: Linear, 6 training steps: 1 error\n" in errors


def test_a_forked_child_does_not_report(tmp_path: Path) -> None:
    code = "import os\nif os.fork():\n    os.wait()\nelse:\n    raise SystemExit(0)\n"
    write(tmp_path, start=code)
    assert run("start.py", cwd=tmp_path).stderr.count("modellint: ") == 1


def test_under_an_elastic_launcher_findings_are_no_crash(tmp_path: Path) -> None:
    write(tmp_path, start=BUGGY)
    elastic = {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "WORLD_SIZE": "2"}
    done = run("start.py", cwd=tmp_path, env=elastic)
    assert done.returncode == 0
    assert "modellint (rank 1): Linear, 6 training steps: 1 error" in done.stderr
    assert done.stderr.rstrip().endswith("--fail-on changes that")
    assert run("--fail-on", "error", "start.py", cwd=tmp_path, env=elastic).returncode == 1
    write(tmp_path, start="print('nothing to find')")
    assert run("start.py", cwd=tmp_path, env=elastic).stderr == "", "a rank without findings has nothing to say"


# --- the report -------------------------------------------------------------------------------------------------------


def test_the_block(tmp_path: Path) -> None:
    write(tmp_path, start=BUGGY + "import os\nos.chdir('/')\n")
    done = run("start.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("\nmodellint: Linear, 6 training steps: 1 error\n\n")
    assert "  error  missing-zero-grad  start.py:10   " in done.stderr
    assert done.stderr.endswith("  Read more: modellint explain missing-zero-grad\n")


def test_options_before_the_script_are_ours(tmp_path: Path) -> None:
    write(tmp_path, start=BUGGY)
    quiet = run("-q", "--color", "always", "start.py", cwd=tmp_path).stderr
    assert "\x1b[1;31merror\x1b[0m  missing-zero-grad" in quiet
    assert "seen:" not in quiet
    few = run("-v", "--steps", "5", "start.py", cwd=tmp_path).stderr
    assert "5 training steps" in few
    assert "out of sight: evaluation (none in the first 5 steps); unknown for it: " in few


def test_formats(tmp_path: Path) -> None:
    write(tmp_path, start=BUGGY)
    shown = run("--output-format", "json", "start.py", cwd=tmp_path)
    document = json.loads(shown.stdout)
    assert shown.stderr == ""
    assert document["run"]["steps"] == 6
    (finding,) = document["findings"]
    assert (finding["sides"], finding["path"], finding["range"]["start"]["line"]) == (["runtime"], "start.py", 10)
    assert finding["evidence"]["first_step"] >= 1
    assert finding["seen"]
    both = run("--output-format", "sarif", "--output-file", "run.sarif", "start.py", cwd=tmp_path)
    log = json.loads((tmp_path / "run.sarif").read_text())
    assert log["runs"][0]["automationDetails"] == {"id": "modellint/runtime/"}
    assert "modellint: Linear" in both.stderr
    write(tmp_path, start="print('mine')")
    shown = run("--output-format", "full", "start.py", cwd=tmp_path)
    assert (shown.stdout, shown.stderr) == ("mine\nno training seen: nothing was judged\n", "")
    run("--output-file", "block.txt", "start.py", cwd=tmp_path)
    assert (
        (tmp_path / "block.txt").read_text().startswith("modellint: start.py: no training seen: nothing was judged\n")
    )


def test_the_configuration_and_the_comments_hold(tmp_path: Path) -> None:
    silenced = "optimizer.step()  # modellint: ignore[missing-zero-grad] meant"
    write(tmp_path, start=BUGGY + BUGGY.replace("optimizer.step()", silenced))
    (tmp_path / "modellint.toml").write_text('[rules]\nmissing-zero-grad = "note"\n')
    done = run("start.py", cwd=tmp_path)
    assert done.returncode == 0
    assert "1 note (1 finding silenced by comments)" in done.stderr


def test_a_script_that_never_trains_says_so(tmp_path: Path) -> None:
    write(tmp_path, start="import torch\nprint(torch.ones(1).item())", other="print('no torch at all')")
    for name in ("start.py", "other.py"):
        done = run(name, cwd=tmp_path)
        assert done.returncode == 0
        assert f"modellint: {name}: no training seen: nothing was judged\n" in done.stderr
        assert "seen: no call of a model in this process" in done.stderr


def test_streams_that_the_script_replaces_or_closes(tmp_path: Path) -> None:
    write(tmp_path, start=BUGGY + "import sys\nsys.stdout.close()\nsys.stderr = None\n")
    done = run("start.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 error" in done.stderr


def test_without_torch(tmp_path: Path) -> None:
    write(tmp_path, start="print('never')")
    code = "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p] + [{!r}]\n".format(
        str(tmp_path / "packages")
    )
    packages = tmp_path / "packages"
    packages.mkdir()
    import click
    import pathspec

    for package in (click, pathspec):
        (packages / package.__name__).symlink_to(Path(package.__file__).parent)
    code += "from modellint.cli import run\nsys.exit(run(['run', 'start.py']))"
    done = start(["-c", code], tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: modellint run needs PyTorch in this environment (pip install torch); the static checks do not\n"
    )
    for name in ("watch", "inspect"):
        code = code.partition("\n")[0] + f"\nimport modellint\nmodellint.{name}"
        done = start(["-c", code], tmp_path)
        assert done.stderr.endswith(
            f"ImportError: modellint.{name} needs PyTorch in this environment (pip install torch); "
            "the static checks do not.\n"
        )


def test_the_example_project() -> None:
    done = run("start.py", cwd=ROOT / "fixtures" / "projects" / "twin")
    assert "modellint: Twin, 96 training steps, 24 evaluation forwards: " in done.stderr
    assert done.stdout == start(["start.py"], ROOT / "fixtures" / "projects" / "twin").stdout
