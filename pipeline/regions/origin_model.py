"""Model of origins: P(origin | window) for set-up and each stream region; `origin_classifier` fits it.

All of set-up is one origin, and each stream region is one. A multinomial logistic model estimates their density ratio
from the frozen encodings, from the familiarity of the window's items, and from the number of them taken since set-up.
Within set-up the von Mises-Fisher densities of the regions decide (`pipeline.regions.vmf`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from pipeline.arrays import Array
from pipeline.regions.encoded import Encoded


@dataclass(frozen=True)
class OriginModel:
    """Multinomial logistic model over origins; with one origin its probability is 1.

    Attributes:
        origins: () or region ids of the m stream regions; column 0 of the weights is set-up.
        coverage: (m, setup_regions) degree to which each stream region covers the set-up regions, 0 to 1: only items
            taken since set-up in covered regions are evidence for it.
        center, scale: (f,) standardisation of the features.
        weights: (f + m + 1, 1 + m) of the features, of the items taken since set-up in the regions that each origin
            covers, and the bias.
    """

    origins: tuple[int, ...]
    coverage: Array
    center: Array
    scale: Array
    weights: Array

    def posterior(self, encoded: Encoded) -> Array:
        """(n, 1 + m) probabilities of the origins of n windows, set-up first."""
        logits = self.inputs(encoded) @ self.weights
        logits -= logits.max(axis=1, keepdims=True)
        odds = np.exp(logits)
        share: Array = odds / odds.sum(axis=1, keepdims=True)
        return share

    def inputs(self, encoded: Encoded) -> Array:
        """(n, f + m + 1) inputs: features, standardised and clipped, recency by origin, and a one for the bias."""
        # Clipped: a count that is rare in set-up must not decide alone.
        standard = np.clip((encoded.features - self.center) / self.scale, -8.0, 8.0)
        return np.concatenate([standard, encoded.recent @ self.coverage.T, np.ones((len(encoded), 1))], axis=1)

    def without(self, region_id: int) -> "OriginModel":
        """The model without one stream region: the other origins share its probability by their own."""
        if region_id not in self.origins:
            return self
        place = self.origins.index(region_id)
        # Its column, and the row of the items taken since set-up in the regions that it covers.
        row = len(self.center) + place
        weights = np.delete(np.delete(self.weights, row, axis=0), place + 1, axis=1)
        coverage = np.delete(self.coverage, place, axis=0)
        return OriginModel(tuple(i for i in self.origins if i != region_id), coverage, self.center, self.scale, weights)

    def to_record(self) -> dict[str, Any]:
        """Return the JSON object of a record."""
        arrays = {name: getattr(self, name).tolist() for name in ("coverage", "center", "scale", "weights")}
        return {"origins": list(self.origins), "tastes": self.coverage.shape[1], **arrays}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read the JSON object of a record."""
        arrays = {name: np.array(record[name], dtype=np.float64) for name in ("center", "scale", "weights")}
        # An empty list lacks the number of columns.
        coverage = np.array(record["coverage"], dtype=np.float64).reshape(len(record["coverage"]), record["tastes"])
        return cls(tuple(record["origins"]), coverage, **arrays)

    @staticmethod
    def certain(features: int, setup_regions: int) -> "OriginModel":
        """The model without stream regions: set-up has probability 1."""
        return OriginModel(
            (), np.zeros((0, setup_regions)), np.zeros(features), np.ones(features), np.zeros((features + 1, 1))
        )
