"""Fit of the classifier of origins, `pipeline.regions.origin_model`, to windows of each."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from pipeline.arrays import Array
from pipeline.regions.encoded import Encoded
from pipeline.regions.origin_model import OriginModel


def fit_origins(
    origins: Sequence[int], samples: Sequence[Encoded], coverage: Array, masses: Sequence[float], penalty: float
) -> OriginModel:
    """Fit the classifier: penalised multinomial logistic regression with weighted classes.

    With equal masses the odds are the density ratio of a window in two origins, whatever the sizes of the samples.

    Args:
        origins: region ids of the m stream regions.
        samples: windows of set-up first, then of each origin.
        coverage: (m, setup_regions) degree to which each origin covers the set-up regions, 0 to 1.
        masses: weight of each sample. An origin that covers some of the set-up regions has their mass in set-up, so
            that inside them the odds are a density ratio.
        penalty: weight of the squared norm of the weights (bias left out), per unit of mean loss.
    """
    setup = samples[0].features
    scale = np.where(setup.std(axis=0) > 1e-6, setup.std(axis=0), 1.0)
    weights = np.zeros((setup.shape[1] + len(samples), len(samples)))
    blank = OriginModel(tuple(origins), coverage, setup.mean(axis=0), scale, weights)
    inputs = torch.from_numpy(np.concatenate([blank.inputs(sample) for sample in samples]))
    labels = torch.from_numpy(np.repeat(np.arange(len(samples)), [len(s) for s in samples]))
    shares = [mass / (len(sample) * sum(masses)) for mass, sample in zip(masses, samples, strict=True)]
    balance = torch.from_numpy(np.repeat(shares, [len(s) for s in samples]))
    return replace(blank, weights=_minimise(inputs, labels, balance, len(samples), penalty))


def _minimise(inputs: torch.Tensor, labels: torch.Tensor, balance: torch.Tensor, classes: int, penalty: float) -> Array:
    weights = torch.zeros(inputs.shape[1], classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe", tolerance_grad=1e-6)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        surprise = torch.nn.functional.cross_entropy(inputs @ weights, labels, reduction="none")
        value = (balance * surprise).sum() + penalty * weights[:-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    found: Array = weights.detach().numpy()
    return found
