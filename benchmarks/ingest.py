"""Time and memory of reading a CSV of interactions, beside pyarrow's bare read of the same file.

    python -m benchmarks.ingest --rows 5000000 --repeats 3

Prints one JSON object; `ratios` holds median time over that of the bare read: `checked` to typed, checked columns with
refused rows counted, `cut` to the sorted and cut log with the id of every event. `peak_gib` is the peak memory of a
process that does nothing else. With `--broken 0.001` that share of the rows has a fault.

    python -m benchmarks.ingest --log kafka://HOST:PORT --records 20000 --repeats 5

measures `POST /events` on a broker instead; see benchmarks/ingest_http.py.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow
import pyarrow.csv

from benchmarks import ingest_http
from pipeline.datasets.assembly import Assembly
from pipeline.datasets.readers.registry import open_source
from pipeline.datasets.readers.rows import ReadOptions
from pipeline.datasets.refusals import RefusalCounter
from pipeline.datasets.splits import cut
from pipeline.events.counting import CountingRule

USERS, ITEMS = 200_000, 50_000


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--broken", type=float, default=0.0)
    parser.add_argument("--log", help="URL of a broker, to measure POST /events on it")
    parser.add_argument("--records", type=int, default=20_000, help="records sent to the broker in each repeat")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.measure is not None:
        print(json.dumps(read(given.measure)))
        return
    if given.log is not None:
        print(json.dumps(ingest_http.measured(given.log, given.records, given.repeats), indent=2))
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "log.csv"
        write(file, given.rows, given.broken)
        print(json.dumps(measured(file, given.repeats) | {"rows": given.rows, "broken": given.broken}, indent=2))


def write(file: Path, rows: int, broken: float) -> None:
    """Write a log whose users and items have Zipf-like shares, nearly in order of time."""
    rng = np.random.default_rng(0)
    times = 1_400_000_000 + np.sort(rng.integers(0, 200_000_000, rows)) + rng.integers(-1000, 1000, rows)
    columns: dict[str, Any] = {
        "user_id": rng.zipf(1.3, rows) % USERS,
        "item_id": rng.zipf(1.2, rows) % ITEMS,
        "rating": rng.integers(1, 11, rows) / 2,
        "timestamp": times,
    }
    if broken:
        texts = times.astype(str).astype(object)
        texts[rng.random(rows) < broken] = "soon"
        columns["timestamp"] = pyarrow.array(texts)
    pyarrow.csv.write_csv(pyarrow.table(columns), file, pyarrow.csv.WriteOptions(quoting_style="none"))


def measured(file: Path, repeats: int) -> dict[str, Any]:
    """Return the medians of several reads, each of ours in a process of its own, in turn with a bare read."""
    runs = []
    for _ in range(repeats):
        bare = _timed(lambda: pyarrow.csv.read_csv(file))
        command = [sys.executable, "-m", "benchmarks.ingest", "--measure", str(file)]
        ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        runs.append({"bare": bare, **ours})
    seconds = {name: median(run[name] for run in runs) for name in ("bare", "checked", "cut")}
    return {
        "mebibytes": round(file.stat().st_size / 2**20),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "ratios": {name: round(seconds[name] / seconds["bare"], 2) for name in ("checked", "cut")},
        "peak_gib": round(max(run["peak_gib"] for run in runs), 2),
        "accepted": runs[0]["accepted"],
        "refused": runs[0]["refused"],
    }


def read(file: Path) -> Mapping[str, Any]:
    """Read a log once; return the seconds until its columns are checked and until it is cut, and the peak memory."""
    started = time.perf_counter()
    refused = RefusalCounter()
    assembly = Assembly(refused, keep_repeats=False, rule=CountingRule())
    for bound in open_source(file, ReadOptions()).interactions:
        assembly.add(bound)
    checked = time.perf_counter() - started
    events, _ = assembly.finish()
    cut(events.timestamps)
    return {
        "checked": checked,
        "cut": time.perf_counter() - started,
        "peak_gib": peak_kib() / 2**20,
        "accepted": len(events),
        "refused": dict(refused.result().counts),
    }


def peak_kib() -> int:
    """Peak memory of this process in KiB; Linux's `ru_maxrss` would include that of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
