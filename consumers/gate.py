"""The gate stage: score each interaction before anything learns from it, and say where it belongs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumers.revisions import LiveRegions
from pipeline.config import Config
from pipeline.evaluation.ranking import rank_of_targets
from pipeline.gate import gate_view, rarity
from pipeline.regions import Array
from pipeline.routing import Posterior, mixed_probabilities
from pipeline.setup import SetUp
from pipeline.windows import Windows


@dataclass(frozen=True)
class Answers:
    """What the gate answers n windows, and how sure it is.

    Attributes:
        posterior: over the live regions.
        route: (n, 1 + opened) weights of backbone and adapters.
        probabilities: (n, items + 1) mixed probabilities of what comes next.
    """

    posterior: Posterior
    route: Array
    probabilities: NDArray[np.float32]


class GateHandler:
    """Gates windows under the newest revision.

    Attributes:
        live: the regions and adapters in force.
    """

    def __init__(self, setup: SetUp, config: Config, live: LiveRegions) -> None:
        self.live = live
        self._setup = setup
        self._config = config

    def answer(self, contexts: NDArray[np.int64]) -> Answers:
        """Gate and answer (n, length) windows."""
        host, bank = self.live.host, self.live.bank
        posterior = bank.posterior(gate_view(host.states(contexts, None), contexts, self._setup.counts))
        route = posterior.route(self._config.gate.floor)
        answer = mixed_probabilities(host, contexts, bank.shares(route), bank.adapters)
        return Answers(posterior, route, answer.numpy())

    def handle(self, windows: Windows) -> list[dict[str, Any]]:
        """Gate windows and score what followed them: one record of `gated` each."""
        answers = self.answer(windows.contexts)
        posterior, bank = answers.posterior, self.live.bank
        chances = answers.probabilities[np.arange(len(windows)), windows.targets]
        columns = {
            "event_id": windows.event_ids.tolist(),
            "user_id": windows.users.tolist(),
            "timestamp": windows.timestamps.tolist(),
            "target": windows.targets.tolist(),
            "window": windows.contexts.tolist(),
            "cold": windows.cold.tolist(),
            "region_id": posterior.tops.tolist(),
            "taste": posterior.tastes.tolist(),
            "taste_rival": posterior.taste_rivals.tolist(),
            "taste_margin": posterior.taste_margins.tolist(),
            "route": [
                [r.region_id for r, w in zip(bank.opened, row, strict=True) if w > 0.0] for row in answers.route[:, 1:]
            ],
            "confidence": posterior.confidence.tolist(),
            "margin": posterior.margin.tolist(),
            "angle": posterior.angles.tolist(),
            "loss": (-np.log(np.maximum(chances, 1e-12))).tolist(),
            "rarity": rarity(windows.targets, self._setup.counts).tolist(),
            "rank": rank_of_targets(answers.probabilities, windows.targets, windows.contexts).tolist(),
        }
        shared = {"gate_version": bank.gate_version}
        return [dict(zip(columns, row, strict=True)) | shared for row in zip(*columns.values(), strict=True)]
