"""MoLE: mixture of LoRA experts with a learned gate."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from adapters_store import version_name
from pipeline.events.existence import Existence
from pipeline.events.windows import Ids, Windows
from pipeline.models.backbones.base import Backbone, last_states, mean_states
from pipeline.models.training.loss import Batch, Loss, next_item_logits
from pipeline.regions.clustering import spherical_kmeans
from pipeline.regions.mixing import next_item_probabilities
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.adapter_learner import AdapterLearner

PENALTY = 1e-3
"""L2 penalty of the weights of the gate."""


class Mole(AdapterLearner):
    """Adapters with item rows as experts, mixed by a learned gate (after Wu et al., 2024).

        p(y | x) = sum over e of g_e(x) p_e(y | x),   g(x) = softmax(W f(x) / temperature)

    with f the frozen mean and last state of the window. Experts and gate are trained by generalised expectation
    maximisation (Jordan and Jacobs, 1994): before every pass each window is assigned responsibilities

        r_e = g_e(x) p_e(y | x) / p(y | x),

    each expert learns it with that weight, then the gate is fitted to the responsibilities. The gradient is that of
    -log p(y | x). The first responsibilities are clusters of the windows, since equal experts would stay equal.
    Every expert is trained on every window, at `experts` times the cost of one adapter.

    Attributes:
        experts: number of them.
        temperature: of the gate.
    """

    name: ClassVar[str] = "mole"
    experts: ClassVar[int] = 3
    temperature: ClassVar[float] = 0.7

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._names: list[str] = []
        self._gate = torch.zeros(0, self.experts, device=self._host.backbone.device)

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`: experts and gate."""
        return super().memory_bytes + self._gate.nbytes

    def _learn(self, windows: Windows) -> None:
        parents: list[str | None] = [*self._names] or [None] * self.experts
        names = [version_name(expert + 1, self._interval) for expert in range(self.experts)]
        for expert, (name, parent) in enumerate(zip(names, parents, strict=True)):
            self._create(name, windows, parent, 1_000 * expert + self._seed)
        features = self._features(windows.contexts)
        shares = self._shares(windows, names) if self._names else self._first_shares(windows)
        for epoch in range(self._context.config.training.epochs):
            shares = self._shares(windows, names) if epoch else shares
            for expert, name in enumerate(names):
                seed = 1_000 * epoch + self._seed
                self._fit(name, windows, seed, epochs=1, loss_of=_weighted(shares[:, expert]))
            self._gate = fit_gate(features, shares, self._gate, self.temperature)
        for dropped in self._names:
            self._host.drop(dropped)
        self._names = names

    def _probabilities(self, contexts: Ids, existence: Existence) -> torch.Tensor:
        if not self._names:
            return next_item_probabilities(self._host, contexts, None, existence)
        gate = self._gated(self._features(contexts))
        experts = (next_item_probabilities(self._host, contexts, name, existence) for name in self._names)
        return torch.stack([gate[:, e, None] * each for e, each in enumerate(experts)]).sum(dim=0)

    def _shares(self, windows: Windows, names: list[str]) -> Tensor:
        """(n, experts) responsibilities of the experts for each window, given its target."""
        own, batches = self._host.backbone.windows(windows.targets)[:, None], []
        size, existence = self._context.config.replay.score_batch, self._existence_after(windows)
        for start in range(0, len(windows), size):
            rows = slice(start, start + size)
            contexts = windows.contexts[rows]
            answers = [next_item_probabilities(self._host, contexts, name, existence) for name in names]
            probabilities = [answer.gather(1, own[rows]) for answer in answers]
            joint = self._gated(self._features(contexts)) * torch.cat(probabilities, dim=1).clamp(min=1e-12)
            batches.append(joint / joint.sum(dim=1, keepdim=True))
        return torch.cat(batches).clone()

    def _first_shares(self, windows: Windows) -> Tensor:
        states = self._host.states(windows.contexts, None)
        backbone = self._host.backbone
        means = mean_states(states, backbone.windows(windows.contexts)).cpu().double().numpy()
        labels = backbone.windows(spherical_kmeans(means, self.experts, self._context.seed))
        return functional.one_hot(labels, self.experts).float()

    def _gated(self, features: Tensor) -> Tensor:
        return ((features @ self._gate) / self.temperature).softmax(dim=1)

    def _features(self, contexts: Ids) -> Tensor:
        """(n, length) windows to (n, 2 d + 1) gate inputs, a constant for the bias included."""
        states = self._host.states(contexts, None)
        means = mean_states(states, self._host.backbone.windows(contexts))
        last = functional.normalize(last_states(states), dim=1)
        return torch.cat([means, last, means.new_ones(len(contexts), 1)], dim=1)


def fit_gate(features: Tensor, shares: Tensor, gate: Tensor, temperature: float) -> Tensor:
    """Fit a gate to responsibilities by penalised soft cross-entropy.

    Args:
        features: (n, f) of windows, the last one a constant.
        shares: (n, experts) rows summing to 1.
        gate: (f, experts) initial weights; empty for zeros.
        temperature: of the softmax.

    Returns:
        (f, experts) weights.
    """
    inputs, wanted = features.clone(), shares.clone()
    begun = gate if len(gate) else inputs.new_zeros(inputs.shape[1], wanted.shape[1])
    weights = begun.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([weights], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        value = functional.cross_entropy((inputs @ weights) / temperature, wanted)
        value = value + PENALTY * weights[:-1].square().sum()
        value.backward()
        return value.item()

    with torch.enable_grad():
        optimizer.step(loss)
    return weights.detach()


def _weighted(weights: Tensor) -> Loss:
    """Next-item cross-entropy with a weight for each window."""

    def loss_of(model: Backbone, batch: Batch) -> Tensor:
        logits, columns = next_item_logits(model, batch.contexts, batch.targets, batch.rows, batch.log_weights)
        share = weights[batch.indices]
        losses = functional.cross_entropy(logits, columns, reduction="none")
        return (share * losses).sum() / share.sum().clamp(min=1e-6)

    return loss_of
