"""Reads what is known of shapes: `SizeClash`, `RecutView`, `FoldedBatch`, `SoftmaxUse`, `StarvedNorm`."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.folded_batch import FoldedBatch
from modellint.facts.recut_view import RecutView
from modellint.facts.size_clash import SizeClash
from modellint.facts.softmax_use import SingleAxis, SoftmaxUse
from modellint.facts.starved_norm import StarvedNorm
from modellint.source.interpreter.values import ModuleValue
from modellint.source.places import Places


def read(places: Places) -> Iterator[object]:
    """One fact for each place."""
    shapes = places.records.shapes
    for clash in shapes.clashes.values():
        yield SizeClash(
            place=places.span(clash.site),
            layer=places.layer(_name(clash.root, clash.layer), clash.layer),
            model=places.model(clash.root, clash.root.name) if clash.root is not None else None,
            parameter=clash.parameter,
            given=clash.given,
            wanted=clash.wanted,
            axis=clash.axis,
            maker=clash.made[1] if clash.made is not None else None,
            maker_place=places.span(clash.made[0]) if clash.made is not None else None,
        )
    for recut in shapes.recuts.values():
        yield RecutView(places.span(recut.site), recut.text, recut.before, recut.after, recut.order)
    for fold in shapes.folds.values():
        if fold.layer is not None:
            layer = places.layer("", fold.layer)
            yield FoldedBatch(places.span(fold.site), fold.text, fold.before, fold.width, fold.rows, layer)
    for use in shapes.softmaxes.values():
        yield SoftmaxUse(
            place=places.span(use.site),
            text=use.text,
            log=use.log,
            implicit=use.implicit,
            ranks=tuple(sorted(rank for rank in use.ranks if rank is not None)),
            every_rank_known=bool(use.ranks) and None not in use.ranks,
            single=tuple(
                SingleAxis(places.span(call), text, places.span(made))
                for call, (made, text) in {call: (made, text) for call, made, text in use.single}.items()
            ),
        )
    for norm in shapes.starved.values():
        forwards = [record for record in places.records.forwards if record.model is norm.root]
        yield StarvedNorm(
            place=places.span(norm.site),
            layer=places.layer(_name(norm.root, norm.layer), norm.layer),
            model=places.model(norm.root, norm.root.name),
            samples=norm.samples,
            trains=bool(places.records.steps) and any(record.backwards for record in forwards),
        )


def _name(root: ModuleValue | None, layer: ModuleValue) -> str:
    if root is None:
        return ""
    return next((name for name, part in root.walk() if part is layer), "")
