"""The server put together: what the HTTP routes ask, and nothing of HTTP."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from adapters_store import AdaptersStore
from adapters_store.errors import AdapterRefused, StoreError
from consumers.runtime.lag import Lag, lags
from consumers.server.batcher import Batcher
from consumers.server.canary_controller import settle, standing
from consumers.server.explanation import explanation
from consumers.server.feedback import Tally
from consumers.server.follower import Follower
from consumers.server.recommender import Ask, Recommendation, Recommender
from consumers.server.rollback import control_record, roll_back
from consumers.server.views.activity import History
from consumers.server.views.online import ServedOnlineEnsemble
from consumers.server.views.regions import Live
from consumers.server.views.users_items import Knowledge
from pipeline.config import Config
from pipeline.models.lora.batched_forward import MixedForward
from pipeline.recommend.ab_test import Trial, Verdict
from pipeline.recommend.backends import BatchedBackend
from pipeline.recommend.canary import Canary
from pipeline.recommend.scorer import Scorer
from pipeline.regions.region import Status
from pipeline.setup.artifacts import SetUp
from pipeline.streams.interface import Log, Record
from pipeline.streams.topics import CONTROL, FEEDBACK
from pipeline.telemetry import Metrics

LAG_SECONDS = 2.0
"""For how long a look at the groups' positions holds, however many pages are open."""


@dataclass(frozen=True)
class Edges:
    """What reaches out of the process.

    Attributes:
        open_log: opens the log.
        clock: seconds since 1970, for the time of feedback and administrative acts, and between looks at the lag.
        say: where a person is told of what went wrong.
    """

    open_log: Callable[[], Log]
    clock: Callable[[], float]
    say: Callable[[str], None]


class Service:
    """One server.

    Args:
        setup: what `raie setup` made; its backbone is the server's from here on.
        config: sections `gate`, `adapter`, `windows`, `trend`, `server`, `canary`, `log`.
        adapters: where versions are.
        instance: names this server, the same after a restart.
        edges: log, clock and voice.
        metrics: where it is counted.

    Attributes:
        instance: its name.
        knowledge, live, tally, online, history: what is known; see their classes.
        batcher: answers requests.
        follower: keeps up with the log.
    """

    def __init__(
        self, setup: SetUp, config: Config, adapters: Path | str, instance: str, edges: Edges, metrics: Metrics
    ) -> None:
        self.metrics = metrics
        self.store = AdaptersStore(adapters)
        self.knowledge = Knowledge(setup.catalogue, config.windows.length)
        forward = MixedForward(setup.backbone, config.adapter, config.server.adapter_memory * 1_000_000)
        self.live = Live(setup.bank, forward, self.store, setup.backbone_sha256)
        self.tally = Tally()
        self.online = ServedOnlineEnsemble(setup, config, edges.say)
        self.history = History()
        self.instance = instance
        self._edges, self._partitions, self._canary = edges, config.log.partitions, config.canary
        self._log = edges.open_log()
        self._producer = self._log.producer(f"server-{instance}")
        self._writing, self._looking = Lock(), Lock()
        self._lags: tuple[float, list[Lag]] | None = None
        scorer = Scorer(BatchedBackend(forward), setup.view, config.gate.floor)
        recommender = Recommender(self.live, self.knowledge, self.online, scorer, self._log)
        self.batcher = Batcher(
            recommender.answer, config.server.batch_size, config.server.waiting, metrics.batch_requests.observe
        )
        self.follower = Follower(
            edges.open_log,
            instance,
            self.knowledge,
            self.live,
            self.online,
            self.history,
            self._feedback,
            self._judge,
            self._refused,
            edges.say,
        )

    def close(self) -> None:
        """Stop following, and let go of the log."""
        self.follower.stop()
        self._log.close()

    async def recommend(self, ask: Ask) -> Recommendation:
        """Answer one request; raises `Overloaded` where too many are waiting."""
        found = await self.batcher.ask(ask)
        self.metrics.recommendations.labels(found.answered_by).inc()
        if found.fallback:
            self.metrics.stood_in.inc()
        return found

    def feedback(self, records: Sequence[Mapping[str, object]]) -> None:
        """Write records of `feedback`, together."""
        with self._writing, self._producer.transaction() as transaction:
            for record in records:
                transaction.send(FEEDBACK, record, key=str(record["request_id"]), timestamp=self._edges.clock())

    def rollback(self, region_id: int, to: str | None, by: str) -> int:
        """Republish an older version of a region; return the new revision. Raises as `roll_back` does."""
        with self._writing:
            now = self._edges.clock()
            return roll_back(self._log, self._producer, self.store, region_id, to, by, now)[0]

    def pin(self, region_id: int, adapter: str | None, by: str) -> None:
        """Hold a region at a version on every server, or let it follow the log again (None)."""
        if adapter is not None:
            self.store.verify(adapter)
        self._control(control_record("pin", by, region_id=region_id, adapter=adapter), str(region_id))

    def reload(self, by: str) -> None:
        """Have every server try again what it refused."""
        self._control(control_record("reload", by), "adapters")

    def lags(self) -> list[Lag]:
        """How far each stage is behind; raises `LogError` where the log does not say."""
        with self._looking:
            now = self._edges.clock()
            if self._lags is None or not 0.0 <= now - self._lags[0] < LAG_SECONDS:
                self._lags = now, list(lags(self._log, self._partitions))
            return self._lags[1]

    def explanation(self, edit_id: str) -> str:
        """An edit in sentences; raises as `explanation` does."""
        return explanation(edit_id, self.knowledge, self._log)

    def problem(self) -> str | None:
        """Why this server cannot be relied on for fresh answers, or None."""
        if self.follower.failed is not None:
            return str(self.follower.failed)
        return None if self.follower.caught_up.is_set() else "the log is still being read"

    def gauge(self) -> None:
        """Bring the gauges up to date."""
        view, memory = self.live.view, self.live.adapter_memory()
        self.metrics.revision.set(view.revision)
        self.metrics.gate_version.set(view.bank.gate_version)
        self.metrics.users.set(self.knowledge.users)
        self.metrics.adapters_registered.set(memory.registered)
        self.metrics.adapters_active.set(memory.active)
        self.metrics.adapter_bytes.set(memory.bytes)
        self.metrics.adapter_evictions.set(memory.evictions)
        for region in view.bank.regions:
            rate = self.tally.rates.get((region.region_id, region.adapter))
            if region.status is not Status.LIVE:
                with suppress(KeyError):
                    self.metrics.hit_rate.remove(region.region_id)
            elif rate is not None and rate.hit_rate is not None:
                self.metrics.hit_rate.labels(region.region_id).set(rate.hit_rate)

    def _control(self, record: Mapping[str, object], key: str) -> None:
        with self._writing, self._producer.transaction() as transaction:
            transaction.send(CONTROL, record, key=key, timestamp=self._edges.clock())

    def _feedback(self, record: Record) -> None:
        value: Any = record.value
        if value is not None:
            self.tally.add(value)

    def _judge(self) -> None:
        for canary in self.live.view.canaries.values():
            trial = standing(canary, self.tally)
            verdict = trial.verdict(self._canary.error, self._canary.answers)
            if verdict is not None:
                self._settle(canary, trial, verdict)

    def _settle(self, canary: Canary, trial: Trial, verdict: Verdict) -> None:
        by, now = f"server {self.instance}", self._edges.clock()
        with closing(self._edges.open_log()) as log:
            try:
                settle(log, self.store, canary, trial, verdict, by, now)
            except StoreError as error:
                self._edges.say(f"{canary.adapter} goes on, though it is worse: there is no way back ({error})")

    def _refused(self, refusal: StoreError) -> None:
        reason = refusal.reason if isinstance(refusal, AdapterRefused) else "unreadable"
        self.metrics.refused_adapters.labels(reason).inc()
        self._edges.say(f"an adapter is refused, the last good one goes on: {refusal}")
