"""The pytest plugin, in sessions of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

FIRST = """
import pytest
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 1)

    def forward(self, x):
        return self.line(x)

def train(model, clear=False):
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(6):
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()
        if clear:
            optimizer.zero_grad()
"""
FINDING = "missing-zero-grad"


def session(folder: Path, *args: str, **files: str) -> tuple[int, str]:
    """Run pytest in a folder; its exit code and its output."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    if not (folder / "pytest.ini").exists():
        (folder / "pytest.ini").write_text("[pytest]\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    environment.pop("PYTEST_CURRENT_TEST", None)
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", *args]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_the_fixture_fails_a_test(tmp_path: Path) -> None:
    test = FIRST + (
        "def test_net(modellint):\n"
        "    assert repr(modellint) == '<modellint>'\n"
        "    model = Net()\n"
        "    with modellint.watch(model) as seen:\n"
        "        train(model)\n"
        "    modellint.assert_clean(seen)\n"
    )
    code, out = session(tmp_path, test_net=test)
    assert code == 1
    assert f"E       modellint.ModelLintError: {FINDING} in Net\n" in out
    assert f"E       error[{FINDING}]: " in out
    assert "E         --> test_net.py:18:9\n" in out
    assert "seen: " in out
    assert f'Silence one with @pytest.mark.modellint(ignore=["{FINDING}"])' in out
    assert "test_net.py:26: ModelLintError" in out
    assert "modellint/testing.py" not in out
    assert "pytest_plugin.py" not in out
    assert f"FAILED test_net.py::test_net - modellint.ModelLintError: {FINDING} in Net\n" in out
    assert "=modellint=" in out.replace(" ", "")
    assert f"error  {FINDING}  test_net.py:18  test_net.py::test_net\n" in out


def test_settings_of_a_test(tmp_path: Path) -> None:
    test = FIRST + (
        "pytestmark = pytest.mark.modellint(fail_on='note')\n"
        f"@pytest.mark.modellint(ignore=['{FINDING}'])\n"
        "def test_ignored(modellint):\n"
        "    with modellint.watch() as seen:\n        train(Net())\n"
        "    modellint.assert_clean(seen)\n"
        "@pytest.mark.modellint(select='missing-eval')\n"
        "def test_selected(modellint):\n"
        "    with modellint.watch() as seen:\n        train(Net())\n"
        "    modellint.assert_clean(seen)\n"
        "def test_given(modellint):\n"
        "    with modellint.watch() as seen:\n        train(Net())\n"
        f"    modellint.assert_clean(seen, ignore=['{FINDING}'])\n"
        "def test_left_open(modellint):\n"
        "    modellint.watch()\n"
        "    train(Net())\n"
        "def test_trained_well(modellint):\n"
        "    with modellint.watch() as seen:\n        train(Net(), clear=True)\n"
        "    modellint.assert_clean(seen)\n"
    )
    code, out = session(tmp_path, test_net=test)
    assert code == 0, out
    assert "5 passed" in out
    assert f"error  {FINDING}  test_net.py:18  " in out


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ("ignore=['missing-zero-gard']", "unknown rule `missing-zero-gard`"),
        ("select=['nothing']", "unknown rule `nothing`"),
        ("fail_on='loud'", "unknown level `loud`; expected error, warning, note"),
        ("level='error'", "expected modellint(select=None"),
    ],
)
def test_a_mistake_in_a_marker_is_a_usage_error(tmp_path: Path, marker: str, words: str) -> None:
    test = f"import pytest\n@pytest.mark.modellint({marker})\ndef test_it():\n    pass\n"
    code, out = session(tmp_path, test_it=test)
    assert code == 4
    assert words in out


def test_a_mistake_in_a_marker_is_said_by_a_worker_too(tmp_path: Path) -> None:
    test = "import pytest\n@pytest.mark.modellint(ignore=['nothing'])\ndef test_it():\n    pass\n"
    code, out = session(tmp_path, "-n", "2", test_it=test)
    assert code == 1
    assert "unknown rule `nothing` in the marker of test_it.py::test_it" in out
    assert "INTERNALERROR" not in out


DEVICE = "import torch\n\n\ndef device():\n    return torch.device('gpu')\n"


def test_the_ini_file(tmp_path: Path) -> None:
    test = "def test_it(modellint):\n    modellint.assert_clean('train.py')\n"
    for line, expected in (
        ("modellint_select = missing-eval", 0),
        ("modellint_select = missing-eval invalid-device", 1),
        ("modellint_select = nothing", 4),
        ("modellint_fail_on = loud", 4),
    ):
        (tmp_path / "pytest.ini").write_text(f"[pytest]\n{line}\n")
        code, out = session(tmp_path, train=DEVICE, test_it=test)
        assert code == expected, out


def test_files_as_tests(tmp_path: Path) -> None:
    (tmp_path / "modellint.toml").write_text('extend-exclude = ["left_out.py"]\n')
    code, out = session(tmp_path, "--modellint", train=DEVICE, good="import torch\n", left_out=DEVICE, plain="x = 1\n")
    assert code == 1
    assert "FAILED train.py::modellint - invalid-device in train.py\n" in out
    assert "1 failed, 2 passed" in out
    assert "error  invalid-device  train.py:5  train.py::modellint" in out
    assert "Silence one with # modellint: ignore[invalid-device] reason" in out
    assert "Traceback" not in out
    assert session(tmp_path)[0] == 5, "off by default"


def test_lint_in_a_test(tmp_path: Path) -> None:
    test = (
        "import modellint as package\nimport pytest\n"
        "def test_clean(modellint):\n    modellint.assert_clean('good.py')\n"
        "def test_found(modellint):\n"
        "    report = modellint.lint('train.py')\n    assert len(report.findings) == 1\n"
        "    for target in (report, 'train.py', ['train.py', 'good.py']):\n"
        "        with pytest.raises(package.ModelLintError, match='^invalid-device in train.py\\n'):\n"
        "            modellint.assert_clean(target)\n"
    )
    code, out = session(tmp_path, train=DEVICE, good="import torch\n", test_it=test)
    assert code == 0, out


def test_two_processes_print_one_summary(tmp_path: Path) -> None:
    test = (
        "import pytest\n@pytest.mark.parametrize('number', range(4))\n"
        "def test_it(modellint, number):\n    modellint.assert_clean('train.py')\n"
    )
    code, out = session(tmp_path, "-n", "2", train=DEVICE, test_it=test)
    assert code == 1
    assert out.count("error  invalid-device  train.py:5  ") == 1
    assert " and 3 more\n" in out


def test_nothing_is_imported_or_printed_when_it_is_not_used(tmp_path: Path) -> None:
    test = (
        "import sys\ndef test_it():\n"
        "    assert 'modellint.pytest_plugin' in sys.modules\n"
        "    assert not {'torch', 'libcst', 'click', 'modellint.rule', 'numpy'} & set(sys.modules)\n"
    )
    code, out = session(tmp_path, test_it=test)
    assert code == 0, out
    assert "modellint" not in out


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    code, out = session(tmp_path, "-p", "no:modellint", test_it="def test_it(modellint):\n    pass\n")
    assert code == 1
    assert "fixture 'modellint' not found" in out


def test_importing_it_is_quick() -> None:
    code = "import pytest, time\nstart = time.perf_counter()\nimport modellint.pytest_plugin\n"
    code += "print(time.perf_counter() - start)"
    seconds = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout)
        for _ in range(3)
    )
    assert seconds < 0.05
