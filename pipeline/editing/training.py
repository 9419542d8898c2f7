"""Training of a candidate adapter on the windows of an edit, beside the incumbent that stays as it is."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adapters_store import version_name
from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.editing.workspace import Workspace
from pipeline.events.edit import Edit
from pipeline.events.windows import Windows
from pipeline.models.training.loop import fit, known_rows
from pipeline.models.training.loss import softmax_rows
from pipeline.regions.mixing import next_item_probabilities
from pipeline.regions.region import Region

ADAPTER_WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Weights that an adapter may have in the answers of its region."""

TrainingWindows = Callable[[Windows, tuple[int, int]], Windows]
"""Chooses the windows to train on, from those that an edit does not hold out and a seed for random draws."""


def only_new(windows: Windows, _: tuple[int, int]) -> Windows:
    """Train on the windows of the edit and on no others."""
    return windows


@dataclass(frozen=True)
class Candidate:
    """A trained adapter, registered with the host and not yet published.

    Attributes:
        name: of its version.
        weight: of the adapter in the answers of its region; the backbone has the rest.
        trained_windows: windows trained on, counting each pass.
    """

    name: str
    weight: float
    trained_windows: int


class AdapterTrainer:
    """Training of region adapters over one frozen backbone.

    Args:
        config: sections `training` and `softmax`.
        workspace: candidates are registered with its host; the softmax runs over its items.
        training_windows: chooses the windows of each training.
    """

    def __init__(self, config: Config, workspace: Workspace, training_windows: TrainingWindows = only_new) -> None:
        self._config = config
        self._workspace = workspace
        self._host = workspace.host
        self._training_windows = training_windows

    def train(self, edit: Edit, version: int, learned: Windows, judged: Windows, incumbent: Region | None) -> Candidate:
        """Register and train a new adapter version.

        Args:
            edit: gives region, seed and passes.
            version: of the adapter.
            learned: windows of the edit to train on.
            judged: held-out windows that its weight is estimated on.
            incumbent: region whose adapter it starts from; None: an adapter without effect.
        """
        name = version_name(edit.region_id, version)
        windows = self._training_windows(learned, (edit.seed, version))
        cost = self._fit(name, edit, windows, incumbent.adapter if incumbent else None)
        return Candidate(name, self._weight(name, judged, incumbent.adapter_weight if incumbent else None), cost)

    def _fit(self, name: str, edit: Edit, windows: Windows, parent: str | None) -> int:
        """Train a new adapter; return the number of windows trained on, counting each pass."""
        training = self._config.training
        rows = known_rows(windows.contexts, windows.targets)
        self._host.create(name, rows.tolist(), parent=parent, seed=edit.seed)
        with self._host.active(name) as model:
            return fit(
                model,
                windows,
                self._host.parameter_groups(name, training.learning_rate, training.row_learning_rate),
                softmax_rows(np.arange(1, self._workspace.catalogue.rows + 1), self._config.softmax),
                epochs=edit.passes or training.epochs,
                batch_size=training.batch_size,
                seed=edit.seed,
                epsilon=training.epsilon,
            )

    def _weight(self, name: str, judged: Windows, before: float | None) -> float:
        """Estimate the weight of an adapter: that of the mixture under which held-out targets are likeliest.

        A few dozen windows are a small sample, so the result is averaged with the region's weight before, if any.
        """
        static, adapted = (self._target_probabilities(judged, adapter) for adapter in (None, name))
        means = [float(np.log(w * adapted + (1.0 - w) * static).mean()) for w in ADAPTER_WEIGHTS]
        best = ADAPTER_WEIGHTS[int(np.argmax(means))]
        return best if before is None else (before + best) / 2.0

    def _target_probabilities(self, windows: Windows, adapter: str | None) -> Array:
        """Return (n,) probabilities of the targets under an adapter, or under the backbone for None."""
        existence = self._workspace.existence
        probabilities = next_item_probabilities(self._host, windows.contexts, adapter, existence).cpu().numpy()
        own: Array = np.maximum(probabilities[np.arange(len(windows)), windows.targets], 1e-12)
        return own
