"""The child process of a trainer: reads jobs from stdin, applies their edits, writes the results to stdout.

One JSON object a line. The first has set-up, store and configuration; the others are jobs:

    in     {"root": ..., "adapters": ..., "config": {...}}
    in     {"edit": {...}, "next_revision": N}
    out    {"outcome": {...}, "revision": {...} or null, "seconds": ...}
    out    {"failed": "cause and remedy"}       may be tried again
    out    {"refused": "cause and remedy"}      may not

The process ends with its parent: when stdin ends, at any point of a job. A version that it had published by then is an
orphan, and the next trainer that applies the edit writes the same bytes under the same name. So is the file of arrays
that are too large for the revision.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from adapters_store import AdaptersStore, ArrayFiles
from adapters_store.errors import StoreError
from consumers.runtime.generations import log_in, number_of, read_generations
from consumers.trainer.job import JobRunner
from pipeline.child_process import answer, messages, own_stdout
from pipeline.config import Config
from pipeline.errors import RaieError
from pipeline.events.edit import Edit
from pipeline.models.seeding import make_deterministic
from pipeline.regions.revision_arrays import by_reference
from pipeline.setup.binding import read_binding
from pipeline.setup.storage import load_setup
from pipeline.streams import UnavailableError, open_log

Checkpoint = Callable[[str], None]

NICENESS = 10
"""Added to the niceness of the process: a tenth of the share of a stage of the default niceness."""


def serve(source: IO[str], sink: IO[str], checkpoint: Checkpoint = lambda _: None) -> None:
    """Run the jobs that come from `source`, until the process ends with it.

    Args:
        source: a pipe whose other end closes when the parent ends.
        sink: pipe for the results.
        checkpoint: called with each step of each publication; see `AdaptersStore`.
    """
    jobs = messages(source)
    start = next(jobs)
    make_deterministic()
    config = Config.model_validate(start["config"])
    store = AdaptersStore(start["adapters"], checkpoint=checkpoint)
    root, log = Path(start["root"]), open_log(config.log.url, config.log)
    own = log_in(log, number_of(read_generations(log), read_binding(root).root))
    runner = JobRunner(load_setup(root, config.compute), config, own, store)
    for job in jobs:
        answer(sink, _result(runner, store.arrays, job))


def _result(runner: JobRunner, files: ArrayFiles, job: Mapping[str, Any]) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        outcome, revision = runner.apply(Edit.from_record(job["edit"]), job["next_revision"])
        record = None if revision is None else by_reference(revision, files).to_record()
    except (StoreError, UnavailableError) as error:
        return {"failed": str(error)}
    except RaieError as error:
        return {"refused": str(error)}
    return {"outcome": outcome.to_record(), "revision": record, "seconds": time.perf_counter() - began}


def main(checkpoint: Checkpoint = lambda _: None) -> None:
    """Run the child: results go to the original stdout, and everything else that is printed goes to stderr."""
    # What is trained a second later is no worse; an answer is. Where processors are idle this changes nothing.
    os.nice(NICENESS)
    results = own_stdout()
    serve(sys.stdin, results, checkpoint)


if __name__ == "__main__":
    main()
