"""Every rule's own examples: `bad` yields what it marks, `good` nothing, and no other default rule speaks up."""

import inspect
from pathlib import Path

import pytest

from modellint.catalog import all_rules
from modellint.finding import Category
from modellint.rule import HOOKS, Finding, Iterator, Rule, TorchCall
from modellint.testing import run_examples

RULES = list(all_rules().values())
BY_DEFAULT = [rule for rule in RULES if rule.category.default_on]


def sides(rule: type[Rule]) -> list[str]:
    """The sides on which the examples are judged here; those for two processes are run by test_run_ranks."""
    several = rule.__module__.startswith("modellint.rules.distributed.")
    return [side for side in rule.sides if not (several and side == "runtime")]


@pytest.mark.parametrize(
    ("rule", "side"),
    [(rule, side) for rule in RULES for side in sides(rule)],
    ids=lambda value: getattr(value, "name", value),
)
@pytest.mark.filterwarnings("default")
def test_examples_are_judged_as_they_say(rule: type[Rule], side: str) -> None:
    """The same example on both sides: read as code, and executed under the runtime checker."""
    run_examples(rule, beside=BY_DEFAULT, side=side)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_page_is_complete(rule: type[Rule]) -> None:
    assert rule.__doc__ is not None
    paragraphs = inspect.cleandoc(rule.__doc__).split("\n\n")
    assert len(paragraphs) == 3, "what is wrong, what is found, what happens because of it"
    assert paragraphs[0].endswith(".")
    assert "\n" not in paragraphs[0]
    assert isinstance(rule.category, Category)
    assert rule.fix_level in ("safe", "unsafe", "none")
    assert rule.fine_when
    assert rule.references
    assert not any(reference.startswith("http") for reference in rule.references)
    assert any(getattr(rule, hook) is not getattr(Rule, hook) for hook in HOOKS.values())
    compile(inspect.cleandoc(rule.bad), "bad", "exec")
    compile(inspect.cleandoc(rule.good), "good", "exec")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_stands_in_the_file_of_its_name(rule: type[Rule]) -> None:
    name = Path(inspect.getfile(rule)).stem
    assert rule.name == name.replace("_", "-")
    assert rule.__name__ == "".join(part.capitalize() for part in name.split("_"))


class Loud(Rule):
    """Reports every torch.device."""

    category = Category.CORRECTNESS
    bad = """
    import torch

    device = torch.device("cpu")  # expect: test-examples
    """
    good = "import torch\n"

    def torch_call(self, call: TorchCall) -> Iterator[Finding]:
        if call.name == "torch.device":
            yield self.finding(at=call.place, message="a device", why="", help="")


def test_run_examples_accepts_a_rule_of_one_s_own() -> None:
    run_examples(Loud)


@pytest.mark.parametrize(
    ("which", "example", "words"),
    [
        ("bad", "import torch\nx = torch.device('cpu')\n", "no line that ends in"),
        ("bad", "import torch\nx = 1  # expect: test-examples\n", "line 2: no test-examples"),
        ("bad", Loud.bad + "other = torch.device('cpu')\n", "line 4: unexpected test-examples"),
        ("bad", "import torch\nx = (  # expect: test-examples\n", "cannot be read"),
        ("good", Loud.bad, "must not expect"),
        ("good", "import torch\nx = torch.device('cpu')\n", "line 2: unexpected test-examples"),
    ],
)
def test_run_examples_says_what_differs(which: str, example: str, words: str) -> None:
    rule = type("Wrong", (Loud,), {which: example, "__module__": __name__})
    with pytest.raises(AssertionError, match=words):
        run_examples(rule)
