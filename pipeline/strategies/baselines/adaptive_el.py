"""AdaptiveEL: an ensemble that a detector of errors freezes or strengthens."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from adapters_store import version_name
from pipeline.arrays import Array
from pipeline.drift.ddm import Ddm
from pipeline.events.existence import Existence
from pipeline.events.windows import Ids, Windows
from pipeline.metrics.ranking import LIST_LENGTH, recall_at_k
from pipeline.regions.mixing import next_item_probabilities
from pipeline.setup.bootstrap import validation_mask
from pipeline.strategies.base import StrategyContext, rank_in_batches
from pipeline.strategies.common.adapter_learner import AdapterLearner


class AdaptiveEl(AdapterLearner):
    """Adaptive ensemble learning with an error-based drift detector (after arXiv 2304.09062).

        p(y | x) = sum over members m of weight_m p_m(y | x)

    The first member is the backbone. An error is a target that the ensemble did not list among `LIST_LENGTH`; the
    detector is `Ddm`, begun on the held-out windows of set-up. After an update interval without an alarm the ensemble
    stays as it is, and nothing is trained. After one with an alarm it is strengthened: the oldest windows of the
    interval train a new adapter with item rows, the newest ones weigh all members by their hits, and the detector
    starts anew. Members are never trained again. Detector, weights and share of the newest windows are choices made
    here. Memory and the cost of an answer grow with the alarms.

    Attributes:
        judged: share of the windows of an interval, the newest ones, that weigh the members.
    """

    name: ClassVar[str] = "adaptive_el"
    judged: ClassVar[float] = 0.2

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._members: list[str | None] = [None]
        self._weights: Array = np.ones(1)
        self._detector = Ddm()
        warm = context.learned[~context.learned.cold]
        self._drifted(warm[validation_mask(len(warm), context.config, context.seed)])

    def _learn(self, windows: Windows) -> None:
        if self._drifted(windows):
            self._strengthen(windows)
            self._detector = Ddm()

    def _drifted(self, windows: Windows) -> bool:
        """Show the errors of the ensemble to the detector until it alarms, and return whether it did."""
        for missed in ~self._hits(windows, self._probabilities):
            self._detector.update(bool(missed))
            if self._detector.drift_detected:
                return True
        return False

    def _strengthen(self, windows: Windows) -> None:
        """Add a member trained on the older windows, and weigh all of them by the newest ones."""
        cut = round((1.0 - self.judged) * len(windows))
        older, newest = windows[slice(0, cut)], windows[slice(cut, None)]
        name = version_name(len(self._members), self._interval)
        self._create(name, older, None, self._seed)
        self._fit(name, older, self._seed)
        self._members.append(name)
        hits = [self._hits(newest, partial(self._answers, member)).sum() for member in self._members]
        # One more for each, so that members weigh the same where none has a hit.
        self._weights = (np.array(hits) + 1.0) / (sum(hits) + len(hits))

    def _hits(self, windows: Windows, probabilities: Callable[[Ids, Existence], torch.Tensor]) -> NDArray[np.bool_]:
        """(n,) True where the target was listed."""
        context = self._context
        ranks = rank_in_batches(windows, context.config.replay.score_batch, context.timeline, probabilities).ranks
        hits: NDArray[np.bool_] = recall_at_k(ranks, LIST_LENGTH) > 0.0
        return hits

    def _answers(self, member: str | None, contexts: Ids, existence: Existence) -> torch.Tensor:
        return next_item_probabilities(self._host, contexts, member, existence)

    def _probabilities(self, contexts: Ids, existence: Existence) -> torch.Tensor:
        backbone, *others = self._weights.tolist()
        mixed: torch.Tensor = self._answers(None, contexts, existence) * backbone
        for weight, member in zip(others, self._members[1:], strict=True):
            mixed += self._answers(member, contexts, existence) * weight
        return mixed
