"""Simulated gated events, and monitors calibrated for them: input of the monitor without a model.

There are six set-up regions unless another number is asked for; users follow one another with forty windows each. A
score of a window is a sum of ten draws, nine of which it shares with the user's next window, so scores come in bursts;
losses are independent. A user moves to another region in two of a hundred pairs of windows that are one stride apart.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.drift.subsampling import phases
from pipeline.events.edit import Edit
from pipeline.events.gated import GatedEvent
from pipeline.monitor import Monitor
from pipeline.regions.bank import RegionBank
from pipeline.regions.origin_model import OriginModel
from pipeline.regions.region import Origin, Region, Status
from pipeline.setup.calibration import Calibration

Array = NDArray[np.float64]
Rise = Callable[[np.random.Generator, Array], Array]
"""Rise in standard deviations as a function of the place after the change, counted in values of a detector."""

REGIONS, LENGTH, OF_A_USER, REFERENCE, MOVES = 6, 10, 40, 300, 0.02
DRIFTED = 1
"""The region whose angles rise where a drift is planted."""


UNUSED: dict[str, Any] = {
    "target": "i1",
    "window": (),
    "earlier": (),
    "since_setup": 0,
    "cold": False,
    "route": (),
    "confidence": 1.0,
    "margin": 1.0,
    "opened": 0.0,
    "backbone_probability": 0.0,
    "popularity_rank": 0,
    "model_rank": 1,
    "rank": 1,
    "gate_version": 0,
}
"""Fields that are the same in all events."""


@dataclass(frozen=True)
class Planted:
    """A drift of one region.

    Attributes:
        event: number of the first event that drifts.
        rise: of the angles of its windows.
    """

    event: int
    rise: Rise

    def found_by(self, edit: Edit) -> bool:
        """Return whether an edit came after the change and concerns the drifted region."""
        return edit.at_event > self.event and DRIFTED in edit.reason.get("regions", [edit.region_id])


def monitor(config: Config, seed: int, regions: int = REGIONS) -> Monitor:
    """Make a monitor whose regions have a reference of `REFERENCE` scores each, and as many moves over the phases."""
    rng = np.random.default_rng(seed)
    n = regions * REFERENCE
    ids = np.tile(np.arange(1, regions + 1), REFERENCE)
    phase = np.arange(n) // regions % 2
    windows = np.zeros((n, LENGTH), dtype=np.int64)
    moved = (rng.random(n) < MOVES).astype(np.float64)
    angle, margin, negative_log_popularity = rng.normal(size=(3, n))
    losses = rng.gamma(2.0, size=n)
    calibration = Calibration(
        ids, angle, margin, losses, negative_log_popularity, windows, windows[:, 0], phase, ids, moved
    )
    return Monitor(config, RegionBank(_regions(regions), OriginModel.certain(1, 0)), calibration, seed, ("i1",))


@dataclass(frozen=True)
class Stream:
    """Scores of n windows, as a gate would give them.

    Attributes:
        scores: (n, 3) angle, margin and rarity.
        losses: (n,).
        setup_tops: (n,) ids of the likeliest set-up regions.
        thinning: the stride, see `pipeline.drift.subsampling`.
        regions: number of set-up regions.
    """

    scores: Array
    losses: Array
    setup_tops: NDArray[np.int64]
    thinning: int
    regions: int


def draw(events: int, thinning: int, seed: int, planted: Planted | None = None, regions: int = REGIONS) -> Stream:
    """Draw a stream of windows, without drift unless one is planted."""
    rng = np.random.default_rng((seed, 1))
    users = math.ceil(events / OF_A_USER)
    scores = np.stack([_overlapping(rng, users) for _ in range(3)], axis=1)
    setup_tops = _setup_tops(rng, users, thinning, regions)
    if planted is not None:
        _raise(rng, scores, setup_tops, planted, thinning)
    return Stream(scores, rng.gamma(2.0, size=len(scores)), setup_tops, thinning, regions)


def gated(stream: Stream) -> Iterator[GatedEvent]:
    """Make the gated events of a stream, in order."""
    columns = (stream.scores.tolist(), stream.losses.tolist(), stream.setup_tops.tolist())
    for event, ((angle, margin, rarity), loss, region_id) in enumerate(zip(*columns, strict=True)):
        yield GatedEvent(
            event_id=str(event),
            user_id=str(event // OF_A_USER),
            timestamp=float(event),
            region_id=region_id,
            setup_region=region_id,
            setup_rival=region_id % stream.regions + 1,
            setup_margin=margin,
            angle=angle,
            loss=loss,
            rarity=rarity,
            **UNUSED,
        )


def shown(stream: Stream) -> dict[tuple[int, str, int], Array]:
    """Values that the monitor's detectors are shown of a stream, by region, signal and phase, without a monitor."""
    stride = np.arange(len(stream.setup_tops)).reshape(-1, OF_A_USER)[:, :: stream.thinning]
    setup_tops, scores = stream.setup_tops[stride], stream.scores[stride]
    found: dict[tuple[int, str, int], Array] = {}
    for region_id in range(1, stream.regions + 1):
        selected = scores[setup_tops == region_id]
        found[region_id, "novelty", 0], found[region_id, "doubt", 0] = selected[:, 0], -selected[:, 1]
        found[region_id, "rarity", 0] = selected[:, 2]
        found[region_id, "loss", 0] = stream.losses[stream.setup_tops == region_id]
        for phase, first in enumerate(phases(stream.thinning)):
            found[region_id, "shift", phase] = _moves(stream, first, region_id)
    return found


def _moves(stream: Stream, first: int, region_id: int) -> Array:
    """Moves of a phase: whether users left a region from one window to the next (1) or not (0)."""
    setup_tops = stream.setup_tops.reshape(-1, OF_A_USER)[:, first :: stream.thinning]
    before, after = setup_tops[:, :-1], setup_tops[:, 1:]
    return (after != before)[before == region_id].astype(np.float64)


def _overlapping(rng: np.random.Generator, users: int) -> Array:
    """Standard normal scores of overlapping windows, `OF_A_USER` of each user in a row."""
    draws = np.cumsum(rng.normal(size=(users, LENGTH + OF_A_USER)), axis=1)
    return ((draws[:, LENGTH:] - draws[:, :-LENGTH]) / math.sqrt(LENGTH)).ravel()


def _setup_tops(rng: np.random.Generator, users: int, thinning: int, regions: int) -> NDArray[np.int64]:
    """Region of every window: users start in the regions in turn, and a few move from one window to the next."""
    others = regions - 1
    # Of windows one stride apart, a share `MOVES` lies in another region.
    stay = (1.0 - MOVES * regions / others) ** (1.0 / thinning)
    away = rng.random((users, OF_A_USER)) < (1.0 - stay) * others / regions
    steps = np.where(away, rng.integers(1, regions, size=away.shape), 0)
    return ((np.arange(users)[:, None] + np.cumsum(steps, axis=1)) % regions + 1).ravel()


def _raise(
    rng: np.random.Generator, scores: Array, setup_tops: NDArray[np.int64], planted: Planted, thinning: int
) -> None:
    drifted = np.flatnonzero((setup_tops == DRIFTED) & (np.arange(len(setup_tops)) >= planted.event))
    scores[drifted, 0] += planted.rise(rng, np.arange(len(drifted)) / thinning)


def _regions(regions: int) -> tuple[Region, ...]:
    """Regions with orthogonal centroids, so that none merge."""
    return tuple(
        Region(i + 1, 0, Status.LIVE, Origin.BASE, None, centroid, 0.5, 20.0, 1.0 / regions)
        for i, centroid in enumerate(np.eye(regions))
    )
