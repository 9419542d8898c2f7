"""A headless Chromium, driven over a pipe."""

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 60.0
SILENCE = 60.0
"""Seconds of silence after which the browser counts as dead."""

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"),
    # A container's /dev/shm is often too small for a page; and no name but this machine's address is looked up.
    *("--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"),
    "--remote-debugging-pipe",
)

START = """
import os, sys
read, write = os.dup({0}), os.dup({3})
os.dup2(read, 30), os.dup2(write, 40)
os.dup2(30, 3), os.dup2(40, 4)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Launcher: the browser reads commands at descriptor 3 and writes answers at 4, whatever the pipes' numbers are."""


def chromium() -> str:
    """Path of a Chromium; the test is skipped where there is none."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        pytest.skip(f"page in a browser: none of {', '.join(NAMES)} on the PATH (Debian: chromium)")
    return found


class Tab:
    """One page.

    Attributes:
        complaints: errors, and violations of the policy, that the console has shown since a page was opened.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", write: int, read: int) -> None:
        self.complaints: list[str] = []
        self._process, self._write, self._read = process, write, read
        self._left = b""
        self._number = 0
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session: str | None = None
        self._session = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, url: str, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Show a page in a window of this size and colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._call("Emulation.setEmulatedMedia", {"features": [feature]})
        # The same page with another fragment would not be loaded anew.
        self._call("Page.navigate", {"url": "about:blank"})
        self.complaints.clear()
        self._call("Page.navigate", {"url": url})

    def run(self, script: str) -> Any:
        """The value of an expression; a promise is awaited."""
        asked = {"expression": script, "returnByValue": True, "awaitPromise": True}
        answer = self._call("Runtime.evaluate", asked)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def shows(self, script: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.run(f"!!({script})"):
            assert time.monotonic() < deadline, f"never true: {script}; {self.complaints}"
            time.sleep(0.1)

    def _call(self, method: str, given: Mapping[str, object] | None = None) -> Any:
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": given or {}}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _next(self) -> Any:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._read], [], [], SILENCE)
            assert ready, f"the browser has said nothing for {SILENCE} s"
            chunk = os.read(self._read, 1 << 16)
            assert chunk, "the browser has ended"
            self._left += chunk
        first, _, self._left = self._left.partition(b"\0")
        return json.loads(first)

    def _note(self, event: Mapping[str, Any]) -> None:
        given = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(given["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded" and given["entry"]["level"] == "error":
            self.complaints.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")


@contextmanager
def tab(folder: Path) -> Iterator[Tab]:
    """A browser with one page, and a profile of its own, until the block ends."""
    program = chromium()
    to_browser, from_browser = os.pipe(), os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", START.format(*to_browser, *from_browser), program, *FLAGS, f"--user-data-dir={folder}"],
        pass_fds=(to_browser[0], from_browser[1]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser[0])
    os.close(from_browser[1])
    try:
        yield Tab(process, to_browser[1], from_browser[0])
    finally:
        process.terminate()
        process.wait(PATIENCE)
        os.close(to_browser[1])
        os.close(from_browser[0])
