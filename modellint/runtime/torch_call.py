"""Torch calls from a run: functional dropouts that drop in eval mode.

A forward in eval mode that draws no random numbers drops nothing: comparing the generators before and after it is
cheap. Only when one did is a single later forward seen function by function.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from modellint.facts.run_evidence import RunEvidence
from modellint.facts.torch_call import Argument, TorchCall
from modellint.runtime.call_site import Site
from modellint.runtime.observer import Observer
from modellint.runtime.session import RootCall, RootRecord, Session

_MOST_SCREENED = 64
"""Forwards in eval mode of one root of which the generators are compared."""
_MOST_TRACED = 3
"""The forward that is seen may take a branch without the dropout."""

_ATTENTION = F.scaled_dot_product_attention
_FUNCTIONS: dict[Callable[..., Any], tuple[str, str, int]] = {
    F.dropout: ("p", "training", 2),
    F.dropout1d: ("p", "training", 2),
    F.dropout2d: ("p", "training", 2),
    F.dropout3d: ("p", "training", 2),
    F.alpha_dropout: ("p", "training", 2),
    F.feature_alpha_dropout: ("p", "training", 2),
    torch.dropout: ("p", "train", 2),
    F.rrelu: ("upper", "training", 3),
    F.multi_head_attention_forward: ("dropout_p", "training", 13),
    _ATTENTION: ("dropout_p", "", -1),
}
"""The parameter that says how much is dropped, the one that says whether, and its position."""


@dataclass(slots=True, eq=False)
class _Screen:
    """What the forwards of one root in eval mode draw."""

    root: RootRecord
    screened: int = 0
    drew: int = 0
    first_step: int = 0
    traced: int = 0
    hidden: str = ""
    """Why the functions of a forward could not be seen."""


@dataclass(slots=True, eq=False)
class _Drop:
    """A functional dropout that was on while its module was in eval mode."""

    screen: _Screen
    site: Site
    owner: str
    function: Callable[..., Any]
    probability: float


class TorchCallObserver(Observer):
    """Makes a TorchCall of every functional dropout that drops in eval mode."""

    makes = (TorchCall,)
    evaluation_functions = frozenset(_FUNCTIONS)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._screens: dict[int, _Screen] = {}
        self._before: list[object] | None = None
        self._drops: dict[Site, _Drop] = {}

    # Functional dropouts

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._before = None
        if call.training:
            return
        screen = self._screens.get(call.root.key)
        if screen is None:
            screen = self._screens[call.root.key] = _Screen(call.root)
        if call.functions or screen.screened < _MOST_SCREENED:
            self._before = _generators()

    def root_ends(self, call: RootCall, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        before, self._before = self._before, None
        if before is None or output is None:
            return
        screen = self._screens[call.root.key]
        screen.screened += 1
        drew = not _same(before, _generators())
        if call.functions:
            screen.traced += drew
        if not drew:
            return
        screen.first_step = screen.first_step if screen.drew else call.step
        screen.drew += 1
        if call.functions and any(drop.screen is screen for drop in self._drops.values()):
            screen.traced = _MOST_TRACED
        if screen.traced < _MOST_TRACED and not screen.hidden:
            if call.root.opaque:
                screen.hidden = "compiled or traced"
            else:
                self.session.see_functions_of(call.root)

    def evaluation_function_called(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        call = self.session.root_call
        owner = self.session.stack[-1] if self.session.stack else None
        if call is None or owner is None or owner.training or owner.record is None:
            return
        share, flag, position = _FUNCTIONS[function]
        on = kwargs.get(flag, args[position] if 0 <= position < len(args) else True) if flag else True
        at = {"p": 1, "upper": 2, "dropout_p": 4 if function is _ATTENTION else 10}[share]
        probability = kwargs.get(share, args[at] if at < len(args) else 0.0)
        if on is not True or not isinstance(probability, int | float) or probability <= 0:
            return
        site = self.session.site()
        if site is not None and site not in self._drops:
            screen = self._screens[call.root.key]
            self._drops[site] = _Drop(screen, site, owner.record.kind, function, float(probability))

    # The facts

    def facts(self) -> Iterator[object]:
        for drop in self._drops.values():
            fact = _functional(drop)
            if fact is not None:
                yield fact
        for screen in self._screens.values():
            if screen.drew and not any(drop.screen is screen for drop in self._drops.values()):
                hidden = screen.hidden or ("" if screen.traced else "the functions of no later forward could be seen")
                if hidden:
                    self.session.out_of_sight(
                        screen.root.text(),
                        f"random numbers are drawn in eval mode, by an operation that was not located: {hidden}",
                        "functional-dropout-always-on",
                    )


def _generators() -> list[object]:
    """The states of the random generators, without waiting for an accelerator."""
    states: list[object] = [torch.default_generator.get_state()]
    if not torch.cuda.default_generators:  # empty until CUDA is initialised
        return states
    if not torch.cuda.is_current_stream_capturing():
        states += [generator.get_offset() for generator in torch.cuda.default_generators]
    return states


def _same(before: list[object], after: list[object]) -> bool:
    if len(before) != len(after):
        return True  # an accelerator came in between: its first use says nothing
    return all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b
        for a, b in zip(before, after, strict=True)
    )


def _functional(drop: _Drop) -> TorchCall | None:
    """The fact; None where the call itself says that it is to drop always."""
    span, callee, called = drop.site.span(), drop.site.callee(), drop.function.__name__
    share, flag, position = _FUNCTIONS[drop.function]
    arguments = [Argument(share, f"{drop.probability:g}", span, drop.probability, False)]
    call = _call(drop.site.text())
    if flag and callee.rpartition(".")[2] != called:
        # It is called in a library, or under another name: whether the flag is given is not known.
        arguments.append(Argument(flag, flag, span, True, False))
    elif call is not None:
        written = {keyword.arg: keyword.value for keyword in call.keywords}
        given = written.get(flag) if flag else None
        if flag and given is None and position < len(call.args):
            given = call.args[position]
        if isinstance(given, ast.Constant):
            return None
        if given is not None or (flag and None in written):
            arguments.append(Argument(flag, ast.unparse(given) if given is not None else flag, span, True, False))
        if share in written:
            text = ast.unparse(written[share])
            arguments[0] = Argument(share, text, span, drop.probability, False)
    screen = drop.screen
    what = "forwards in eval mode drew random numbers"
    evidence = RunEvidence(screen.drew, screen.screened, screen.first_step, what, root=screen.root.key)
    name = "torch.dropout" if drop.function is torch.dropout else f"torch.nn.functional.{called}"
    return run_call(name, callee or called, drop.site, tuple(arguments), drop.owner, evidence)


def run_call(
    name: str, text: str, site: Site, arguments: tuple[Argument, ...], owner: str, evidence: RunEvidence
) -> TorchCall:
    """The fact, with what only code shows left empty."""
    return TorchCall(
        name=name,
        place=site.span(),
        text=text,
        arguments=arguments,
        open_arguments=False,
        receiver=None,
        receiver_kind=None,
        module_class=owner,
        function=site.code.co_name,
        training_only=False,
        stochastic_on_purpose=False,
        delegating=False,
        framework=None,
        in_test_suite=False,
        run=evidence,
    )


def _call(text: str) -> ast.Call | None:
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return None
    return tree if isinstance(tree, ast.Call) else None
