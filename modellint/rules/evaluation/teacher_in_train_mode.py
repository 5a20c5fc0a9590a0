"""teacher-in-train-mode."""

from __future__ import annotations

from modellint.rule import Category, Finding, Iterator, Note, Rule, TeacherForward


class TeacherInTrainMode(Rule):
    """A teacher or target net answers in train mode.

    A model that no optimizer holds and whose weights do not move, run between two steps of a model that learns, always
    in train mode, with dropout or norms that keep running statistics.

    Its answers are noisy (dropout), depend on the batch, and its running statistics move: the student chases a target
    that is worse than the teacher is.
    """

    category = Category.SUSPICIOUS
    sides = ("source", "runtime")
    bad = """
    import copy

    import torch
    from torch import nn

    teacher = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    student = copy.deepcopy(teacher)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    for _ in range(4):
        x = torch.randn(16, 8)
        with torch.no_grad():
            target = teacher(x).softmax(dim=1)  # expect: teacher-in-train-mode
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(student(x), target)
        loss.backward()
        optimizer.step()
    """
    good = """
    import copy

    import torch
    from torch import nn

    teacher = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    student = copy.deepcopy(teacher)
    teacher.eval()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    for _ in range(4):
        x = torch.randn(16, 8)
        with torch.no_grad():
            target = teacher(x).softmax(dim=1)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(student(x), target)
        loss.backward()
        optimizer.step()
    """
    fine_when = (
        "Its weights follow the student's: momentum encoders, mean teachers.",
        "It has no layer that acts differently in train mode.",
        "It runs in eval mode in the same step, or an optimizer of its own trains it (a generator, a discriminator).",
    )
    references = ("docs.pytorch.org/tutorials/beginner/knowledge_distillation_tutorial.html",)

    def teacher_forward(self, use: TeacherForward) -> Iterator[Finding]:
        if use.moves or use.told_to_train or not use.model.mode_dependent:
            return
        if use.run is None:
            if not use.train_passes or not use.model.certain_mode_dependent:
                return
        elif use.train_passes < 2 or use.train_passes < use.run.watched:
            return
        layer = use.model.mode_dependent[0]
        yield self.finding(
            at=use.place,
            message=f"`{use.model.text}` is not trained but runs in train mode while `{use.student}` learns",
            label=f"`{layer.name or layer.kind}` is active",
            related=[Note(layer.place, f"{layer.text} is active in train mode")] if layer.place is not None else [],
            why="its answers change with chance and with the other samples of the batch",
            help=f"call {use.model.text}.eval() once, after {use.student}.train() if it is a part of it",
        )
