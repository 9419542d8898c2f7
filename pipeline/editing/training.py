"""Training of a candidate adapter on the windows of an edit, beside the incumbent that stays as it is."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from adapters_store import version_name
from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.editing.workspace import Workspace
from pipeline.events.edit import Edit
from pipeline.events.windows import Windows
from pipeline.models.lora.moved_items import Tensors
from pipeline.models.training.loop import fit, known_rows
from pipeline.models.training.loss import softmax_rows
from pipeline.regions.mixing import next_item_probabilities
from pipeline.regions.region import Region

ADAPTER_WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Weights that an adapter may have in the answers of its region."""

TrainingWindows = Callable[[Windows, tuple[int, int]], Windows]
"""Chooses the windows to train on, from those that an edit does not hold out and a seed for random draws."""


Known = Callable[[str], Tensors | None]
"""Looks for the tensors of an adapter that was trained from inputs of this digest."""


def only_new(windows: Windows, _: tuple[int, int]) -> Windows:
    """Train on the windows of the edit and on no others."""
    return windows


def none_known(_: str) -> Tensors | None:
    """Train every adapter."""
    return None


TRIAL = 0.125
"""Share of `edits.add_steps` after which a training goes on only if it promises something."""

Promising = Callable[["Candidate"], bool]
"""Judges an adapter after its trial."""


@dataclass(frozen=True)
class Candidate:
    """A trained adapter, registered with the host and not yet published.

    Attributes:
        name: of its version.
        weight: of the adapter in the answers of its region; the backbone has the rest.
        trained_windows: windows trained on, counting each pass; none where the adapter is known.
        inputs: digest of all that its training depends on: equal ones give equal tensors.
        stopped: True if its training ended with its trial; it is not to be published.
    """

    name: str
    weight: float
    trained_windows: int
    inputs: str
    stopped: bool = False


class AdapterTrainer:
    """Training of region adapters over one frozen backbone.

    Args:
        config: sections `training`, `edits` and `softmax`.
        workspace: candidates are registered with its host; the softmax runs over its items.
        training_windows: chooses the windows of each training.
        known: finds adapters that need no training.
    """

    def __init__(
        self,
        config: Config,
        workspace: Workspace,
        training_windows: TrainingWindows = only_new,
        known: Known = none_known,
    ) -> None:
        self._config = config
        self._known = known
        self._workspace = workspace
        self._host = workspace.host
        self._training_windows = training_windows

    def train(
        self,
        edit: Edit,
        version: int,
        learned: Windows,
        judged: Windows,
        incumbent: Region | None,
        promising: Promising | None = None,
    ) -> Candidate:
        """Register and train a new adapter version.

        Args:
            edit: gives region, seed and passes.
            version: of the adapter.
            learned: windows of the edit to train on.
            judged: held-out windows that its weight is estimated on.
            incumbent: region whose adapter it starts from; None: an adapter without effect.
            promising: ends the training after its trial where it is False; None: no trial.
        """
        name = version_name(edit.region_id, version)
        windows = self._training_windows(learned, (edit.seed, version))
        parent = incumbent.adapter if incumbent else None
        inputs = self._inputs(edit, windows, parent)
        known = self._known(inputs)
        self._host.create(name, known_rows(windows.contexts, windows.targets).tolist(), parent=parent, seed=edit.seed)
        before = incumbent.adapter_weight if incumbent else None

        def candidate(cost: int) -> Candidate:
            return Candidate(name, self._weight(name, judged, before), cost, inputs)

        if known is not None:
            return candidate(self._take(name, known))
        passes = edit.passes or self._config.training.epochs
        trial = self._trial_passes(len(windows))

        def goes_on(epoch: int) -> bool:
            if promising is None or epoch != trial or epoch == passes:
                return True
            is_promising = promising(candidate(epoch * len(windows)))
            self._host.forget_vectors(name)
            return is_promising

        cost = self._fit(name, edit, windows, goes_on)
        return replace(candidate(cost), stopped=cost < passes * len(windows))

    def _trial_passes(self, windows: int) -> int:
        """Whole passes over so many windows that make the steps of a trial, 0 where it has not one step."""
        steps = TRIAL * self._config.edits.add_steps
        return math.ceil(steps * self._config.training.batch_size / windows) if steps >= 1 else 0

    def _inputs(self, edit: Edit, windows: Windows, parent: str | None) -> str:
        """Digest of all that a training depends on, whatever process and order of edits it comes in."""
        host, catalogue = self._host, self._workspace.catalogue
        settings = [section.model_dump(mode="json") for section in (self._config.training, host.settings)]
        plain = [settings, self._config.softmax.model_dump(mode="json"), edit.seed, edit.passes, catalogue.others()]
        found = hashlib.sha256(json.dumps(plain).encode())
        tensors = host.tensors(parent) if parent else {}
        # Texts and injected items show in the vectors that items are scored with.
        for array in (windows.contexts, windows.targets, host.vectors(None).cpu().numpy()):
            found.update(np.ascontiguousarray(array).tobytes())
        for key in sorted(tensors):
            found.update(key.encode() + np.ascontiguousarray(tensors[key]).tobytes())
        return found.hexdigest()

    def _take(self, name: str, known: Tensors) -> int:
        """Give a new adapter known tensors; return the number of windows trained on."""
        rows = self._host.rows(name)
        self._host.drop(name)
        self._host.register(name, known, rows)
        return 0

    def _fit(self, name: str, edit: Edit, windows: Windows, after_epoch: Callable[[int], bool]) -> int:
        """Train a new adapter; return the number of windows trained on, counting each pass."""
        training = self._config.training
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
                after_epoch=after_epoch,
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
