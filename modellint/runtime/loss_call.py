"""What a run notes of the calls of one loss, and the fact that it becomes."""

from __future__ import annotations

from dataclasses import dataclass

from modellint.facts.loss_use import LossUse, OutputKind, Step
from modellint.facts.run_evidence import RunEvidence
from modellint.runtime.call_site import Site
from modellint.runtime.loss_functions import DIFFERENCE, LossFunction
from modellint.runtime.loss_input import LossInput, class_axis
from modellint.runtime.loss_values import ValueRange
from modellint.runtime.models import model_ref
from modellint.runtime.session import Session


@dataclass(slots=True, eq=False)
class LossCall:
    """All calls of one loss at one place whose input was made in one way."""

    site: Site | None
    function: LossFunction
    value: LossInput
    criterion: str = ""
    """`CrossEntropyLoss` when a module of torch called the function; empty for a function."""
    input_shape: tuple[int, ...] | None = None
    target_shape: tuple[int, ...] | None = None
    reduction: str = ""
    aligned: bool = False
    reached: int = 0
    """How often a backward met it."""
    first_step: int = 0
    values: ValueRange | None = None

    def key(self) -> object:
        """Equal for calls that a rule judges alike."""
        root = self.value.root.key if self.value.root is not None else 0
        same_shape = not self.function.element_wise or self.input_shape == self.target_shape
        made = (self.value.kind, self.value.maker, root, self.value.softmax_dim)
        return self.site, self.function.name, made, same_shape, self.aligned

    def fact(self, session: Session, site: Site, kind: OutputKind, calls: int) -> LossUse:
        """The fact; `calls` counts all calls of losses at this place that a backward met."""
        value, place, callee = self.value, site.span(), site.callee()
        name = self.function.name
        loss = self.criterion or (callee if callee.rpartition(".")[2] == name else f"F.{name}")
        if self.function is DIFFERENCE:
            loss = callee = site.text()
        maker_place = value.maker.place(session) if value.maker is not None else None
        forward = value.forward.span() if value.forward is not None else None
        steps = [Step(maker_place, value.maker.text)] if value.maker is not None and maker_place is not None else []
        if forward is not None and value.forward is not None:
            steps.append(Step(forward, f"{value.forward.callee()}(...)"))
        axis = class_axis(self.function, self.input_shape or ())
        run = RunEvidence(
            self.reached,
            calls,
            self.first_step,
            "loss calls",
            self.values.numbers() if self.values is not None else (),
            value.root.key if value.root is not None else 0,
            self.values is not None and not self.values.exact,
        )
        return LossUse(
            place=place,
            loss=loss,
            loss_text=callee,
            loss_place=None,
            expects=self.function.expects,
            input=kind,
            maker=value.maker.text if value.maker is not None else None,
            maker_place=maker_place,
            steps=(*steps, Step(place, f"{callee}(...)")) if kind is not OutputKind.UNKNOWN else (),
            model=model_ref(session, value.root, complete=True) if value.root is not None else None,
            model_place=forward,
            classes=self.input_shape[axis] if axis is not None and self.input_shape else None,
            softmax_dim=value.softmax_dim,
            trains=True,
            target=OutputKind.UNKNOWN,
            run=run,
            input_shape=self.input_shape,
            target_shape=self.target_shape,
            softmax_shape=value.softmax_shape,
            reduction=self.reduction,
            element_wise=self.function.element_wise,
            aligned=self.aligned,
        )
