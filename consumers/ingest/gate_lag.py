"""Lag of the gates together, read from the log at most once in a while."""

from collections.abc import Callable
from threading import Lock

from consumers.runtime.generations import active_log
from consumers.runtime.lag import lags
from pipeline.errors import LogError
from pipeline.streams.interface import Log

SECONDS = 1.0
"""Seconds for which the lag is kept, so that requests do not query the log each."""


class GateLag:
    """Records of `interactions` that the gates have still to read.

    Args:
        log: has the topics.
        partitions: partitions of `interactions`.
        clock: monotonic seconds.
    """

    def __init__(self, log: Log, partitions: int, clock: Callable[[], float]) -> None:
        self._log, self._partitions, self._clock = log, partitions, clock
        self._reading = Lock()
        self._read: tuple[float, int | LogError] | None = None

    def records(self) -> int | LogError:
        """Return the lag, at most `SECONDS` old, or the error for which it is not known."""
        with self._reading:
            now = self._clock()
            if self._read is None or now - self._read[0] >= SECONDS:
                self._read = now, self._from_log()
            return self._read[1]

    def _from_log(self) -> int | LogError:
        try:
            # Another generation may have been switched to since the last time.
            return sum(lag.behind for lag in lags(active_log(self._log), self._partitions) if lag.stage == "gate")
        except LogError as error:
            return error
