"""Which torch a project runs with, and the names that newer versions do without."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

import pytest

from modellint.config import Configuration, UsageError
from modellint.facts.old_name import OldName
from modellint.facts.torch_version import TorchVersions
from modellint.source.torch_api.deprecated import OLD_ARGUMENTS, OLD_NAMES
from modellint.source.torch_version import Bounds, declared, from_text
from tests.small_programs import Program

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("2.4", ((2, 4), (2, 5))),
        ("==2.3.1+cu121", ((2, 3), (2, 4))),
        ("==2.3.*", ((2, 3), (2, 4))),
        ("===2.3.1", ((2, 3), (2, 4))),
        ("==2", ((2, 0), (3, 0))),
        ("==2.*", ((2, 0), (3, 0))),
        (">=2.1,<2.6", ((2, 1), (2, 6))),
        ("<2.6.1,>2.0", ((2, 0), (2, 7))),
        ("<2.6.0", (None, (2, 6))),
        ("<=2.5", (None, (2, 6))),
        ("~=2.1", ((2, 1), (3, 0))),
        ("~=2.1.3", ((2, 1), (2, 2))),
        ("^2.1", ((2, 1), (3, 0))),
        ("=1.13.1", ((1, 13), (1, 14))),
        ("!=2.1", None),
        ("", None),
        ("latest", None),
    ],
)
def test_bounds_of_a_requirement(text: str, bounds: Bounds | None) -> None:
    assert from_text(text) == bounds


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"requirements.txt": "numpy\ntorch==2.3.1  # pinned\n"}, ((2, 3), (2, 4))),
        ({"requirements.txt": "torch >= 1.13 ; python_version > '3.8'\ntorchvision==0.20\n"}, ((1, 13), None)),
        ({"requirements.txt": "torch==2.1; sys_platform == 'darwin'\ntorch==2.3; sys_platform != 'darwin'"},
         ((2, 1), (2, 4))),
        ({"requirements.txt": "torch\ntorch==2.1; sys_platform == 'darwin'"}, None),
        ({"requirements.txt": "torch @ https://example.org/torch-2.1.whl\n-r other.txt\n"}, None),
        ({"requirements/base.txt": "torch<2.6\n"}, (None, (2, 6))),
        ({"pyproject.toml": '[project]\ndependencies = ["numpy", "torch[opt]>=2.1,<2.6"]\n'}, ((2, 1), (2, 6))),
        ({"pyproject.toml": '[project.optional-dependencies]\ngpu = ["torch>=2.2"]\n'}, ((2, 2), None)),
        ({"pyproject.toml": '[tool.poetry.dependencies]\ntorch = "^2.1"\n'}, ((2, 1), (3, 0))),
        ({"pyproject.toml": '[tool.poetry.dependencies]\ntorch = {version = "~2.1.0", source = "x"}\n'},
         ((2, 1), (2, 2))),
        ({"pyproject.toml": "[project\n"}, None),
        ({"pyproject.toml": "tool = 3\nproject = []\n"}, None),
        ({"setup.cfg": "[options]\ninstall_requires =\n    torch>=1.10\n    numpy\n"}, ((1, 10), None)),
        ({"setup.cfg": "no section\n"}, None),
        ({"environment.yml": "dependencies:\n  - pytorch::pytorch=2.1.0\n  - pip:\n    - timm\n"}, ((2, 1), (2, 2))),
        ({"uv.lock": '[[package]]\nname = "numpy"\nversion = "2.0"\n[[package]]\nname = "torch"\nversion = "2.5.1"\n'},
         ((2, 5), (2, 6))),
        ({"pyproject.toml": '[project]\ndependencies = ["torch>=1.10"]\n', "requirements.txt": "torch==2.4.0\n"},
         ((2, 4), (2, 5))),
        ({"pyproject.toml": '[project]\ndependencies = ["torch>=2.6"]\n', "requirements.txt": "torch==2.4.0\n"}, None),
        ({"requirements.txt": "torchaudio==2.1\npytorch-lightning==2.0\n"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_what_a_project_declares(tmp_path: Path, files: dict[str, str], expected: Bounds | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = declared(tmp_path)
    assert (None if found is None else (found.at_least, found.below)) == expected


def test_both_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("torch>=2.1\n")
    (tmp_path / "setup.cfg").write_text("[options]\ninstall_requires = torch<2.6\n")
    assert declared(tmp_path) == TorchVersions((2, 1), (2, 6), "requirements.txt and setup.cfg")


def test_ends_of_a_range() -> None:
    versions = TorchVersions((2, 1), (2, 6), "requirements.txt")
    assert (versions.all_from((2, 1)), versions.all_from((2, 2))) == (True, False)
    assert (versions.all_below((2, 6)), versions.all_below((2, 5))) == (True, False)
    anything = TorchVersions(None, None, "")
    assert not anything.all_from((0, 1))
    assert not anything.all_below((9, 0))


def test_the_configuration_beats_the_requirements(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("torch==2.1\n")
    (tmp_path / "modellint.toml").write_text('torch-version = ">=2.7"\nselect = ["unsafe-torch-load"]\n')
    (tmp_path / "x.py").write_text("import torch\nimport sys\n\nstate = torch.load(sys.argv[1])\n")
    from modellint import lint

    assert not lint([tmp_path / "x.py"], cwd=tmp_path).findings
    (tmp_path / "modellint.toml").write_text('select = ["unsafe-torch-load"]\n')
    assert [finding.rule for finding in lint([tmp_path / "x.py"], cwd=tmp_path).findings] == ["unsafe-torch-load"]


@pytest.mark.parametrize("value", ['"new"', '""', "2.4"])
def test_a_version_that_is_none_is_a_usage_error(tmp_path: Path, value: str) -> None:
    (tmp_path / "modellint.toml").write_text(f"torch-version = {value}\n")
    with pytest.raises(
        UsageError, match=r"^modellint.toml:1: `torch-version` must be a (string|version of torch such)"
    ):
        Configuration(tmp_path).for_folder(tmp_path)


# --- the table against the installed torch ----------------------------------------------------------------------------


def found(name: str) -> object:
    value: object = torch
    for part in name.split(".")[1:]:
        value = getattr(value, part, None)
    return value


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name, old in OLD_NAMES.items() if old.removed])
def test_a_removed_name_is_gone_or_refuses(name: str) -> None:
    function = found(name)
    if function is None:
        return
    assert callable(function)
    with pytest.raises(RuntimeError, match="removed"):
        function(torch.eye(2), torch.eye(2)) if name in ("torch.lstsq", "torch.solve") else function(torch.eye(2))


@pytest.mark.parametrize("name", [name for name, old in OLD_NAMES.items() if not old.removed])
def test_torch_itself_calls_a_name_deprecated(name: str) -> None:
    value = found(name)
    assert value is not None
    text = f"{inspect.getdoc(value)} {getattr(value, '__deprecated__', '')}"
    if name in ("torch.cuda.amp.GradScaler",):
        text = inspect.getsource(value)  # type: ignore[arg-type]
    assert "deprecated" in text.lower() or "renamed" in text


@pytest.mark.parametrize(("callee", "argument"), OLD_ARGUMENTS)
def test_old_arguments(callee: str, argument: str) -> None:
    function = found(callee)
    assert callable(function)
    if callee == "torch.nn.NLLLoss2d":
        function = torch.nn.NLLLoss  # takes any arguments and hands them on
    assert (argument in inspect.signature(function).parameters) is not OLD_ARGUMENTS[callee, argument].removed


@pytest.mark.parametrize("name", sorted({old.instead for old in (*OLD_NAMES.values(),)}))
def test_what_stands_in_its_place_exists(name: str) -> None:
    for alternative in name.replace(" and ", " or ").split(" or "):
        assert callable(found(alternative.partition("(")[0])), alternative


def test_the_name_that_was_imported_counts(program: Program) -> None:
    """`torch.cuda.amp.autocast` and `torch.amp.autocast` are one thing to all rules but this one."""
    facts = program.all(
        OldName,
        """
        from torch.cuda import amp
        from torch.amp import autocast
        with amp.autocast(), autocast("cuda"):
            pass
        """,
    )
    assert [fact.name for fact in facts] == ["torch.cuda.amp.autocast"]
