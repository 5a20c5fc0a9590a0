"""What one root was used for, and the facts that say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from modellint.facts.forward_use import ForwardUse, Mode, ModeState, Purpose
from modellint.facts.model import ModelRef
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.runtime.call_site import Site
from modellint.runtime.evaluation import Tally
from modellint.runtime.forward_fate import Forward
from modellint.runtime.mode_parts import ModePart, ModeParts
from modellint.runtime.models import layer_ref, model_ref
from modellint.runtime.session import RootRecord, Session


@dataclass(slots=True, eq=False)
class RootUse:
    """What one root was used for."""

    root: RootRecord
    parts: ModeParts
    last: dict[bool, Site] = field(default_factory=dict)
    """By mode: its last forward."""
    evaluations: dict[tuple[Site, bool, bool], Tally] = field(default_factory=dict)
    given: bool = False
    """A caller named its evaluations."""
    windows: int = 0
    """Windows in which it was evaluated."""
    traced_windows: int = 0
    training_site: Site | None = None
    trained_in_train: int | None = None
    """The first pass with a training forward in train mode: how many steps came before it."""
    was_training_at: Site | None = None
    eval_passes: int = 0
    """Passes of which every training forward was in eval mode."""
    eval_after_train: int = 0
    first_eval: int = 0
    eval_site: Site | None = None
    eval_seen_at: Site | None = None
    """A forward in eval mode that did not train, before the first of these passes."""
    eval_sites: dict[Site, None] = field(default_factory=dict)
    """Where it ran in eval mode."""
    eval_parts: tuple[ModePart, ...] = ()
    held: int = 0
    """Forwards with a graph that nothing had used when the watch ended."""

    def note_pass(self, step: int, trained: list[Forward]) -> None:
        """A step of its optimizer ended a window in which these of its forwards trained."""
        in_train = next((forward for forward in trained if forward.training), None)
        if in_train is not None:
            if self.trained_in_train is None or step < self.trained_in_train:
                self.trained_in_train = step
            self.training_site = self.was_training_at = in_train.site
            return
        self.eval_passes += 1
        before = [
            known for known in (self.trained_in_train, self.root.first_plain) if known is not None and known < step
        ]
        if before:
            self.eval_after_train += 1
        if self.eval_site is None or (before and self.eval_after_train == 1):
            self.first_eval, self.eval_site = step, trained[0].site
            self.eval_parts = self.parts.active(training=False)
            self.eval_seen_at = next((site for site in reversed(self.eval_sites) if site != self.eval_site), None)


def training_uses(session: Session, use: RootUse) -> Iterator[ForwardUse]:
    """Its training forwards: what mode they ran in."""
    root = use.root
    ever = use.trained_in_train is not None or root.first_plain is not None
    if use.eval_site is None:
        if use.training_site is not None:
            state = ModeState(Mode.TRAIN, None, "", False)
            yield _use(session, use, use.training_site, Purpose.TRAIN, (state,), use.parts.active(), 0, root.steps, 0)
        return
    site, parts = use.eval_site, use.eval_parts
    states: tuple[ModeState, ...]
    if use.eval_after_train >= 2:
        states = (
            ModeState(Mode.TRAIN, _span(use.was_training_at), "was in training mode here before", False),
            ModeState(Mode.EVAL, _span(use.eval_seen_at), "evaluated here, in eval mode", False, True),
        )
        times, likely = use.eval_after_train, False
    elif ever or use.eval_passes < 2 or not parts:
        return
    elif not any(part.drops for part in parts) or not all(p.trainable for p in root.parameters.values()):
        session.out_of_sight(
            root.text(), "trained in eval mode from the start, which may be on purpose", "missing-train"
        )
        return
    else:
        states = (ModeState(Mode.EVAL, None, "it was never in training mode", True),)
        times, likely = use.eval_passes, True
    yield _use(
        session, use, site, Purpose.TRAIN, states, parts, times, root.steps, use.first_eval, likely=likely, grad=True
    )


def evaluation_uses(session: Session, use: RootUse, reason: str) -> Iterator[ForwardUse]:
    """Its evaluations, by place. `reason`: why they may be something else, empty when they cannot."""
    tallies = [tally for tally in use.evaluations.values() if tally.count > 0]
    whole = sum(tally.count for tally in tallies)
    if use.held >= 2:
        session.out_of_sight(use.root.text(), "outputs with their graphs are still held", "missing-no-grad")
    if whole < 2:
        return
    if reason and any(tally.graph or (tally.training and tally.active) for tally in tallies):
        session.out_of_sight(use.root.text(), reason, "missing-eval", "missing-no-grad")
        return
    for tally in tallies:
        likely = not (any(part.drops for part in tally.active) or tally.taken)
        mode = Mode.TRAIN if tally.training else Mode.EVAL
        other = use.last.get(not tally.training)
        states = [ModeState(mode, None, "", False)]
        if tally.training and use.training_site is not None:
            states.append(ModeState(mode, use.training_site.span(), "trained here, in the same mode", False))
        if tally.training and other is not None:
            states.append(ModeState(mode, other.span(), "was in eval mode here", False))
        yield _use(
            session,
            use,
            tally.site,
            Purpose.EVALUATION,
            tuple(states),
            tally.active,
            tally.count,
            whole,
            tally.first_step,
            likely=likely,
            grad=tally.graph,
        )


def _use(
    session: Session,
    use: RootUse,
    site: Site,
    purpose: Purpose,
    states: tuple[ModeState, ...],
    parts: tuple[ModePart, ...],
    times: int,
    watched: int,
    first_step: int,
    *,
    likely: bool = False,
    grad: bool = True,
) -> ForwardUse:
    evaluated = purpose is Purpose.EVALUATION
    evidence = RunEvidence(
        times,
        watched,
        first_step,
        "evaluation batches" if evaluated else "training steps",
        root=use.root.key,
        likely=likely and not evaluated,
    )
    model = _model(session, use, site, parts, certain=not likely)
    return run_use(site, model, purpose, states, grad, evidence)


def _model(session: Session, use: RootUse, site: Site, parts: tuple[ModePart, ...], *, certain: bool) -> ModelRef:
    layers = tuple(layer_ref(session, use.root, part.record) for part in parts)
    model = model_ref(session, use.root, complete=True, mode_dependent=layers)
    callee = site.callee()
    text = callee if callee and len(callee) <= 40 else model.text
    return replace(model, text=text, certain_mode_dependent=bool(layers) and certain)


def run_use(
    site: Site,
    model: ModelRef,
    purpose: Purpose,
    states: tuple[ModeState, ...],
    grad: bool,
    evidence: RunEvidence,
) -> ForwardUse:
    """The fact, with what only code shows left empty."""
    trained = purpose is Purpose.TRAIN
    return ForwardUse(
        place=site.span(),
        model=model,
        modes=states,
        grad=grad,
        grad_place=None,
        backwarded=trained,
        stepped=trained,
        in_training_pass=trained,
        unfollowed_result=False,
        needs_gradient=False,
        signs=(),
        repeated=evidence.watched >= 2,
        input_is_dummy=False,
        functions=(site.code.co_name,),
        calls=(),
        stochastic_on_purpose=False,
        framework=None,
        in_test_suite=False,
        model_device=None,
        input_device=None,
        input_text="",
        input_place=None,
        input_unmoved=False,
        model_unmoved=False,
        run=evidence,
        observed=purpose,
    )


def _span(site: Site | None) -> Span | None:
    return site.span() if site is not None else None
