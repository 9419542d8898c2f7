"""A real Kafka for tests: started once, on free ports, by the same script that a user starts."""

import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from pipeline.config import LogSettings

SCRIPT = Path(__file__).parents[1] / "scripts" / "kafka"

EXISTING = "RAIE_TEST_KAFKA"
"""Variable with the URL of a broker that runs already; without it the tests start one."""

_names = count()


class Broker:
    """A cluster of this test run, in a folder of its own.

    Attributes:
        url: of every node, those that are down as well.
    """

    def __init__(self, folder: Path, nodes: int = 1) -> None:
        self.folder = folder
        self.nodes = nodes
        self.url = ""

    def start(self) -> str:
        """Start what is down; return the URL."""
        self.url = "kafka://" + self._do("start", "--nodes", str(self.nodes)).strip()
        return self.url

    def stop(self) -> None:
        """Ask every node to end, and wait until it has."""
        self._do("stop")

    def kill(self, only: int | None = None) -> None:
        """End a node, or every one, without warning, as a power cut does."""
        for node in json.loads((self.folder / "cluster.json").read_text()):
            if only in (None, node["node"]):
                os.kill(node["pid"], signal.SIGKILL)

    def _do(self, command: str, *options: str) -> str:
        arguments = [sys.executable, str(SCRIPT), command, "--data", str(self.folder), *options]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


def need_kafka() -> None:
    """Skip where Kafka cannot run."""
    missing = [name for name in ("java", "mvn") if not shutil.which(name)]
    if missing:
        pytest.skip(f"Kafka: no {' and no '.join(missing)} on the PATH (Debian: default-jre-headless, maven)")


def settings(**changes: object) -> LogSettings:
    """Return settings for one test: topics, groups and producers of its own, and short waits."""
    short = {
        "prefix": f"t{os.getpid()}.{next(_names)}-",
        "session_seconds": 4.0,
        "close_seconds": 2.0,
        "commit_seconds": 20.0,
    }
    return LogSettings.model_validate(short | changes)
