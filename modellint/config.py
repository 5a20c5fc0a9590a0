"""`[tool.modellint]` and the command line's options, as Settings.

The nearest `modellint.toml` or `pyproject.toml` with a `[tool.modellint]` table above a checked file holds for it;
files are not merged, except by `extend`. Paths and patterns are relative to the file that has them. An unknown key or
value is an error that names its line and the nearest key.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modellint.config_file import config_in, user_config
from modellint.finding import Level
from modellint.source.text import shown_path
from modellint.source.torch_version import from_text

DEFAULT_EXCLUDES = (
    ".venv", "venv", ".git", ".hg", ".tox", ".nox", "node_modules", "__pypackages__", "_build", "build", "dist",
    "buck-out", "site-packages", "wandb", "mlruns", "lightning_logs", ".ipynb_checkpoints", ".modellint_cache",
)  # fmt: skip

KEYS = (
    "select", "extend-select", "ignore", "per-file-ignores", "rules", "exclude", "extend-exclude", "fail-on",
    "output-format", "torch-version", "cache-dir", "extend",
)  # fmt: skip


CACHE_FOLDER = ".modellint_cache"


class UsageError(Exception):
    """A mistake in a flag, a path or the configuration: one line, exit code 2, nothing is checked."""


@dataclass(frozen=True, slots=True)
class NameUse:
    """A rule name or category that somebody wrote, kept so that an unknown one can be reported at its place."""

    name: str
    before: str
    """`pyproject.toml:14: `, empty for a flag."""
    after: str
    """` in --select`."""


@dataclass(frozen=True, slots=True)
class Patterns:
    """Gitignore-style patterns and the folder they are relative to."""

    root: Path
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PerFileIgnore:
    """Rules that are off in the files that match."""

    patterns: Patterns
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """One layer of rule selection."""

    select: tuple[str, ...] | None = None
    """None: the rules that are on by default, or those of the layer below."""
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    levels: Mapping[str, Level | None] = field(default_factory=dict)
    """`[tool.modellint.rules]`; None is `off`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for a checked file."""

    config: Selection = Selection()
    flags: Selection = Selection()
    per_file_ignores: tuple[PerFileIgnore, ...] = ()
    excludes: tuple[Patterns, ...] = ()
    fail_on: Level = Level.ERROR
    output_format: str = "full"
    torch_version: str | None = None
    """`2.4` or `>=2.1,<2.6`; None: what the project's requirements say."""
    cache_dir: Path | None = None
    """The folder for results of earlier runs; None: the default."""
    names: tuple[NameUse, ...] = ()
    origin: Path | None = None
    """The configuration file it comes from."""


@dataclass(frozen=True, slots=True)
class Flags:
    """The options of a command line that beat the configuration; None where not given."""

    select: tuple[str, ...] | None = None
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_file_ignores: tuple[str, ...] = ()
    """`PATTERN:NAME,NAME` each."""
    exclude: tuple[str, ...] | None = None
    extend_exclude: tuple[str, ...] = ()
    fail_on: str | None = None
    output_format: str | None = None
    cache_dir: str | None = None
    config: tuple[str, ...] = ()
    """Configuration files, or `KEY=VALUE`."""
    isolated: bool = False


class Configuration:
    """Finds and keeps the settings of every file of a run."""

    def __init__(self, cwd: Path, flags: Flags | None = None, *, settings: Settings | None = None) -> None:
        """With `settings` these hold for every file and no configuration file is read."""
        self.cwd = cwd
        self._flags = flags or Flags()
        self._fixed: Settings | None = settings
        self._by_folder: dict[Path, Settings] = {}
        self._by_config: dict[Path | None, Settings] = {}
        self._found: dict[Path, Path | None] = {}
        self._overrides: dict[str, Any] = {}
        self._forced: Path | None = None
        if settings is None:
            self._read_config_flags()

    def for_file(self, file: Path) -> Settings:
        """The settings of one file."""
        return self.for_folder(file.parent)

    def for_folder(self, folder: Path) -> Settings:
        """The settings of the files that lie directly in a folder."""
        if self._fixed is not None:
            return self._fixed
        known = self._by_folder.get(folder)
        if known is None:
            known = self._by_folder[folder] = self._load(self._config_of(folder))
        return known

    def _config_of(self, folder: Path) -> Path | None:
        """The configuration file that holds in a folder."""
        if self._forced is not None:
            return self._forced
        if self._flags.isolated:
            return None
        if folder not in self._found:
            # Asked folder by folder, so that a deep tree does not look at the folders above it again and again.
            own = config_in(str(folder))
            if own is None and folder.parent != folder:
                self._found[folder] = self._config_of(folder.parent)
            else:
                found = own if own is not None else user_config()
                self._found[folder] = Path(found) if found is not None else None
        return self._found[folder]

    def _load(self, config: Path | None) -> Settings:
        known = self._by_config.get(config)
        if known is None:
            known = self._by_config[config] = self._build(config)
        return known

    def _read_config_flags(self) -> None:
        for entry in self._flags.config:
            key, equals, value = entry.partition("=")
            if equals and key.strip() and not os.path.isfile(self.cwd / entry):
                try:
                    parsed = tomllib.loads(f"{key}={value}")
                except tomllib.TOMLDecodeError:
                    try:
                        parsed = tomllib.loads(f"{key}={_quoted(value.strip())}")
                    except tomllib.TOMLDecodeError as error:
                        raise UsageError(f"--config {entry}: {_toml_message(error)}") from None
                for name, part in parsed.items():
                    known = self._overrides.get(name)
                    merge = isinstance(known, dict) and isinstance(part, dict)
                    self._overrides[name] = {**known, **part} if merge else part  # type: ignore[dict-item]
                continue
            if self._forced is not None:
                raise UsageError("--config names two files; one configuration file holds for a run")
            self._forced = Path(os.path.abspath(self.cwd / entry))
            if not os.path.isfile(self._forced):
                raise UsageError(f"no such configuration file: {entry}")

    def _build(self, config: Path | None) -> Settings:
        settings = Settings(excludes=(Patterns(self.cwd, DEFAULT_EXCLUDES),), origin=config)
        if config is not None:
            for source in _chain(config, self.cwd):
                settings = source.applied_to(settings)
        if self._overrides:
            source = _Source(self.cwd / "modellint.toml", "--config", (), self._overrides, "")
            settings = source.applied_to(settings)
        return self._with_flags(settings)

    def _with_flags(self, settings: Settings) -> Settings:
        flags = self._flags
        names = list(settings.names)
        for option, given in (
            ("--select", flags.select or ()),
            ("--extend-select", flags.extend_select),
            ("--ignore", flags.ignore),
        ):
            names += [NameUse(name, "", f" in {option}") for name in given]
        per_file = list(settings.per_file_ignores)
        for entry in flags.per_file_ignores:
            pattern, colon, rules = entry.rpartition(":")
            given = tuple(name.strip() for name in rules.split(",") if name.strip())
            if not colon or not pattern or not given:
                raise UsageError(f"--per-file-ignores {entry}: expected PATTERN:NAME,NAME")
            per_file.append(PerFileIgnore(Patterns(self.cwd, (pattern,)), given))
            names += [NameUse(name, "", " in --per-file-ignores") for name in given]
        excludes = settings.excludes
        if flags.exclude is not None:
            excludes = (Patterns(self.cwd, flags.exclude),)
        if flags.extend_exclude:
            excludes = (*excludes, Patterns(self.cwd, flags.extend_exclude))
        output_format = flags.output_format or os.environ.get("MODELLINT_OUTPUT_FORMAT") or settings.output_format
        return replace(
            settings,
            flags=Selection(flags.select, flags.extend_select, flags.ignore),
            per_file_ignores=tuple(per_file),
            excludes=excludes,
            fail_on=_level(flags.fail_on, "--fail-on: ") if flags.fail_on else settings.fail_on,
            output_format=output_format,
            cache_dir=self._cache_dir(settings),
            names=tuple(names),
        )

    def _cache_dir(self, settings: Settings) -> Path:
        """As a flag, the environment or the configuration says; else beside the configuration, or here."""
        given = self._flags.cache_dir or os.environ.get("MODELLINT_CACHE_DIR")
        if given:
            return Path(os.path.abspath(self.cwd / given))
        if settings.cache_dir is not None:
            return settings.cache_dir
        home = settings.origin.parent if settings.origin is not None else self.cwd
        return (home if self.cwd.is_relative_to(home) else self.cwd) / CACHE_FOLDER


def nearest(name: str, known: Collection[str]) -> str:
    """`; did you mean `x`?` for a name that is close to a known one, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean `{close[0]}`?" if close else ""


@dataclass(frozen=True, slots=True)
class _Source:
    """One configuration file, checked and turned into settings."""

    file: Path
    shown: str
    table: tuple[str, ...]
    """`("tool", "modellint")` in a pyproject.toml."""
    values: Mapping[str, Any]
    text: str

    def applied_to(self, below: Settings) -> Settings:
        """The settings below with what this file says on top."""
        for key in self.values:
            if key not in KEYS:
                raise UsageError(f"{self.at(key)}unknown key `{self.dotted(key)}`{nearest(key, KEYS)}")
        config, names = below.config, list(below.names)
        if "select" in self.values:
            config = replace(config, select=self._names("select", names))
        if "extend-select" in self.values:
            config = replace(config, extend_select=self._names("extend-select", names))
        if "ignore" in self.values:
            config = replace(config, ignore=self._names("ignore", names))
        if "rules" in self.values:
            config = replace(config, levels={**config.levels, **self._levels(names)})
        excludes = below.excludes
        if "exclude" in self.values:
            excludes = (Patterns(self.file.parent, self._strings("exclude")),)
        if "extend-exclude" in self.values:
            excludes = (*excludes, Patterns(self.file.parent, self._strings("extend-exclude")))
        per_file = below.per_file_ignores
        if "per-file-ignores" in self.values:
            per_file = self._per_file(names)
        fail_on, output_format = below.fail_on, below.output_format
        if "fail-on" in self.values:
            fail_on = _level(self._string("fail-on"), f"{self.at('fail-on')}`{self.dotted('fail-on')}`: ")
        if "output-format" in self.values:
            output_format = self._string("output-format")
        torch_version = below.torch_version
        if "torch-version" in self.values:
            torch_version = self._string("torch-version")
            if from_text(torch_version) is None:
                raise self._wrong('a version of torch such as "2.4" or ">=2.1,<2.6"', "torch-version")
        cache_dir = below.cache_dir
        if "cache-dir" in self.values:
            cache_dir = Path(os.path.abspath(self.file.parent / self._string("cache-dir")))
        return replace(
            below,
            config=config,
            excludes=excludes,
            per_file_ignores=per_file,
            fail_on=fail_on,
            output_format=output_format,
            torch_version=torch_version,
            cache_dir=cache_dir,
            names=tuple(names),
        )

    def at(self, *keys: str) -> str:
        """`pyproject.toml:14: ` for a key."""
        line = _line_of(self.text, (*self.table, *keys))
        return f"{self.shown}:{line}: " if line else f"{self.shown}: "

    def dotted(self, *keys: str) -> str:
        """The full name of a key."""
        return ".".join((*self.table, *keys))

    def _wrong(self, expected: str, *keys: str) -> UsageError:
        return UsageError(f"{self.at(*keys)}`{self.dotted(*keys)}` must be {expected}")

    def _string(self, key: str) -> str:
        value = self.values[key]
        if not isinstance(value, str):
            raise self._wrong("a string", key)
        return value

    def _strings(self, *keys: str) -> tuple[str, ...]:
        value: Any = self.values
        for key in keys:
            value = value[key]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong("a list of strings", *keys)
        return tuple(value)

    def _names(self, key: str, names: list[NameUse]) -> tuple[str, ...]:
        given = self._strings(key)
        names += [NameUse(name, self.at(key), f" in `{self.dotted(key)}`") for name in given]
        return given

    def _levels(self, names: list[NameUse]) -> dict[str, Level | None]:
        table = self.values["rules"]
        if not isinstance(table, dict):
            raise self._wrong("a table", "rules")
        levels: dict[str, Level | None] = {}
        for name, value in table.items():
            names.append(NameUse(name, self.at("rules", name), f" in `{self.dotted('rules')}`"))
            keys: tuple[str, ...] = ("rules", name)
            if isinstance(value, dict):
                for option in value:
                    if option != "level":
                        raise UsageError(
                            f"{self.at(*keys, option)}unknown key `{self.dotted(*keys, option)}`"
                            f"{nearest(option, ['level'])}"
                        )
                if "level" not in value:
                    continue
                keys = (*keys, "level")
                value = value["level"]
            if value == "off":
                levels[name] = None
            elif isinstance(value, str) and value in {level.value for level in Level}:
                levels[name] = Level(value)
            else:
                raise self._wrong('"off", "note", "warning" or "error"', *keys)
        return levels

    def _per_file(self, names: list[NameUse]) -> tuple[PerFileIgnore, ...]:
        table = self.values["per-file-ignores"]
        if not isinstance(table, dict):
            raise self._wrong("a table of patterns", "per-file-ignores")
        ignores = []
        for pattern in table:
            given = self._strings("per-file-ignores", pattern)
            place = self.at("per-file-ignores", pattern)
            names += [NameUse(name, place, f" in `{self.dotted('per-file-ignores')}`") for name in given]
            ignores.append(PerFileIgnore(Patterns(self.file.parent, (pattern,)), given))
        return tuple(ignores)


def _chain(config: Path, cwd: Path) -> list[_Source]:
    """A configuration file and what it extends, the furthest base first."""
    chain: list[_Source] = []
    seen: list[Path] = []
    file = config
    while True:
        shown = shown_path(file, cwd)
        if file in seen:
            raise UsageError(f"{shown}: `extend` leads back to this file")
        seen.append(file)
        source = _read(file, shown)
        chain.insert(0, source)
        extend = source.values.get("extend")
        if extend is None:
            return chain
        if not isinstance(extend, str):
            raise UsageError(f"{source.at('extend')}`{source.dotted('extend')}` must be a string")
        file = Path(os.path.abspath(file.parent / os.path.expanduser(extend)))
        if not os.path.isfile(file):
            raise UsageError(f"{source.at('extend')}`{source.dotted('extend')}`: no such file: {extend}")


def _read(file: Path, shown: str) -> _Source:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{shown}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{shown}: not UTF-8") from None
    try:
        values: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = f"{place.group(1)}: " if place else " "
        raise UsageError(f"{shown}:{line}not valid TOML: {_toml_message(error)}") from None
    except RecursionError:
        raise UsageError(f"{shown}: not valid TOML: nested too deeply") from None
    table: tuple[str, ...] = ()
    if file.name == "pyproject.toml":
        table = ("tool", "modellint")
        for key in table:
            values = values.get(key, {})
            if not isinstance(values, dict):
                raise UsageError(f"{shown}: `{'.'.join(table)}` must be a table")
    return _Source(file, shown, table, values, text)


def _toml_message(error: tomllib.TOMLDecodeError) -> str:
    return re.sub(r" \(at .*\)$", "", str(error))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _level(text: str, before: str) -> Level:
    levels = [level.value for level in Level]
    if text not in levels:
        raise UsageError(f"{before}unknown level `{text}`; expected {', '.join(levels)}")
    return Level(text)


def _line_of(text: str, wanted: Sequence[str]) -> int | None:
    """The line of a key in a TOML text, by its full path; of the nearest key around it inside an inline table.

    tomllib gives no positions, and reading headers and key names alone is enough to find a key that is known to be
    there.
    """
    table: tuple[str, ...] = ()
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\[?([^\[\]]+)\]\]?\s*(?:#.*)?$", line)
        path: Iterable[str] | None = None
        if header:
            path = _dotted_path(header.group(1))
            if path is not None:
                table = tuple(path)
        else:
            key = re.match(r"\s*((?:[A-Za-z0-9_.\- ]|\"[^\"]*\"|'[^']*')+?)\s*=", line)
            inner = _dotted_path(key.group(1)) if key else None
            path = (*table, *inner) if inner is not None else None
        if path is None:
            continue
        path = tuple(path)
        if path == tuple(wanted[: len(path)]) and (best is None or len(path) > best[0]):
            best = (len(path), number)
    return best[1] if best else None


def _dotted_path(text: str) -> tuple[str, ...] | None:
    """The parts of a TOML key: `a."b c"` has two."""
    try:
        value: Any = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:
        return None
    parts = []
    while isinstance(value, dict):
        ((part, value),) = value.items()
        parts.append(part)
    return tuple(parts)
