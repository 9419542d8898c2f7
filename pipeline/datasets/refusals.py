"""Refused rows of a dataset: their counts by reason, and examples."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.datasets.readers.rows import Row

EXAMPLES = 3
"""Refused rows kept as examples for each reason."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused row.

    Attributes:
        reason: short, stable name of the fault (`bad_timestamp`, `duplicate`).
        file: name of the file, without its folder.
        line: line in that file, from 1.
        detail: the value found, as text for a person.
    """

    reason: str
    file: str
    line: int
    detail: str


@dataclass(frozen=True)
class Refusals:
    """Refused rows of a dataset.

    Attributes:
        counts: rows refused, by reason.
        examples: the first few of each reason, in file order.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Refusal, ...] = ()

    @property
    def total(self) -> int:
        """Rows refused for any reason."""
        return sum(self.counts.values())


class RefusalCounter:
    """Running counts and examples of refused rows."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: list[Refusal] = []

    def add(self, row: Row, reason: str, detail: str) -> None:
        """Count one refused row."""
        self._counts[reason] += 1
        if self._counts[reason] <= EXAMPLES:
            self._examples.append(Refusal(reason, row.file, row.line, detail[:200]))

    def summary(self) -> str:
        """Return counts and first examples as one line of text."""
        first = {refusal.reason: refusal for refusal in reversed(self._examples)}
        return "; ".join(
            f"{count} times {reason} (first in {first[reason].file}:{first[reason].line}: {first[reason].detail})"
            for reason, count in self._counts.most_common()
        )

    def result(self) -> Refusals:
        """Return the refusals so far, the most frequent reason first."""
        return Refusals(dict(self._counts.most_common()), tuple(self._examples))
