"""`inspect`: what its probes find, and that nothing of the user's is touched."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from markers import compare
from torch import nn
from torch.nn import functional as F
from watching import markers_of

from modellint.config import UsageError
from modellint.finding import Certainty
from modellint.runtime.inspection import inspect
from modellint.runtime.watch import Watch, watch


def inspected(program: Callable[[], Watch]) -> Watch:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    seen = program()
    assert seen.closed
    assert not seen.failures, seen.failures
    return seen


def check(program: Callable[[], Watch]) -> Watch:
    """Run a program that returns an inspection, and assert that exactly the marked findings appear."""
    seen = inspected(program)
    problems = compare(markers_of(program), seen.findings)
    assert not problems, "\n".join(problems)
    return seen


def gaps(seen: Watch, rule: str) -> str:
    return "; ".join(gap.reason for gap in seen.out_of_sight if rule in gap.rules)


class Mlp(nn.Module):
    def __init__(self, inputs: int = 6, outputs: int = 4) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.5)
        self.fc2 = nn.Linear(16, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc2(self.drop(torch.relu(self.norm(self.fc1(x)))))
        return out


# batch-leakage: found


def softmax_over_the_batch() -> Watch:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)
            self.softmax = nn.Softmax(dim=0)  # expect: batch-leakage "`softmax`" "sample"

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.softmax(self.fc(x))
            return out

    return inspect(Net(), torch.randn(16, 6))


def functional_softmax() -> Watch:
    class Net(nn.Module):  # expect: batch-leakage
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.fc(x), 0)

    return inspect(Net(), torch.randn(10, 6))


def wrong_view() -> Watch:
    class Net(nn.Module):  # expect: batch-leakage
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(5, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            time_first = x.transpose(0, 1).reshape(x.shape[0], x.shape[1], 5)
            out: torch.Tensor = self.fc(time_first).mean(1)
            return out

    return inspect(Net(), torch.randn(12, 9, 5))


def recurrence_over_the_batch() -> Watch:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(5, 8)  # expect: batch-leakage "`rnn`"
            self.head = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out, _ = self.rnn(x)
            logits: torch.Tensor = self.head(out[:, -1])
            return logits

    return inspect(Net(), torch.randn(16, 9, 5))


def reversed_recurrence() -> Watch:
    """Only the first sample depends on later ones."""

    class Net(nn.Module):  # expect: batch-leakage
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(x.flip(0).cumsum(0).flip(0))
            return out

    return inspect(Net(), torch.randn(16, 5))


def tokens_attend_over_the_batch() -> Watch:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(30, 8)
            self.encode = nn.TransformerEncoderLayer(8, 2, 16)  # expect: batch-leakage "replacing a sample"
            self.head = nn.Linear(8, 3)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(self.encode(self.words(ids)).mean(1))
            return logits

    return inspect(Net(), torch.randint(0, 30, (16, 9)))


def scaled_by_the_batch() -> Watch:
    class Net(nn.Module):  # expect: batch-leakage
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc((x - x.mean(0)) / x.std(0))
            return out

    return inspect(Net(), {"x": torch.randn(16, 5)})


# batch-leakage: silent


def layers_and_norms() -> Watch:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3, padding=1)
            self.batch_norm = nn.BatchNorm2d(6)
            self.group_norm = nn.GroupNorm(2, 6)
            self.instance_norm = nn.InstanceNorm2d(6, track_running_stats=True)
            self.skip = nn.Conv2d(3, 6, 1)
            self.drop = nn.Dropout2d(0.3)
            self.head = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = F.relu(self.batch_norm(self.conv(x)) + self.skip(x))
            h = self.drop(self.instance_norm(self.group_norm(h)))
            out: torch.Tensor = self.head(h.mean((2, 3)))
            return out

    return inspect(Net(), torch.randn(10, 3, 8, 8))


def batch_first_encoder() -> Watch:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(30, 8)
            self.encode = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.rnn = nn.GRU(8, 8, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            out, _ = self.rnn(self.encode(self.words(ids)))
            logits: torch.Tensor = self.head(out[:, -1])
            return logits

    return inspect(Net(), torch.randint(0, 30, (16, 9)))


def softmax_over_classes() -> Watch:
    return inspect(nn.Sequential(nn.Linear(6, 4), nn.Softmax(dim=1)), torch.randn(4, 6))


def norm_without_running_statistics() -> Watch:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)
            self.norm = nn.BatchNorm1d(4, track_running_stats=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.norm(self.fc(x))
            return out

    return inspect(Net(), torch.randn(16, 6))


def experts_by_their_best_token() -> Watch:
    """Routing is a choice: it has no gradient, and here no capacity."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.route = nn.Linear(6, 2)
            self.experts = nn.ModuleList(nn.Linear(6, 4) for _ in range(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weight = self.route(x).softmax(1)
            both = torch.stack([expert(x) for expert in self.experts], 1)
            return (both * weight[..., None]).sum(1)

    return inspect(Net(), torch.randn(16, 6))


def sampling_model() -> Watch:
    """Noise in eval mode is no leak."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(30, 8)
            self.fc = nn.Linear(8, 3)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            code = self.words(ids).mean(1)
            out: torch.Tensor = self.fc(code + torch.randn_like(code))
            return out

    return inspect(Net(), torch.randint(0, 30, (16, 9)))


# batch-leakage: unknown


def contrastive_head() -> Watch:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            code = F.normalize(self.fc(x), dim=1)
            return code @ code.t()

    return inspect(Net(), torch.randn(16, 6))


def time_first_model() -> Watch:
    return inspect(nn.LSTM(5, 8), torch.randn(9, 16, 5))


def time_first_tokens() -> Watch:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(30, 8)
            self.encode = nn.TransformerEncoderLayer(8, 2, 16)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.encode(self.words(ids))
            return out

    return inspect(Net(), torch.randint(0, 30, (9, 16)))


def one_sample() -> Watch:
    return inspect(nn.Linear(6, 4), torch.randn(1, 6))


def graph_of_nodes() -> Watch:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(x).index_add(0, edges[1], self.fc(x)[edges[0]])
            return out

    return inspect(Net(), (torch.randn(16, 6), torch.randint(0, 16, (2, 40))))


def one_number() -> Watch:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(x).mean()
            return out

    return inspect(Net(), torch.randn(16, 6))


def list_of_images() -> Watch:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)

        def forward(self, images: list[torch.Tensor]) -> list[torch.Tensor]:
            return [self.conv(image[None]).mean((0, 2, 3)) for image in images]

    return inspect(Net(), [torch.randn(3, 8, 8), torch.randn(3, 9, 9)])


def pooled_over_the_batch() -> Watch:
    """Seven classes are no batch of seven."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(x).mean(0)
            return out

    return inspect(Net(), torch.randn(16, 6))


def time_first_with_a_batch_of_seven() -> Watch:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(5, 8)
            self.head = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.rnn(x)[0][-1])
            return out

    return inspect(Net(), torch.randn(9, 7, 5))


def fixed_batch() -> Watch:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(x.view(10, 6))
            return out.softmax(0)

    return inspect(Net(), torch.randn(10, 6))


def equal_tokens() -> Watch:
    return inspect(nn.Embedding(9, 4), torch.ones(8, 5, dtype=torch.long))


# functional-dropout-always-on


def dropout_in_eval() -> Watch:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.dropout(self.fc(x), 0.5)  # expect: functional-dropout-always-on

    return inspect(Net(), torch.randn(16, 6))


def dropout_behind_a_transformer() -> Watch:
    """A watch cannot see it: its look at the functions would change which kernel runs. Here that harms nobody."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.dropout(self.encode(x), 0.1)  # expect: functional-dropout-always-on

    return inspect(Net(), torch.randn(16, 5, 8))


# unexpected-initial-loss


def wild_weights() -> Watch:
    class Net(nn.Module):  # expect: unexpected-initial-loss "guessing gives 0.693"
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(20, 64)
            self.fc2 = nn.Linear(64, 2)
            for parameter in self.parameters():
                nn.init.normal_(parameter)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc2(torch.relu(self.fc1(x)))
            return out

    return inspect(Net(), torch.randn(64, 20), torch.randint(0, 2, (64,)), F.cross_entropy)


class Wild(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(20, 4)
        nn.init.normal_(self.fc.weight, std=5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc(x)
        return out


def model_computes_its_loss() -> Watch:
    class Net(nn.Module):  # expect: unexpected-initial-loss
        def __init__(self) -> None:
            super().__init__()
            self.body = Wild()

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.body(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    return inspect(Net(), {"x": torch.randn(64, 20), "labels": torch.randint(0, 4, (64,))})


def pixels_count_as_samples() -> Watch:
    class Net(nn.Module):  # expect: unexpected-initial-loss "1,024 samples"
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 1)
            nn.init.normal_(self.conv.weight, std=9)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.conv(x)
            return out

    return inspect(Net(), torch.randn(4, 3, 16, 16), torch.randint(0, 5, (4, 16, 16)), nn.CrossEntropyLoss())


def usual_weights() -> Watch:
    return inspect(Mlp(20), torch.randn(64, 20), torch.randint(0, 4, (64,)), nn.CrossEntropyLoss())


def few_samples() -> Watch:
    return inspect(Wild(), torch.randn(16, 20), torch.randint(0, 4, (16,)), F.cross_entropy)


def few_that_count() -> Watch:
    y = torch.randint(0, 4, (64,))
    y[10:] = -1
    return inspect(Wild(), torch.randn(64, 20), y, nn.CrossEntropyLoss(ignore_index=-1))


def label_smoothing() -> Watch:
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    return inspect(Wild(), torch.randn(64, 20), torch.randint(0, 4, (64,)), loss)


def class_weights() -> Watch:
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.0, 1.0, 9.0]))
    return inspect(Wild(), torch.randn(64, 20), torch.randint(0, 4, (64,)), loss)


def soft_targets() -> Watch:
    return inspect(Wild(), torch.randn(64, 20), torch.rand(64, 4).softmax(1), F.cross_entropy)


def other_loss() -> Watch:
    return inspect(Wild(), torch.randn(64, 20), torch.randn(64, 4), F.mse_loss)


def trained_before() -> Watch:
    model, x, y = Wild(), torch.randn(64, 20), torch.randint(0, 4, (64,))
    F.cross_entropy(model(x), y).backward()
    return inspect(model, x, y, F.cross_entropy)


def stepped_before() -> Watch:
    model, x, y = Wild(), torch.randn(64, 20), torch.randint(0, 4, (64,))
    optimizer = torch.optim.Adam(model.parameters())
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    optimizer.zero_grad()
    return inspect(model, x, y, F.cross_entropy, optimizer)


def pretrained_norm() -> Watch:
    model = Mlp(20)
    model(torch.randn(8, 20))
    nn.init.normal_(model.fc2.weight, std=9)
    return inspect(model, torch.randn(64, 20), torch.randint(0, 4, (64,)), F.cross_entropy)


# cannot-overfit-batch

OVERFIT = ["cannot-overfit-batch"]


def nothing_learned() -> Watch:
    model, x, y = Mlp(), torch.randn(8, 6), torch.randint(0, 4, (8,))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
    return inspect(model, x, y, F.cross_entropy, optimizer, select=OVERFIT)  # expect: cannot-overfit-batch "100.0%"


def learned_slowly() -> Watch:
    model, x, y = Mlp(), torch.randn(32, 6), torch.randint(0, 4, (32,))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    return inspect(model, x, y, F.cross_entropy, optimizer, select=OVERFIT)  # expect: cannot-overfit-batch "16 samples"


def learned() -> Watch:
    model, x, y = Mlp(), torch.randn(32, 6), torch.randint(0, 4, (32,))
    return inspect(model, x, y, F.cross_entropy, torch.optim.Adam(model.parameters(), lr=0.03), select=OVERFIT)


def learned_by_lbfgs() -> Watch:
    model, x, y = nn.Linear(30, 1), torch.randn(8, 30), torch.randn(8, 1)
    return inspect(model, x, y, F.mse_loss, torch.optim.LBFGS(model.parameters(), lr=0.5), select=OVERFIT)


def no_optimizer() -> Watch:
    return inspect(Mlp(), torch.randn(8, 6), torch.randint(0, 4, (8,)), F.cross_entropy, select=OVERFIT)


def warm_up() -> Watch:
    model, x, y = Mlp(), torch.randn(8, 6), torch.randint(0, 4, (8,))
    return inspect(model, x, y, F.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.0), select=OVERFIT)


def functional_dropout_stays() -> Watch:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.dropout(self.fc(x), 0.5, self.training)

    model, x, y = Net(), torch.randn(8, 6), torch.randint(0, 4, (8,))
    return inspect(model, x, y, F.cross_entropy, torch.optim.SGD(model.parameters(), lr=1e-9), select=OVERFIT)


def negative_loss() -> Watch:
    model, x = nn.Linear(6, 4), torch.randn(8, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    return inspect(model, x, None, lambda out: out.mean(), optimizer, select=OVERFIT)


PROGRAMS = [
    softmax_over_the_batch, functional_softmax, wrong_view, recurrence_over_the_batch, reversed_recurrence,
    tokens_attend_over_the_batch, scaled_by_the_batch, layers_and_norms, batch_first_encoder, softmax_over_classes,
    dropout_in_eval, dropout_behind_a_transformer, norm_without_running_statistics, experts_by_their_best_token,
    sampling_model, wild_weights, model_computes_its_loss, pixels_count_as_samples, usual_weights, few_samples,
    few_that_count, other_loss, nothing_learned, learned_slowly, learned, learned_by_lbfgs,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_programs(program: Callable[[], Watch]) -> None:
    check(program)


@pytest.mark.parametrize(
    ("program", "rule", "reason"),
    [
        (contrastive_head, "batch-leakage", "more than one axis"),
        (time_first_model, "batch-leakage", "dim 1, which may be the batch"),
        (time_first_tokens, "batch-leakage", "dim 1, which may be the batch"),
        (one_sample, "batch-leakage", "one sample"),
        (graph_of_nodes, "batch-leakage", "disagree on the number of samples"),
        (one_number, "batch-leakage", "no output"),
        (list_of_images, "batch-leakage", "a list of tensors"),
        (pooled_over_the_batch, "batch-leakage", "no output"),
        (time_first_with_a_batch_of_seven, "batch-leakage", "no output"),
        (label_smoothing, "unexpected-initial-loss", "label smoothing"),
        (class_weights, "unexpected-initial-loss", "class weights"),
        (soft_targets, "unexpected-initial-loss", "soft targets"),
        (trained_before, "unexpected-initial-loss", "gradients already"),
        (stepped_before, "unexpected-initial-loss", "has been trained"),
        (pretrained_norm, "unexpected-initial-loss", "has been trained"),
        (no_optimizer, "cannot-overfit-batch", "a loss and an optimizer"),
        (warm_up, "cannot-overfit-batch", "learning rate is 0"),
        (functional_dropout_stays, "cannot-overfit-batch", "dropout stays on"),
        (negative_loss, "cannot-overfit-batch", "not above 0"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_unknown(program: Callable[[], Watch], rule: str, reason: str) -> None:
    assert reason in gaps(check(program), rule)


def test_equal_samples_say_nothing() -> None:
    check(equal_tokens)


def test_a_model_for_one_batch_size() -> None:
    assert [finding.rule for finding in inspected(fixed_batch).findings] == ["batch-leakage"]


def test_certainty_of_what_is_learned() -> None:
    assert [f.certainty for f in inspected(nothing_learned).findings] == [Certainty.CERTAIN]
    assert [f.certainty for f in inspected(learned_slowly).findings] == [Certainty.LIKELY]


def test_a_model_that_cannot_run_in_double_precision_leaks_likely() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(x.float())
            return torch.softmax(out, 0)

    seen = inspected(lambda: inspect(Net(), torch.randn(16, 6)))
    assert [(f.rule, f.certainty) for f in seen.findings] == [("batch-leakage", Certainty.LIKELY)]


def test_the_rules_of_a_training_that_are_not_about_its_loop_are_judged() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(6, 8)
            self.fc2 = nn.Linear(8, 4)
            nn.init.constant_(self.fc1.weight, 0.1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc2(torch.relu(self.fc1(x)))
            return out

    seen = inspected(lambda: inspect(Net(), torch.randn(8, 6)))
    assert [finding.rule for finding in seen.findings] == ["constant-weight-init"]
    assert seen.models == ("Net",)


def test_the_loop_is_ours() -> None:
    """Nothing is said about the order of steps, or about a forward without `no_grad`."""
    seen = inspected(lambda: inspect(Mlp(), torch.randn(8, 6), select=["ALL"]))
    assert not seen.findings


def test_the_answer_does_not_depend_on_the_random_state() -> None:
    model, x = Mlp(), torch.randn(8, 6)
    model.fc2 = nn.Sequential(nn.Linear(16, 4), nn.Softmax(dim=0))  # type: ignore[assignment]
    numbers = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        numbers.append([finding.seen for finding in inspect(model, x).findings])
    assert numbers[0] == numbers[1]
    assert numbers[0]


def test_rules_can_be_chosen() -> None:
    model, x = nn.Sequential(nn.Linear(6, 4), nn.Softmax(dim=0)), torch.randn(8, 6)
    assert inspect(model, x).findings
    assert not inspect(model, x, ignore=["batch-leakage"]).findings
    with pytest.raises(UsageError, match="batch-leakage"):
        inspect(model, x, select=["batch-leakag"])


def test_the_place_of_a_model_without_a_class_of_its_own_is_the_call() -> None:
    def program() -> Watch:
        model = nn.Sequential(nn.Linear(6, 4), nn.Softmax(dim=0))
        return inspect(model, torch.randn(8, 6))  # expect: batch-leakage "in eval mode"

    check(program)


# Nothing is touched


class Locked(Mlp):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return super().forward(x)


class Fails(Locked):
    """Raises in eval mode."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            self.fc1.weight.data.zero_()
            raise RuntimeError("no evaluation")
        return super().forward(x)


class FailsInTraining(Locked):
    """Raises in the third training forward."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and self.calls > 2:
            raise RuntimeError("no training")
        return super().forward(x)


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> dict[str, Any]:
    tensors = [*model.parameters(), *model.buffers()]
    return {
        "values": [tensor.detach().clone() for tensor in tensors],
        "versions": [tensor._version for tensor in tensors],
        "identities": [(id(tensor), tensor.data_ptr(), tensor.requires_grad) for tensor in tensors],
        "gradients": [id(p.grad) for p in model.parameters()],
        "gradient values": [p.grad.clone() for p in model.parameters() if p.grad is not None],
        "modes": [module.training for module in model.modules()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
        "optimizer": copy.deepcopy(optimizer.state_dict()),
        "optimizer keys": [id(p) for p in optimizer.state],
        "groups": [id(p) for group in optimizer.param_groups for p in group["params"]],
        "attributes": {key: value for key, value in vars(model).items() if isinstance(value, int)},
        "input": (x.clone(), x._version, x.requires_grad),
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": numpy.random.get_state()[1].tolist(),  # type: ignore[index, union-attr]
        "grad mode": torch.is_grad_enabled(),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "cudnn": torch.backends.cudnn.enabled,
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize("cls", [Mlp, Locked, Fails, FailsInTraining])
@pytest.mark.parametrize("select", [None, ["ALL"]], ids=["default", "all rules"])
def test_nothing_is_touched(cls: type[nn.Module], select: list[str] | None) -> None:
    torch.manual_seed(0)
    model, x, y = cls(), torch.randn(64, 6), torch.randint(0, 4, (64,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    torch.optim.lr_scheduler.StepLR(optimizer, 10)  # it replaces `optimizer.step`
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.norm.eval()  # type: ignore[operator, union-attr]
    model.fc1.bias.requires_grad = False  # type: ignore[union-attr]
    if cls is FailsInTraining:
        model.calls = 0  # type: ignore[assignment]
    before = state_of(model, optimizer, x)
    if cls is FailsInTraining:
        with pytest.raises(RuntimeError, match="no training"):
            inspect(model, x, y, F.cross_entropy, optimizer, select=select)
    else:
        seen = inspect(model, x, y, F.cross_entropy, optimizer, select=select)
        assert not seen.failures
    after = state_of(model, optimizer, x)
    if cls is not Mlp:
        del before["versions"]  # it was lent out, and counts that
    assert [key for key in before if not same(before[key], after[key])] == []


def test_a_model_that_writes_to_its_input() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x -= 1
            out: torch.Tensor = self.fc(x)
            return out

    x = torch.randn(8, 6)
    before = x.clone()
    assert not inspect(Net(), x).findings
    assert torch.equal(x, before)


def test_under_no_grad_and_inference_mode() -> None:
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            seen = inspected(lambda: inspect(nn.Sequential(nn.Linear(6, 4), nn.Softmax(dim=0)), torch.randn(8, 6)))
            assert not torch.is_grad_enabled()
        assert [finding.rule for finding in seen.findings] == ["batch-leakage"]


@pytest.mark.filterwarnings("ignore")  # torch calls scripts deprecated
def test_scripted_wrapped_and_reparametrised_models() -> None:
    x = torch.randn(8, 6)
    plain = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    reparametrised = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), nn.Linear(4, 2))
    not_copied = nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 4)), nn.Linear(4, 2))
    not_copied(x).sum().backward()  # its weight is inside of a graph now, which deepcopy refuses
    models = (torch.jit.script(plain), nn.DataParallel(plain), reparametrised, not_copied)
    for model in models:
        seen = inspected(lambda model=model: inspect(model, x))  # type: ignore[misc]
        assert not seen.findings
        assert seen.session.steps == 4


def test_lazy_layers_stay_lazy() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.LazyLinear(8)
            self.fc2 = nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc2(torch.relu(self.fc1(x)))
            return out

    model = Net()
    assert not inspected(lambda: inspect(model, torch.randn(8, 6))).findings
    assert isinstance(model.fc1.weight, nn.parameter.UninitializedParameter)
    model.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="run it once before"):
        inspect(model, torch.randn(8, 6))
    assert isinstance(model.fc1.weight, nn.parameter.UninitializedParameter)


def test_a_frozen_model() -> None:
    seen = inspected(lambda: inspect(Mlp().requires_grad_(False), torch.randn(8, 6)))
    assert not seen.findings
    assert any("none of its parameters" in gap.reason for gap in seen.out_of_sight)


def test_inspecting_inside_of_a_watch() -> None:
    """The open watch sees nothing of it, and goes on."""
    model, x, y = Mlp(), torch.randn(8, 6), torch.randint(0, 4, (8,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model) as outer:
        for step in range(6):
            if step == 2:
                assert not inspect(model, x, y, F.cross_entropy, optimizer).findings
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert not outer.failures
    assert outer.session.steps == 6
    assert [finding.rule for finding in outer.findings] == ["missing-zero-grad"]


def test_probe_rules_judge_no_training() -> None:
    model, x = nn.Sequential(nn.Linear(6, 4), nn.Softmax(dim=0)), torch.randn(8, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(select=["batch-leakage", "unexpected-initial-loss"]) as seen:
        for _ in range(4):
            optimizer.zero_grad()
            model(x).pow(2).mean().backward()
            optimizer.step()
    assert not seen.findings
