"""Ablations of RAIE: strategies that each lack one part of it, or have another in its place."""

from dataclasses import fields, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.events.windows import Ids, Windows
from pipeline.monitor import Monitor
from pipeline.monitor.edit_factory import Proposal
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.event_scorer import Earlier, EventScorer
from pipeline.recommend.scorer import ScoredBatch
from pipeline.regions.bank import Posterior, RegionBank
from pipeline.regions.encoded import Encoded
from pipeline.regions.vmf import angles, log_density
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.set_up_replay import with_replay
from pipeline.strategies.raie.replayed import Raie

Kind = TypeVar("Kind", bound=Posterior | RegionBank)


class RaieFrozenRows(Raie):
    """RAIE with adapters that change neither item rows nor the text projection."""

    name: ClassVar[str] = "raie_frozen_rows"

    def __init__(self, context: StrategyContext) -> None:
        adapter = context.config.adapter.model_copy(update={"item_rows": False, "text_projection": False})
        super().__init__(replace(context, config=context.config.model_copy(update={"adapter": adapter})))


class RaieNoTrend(Raie):
    """RAIE without the second stage: the model alone answers; its edits are those of `raie`."""

    name: ClassVar[str] = "raie_no_trend"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._gate.online = None


class RaieNoOriginPrior(Raie):
    """RAIE without the origin prior: a window's origin follows from its content alone; edits differ from `raie`."""

    name: ClassVar[str] = "raie_no_eras"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._gate.origin_prior = None


class _GlobalGate(EventScorer):
    """A scorer whose popularity is that of all users: it counts no region."""

    def _queries(
        self, batch: ScoredBatch, contexts: Ids, earlier: Earlier, since_setup: NDArray[np.int64], opened: Array
    ) -> list[Query]:
        nothing = np.zeros(len(self._setup.bank.setup))
        queries = super()._queries(batch, contexts, earlier, since_setup, opened)
        return [replace(query, setup_shares=nothing) for query in queries]


class RaieGlobalTrend(Raie):
    """RAIE without decayed popularity by set-up region; its edits are those of `raie`."""

    name: ClassVar[str] = "raie_global_trend"

    def _scorer(self, context: StrategyContext) -> EventScorer:
        return _GlobalGate(context.setup, context.config, self.live, self._items.catalogue)


class _Refusing(Raie):
    """RAIE that rejects edits of some operations before training, without validation."""

    refused: ClassVar[frozenset[Operation]] = frozenset()

    def _apply(self, edit: Edit) -> None:
        if not self._refuses(edit):
            super()._apply(edit)
            return
        detail = f"{self.name} makes no such edit"
        outcome = Outcome(edit.edit_id, edit.operation, edit.region_id, False, detail)
        self._monitor.apply(outcome, self.live.bank)
        self.ledger.append((edit, outcome))

    def _refuses(self, edit: Edit) -> bool:
        return edit.operation in self.refused


class RaieNoExpand(_Refusing):
    """RAIE without Expand: boundaries move only when a region is opened or ended."""

    name: ClassVar[str] = "raie_no_expand"
    refused = frozenset({Operation.EXPAND})


class RaieNoAdd(_Refusing):
    """RAIE without Add: no region is opened, the backbone answers all windows; set-up boundaries still move."""

    name: ClassVar[str] = "raie_no_add"
    refused = frozenset({Operation.ADD})


class RaieNoInject(Raie):
    """RAIE without injections: new items have the vectors of their texts until an adapter learns them."""

    name: ClassVar[str] = "raie_no_inject"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(replace(context, config=_with_edits(context.config, inject_items=0)))


class _InjectingMonitor(Monitor):
    """Monitor that asks for injections and for no other edit."""

    def _of_regions(self) -> list[Proposal]:
        return []


class StaticInject(Raie):
    """The backbone of set-up with injected items: neither regions of the stream nor online counts."""

    name: ClassVar[str] = "static_inject"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        setup = context.setup
        self._monitor = _InjectingMonitor(
            context.config, setup.bank, setup.calibration, context.seed, setup.catalogue.item_ids
        )
        self._gate.online = self._gate.origin_prior = None


class RaieOne(_Refusing):
    """RAIE with at most one stream region at a time."""

    name: ClassVar[str] = "raie_one"

    def _refuses(self, edit: Edit) -> bool:
        return edit.operation is Operation.ADD and bool(self.live.bank.stream)


class _HardPosterior(Posterior):
    """Posterior that routes each window to the backbone or to one stream region."""

    def route(self, floor: float) -> Array:
        """Return (n, 1 + stream) zeros and ones, a single one in each row."""
        soft = super().route(floor)
        hard: Array = np.eye(soft.shape[1])[soft.argmax(axis=1)]
        return hard


class _HardBank(RegionBank):
    """Bank with hard routing."""

    def posterior(self, encoded: Encoded) -> Posterior:
        """See `RegionBank.posterior`."""
        return _as(_HardPosterior, super().posterior(encoded))


class RaieHard(Raie):
    """RAIE with hard routing: one adapter answers a window, and one learns it; adapter weights are still learned."""

    name: ClassVar[str] = "raie_hard"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(replace(context, setup=replace(context.setup, bank=_as(_HardBank, context.setup.bank))))


class _CentroidBank(RegionBank):
    """Bank whose posterior over all regions follows from centroids, concentrations and priors alone."""

    def posterior(self, encoded: Encoded) -> Posterior:
        """See `RegionBank.posterior`: P(region | window) ~ prior x von Mises-Fisher density."""
        centroids = np.stack([r.centroid for r in self.live])
        priors = np.array([max(r.prior, 1e-6) for r in self.live])
        concentrations = np.array([r.concentration for r in self.live])
        odds = log_density(encoded.means, centroids, concentrations) + np.log(priors)
        probabilities = np.exp(odds - odds.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        nearest = angles(encoded.means, centroids)[np.arange(len(odds)), probabilities.argmax(axis=1)]
        return replace(super().posterior(encoded), probabilities=probabilities, angles=nearest)


class RaieCentroids(Raie):
    """RAIE without the origin model, which uses states and items of the windows: the gate uses centroids alone."""

    name: ClassVar[str] = "raie_centroids"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(replace(context, setup=replace(context.setup, bank=_as(_CentroidBank, context.setup.bank))))


class RaieReplay(Raie):
    """RAIE with replay: every Update and Add trains on one set-up window beside each new one.

    Replayed windows count in the budget, so fewer edits are affordable.
    """

    name: ClassVar[str] = "raie_replay"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._pool = context.learned

    def _training_windows(self, windows: Windows, seed: tuple[int, int]) -> Windows:
        return with_replay(windows, self._pool, 1.0, seed)


def _with_edits(config: Config, **changed: Any) -> Config:
    """Configuration with other settings of edits."""
    return config.model_copy(update={"edits": config.edits.model_copy(update=changed)})


def _as(kind: type[Kind], value: Any) -> Kind:
    """Convert a dataclass instance to a subclass with the same fields."""
    return kind(**{f.name: getattr(value, f.name) for f in fields(kind)})
