"""Reads `RepeatedBatches`: datasets whose workers all draw from copies of one generator, or start from one seed."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.repeated_batches import RepeatedBatches
from modellint.source.data_loops import DataLoop, absent, constant, data_loops, header, names_in
from modellint.source.interpreter.values import FunctionValue, LibraryObject, LoaderValue, ObjectValue, Site, Value
from modellint.source.method_reach import library_name, reached, self_attributes
from modellint.source.places import Places
from modellint.source.transforms import is_random, pipeline
from modellint.source.tree import walk

_GENERATORS = frozenset({"random.Random", "numpy.random.RandomState", "numpy.random.default_rng", "torch.Generator"})
_SEEDING = frozenset({"seed", "manual_seed", "set_state", "setstate"})
_LIBRARY_OF_SEED = {"random.seed": "random", "numpy.random.seed": "numpy", "torch.manual_seed": "torch"}
_TORCH_DRAWS = frozenset({"rand", "randn", "randint", "randperm", "bernoulli", "normal", "multinomial", "rand_like",
                          "randn_like", "normal_", "uniform_", "bernoulli_", "random_"})  # fmt: skip


def read(places: Places) -> Iterator[RepeatedBatches]:
    """One fact for each loop that trains with several workers whose draws are the same for sure."""
    seen: set[object] = set()
    for loop in data_loops(places):
        workers = constant(loop.made, "num_workers", 0)
        if not loop.trains or not isinstance(workers, int) or workers < 2:
            continue
        for cause, text, site in (*_kept_generator(loop), *_seeded_workers(loop)):
            place, name = header(places, loop.record)
            fact = RepeatedBatches(
                place, name, workers, 0, 0, cause=cause, generator=text, generator_place=places.optional(site)
            )
            if (place, cause) not in seen:
                seen.add((place, cause))
                yield fact
            break


def _kept_generator(loop: DataLoop) -> Iterator[tuple[str, str, Site | None]]:
    """A generator that the constructor makes and `__getitem__` draws from."""
    data = loop.data
    if data is None or not isinstance(data.value, ObjectValue) or not absent(loop.made, "worker_init_fn"):
        return
    cls = data.value.cls
    code = [node for _, node in reached(cls, "__getitem__")]
    if not code or cls.unknown_base:
        return
    for name, value in data.attrs.items():
        if not (isinstance(value, LibraryObject) and value.name in _GENERATORS):
            continue
        uses = [self_attributes(node) for node in code]
        if any(name in read for read, _, _ in uses) and not any(name in written for _, written, _ in uses):
            if not any(_SEEDING & names_in(node) or "get_worker_info" in names_in(node) for node in code):
                yield "kept", f"self.{name}", value.site


def _seeded_workers(loop: DataLoop) -> Iterator[tuple[str, str, Site | None]]:
    """A `worker_init_fn` that seeds each worker with the same constant."""
    function = loop.made.arguments.get("worker_init_fn")
    data = loop.data
    if not isinstance(function, FunctionValue) or data is None:
        return
    arguments = function.node.args
    own = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    own |= {n.id for n in walk(function.node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    drawn = _draws(data.value, data.attrs)
    for node in walk(function.node):
        if not isinstance(node, ast.Call) or len(node.args) != 1:
            continue
        library = _LIBRARY_OF_SEED.get(library_name(function.file, node.func))
        seed = node.args[0]
        if any(isinstance(part, ast.Call) for part in walk(seed)) or own & names_in(seed):
            continue
        if library in drawn:
            yield "seeded", ast.unparse(node), Site(function.file, node)


def _draws(value: Value, attrs: dict[str, Value]) -> set[str]:
    """The libraries whose global generators a dataset draws from, as far as that shows."""
    result: set[str] = set()
    if any(is_random(step) for given in attrs.values() for step in pipeline(given) or ()):
        result.add("torch")
    if isinstance(value, LoaderValue) or not isinstance(value, ObjectValue):
        return result
    for file, node in reached(value.cls, "__getitem__"):
        for part in walk(node):
            owner, _, last = (library_name(file, part.func) if isinstance(part, ast.Call) else "").rpartition(".")
            if owner == "numpy.random":
                result.add("numpy")
            elif owner == "random":
                result.add("random")
            elif owner == "torch" and last in _TORCH_DRAWS:
                result.add("torch")
    return result
