"""`assert_clean`, the error that it raises, and what a watch shows of itself."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from watching import watched

import modellint as package
from modellint.config import UsageError
from modellint.runtime import hooks
from modellint.testing import ModelLintError, assert_clean


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.line(x)
        return out


def never_cleared() -> None:
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(6):
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()


def message(target: object, **options: object) -> str:
    with pytest.raises(package.ModelLintError) as caught:
        assert_clean(target, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_the_public_names() -> None:
    assert package.watch is __import__("modellint.runtime.watch", fromlist=["watch"]).watch
    assert package.inspect is __import__("modellint.runtime.inspection", fromlist=["inspect"]).inspect
    assert package.ModelLintError is ModelLintError
    assert f"{ModelLintError.__module__}.{ModelLintError.__name__}" == "modellint.ModelLintError"
    assert {"watch", "inspect", "lint", "ModelLintError"} <= set(dir(package))


def test_a_watch_with_findings() -> None:
    lines = message(watched(never_cleared)).splitlines()
    assert lines[0] == "missing-zero-grad in Net"
    assert lines[1].startswith("error[missing-zero-grad]: ")
    assert any(line.startswith("  --> ") and __file__.endswith(line.split()[1].split(":")[0]) for line in lines)
    assert lines[-1] == '1 finding at or above `error`. Silence one with ignore=["missing-zero-grad"]'


def test_level_and_names() -> None:
    seen = watched(never_cleared)
    assert_clean(seen, ignore=["missing-zero-grad"])
    assert_clean(seen, ignore=["correctness"])
    assert "missing-zero-grad" in message(seen, fail_on="note", ignore=["missing-eval"])
    with pytest.raises(UsageError, match="fail_on='loud'"):
        assert_clean(seen, fail_on="loud")
    with pytest.raises(UsageError, match="unknown rule `missing-zero-gard` in ignore; did you mean"):
        assert_clean(seen, ignore=["missing-zero-gard"])


def test_an_open_watch_is_closed() -> None:
    seen = package.watch()
    assert_clean(seen)
    assert seen.closed
    assert hooks.current() is None


def test_a_model_that_never_ran_has_its_name() -> None:
    model = Net()
    with package.watch(model) as seen:
        pass
    assert seen.models == ("Net",)


def test_raise_if() -> None:
    seen = watched(never_cleared)
    for level in ("error", package.finding.Level.ERROR):
        with pytest.raises(ModelLintError):
            seen.raise_if(level)


def test_a_failure_inside_is_no_success() -> None:
    from report_cases import failure, report

    with pytest.raises(ModelLintError, match="internal error: rule shared-batchnorm failed"):
        package.testing.check_report(report(failures=(failure(),)), "x", "error", (), "")


class Frozen(Net):
    """Means to freeze a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.line.requires_grad = False
        self.norm = nn.BatchNorm1d(4)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return super().forward(self.norm(x))


def test_a_module_is_looked_at_and_not_run() -> None:
    assert_clean(Net(), fail_on="note")
    model = Frozen()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    lines = message(model).splitlines()
    assert lines[0] == "requires-grad-on-module in Frozen"
    assert not any("seen: " in line for line in lines), "nothing ran"
    assert model.calls == 0
    assert model.training
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert hooks.current() is None


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bad = "import torch\ntorch.device('gpu')\n"
    for name in ("a.py", "b.py", "c.py"):
        Path(name).write_text(bad)
    Path("good.py").write_text("import torch\n")
    assert message("a.py").splitlines()[0] == "invalid-device in a.py"
    assert message(Path("a.py")).splitlines()[0] == "invalid-device in a.py"
    assert message(["a.py", "b.py"]).splitlines()[0] == "invalid-device in a.py and b.py"
    assert message(["."]).splitlines()[0] == "invalid-device in 3 files"
    assert_clean("good.py")
    with pytest.raises(UsageError, match="no such file"):
        assert_clean("nope.py")


def test_anything_else_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="takes a watch, a module or paths, not int"):
        assert_clean(3)  # type: ignore[arg-type]


# What a watch shows of itself


def test_the_block_of_a_watch() -> None:
    seen = watched(never_cleared)
    assert str(seen).startswith("modellint: Net, 6 training steps: 1 error\n")
    assert seen._repr_html_().startswith("<pre>modellint: Net, 6 training steps: 1 error\n")
    still = package.watch()
    assert "open: 0 optimizer steps" in still._repr_html_()
    assert not still.closed
    still.close()


def test_it_prints_in_a_notebook_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watched(never_cleared)
    assert capsys.readouterr() == ("", "")
    shell = SimpleNamespace(get_ipython=lambda: object())
    monkeypatch.setitem(sys.modules, "IPython", shell)  # type: ignore[arg-type]
    watched(never_cleared)
    assert capsys.readouterr() == ("", ""), "a test never prints"
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    watched(never_cleared)
    assert capsys.readouterr().err.startswith("modellint: Net, 6 training steps: 1 error\n")
    shell.get_ipython = lambda: None
    watched(never_cleared)
    assert capsys.readouterr() == ("", "")


def test_an_early_end_says_what_it_did_not_see() -> None:
    seen = watched(never_cleared, steps=5)
    assert seen.verdict.report.run is not None
    assert seen.verdict.report.run.steps == 5
    assert any(gap.subject == "evaluation" and "missing-eval" in gap.rules for gap in seen.verdict.report.run.gaps)
    assert not any(gap.subject == "evaluation" for gap in watched(never_cleared).out_of_sight)
