"""RAIE with one part taken away or exchanged, a row of its own for each."""

from dataclasses import fields, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from adapters_store import AdaptersStore
from pipeline.arrays import Array
from pipeline.config import Config
from pipeline.editing.editor import Editor, WindowsOf
from pipeline.editing.publisher import EditPublisher
from pipeline.events.edit import Edit, Operation, Outcome
from pipeline.events.windows import Ids, Windows
from pipeline.models.lora.host import AdapterHost
from pipeline.online.ensemble import OnlineEnsemble, WindowFeatures
from pipeline.recommend.event_scorer import EventScorer
from pipeline.recommend.scorer import ScoredBatch
from pipeline.regions.bank import Posterior, RegionBank
from pipeline.regions.features import Encoded
from pipeline.regions.live import LiveRegions
from pipeline.regions.vmf import angles, log_density
from pipeline.setup.artifacts import SetUp
from pipeline.strategies.base import StrategyContext
from pipeline.strategies.common.set_up_replay import with_replay
from pipeline.strategies.raie.replayed import Raie

Kind = TypeVar("Kind", bound=Posterior | RegionBank)


class RaieFrozenRows(Raie):
    """Adapters move neither item rows nor the text projection."""

    name: ClassVar[str] = "raie_frozen_rows"

    def __init__(self, context: StrategyContext) -> None:
        adapter = context.config.adapter.model_copy(update={"item_rows": False, "text_projection": False})
        super().__init__(replace(context, config=context.config.model_copy(update={"adapter": adapter})))


class RaieNoTrend(Raie):
    """The gated model alone, without what is taken of late; its edits are those of `raie`."""

    name: ClassVar[str] = "raie_no_trend"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._gate.online = None


class RaieNoEras(Raie):
    """Content alone tells what is as in set-up from what is as since; its edits are its own."""

    name: ClassVar[str] = "raie_no_eras"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._gate.origin_prior = None


class _GlobalGate(EventScorer):
    """A gate whose trend is counted over all users alike."""

    def __init__(self, setup: SetUp, config: Config, live: LiveRegions) -> None:
        super().__init__(setup, config, live)
        if config.trend.half_lives:
            self.online = OnlineEnsemble(setup.counts, setup.followers(config.trend.shrinkage), 1, config)

    def _window_features(self, contexts: Ids, since_setup: NDArray[np.int64], batch: ScoredBatch) -> WindowFeatures:
        features = super()._window_features(contexts, since_setup, batch)
        return replace(features, setup_shares=np.ones((len(contexts), 1)))


class RaieGlobalTrend(Raie):
    """One trend for everybody instead of one for each taste; its edits are those of `raie`."""

    name: ClassVar[str] = "raie_global_trend"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._gate = _GlobalGate(context.setup, context.config, self.live)


class _Refusing(Raie):
    """Rejects edits of some operations, whatever speaks for them, before anything is trained."""

    refused: ClassVar[frozenset[Operation]] = frozenset()

    def _apply(self, edit: Edit) -> None:
        if not self._refuses(edit):
            super()._apply(edit)
            return
        detail = f"{self.name} makes no such edit"
        outcome = Outcome(edit.edit_id, edit.operation, edit.region_id, False, detail)
        self._monitor.settle(outcome, self.live.bank)
        self.ledger.append((edit, outcome))

    def _refuses(self, edit: Edit) -> bool:
        return edit.operation in self.refused


class RaieNoExpand(_Refusing):
    """No boundary moves but by opening or ending a region."""

    name: ClassVar[str] = "raie_no_expand"
    refused = frozenset({Operation.EXPAND})


class RaieNoAdd(_Refusing):
    """No region is ever opened, so the backbone answers everyone: only boundaries among set-up regions move."""

    name: ClassVar[str] = "raie_no_add"
    refused = frozenset({Operation.ADD})


class RaieOne(_Refusing):
    """One open region at a time: a second one is never opened beside it."""

    name: ClassVar[str] = "raie_one"

    def _refuses(self, edit: Edit) -> bool:
        return edit.operation is Operation.ADD and bool(self.live.bank.opened)


class _HardPosterior(Posterior):
    """Routes each window to one place: the backbone or one opened region."""

    def route(self, floor: float) -> Array:
        """(n, 1 + opened) zeros and ones."""
        soft = super().route(floor)
        hard: Array = np.eye(soft.shape[1])[soft.argmax(axis=1)]
        return hard


class _HardBank(RegionBank):
    """A bank whose posteriors route hard."""

    def posterior(self, encoded: Encoded) -> Posterior:
        """See `RegionBank.posterior`."""
        return _as(_HardPosterior, super().posterior(encoded))


class RaieHard(Raie):
    """Hard routing: one adapter answers a window, and one learns it. How far it is trusted stays learned."""

    name: ClassVar[str] = "raie_hard"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(replace(context, setup=replace(context.setup, bank=_as(_HardBank, context.setup.bank))))


class _CentroidBank(RegionBank):
    """Tells regions apart by their centroids and concentrations alone, opened ones like those of set-up."""

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
    """The gate sees centroids alone: no model tells set-up from since by the windows' states and items."""

    name: ClassVar[str] = "raie_centroids"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(replace(context, setup=replace(context.setup, bank=_as(_CentroidBank, context.setup.bank))))


class _ReplayingEditor(Editor):
    """Trains on one set-up window beside each new one."""

    def __init__(self, context: StrategyContext, host: AdapterHost, windows_of: WindowsOf) -> None:
        super().__init__(context.setup, context.config, host, windows_of)
        self._pool = context.learned

    def _train(self, edit: Edit, version: int, windows: Windows, parent: str | None) -> tuple[str, int]:
        return super()._train(edit, version, with_replay(windows, self._pool, 1.0, (edit.seed, version)), parent)


class _ReplayingTrainer(EditPublisher):
    """Carries edits out with replay."""

    def __init__(self, context: StrategyContext, live: LiveRegions, windows_of: WindowsOf) -> None:
        super().__init__(context.setup, context.config, live, AdaptersStore(context.folder / "adapters"), windows_of)
        self._editor = _ReplayingEditor(context, live.host, windows_of)


class RaieReplay(Raie):
    """Every Update and Add learns one set-up window beside each new one.

    The budget counts replayed passes, so that fewer edits are affordable.
    """

    name: ClassVar[str] = "raie_replay"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._trainer = _ReplayingTrainer(context, self.live, self._windows_of)


def _as(kind: type[Kind], value: Any) -> Kind:
    """A dataclass instance as one of a subclass, with the same fields."""
    return kind(**{f.name: getattr(value, f.name) for f in fields(kind)})
