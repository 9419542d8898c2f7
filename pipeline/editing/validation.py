"""Validation: the regions before and after an edit, compared on the windows that the edit holds out.

`pipeline.events.edit.held_out` chooses these windows, because the monitor has to leave them out of what was learned.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.editing.encoding import encode
from pipeline.editing.workspace import Workspace
from pipeline.events.windows import Windows
from pipeline.metrics.ranking import rank_of_targets
from pipeline.regions.bank import RegionBank
from pipeline.regions.mixing import mixed_probabilities
from pipeline.setup.artifacts import SetUp


@dataclass(frozen=True)
class ValidationResult:
    """Paired comparison of incumbent and candidate on held-out windows; lower is better.

    Attributes:
        metric: `log_rank` (mean log of the target's rank) where answers are compared, `surprise` (mean negative
            log density) where only the boundary between set-up regions moves and the answers stay.
        windows: number of windows compared.
        before: mean of the metric for the incumbent.
        after: mean of the metric for the candidate.
        error: standard error of the mean of their paired difference.
    """

    metric: str
    windows: int
    before: float
    after: float
    error: float

    @classmethod
    def paired(cls, metric: str, before: Array, after: Array) -> "ValidationResult":
        """Compare (n,) values of a metric, one for each window; the error is infinite for a single window."""
        difference = before - after
        error = float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else float("inf")
        return cls(metric, len(before), float(before.mean()), float(after.mean()), error)

    def better(self, standard_errors: float) -> bool:
        """Return whether the candidate beats the incumbent by more than so many standard errors."""
        return self.before - self.after > standard_errors * self.error

    def no_worse(self, standard_errors: float) -> bool:
        """Return whether the candidate loses no more than so many standard errors."""
        return self.after - self.before <= standard_errors * self.error

    def to_record(self) -> dict[str, Any]:
        """Convert to a JSON object."""
        return asdict(self)


class Validator:
    """Comparison of two states of the regions over one backbone.

    Args:
        setup: backbone and view of the gate.
        config: sections `gate` and `replay`.
        workspace: its host holds the adapters of both states.
    """

    def __init__(self, setup: SetUp, config: Config, workspace: Workspace) -> None:
        self._setup = setup
        self._config = config
        self._workspace = workspace

    def compare_answers(self, windows: Windows, before: RegionBank, after: RegionBank) -> ValidationResult:
        """Compare the log of the target's rank: every rank counts, and no single window decides."""
        return ValidationResult.paired("log_rank", self._log_ranks(windows, before), self._log_ranks(windows, after))

    def compare_densities(self, windows: Windows, before: RegionBank, after: RegionBank) -> ValidationResult:
        """Compare the densities of the windows under the set-up regions; the backbone's answers are the same."""
        means = encode(self._setup, self._workspace.host, windows).means
        return ValidationResult.paired("surprise", -before.log_likelihood(means), -after.log_likelihood(means))

    def _log_ranks(self, windows: Windows, bank: RegionBank) -> Array:
        """Return (n,) logs of the target's rank in the mixed answer."""
        ranks, host, existence = [], self._workspace.host, self._workspace.existence
        for start in range(0, len(windows), self._config.replay.score_batch):
            batch = windows[slice(start, start + self._config.replay.score_batch)]
            route = bank.posterior(encode(self._setup, host, batch)).route(self._config.gate.floor)
            answer = mixed_probabilities(host, batch.contexts, bank.shares(route), bank.adapters, existence)
            held = replace(existence, repeats=self._config.windows.repeats).held(batch.contexts)
            ranks.append(rank_of_targets(answer.cpu().numpy(), batch.targets, held))
        return np.log(np.concatenate(ranks))
