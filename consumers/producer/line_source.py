"""JSON lines of a growing file or a pipe, written into the log as they come."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from select import select
from threading import Event

from pipeline.errors import DataError

PAUSE = 0.2
"""Seconds between two looks at a file that has not grown, or at the signal to end."""

CHUNK = 262_144
"""Most bytes read at once: what is read is one transaction."""

LONGEST = 1_000_000
"""Longest line in bytes: no record is longer. The rest of a longer one is passed over."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        number: from 1.
        text: its bytes without the end of the line, None for one beyond `LONGEST`.
        end: bytes of the source up to and with its end.
    """

    number: int
    text: bytes | None
    end: int


class LineSource:
    """The lines of a file that grows, or of a pipe until its end.

    Args:
        descriptor: open file, at the position.
        position: bytes before the first line.
        line: lines in these bytes.
        ends: True where the end of the data is the end of the lines, False for a file that may grow.
    """

    def __init__(self, descriptor: int, position: int = 0, line: int = 0, *, ends: bool) -> None:
        self._descriptor, self._end, self._number, self._ends = descriptor, position, line, ends
        self._rest, self._skipping = b"", False

    def follow(self, write: Callable[[list[Line]], None], stop: Event) -> None:
        """Pass on whole lines as they come, until the end of a pipe or until `stop` is set.

        The last line of a pipe needs no end; that of a file waits for it, since more of it may come.
        """
        while not stop.is_set():
            if not select([self._descriptor], [], [], PAUSE)[0]:
                continue
            chunk = os.read(self._descriptor, CHUNK)
            lines = self._split(chunk)
            if lines:
                write(lines)
            if not chunk and self._ends:
                if self._rest:
                    write(self._split(b"\n"))
                return
            if not chunk:
                stop.wait(PAUSE)

    def _split(self, chunk: bytes) -> list[Line]:
        """Return the lines that a chunk completes."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        lines = []
        for text in whole:
            self._end += len(text) + 1
            self._number += 1
            lines.append(Line(self._number, None if self._skipping or len(text) > LONGEST else text, self._end))
            self._skipping = False
        if len(self._rest) > LONGEST:
            self._end += len(self._rest)
            self._rest, self._skipping = b"", True
        return lines


def first_line(path: Path, stop: Event) -> bytes:
    """Return the first line of a file, by which a resumed feed knows it again, as soon as it is whole."""
    while True:
        with path.open("rb") as file:
            line = file.readline(LONGEST)
        if line.endswith(b"\n") or len(line) == LONGEST or stop.wait(PAUSE):
            return line


def check_length(path: Path, position: int) -> None:
    """Check that a file still has what was read of it.

    Raises:
        DataError: it is shorter.
    """
    size = path.stat().st_size
    if size < position:
        raise DataError(
            f"{path} has {size:,} bytes, and {position:,} were read before: it was replaced or cut; follow the new one "
            "as another feed with --feed NAME"
        )
