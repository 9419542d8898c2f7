"""Evaluation protocols: assignment of windows to set-up, stream and final scoring.

`prequential`: every interaction of F and T is scored before it is learned; histories cross slices.
`windows`: windows are full and lie inside one slice; F is learned, then every `windows.stride`-th window of S and T is
scored.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.datasets.dataset import Dataset, is_positive, positives, threshold_of
from pipeline.datasets.setup_items import setup_items
from pipeline.datasets.splits import Slice, Slices, cut
from pipeline.errors import DataError
from pipeline.evaluation.facts import SliceFacts
from pipeline.events.interactions import Interactions
from pipeline.events.labelled import LabelledContexts, labelled_contexts, with_existing_dislikes
from pipeline.events.windows import Histories, Windows, concatenate, places_in_sequence, preceding_windows
from pipeline.strategies.timeline import Stream, Timeline

SLICES: tuple[Slice, ...] = ("S", "F", "T")

TOGETHER = 256
"""Windows whose dislikes are looked up together: among few, few items begin or end."""

LEAST_HISTORY = 5
"""Smallest number of interactions in S of a user whose last one is held out as S_new."""


@dataclass(frozen=True)
class Plan:
    """Windows of a replay, in event order.

    Attributes:
        slices: the two cuts through time.
        setup: training windows of set-up: S without S_new.
        observed: windows of the stream by slice: scored, then learned.
        scored: windows by slice that are scored after the stream, and never learned from it.
        timeline: which items exist at each event; its rows are those of all windows.
    """

    slices: Slices
    setup: Windows
    observed: Mapping[str, Windows]
    scored: Mapping[str, Windows]
    timeline: Timeline

    @property
    def stream(self) -> Windows:
        """Observed windows of all slices, in event order."""
        return concatenate(list(self.observed.values()))

    @property
    def by_slice(self) -> Mapping[str, Windows]:
        """Observed and scored windows, by slice."""
        return {**self.observed, **self.scored}

    def update_intervals(self, number: int) -> list[Windows]:
        """Stream in `number` intervals of equal length, after each of which strategies learn; empty ones left out."""
        stream = self.stream
        return [stream[rows] for rows in np.array_split(np.arange(len(stream)), number) if len(rows)]

    def facts(self) -> dict[str, SliceFacts]:
        """Sizes of the slices S, F and T."""
        known = np.union1d(self.setup.targets, self.scored["S_new"].targets)
        return {name: _facts(self.by_slice[name], known) for name in ("S", "F", "T")}


def plan_replay(dataset: Dataset, config: Config) -> Plan:
    """Plan a replay.

    Args:
        dataset: the log.
        config: `protocol` and sections `data`, `windows`, `items`, `gate` and `replay`.

    Raises:
        DataError: no interaction is positive, or a slice would be empty.
    """
    events = _positives(dataset, config)
    slices = cut(events.timestamps, (config.data.finetune_from, config.data.test_from))
    first, _ = slices.bounds(events.timestamps)
    timeline = Timeline(
        dataset.items,
        setup_items(dataset, events[:first], slices),
        _stream(events, first, config),
        config.items,
        repeats=config.windows.repeats,
    )
    protocol = _prequential if config.protocol == "prequential" else _windows
    return protocol(slices, _read(dataset, config, slices), config, timeline)


def plan_setup(dataset: Dataset, config: Config) -> Plan:
    """Plan a set-up: as a replay does, or without a stream where set-up learns from the whole log.

    Args:
        dataset: the log.
        config: as for `plan_replay`; `data.finetune_from` may be 1.

    Raises:
        DataError: as `plan_replay`.
    """
    if config.data.finetune_from < 1:
        return plan_replay(dataset, config)
    events = _positives(dataset, config)
    until = float(events.timestamps[-1])
    slices, nothing = Slices(until, until), Stream(len(events), np.zeros(0), [], [], [])
    timeline = Timeline(dataset.items, setup_items(dataset, events, slices), nothing, config.items)
    whole = _read(dataset, config, Slices(math.inf, math.inf))["S"]
    windows = whole.windows(timeline, _histories(config), since_setup=False)
    none = windows[:0]
    return Plan(slices, windows, {"F": none, "T": none}, {"S_new": none, "S": windows}, timeline)


def labelled_contexts_of(dataset: Dataset, config: Config, plan: Plan) -> LabelledContexts:
    """Windows of all positive interactions of a log that hold disliked items as well; they cross slices."""
    counts = is_positive(dataset, threshold_of(dataset, config.data.positive_from))
    return labelled_contexts(dataset.interactions, counts, plan.timeline.row_of, config.windows.length)


@dataclass(frozen=True)
class _Part:
    """Interactions that a slice of windows is made of.

    Attributes:
        events: in event order.
        counts: True for those that are targets, False for dislikes, which the others' windows hold; None: all are.
        first: number of the first one that is a target in the log of these.
    """

    events: Interactions
    counts: NDArray[np.bool_] | None
    first: int

    def windows(self, timeline: Timeline, histories: Histories, *, since_setup: bool) -> Windows:
        """Windows of its targets; the histories go on."""
        found = preceding_windows(
            *(self.events, timeline.row_of, histories), since_setup=since_setup, first=self.first, counts=self.counts
        )
        if self.counts is None:
            return found
        read = (found[slice(start, start + TOGETHER)] for start in range(0, len(found), TOGETHER))
        parts = [with_existing_dislikes(part, timeline.existence(part.positions)) for part in read]
        return concatenate(parts) if parts else found


def _read(dataset: Dataset, config: Config, slices: Slices) -> Mapping[Slice, _Part]:
    """Interactions that windows are made of, by slice: the positive ones, and dislikes where they are read."""
    threshold = threshold_of(dataset, config.data.positive_from)
    labelled = config.backbone.format == "examples"
    events = dataset.interactions if labelled else positives(dataset, threshold)
    counts = is_positive(dataset, threshold) if labelled else np.ones(len(events), dtype=np.bool_)
    bounds = (0, *slices.bounds(events.timestamps), len(events))
    return {
        name: _Part(events[start:stop], counts[start:stop] if labelled else None, int(counts[:start].sum()))
        for name, start, stop in zip(SLICES, bounds, bounds[1:], strict=False)
    }


def _histories(config: Config) -> Histories:
    """Histories of a gate, before the first event."""
    return Histories(config.windows.length, config.most_earlier)


def _positives(dataset: Dataset, config: Config) -> Interactions:
    """Positive interactions; raises DataError where there is none."""
    threshold = threshold_of(dataset, config.data.positive_from)
    events = positives(dataset, threshold)
    if not len(events):
        raise DataError(
            f"none of the {len(dataset.interactions)} interactions has a value of at least {threshold}: "
            "lower data.positive_from"
        )
    return events


def _stream(events: Interactions, first: int, config: Config) -> Stream:
    """Events after set-up, with the ends of the batches of a gate."""
    stream, size = events[first:], config.gate.batch_size
    intervals = np.array_split(np.arange(len(stream)), config.replay.parts)
    ends = [int(interval[i : i + size][-1]) for interval in intervals for i in range(0, len(interval), size)]
    users = stream.user_ids[stream.users].tolist()
    return Stream(first, stream.timestamps, stream.item_ids[stream.items].tolist(), ends, users)


def held_out(windows: Windows) -> NDArray[np.bool_]:
    """(n,) True at the last window of each user with at least `LEAST_HISTORY` of them: S_new."""
    _, index_from_end, counts = np.unique(windows.users[::-1], return_index=True, return_counts=True)
    mask = np.zeros(len(windows), dtype=np.bool_)
    mask[len(windows) - 1 - index_from_end[counts >= LEAST_HISTORY]] = True
    return mask


def _prequential(slices: Slices, parts: Mapping[Slice, _Part], config: Config, timeline: Timeline) -> Plan:
    histories = _histories(config)
    windows = {name: parts[name].windows(timeline, histories, since_setup=name != "S") for name in SLICES}
    new = held_out(windows["S"])
    known, unseen = windows["S"][~new], windows["S"][new]
    scored = {"S_new": unseen.at(timeline.end), "S": known.at(timeline.end)}
    return Plan(slices, known, {"F": windows["F"], "T": windows["T"]}, scored, timeline)


def _windows(slices: Slices, parts: Mapping[Slice, _Part], config: Config, timeline: Timeline) -> Plan:
    length, stride = config.windows.length, config.windows.stride
    # Separate histories for each slice, so that no context crosses a cut.
    inside = {name: parts[name].windows(timeline, _histories(config), since_setup=name != "S") for name in SLICES}
    positions = {name: places_in_sequence(windows.users) for name, windows in inside.items()}
    new = held_out(inside["S"])
    scored = {name: (positions[name] >= length) & ((positions[name] - length) % stride == 0) for name in inside}
    plan = Plan(
        slices,
        inside["S"][~new],
        {"F": inside["F"][positions["F"] >= length]},
        {
            "S_new": inside["S"][new].at(timeline.end),
            "S": inside["S"][scored["S"] & ~new].at(timeline.end),
            "T": inside["T"][scored["T"]],
        },
        timeline,
    )
    _refuse_empty(plan, length)
    return plan


def _refuse_empty(plan: Plan, length: int) -> None:
    empty = [name for name in ("S", "F", "T") if not len(plan.by_slice[name])]
    if empty:
        raise DataError(
            f"protocol `windows`: no user has more than {length} interactions inside slice {' and '.join(empty)}: "
            "lower windows.length, or use protocol `prequential`, whose histories cross slices"
        )


def _facts(windows: Windows, known: NDArray[np.int64]) -> SliceFacts:
    unseen = float(np.mean(~np.isin(windows.targets, known))) if len(windows) else 0.0
    return SliceFacts(len(windows), len(np.unique(windows.users)), len(np.unique(windows.targets)), unseen)
