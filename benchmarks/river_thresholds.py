"""Measurement of the run between false rises at thresholds of river: the tables of `pipeline.drift.river_detectors`.

    python -m benchmarks.river_thresholds adwin|page_hinkley|kswin

Updates the detectors with uniform values, the distribution of 1 - p without drift, and counts alarms of a rise. KSWIN
takes a millisecond per value: its statistic is computed here in the same way, on 600,000 places of a stream, and
compared with all levels at once.
"""

import sys
import time

import numpy as np
from scipy.stats import ks_2samp

from pipeline.drift.river_detectors import NEWEST, WINDOW, Adwin, PageHinkley, RiverDetector

THRESHOLDS: dict[str, tuple[type[RiverDetector], tuple[float, ...]]] = {
    "adwin": (Adwin, (0.5, 0.25, 0.0, -0.25, -0.5, -0.75, -1.0)),
    "page_hinkley": (PageHinkley, (2, 3, 4, 5, 6, 7, 8)),
}
SECONDS, ENOUGH, CHUNK, PLACES = 30.0, 400, 20_000, 600_000


def run_of(kind: type[RiverDetector], threshold: float) -> tuple[int, int]:
    """Numbers of values and of detected rises, until there are `ENOUGH` rises or `SECONDS` are over."""
    rng = np.random.default_rng(1)
    detector = kind((), 100.0, 0)
    detector.limit = threshold
    detector.begin()
    shown = found = 0
    until = time.monotonic() + SECONDS
    while found < ENOUGH and time.monotonic() < until:
        found += sum(detector.rose(value) for value in rng.random(CHUNK).tolist())
        shown += CHUNK
    return shown, found


def kswin() -> None:
    """Print run and log10 of alpha for each possible distance of two samples of this size."""
    rng = np.random.default_rng(1)
    stream = rng.random(WINDOW + PLACES)
    distances = np.zeros(PLACES, dtype=np.int64)
    for place in range(PLACES):
        window = stream[place + 1 : place + 1 + WINDOW]
        older, newer = np.sort(rng.permutation(window[:-NEWEST])[:NEWEST]), np.sort(window[-NEWEST:])
        both = np.concatenate([older, newer])
        stride = np.searchsorted(older, both, side="right") - np.searchsorted(newer, both, side="right")
        distances[place] = np.abs(stride).max() * (1 if newer.mean() > older.mean() else -1)
    for distance in range(12, 19):
        found, last = 0, -WINDOW
        for place in np.flatnonzero(distances >= distance).tolist():
            # After an alarm KSWIN keeps the newest values, and raises no other until the window is full again.
            if place - last >= WINDOW - NEWEST:
                found, last = found + 1, place
        grid = np.arange(float(NEWEST))
        level = ks_2samp(grid, grid + distance - 0.5).pvalue
        print(f"{PLACES / max(found, 1):,.0f}: {np.log10(level):.3f}, {found} alarms", flush=True)


def main() -> None:
    """Print one row for each threshold."""
    if sys.argv[1] == "kswin":
        return kswin()
    kind, thresholds = THRESHOLDS[sys.argv[1]]
    for threshold in thresholds:
        shown, found = run_of(kind, threshold)
        print(f"{shown / max(found, 1):,.0f}: {threshold}, {found} alarms in {shown:,} values", flush=True)
    return None


if __name__ == "__main__":
    main()
