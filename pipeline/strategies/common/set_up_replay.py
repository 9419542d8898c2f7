"""Experience replay: set-up windows trained on again beside the new ones."""

import numpy as np

from pipeline.events.windows import Windows, concatenate


def with_replay(windows: Windows, pool: Windows, share: float, seed: tuple[int, int]) -> Windows:
    """Add set-up windows drawn without replacement.

    Args:
        windows: new ones.
        pool: set-up windows to draw from, those with a history only.
        share: replayed windows for each new one.
        seed: of the draw: seed of the run, and number of the update interval.
    """
    warm = pool[~pool.cold]
    count = min(round(share * len(windows)), len(warm))
    if not count:
        return windows
    chosen = np.random.default_rng(seed).choice(len(warm), count, replace=False)
    return concatenate([windows, warm[np.sort(chosen)]])
