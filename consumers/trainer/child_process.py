"""The parent's side of a training process: give it a job, ask now and then whether it is done, end it.

The two talk in lines of JSON over pipes: nothing that one sends is ever run by the other.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from pipeline.errors import RaieError
from pipeline.streams import UnavailableError

MODULE = "consumers.trainer.worker"


class TrainingChild:
    """At most one child, started with the first job, kept for the next ones.

    Args:
        start: what the child starts from: the first line it is given.
        command: that runs it.
    """

    def __init__(self, start: Mapping[str, Any], command: Sequence[str] = (sys.executable, "-m", MODULE)) -> None:
        self._start = start
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._lines: SimpleQueue[str | None] = SimpleQueue()

    def begin(self, job: Mapping[str, Any]) -> None:
        """Give it a job; the one before must be done."""
        if self._process is None:
            self._process = self._spawn()
            self._tell(self._start)
        self._tell(job)

    def result(self) -> Mapping[str, Any] | None:
        """What came of the job, or None while it is at work.

        Raises:
            UnavailableError: the job failed for a reason that may pass, or the child was killed.
            RaieError: the job can never be done, or the child ended by itself, which is a defect.
        """
        try:
            line = self._lines.get_nowait()
        except Empty:
            return None
        if line is None:
            raise self._ended()
        result: dict[str, Any] = json.loads(line)
        if "refused" in result:
            raise RaieError(result["refused"])
        if "failed" in result:
            raise UnavailableError(f"the edit cannot be carried out now: {result['failed']}")
        return result

    def stop(self) -> None:
        """End it at once, whatever it is in the middle of."""
        process, self._process = self._process, None
        # What it may still have said belongs to a job that is dropped.
        self._lines = SimpleQueue()
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()

    def _spawn(self) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            # An interrupt from the terminal is for the parent, which ends the child.
            start_new_session=True,
        )
        threading.Thread(target=_forward, args=(process, self._lines), daemon=True).start()
        return process

    def _tell(self, message: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            # It ended: `result` will say so.
            return

    def _ended(self) -> RaieError:
        code = self._process.wait() if self._process else 0
        self.stop()
        if code < 0:
            return UnavailableError(f"the training process was killed by signal {-code}: is there enough memory?")
        return RaieError(f"the training process ended with code {code}: what it wrote before says why")


def _forward(process: "subprocess.Popen[str]", lines: "SimpleQueue[str | None]") -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put(None)
