"""Finds the rules and selects those that a file's settings ask for.

Rules are found by walking `modellint.rules` (one Rule subclass a module) and the entry points of the group
`modellint.rules`; there is no list to keep.
"""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.machinery import PathFinder

from modellint import rules as rules_package
from modellint.config import PerFileIgnore, Selection, Settings, UsageError, nearest
from modellint.finding import Category, Certainty, Finding
from modellint.rule import Rule

ENTRY_POINTS = "modellint.rules"

UNUSED_IGNORE = "unused-ignore"

BUILT_IN: Mapping[str, str] = {
    UNUSED_IGNORE: (
        "warning: an ignore comment that silences nothing, or that names no rule.\n"
        "The code was mended, or the comment stands where it does not count: it is honoured on the first and the last\n"
        "line of a statement and on the line above it. Delete the comment."
    ),
    "syntax-error": "error: a file that Python refuses to parse, in Python's own words. No selection removes it.",
    "unreadable-file": (
        "error: a file that cannot be opened, that is larger than a program (10 MB), or whose bytes are not text in\n"
        "the encoding that Python expects.\n"
        "Save it as UTF-8, or declare its encoding in the first line: # -*- coding: gbk -*-. No selection removes it."
    ),
    "too-deep": "error: a file nested more deeply than Python's parser allows. No selection removes it.",
}
"""What can stand in a finding without a rule class behind it."""

_CATEGORIES = tuple(category.value for category in Category)


@functools.cache
def all_rules() -> Mapping[str, type[Rule]]:
    """Every rule by its name, sorted."""
    found: dict[str, type[Rule]] = {}
    for rule in (*_own_rules(), *_foreign_rules()):
        known = found.setdefault(rule.name, rule)
        if known is not rule:
            raise UsageError(f"two rules are named `{rule.name}`: in {known.__module__} and in {rule.__module__}")
    return dict(sorted(found.items()))


def check_names(settings: Settings) -> None:
    """Raise UsageError for a name in flags or configuration that is no rule, no category and not ALL."""
    for use in settings.names:
        _check(use.name, use.before, use.after)


def rule_named(name: str) -> type[Rule]:
    """One rule by its name."""
    _check(name, "", "", categories=False)
    return all_rules()[name]


def selected(settings: Settings) -> list[Rule]:
    """Instances of the rules that these settings select, in the order of their names."""
    enabled = enabled_names(settings)
    return [rule() for name, rule in all_rules().items() if name in enabled]


def enabled_names(settings: Settings) -> frozenset[str]:
    """The names of the rules that these settings select, `unused-ignore` included."""
    enabled = {name for name, rule in all_rules().items() if rule.category.default_on} | {UNUSED_IGNORE}
    config, flags = settings.config, settings.flags
    if flags.select is None:
        enabled = _apply(config, enabled)
    return frozenset(_apply(flags, enabled))


def ignored_names(ignores: Iterable[PerFileIgnore]) -> frozenset[str]:
    """The rules that the matching per-file ignores take out."""
    names: set[str] = set()
    for ignore in ignores:
        names |= _expand(ignore.names)
    return frozenset(names)


def named(entries: Iterable[str]) -> frozenset[str]:
    """The rules that names, categories and ALL stand for."""
    return frozenset(_expand(entries))


def with_level(finding: Finding, settings: Settings) -> Finding:
    """The finding at the level that `[tool.modellint.rules]` gives its rule."""
    level = settings.config.levels.get(finding.rule)
    if level is None:
        return finding
    if finding.certainty is Certainty.LIKELY:
        level = level.lowered()
    return replace(finding, level=level)


def _apply(layer: Selection, enabled: set[str]) -> set[str]:
    """One layer on top of what is enabled below it.

    What is named beats what only its category says: `ignore = ["pedantic"]` leaves a pedantic rule that `select` names.
    """
    if layer.select is not None:
        enabled = _expand(layer.select)
    enabled = enabled | _expand(layer.extend_select)
    enabled |= {name for name, level in layer.levels.items() if level is not None}
    named = {*(layer.select or ()), *layer.extend_select}
    for entry in layer.ignore:
        broad = entry == "ALL" or entry in _CATEGORIES
        enabled -= _expand((entry,)) - named if broad else {entry}
    return enabled - {name for name, level in layer.levels.items() if level is None}


def _expand(entries: Iterable[str]) -> set[str]:
    """Names, categories and ALL as names."""
    names: set[str] = set()
    for entry in entries:
        if entry == "ALL":
            names |= {*all_rules(), UNUSED_IGNORE}
        elif entry in _CATEGORIES:
            names |= {name for name, rule in all_rules().items() if rule.category.value == entry}
            if entry == Category.SUSPICIOUS.value:
                names.add(UNUSED_IGNORE)
        else:
            names.add(entry)
    return names


def _check(name: str, before: str, after: str, *, categories: bool = True) -> None:
    known = [*all_rules(), *((UNUSED_IGNORE, *_CATEGORIES, "ALL") if categories else ())]
    if name not in known:
        raise UsageError(f"{before}unknown rule `{name}`{after}{nearest(name, known)}")


def _own_rules() -> Iterable[type[Rule]]:
    """The Rule subclass of every module below `modellint.rules`."""
    for module in pkgutil.walk_packages(rules_package.__path__, rules_package.__name__ + "."):
        if module.ispkg or module.name.rpartition(".")[2].startswith("_"):
            continue  # a name with an underscore is what rules of one topic share
        loaded = importlib.import_module(module.name)
        for value in vars(loaded).values():
            if isinstance(value, type) and issubclass(value, Rule) and value.__module__ == module.name:
                yield value


def _foreign_rules() -> Iterable[type[Rule]]:
    """The rules that other installed packages offer."""
    if not _somebody_offers():
        return
    import importlib.metadata

    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            rule = entry.load()
        except Exception as error:  # whatever a foreign module does at import
            message = f"cannot load the rule `{entry.name}` ({entry.value}): {type(error).__name__}: {error}"
            raise UsageError(message) from None
        if not (isinstance(rule, type) and issubclass(rule, Rule)):
            raise UsageError(f"the entry point `{entry.name}` ({entry.value}) is not a Rule subclass")
        yield rule


def _somebody_offers() -> bool:
    """Whether the metadata of some installed package names the group of entry points.

    Nearly always none does, and `importlib.metadata` takes as long to import as all the rules.
    """
    if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
        return True  # packages that lie somewhere else
    group = ENTRY_POINTS.encode()
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except NotADirectoryError:
            return True  # an archive
        except OSError:
            continue
        for name in names:
            if name.lower().rpartition(".")[2] in ("dist-info", "egg-info"):
                try:
                    with open(os.path.join(folder, name, "entry_points.txt"), "rb") as file:
                        if group in file.read():
                            return True
                except OSError:
                    continue
    return False
