"""Processes that are there at once: forked from one that has everything imported and has computed nothing yet.

Importing torch takes seconds, and a soak starts a hundred processes. What is forked is a process like any other:
its memory is its own, and it can be killed.

    python -m tests.consumers.forking       one line of arguments on stdin for each worker; answers "pid" at once,
                                            and "-pid code" when a worker has ended
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from consumers.trainer.child_process import TrainingChild
from consumers.trainer.worker import serve

REPOSITORY = Path(__file__).parents[2]


def forked(run: Callable[[], None]) -> int:
    """Run something in a process of its own; return its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        run()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


class Nursery:
    """Starts workers; each is a child of the nursery's process."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.consumers.forking"]
        pipe = subprocess.PIPE
        # One thread each: a fork keeps no other, and a pool that lost its threads waits for ever.
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        self._codes: dict[int, int] = {}
        self._pids: SimpleQueue[int] = SimpleQueue()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def start(self, arguments: Sequence[str]) -> int:
        """Start a worker; return its process id."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(list(arguments)) + "\n")
        self._process.stdin.flush()
        return self._pids.get(timeout=600)

    def code(self, pid: int) -> int | None:
        """Exit status of a worker, negative for a signal; None while it runs."""
        return self._codes.get(pid)

    def close(self) -> None:
        """End the nursery; its workers have ended."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(600)
        self._listener.join(600)

    def _listen(self) -> None:
        assert self._process.stdout
        with self._process.stdout as answers:
            for line in answers:
                words = line.split()
                if len(words) == 1:
                    self._pids.put(int(words[0]))
                else:
                    self._codes[-int(words[0])] = int(words[1])


class ForkedChild(TrainingChild):
    """A training child that is forked from a process which has torch imported and computes nothing itself."""

    def __init__(self, start: dict[str, object], checkpoint: Callable[[str], None]) -> None:
        super().__init__(start)
        self._zygote = Zygote(checkpoint)

    def _spawn(self) -> "subprocess.Popen[str]":
        return ForkedProcess(self._zygote, self._lines)


class Zygote:
    """Forks training children, one after another.

    It is forked before the trainer opens a log: a client of a broker has threads, a fork keeps none of them, and what
    they have locked stays locked in it.
    """

    def __init__(self, checkpoint: Callable[[str], None]) -> None:
        self._ours, theirs = socket.socketpair()

        def run() -> None:
            self._ours.close()
            _bear_children(theirs, checkpoint)

        forked(run)
        theirs.close()

    def bear(self, jobs: int, results: int) -> int:
        """Fork a child that reads and writes these descriptors; return its process id."""
        socket.send_fds(self._ours, [b"child"], [jobs, results])
        return self._number()

    def code(self) -> int:
        """Wait until the child has ended; return its exit status, negative for a signal."""
        return self._number()

    def _number(self) -> int:
        number: int = struct.unpack("i", self._ours.recv(4, socket.MSG_WAITALL))[0]
        return number


def _bear_children(trainer: socket.socket, checkpoint: Callable[[str], None]) -> None:
    while True:
        asked, pipes, _, _ = socket.recv_fds(trainer, 5, 2)
        if not asked:
            return
        pid = forked(partial(_train, trainer, *pipes, checkpoint))
        for pipe in pipes:
            os.close(pipe)
        trainer.send(struct.pack("i", pid))
        trainer.send(struct.pack("i", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))


def _train(trainer: socket.socket, jobs: int, results: int, checkpoint: Callable[[str], None]) -> None:
    trainer.close()
    serve(os.fdopen(jobs), os.fdopen(results, "w"), checkpoint)


class ForkedProcess:
    """As much of a `Popen` as a training child needs."""

    def __init__(self, zygote: Zygote, lines: "SimpleQueue[str | None]") -> None:
        jobs, ours = os.pipe()
        self._results, results = os.pipe()
        self._zygote = zygote
        self._code: int | None = None
        self.pid = zygote.bear(jobs, results)
        os.close(jobs)
        os.close(results)
        self.stdin: IO[str] = os.fdopen(ours, "w")
        threading.Thread(target=self._forward, args=(lines,), daemon=True).start()

    def kill(self) -> None:
        if self._code is None:
            # One that has ended by itself is gone already.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        if self._code is None:
            self._code = self._zygote.code()
        return self._code

    def _forward(self, lines: "SimpleQueue[str | None]") -> None:
        with os.fdopen(self._results) as results:
            for line in results:
                lines.put(line)
        lines.put(None)


def nurse() -> None:
    """Fork a worker for each line of stdin, and say when it has ended."""
    from tests.consumers.worker import main

    pids: set[int] = set()
    lock = threading.Lock()

    def say(words: str) -> None:
        with lock:
            print(words, flush=True)

    reader, writer = os.pipe()
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(_nonblocking(writer))
    os.set_blocking(0, False)
    rest = b""
    while True:
        _wait_for(0, reader)
        try:
            read = os.read(0, 65536)
        except BlockingIOError:
            read = None
        if read == b"":
            # Whoever wanted them is gone.
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            return
        *lines, rest = (rest + (read or b"")).split(b"\n")
        for line in lines:
            pid = forked(_worker(main, json.loads(line), (reader, writer)))
            pids.add(pid)
            say(str(pid))
        for pid in sorted(pids):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                pids.remove(pid)
                say(f"-{pid} {os.waitstatus_to_exitcode(status)}")


def _worker(
    main: Callable[[Sequence[str]], None], arguments: Sequence[str], pipes: Sequence[int]
) -> Callable[[], None]:
    def run() -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for pipe in pipes:
            os.close(pipe)
        # Its words go to a file of its own, and the nursery's pipes are not its.
        words = os.open(arguments[-1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(words, 1)
        os.dup2(words, 2)
        main(arguments[:-1])

    return run


def _nonblocking(descriptor: int) -> int:
    os.set_blocking(descriptor, False)
    return descriptor


def _wait_for(*descriptors: int) -> None:
    import select

    ready, _, _ = select.select(descriptors, [], [])
    for descriptor in ready:
        if descriptor != 0:
            os.read(descriptor, 4096)


if __name__ == "__main__":
    nurse()
