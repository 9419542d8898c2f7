"""Embedded stores for the histories of users: SQLite of the standard library, LMDB and RocksDB.

    python -m benchmarks.user_stores --users 300000

Each store is loaded in a process of its own with values as long as records of `users`, in random order and in
transactions of 1,000 that also write a position. `lmdb` and `rocksdict` are measured if they are installed; the
pipeline does not need them. Prints one JSON object, of each store:

    load_us     microseconds of a key while it is loaded, and `longest_ms` of a transaction
    read_us     of the value of a random key
    write_us    of a random key that is replaced
    memory_mb   that the process gained: its own, and of mapped files
    size_mb     on disk
    restart_ms  to open it again and read a value
    ratios      read and write: of SQLite over the best of the others
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any, Protocol

BATCH, SAMPLE, LENGTH = 1_000, 20_000, 640
"""Keys of a transaction, keys that are read and written again, and bytes of a value."""

POSITION = b"\0position"


class Store(Protocol):
    """A store of bytes by key."""

    def write(self, rows: Iterable[tuple[bytes, bytes]], position: int) -> None:
        """Write rows and a position, all or none."""

    def get(self, key: bytes) -> bytes | None:
        """Value of a key."""

    def close(self) -> None:
        """Release the files."""


class OfSqlite:
    """SQLite, as `consumers.runtime.user_table` uses it."""

    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / "users.sqlite", isolation_level=None)
        for pragma in ("cache_size = -4096", "synchronous = NORMAL", "journal_mode = WAL"):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()
        self._connection.execute("CREATE TABLE IF NOT EXISTS users (key BLOB PRIMARY KEY, value BLOB NOT NULL)")

    def write(self, rows: Iterable[tuple[bytes, bytes]], position: int) -> None:
        """See `Store`."""
        self._connection.execute("BEGIN IMMEDIATE")
        pairs = [*rows, (POSITION, str(position).encode())]
        update = "INSERT INTO users VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        self._connection.executemany(update, pairs)
        self._connection.execute("COMMIT")

    def get(self, key: bytes) -> bytes | None:
        """See `Store`."""
        found = self._connection.execute("SELECT value FROM users WHERE key = ?", (key,)).fetchall()
        return found[0][0] if found else None

    def close(self) -> None:
        """See `Store`."""
        self._connection.close()


class OfLmdb:
    """LMDB."""

    def __init__(self, folder: Path) -> None:
        import lmdb  # type: ignore[import-not-found]  # noqa: PLC0415

        self._environment = lmdb.open(str(folder / "lmdb"), map_size=1 << 36, metasync=False)

    def write(self, rows: Iterable[tuple[bytes, bytes]], position: int) -> None:
        """See `Store`."""
        with self._environment.begin(write=True) as transaction:
            for key, value in rows:
                transaction.put(key, value)
            transaction.put(POSITION, str(position).encode())

    def get(self, key: bytes) -> bytes | None:
        """See `Store`."""
        with self._environment.begin() as transaction:
            value: bytes | None = transaction.get(key)
            return value

    def close(self) -> None:
        """See `Store`."""
        self._environment.close()


class OfRocksdb:
    """RocksDB by `rocksdict`, with a cache of 64 MB and a Bloom filter."""

    def __init__(self, folder: Path) -> None:
        from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteBatch  # type: ignore  # noqa: PLC0415

        options, blocks = Options(raw_mode=True), BlockBasedOptions()
        blocks.set_block_cache(Cache(64 << 20))
        blocks.set_bloom_filter(10, False)
        options.set_block_based_table_factory(blocks)
        self._new_batch = WriteBatch
        self._store = Rdict(str(folder / "rocksdb"), options)

    def write(self, rows: Iterable[tuple[bytes, bytes]], position: int) -> None:
        """See `Store`."""
        batch = self._new_batch(raw_mode=True)
        for key, value in rows:
            batch.put(key, value)
        batch.put(POSITION, str(position).encode())
        self._store.write(batch)

    def get(self, key: bytes) -> bytes | None:
        """See `Store`."""
        value: bytes | None = self._store.get(key)
        return value

    def close(self) -> None:
        """See `Store`."""
        self._store.close()


STORES = {"sqlite": ("sqlite3", OfSqlite), "lmdb": ("lmdb", OfLmdb), "rocksdb": ("rocksdict", OfRocksdb)}
"""Name -> the module it needs, and the store."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=300_000)
    given = parser.parse_args(arguments)
    found = {name: _child(name, given.users) for name, (module, _) in STORES.items() if find_spec(module)}
    others = [of for name, of in found.items() if name != "sqlite"]
    measures = ("read_us", "write_us") if others else ()
    ratios = {m: round(found["sqlite"][m] / min(of[m] for of in others), 2) for m in measures}
    print(json.dumps({"stores": found, "ratios": ratios, "load": os.getloadavg()[0]}, indent=2))


def measured(name: str, users: int) -> dict[str, float]:
    """Measure one store."""
    rng, order = Random(0), list(range(users))
    rng.shuffle(order)
    # Values that differ: RocksDB compresses.
    texts = [json.dumps({"history": rng.choices(range(10**6), k=60)}).encode() for _ in range(5_000)]
    values = [text[:LENGTH].ljust(LENGTH) for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        store: Store = STORES[name][1](Path(folder))
        before, longest, began = _memory(), 0.0, time.perf_counter()
        for start in range(0, users, BATCH):
            at = time.perf_counter()
            store.write(((_key(n), values[n % len(values)]) for n in order[start : start + BATCH]), start)
            longest = max(longest, time.perf_counter() - at)
        loaded = time.perf_counter() - began
        keys = [_key(rng.randrange(users)) for _ in range(SAMPLE)]
        began = time.perf_counter()
        assert all(store.get(key) for key in keys)
        read, began = time.perf_counter() - began, time.perf_counter()
        for start in range(0, SAMPLE, BATCH):
            store.write(((key, values[0]) for key in keys[start : start + BATCH]), start)
        written, memory = time.perf_counter() - began, _memory()
        store.close()
        size = sum(path.stat().st_blocks * 512 for path in Path(folder).rglob("*") if path.is_file())
        began = time.perf_counter()
        store = STORES[name][1](Path(folder))
        store.get(keys[0])
        restart = time.perf_counter() - began
        store.close()
    return {
        "load_us": round(loaded / users * 1e6, 1),
        "longest_ms": round(longest * 1e3),
        "read_us": round(read / SAMPLE * 1e6, 1),
        "write_us": round(written / SAMPLE * 1e6, 1),
        "memory_mb": round(memory - before),
        "size_mb": round(size / 1e6),
        "restart_ms": round(restart * 1e3, 1),
    }


def _key(number: int) -> bytes:
    return b"user-%08d" % number


def _memory() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) / 1000 for line in lines if line.startswith(("RssAnon", "RssFile")))


def _child(name: str, users: int) -> Any:
    command = [sys.executable, "-m", "benchmarks.user_stores", "--store", name, str(users)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--store"]:
        print(json.dumps(measured(sys.argv[2], int(sys.argv[3]))))
    else:
        main()
