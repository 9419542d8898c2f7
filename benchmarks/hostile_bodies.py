"""Bodies that a server must not wait for: one of 10 MB twice a second, and 20 that come byte by byte.

`python -m benchmarks.hostile_bodies PORT` sends them until it is killed, and prints a line once it begins.
"""

import socket
import sys
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException

LARGE = b'{"history": [' + b"[]," * 3_300_000 + b"[]]}"
"""Body of 10 MB that is slow to parse."""

LARGE_EVERY, SLOW, BYTE_EVERY = 0.5, 20, 0.2
"""Seconds between two large bodies, number of slow connections, and seconds between two bytes of one of these."""

HEAD = b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"


def main() -> None:
    """Send until killed."""
    port = int(sys.argv[1])
    for _ in range(SLOW):
        threading.Thread(target=_send_slowly, args=(port,), daemon=True).start()
    print("sending", flush=True)
    while True:
        with suppress(OSError, HTTPException):
            connection = HTTPConnection("127.0.0.1", port, timeout=120)
            connection.request("POST", "/recommend", LARGE, {"Content-Type": "application/json"})
            connection.getresponse().read()
            connection.close()
        time.sleep(LARGE_EVERY)


def _send_slowly(port: int) -> None:
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(HEAD)
            for _ in range(999):
                connection.sendall(b" ")
                time.sleep(BYTE_EVERY)


if __name__ == "__main__":
    main()
