"""The invariants of the design: who imports whom, and what is imported at the start."""

from __future__ import annotations

import ast
import os
import re
import statistics
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "modellint"
MODULES = sorted(path.relative_to(ROOT) for path in PACKAGE.rglob("*.py"))
HEAVY = {"torch", "numpy", "lightning", "transformers", "libcst"}


def imports(path: Path) -> set[str]:
    """The dotted names that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def below(folder: str) -> list[Path]:
    found = [path for path in MODULES if path.as_posix().startswith(f"modellint/{folder}/")]
    assert found, folder
    return found


def outside(names: set[str], *allowed: str) -> set[str]:
    """The names of this package that none of the allowed prefixes covers."""
    own = {name for name in names if name.split(".")[0] == "modellint" and name != "modellint"}
    return {name for name in own if not any(name == prefix or name.startswith(prefix + ".") for prefix in allowed)}


def roots(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", below("facts"), ids=str)
def test_facts_are_plain_data(path: Path) -> None:
    names = imports(path)
    assert not outside(names, "modellint.facts")
    assert roots(names) - {"modellint"} <= sys.stdlib_module_names


@pytest.mark.parametrize("path", below("rules"), ids=str)
def test_rules_know_only_facts(path: Path) -> None:
    names = imports(path)
    assert not outside(names, "modellint.facts", "modellint.rule", "modellint.rules")
    assert roots(names) - {"modellint"} <= sys.stdlib_module_names - {"ast", "tokenize", "symtable"}


@pytest.mark.parametrize("path", below("source"), ids=str)
def test_readers_never_judge(path: Path) -> None:
    assert not outside(imports(path), "modellint.facts", "modellint.source")


@pytest.mark.parametrize("path", below("report"), ids=str)
def test_reports_read_no_code(path: Path) -> None:
    names = imports(path)
    allowed = ("modellint.facts", "modellint.report", "modellint.rule", "modellint.finding", "modellint.__version__")
    assert not outside(names, *allowed)
    assert not roots(names) & HEAVY


def test_only_readers_import_libcst_and_only_observers_torch() -> None:
    for path in MODULES:
        used = roots(imports(path)) & HEAVY
        side = path.parts[1]
        allowed = {"source": {"libcst"}, "runtime": HEAVY - {"libcst"}, "integrations": HEAVY - {"libcst"}}
        assert used <= allowed.get(side, set()), path


def test_only_the_command_line_imports_click() -> None:
    assert [path.as_posix() for path in MODULES if "click" in roots(imports(path))] == ["modellint/cli.py"]


def test_only_the_plugin_imports_pytest() -> None:
    assert [path.as_posix() for path in MODULES if "pytest" in roots(imports(path))] == ["modellint/pytest_plugin.py"]


def test_no_vague_names() -> None:
    for path in MODULES:
        parts = set(path.with_suffix("").parts)
        assert not parts & {"utils", "util", "common", "helpers", "base", "manager", "core", "misc"}, path


def loaded(code: str) -> set[str]:
    """The modules in sys.modules after some code ran in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = f"{code}\nimport sys; print('\\n' + '\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines())


def run_code(*args: str) -> str:
    """Code that runs the command line and goes on."""
    return f"import sys; sys.argv = ['modellint', *{list(args)!r}]\nfrom modellint.__main__ import main\n" + (
        "try: main()\nexcept SystemExit as end: assert end.code == 0, end.code"
    )


@pytest.mark.parametrize(
    "code",
    [
        "import modellint",
        "import modellint; modellint.Rule; modellint.Finding",
        "import modellint.cli",
        run_code("--version"),
        run_code("--help"),
        run_code("explain"),
        run_code("rules"),
        run_code("run", "--help"),
        "import modellint.pytest_plugin",
        "import modellint.testing, modellint.evidence, modellint.lint",
        "import modellint.runtime.script",
        "from modellint.catalog import all_rules; assert all_rules()",
        "from importlib import import_module\n"
        "from modellint.report import FORMATS\n"
        "for name in FORMATS.values(): import_module(name)",
    ],
)
def test_starts_without_heavy_imports(code: str) -> None:
    assert not loaded(code) & HEAVY


def test_reader_imports_no_framework() -> None:
    assert not loaded("import modellint.source.reader, modellint.lint") & (HEAVY - {"libcst"})


def test_version_imports_next_to_nothing() -> None:
    assert not loaded(run_code("--version")) & {"click", "importlib.metadata", "dataclasses", "ast", "pathlib"}


def test_a_check_of_one_file_leaves_the_rest_alone() -> None:
    code = run_code("fixtures/clean/gan.py", "--isolated", "--no-cache", "--jobs", "1", "-s")
    unused = {"importlib.metadata", "multiprocessing", "concurrent.futures", "logging", "email", "pathspec", "tempfile"}
    assert not loaded(code) & unused


def test_starting_is_quick() -> None:
    """`modellint --version` in at most five times `python -c pass`, measured in pairs."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def seconds(*args: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *args], env=environment, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - start

    seconds("-m", "modellint", "--version")  # compiles
    pairs = [seconds("-m", "modellint", "--version") / seconds("-c", "pass") for _ in range(9)]
    assert statistics.median(pairs) <= 5


def test_the_answer_reads_no_clock_and_no_random_number() -> None:
    for folder in ("facts", "rules", "source"):
        for path in below(folder):
            assert not imports(path) & {"time", "random", "datetime", "secrets", "uuid"}, path


def test_user_code_is_never_imported_or_executed() -> None:
    names = re.compile(r"\b(?:exec|eval|__import__|import_module|run_path|run_module|compile)\(")
    for folder in ("source", "rules", "facts"):
        for path in below(folder):
            for node in ast.walk(ast.parse((ROOT / path).read_bytes())):
                if isinstance(node, ast.Call):
                    call = ast.unparse(node.func)
                    assert not names.fullmatch(call + "("), f"{path}:{node.lineno}"


def test_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=]", entry)[0] for entry in project["dependencies"]}
    assert names <= {"click", "libcst", "pathspec"}
    assert not any("<" in entry for entry in project["dependencies"]), "an upper bound downgrades the user's own"
    used = set().union(*(roots(imports(path)) for path in MODULES)) - sys.stdlib_module_names - {"modellint"}
    # Torch is the user's own; pytest loads the plugin itself; distributed is asked for with --executor only.
    assert used <= names | {"torch", "pytest", "distributed"}, "what is imported is declared"


def test_ci_runs_what_the_readme_says() -> None:
    readme = (ROOT / "README.md").read_text()
    last = (ROOT / ".ci" / "run").read_text().splitlines()[-1]
    assert "pytest" in last
    assert f"\n{last}\n" in readme
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
