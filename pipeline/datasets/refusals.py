"""Refused rows of a dataset: their counts by reason, and examples."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.errors import BadEvent

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
    """Running counts and examples of refused rows, in file order whatever the order of the calls."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, list[tuple[int, int, str, str]]] = {}

    def add(self, part: int, file: str, lines: Sequence[int], error: BadEvent, more: int = 0) -> None:
        """Count refused rows of one fault.

        Args:
            part: place of the file among the files read.
            file: name of the file, without its folder.
            lines: lines of the rows.
            error: the fault.
            more: further rows, of lines behind these.
        """
        self._counts[error.reason] += len(lines) + more
        kept = self._first.setdefault(error.reason, [])
        kept += [(part, line, file, error.detail[:200]) for line in lines]
        kept.sort()
        del kept[EXAMPLES:]

    def summary(self) -> str:
        """Return counts and first examples as one line of text."""
        shown = [(reason, count, self._first[reason][0]) for reason, count in self._ranked()]
        return "; ".join(
            f"{count} times {reason} (first in {file}:{line}: {detail})"
            for reason, count, (_, line, file, detail) in shown
        )

    def result(self) -> Refusals:
        """Return the refusals so far, the most frequent reason first."""
        found = [(*at, reason) for reason, kept in self._first.items() for at in kept]
        # The sort is by part and line only: a reason found later on the same line stays behind.
        found.sort(key=lambda one: one[:2])
        examples = tuple(Refusal(reason, file, line, detail) for _, line, file, detail, reason in found)
        return Refusals(dict(self._ranked()), examples)

    def _ranked(self) -> list[tuple[str, int]]:
        return sorted(self._counts.items(), key=lambda pair: (-pair[1], self._first[pair[0]][0][:2]))
