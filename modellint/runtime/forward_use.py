"""Forwards of models from a run: in which mode and with what graph they ran, and what they turned out to be for.

A forward *trained* if a backward came through its output. It was an *evaluation* if its root ran on several inputs in
a stretch of a window in which nothing trained (see `evaluation`), or if a caller says so (`session.phase`). Everything
is judged when the graphs of a window are used or gone, and kept as counts by place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from modellint.facts.forward_use import ForwardUse
from modellint.runtime.call_site import Site
from modellint.runtime.checkpoint import checkpoint_site
from modellint.runtime.evaluation import SeenWindow
from modellint.runtime.forward_fate import Fate, Forward, tensors_of
from modellint.runtime.mode_parts import ModeParts, reads_mode
from modellint.runtime.observer import Observer
from modellint.runtime.root_use import RootUse, evaluation_uses, training_uses
from modellint.runtime.seen_tensors import SeenTensors
from modellint.runtime.session import ModuleCall, OptimizerRecord, RootCall, RootRecord, Session, Window

_MOST_ITEMS = 64
_MOST_OPEN = 16
"""Windows whose graphs are still alive; the oldest is judged without knowing."""
_FEWEST_WINDOWS = 4
"""From here on a stretch that comes in half of the windows is part of the step."""


class ForwardUseObserver(Observer):
    """Makes a ForwardUse of every call of a model that trained or evaluated."""

    makes = (ForwardUse,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._uses: dict[int, RootUse] = {}
        self._window: SeenWindow | None = None
        self._open: list[SeenWindow] = []
        self._tensors = SeenTensors()
        self._feeds: set[tuple[int, int]] = set()
        """The output of the first root was an input of the second one."""
        self._loaders = 0
        self._trained_at: dict[tuple[int, Site | None], int] = {}
        """Where a root trained last, and how many loader iterators had been started then."""
        self._traced_windows = 0

    # What happens

    def root_registered(self, root: RootRecord, module: nn.Module) -> None:
        if root.parameters:
            use = self._uses[root.key] = RootUse(root, ModeParts(root))
            use.parts.refresh()

    def module_begins(self, call: ModuleCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        use = self._uses.get(call.root_call.root.key)
        if use is None:
            return
        part = use.parts.by_id.get(call.key)
        if part is not None:
            part.ran = True

    def loader_started(self, loader: Any, site: Site | None) -> None:
        self._loaders += 1

    def root_ends(self, call: RootCall, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if output is None:
            return  # it raised
        given, _ = tensors_of((args, call.keywords))
        sources = self._tensors.sources(given)
        use = self._uses.get(call.root.key)
        if use is None:
            self._without_parameters(module, sources, output)
            return
        use.parts.refresh()
        use.parts.seen_inside |= call.detail
        forward = Forward(
            self.session, call.root.key, call.step, call.site, call.training, self._tensors.numbered(given, args)
        )
        if call.training and use.parts.by_id:
            if use.parts.recalibrates():
                return
            forward.active = use.parts.active()
        forward.loader = self._loaders
        for source in sources:
            if source.root != call.root.key:
                forward.fed.append(source)
                self._feeds.add((source.root, call.root.key))
        forward.losses = call.training and _returns_losses(call.root.cls, output)
        if call.grad or not call.training or checkpoint_site() is None:
            forward.follow(output, call.grad)
        self._tensors.remember(output, [forward])
        if call.site is not None:
            use.last[call.training] = call.site
            if not call.training:
                use.eval_sites[call.site] = None
        window = self._window
        if window is None:
            window = self._window = SeenWindow(call.step, self.session.window.traced)
        if not (forward.losses and forward.fate is Fate.NO_GRAPH):
            window.append(forward)
        if len(window.items) > _MOST_ITEMS:
            window.fold(self._unclear)

    def step_ends(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer, window: Window) -> None:
        if window.traced:
            self._traced_windows += 1
        ended, self._window = self._window, None
        if ended is not None:
            present = [use.root for use in self._uses.values()]
            ended.stepped = frozenset(
                root.key for root in present if any(key in record.held for key in root.parameters)
            )
            ended.backwards = window.backwards
            self._open.append(ended)
        if self._open:
            self._settle()

    def closing(self) -> None:
        for window in [*self._open, *([self._window] if self._window is not None else [])]:
            for item in window.items:
                if isinstance(item, Forward):
                    item.leave()
        if self._window is not None:
            self._open.append(self._window)
            self._window = None
        self._settle(final=True)

    # Who is who

    def _without_parameters(self, module: nn.Module, sources: list[Forward], output: Any) -> None:
        """A loss takes an output; an activation or a resizing passes it on."""
        if not sources:
            return
        if isinstance(module, nn.modules.loss._Loss) or (isinstance(output, torch.Tensor) and output.dim() == 0):
            for source in sources:
                source.taken = True
                if source.tally is not None:
                    source.tally.loss_took()
        else:
            self._tensors.remember(output, sources)

    # What it was for

    def _unclear(self, forward: Forward) -> bool:
        """A training forward whose loss was not used looks the same as an evaluation by the same line."""
        if forward.losses:
            return True
        if not forward.training or forward.under is not None:
            return False
        return self._trained_at.get((forward.root, forward.site)) == forward.loader

    def _settle(self, *, final: bool = False) -> None:
        waiting: list[SeenWindow] = []
        for position, window in enumerate(self._open):
            if window.pending() and not final and len(self._open) - position <= _MOST_OPEN:
                waiting.append(window)
            else:
                self._judge(window, final=final)
        self._open = waiting

    def _judge(self, window: SeenWindow, *, final: bool) -> None:
        for item in window.items:
            if isinstance(item, Forward) and item.fate is Fate.TRAINED:
                self._trained_at[item.root, item.site] = item.loader
        for forward in window.fold(self._unclear, final=True):
            if final:
                self._uses[forward.root].held += 1
        for key in window.stepped & window.trained.keys():
            self._uses[key].note_pass(window.number, window.trained[key])
        if window.stepped and window.backwards and not window.trained:
            return  # something was meant to train here
        evaluated: set[int] = set()
        for stretch in window.stretches():
            for tally, given in stretch.evaluations():
                use = self._uses[tally.root]
                use.given |= given
                evaluated.add(tally.root)
                place = (tally.site, tally.training, tally.graph)
                known = use.evaluations.get(place)
                if known is None:
                    use.evaluations[place] = tally
                elif known is not tally:
                    known.merge(tally)
        for key in evaluated:
            self._uses[key].windows += 1
            self._uses[key].traced_windows += window.traced

    # The facts

    def facts(self) -> Iterator[object]:
        anything_trained = any(use.root.steps for use in self._uses.values())
        for use in self._uses.values():
            if anything_trained and not use.root.steps:
                continue  # a teacher, an average of weights, a frozen extractor
            yield from training_uses(self.session, use)
            yield from evaluation_uses(self.session, use, self._reason_not_to_judge(use))

    def _reason_not_to_judge(self, use: RootUse) -> str:
        """Why what looks like an evaluation may be part of the training."""
        if use.given:
            return ""
        windows = use.root.steps + 1
        if windows >= _FEWEST_WINDOWS and 2 * use.windows >= windows:
            return "it runs without a backward in every other step: part of the step"
        if self._traced_windows >= _FEWEST_WINDOWS and 2 * use.traced_windows >= self._traced_windows:
            return "it runs without a backward in every other step: part of the step"
        mine = self._optimizers(use.root)
        for source, target in self._feeds:
            other = self._uses.get(target)
            if source == use.root.key and other is not None and other.root.steps:
                if not mine & self._optimizers(other.root):
                    return "it feeds a model that another optimizer trains: sampling may be on purpose"
        return ""

    def _optimizers(self, root: RootRecord) -> set[int]:
        return {
            optimizer.key
            for optimizer in self.session.optimizers.values()
            if optimizer.steps and any(key in optimizer.held for key in root.parameters)
        }


def _returns_losses(cls: type, output: Any) -> bool:
    """In train mode some detectors return their losses and no predictions: that can be had in no other mode."""
    if cls.__module__.startswith("torchvision.models.detection"):
        return True
    if not isinstance(output, dict) or not output or not reads_mode(cls):
        return False
    return all(isinstance(value, torch.Tensor) and value.dim() == 0 for value in output.values())
