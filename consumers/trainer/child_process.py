"""The parent's side of a training process: begins a job, polls for its result, ends the process.

Parent and child exchange lines of JSON over pipes; neither runs what it receives as code.
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
    """At most one child process, started with the first job and kept for the next ones.

    Args:
        start: first line sent to the child: its set-up, store and configuration.
        command: starts the child.
    """

    def __init__(self, start: Mapping[str, Any], command: Sequence[str] = (sys.executable, "-m", MODULE)) -> None:
        self._start = start
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._lines: SimpleQueue[str | None] = SimpleQueue()

    def begin(self, job: Mapping[str, Any]) -> None:
        """Send a job; the one before must be done."""
        if self._process is None:
            self._process = self._spawn()
            self._send(self._start)
        self._send(job)

    def result(self) -> Mapping[str, Any] | None:
        """Return the result of the job, or None while it is running.

        Raises:
            UnavailableError: the job failed for a reason that may be temporary, or the child was killed.
            RaieError: the job can never succeed, or the child ended by itself, which is a defect.
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
            raise UnavailableError(f"the edit cannot be applied now: {result['failed']}")
        return result

    def stop(self) -> None:
        """Kill the child at once, at any point of its job."""
        process, self._process = self._process, None
        # Lines that were not read yet belong to a job that is dropped.
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

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            # The child ended: `result` raises the error.
            return

    def _ended(self) -> RaieError:
        code = self._process.wait() if self._process else 0
        self.stop()
        if code < 0:
            return UnavailableError(f"the training process was killed by signal {-code}: is there enough memory?")
        return RaieError(f"the training process ended with code {code}: see its output before this for the cause")


def _forward(process: "subprocess.Popen[str]", lines: "SimpleQueue[str | None]") -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put(None)
