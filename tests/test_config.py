"""Configuration files, flags and the selection of rules."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modellint import catalog
from modellint.config import Configuration, Flags, Settings, UsageError
from modellint.facts.span import Span
from modellint.finding import Category, Certainty, Finding, Level
from modellint.rule import Rule


def _rule(name: str, category: Category) -> type[Rule]:
    """A rule class as if it stood in a module of that name."""
    module = f"modellint.rules.some.{name.replace('-', '_')}"
    return type(name, (Rule,), {"__module__": module, "category": category, "__doc__": "Wrong."})


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue of four known rules."""
    four = {
        "first-bug": Category.CORRECTNESS,
        "odd-thing": Category.SUSPICIOUS,
        "slow-thing": Category.PERFORMANCE,
        "true-but": Category.PEDANTIC,
    }
    found = {name: _rule(name, category) for name, category in four.items()}
    monkeypatch.setattr(catalog, "all_rules", lambda: found)


DEFAULT = {"first-bug", "odd-thing", "slow-thing"}


def settings(root: Path, text: str = "", flags: Flags | None = None, name: str = "modellint.toml") -> Settings:
    if text:
        (root / name).write_text(text)
    return Configuration(root, flags).for_folder(root)


def selected(root: Path, text: str = "", flags: Flags | None = None) -> set[str]:
    made = settings(root, text, flags)
    catalog.check_names(made)
    return {rule.name for rule in catalog.selected(made)}


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", DEFAULT),
        ("select = ['first-bug']", {"first-bug"}),
        ("select = ['suspicious', 'pedantic']", {"odd-thing", "true-but"}),
        ("select = ['ALL']", DEFAULT | {"true-but"}),
        ("select = ['ALL']\nignore = ['suspicious']", {"first-bug", "slow-thing", "true-but"}),
        ("select = []", set()),
        ("extend-select = ['true-but']", DEFAULT | {"true-but"}),
        ("extend-select = ['true-but']\nignore = ['pedantic', 'odd-thing']", {"first-bug", "slow-thing", "true-but"}),
        ("extend-select = ['true-but']\nignore = ['true-but']", DEFAULT),
        ("rules.first-bug = 'off'", {"odd-thing", "slow-thing"}),
        ("[rules]\ntrue-but = 'note'", DEFAULT | {"true-but"}),
        ("[rules.true-but]\nlevel = 'error'", DEFAULT | {"true-but"}),
        ("[rules.first-bug]\n", DEFAULT),
    ],
)
def test_selection_by_configuration(tmp_path: Path, text: str, expected: set[str]) -> None:
    assert selected(tmp_path, text) == expected


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (Flags(), {"odd-thing", "slow-thing"}),
        (Flags(select=("first-bug",)), {"first-bug"}),
        (Flags(extend_select=("first-bug", "true-but")), DEFAULT | {"true-but"}),
        (Flags(ignore=("performance",)), {"odd-thing"}),
        (Flags(select=("ALL",), ignore=("first-bug",)), {"odd-thing", "slow-thing", "true-but"}),
        (Flags(isolated=True), DEFAULT),
    ],
)
def test_flags_beat_the_configuration(tmp_path: Path, flags: Flags, expected: set[str]) -> None:
    assert selected(tmp_path, "ignore = ['first-bug']", flags) == expected


@pytest.mark.usefixtures("rules")
def test_level_of_a_rule(tmp_path: Path) -> None:
    made = settings(tmp_path, "[rules]\nodd-thing = 'error'\n")

    def level(rule: str, certainty: Certainty) -> Level:
        finding = Finding(rule, Category.SUSPICIOUS, Level.WARNING, certainty, "m", Span("x.py", 1, 1, 1, 2))
        return catalog.with_level(finding, made).level

    assert level("odd-thing", Certainty.CERTAIN) is Level.ERROR
    assert level("odd-thing", Certainty.LIKELY) is Level.WARNING
    assert level("first-bug", Certainty.CERTAIN) is Level.WARNING


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[project]\nname = "x"\n\n[tool.modellint]\nselect = ["ALL"]\nignroe = []\n',
            "pyproject.toml:6: unknown key `tool.modellint.ignroe`; did you mean `ignore`?",
        ),
        (
            "[tool.modellint]\nselect = ['frist-bug']\n",
            "pyproject.toml:2: unknown rule `frist-bug` in `tool.modellint.select`; did you mean `first-bug`?",
        ),
        (
            "[tool.modellint.rules]\nfirst-bug = 'warning'\nodd-thing = 'loud'\n",
            'pyproject.toml:3: `tool.modellint.rules.odd-thing` must be "off", "note", "warning" or "error"',
        ),
        (
            "[tool.modellint.rules.odd-thing]\nlevle = 'note'\n",
            "pyproject.toml:2: unknown key `tool.modellint.rules.odd-thing.levle`; did you mean `level`?",
        ),
        (
            "[tool.modellint]\nrules = { 'odd-thnig' = 'off' }\n",
            "pyproject.toml:2: unknown rule `odd-thnig` in `tool.modellint.rules`; did you mean `odd-thing`?",
        ),
        (
            "[tool.modellint.per-file-ignores]\n'tests/**' = ['odd-thing']\n'a b.py' = ['od-thing']\n",
            "pyproject.toml:3: unknown rule `od-thing` in `tool.modellint.per-file-ignores`; did you mean `odd-thing`?",
        ),
        ("[tool.modellint]\nselect = 'ALL'\n", "pyproject.toml:2: `tool.modellint.select` must be a list of strings"),
        (
            "[tool.modellint]\nfail-on = 'errors'\n",
            "pyproject.toml:2: `tool.modellint.fail-on`: unknown level `errors`; expected note, warning, error",
        ),
        ("[tool.modellint]\nselect = [1,,]\n", "pyproject.toml:2: not valid TOML: Invalid value"),
        ("[tool]\nmodellint = 3\n", "pyproject.toml: `tool.modellint` must be a table"),
        ("[tool.modellint]\nextend = 'b.toml'\n", "pyproject.toml:2: `tool.modellint.extend`: no such file: b.toml"),
    ],
)  # fmt: skip
def test_mistakes_name_their_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        catalog.check_names(Configuration(tmp_path).for_folder(tmp_path))
    assert str(caught.value) == message


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (Flags(select=("frist-bug",)), "unknown rule `frist-bug` in --select; did you mean `first-bug`?"),
        (Flags(ignore=("nonsense",)), "unknown rule `nonsense` in --ignore"),
        (Flags(per_file_ignores=("a.py",)), "--per-file-ignores a.py: expected PATTERN:NAME,NAME"),
        (Flags(fail_on="loud"), "--fail-on: unknown level `loud`; expected note, warning, error"),
        (Flags(config=("nope.toml",)), "no such configuration file: nope.toml"),
        (Flags(config=("ignroe=[]",)), "--config: unknown key `ignroe`; did you mean `ignore`?"),
    ],
)
def test_mistakes_in_flags(tmp_path: Path, flags: Flags, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        catalog.check_names(Configuration(tmp_path, flags).for_folder(tmp_path))
    assert str(caught.value) == message


@pytest.mark.usefixtures("rules")
def test_a_key_of_modellint_toml_has_no_prefix(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^modellint\.toml:1: unknown key `selcet`; did you mean `select`\?$"):
        settings(tmp_path, "selcet = []\n")


def test_the_nearest_file_holds_and_nothing_is_merged(tmp_path: Path) -> None:
    inner = tmp_path / "inner" / "deep"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.modellint]\nfail-on = 'note'\nignore = ['odd-thing']\n")
    (tmp_path / "inner" / "modellint.toml").write_text("fail-on = 'warning'\n")
    (inner / "pyproject.toml").write_text("[project]\nname = 'has no table of ours'\n")
    configuration = Configuration(tmp_path)
    assert configuration.for_folder(tmp_path).fail_on is Level.NOTE
    assert configuration.for_folder(inner).fail_on is Level.WARNING
    assert configuration.for_folder(inner).config.ignore == ()


def test_modellint_toml_beats_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.modellint]\nfail-on = 'note'\n")
    assert settings(tmp_path, "fail-on = 'warning'\n").fail_on is Level.WARNING


def test_user_level_file_counts_only_without_a_project_file(tmp_path: Path) -> None:
    user = Path(os.environ["HOME"]) / ".config" / "modellint" / "modellint.toml"
    user.parent.mkdir(parents=True)
    user.write_text("fail-on = 'note'\n")
    assert settings(tmp_path).fail_on is Level.NOTE
    assert settings(tmp_path, flags=Flags(isolated=True)).fail_on is Level.ERROR
    assert settings(tmp_path, "ignore = []\n").fail_on is Level.ERROR


def test_extend(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "base.toml").write_text(
        "fail-on = 'note'\nignore = ['first-bug']\nextend-exclude = ['gen']\nrules = {a = 'off', b = 'note'}\n"
    )
    made = settings(tmp_path, "extend = 'shared/base.toml'\nignore = []\n[rules]\nb = 'error'\n")
    assert made.fail_on is Level.NOTE
    assert made.config.ignore == ()
    assert made.config.levels == {"a": None, "b": Level.ERROR}
    assert made.excludes[-1].root == tmp_path / "shared"


def test_extend_cycle(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("extend = 'modellint.toml'\n")
    with pytest.raises(UsageError, match=r"^modellint\.toml: `extend` leads back to this file$"):
        settings(tmp_path, "extend = 'other.toml'\n")


def test_config_flag_names_a_file_or_a_value(tmp_path: Path) -> None:
    (tmp_path / "modellint.toml").write_text("fail-on = 'note'\n")
    (tmp_path / "other.toml").write_text("fail-on = 'warning'\n")
    assert settings(tmp_path, flags=Flags(config=("other.toml",))).fail_on is Level.WARNING
    assert settings(tmp_path, flags=Flags(config=("fail-on=error",))).fail_on is Level.ERROR
    two = settings(tmp_path, flags=Flags(config=("rules.a='off'", "rules.b = 'note'")))
    assert two.config.levels == {"a": None, "b": Level.NOTE}
    with pytest.raises(UsageError, match="names two files"):
        settings(tmp_path, flags=Flags(config=("other.toml", "modellint.toml")))


def test_output_format_by_flag_then_variable_then_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "output-format = 'json'\n"
    assert settings(tmp_path, text).output_format == "json"
    monkeypatch.setenv("MODELLINT_OUTPUT_FORMAT", "github")
    assert settings(tmp_path, text).output_format == "github"
    assert settings(tmp_path, text, Flags(output_format="sarif")).output_format == "sarif"


def test_the_shipped_catalogue_is_sound() -> None:
    found = catalog.all_rules()
    assert list(found) == sorted(found)
    for name, rule in found.items():
        assert rule.name == name
        assert rule.__module__.rpartition(".")[2] == name.replace("-", "_")
        assert name not in {"ALL", *(category.value for category in Category), *catalog.BUILT_IN}
