"""Files of a gate's snapshots: the one in force, and those before it that a copy of the log may still name.

A file is written before the transaction that has its record. One that was superseded is removed an hour later
(`retention.snapshot_hours`), so that a store may be copied that long after its log; at the earliest, the snapshot that
took its place is committed then.
Each file says which one it was to replace: one that was to replace the snapshot in force never came into force, because
its gate died before the transaction, and goes when the gate is restored.
"""

from collections.abc import Callable, Sequence

import numpy as np

from adapters_store import ArrayFiles
from consumers.gate.changelog import STATE, StateFile


class SnapshotFiles:
    """Array files of one gate's snapshots.

    Args:
        files: array files of the adapters store.
        gate: instance of the gate.
        clock: seconds since any moment.
        kept: seconds for which a superseded file is kept.
        on_removed: called with the number of files that were removed.
    """

    def __init__(
        self,
        files: ArrayFiles,
        gate: str,
        clock: Callable[[], float],
        kept: float,
        on_removed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._kept, self._on_removed = kept, on_removed
        self._files, self._prefix, self._clock = files, f"gate {gate} after ", clock
        self._newest: str | None = None
        self._superseded: dict[str, float] = {}

    def restore(self, named: Sequence[str]) -> None:
        """Take over the files that the newest snapshot names, its own first; remove those that were to replace it.

        Raises:
            StoreError: the store cannot be read or written.
        """
        self._newest = named[0] if named else None
        self._superseded = dict.fromkeys(named[1:], self._clock())
        if self._newest is not None:
            others = set(self._files.names()) - set(named)
            self._files.remove([sha256 for sha256 in others if self._files.made_by(sha256) == self._origin()])

    def replace(self, state: bytes) -> StateFile:
        """Write the state of the next snapshot; the one before is committed by now.

        Raises:
            StoreError: the file cannot be written.
        """
        now = self._clock()
        due = [sha256 for sha256, since in self._superseded.items() if now - since >= self._kept]
        # The record that names them may be of another program.
        ours = [sha256 for sha256 in due if (self._files.made_by(sha256) or "").startswith(self._prefix)]
        self._on_removed(len(self._files.remove(ours)))
        for sha256 in due:
            del self._superseded[sha256]
        file = self._files.write({STATE: np.frombuffer(state, dtype=np.uint8)}, self._origin())
        if self._newest is not None:
            self._superseded[self._newest] = now
        self._newest = file.sha256
        return StateFile(file, list(self._superseded))

    def _origin(self) -> str:
        return f"{self._prefix}{self._newest}"
