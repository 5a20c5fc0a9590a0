"""Changes to a program that mean nothing: what is found before is found after.

    python tests/metamorphic.py --over DIR... [--files 500] [--seed N] [--only renamed ...] [--with-findings]

Each change takes the files of a project, by path, and gives them back changed, with what a finding of either side is
compared by. Run by hand over real files (each by itself), it prints every difference and the counts; exit status 1
when there is one.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import functools
import importlib
import io
import keyword
import re
import subprocess
import sys
import tempfile
import tokenize
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from modellint import catalog  # noqa: E402
from modellint.facts.span import Span  # noqa: E402
from modellint.finding import Finding  # noqa: E402
from modellint.judge import judge  # noqa: E402
from modellint.source.naming import words  # noqa: E402
from modellint.source.reader import read_files  # noqa: E402
from modellint.source.text import mentions_torch  # noqa: E402

Files = Mapping[str, str]
Key = tuple[object, ...]
PLACE = re.compile(r"([\w./-]+\.py):(\d+)(?::\d+)?")
"""How a message names a place."""


@dataclass(frozen=True)
class Change:
    """Files before and after, and what their findings must have in common."""

    before: Files
    after: Files
    key_before: Callable[[Finding], Key]
    key_after: Callable[[Finding], Key]


class Refused(Exception):
    """A file to which a change cannot be made."""


def differences(change: Change, findings: Callable[[Files], Sequence[Finding]]) -> tuple[list[Key], list[Key]]:
    """What only one side finds: that before, that after."""
    before = Counter(map(change.key_before, findings(change.before)))
    after = Counter(map(change.key_after, findings(change.after)))
    return sorted((before - after).elements(), key=repr), sorted((after - before).elements(), key=repr)


def everything(finding: Finding, span: Callable[[Span], object], text: Callable[[str], str]) -> Key:
    """All that a finding says, its places and texts passed through two functions."""
    related = [(span(note.span), text(note.label), note.order, note.cause) for note in finding.related]
    flow = [(span(step.span), text(step.text)) for step in finding.flow]
    texts = [text(said) for said in (finding.message, finding.label, finding.why, finding.help, *finding.notes)]
    return (
        finding.rule,
        finding.level.value,
        finding.certainty.value,
        span(finding.span),
        tuple(sorted(related, key=repr)),
        tuple(flow),
        tuple(texts),
    )


def same(text: str) -> str:
    return text


# --- comments and blank lines -----------------------------------------------------------------------------------------

COMMENTS = ("# nothing to see", "#", "    # nor here", "#: \N{SNOWMAN}")


def commented(files: Files, random: Random) -> Change:
    """Comments and blank lines between lines and behind them, within brackets too."""
    after: dict[str, str] = {}
    places: dict[str, list[int]] = {}
    for path, source in files.items():
        after[path], places[path] = _with_comments(source, random)

    def moved(span: Span) -> Span:
        lines = places[span.path]
        return span._replace(line=lines[span.line - 1], end_line=lines[span.end_line - 1])

    def text(said: str) -> str:
        def place(match: re.Match[str]) -> str:
            lines = places.get(match[1])
            return match[0] if lines is None else f"{match[1]}:{lines[int(match[2]) - 1]}"

        return PLACE.sub(place, said)

    def kept(said: str) -> str:
        return PLACE.sub(lambda match: f"{match[1]}:{match[2]}" if match[1] in places else match[0], said)

    return Change(
        files, after, lambda found: everything(found, moved, text), lambda found: everything(found, lambda s: s, kept)
    )


def _with_comments(source: str, random: Random) -> tuple[str, list[int]]:
    """The changed source, and where each old line (counted from 0) stands now (from 1)."""
    lines = source.split("\n")
    inside: set[int] = set()  # lines (from 0) that start within a string, or go on after a backslash
    closed: set[int] = set()  # lines that end with code or nothing, where a comment can follow
    start = 0
    for token in _tokens(source):
        kind = tokenize.tok_name[token.type]
        if kind == "FSTRING_START":
            start = token.start[0]
        if kind == "STRING" or kind == "FSTRING_END":
            first = token.start[0] if kind == "STRING" else start
            inside.update(range(first, token.end[0]))
        elif kind in ("NEWLINE", "NL") and token.string:
            closed.add(token.start[0] - 1)
        elif kind == "COMMENT":
            closed.discard(token.start[0] - 1)
            inside.add(-token.start[0])
    result: list[str] = []
    places: list[int] = []
    for number, line in enumerate(lines):
        after_backslash = number > 0 and lines[number - 1].endswith("\\")
        # The first two lines may declare an encoding, which only counts there.
        if number > 1 and number not in inside and not after_backslash and random.random() < 0.3:
            result += random.choice(([""], ["", "", ""], [random.choice(COMMENTS)], [random.choice(COMMENTS), ""]))
        places.append(len(result) + 1)
        behind = number > 1 and number in closed and -(number + 1) not in inside and bool(line.strip())
        result.append(line + "  # said behind it" if behind and random.random() < 0.1 else line)
    text = "\n".join(result)
    if ast.dump(_parsed(text)) != ast.dump(_parsed(source)):
        raise Refused("a comment does not fit")
    return text, places


def _tokens(source: str) -> list[tokenize.TokenInfo]:
    try:
        return list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError) as error:
        raise Refused("cannot be tokenized") from error


def _parsed(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise Refused("cannot be parsed") from error


# --- formatting -------------------------------------------------------------------------------------------------------

LENGTHS = (50, 79, 160, 320)
_MOVABLE = frozenset({"(", ")", ","})
"""What a formatter adds and takes away."""


def formatted(files: Files, random: Random) -> Change:
    """Formatted by ruff, with lines of another length."""
    length = random.choice(LENGTHS)
    after = {path: _ruff(source, length) for path, source in files.items()}
    before_at = {path: _Order(source) for path, source in files.items()}
    after_at = {path: _Order(source) for path, source in after.items()}
    for path in files:
        if len(before_at[path].starts) != len(after_at[path].starts):
            raise Refused("the formatter changed more than spaces")

    def key(orders: dict[str, _Order]) -> Callable[[Finding], Key]:
        return lambda found: everything(found, lambda span: (span.path, orders[span.path].of(span)), squashed)

    return Change(files, after, key(before_at), key(after_at))


def squashed(text: str) -> str:
    """A text without what a formatter may change of the code that it quotes, and without lines."""
    text = re.sub(r"(\d)\.0*(?!\d)", r"\1", PLACE.sub(r"\1", text))  # `1.` becomes `1.0`
    return re.sub(r"[\s(),'\"]+", "", text).lower()


def _ruff(source: str, length: int) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--isolated", f"--line-length={length}", "--quiet", "-"]
    done = subprocess.run(command, input=source.encode(), capture_output=True, check=False)
    if done.returncode:
        raise Refused("ruff does not format it")
    return done.stdout.decode()


class _Order:
    """The tokens of a file that every formatting has, in their order."""

    def __init__(self, source: str) -> None:
        kinds = (tokenize.NAME, tokenize.NUMBER, tokenize.OP)
        self.starts = [
            (token.start[0], token.start[1] + 1)
            for token in _tokens(source)
            if token.type in kinds and token.string not in _MOVABLE
        ]

    def of(self, span: Span) -> tuple[int, int]:
        """How many tokens stand before the start of a span, and before its end."""
        from bisect import bisect_left

        return bisect_left(self.starts, (span.line, span.column)), bisect_left(
            self.starts, (span.end_line, span.end_column)
        )


# --- names ------------------------------------------------------------------------------------------------------------

_SAYING = (
    "modellint.source.naming", "modellint.source.data_purpose", "modellint.source.forward_use",
    "modellint.source.rank_facts", "modellint.source.loader_setup", "modellint.source.score_use",
    "modellint.source.iterable_read", "modellint.source.loss_options", "modellint.source.shadowed_methods",
    "modellint.rules.evaluation._purpose",
)  # fmt: skip
"""Modules that ask what a name says its value is for. Such a name is no empty word: it stays."""
_TORCH_ATTRIBUTES = frozenset(
    [
        "weight",
        "bias",
        "training",
        "data",
        "grad",
        "dtype",
        "device",
        "shape",
        "dim",
        "size",
        "T",
        "layers",
        "in_features",
        "out_features",
        "hidden_size",
    ]
)
_PLAIN_BASES = frozenset({"Module", "Dataset", "IterableDataset", "ABC", "object", "Sequential"})
"""Classes of which it is known that they read no further attributes of those derived from them."""
_MODULE_NAMES = frozenset(["train", "eval", "apply", "parameters", "children", "modules", "buffers", "state_dict"])
_RUNS_TEXT = frozenset({"locals", "vars", "eval", "exec", "globals", "__dict__"})


@functools.cache
def saying() -> frozenset[str]:
    """Words by which a name says what its value is for."""
    found: set[str] = set()
    for name in _SAYING:
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, frozenset):
                found.update(word for word in value if isinstance(word, str))
    return frozenset(found)


def renamed(files: Files, random: Random) -> Change:
    """Local and global variables, parameters, and attributes of `self`, under new names of the same length.

    What is named from elsewhere stays: keywords of calls, texts, imports, functions, classes, and names that say what
    a value is for.
    """
    trees = {path: _parsed(source) for path, source in files.items()}
    seen = _Names(trees.values())
    taken = {word for source in files.values() for word in re.findall(r"\w+", source)} | _prose()
    attributes = _new_names(sorted(seen.attributes()), random, taken)
    back: dict[str, str] = {new: old for old, new in attributes.items()}
    after: dict[str, str] = {}
    for path, tree in trees.items():
        # The same name may stand for different things in two files.
        variables = _new_names(sorted(seen.variables(tree)), random, taken)
        back.update({new: old for old, new in variables.items()})
        after[path] = _replaced(files[path], tree, variables, attributes)
        if ast.dump(_parsed(after[path])).count("(") != ast.dump(tree).count("("):
            raise Refused("a name stands somewhere else")

    def restored(text: str) -> str:
        return re.sub(r"[A-Za-z_]\w*", lambda match: back.get(match[0], match[0]), text)

    return Change(
        files,
        after,
        lambda found: everything(found, lambda span: span, same),
        lambda found: everything(found, lambda span: span, restored),
    )


@functools.cache
def _prose() -> frozenset[str]:
    """Every word that a message may contain."""
    folder = ROOT / "modellint" / "rules"
    return frozenset(word for path in folder.rglob("*.py") for word in re.findall(r"\w+", path.read_text()))


class _Names:
    """What the names of a project are used for."""

    def __init__(self, trees: Iterable[ast.Module]) -> None:
        self.fixed: set[str] = set(dir(builtins)) | set(keyword.kwlist) | {"self", "cls"}
        self.attribute_owners: dict[str, set[str]] = {}
        self.bound_on_self: set[str] = set()
        self.imported: set[str] = set()
        self.starts: list[str] = []
        """How texts start of which names are made: `f"layer{i}"`."""
        self.ends: list[str] = []
        self._saying = saying()
        nodes = [node for tree in trees for node in ast.walk(tree)]
        self._classes = _PLAIN_BASES | {node.name for node in nodes if isinstance(node, ast.ClassDef)}
        for node in nodes:
            self._note(node)

    def _note(self, node: ast.AST) -> None:
        match node:
            case ast.keyword(arg=str(name)):
                self.fixed.add(name)
            case ast.Constant(value=str(text)) if " " not in text or len(text) < 30:
                self.fixed.update(re.findall(r"\w+", text))
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                for alias in names:
                    self.imported.update((alias.asname or alias.name).split("."))
                    self.fixed.update([*alias.name.split("."), alias.asname or ""])
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                self.fixed.update(names)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                self.fixed.add(name)
            case ast.ClassDef(name=name, body=body, bases=bases):
                self.fixed.add(name)
                if not all(ast.unparse(base).rpartition(".")[2] in self._classes for base in bases):
                    # Its library may read any attribute.
                    self.fixed.update(part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute))
                for statement in body:
                    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                        self.fixed.update(part.id for part in ast.walk(statement) if isinstance(part, ast.Name))
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                self.fixed.add(name)
            case ast.MatchMapping(rest=str(name)):
                self.fixed.add(name)
            case ast.MatchClass(kwd_attrs=names):
                self.fixed.update(names)
            case ast.JoinedStr():
                # Before Python 3.12 the nodes in it have no positions of their own.
                for part in ast.walk(node):
                    if isinstance(part, ast.Name):
                        self.fixed.add(part.id)
                    elif isinstance(part, ast.Attribute):
                        self.fixed.add(part.attr)
                if node.values and isinstance(node.values[0], ast.Constant):
                    self.starts.append(str(node.values[0].value))
                if node.values and isinstance(node.values[-1], ast.Constant):
                    self.ends.append(str(node.values[-1].value))
            case ast.BinOp(left=ast.Constant(value=str(start)), op=ast.Mod() | ast.Add()):
                self.starts.append(re.split(r"[^\w]", start)[0])
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                self.attribute_owners.setdefault(name, set()).add(owner)
                if owner == "self" and isinstance(node.ctx, ast.Store):
                    self.bound_on_self.add(name)
            case ast.Attribute(attr=name):
                self.attribute_owners.setdefault(name, set()).add("")

    def _free(self, names: Iterable[str]) -> set[str]:
        return {
            name
            for name in names
            if name not in self.fixed
            and not name.startswith(("__", *(start for start in self.starts if start.isidentifier())))
            and not name.endswith(tuple(end for end in self.ends if end.isidentifier()))
            and name not in self._saying
            and name.isascii()
            and re.search("[a-zA-Z]", name)
            and self._saying.isdisjoint(words(name))
        }

    def attributes(self) -> set[str]:
        """Attributes that only `self` is asked for."""
        own = {name for name in self.bound_on_self if self.attribute_owners[name] == {"self"}}
        return self._free(own - _TORCH_ATTRIBUTES - _MODULE_NAMES)

    def variables(self, tree: ast.Module) -> set[str]:
        """Variables and parameters of a file that nothing outside of it names."""
        nodes = list(ast.walk(tree))
        if any(isinstance(node, ast.Name) and node.id in _RUNS_TEXT for node in nodes):
            return set()
        names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        names |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        return self._free(names - self.imported - set(self.attribute_owners))


_LOWER, _UPPER = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _new_names(names: Sequence[str], random: Random, taken: set[str]) -> dict[str, str]:
    """New names of the same length and case; the new ones are taken then, and mean nothing."""
    result: dict[str, str] = {}
    meaning = saying()
    for name in names:
        for _ in range(40):
            new = "".join(
                random.choice(_LOWER) if letter.islower() else random.choice(_UPPER) if letter.isupper() else letter
                for letter in name
            )
            if new not in taken and new not in keyword.kwlist and new not in dir(builtins):
                if meaning.isdisjoint(words(new)):
                    result[name] = new
                    taken.add(new)
                    break
    return result


def _replaced(source: str, tree: ast.Module, variables: Mapping[str, str], attributes: Mapping[str, str]) -> str:
    lines = [line.encode() for line in re.split(r"(?<=\n)|(?<=\r)(?!\n)", source)]

    def put(line: int, column: int, old: str, new: str) -> None:
        text = lines[line - 1]
        if text[column : column + len(old)] != old.encode():
            raise Refused("a name stands somewhere else")
        lines[line - 1] = text[:column] + new.encode() + text[column + len(old) :]

    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in variables:
            put(node.lineno, node.col_offset, node.id, variables[node.id])
        elif isinstance(node, ast.arg) and node.arg in variables:
            put(node.lineno, node.col_offset, node.arg, variables[node.arg])
        elif isinstance(node, ast.Attribute) and node.attr in attributes:
            assert node.end_lineno is not None
            assert node.end_col_offset is not None
            put(node.end_lineno, node.end_col_offset - len(node.attr), node.attr, attributes[node.attr])
    return b"".join(lines).decode()


# --- a loop body in a helper ------------------------------------------------------------------------------------------


def extracted(files: Files, random: Random) -> Change:
    """Bodies of loops in functions of their own, defined just before the loop. Both sides are unparsed first."""
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    changed = 0
    for path, source in files.items():
        tree = _parsed(source)
        before[path] = _unparsed(tree)
        again = _parsed(before[path])
        changed += _Extraction(again, random).run()
        after[path] = _unparsed(ast.fix_missing_locations(again))
    if not changed:
        raise Refused("no loop whose body can be moved")

    def key(sources: dict[str, str]) -> Callable[[Finding], Key]:
        lines = {path: source.split("\n") for path, source in sources.items()}
        return lambda found: (found.rule, found.span.path, lines[found.span.path][found.span.line - 1].strip())

    return Change(before, after, key(before), key(after))


def _unparsed(tree: ast.Module) -> str:
    try:
        return ast.unparse(tree) + "\n"
    except (RecursionError, ValueError) as error:
        raise Refused("cannot be unparsed") from error


_LEAVES = (
    ast.Return, ast.Yield, ast.YieldFrom, ast.Await, ast.AsyncFor, ast.AsyncWith, ast.Global, ast.Nonlocal, ast.Delete,
    ast.ClassDef, ast.Import, ast.ImportFrom, ast.Match,
)  # fmt: skip
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class _Extraction:
    """Moves bodies of loops in one file."""

    def __init__(self, tree: ast.Module, random: Random) -> None:
        self.tree = tree
        self.random = random
        self.count = 0

    def run(self) -> int:
        """How many were moved."""
        self._scope(self.tree, set())
        return self.count

    def _scope(self, scope: ast.AST, parameters: set[str]) -> None:
        self._blocks(scope, scope, parameters)
        for node in ast.walk(scope):
            if node is not scope and isinstance(node, ast.FunctionDef) and not node.name.startswith("_round_"):
                arguments = node.args
                names = {a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]}
                names |= {a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None}
                self._blocks(node, node, names)

    def _blocks(self, node: ast.AST, scope: ast.AST, parameters: set[str]) -> None:
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            block = getattr(node, field, None)
            if not isinstance(block, list):
                continue
            for statement in list(block):
                if isinstance(statement, (*_SCOPES, ast.ClassDef)):
                    continue
                helper = None
                if isinstance(statement, ast.For | ast.While) and self.random.random() < 0.7:
                    helper = self._moved(statement, scope, parameters)
                if helper is not None:
                    block.insert(block.index(statement), helper)
                    self.count += 1
                else:
                    self._blocks(statement, scope, parameters)

    def _moved(self, loop: ast.For | ast.While, scope: ast.AST, parameters: set[str]) -> ast.FunctionDef | None:
        body = loop.body
        if not _closed(body) or any(isinstance(n, ast.Name) and n.id in {*_RUNS_TEXT, "super"} for n in _all(body)):
            return None
        stored = _stored(body)
        inside = {id(node) for node in _all(body)}
        outside = [node for node in ast.walk(scope) if isinstance(node, ast.Name) and id(node) not in inside]
        if any(part.name in stored for part in ast.walk(scope) if isinstance(part, ast.ExceptHandler)):
            return None
        shared = _used_in_functions(scope)
        if isinstance(scope, ast.Module) and stored & shared:
            return None
        read_outside = {node.id for node in outside if isinstance(node.ctx, ast.Load)} | shared
        targets = [n.id for n in ast.walk(loop.target) if isinstance(n, ast.Name)] if isinstance(loop, ast.For) else []
        fates = {name: _fate(body, name, bound=False) for name in stored}
        carried = {name for name, (read_before, _) in fates.items() if read_before}
        surely = {name for name, (_, bound_after) in fates.items() if bound_after}
        returned = sorted(name for name in stored if name in read_outside or name in carried)
        bound = parameters | {n.id for n in outside if isinstance(n.ctx, ast.Store) and n.lineno < loop.lineno}
        passed = {*targets} | carried
        for name in returned:
            if name not in surely and name not in passed:
                if name not in bound:
                    return None
                passed.add(name)
        if not passed - set(targets) <= bound:
            return None
        names = sorted(passed)
        self.name = f"_round_{self.count}"
        call = ast.Call(ast.Name(self.name, ast.Load()), [ast.Name(name, ast.Load()) for name in names], [])
        new_body: list[ast.stmt] = [*body]
        if returned:
            new_body.append(ast.Return(_names(returned, ast.Load)))
            step: ast.stmt = ast.Assign([_names(returned, ast.Store)], call)
        else:
            step = ast.Expr(call)
        loop.body = [ast.fix_missing_locations(ast.copy_location(step, loop))]
        arguments = ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, [])
        helper = ast.FunctionDef(self.name, arguments, new_body, [], None)
        if sys.version_info >= (3, 12):
            helper.type_params = []
        return ast.fix_missing_locations(ast.copy_location(helper, loop))


def _names(names: Sequence[str], context: type[ast.Load] | type[ast.Store]) -> ast.expr:
    parts: list[ast.expr] = [ast.Name(name, context()) for name in names]
    return parts[0] if len(parts) == 1 else ast.Tuple(parts, context())


def _all(statements: Sequence[ast.AST]) -> Iterator[ast.AST]:
    for statement in statements:
        yield from ast.walk(statement)


def _closed(body: Sequence[ast.stmt]) -> bool:
    """Nothing leaves it but at its end, and it binds names in plain ways only."""
    for node in _all(body):
        if isinstance(node, (*_LEAVES, *_SCOPES)):
            return False
        if isinstance(node, _COMPREHENSIONS) and any(isinstance(part, ast.NamedExpr) for part in ast.walk(node)):
            return False
    return not _breaks(body)


def _breaks(block: Sequence[ast.AST]) -> bool:
    """A `break` or `continue` of the loop that this is the body of."""
    for node in block:
        if isinstance(node, ast.Break | ast.Continue):
            return True
        if isinstance(node, ast.For | ast.While):
            if _breaks(node.orelse):
                return True
        elif _breaks(list(ast.iter_child_nodes(node))):
            return True
    return False


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """A node and those below it that bind in its scope."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(node, _COMPREHENSIONS) and not isinstance(child, ast.NamedExpr):
            continue
        if not isinstance(child, _SCOPES):
            yield from _own(child)


def _stored(body: Sequence[ast.stmt]) -> set[str]:
    return {
        node.id
        for statement in body
        for node in _own(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _used_in_functions(scope: ast.AST) -> set[str]:
    return {
        name.id
        for node in ast.walk(scope)
        if isinstance(node, (*_SCOPES, ast.ClassDef)) and node is not scope
        for name in ast.walk(node)
        if isinstance(name, ast.Name)
    }


def _fate(block: Sequence[ast.AST], name: str, bound: bool) -> tuple[bool, bool]:
    """Whether a block may read a name that is not bound in it, and whether it is bound in any case at its end."""
    reads = False
    for node in block:
        match node:
            case ast.Name(id=found) if found == name:
                reads = reads or (isinstance(node.ctx, ast.Load) and not bound)
                bound = bound or isinstance(node.ctx, ast.Store)
                continue
            case ast.If(test=test, body=body, orelse=orelse):
                first, bound = _fate([test], name, bound)
                one, other = _fate(body, name, bound), _fate(orelse, name, bound)
                reads, bound = reads or first or one[0] or other[0], one[1] and other[1]
                continue
            case ast.For(target=target, iter=iterated, body=body, orelse=orelse):
                parts: Sequence[ast.AST] = [iterated, target, *body, *orelse]
            case ast.While(test=test, body=body, orelse=orelse):
                parts = [test, *body, *orelse]
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=final):
                outcomes = [_fate(part, name, bound) for part in (body, handlers, [*body, *orelse], final)]
                reads, bound = reads or any(outcome[0] for outcome in outcomes), bound or outcomes[-1][1]
                continue
            case ast.Assign(targets=targets, value=value):
                first, bound = _fate([value, *targets], name, bound)
                reads = reads or first
                continue
            case ast.AugAssign(target=ast.Name(id=found), value=value):
                reads = reads or (found == name and not bound) or _fate([value], name, bound)[0]
                continue
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                first, bound = _fate([value, target], name, bound)
                reads = reads or first
                continue
            case ast.NamedExpr(target=target, value=value):
                first, bound = _fate([value, target], name, bound)
                reads = reads or first
                continue
            case ast.IfExp() | ast.BoolOp() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                parts = list(ast.iter_child_nodes(node))
            case _:
                first, bound = _fate(list(ast.iter_child_nodes(node)), name, bound)
                reads = reads or first
                continue
        reads = reads or _fate(parts, name, bound)[0]  # it may not run: nothing is bound by it
    return reads, bound


CHANGES: dict[str, Callable[[Files, Random], Change]] = {
    "commented": commented,
    "formatted": formatted,
    "renamed": renamed,
    "extracted": extracted,
}


# --- by hand ----------------------------------------------------------------------------------------------------------


def findings_of_files(files: Files, folder: Path) -> list[Finding]:
    """What every rule finds in files below a folder that holds nothing else."""
    rules = [rule() for rule in catalog.all_rules().values() if "source" in rule.sides]
    for name, source in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(source.encode())
    reading = read_files([folder / name for name in sorted(files)], cwd=folder)
    findings, failures = judge(reading.facts, rules)
    if reading.failures or failures:
        raise AssertionError(f"an internal error: {[*reading.failures, *failures]}")
    return findings


def real_sources(directories: Sequence[Path], random: Random) -> Iterator[tuple[Path, str]]:
    """Files that mention torch, in an order by chance."""
    paths = sorted({path for directory in directories for path in directory.rglob("*.py") if path.is_file()})
    random.shuffle(paths)
    for path in paths:
        data = path.read_bytes()
        if mentions_torch(data) and len(data) < 300_000:
            try:
                source = data.decode()
                _parsed(source)
            except (UnicodeDecodeError, Refused):
                continue
            if "\r" not in source and "\f" not in source and not source.startswith("\ufeff"):
                yield path, source


def main() -> int:
    """Change real files and compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--over", nargs="+", type=Path, required=True)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=sorted(CHANGES), default=sorted(CHANGES))
    parser.add_argument("--with-findings", action="store_true", help="only files in which something is found")
    parser.add_argument("--quiet", action="store_true", help="no differences, only counts")
    options = parser.parse_args()
    random = Random(options.seed)
    counts: dict[str, Counter[str]] = {name: Counter() for name in options.only}
    files = findings = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, source in real_sources(options.over, random):
            if files >= options.files:
                break
            project = {"input.py": source}
            found = findings_of_files(project, folder)
            if options.with_findings and not found:
                continue
            files += 1
            findings += len(found)
            for change_name in options.only:
                count = counts[change_name]
                try:
                    change = CHANGES[change_name](project, Random(f"{options.seed} {path}"))
                except Refused as reason:
                    count[f"refused: {reason}"] += 1
                    continue
                lost, gained = differences(change, lambda files: findings_of_files(files, folder))
                count["compared"] += 1
                count["differ"] += bool(lost or gained)
                if Counter(key[0] for key in lost) != Counter(key[0] for key in gained):
                    count["differ in rules"] += 1
                if (lost or gained) and not options.quiet:
                    print(f"{change_name}: {path}")
                    for sign, keys in (("-", lost), ("+", gained)):
                        for key in keys:
                            print(f"  {sign} {key}", flush=True)
    print(f"\n{files} files, {findings} findings")
    for change_name, count in counts.items():
        print(f"{change_name:10}", ", ".join(f"{number} {what}" for what, number in sorted(count.items())))
    return 1 if any(count["differ"] for count in counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
