"""Run a pipeline with everything at once that months bring one by one, and count what went wrong.

    python -m tests.long_soak                                60 minutes, 200 events a second, on the embedded log
    python -m tests.long_soak --kafka 3 --rate 60            on three brokers, one of which dies and returns

New items arrive with the events, two refreshes are switched to, six users are erased and unlearned, and stages are
killed at random (`kill -9`). Prints one JSON object; exit status 1 if an event is missing or was gated twice, a record
or a request was refused, a refresh or an erasure failed, or memory or disk grew in the second half.
"""

import argparse
import json
import signal
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.consumers.soak import cluster_in
from tests.long_soak.course import Act, Plan
from tests.long_soak.run import run

REFRESHES, ERASURES, KILLS_A_MINUTE = 2, 6, 1.0


def main() -> int:
    """Run the long form, and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="of the stream (60)")
    parser.add_argument("--rate", type=float, default=200.0, help="events a second (200)")
    parser.add_argument("--requests", type=float, default=20.0, help="requests a second (20)")
    parser.add_argument("--kafka", type=int, choices=(1, 3), metavar="NODES", help="on brokers, not the embedded log")
    parser.add_argument("--folder", type=Path, help="keeps all files; without it they are removed")
    given = parser.parse_args()
    # Or the processes of the run would outlive it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    seconds = 60 * given.minutes
    plan = Plan(
        seconds, 1.5 * seconds, given.rate, given.requests, REFRESHES, ERASURES, round(KILLS_A_MINUTE * given.minutes)
    )
    with nullcontext(str(given.folder)) if given.folder else TemporaryDirectory() as name:
        folder = Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        if given.kafka is None:
            found = run(folder, f"sqlite:///{folder}/log.sqlite", plan, say=_say)
        else:
            with cluster_in(folder / "kafka", given.kafka) as cluster:
                acts: dict[float, Act] = {}
                if given.kafka > 1:
                    acts = {0.45: partial(cluster.kill, 1), 0.6: cluster.start}
                found = run(folder, cluster.start(), plan, acts, given.kafka, _say)
    print(json.dumps(found, indent=2))
    for problem in found["problems"]:
        _say(problem)
    return 1 if found["problems"] else 0


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
