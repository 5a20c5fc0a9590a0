"""What `modellint facts FILE` shows: every fact that concerns a file, and every place that was not followed."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from modellint.config import UsageError
from modellint.facts.forward_use import ForwardUse
from modellint.facts.loss_use import LossUse, OutputKind
from modellint.facts.model import ModelRef
from modellint.facts.module_class import ModuleClass
from modellint.facts.module_instance import LayerCall, ModuleInstance
from modellint.facts.parameter_fill import ParameterFill
from modellint.facts.reading import BadInput, NotFollowed, ReaderFailure
from modellint.facts.span import Span
from modellint.facts.torch_call import UNKNOWN, TorchCall
from modellint.facts.training_loop import TrainingLoop
from modellint.report.cells import visible
from modellint.source.text import shown_path

_UNSHOWN = ("producer_key",)
"""Fields that only tell two facts of one reading apart."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What was read in one file."""

    path: str
    facts: tuple[object, ...]
    bad_input: tuple[BadInput, ...]
    not_followed: tuple[NotFollowed, ...]
    uses_torch: bool
    failures: tuple[ReaderFailure, ...] = ()


def read(file: str, cwd: Path) -> Listing:
    """Read one file and keep the facts that concern it."""
    from modellint.source.reader import read_files

    absolute = Path(os.path.abspath(cwd / file))
    if not os.path.lexists(absolute):
        raise UsageError(f"no such file: {file}")
    if os.path.isdir(absolute):
        raise UsageError(f"{file} is a folder; `modellint facts` reads one file")
    path = shown_path(absolute, cwd)
    reading = read_files([absolute], cwd=cwd)
    facts = [fact for fact in reading.facts if path in {span.path for span in _own_places(fact)}]
    return Listing(
        path,
        tuple(sorted(facts, key=lambda fact: (_place(fact), type(fact).__name__, repr(fact)))),
        tuple(reading.bad_input),
        tuple(sorted({item for item in reading.not_followed if item.span.path == path}, key=lambda item: item.span)),
        uses_torch=bool(reading.checked),
        failures=tuple(reading.failures),
    )


def as_text(listing: Listing) -> str:
    """One line a fact, more for what it consists of."""
    blocks = [(type(fact).__name__, str(_place(fact)), _describe(fact)) for fact in listing.facts]
    blocks += [(item.rule, str(item.span), [item.message]) for item in listing.bad_input]
    blocks += [("not followed", str(item.span), [f"{item.text}: {item.reason}"]) for item in listing.not_followed]
    blocks += [("internal error", f"{item.path}:{item.line}", [f"the reader failed ({item.error})"])
               for item in listing.failures]  # fmt: skip
    if not blocks:
        what = "no facts" if listing.uses_torch else "never mentions torch: not read"
        return f"{visible(listing.path)}: {what}\n"
    kinds = max(len(block[0]) for block in blocks)
    places = max(len(block[1]) for block in blocks)
    lines = []
    for kind, place, (head, *rest) in blocks:
        lines.append(f"{kind:<{kinds}}  {place:<{places}}  {head}".rstrip())
        lines += [f"{'':<{kinds}}    {line}" for line in rest]
    return "".join(f"{visible(line)}\n" for line in lines)


def as_json(listing: Listing) -> str:
    """Every field of every fact."""
    document = {
        "version": 1,
        "path": listing.path,
        "facts": [{"fact": type(fact).__name__, **_fields(fact)} for fact in listing.facts],
        "bad_input": [_fields(item) for item in listing.bad_input],
        "not_followed": [_fields(item) for item in listing.not_followed],
        "failures": [_fields(item) for item in listing.failures],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _own_places(fact: object) -> Iterator[Span]:
    """Where a fact stands; one about an instance belongs to its class's file as well."""
    place = getattr(fact, "place", None)
    if isinstance(place, Span):
        yield place
    if isinstance(fact, ModuleInstance):
        yield from (span for span in (fact.model.place, fact.model.class_place) if span is not None)


def _place(fact: object) -> Span:
    return next(_own_places(fact), Span("", 0, 0, 0, 0))


def _describe(fact: object) -> list[str]:
    """The head line and the lines below it."""
    match fact:
        case ModuleInstance():
            return _instance(fact)
        case ModuleClass():
            lines = [f"{fact.name}({fact.bases}), super().__init__ {fact.super_init.value}"]
            for hidden in fact.hidden:
                lines.append(f"{hidden.attribute}  {hidden.container} of {hidden.element.text}, not registered")
            return lines
        case LossUse():
            maker = f" ({fact.maker_place})" if fact.maker_place is not None else ""
            model = f" from {fact.model.text}" if fact.model is not None else ""
            head = f"{fact.loss} expects {fact.expects.value}, input is {fact.input.value}{maker}{model}"
            return [head + ("" if fact.target is OutputKind.UNKNOWN else f", target is {fact.target.value}")]
        case ForwardUse():
            modes = " or ".join(dict.fromkeys(state.mode.value for state in fact.modes)) or "unknown"
            grad = {True: "on", False: "off", None: "unknown"}[fact.grad]
            use = "backwarded" if fact.backwarded else "not backwarded"
            unsure = ", result not followed" if fact.unfollowed_result else ""
            head = f"{fact.model.text} ({_model(fact.model)}): mode {modes}, gradients {grad}, {use}{unsure}"
            return [head, *(f"{sign.kind.value}: {sign.text}" for sign in fact.signs)]
        case TrainingLoop():
            count = len(fact.passes)
            whole = "complete" if fact.complete else "incomplete"
            events = [", ".join(f"{event.kind.value} {event.text}" for event in one) or "-" for one in fact.passes]
            head = f"{count} pass{'' if count == 1 else 'es'}, {whole}"
            return [f"{head}: {events[0]}"] if count == 1 else [head, *events]
        case ParameterFill():
            layers = [f"{layer.ref.name}.{layer.parameter}  {layer.ref.text}" for layer in fact.layers]
            return [f"{fact.text} fills {len(layers)} weights of {_model(fact.model)} with {fact.value}", *layers]
        case TorchCall():
            arguments = [f"{argument.name}={argument.text}" for argument in fact.arguments]
            return [f"{fact.text}({', '.join(arguments + ['...'] * fact.open_arguments)}) is {fact.name}"]
        case _:
            return [_generic(fact)]


def _instance(fact: ModuleInstance) -> list[str]:
    """The layers of an instance, with what one forward does with each."""
    calls: dict[int, list[LayerCall]] = {}
    for call in fact.calls:
        calls.setdefault(call.layer, []).append(call)
    rows = []
    for made in calls.values():
        after = ", ".join(f"after {call.producer or 'UNKNOWN'}" for call in made)
        count = f"{len(made)} call{'' if len(made) == 1 else 's'} a forward"
        rows.append((made[0].ref.name, made[0].ref.text, f"{count}: {after}"))
    rows += [(layer.ref.name, layer.ref.text, "0 calls a forward") for layer in fact.unused]
    names = max((len(row[0]) for row in rows), default=0)
    texts = max((len(row[1]) for row in rows), default=0)
    whole = "" if fact.model.complete else ", incomplete"
    return [_model(fact.model) + whole, *(f"{name:<{names}}  {text:<{texts}}  {use}" for name, text, use in rows)]


def _model(model: ModelRef) -> str:
    """`Twin(use_sequential=False) from models/twin.py:5`."""
    source = f" from {model.class_place.path}:{model.class_place.line}" if model.class_place is not None else ""
    return f"{model.class_name}({model.arguments}){source}"


def _generic(fact: object) -> str:
    """`name=value` of the plain fields."""
    if not dataclasses.is_dataclass(fact):
        return repr(fact)
    shown = []
    for field in dataclasses.fields(fact):
        value = getattr(fact, field.name)
        if isinstance(value, str | int | float) and value not in ("", False):
            shown.append(f"{field.name}={value}")
    return ", ".join(shown)


def _fields(item: object) -> dict[str, object]:
    assert dataclasses.is_dataclass(item)
    names = [field.name for field in dataclasses.fields(item) if field.name not in _UNSHOWN]
    return {name: _plain(getattr(item, name)) for name in names}


def _plain(value: object) -> object:
    """A value as JSON has it."""
    if isinstance(value, Span):
        return dict(zip(Span._fields, value, strict=True))
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return _fields(value)
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(part) for part in value), key=repr)
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if value is UNKNOWN:
        return "UNKNOWN"
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)  # JSON has no infinity
    return value if value is None or isinstance(value, str | int | float) else type(value).__name__
