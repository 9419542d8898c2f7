"""What a baseline has observed since it last learned."""

from pipeline.windows import Windows, concatenate


class Observed:
    """Windows with a history, waiting to be learned.

    Attributes:
        parts: times that they were taken.
    """

    def __init__(self) -> None:
        self.parts = 0
        self._waiting: list[Windows] = []

    def add(self, windows: Windows) -> None:
        """Put windows by; an empty window says nothing that can be learned."""
        self._waiting.append(windows[~windows.cold])

    def take(self) -> Windows | None:
        """All that waits, in event order; None where nothing does."""
        waiting, self._waiting = [w for w in self._waiting if len(w)], []
        self.parts += 1
        return concatenate(waiting) if waiting else None
