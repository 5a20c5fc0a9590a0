"""missing-super-init."""

from __future__ import annotations

from modellint.facts.module_class import SuperInit
from modellint.rule import Category, Finding, Iterator, ModuleClass, Note, Rule


class MissingSuperInit(Rule):
    """A module's constructor registers layers before, or without, calling super().__init__().

    A constructor in which a module, parameter or buffer is assigned on a path where no base class has called
    nn.Module.__init__ yet.

    nn.Module keeps its layers in tables that its constructor makes: without them the assignment raises
    AttributeError, as soon as somebody constructs the class.
    """

    category = Category.CORRECTNESS
    bad = """
    from torch import nn


    class Net(nn.Module):
        def __init__(self, width):  # expect: missing-super-init
            self.fc = nn.Linear(width, 1)

        def forward(self, x):
            return self.fc(x)
    """
    good = """
    from torch import nn


    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.fc = nn.Linear(width, 1)

        def forward(self, x):
            return self.fc(x)
    """
    fine_when = (
        "The base is called by name (`nn.Module.__init__(self)`), by a mixin or in `__post_init__` of a dataclass.",
        "Only plain values are assigned before the call.",
    )
    references = ("docs.pytorch.org/docs/stable/generated/torch.nn.Module.html",)

    def module_class(self, cls: ModuleClass) -> Iterator[Finding]:
        late = cls.super_init is SuperInit.LATE
        if cls.init_place is None or not (late or cls.super_init is SuperInit.ABSENT):
            return
        if cls.first_registration is None:
            return
        how = "before" if late else "without"
        needs = "needs the tables that nn.Module.__init__ makes"
        at, label, related = cls.init_place, "never calls super().__init__()", []
        if late and cls.first_registration_place is not None:
            at, label = cls.first_registration_place, needs
            related = [Note(cls.super_place, "called only here")] if cls.super_place is not None else []
        elif cls.first_registration_place is not None:
            related = [Note(cls.first_registration_place, needs, cause=True)]
        yield self.finding(
            at=at,
            message=f"`{cls.name}.__init__` registers `self.{cls.first_registration}` {how} calling super().__init__()",
            label=label,
            related=related,
            why=f"torch raises AttributeError at `self.{cls.first_registration}` whenever the class is constructed",
            help="call super().__init__() as the first statement of the constructor",
        )
