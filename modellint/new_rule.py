"""`python -m modellint.new_rule NAME --judges FACT`: the files of a new rule, for the one who writes it to fill.

It makes the rule's page, two fixtures and nothing else; the tests find them by their place and fail until the examples
say what is found. It works in a checkout, where `fixtures/` lies beside the package.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from modellint.catalog import BUILT_IN, all_rules
from modellint.config import UsageError, nearest
from modellint.finding import Category
from modellint.rule import HOOKS

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")

_RULE = '''"""{name}."""

from __future__ import annotations

from modellint.rule import Category, {fact}, Finding, Iterator, Rule


class {cls}(Rule):
    """Say in one line what is wrong.

    Say what is found, and what has to be known for that.

    Say what happens because of it, with a number where there is one.
    """

    category = Category.{category}
    bad = """
    import torch

    # the shortest program with the defect; the line ends in: # expect{colon} {name}
    """
    good = """
    import torch

    # the same program, mended
    """
    fine_when = ("Say when code that looks alike is right.",)
    references = ("docs.pytorch.org/docs/stable/",)

    def {hook}(self, fact: {fact}) -> Iterator[Finding]:
        # An UNKNOWN never fires. If the rule needs to know more, `{fact}` gets a new field.
        yield from ()
'''
_FIRES = '"""Code with the defect: through helpers, classes, other files, constructor arguments."""\n\nimport torch\n'
_SILENT = '"""Code that looks alike and is right: one case for each item of `fine_when`."""\n\nimport torch\n'


def create(root: Path, name: str, fact: str, topic: str, category: Category) -> list[Path]:
    """Write the files of a rule below `root` and return them.

    Raises UsageError when a name cannot be used; nothing is written then.
    """
    hooks = {kind.__name__: hook for kind, hook in HOOKS.items()}
    if fact not in hooks:
        raise UsageError(f"unknown fact `{fact}`{nearest(fact, hooks)} (known: {', '.join(sorted(hooks))})")
    if _NAME.fullmatch(name) is None:
        raise UsageError(f"`{name}` is no rule name: two words or more, lower case, joined by hyphens")
    if name in all_rules() or name in BUILT_IN:
        raise UsageError(f"there is a rule `{name}` already")
    rules = root / "modellint" / "rules"
    topics = sorted(path.name for path in rules.glob("[a-z]*") if (path / "__init__.py").is_file())
    if topic not in topics:
        raise UsageError(f"unknown topic `{topic}`{nearest(topic, topics)} (known: {', '.join(topics)})")
    module = name.replace("-", "_")
    page = _RULE.format(
        name=name,
        cls="".join(part.capitalize() for part in module.split("_")),
        fact=fact,
        hook=hooks[fact],
        category=category.name,
        colon=":",
    )
    cases = root / "fixtures" / "rules" / name
    files = {
        rules / topic / f"{module}.py": _sorted_import(page, fact),
        cases / "fires_plain.py": _FIRES,
        cases / "silent_plain.py": _SILENT,
    }
    for path in files:
        if path.exists():
            raise UsageError(f"{path} is there already")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(files)


def _sorted_import(page: str, fact: str) -> str:
    names = sorted(["Category", fact, "Finding", "Iterator", "Rule"])
    return page.replace(f"import Category, {fact}, Finding, Iterator, Rule", f"import {', '.join(names)}", 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m modellint.new_rule", description="Start a new rule.")
    parser.add_argument("name", metavar="NAME", help="the pitfall in a few words: missing-zero-grad")
    parser.add_argument("--judges", required=True, metavar="FACT", help="the fact it judges: LossUse")
    parser.add_argument("--topic", default="modules", help="the folder of modellint/rules (default: modules)")
    parser.add_argument(
        "--category",
        default="nursery",
        choices=[category.value for category in Category],
        help="nursery until it was tried on real repositories (the default)",
    )
    options = parser.parse_args(arguments)
    root = Path(__file__).resolve().parent.parent
    try:
        if not (root / "fixtures").is_dir():
            raise UsageError("a rule is written in a checkout of modellint: there is no fixtures/ beside the package")
        files = create(root, options.name, options.judges, options.topic, Category(options.category))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path in files:
        print(f"wrote {path.relative_to(root)}")
    print(
        f"next: fill them, add a test to a file tests/test_rules_on_*.py, and run\n  python -m pytest -k {options.name}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
