"""The child process of a trainer: reads jobs from stdin, carries them out, writes what came of them to stdout.

One JSON object a line. The first says what to start from; then come the jobs:

    in     {"root": ..., "adapters": ..., "config": {...}}
    in     {"edit": {...}, "revision": N}
    out    {"outcome": {...}, "revision": {...} or null, "seconds": ...}
    out    {"failed": "why, and what to do"}      may be tried again
    out    {"refused": "why, and what to do"}     may not

It ends with its parent: when stdin ends, whatever it is in the middle of. What it had published by then is an
orphan, and the next trainer that carries the edit out writes the same bytes under the same name.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from adapters_store import AdaptersStore
from adapters_store.errors import StoreError
from consumers.trainer.job import Carrier
from pipeline.config import Config
from pipeline.errors import RaieError
from pipeline.events.edit import Edit
from pipeline.models.seeding import make_deterministic
from pipeline.setup.storage import load_setup
from pipeline.streams import UnavailableError, open_log

Checkpoint = Callable[[str], None]


def serve(source: IO[str], sink: IO[str], checkpoint: Checkpoint = lambda _: None) -> None:
    """Carry out what comes from `source`, until the process ends with it.

    Args:
        source: the parent's end of it closes when the parent ends.
        sink: where results go.
        checkpoint: told of the steps of each publication; see `AdaptersStore`.
    """
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(source, lines), daemon=True).start()
    start = json.loads(lines.get())
    make_deterministic()
    config = Config.model_validate(start["config"])
    store = AdaptersStore(start["adapters"], checkpoint=checkpoint)
    carrier = Carrier(load_setup(Path(start["root"])), config, open_log(config.log.url, config.log), store)
    while True:
        job = json.loads(lines.get())
        sink.write(json.dumps(_result(carrier, job)) + "\n")
        sink.flush()


def _listen(source: IO[str], lines: "SimpleQueue[str]") -> None:
    for line in source:
        lines.put(line)
    # A training does not look up: it would outlive its parent by minutes.
    os._exit(0)


def _result(carrier: Carrier, job: Mapping[str, Any]) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        outcome, revision = carrier.apply(Edit.from_record(job["edit"]), job["revision"])
    except (StoreError, UnavailableError) as error:
        return {"failed": str(error)}
    except RaieError as error:
        return {"refused": str(error)}
    record = None if revision is None else revision.to_record()
    return {"outcome": outcome.to_record(), "revision": record, "seconds": time.perf_counter() - began}


def main(checkpoint: Checkpoint = lambda _: None) -> None:
    """Entry point of the child: results go where stdout went, and whatever else is printed goes to stderr."""
    results = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin, results, checkpoint)


if __name__ == "__main__":
    main()
