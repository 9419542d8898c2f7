"""Candidates of a gated event with the models' scores, packed for its record.

Everything else that the second stage learns from follows from its counts. The rows are those of the gate that wrote the
record: only this gate, restored, reads them again.
"""

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.events.windows import Ids

LEAST = 1e-12
"""Least probability before the logarithm."""


def log_probabilities(probabilities: NDArray[np.floating[Any]]) -> Array:
    """(m,) log probabilities in the precision of a record: half precision."""
    logs: Array = np.log(np.maximum(probabilities, LEAST)).astype("<f2").astype(np.float64)
    return logs


@dataclass(frozen=True, slots=True)
class CandidateScores:
    """Candidates of one event.

    Attributes:
        number: m candidates.
        distinct: number of distinct items that the user took, as far as they are remembered.
        models: names of the models.
        packed: differences of the m rows, the m scores of each model in half precision, and for each row a byte that is
            1 where the user took it before; compressed; base64.
    """

    number: int
    distinct: int
    models: tuple[str, ...]
    packed: str

    @classmethod
    def of(cls, rows: Ids, experts: Mapping[str, Array], taken_before: Array, distinct: int) -> Self:
        """Pack candidates.

        Args:
            rows: (m,) catalogue rows of the gate.
            experts: model -> (m,) log probabilities in half precision.
            taken_before: (m,) 1 for items that the user took before, else 0.
            distinct: see the attribute.
        """
        raw = np.diff(rows, prepend=0).astype("<i4").tobytes()
        raw += b"".join(scores.astype("<f2").tobytes() for scores in experts.values())
        raw += taken_before.astype(np.uint8).tobytes()
        packed = base64.b64encode(zlib.compress(raw, 1)).decode("ascii")
        return cls(len(rows), distinct, tuple(experts), packed)

    def unpacked(self) -> tuple[Ids, dict[str, Array], Array]:
        """Return rows, scores of the models and what was taken before, as `of` was given them.

        Raises:
            ValueError: these are not what `of` wrote.
        """
        try:
            raw = zlib.decompress(base64.b64decode(self.packed))
        except zlib.error as error:
            raise ValueError(f"candidates are damaged: {error}") from error
        rows: Ids = np.cumsum(np.frombuffer(raw, "<i4", self.number).astype(np.int64))
        scores = np.frombuffer(raw, "<f2", self.number * len(self.models), 4 * self.number)
        of_models = scores.astype(np.float64).reshape(len(self.models), self.number)
        taken_before = np.frombuffer(raw, np.uint8, self.number, len(raw) - self.number).astype(np.float64)
        return rows, dict(zip(self.models, of_models, strict=True)), taken_before

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object."""
        return cls(record["number"], record["distinct"], tuple(record["models"]), record["packed"])

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "number": self.number,
            "distinct": self.distinct,
            "models": list(self.models),
            "packed": self.packed,
        }
