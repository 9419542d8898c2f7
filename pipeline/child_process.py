"""Child processes that exchange lines of JSON with their parent over pipes; neither runs what it receives as code."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO, Any


class ChildEndedError(Exception):
    """The child ended.

    Attributes:
        code: its exit code, or minus the signal that killed it.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class ChildProcess:
    """At most one child process, started with the first message and kept for the next ones.

    Args:
        start: first line sent to the child.
        command: starts the child.
    """

    def __init__(self, start: Mapping[str, Any], command: Sequence[str]) -> None:
        self._start = start
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._lines: SimpleQueue[str | None] = SimpleQueue()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message."""
        if self._process is None:
            self._process = self._spawn()
            self._write(self._start)
        self._write(message)

    def receive(self) -> dict[str, Any] | None:
        """Return the next message of the child, None while there is none.

        Raises:
            ChildEndedError: it has ended; the next message starts another one.
        """
        try:
            line = self._lines.get_nowait()
        except Empty:
            return None
        if line is None:
            code = self._process.wait() if self._process else 0
            self.stop()
            raise ChildEndedError(code)
        message: dict[str, Any] = json.loads(line)
        return message

    def stop(self) -> None:
        """Kill the child at once, whatever it does."""
        process, self._process = self._process, None
        # Lines that were not read yet belong to work that is dropped.
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

    def _write(self, message: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        # Where the child has ended `receive` raises the error.
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()


def _forward(process: "subprocess.Popen[str]", lines: "SimpleQueue[str | None]") -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


def messages(source: IO[str]) -> Iterator[dict[str, Any]]:
    """Messages of the parent, in the child: it ends with its parent, whatever it does.

    Args:
        source: a pipe whose other end closes when the parent ends.
    """
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(source, lines), daemon=True).start()
    while True:
        yield json.loads(lines.get())


def _listen(source: IO[str], lines: "SimpleQueue[str]") -> None:
    for line in source:
        lines.put(line)
    # Long work does not read the pipe: without this it would go on for minutes after its parent ended.
    os._exit(0)


def answer(sink: IO[str], message: Mapping[str, Any]) -> None:
    """Send a message to the parent."""
    sink.write(json.dumps(message) + "\n")
    sink.flush()


def own_stdout() -> IO[str]:
    """The pipe to the parent; everything else that the child prints goes to stderr from now on."""
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return pipe
