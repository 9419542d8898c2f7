"""Replay: set-up windows that are learned again beside the new ones."""

import numpy as np

from pipeline.events.windows import Windows, concatenate


def with_replay(windows: Windows, pool: Windows, share: float, seed: tuple[int, int]) -> Windows:
    """Add set-up windows drawn without replacement.

    Args:
        windows: new ones.
        pool: set-up windows that may be replayed; those without a history are left out.
        share: replayed windows for each new one.
        seed: of the draw: that of the run, and the part.
    """
    warm = pool[~pool.cold]
    wanted = min(round(share * len(windows)), len(warm))
    if not wanted:
        return windows
    chosen = np.random.default_rng(seed).choice(len(warm), wanted, replace=False)
    return concatenate([windows, warm[np.sort(chosen)]])
