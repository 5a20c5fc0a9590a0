"""The page of a rule, and the table of all rules, made from what the rules' classes say of themselves."""

from __future__ import annotations

import inspect
import json
import re
import sys
import textwrap
from collections.abc import Sequence

from modellint.report.cells import visible
from modellint.rule import HOOKS, Rule

FORMATS = ("text", "markdown", "json")
_WIDTH = 120
_NAME_WIDTH = 51
_TITLE_WIDTH = 18
_MARKER = re.compile(r"[ \t]*# expect(?:-missed|-false)?:.*$", re.MULTILINE)


def page(rule: type[Rule], format: str = "text") -> str:
    """Everything a user can read about a rule, as `text`, `markdown` or `json`."""
    if format == "json":
        return json.dumps(_fields(rule), indent=2) + "\n"
    if format == "markdown":
        return _markdown(rule)
    if format == "text":
        return _text(rule)
    raise ValueError(f"a rule page has no format {format}")


def rule_table(rules: Sequence[type[Rule]], format: str = "text") -> str:
    """Name, category, level, sides, fix and since of every rule, as `text`, `markdown` or `json`."""
    if format == "json":
        return json.dumps([_metadata(rule) for rule in rules], indent=2) + "\n"
    titles = ("name", "category", "level", "sides", "fix", "since")
    rows = [
        (rule.name, rule.category.value, _level(rule), ", ".join(rule.sides), rule.fix_level, rule.since)
        for rule in rules
    ]
    if format == "markdown":
        lines = [" | ".join(titles), " | ".join("---" for _ in titles), *(" | ".join(row) for row in rows)]
        return "".join(f"| {line} |\n" for line in lines)
    if format == "text":
        widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
        padded = [[f"{cell:{size}}" for cell, size in zip(row, widths, strict=True)] for row in (titles, *rows)]
        return "".join("  ".join(row).rstrip() + "\n" for row in padded)
    raise ValueError(f"the rule table has no format {format}")


def summary(rule: type[Rule]) -> str:
    """The first line of the docstring: what is wrong."""
    return _paragraphs(rule)[0]


def facts(rule: type[Rule]) -> list[type]:
    """The facts that the rule judges: those whose hooks it overrides."""
    return [fact for fact, hook in HOOKS.items() if getattr(rule, hook) is not getattr(Rule, hook)]


def example(code: str) -> str:
    """`bad` or `good` of a rule without the markers of its tests."""
    return _MARKER.sub("", textwrap.dedent(code)).strip("\n").rstrip()


def _paragraphs(rule: type[Rule]) -> list[str]:
    """The docstring in paragraphs, each on one line; never empty."""
    text = inspect.cleandoc(rule.__doc__ or "")
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
    return [part for part in paragraphs if part] or [rule.name.replace("-", " ")]


def _explained(rule: type[Rule]) -> tuple[list[str], list[str]]:
    """What it finds and why it matters: a page with one paragraph after its first line has only the second."""
    rest = _paragraphs(rule)[1:]
    return ([], rest) if len(rest) < 2 else (rest[:1], rest[1:])


def _seen(rule: type[Rule]) -> str:
    """`source, runtime: LossUse (a use of a loss, and what reaches it)`."""
    parts = []
    for fact in facts(rule):
        first = (sys.modules[fact.__module__].__doc__ or "").strip().partition("\n")[0].rstrip(".")
        parts.append(f"{fact.__name__} ({first[:1].lower()}{first[1:]})" if first else fact.__name__)
    return f"{', '.join(rule.sides)}: {'; '.join(parts)}" if parts else ""


def _silence(rule: type[Rule]) -> str:
    return f"# modellint: ignore[{rule.name}] reason"


def _level(rule: type[Rule]) -> str:
    return rule.category.level.value if rule.category.default_on else f"{rule.category.level.value}, off"


def _meta(rule: type[Rule]) -> str:
    return f"{_level(rule)}, {rule.category.value}, since {rule.since}, fix: {rule.fix_level}"


def _metadata(rule: type[Rule]) -> dict[str, object]:
    return {
        "name": rule.name,
        "summary": summary(rule),
        "category": rule.category.value,
        "level": rule.category.level.value,
        "default": rule.category.default_on,
        "sides": list(rule.sides),
        "fix": rule.fix_level,
        "since": rule.since,
    }


def _fields(rule: type[Rule]) -> dict[str, object]:
    finds, matters = _explained(rule)
    return _metadata(rule) | {
        "finds": "\n\n".join(finds),
        "matters": "\n\n".join(matters),
        "example": example(rule.bad),
        "use_instead": example(rule.good),
        "fine_when": list(rule.fine_when),
        "facts": [fact.__name__ for fact in facts(rule)],
        "silence": _silence(rule),
        "references": list(rule.references),
    }


def _text(rule: type[Rule]) -> str:
    finds, matters = _explained(rule)
    head = f"{rule.name:{_NAME_WIDTH}}"
    lines = [f"{head if head.endswith('  ') else head.rstrip() + '  '}{_meta(rule)}"]
    lines += textwrap.wrap(visible(summary(rule)), _WIDTH)
    sections: list[tuple[str, list[str]]] = [
        ("What it finds", _wrapped(finds)),
        ("Why it matters", _wrapped(matters)),
        ("Example", example(rule.bad).split("\n")),
        ("Use instead", example(rule.good).split("\n")),
        ("When it is fine", _wrapped(rule.fine_when)),
        ("How it is seen", _wrapped([_seen(rule)])),
        ("Silence", [_silence(rule)]),
        ("References", list(rule.references)),
    ]
    for title, texts in sections:
        shown = [visible(text) for text in texts]
        if any(shown):
            lines.append(f"{title:{_TITLE_WIDTH}}{shown[0]}".rstrip())
            lines += (f"{'':{_TITLE_WIDTH}}{text}".rstrip() for text in shown[1:])
    return "".join(f"{line}\n" for line in lines)


def _wrapped(paragraphs: Sequence[str]) -> list[str]:
    return [line for text in paragraphs for line in textwrap.wrap(text, _WIDTH - _TITLE_WIDTH)]


def _markdown(rule: type[Rule]) -> str:
    finds, matters = _explained(rule)
    parts = [f"# {rule.name}", _meta(rule), summary(rule)]
    sections = [
        ("What it finds", "\n\n".join(finds)),
        ("Why it matters", "\n\n".join(matters)),
        ("Example", _fenced(example(rule.bad))),
        ("Use instead", _fenced(example(rule.good))),
        ("When it is fine", "\n".join(f"- {text}" for text in rule.fine_when)),
        ("How it is seen", _seen(rule)),
        ("Silence", _fenced(_silence(rule))),
        ("References", "\n".join(f"- <https://{_without_scheme(text)}>" for text in rule.references)),
    ]
    parts += (f"## {title}\n\n{text}" for title, text in sections if text)
    return "\n\n".join(parts) + "\n"


def _fenced(code: str) -> str:
    return f"```python\n{code}\n```"


def _without_scheme(address: str) -> str:
    return address.removeprefix("https://")
