"""Memory and disk over time, and their slope in the second half of a run."""

import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import numpy as np

INTERVAL = 5.0
"""Seconds between two samples."""

BLOCKS = 10
"""Means that a slope is fitted to: samples next to each other are alike, and would count as if they were not."""

STUDENT = 2.306
"""97.5% quantile of Student's t with `BLOCKS - 2` degrees of freedom."""

MIB = 2.0**20


def descendants(pid: int) -> list[int]:
    """Processes that a process has begun, with theirs."""
    found = []
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return []
    for child in children:
        found += [child, *descendants(child)]
    return found


def words_of(pid: int) -> list[str]:
    """Command line of a process, empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def resident(pid: int) -> int:
    """Resident bytes of a process that are its own, 0 if it has ended."""
    try:
        _, pages, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return (int(pages) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder; those that go meanwhile count for nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(parent, name).stat().st_size
            except OSError:
                continue
    return total


def role_of(words: Sequence[str]) -> str | None:
    """Stage that a command line runs, None for another program."""
    if "consumers.cli.main" not in words:
        return None
    return words[words.index("consumers.cli.main") + 1]


@dataclass
class Sampler:
    """Samples memory of a process by stage, and disk by folder.

    Attributes:
        parents: processes whose descendants count, and they themselves.
        folders: by name.
        stop: ends it.
        times: seconds of each sample since the first.
        mib: of each sample, by what was measured.
    """

    parents: Sequence[int]
    folders: Mapping[str, Path]
    stop: Event
    times: list[float] = field(default_factory=list)
    mib: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def run(self) -> None:
        """Sample until the stop."""
        began = time.monotonic()
        while not self.stop.wait(INTERVAL):
            resident_of: dict[str, list[int]] = defaultdict(list)
            for pid in {one for parent in self.parents for one in (parent, *descendants(parent))}:
                role = role_of(words_of(pid))
                # A refresh comes and goes: what it takes is no leak.
                if role not in (None, "refresh"):
                    resident_of[f"memory of {role}"].append(resident(pid))
            # Of a generation in the shadow there are as many again: the mean tells growth from number.
            found = {name: sum(each) / len(each) / MIB for name, each in resident_of.items()}
            found |= {f"disk of {name}": size_of(folder) / MIB for name, folder in self.folders.items()}
            self.times.append(time.monotonic() - began)
            for name in self.mib.keys() | found.keys():
                before = [0.0] * (len(self.times) - 1 - len(self.mib[name]))
                self.mib[name] += [*before, found.get(name, 0.0)]

    def slopes(self) -> dict[str, dict[str, float]]:
        """Mean in the second half of the run, and slope with its 95% interval, by what was measured.

        Empty after a run that is too short to tell.
        """
        if len(self.times) < 4 * BLOCKS:
            return {}
        return {name: slope_of(self.times, values) for name, values in sorted(self.mib.items())}


def slope_of(times: Sequence[float], values: Sequence[float]) -> dict[str, float]:
    """Fit a line to the second half of a run.

    Args:
        times: seconds, ascending.
        values: MiB at these times.

    Returns:
        `mean` in MiB; `an hour`, the slope in MiB; `from` and `to`, its 95% interval.
    """
    half = len(times) // 2
    blocks = np.array_split(np.array([times[half:], values[half:]], dtype=np.float64), BLOCKS, axis=1)
    hours, mib = np.array([block.mean(axis=1) for block in blocks]).T
    hours = (hours - hours.mean()) / 3600.0
    slope = float(hours @ mib / (hours @ hours))
    left = mib - mib.mean() - slope * hours
    error = STUDENT * float(np.sqrt(left @ left / (BLOCKS - 2) / (hours @ hours)))
    found = {"mean": mib.mean(), "an hour": slope, "from": slope - error, "to": slope + error}
    return {name: round(float(value), 1) for name, value in found.items()}
