"""The parent's side of a training process: begins a job, polls for its result, ends the process."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.child_process import ChildEndedError, ChildProcess
from pipeline.errors import RaieError
from pipeline.streams import UnavailableError

MODULE = "consumers.trainer.worker"


class TrainingChild(ChildProcess):
    """At most one child process, started with the first job and kept for the next ones.

    Args:
        start: first line sent to the child: its set-up, store and configuration.
        command: starts the child.
    """

    def __init__(self, start: Mapping[str, Any], command: Sequence[str] = (sys.executable, "-m", MODULE)) -> None:
        super().__init__(start, command)

    def begin(self, job: Mapping[str, Any]) -> None:
        """Send a job; the one before must be done."""
        self.send(job)

    def result(self) -> Mapping[str, Any] | None:
        """Return the result of the job, or None while it is running.

        Raises:
            UnavailableError: the job failed for a reason that may be temporary, or the child was killed.
            RaieError: the job can never succeed, or the child ended by itself, which is a defect.
        """
        try:
            result = self.receive()
        except ChildEndedError as ended:
            raise _explained(ended.code) from None
        if result is not None and "refused" in result:
            raise RaieError(result["refused"])
        if result is not None and "failed" in result:
            raise UnavailableError(f"the edit cannot be applied now: {result['failed']}")
        return result


def _explained(code: int) -> RaieError:
    if code < 0:
        return UnavailableError(f"the training process was killed by signal {-code}: is there enough memory?")
    return RaieError(f"the training process ended with code {code}: see its output before this for the cause")
