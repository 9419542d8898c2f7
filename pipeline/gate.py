"""The gate: which region a window belongs to, and how sure that is.

posterior = P(origin | window) x P(region | origin, window). There is one origin for everything that set-up
knew, and one for each region opened since; a multinomial logistic model tells them apart as a density
ratio, from the frozen encodings and from how familiar the window's items are. Among the set-up regions
the von Mises-Fisher densities decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.backbones.base import Backbone, last_states, mean_states
from pipeline.regions import Array
from pipeline.windows import PADDING


@dataclass(frozen=True)
class Encoded:
    """What the gate sees of n windows.

    Attributes:
        means: (n, d) unit vectors, mean state over the window's items.
        features: (n, f) what tells origins apart: mean state, last state, familiarity of the items.
    """

    means: Array
    features: Array

    def __len__(self) -> int:
        return len(self.means)

    def __getitem__(self, chosen: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "Encoded":
        return Encoded(self.means[chosen], self.features[chosen])


class WindowEncoder:
    """Encodes windows with the frozen backbone.

    Attributes:
        backbone: without any adapter.
        counts: (items + 1,) how often set-up met each item.
    """

    def __init__(self, backbone: Backbone, counts: NDArray[np.int64], vectors: torch.Tensor) -> None:
        self.backbone = backbone
        self.counts = counts
        self._vectors = vectors

    @torch.inference_mode()
    def __call__(self, contexts: NDArray[np.int64], states: torch.Tensor | None = None) -> Encoded:
        """(n, length) contexts to what the gate sees of them; `states` may be given if they are known."""
        windows = torch.from_numpy(contexts)
        if states is None:
            states = self.backbone.hidden(windows, self._vectors)
        means = mean_states(states, windows).double().numpy()
        last = torch.nn.functional.normalize(last_states(states), dim=-1).double().numpy()
        return Encoded(means, np.concatenate([means, last, self._familiarity(contexts)], axis=1))

    def _familiarity(self, contexts: NDArray[np.int64]) -> Array:
        """(n, 3) share of items unknown to set-up, mean and least log count of the window's items."""
        present = contexts != PADDING
        items = np.maximum(present.sum(axis=1), 1)
        logs = np.log1p(self.counts[contexts])
        unknown = ((self.counts[contexts] == 0) & present).sum(axis=1) / items
        least = np.where(present, logs, np.inf).min(axis=1)
        return np.stack([unknown, (logs * present).sum(axis=1) / items, np.where(np.isinf(least), 0.0, least)], axis=1)


@dataclass(frozen=True)
class OriginModel:
    """Multinomial logistic model over origins; with one origin it is certain.

    Attributes:
        origins: () or region ids of the opened regions; column 0 of the weights is set-up.
        center, scale: (f,) standardisation of the features.
        weights: (f + 1, 1 + len(origins)), bias last.
    """

    origins: tuple[int, ...]
    center: Array
    scale: Array
    weights: Array

    def posterior(self, features: Array) -> Array:
        """(n, f) features to (n, 1 + len(origins)) probabilities, set-up first."""
        logits = self._inputs(features) @ self.weights
        logits -= logits.max(axis=1, keepdims=True)
        odds = np.exp(logits)
        share: Array = odds / odds.sum(axis=1, keepdims=True)
        return share

    def _inputs(self, features: Array) -> Array:
        return np.concatenate([(features - self.center) / self.scale, np.ones((len(features), 1))], axis=1)

    @staticmethod
    def certain(features: int) -> "OriginModel":
        """The model before any region was opened: everything is as set-up."""
        return OriginModel((), np.zeros(features), np.ones(features), np.zeros((features + 1, 1)))


def fit_origins(
    origins: Sequence[int], samples: Sequence[Array], penalty: float, start: OriginModel | None = None
) -> OriginModel:
    """Tell origins apart: penalised multinomial logistic regression with balanced classes.

    Balanced classes make the odds a density ratio: how much likelier a window is in one origin than in
    another, whatever their sizes.

    Args:
        origins: region ids of the opened regions.
        samples: (n_i, f) features, of set-up first, then of each origin.
        penalty: weight of the squared norm of the weights (bias left out), per unit of mean loss.
        start: a model whose standardisation is kept; None takes it from the set-up sample.
    """
    setup = samples[0]
    scale = np.where(setup.std(axis=0) > 1e-6, setup.std(axis=0), 1.0)
    blank = OriginModel(tuple(origins), setup.mean(axis=0), scale, np.zeros((setup.shape[1] + 1, len(samples))))
    if start is not None:
        blank = replace(blank, center=start.center, scale=start.scale)
    inputs = torch.from_numpy(np.clip(blank._inputs(np.concatenate(samples)), -8.0, 8.0))
    labels = torch.from_numpy(np.repeat(np.arange(len(samples)), [len(s) for s in samples]))
    balance = torch.from_numpy(np.concatenate([np.full(len(s), 1.0 / (len(s) * len(samples))) for s in samples]))
    return replace(blank, weights=_minimise(inputs, labels, balance, penalty))


def _minimise(inputs: torch.Tensor, labels: torch.Tensor, balance: torch.Tensor, penalty: float) -> Array:
    weights = torch.zeros(inputs.shape[1], int(labels.max()) + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-6)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        surprise = torch.nn.functional.cross_entropy(inputs @ weights, labels, reduction="none")
        value = (balance * surprise).sum() + penalty * weights[:-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    found: Array = weights.detach().numpy()
    return found
