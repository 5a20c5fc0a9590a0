"""What reaches a loss, on a live run: the heads of section 6.7 and everything that must stay silent."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from watching import check, watched

from modellint.facts.loss_use import LossUse, OutputKind

CLASSES = torch.arange(16) % 5
BITS = (torch.arange(16) % 2).float()


def inputs() -> torch.Tensor:
    return torch.randn(16, 8)


def train(loss: Callable[[], torch.Tensor], *modules: nn.Module, steps: int = 5) -> None:
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


# Sigmoid before a loss with logits


def sigmoid_module() -> None:
    net, criterion = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid()), nn.BCEWithLogitsLoss()

    def loss() -> torch.Tensor:
        return criterion(net(inputs()).squeeze(1), BITS)  # expect: sigmoid-before-logits-loss "4 of 4 loss calls"

    train(loss, net)


def sigmoid_method_in_place() -> None:
    net = nn.Linear(8, 1)

    def loss() -> torch.Tensor:
        score = net(inputs()).sigmoid_()
        return F.binary_cross_entropy_with_logits(score[:, 0], BITS)  # expect: sigmoid-before-logits-loss

    train(loss, net)


def softmax_before_logits_loss() -> None:
    net = nn.Linear(8, 2)

    def loss() -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(  # expect: sigmoid-before-logits-loss "softmax"
            net(inputs()).softmax(1), F.one_hot(CLASSES % 2, 2).float()
        )

    train(loss, net)


def sigmoid_under_autocast() -> None:
    net, criterion = nn.Linear(8, 1), nn.BCEWithLogitsLoss()

    def loss() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            score = torch.sigmoid(net(inputs()))
        return criterion(score.float().view(-1), BITS)  # expect: sigmoid-before-logits-loss

    train(loss, net)


def sigmoid_in_a_sum_of_losses() -> None:
    net = nn.Linear(8, 1)

    def loss() -> torch.Tensor:
        score = net(inputs()).squeeze(1)
        wrong = F.binary_cross_entropy_with_logits(torch.sigmoid(score), BITS)  # expect: sigmoid-before-logits-loss
        return 0.5 * wrong + F.mse_loss(score, BITS) / 4

    train(loss, net)


def sigmoid_under_a_non_reentrant_checkpoint() -> None:
    net = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())

    def loss() -> torch.Tensor:
        score = checkpoint(net, inputs(), use_reentrant=False)
        return F.binary_cross_entropy_with_logits(score, BITS[:, None])  # expect: sigmoid-before-logits-loss

    train(loss, net)


def sigmoid_for_metrics_beside_the_logits() -> None:
    net = nn.Linear(8, 1)

    def loss() -> torch.Tensor:
        logits = net(inputs()).squeeze(1)
        p = torch.sigmoid(logits)
        dice = 1 - 2 * (p * BITS).sum() / (p.sum() + BITS.sum())
        hits = ((p > 0.5).float() == BITS).float().mean().item()
        assert hits >= 0
        return F.binary_cross_entropy_with_logits(logits, BITS) + dice

    train(loss, net)


def focal_weight() -> None:
    net = nn.Linear(8, 1)

    def loss() -> torch.Tensor:
        logits = net(inputs()).squeeze(1)
        p = torch.sigmoid(logits)
        each = F.binary_cross_entropy_with_logits(logits, BITS, reduction="none")
        return (each * (p - BITS).abs() ** 2).mean()

    train(loss, net)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.body = nn.Linear(8, 5), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        attention = torch.softmax(self.body(x) / 2, dim=1)
        return torch.sigmoid(self.gate(x)) * self.body(x) * attention


def gates_inside() -> None:
    net = Gated()
    train(lambda: F.cross_entropy(net(inputs()), CLASSES), net)


def scaled_sigmoid() -> None:
    net = nn.Linear(8, 1)
    train(lambda: F.binary_cross_entropy_with_logits(20 * torch.sigmoid(net(inputs())).squeeze(1) - 10, BITS), net)


def sigmoid_turned_back() -> None:
    net = nn.Linear(8, 1)
    train(lambda: F.binary_cross_entropy_with_logits(torch.logit(torch.sigmoid(net(inputs()))).squeeze(1), BITS), net)


def sigmoid_on_the_target_and_weight() -> None:
    net, other = nn.Linear(8, 1), nn.Linear(8, 1)

    def loss() -> torch.Tensor:
        x = inputs()
        soft, weight = torch.sigmoid(other(x)).detach(), torch.sigmoid(x[:, :1])
        return F.binary_cross_entropy_with_logits(net(x), soft, weight)

    train(loss, net)


def bce_after_sigmoid() -> None:
    net, criterion = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid()), nn.BCELoss()
    train(lambda: criterion(net(inputs()).squeeze(1), BITS), net)


def never_backwarded() -> None:
    net = nn.Linear(8, 1)

    def loss() -> torch.Tensor:
        logits = net(inputs()).squeeze(1)
        F.binary_cross_entropy_with_logits(torch.sigmoid(logits), BITS)
        return F.mse_loss(logits, BITS)

    train(loss, net)


class OwnSigmoid(torch.autograd.Function):
    """A function of the user's whose graph node is named like torch's, but for the number."""

    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: object, grad: torch.Tensor) -> torch.Tensor:
        return grad * 2


OwnSigmoid.__name__ = "Sigmoid"


def function_of_the_user() -> None:
    net = nn.Linear(8, 1)
    train(lambda: F.binary_cross_entropy_with_logits(OwnSigmoid.apply(net(inputs())).squeeze(1), BITS), net)


# Softmax before a cross entropy


def softmax_module() -> None:
    net, criterion = nn.Sequential(nn.Linear(8, 5), nn.Softmax(dim=1)), nn.CrossEntropyLoss()

    def loss() -> torch.Tensor:
        return criterion(net(inputs()), CLASSES)  # expect: softmax-before-cross-entropy "5 classes"

    train(loss, net)


def softmax_with_label_smoothing() -> None:
    net = nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        p = F.softmax(net(inputs()), dim=-1)
        return F.cross_entropy(p, CLASSES, label_smoothing=0.1)  # expect: softmax-before-cross-entropy

    train(loss, net)


def softmax_with_soft_targets() -> None:
    net = nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        p = net(inputs()).softmax(-1)
        return F.cross_entropy(p, torch.full((16, 5), 0.2))  # expect: softmax-before-cross-entropy

    train(loss, net)


def softmax_of_images() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Softmax(dim=1))

    def loss() -> torch.Tensor:
        labels = torch.zeros(2, 4, 4, dtype=torch.long)
        return F.cross_entropy(net(torch.randn(2, 1, 4, 4)), labels)  # expect: softmax-before-cross-entropy

    train(loss, net)


def softmax_of_tokens_flattened() -> None:
    net = nn.Linear(8, 7)

    def loss() -> torch.Tensor:
        p = torch.softmax(net(torch.randn(2, 6, 8)), dim=-1).view(-1, 7)
        return F.cross_entropy(p, torch.zeros(12, dtype=torch.long))  # expect: softmax-before-cross-entropy

    train(loss, net)


def softmax_of_tokens_transposed() -> None:
    net = nn.Linear(8, 7)

    def loss() -> torch.Tensor:
        p = torch.softmax(net(torch.randn(2, 6, 8)), dim=-1).transpose(1, 2)
        return F.cross_entropy(p, torch.zeros(2, 6, dtype=torch.long))  # expect: softmax-before-cross-entropy

    train(loss, net)


def softmax_before_log_softmax_by_hand() -> None:
    net = nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        p = torch.softmax(net(inputs()), 1)
        logp = F.log_softmax(p, 1)  # expect: softmax-before-cross-entropy
        return -(F.one_hot(CLASSES, 5) * logp).sum(1).mean()

    train(loss, net)


def softmax_then_log_softmax_then_nll() -> None:
    net = nn.Sequential(nn.Linear(8, 5), nn.Softmax(1), nn.LogSoftmax(1))

    def loss() -> torch.Tensor:
        return F.nll_loss(net(inputs()), CLASSES)  # expect: softmax-before-cross-entropy

    train(loss, net)


def softmax_without_function_mode() -> None:
    net = nn.Linear(8, 5)
    with torch.device("cpu"):  # a mode of the user's: the graph alone is left
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(inputs()).softmax(1), CLASSES)
            loss.backward()  # expect: softmax-before-cross-entropy
            optimizer.step()


def temperature() -> None:
    net = nn.Linear(8, 5)
    train(lambda: F.cross_entropy(20 * net(inputs()).softmax(1), CLASSES), net)


def cosine_over_temperature() -> None:
    net = nn.Linear(8, 5)
    weight = F.normalize(torch.randn(5, 5))
    train(lambda: F.cross_entropy(F.normalize(net(inputs())) @ weight / 0.1, CLASSES), net)


def masked_after_softmax() -> None:
    net, mask = nn.Linear(8, 5), torch.zeros(16, 5, dtype=torch.bool)
    train(lambda: F.cross_entropy(net(inputs()).softmax(1).masked_fill(mask, -1e4), CLASSES), net)


def softmax_over_tokens() -> None:
    net = nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        weights = torch.softmax(net(torch.randn(4, 6, 8)), dim=1)  # over the 6 tokens
        return F.cross_entropy(weights.transpose(1, 2), torch.zeros(4, 6, dtype=torch.long))

    train(loss, net)


def entropy_bonus() -> None:
    net = nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        logits = net(inputs())
        p, logp = logits.softmax(1), logits.log_softmax(1)
        return F.cross_entropy(logits, CLASSES) + 0.01 * (p * logp).sum(1).mean()

    train(loss, net)


def distillation() -> None:
    student, teacher = nn.Linear(8, 5), nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        x = inputs()
        with torch.no_grad():
            wanted = torch.softmax(teacher(x) / 4, dim=1)
        logits = student(x)
        soft = F.kl_div(F.log_softmax(logits / 4, dim=1), wanted, reduction="batchmean")
        return F.cross_entropy(logits, CLASSES) + 16 * soft

    train(loss, student)


def mixture_of_softmaxes() -> None:
    heads, weights = nn.Linear(8, 10), nn.Linear(8, 2)

    def loss() -> torch.Tensor:
        x = inputs()
        each = heads(x).view(16, 2, 5).softmax(2)
        mixed = (weights(x).softmax(1)[:, :, None] * each).sum(1)
        return F.nll_loss(torch.log(mixed), CLASSES)

    train(loss, heads, weights)


def mixture_by_matrix_product() -> None:
    heads, weights = nn.Linear(8, 5), nn.Linear(8, 16)

    def loss() -> torch.Tensor:
        x = inputs()
        return F.nll_loss(torch.mm(weights(x).softmax(1), heads(x).log_softmax(1)), CLASSES)

    train(loss, heads, weights)


def detached_softmax() -> None:
    net = nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        scores = net(inputs())
        offset = scores.mean() * 0
        # The graph is cut behind the softmax: nothing tells any more what made the values.
        p = scores.softmax(1).detach() + offset
        return offset + F.cross_entropy(p, CLASSES)  # expect-missed: softmax-before-cross-entropy

    train(loss, net)


def softmax_under_no_grad() -> None:
    net, scale = nn.Linear(8, 5), nn.Linear(1, 1)

    def loss() -> torch.Tensor:
        with torch.no_grad():
            p = net(inputs()).softmax(1)
        return F.cross_entropy(p * 1 + scale(torch.ones(1)) * 0, CLASSES)  # expect-missed: softmax-before-cross-entropy

    train(loss, scale)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.key, self.out = nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.softmax(self.key(x) @ x.t(), dim=1)
        return self.out(weights @ x)


def attention_inside() -> None:
    net = Attention()
    train(lambda: F.cross_entropy(net(inputs()), CLASSES), net)


def bypasses_the_softmax() -> None:
    net = nn.Sequential(nn.Linear(8, 5), nn.Softmax(dim=1))

    def loss() -> torch.Tensor:
        net(inputs())
        return F.cross_entropy(net[0](inputs()), CLASSES)

    train(loss, net)


# NLL, CTC, KL divergence, BCE


def nll_of_softmax() -> None:
    net, criterion = nn.Linear(8, 5), nn.NLLLoss()

    def loss() -> torch.Tensor:
        return criterion(net(inputs()).softmax(1), CLASSES)  # expect: nll-without-log-softmax "probabilities"

    train(loss, net)


def nll_of_a_linear() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 5))

    def loss() -> torch.Tensor:
        return F.nll_loss(net(inputs()), CLASSES)  # expect: nll-without-log-softmax "raw scores"

    train(loss, net)


def nll_of_a_convolution() -> None:
    net = nn.Conv2d(1, 3, 1, bias=False)

    def loss() -> torch.Tensor:
        labels = torch.zeros(2, 4, 4, dtype=torch.long)
        return F.nll_loss(net(torch.randn(2, 1, 4, 4)), labels)  # expect: nll-without-log-softmax

    train(loss, net)


class Tied(nn.Module):
    """The head is the embedding's weight, used as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.body = nn.Embedding(9, 4), nn.Linear(4, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return F.linear(self.body(self.table(tokens)), self.table.weight)


def nll_of_a_tied_head() -> None:
    net = Tied()

    def loss() -> torch.Tensor:
        tokens = torch.randint(9, (3, 5))
        scores = net(tokens).reshape(-1, 9)
        return F.nll_loss(scores, tokens.flatten())  # expect: nll-without-log-softmax

    train(loss, net)


def ctc_of_a_linear() -> None:
    net, criterion = nn.Linear(8, 4), nn.CTCLoss()
    lengths, labels = torch.full((2,), 10), torch.ones(2, 3, dtype=torch.long)

    def loss() -> torch.Tensor:
        frames = torch.randn(10, 2, 8)
        return criterion(net(frames), labels, lengths, lengths // 4)  # expect: nll-without-log-softmax

    train(loss, net)


def ctc_of_log_softmax() -> None:
    net, criterion = nn.Linear(8, 4), nn.CTCLoss()
    lengths, labels = torch.full((2,), 10), torch.ones(2, 3, dtype=torch.long)
    train(lambda: criterion(net(torch.randn(10, 2, 8)).log_softmax(2), labels, lengths, lengths // 4), net)


def nll_of_a_logarithm() -> None:
    net = nn.Linear(8, 5)
    train(lambda: F.nll_loss(torch.log(net(inputs()).softmax(1)), CLASSES), net)  # as skorch does


def nll_of_a_logarithm_with_eps() -> None:
    net = nn.Linear(8, 5)
    train(lambda: F.nll_loss(torch.log(net(inputs()).softmax(1) + 1e-8), CLASSES), net)


def nll_of_a_clamped_logarithm() -> None:
    net = nn.Linear(8, 5)
    train(lambda: F.nll_loss(net(inputs()).softmax(1).clamp(min=1e-6).log(), CLASSES), net)


def nll_of_a_distribution() -> None:
    net = nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        return -torch.distributions.Categorical(logits=net(inputs())).log_prob(CLASSES).mean()

    train(loss, net)


def bce_of_a_linear() -> None:
    net, criterion = nn.Linear(8, 1), nn.BCELoss()
    nn.init.constant_(net.bias, 0.5)

    def loss() -> torch.Tensor:
        score = net(0.01 * inputs())
        return criterion(score.flatten(), BITS)  # expect: bce-without-sigmoid

    train(loss, net)


def bce_of_a_clamp() -> None:
    net = nn.Linear(8, 1)
    train(lambda: F.binary_cross_entropy(net(inputs()).clamp(0.01, 0.99).flatten(), BITS), net)


def bce_of_a_rescaled_cosine() -> None:
    net = nn.Linear(8, 4)

    def loss() -> torch.Tensor:
        cosine = F.cosine_similarity(net(inputs()), torch.ones(16, 4))
        return F.binary_cross_entropy((cosine + 1) / 2.001, BITS)

    train(loss, net)


def kl_of_softmax() -> None:
    net, criterion = nn.Linear(8, 5), nn.KLDivLoss(reduction="batchmean")

    def loss() -> torch.Tensor:
        return criterion(net(inputs()).softmax(1), torch.full((16, 5), 0.2))  # expect: kl-div-input-not-log

    train(loss, net)


def kl_of_a_linear() -> None:
    net = nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        wanted = torch.full((16, 5), 0.2)
        return F.kl_div(net(inputs()), wanted, reduction="sum")  # expect: kl-div-input-not-log "raw scores"

    train(loss, net)


def kl_of_two_logarithms() -> None:
    net, other = nn.Linear(8, 5), nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        x = inputs()
        wanted = other(x).log_softmax(1).detach()
        return F.kl_div(net(x).log_softmax(1), wanted, reduction="batchmean", log_target=True)

    train(loss, net)


def kl_of_a_logarithm() -> None:
    net = nn.Linear(8, 5)
    train(lambda: F.kl_div(net(inputs()).softmax(1).log(), torch.full((16, 5), 0.2), reduction="batchmean"), net)


def jensen_shannon() -> None:
    net, other = nn.Linear(8, 5), nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        x = inputs()
        p, q = net(x).softmax(1), other(x).softmax(1)
        middle = ((p + q) / 2).log()
        return F.kl_div(middle, p, reduction="batchmean") + F.kl_div(middle, q, reduction="batchmean")

    train(loss, net, other)


def kl_in_closed_form() -> None:
    net = nn.Linear(8, 4)

    def loss() -> torch.Tensor:
        mean, log_variance = net(inputs()).chunk(2, dim=1)
        return -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()

    train(loss, net)


# ReLU before a loss


def relu_before_cross_entropy() -> None:
    net = nn.Sequential(nn.Linear(8, 5), nn.ReLU())

    def loss() -> torch.Tensor:
        return F.cross_entropy(net(inputs()), CLASSES)  # expect: relu-before-loss

    train(loss, net)


def relu_before_logits_loss() -> None:
    net = nn.Linear(8, 1)

    def loss() -> torch.Tensor:
        score = net(inputs()).relu()
        return F.binary_cross_entropy_with_logits(score.flatten(), BITS)  # expect: relu-before-loss "0.5"

    train(loss, net)


def relu_before_log_softmax() -> None:
    net = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.LogSoftmax(1))

    def loss() -> torch.Tensor:
        return F.nll_loss(net(inputs()), CLASSES)  # expect: relu-before-loss

    train(loss, net)


def sigmoid_before_cross_entropy() -> None:
    net = nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        return F.cross_entropy(torch.sigmoid(net(inputs())), CLASSES)  # expect: relu-before-loss "sigmoid"

    train(loss, net)


def relu_before_pooling() -> None:
    net = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    train(lambda: F.cross_entropy(net(torch.randn(16, 1, 5, 5)), CLASSES), net)


def relu_of_a_regression() -> None:
    net = nn.Sequential(nn.Linear(8, 1), nn.ReLU())
    train(lambda: F.mse_loss(net(inputs()).flatten(), BITS), net)


def softplus_and_counts() -> None:
    net = nn.Sequential(nn.Linear(8, 1), nn.Softplus())
    train(lambda: F.poisson_nll_loss(net(inputs()).flatten(), BITS, log_input=False), net)


# Softmax over the batch


def softmax_of_dim_0() -> None:
    net = nn.Sequential(nn.Linear(8, 5), nn.Softmax(dim=0))

    def loss() -> torch.Tensor:
        return F.cross_entropy(net(inputs()), CLASSES)  # expect: softmax-over-batch "16 samples"

    train(loss, net)


def softmax_of_dim_0_before_bce() -> None:
    net = nn.Sequential(nn.Linear(8, 1), nn.Softmax(dim=0))

    def loss() -> torch.Tensor:
        return F.binary_cross_entropy(net(inputs()).squeeze(1), BITS)  # expect: softmax-over-batch

    train(loss, net)


def softmax_of_dim_0_before_kl() -> None:
    net = nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        wanted = torch.full((16, 5), 0.2)
        return F.kl_div(net(inputs()).log_softmax(0), wanted, reduction="batchmean")  # expect: softmax-over-batch

    train(loss, net)


def softmax_of_a_vector() -> None:
    weights = nn.Linear(1, 5)

    def loss() -> torch.Tensor:
        logp = F.log_softmax(weights(torch.ones(1)), dim=0)
        return F.nll_loss(logp.unsqueeze(0), CLASSES[:1])

    train(loss, weights)


def architecture_weights() -> None:
    mix, first, second = nn.Linear(1, 2), nn.Linear(8, 5), nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        a, b = torch.softmax(mix(torch.ones(1)), dim=0)
        x = inputs()
        return F.cross_entropy(a * first(x) + b * second(x), CLASSES)

    train(loss, mix, first, second)


def one_vector_without_a_batch() -> None:
    net = nn.Linear(8, 5)
    train(lambda: F.nll_loss(F.log_softmax(net(torch.randn(8)), dim=0), torch.tensor(1)), net)


def classes_first_and_transposed() -> None:
    net = nn.Linear(8, 5)
    train(lambda: F.nll_loss(F.log_softmax(net(inputs()).t(), dim=0).t(), CLASSES), net)


def clusters_first() -> None:
    net = nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        assigned = F.log_softmax(net(inputs()).t().contiguous(), dim=0)  # (clusters, samples)
        return F.kl_div(assigned, torch.full((5, 16), 0.2), reduction="sum")

    train(loss, net)


def info_nce_both_ways() -> None:
    left, right = nn.Linear(8, 4), nn.Linear(8, 4)

    def loss() -> torch.Tensor:
        x = inputs()
        similarity = F.normalize(left(x)) @ F.normalize(right(x)).t() / 0.1
        pairs = torch.arange(16)
        rows = F.nll_loss(F.log_softmax(similarity, dim=1), pairs)
        return rows + F.nll_loss(F.log_softmax(similarity, dim=0), pairs)

    train(loss, left, right)


def sequence_first_attention() -> None:
    net, out = nn.Linear(8, 8), nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        tokens = torch.randn(6, 16, 8)
        weights = torch.softmax(net(tokens), dim=0)
        return F.cross_entropy(out((weights * tokens).sum(0)), CLASSES)

    train(loss, net, out)


FOUND = [
    sigmoid_module, softmax_module, sigmoid_method_in_place, softmax_before_logits_loss, sigmoid_under_autocast,
    sigmoid_in_a_sum_of_losses,
    sigmoid_under_a_non_reentrant_checkpoint, softmax_with_label_smoothing, softmax_with_soft_targets,
    softmax_of_images, softmax_of_tokens_flattened, softmax_of_tokens_transposed, softmax_before_log_softmax_by_hand,
    softmax_then_log_softmax_then_nll, softmax_without_function_mode, nll_of_softmax, nll_of_a_linear,
    nll_of_a_convolution, nll_of_a_tied_head, ctc_of_a_linear, bce_of_a_linear, kl_of_softmax, kl_of_a_linear,
    relu_before_cross_entropy, relu_before_logits_loss, relu_before_log_softmax, sigmoid_before_cross_entropy,
    softmax_of_dim_0, softmax_of_dim_0_before_bce, softmax_of_dim_0_before_kl,
]  # fmt: skip
SILENT = [
    sigmoid_for_metrics_beside_the_logits, focal_weight, gates_inside, scaled_sigmoid, sigmoid_turned_back,
    sigmoid_on_the_target_and_weight, bce_after_sigmoid, never_backwarded, function_of_the_user, temperature,
    cosine_over_temperature, masked_after_softmax, softmax_over_tokens, entropy_bonus, distillation,
    mixture_of_softmaxes, mixture_by_matrix_product, detached_softmax, softmax_under_no_grad, attention_inside,
    bypasses_the_softmax, ctc_of_log_softmax, nll_of_a_logarithm, nll_of_a_logarithm_with_eps,
    nll_of_a_clamped_logarithm, nll_of_a_distribution, bce_of_a_clamp, bce_of_a_rescaled_cosine, kl_of_two_logarithms,
    kl_of_a_logarithm, jensen_shannon, kl_in_closed_form, relu_before_pooling, relu_of_a_regression,
    softplus_and_counts, softmax_of_a_vector, architecture_weights, one_vector_without_a_batch,
    classes_first_and_transposed, clusters_first, info_nce_both_ways, sequence_first_attention,
]  # fmt: skip


@pytest.mark.parametrize("program", FOUND + SILENT, ids=lambda program: program.__name__)
def test_programs(program: Callable[[], None]) -> None:
    check(program)


# Pedantic


def log_softmax_before_cross_entropy() -> None:
    net, criterion = nn.Sequential(nn.Linear(8, 5), nn.LogSoftmax(dim=1)), nn.CrossEntropyLoss()

    def loss() -> torch.Tensor:
        return criterion(net(inputs()), CLASSES)  # expect: log-softmax-before-cross-entropy

    train(loss, net)


def one_output_for_two_losses() -> None:
    net = nn.Sequential(nn.Linear(8, 5), nn.LogSoftmax(dim=1))

    def loss() -> torch.Tensor:
        logp = net(inputs())
        return F.cross_entropy(logp, CLASSES) + F.nll_loss(logp, CLASSES)

    train(loss, net)


def label_smoothing_by_hand() -> None:
    net = nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        logp = F.log_softmax(net(inputs()), dim=-1)
        return 0.9 * F.nll_loss(logp, CLASSES) - 0.1 * logp.mean()

    train(loss, net)


@pytest.mark.parametrize(
    "program", [log_softmax_before_cross_entropy, one_output_for_two_losses, label_smoothing_by_hand]
)
def test_pedantic_programs(program: Callable[[], None]) -> None:
    check(program, select=["log-softmax-before-cross-entropy"])


# Opaque graphs: the values of a few batches may tell


class Halves(nn.Module):
    """A body, and a reentrant checkpoint around its last layers."""

    def __init__(self, *last: nn.Module) -> None:
        super().__init__()
        self.body, self.last = nn.Linear(8, 8), nn.Sequential(*last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.last, self.body(x), use_reentrant=True)


def batch() -> torch.Tensor:
    return torch.randn(64, 8)


LABELS = torch.arange(64) % 5


def checkpointed_softmax() -> None:
    net = Halves(nn.Linear(8, 5), nn.Softmax(1))

    def loss() -> torch.Tensor:
        return F.cross_entropy(net(batch()), LABELS)  # expect: softmax-before-cross-entropy

    train(loss, net)


def checkpointed_softmax_before_nll() -> None:
    net = Halves(nn.Linear(8, 5), nn.Softmax(1))

    def loss() -> torch.Tensor:
        return F.nll_loss(net(batch()), LABELS)  # expect: nll-without-log-softmax "probabilities"

    train(loss, net)


def checkpointed_scores_before_nll() -> None:
    net = Halves(nn.Linear(8, 5))

    def loss() -> torch.Tensor:
        return F.nll_loss(net(batch()), LABELS)  # expect: nll-without-log-softmax "raw scores"

    train(loss, net)


def checkpointed_logits() -> None:
    net = Halves(nn.Linear(8, 5))
    train(lambda: F.cross_entropy(net(batch()), LABELS), net)


def checkpointed_log_softmax() -> None:
    net = Halves(nn.Linear(8, 5), nn.LogSoftmax(1))
    train(lambda: F.nll_loss(net(batch()), LABELS), net)


def checkpointed_sigmoid() -> None:
    net = Halves(nn.Linear(8, 5), nn.Sigmoid())
    train(lambda: F.binary_cross_entropy_with_logits(net(batch()), torch.zeros(64, 5)), net)  # the range alone


def checkpointed_softmax_of_few_values() -> None:
    net = Halves(nn.Linear(8, 5), nn.Softmax(1))
    train(lambda: F.cross_entropy(net(inputs()), CLASSES), net, steps=2)


@pytest.mark.parametrize(
    "program",
    [
        checkpointed_softmax, checkpointed_softmax_before_nll, checkpointed_scores_before_nll, checkpointed_logits,
        checkpointed_log_softmax, checkpointed_sigmoid, checkpointed_softmax_of_few_values,
    ],
)  # fmt: skip
def test_opaque_programs(program: Callable[[], None]) -> None:
    check(program)


def test_a_verdict_by_values_is_likely_and_shows_them() -> None:
    (finding,) = watched(checkpointed_softmax).findings
    assert finding.certainty.name == "LIKELY"
    assert 0 <= float(str(finding.evidence["lowest"])) < float(str(finding.evidence["highest"])) <= 1
    (exact,) = watched(checkpointed_scores_before_nll).findings
    assert exact.certainty.name == "CERTAIN"


@pytest.mark.parametrize("program", [checkpointed_sigmoid, checkpointed_softmax_of_few_values])
def test_what_values_cannot_tell_is_out_of_sight(program: Callable[[], None]) -> None:
    gaps = watched(program).out_of_sight
    assert any(gap.subject == "input of a loss" and gap.rules for gap in gaps)


def compiled() -> None:
    net = nn.Sequential(nn.Linear(8, 5), nn.Softmax(1))
    fast = torch.compile(net, backend="aot_eager")
    train(lambda: F.cross_entropy(fast(batch()), LABELS), net)


@pytest.mark.filterwarnings("default")
def test_compiled_code_is_out_of_sight() -> None:
    seen = check(compiled)
    assert any("softmax-before-cross-entropy" in gap.rules for gap in seen.out_of_sight)


def beyond_the_walk() -> None:
    net = nn.Linear(8, 5)

    def loss() -> torch.Tensor:
        total = F.cross_entropy(net(inputs()).softmax(1), CLASSES)  # expect-missed: softmax-before-cross-entropy
        for _ in range(70):
            total = total * 1.0
        return total

    train(loss, net)


def test_a_loss_far_from_backward_is_out_of_sight() -> None:
    seen = check(beyond_the_walk)
    assert any(gap.subject == "losses" for gap in seen.out_of_sight)


# What the facts say


def test_a_model_that_is_not_trained_is_not_judged() -> None:
    teacher, student = nn.Sequential(nn.Linear(8, 5), nn.Softmax(1)), nn.Linear(8, 8)

    def program() -> None:
        train(lambda: F.cross_entropy(teacher(student(inputs())), CLASSES), student)

    assert not watched(program).findings
    assert [finding.rule for finding in watched(program, model=teacher).findings] == ["softmax-before-cross-entropy"]


def test_facts_carry_what_the_report_shows() -> None:
    facts = [fact for fact in watched(sigmoid_module).verdict.facts if isinstance(fact, LossUse)]
    (use,) = facts
    assert (use.loss, use.loss_text, use.maker) == ("BCEWithLogitsLoss", "criterion", "nn.Sigmoid")
    assert use.input is OutputKind.PROBABILITIES
    assert use.input_shape == use.target_shape == (16,)
    assert use.model is not None
    assert use.model.text == "net"
    assert use.run is not None
    assert (use.run.times, use.run.watched, use.run.first_step) == (4, 4, 0)
    assert [step.text for step in use.steps] == ["nn.Sigmoid", "net(...)", "criterion(...)"]


def test_nothing_is_kept_alive() -> None:
    kept: list[weakref.ref[object]] = []

    def program() -> None:
        net = nn.Sequential(nn.Linear(8, 5), nn.Softmax(1))

        def loss() -> torch.Tensor:
            value = F.cross_entropy(net(inputs()), CLASSES)
            kept.append(weakref.ref(value))
            return value

        kept.append(weakref.ref(net))
        train(loss, net)

    seen = watched(program)
    gc.collect()
    assert seen.findings
    assert not [ref for ref in kept if ref() is not None]


# What is no plain tensor


def nested_tensors() -> None:
    net = nn.Linear(4, 1)

    def loss() -> torch.Tensor:
        rows = torch.nested.nested_tensor([torch.randn(2, 4), torch.randn(3, 4)])
        weights = torch.softmax(rows, -1)
        return F.log_softmax(net(torch.nested.to_padded_tensor(weights, 0.0)), dim=1).mean()

    train(loss, net)


def backward_from_a_graph_edge() -> None:
    net = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        loss = F.mse_loss(net(inputs()).flatten(), BITS)
        torch.autograd.backward((torch.autograd.graph.get_gradient_edge(loss),))
        optimizer.step()


def functions_under_vmap() -> None:
    net = nn.Linear(8, 1)

    def loss() -> torch.Tensor:
        output = net(inputs()).squeeze(1)
        return torch.vmap(lambda a, b: F.mse_loss(torch.sigmoid(a), b))(output, BITS).mean()

    train(loss, net)


def result_into_a_given_tensor() -> None:
    net, kept = nn.Linear(8, 1), torch.empty(16, 1)

    def loss() -> torch.Tensor:
        with torch.no_grad():
            torch.sigmoid(net(inputs()), out=kept)
        return F.mse_loss(torch.relu_(net(inputs())).flatten(), BITS)

    train(loss, net)


@pytest.mark.parametrize(
    "program", [nested_tensors, backward_from_a_graph_edge, functions_under_vmap, result_into_a_given_tensor]
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_odd_programs(program: Callable[[], None]) -> None:
    check(program)
