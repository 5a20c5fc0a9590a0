"""`inspect`: look at a model before it is trained. A few passes and some experiments, all on a copy."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from modellint.rule import Rule
from modellint.runtime import call_site, hooks, probes, torch_internals
from modellint.runtime.batch_leakage import batch_leakage
from modellint.runtime.call_site import Site
from modellint.runtime.probe_record import Located, ProbeObserver
from modellint.runtime.session import Session
from modellint.runtime.verdict import selected_rules
from modellint.runtime.watch import Watch
from modellint.runtime.working_copy import Unseen, WorkingCopy, call, fresh, random_states_kept, working_copy

_PASSES = 4
"""Rules about modules want two, a weight that started constant is looked at again after three."""
_EVALUATIONS = 3
_RATE = 1e-3

_LOOP_HOOKS = (
    "training_loop", "forward_use", "loader_setup", "state_copy", "layer_record", "gradient_record",
    "repeated_batches", "distributed_setup", "rank_batches",
)  # fmt: skip
"""What they judge is the user's loop; here it is ours."""
_OPTIMIZER_HOOKS = ("optimizer_setup", "parameter_update")
"""Judged only where the user gave the optimizer."""


def inspect(
    model: nn.Module,
    inputs: Any,
    targets: Any = None,
    loss: Callable[..., Any] | None = None,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None = None,
    *,
    select: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
) -> Watch:
    """Run a model on one batch and say what the rules find, the rules of probes included. Returns a closed watch.

    `inputs` is what forward takes: a tuple is spread over its arguments, a mapping over its keywords, anything else is
    its only argument. The first axis of each tensor is the batch. `loss` is called with the output and `targets` (with
    the output alone if there are none); without it the model's own loss is used, or a random projection of its output.

    Everything happens on a deep copy, or, where the model cannot be copied, on the model itself, which is put back
    afterwards: parameters, buffers, gradients, modes, optimizer state and random generators are as before. Rules about
    the training loop are not judged. An error of the model's forward or of the loss in training mode is raised.
    """
    site = call_site.capture(1)
    optimizers = _as_list(optimizer)
    rules = [rule for rule in selected_rules(select, ignore, sides=("runtime", "probe")) if _judged(rule, optimizers)]
    model = torch_internals.unwrapped(model)[0]  # a wrapper's backward may talk to other processes
    with ExitStack() as stack:
        stack.enter_context(_apart_from_other_watches())
        stack.enter_context(random_states_kept())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(_no_fast_path())
        outcomes, gaps = _probe({rule.name for rule in rules}, model, loss, optimizers, inputs, targets)
        with working_copy(model, loss, optimizers) as working:
            seen = Watch(working.model, working.optimizers, None, select, ignore, rules=rules)
            with seen:
                session, name = seen.session, _argument_text(site, 0, "model") or type(model).__name__
                seen.add(ProbeObserver(session, working.model, name, site, outcomes))
                for rule, reason in gaps:
                    session.out_of_sight(name, reason, rule)
                _train(session, working, inputs, targets, name)
                for record in session.optimizers.values():
                    record.name = _argument_text(site, 4, "optimizer") or record.kind
                _evaluate(session, working, inputs, name)
    return seen


def _as_list(optimizer: Any) -> list[torch.optim.Optimizer]:
    if optimizer is None:
        return []
    return [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer)


def _judged(rule: Rule, optimizers: Sequence[torch.optim.Optimizer]) -> bool:
    left_out = _LOOP_HOOKS if optimizers else (*_LOOP_HOOKS, *_OPTIMIZER_HOOKS)
    return not any(getattr(type(rule), hook, None) is not getattr(Rule, hook, None) for hook in left_out)


@contextmanager
def _apart_from_other_watches() -> Iterator[None]:
    """What an open watch of the user's training must not see."""
    outer = hooks.current()
    if outer is None:
        yield
        return
    with outer.paused():
        try:
            yield
        finally:
            hooks.set_current(outer)


@contextmanager
def _no_fast_path() -> Iterator[None]:
    """Transformer layers in eval mode hide their functions in one kernel."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def _probe(
    names: set[str],
    model: nn.Module,
    loss: Any,
    optimizers: Sequence[torch.optim.Optimizer],
    inputs: Any,
    targets: Any,
) -> tuple[list[Located], list[tuple[str, str]]]:
    """The outcomes of the selected probes, and the rules that are unknown with the reason."""

    def leak(working: WorkingCopy) -> Located | None:
        with torch.backends.cudnn.flags(enabled=False):  # its recurrent layers have no backward in eval mode
            return batch_leakage(working, inputs)

    def first_loss(working: WorkingCopy) -> Located | None:
        if any(parameter.grad is not None for parameter in model.parameters()):
            raise Unseen("it has gradients already")
        found = probes.first_loss(working, inputs, targets)
        return None if found is None else (found, None)

    def overfit(working: WorkingCopy) -> Located:
        return probes.overfit_trial(working, inputs, targets), None

    outcomes: list[Located] = []
    gaps: list[tuple[str, str]] = []
    for name, probe in (
        ("batch-leakage", leak),
        ("unexpected-initial-loss", first_loss),
        ("cannot-overfit-batch", overfit),
    ):
        if name not in names:
            continue
        try:
            with working_copy(model, loss, optimizers) as working:
                found = probe(working)
        except Unseen as reason:
            gaps.append((name, str(reason)))
        except Exception as error:  # in training mode it is raised again by the first pass
            gaps.append((name, f"the probe ended in {type(error).__name__}"))
        else:
            outcomes += [found] if found is not None else []
    return outcomes, gaps


def _train(session: Session, working: WorkingCopy, inputs: Any, targets: Any, name: str) -> None:
    """A few training passes, by the user's optimizer or by one of ours."""
    trained = [one for one in working.model.parameters() if one.requires_grad and one.is_leaf]
    if not trained:
        session.out_of_sight(name, "none of its parameters is trained")
        return
    if not working.optimizers:
        working.optimizers = [torch.optim.SGD(trained, lr=_RATE)]
    if not working.model.training:
        working.model.train()
    try:
        for _ in range(_PASSES):
            probes.train_once(working, inputs, targets)
    except Unseen as reason:
        session.out_of_sight(name, f"no training pass: {reason}")


def _evaluate(session: Session, working: WorkingCopy, inputs: Any, name: str) -> None:
    """A few forwards in eval mode."""
    try:
        working.model.eval()
        with torch.no_grad():
            for _ in range(_EVALUATIONS):
                call(working.model, fresh(inputs))
    except Exception as error:  # a model that wants other inputs there
        session.out_of_sight(name, f"its forward in eval mode ended in {type(error).__name__}")


def _argument_text(site: Site | None, position: int, name: str) -> str:
    """The user's expression for an argument of `inspect`, empty where it is long, a call, or not found."""
    try:
        tree = ast.parse(site.text().strip(), mode="eval").body if site is not None else None
    except (SyntaxError, ValueError):
        return ""
    if not isinstance(tree, ast.Call):
        return ""
    given = [*tree.args[position : position + 1], *(one.value for one in tree.keywords if one.arg == name)]
    text = ast.unparse(given[0]) if given and isinstance(given[0], ast.Name | ast.Attribute) else ""
    return text if len(text) <= 40 else ""
