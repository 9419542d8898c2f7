"""Network that ranks the candidates of a window, trained listwise and online.

Two hidden layers over standardised features give each candidate a score; the softmax over the candidates of a window is
fitted to the item that was taken (ListNet's top-one loss; Cao et al., 2007) by Adam, a step for each batch of events.
Means and variances of the features follow the lists that are learned.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.nn.utils.rnn import pad_sequence

from pipeline.models.seeding import seeded

HIDDEN = (48, 24)
"""Units of the hidden layers."""

LONGEST = 6.0
"""Bound of a standardised feature, in standard deviations."""

MEMORY = 0.01
"""Least weight of a new step in means and variances of the features."""


@dataclass(frozen=True)
class RankedList:
    """Candidates of one window, one of which was taken.

    Attributes:
        features: (m, features) of the candidates.
        taken: index of the item that was taken.
    """

    features: NDArray[np.float32]
    taken: int


class RankingNetwork:
    """Scores candidates, and learns from lists.

    Args:
        features: number of features.
        learning_rate: of Adam, for a step of a whole batch.
        batch: lists of a whole batch; a step of fewer is shorter in proportion.
        seed: of the initial weights.
    """

    def __init__(self, features: int, learning_rate: float, batch: int, seed: int) -> None:
        with seeded(seed):
            layers: list[nn.Module] = []
            for before, after in zip((features, *HIDDEN), (*HIDDEN, 1), strict=True):
                layers += [nn.Linear(before, after), nn.ReLU()]
            self._layers = nn.Sequential(*layers[:-1])
        self._parameters = list(self._layers.parameters())
        self._optimizer = torch.optim.Adam(self._parameters, learning_rate)
        self._learning_rate, self._batch = learning_rate, batch
        self._means, self._variances, self._steps = torch.zeros(features), torch.ones(features), 0

    @torch.no_grad()
    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(m,) scores of (m, features) candidates, those of one window or of several."""
        scores: NDArray[np.float32] = self._forward(torch.from_numpy(features)).numpy()
        return scores

    def contributions(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(m, features) part of each feature in each score: its standardised value times the gradient."""
        standardised = self._standardised(torch.from_numpy(features)).requires_grad_()
        (gradient,) = torch.autograd.grad(self._layers(standardised).sum(), standardised)
        return (gradient * standardised.detach()).numpy()

    def learn(self, lists: Sequence[RankedList], events: int) -> None:
        """Take one step.

        Args:
            lists: to learn from; without any nothing happens.
            events: number of events that they stand for, at most a batch.
        """
        if not lists:
            return
        together = torch.from_numpy(np.concatenate([one.features for one in lists]))
        self._follow(together)
        parts = self._forward(together).split([len(one.features) for one in lists])
        logs = pad_sequence(parts, batch_first=True, padding_value=-math.inf).log_softmax(1)
        losses = -logs[torch.arange(len(lists)), torch.tensor([one.taken for one in lists])]
        self._optimizer.param_groups[0]["lr"] = self._learning_rate * min(events / self._batch, 1.0)
        self._optimizer.zero_grad()
        losses.mean().backward()
        self._optimizer.step()

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return weights and the optimiser's state; `restore` continues from them to the bit."""
        moments = [self._moments(name) for name in ("exp_avg", "exp_avg_sq")]
        vectors = [parameters_to_vector(self._parameters), *moments, self._means, self._variances]
        arrays = {name: vector.detach().numpy().copy() for name, vector in zip(_ARRAYS, vectors, strict=True)}
        return {**arrays, "steps": np.array(self._steps)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from the result of `to_arrays`."""
        vectors = {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in _ARRAYS}
        vector_to_parameters(vectors["weights"], self._parameters)
        self._steps = int(arrays["steps"])
        self._means, self._variances = vectors["means"], vectors["variances"]
        start = 0
        for parameter in self._parameters:
            part = slice(start, start + parameter.numel())
            start = part.stop
            if self._steps:
                self._optimizer.state[parameter] = {
                    "step": torch.tensor(float(self._steps)),
                    "exp_avg": vectors["first"][part].view_as(parameter).clone(),
                    "exp_avg_sq": vectors["second"][part].view_as(parameter).clone(),
                }

    def _moments(self, name: str) -> Tensor:
        states = [self._optimizer.state.get(parameter) for parameter in self._parameters]
        moments = [
            torch.zeros_like(parameter) if state is None else state[name]
            for parameter, state in zip(self._parameters, states, strict=True)
        ]
        return torch.cat([moment.reshape(-1) for moment in moments])

    def _follow(self, features: Tensor) -> None:
        """Update means and variances of the features."""
        self._steps += 1
        weight, means = max(MEMORY, 1.0 / self._steps), features.mean(0)
        self._means = self._means + weight * (means - self._means)
        self._variances = self._variances + weight * (((features - self._means) ** 2).mean(0) - self._variances)

    def _forward(self, features: Tensor) -> Tensor:
        scores: Tensor = self._layers(self._standardised(features)).squeeze(-1)
        return scores

    def _standardised(self, features: Tensor) -> Tensor:
        return ((features - self._means) / (self._variances + 1e-5).sqrt()).clamp(-LONGEST, LONGEST)


_ARRAYS = ("weights", "first", "second", "means", "variances")
