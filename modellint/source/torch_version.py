"""Reads which torch a project declares: requirements, pyproject.toml, setup.cfg, environment.yml, lock files.

Every file narrows what the others allow, as all of them must hold for an environment; within one file several lines
(for several platforms) widen it. Build suffixes (`2.3.0+cu121`) and patch numbers are left out: behaviour changes with
minor versions. Nothing is executed: a requirement computed in setup.py is not seen.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from modellint.facts.torch_version import TorchVersions, Version

_NAMES = ("torch", "pytorch", "pytorch-gpu", "pytorch-cpu")
_REQUIREMENT = re.compile(r"^\s*-?\s*[\"']?(?:[\w.-]+::)?([A-Za-z][\w.-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;#\"'@)]*)")
_CLAUSE = re.compile(r"(===|==|~=|>=|<=|!=|>|<|\^|~|=)\s*v?(\d+)(?:\.(\d+|\*))?([\w.+*-]*)")
_SIZE_LIMIT = 4_000_000

Bounds = tuple[Version | None, Version | None]
"""The oldest allowed version and the first that is too new."""


def from_text(text: str) -> Bounds | None:
    """The bounds of `>=2.1,<2.6`, `==2.3.*`, `2.4`, `^2.1`; None when it names no version."""
    if re.fullmatch(r"\s*v?\d+(\.\d+)?(\.[\w.+*]+)?\s*", text):
        text = f"=={text.strip()}"
    low: Version | None = None
    high: Version | None = None
    clauses = list(_CLAUSE.finditer(text))
    for clause in clauses:
        operator, major, minor, rest = clause.groups()
        whole = minor is None or minor == "*"
        version = (int(major), 0 if whole else int(minor))
        following = (version[0] + 1, 0) if whole else (version[0], version[1] + 1)
        if operator in ("==", "===", "="):
            low, high = _later(low, version), _earlier(high, following)
        elif operator in (">=", ">"):
            low = _later(low, version)
        elif operator in ("~=", "^", "~"):
            low = _later(low, version)
            patch = operator == "~" or (operator == "~=" and re.match(r"\.\d", rest) is not None)
            high = _earlier(high, following if patch else (version[0] + 1, 0))
        elif operator == "<":
            # `<2.6.1` still allows 2.6.
            high = _earlier(high, following if re.match(r"\.0*[1-9]", rest) else version)
        elif operator == "<=":
            high = _earlier(high, following)
    return (low, high) if low is not None or high is not None else None


def declared(root: Path) -> TorchVersions | None:
    """What the files of a project's root say together; None when none of them names a version of torch."""
    low: Version | None = None
    high: Version | None = None
    sources: list[str] = []
    for name, requirements in _requirements(root):
        bounds = [from_text(text) for text in requirements]
        if not bounds or any(bound is None for bound in bounds):
            continue  # one line allows every version
        known = [bound for bound in bounds if bound is not None]
        lows, highs = [bound[0] for bound in known], [bound[1] for bound in known]
        sources.append(name)
        if None not in lows:
            low = _later(low, min(version for version in lows if version is not None))
        if None not in highs:
            high = _earlier(high, max(version for version in highs if version is not None))
    if (low is None and high is None) or (low is not None and high is not None and low >= high):
        return None
    return TorchVersions(low, high, " and ".join(sources))


def _later(one: Version | None, other: Version) -> Version:
    return other if one is None else max(one, other)


def _earlier(one: Version | None, other: Version) -> Version:
    return other if one is None else min(one, other)


def _requirements(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Each file of the project with the version parts of its requirements of torch."""
    for name in ("requirements.txt", "requirements/base.txt"):  # others are for documentation, tests, one platform
        yield name, list(_of_lines(_text(root / name).splitlines()))
    yield "pyproject.toml", list(_of_pyproject(_toml(root / "pyproject.toml")))
    yield "setup.cfg", list(_of_lines(_setup_cfg(root / "setup.cfg")))
    for name in ("environment.yml", "environment.yaml"):
        yield name, list(_of_lines(_text(root / name).splitlines()))
    for name in ("poetry.lock", "uv.lock", "pdm.lock"):
        packages = _toml(root / name).get("package")
        found = [p for p in packages if isinstance(p, dict)] if isinstance(packages, list) else []
        yield name, [f"=={p['version']}" for p in found if p.get("name") == "torch" and "version" in p]


def _of_lines(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match is not None and match[1].lower() in _NAMES:
            yield match[2]


def _of_pyproject(document: dict[str, Any]) -> Iterator[str]:
    project = document.get("project")
    listed: list[object] = []
    if isinstance(project, dict):
        dependencies = project.get("dependencies")
        listed += dependencies if isinstance(dependencies, list) else []
        optional = project.get("optional-dependencies")
        for group in optional.values() if isinstance(optional, dict) else ():
            listed += group if isinstance(group, list) else []
    yield from _of_lines(item for item in listed if isinstance(item, str))
    poetry = document.get("tool", {})
    poetry = poetry.get("poetry") if isinstance(poetry, dict) else None
    dependencies = poetry.get("dependencies") if isinstance(poetry, dict) else None
    wanted = dependencies.get("torch") if isinstance(dependencies, dict) else None
    for item in wanted if isinstance(wanted, list) else [wanted]:
        text = item.get("version") if isinstance(item, dict) else item
        if isinstance(text, str):
            yield text


def _setup_cfg(path: Path) -> list[str]:
    import configparser  # late: few projects have a setup.cfg with requirements

    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(_text(path))
    except configparser.Error:
        return []
    return parser.get("options", "install_requires", fallback="").splitlines()


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def _text(path: Path) -> str:
    """The text of a file; empty when it is none, is no ordinary file, or is no requirements file by its size."""
    try:
        if not os.path.isfile(path) or path.stat().st_size > _SIZE_LIMIT:
            return ""
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
