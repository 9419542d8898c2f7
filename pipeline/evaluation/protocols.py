"""The two protocols: which windows set up, which arrive as a stream, which are scored at the end.

`prequential`: every interaction of F and T is scored before anything learns from it; histories cross slices.
`windows`: windows lie inside one slice and are full; F is learned, then every so-manieth window of S and T
is scored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.datasets.dataset import Dataset, positives
from pipeline.datasets.splits import Slice, Slices, cut
from pipeline.errors import DataError
from pipeline.evaluation.summary import SliceFacts
from pipeline.events.interaction import Interaction
from pipeline.events.windows import Histories, Windows, concatenate, places_in_sequence, preceding_windows

LEAST_HISTORY = 5
"""Interactions in S from which on a user's last one is held out as S_new."""


@dataclass(frozen=True)
class Plan:
    """What a replay shows, and in which order.

    Attributes:
        slices: the two cuts through time.
        setup: windows of S that may be learned from: none of them is in S_new.
        observed: windows by slice that arrive as the stream, in event order: scored, then learned.
        scored: windows by slice that are scored after the last edit, and never learned from the stream.
    """

    slices: Slices
    setup: Windows
    observed: Mapping[str, Windows]
    scored: Mapping[str, Windows]

    @property
    def stream(self) -> Windows:
        """All observed windows, in event order."""
        return concatenate(list(self.observed.values()))

    @property
    def asked(self) -> Mapping[str, Windows]:
        """Every window that a strategy is asked about, by slice."""
        return {**self.observed, **self.scored}

    def parts(self, number: int) -> list[Windows]:
        """The stream in `number` parts of equal length; fewer where it is shorter than that."""
        stream = self.stream
        return [stream[rows] for rows in np.array_split(np.arange(len(stream)), number) if len(rows)]

    def facts(self) -> dict[str, SliceFacts]:
        """What the slices S, F and T hold of scored windows."""
        known = np.union1d(self.setup.targets, self.scored["S_new"].targets)
        return {name: _facts(self.asked[name], known) for name in ("S", "F", "T")}


def plan_replay(dataset: Dataset, config: Config, row_of: Mapping[str, int]) -> Plan:
    """Lay out a replay.

    Args:
        dataset: the log.
        config: `protocol` and sections `data` and `windows`.
        row_of: catalogue row of every item id.

    Raises:
        DataError: no interaction is positive, or a slice would be empty.
    """
    threshold = dataset.positive_from if config.data.positive_from is None else config.data.positive_from
    events = positives(dataset, threshold)
    if not events:
        raise DataError(
            f"none of the {len(dataset.interactions)} interactions has a value of at least {threshold}: "
            "lower data.positive_from"
        )
    slices = cut([e.timestamp for e in events], (config.data.finetune_from, config.data.test_from))
    by_slice: dict[Slice, list[Interaction]] = {"S": [], "F": [], "T": []}
    for event in events:
        by_slice[slices.of(event.timestamp)].append(event)
    lay_out = _prequential if config.protocol == "prequential" else _windows
    return lay_out(slices, by_slice, config, row_of)


def held_out(windows: Windows) -> NDArray[np.bool_]:
    """(n,) True at the last window of each user with at least `LEAST_HISTORY` of them: S_new."""
    _, first_from_behind, counts = np.unique(windows.users[::-1], return_index=True, return_counts=True)
    mask = np.zeros(len(windows), dtype=np.bool_)
    mask[len(windows) - 1 - first_from_behind[counts >= LEAST_HISTORY]] = True
    return mask


def _prequential(
    slices: Slices, events: Mapping[Slice, Sequence[Interaction]], config: Config, row_of: Mapping[str, int]
) -> Plan:
    histories = Histories(config.windows.length)
    windows = {
        name: preceding_windows(events[name], dict(row_of), histories, since_setup=name != "S")
        for name in ("S", "F", "T")
    }
    new = held_out(windows["S"])
    known, unseen = windows["S"][~new], windows["S"][new]
    return Plan(slices, known, {"F": windows["F"], "T": windows["T"]}, {"S_new": unseen, "S": known})


def _windows(
    slices: Slices, events: Mapping[Slice, Sequence[Interaction]], config: Config, row_of: Mapping[str, int]
) -> Plan:
    length, stride = config.windows.length, config.windows.stride
    # Histories of its own for each slice: no context crosses a cut.
    inside = {
        name: preceding_windows(events[name], dict(row_of), Histories(length), since_setup=name != "S")
        for name in ("S", "F", "T")
    }
    places = {name: places_in_sequence(windows.users) for name, windows in inside.items()}
    new = held_out(inside["S"])
    scored = {name: (places[name] >= length) & ((places[name] - length) % stride == 0) for name in inside}
    plan = Plan(
        slices,
        inside["S"][~new],
        {"F": inside["F"][places["F"] >= length]},
        {"S_new": inside["S"][new], "S": inside["S"][scored["S"] & ~new], "T": inside["T"][scored["T"]]},
    )
    _refuse_empty(plan, length)
    return plan


def _refuse_empty(plan: Plan, length: int) -> None:
    empty = [name for name in ("S", "F", "T") if not len(plan.asked[name])]
    if empty:
        raise DataError(
            f"protocol `windows`: no user has more than {length} interactions inside slice {' and '.join(empty)}: "
            "lower windows.length, or take protocol `prequential`, whose histories cross slices"
        )


def _facts(windows: Windows, known: NDArray[np.int64]) -> SliceFacts:
    unseen = float(np.mean(~np.isin(windows.targets, known))) if len(windows) else 0.0
    return SliceFacts(len(windows), len(np.unique(windows.users)), len(np.unique(windows.targets)), unseen)
