"""The server without HTTP: views, batcher and follower put together, and the calls that the routes make."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from adapters_store import AdaptersStore
from adapters_store.errors import AdapterRefused, StoreError
from consumers.runtime.lag import Lag, lags
from consumers.runtime.malformed import SkippedRecords
from consumers.runtime.split_counts import SplitCounts
from consumers.runtime.user_tables import UserTables
from consumers.server.batcher import Batcher
from consumers.server.canary_controller import current_trial, end_trial
from consumers.server.explanation import explanation
from consumers.server.feedback import Tally
from consumers.server.follower import Follower, Reactions, Views
from consumers.server.known_versions import KnownVersions
from consumers.server.lister import Lister
from consumers.server.peers import Peers
from consumers.server.prepared_texts import PreparedTexts
from consumers.server.recommender import Answer, Ask, Recommendation, Recommender
from consumers.server.rollback import roll_back
from consumers.server.views.activity import Activity
from consumers.server.views.edits import Edits
from consumers.server.views.freshness import Freshness
from consumers.server.views.items import ServedItems
from consumers.server.views.online import ServedOnlineState
from consumers.server.views.regions import ServedRegions
from consumers.server.views.users import Users
from pipeline.config import Config
from pipeline.errors import LogError
from pipeline.events.control import PIN, RELOAD, ControlAct
from pipeline.events.existence import Existence
from pipeline.events.feedback import Feedback
from pipeline.events.windows import Ids
from pipeline.models.lora.batched_forward import BatchedForward
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.models.text import reopen_text_encoder
from pipeline.models.text_vectors import TextVectors
from pipeline.recommend.ab_test import Interval, Trial, Verdict, difference
from pipeline.recommend.backends import BatchedBackend
from pipeline.recommend.canary import Canary
from pipeline.recommend.candidates.query import Query
from pipeline.recommend.retrieval import with_index
from pipeline.recommend.scorer import Scorer
from pipeline.regions.region import Status
from pipeline.retrieval.adapted_items import ForwardItems
from pipeline.setup.artifacts import SetUp
from pipeline.streams.generation import GenerationLog
from pipeline.streams.interface import Log, Record, UnavailableError
from pipeline.streams.topics import CONTROL, FEEDBACK, FIRST, TREND, USERS
from pipeline.telemetry import Metrics

LAG_SECONDS = 2.0
"""Seconds for which lags are cached, so that many open pages do not query the log more often."""


@dataclass(frozen=True)
class Edges:
    """Connections of a server to the outside.

    Attributes:
        open_log: opens the log.
        clock: seconds since 1970: the time of feedback and administrative records, and the age of cached lags.
        say: shows a status line.
    """

    open_log: Callable[[], Log]
    clock: Callable[[], float]
    say: Callable[[str], None]


class Service:
    """One server.

    Args:
        setup: result of `raie setup`; the server changes its backbone.
        config: sections `items`, `gate`, `adapter`, `windows`, `trend`, `server`, `canary`, `log`.
        adapters: root of the adapters store.
        tables: kept tables of the users.
        instance: names this server, the same after a restart.
        edges: log, clock and status lines.
        metrics: of the process.

    Attributes:
        instance: its name.
        generation: number of the generation whose set-up it answers from.
        reads_dislikes: True where windows have dislikes.
        peers: servers that share the users with this one.
        items, users, edits, live, online, activity, freshness: views of the log; see their classes.
        tally: impressions and clicks.
        split_counts: those of a split of the users between two generations.
        batcher: answers requests for recommendations.
        lists: answers requests for lists without a user.
        follower: keeps the views up to date.
    """

    def __init__(
        self,
        setup: SetUp,
        config: Config,
        adapters: Path | str,
        tables: UserTables,
        instance: str,
        edges: Edges,
        metrics: Metrics,
    ) -> None:
        self.metrics, self._setup_bank = metrics, setup.bank
        self.store, self.reads_dislikes = AdaptersStore(adapters), config.backbone.format == "examples"
        self._log = edges.open_log()
        self.generation = self._log.generation if isinstance(self._log, GenerationLog) else FIRST
        partitions, known = self._log.topic(USERS).partitions, setup.catalogue.item_ids
        self.peers = Peers.of(config.server, partitions)
        self.users = Users(config.windows.length, known, partitions, tables, config.users.cached, self.peers.own)
        self._tables = tables
        self.edits, self.activity = Edits(), Activity()
        self.freshness = Freshness(edges.clock, metrics)
        self._known = KnownVersions([region.region_id for region in setup.bank.setup], self.store.arrays)
        self.tally = Tally(self._known, self.generation)
        self.split_counts = SplitCounts(self.generation)
        forward = BatchedForward(setup.backbone, config.adapter, config.server.adapter_memory * 1_000_000)
        prepared = _prepared_texts(setup, config)
        catalogue = OpenCatalogue(setup.catalogue, prepared)
        self.live = ServedRegions(setup.bank, forward, self.store, setup.backbone_sha256, catalogue)
        backend = with_index(BatchedBackend(forward), ForwardItems(forward), catalogue.ids, setup, config)
        scorer = Scorer(backend, setup.view, config.gate.floor)
        ask = partial(asked_in_setup, setup, scorer)
        texts = partial(_texts_in_force, forward, catalogue)
        self.online = ServedOnlineState(
            setup, config, catalogue, texts, ask, edges.say, self.store.arrays, backend.texts_like
        )
        if not self._log.end_offset(TREND, 0):
            self.online.start()
        skipped = SkippedRecords(metrics, edges.say)
        self.items = ServedItems(catalogue, prepared, self.live, self.online, edges.clock, skipped, metrics)
        self.instance = instance
        self._edges, self._partitions, self._canary = edges, config.log.partitions, config.canary
        self._producer = self._log.producer(f"server-{instance}")
        self._writing, self._looking = Lock(), Lock()
        self._lags: tuple[float, list[Lag]] | None = None
        repeats = config.windows.repeats
        self._recommender = Recommender(self.live, self.items, self.users, self.online, scorer, self._log, repeats)
        lister = Lister(self.live, self.items, self.online)
        self._most, waiting = config.server.batch_size, config.server.waiting
        self.batcher = Batcher(self._recommender.answer, self._most, waiting, metrics.batch_requests.observe)
        self.lists = Batcher(lister.answer, self._most, waiting, metrics.batch_requests.observe)
        views = Views(self.items, self.users, self.edits, self.live, self.online, self.activity, self.freshness)
        reactions = Reactions(
            self._before_feedback,
            self._count_feedback,
            self._end_decided_trials,
            self._count_refusal,
            skipped,
            edges.say,
        )
        self.follower = Follower(edges.open_log, instance, views, reactions)

    def close(self) -> None:
        """Stop the follower and close the log."""
        self.follower.stop()
        self.users.close()
        self._tables.close()
        self._log.close()

    async def recommend(self, ask: Ask) -> Recommendation:
        """Answer one request; raises as `Batcher.ask` does."""
        found = await self.batcher.ask(ask)
        self.metrics.recommendations.labels(found.answered_by).inc()
        if found.fallback:
            self.metrics.stood_in.inc()
        return found

    def answer(self, asks: Sequence[Ask]) -> list[Answer]:
        """Answer requests in the calling thread; see `Recommender.answer`."""
        return self._recommender.answer(asks)

    async def recommend_each(self, asks: Sequence[Ask]) -> list[Recommendation]:
        """Answer several requests, batch by batch, so that others are answered in between; raises as `recommend`."""
        found: list[Recommendation] = []
        for start in range(0, len(asks), self._most):
            found += await asyncio.gather(*map(self.recommend, asks[start : start + self._most]))
        return found

    def feedback(self, feedback: Sequence[Feedback]) -> None:
        """Write records of `feedback` in one transaction."""
        with self._writing, self._producer.transaction() as transaction:
            for one in feedback:
                transaction.send(FEEDBACK, one.to_record(), key=one.request_id, timestamp=self._edges.clock())

    def rollback(self, region_id: int, to: str | None, by: str, token: str | None = None) -> int:
        """Republish an older version of a region; return the new revision. Raises as `roll_back` does."""
        with self._writing:
            now = self._edges.clock()
            setup = self._setup_bank
            return roll_back(self._log, self._producer, self.store, region_id, to, by, now, setup=setup, token=token)[0]

    def pin(self, region_id: int, adapter: str | None, by: str, token: str | None = None) -> None:
        """Pin a region to a version on every server; None removes the pin."""
        if adapter is not None:
            self.store.check_available(adapter)
        self._control(ControlAct(PIN, by, region_id, adapter, token), str(region_id))

    def reload(self, by: str, token: str | None = None) -> None:
        """Make every server load the adapters again that it refused."""
        self._control(ControlAct(RELOAD, by, token=token), "adapters")

    def lags(self) -> list[Lag]:
        """Lag of each stage, at most `LAG_SECONDS` old; raises `LogError` if the log cannot be read."""
        with self._looking:
            now = self._edges.clock()
            if self._lags is None or not 0.0 <= now - self._lags[0] < LAG_SECONDS:
                self._lags = now, list(lags(self._log, self._partitions))
            return self._lags[1]

    def explanation(self, edit_id: str) -> str:
        """Explain an edit in sentences; raises as `explanation` does."""
        return explanation(edit_id, self.edits, self._log)

    def stuck(self) -> str | None:
        """See `consumers.runtime.health.Health`: a server that answers is healthy."""
        return None

    def unready(self) -> str | None:
        """See `consumers.runtime.health.Health`: a server is ready while it has read the log and follows it."""
        if self.follower.ended is not None:
            return self.follower.ended
        return None if self.follower.caught_up.is_set() else "the log is still being read"

    def gauge(self) -> None:
        """Update the gauges."""
        view, memory = self.live.view, self.live.adapter_memory()
        self.metrics.follower_up.set(self.follower.ended is None)
        self.metrics.generation.set(self.generation)
        self.metrics.revision.set(view.revision)
        self.metrics.gate_version.set(view.bank.gate_version)
        self.metrics.users.set(len(self.users))
        for state, number in asdict(self.items.counts()).items():
            self.metrics.items.labels(state).set(number)
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

    def click_difference(self, canary: Canary) -> Interval | None:
        """Click rate of a version on trial minus that of its incumbent, from the clicks that this server has read."""
        return difference(self.tally.trial(canary), canary.reached, self._canary.error)

    def _control(self, act: ControlAct, key: str) -> None:
        with self._writing, self._producer.transaction() as transaction:
            transaction.send(CONTROL, act.to_record(), key=key, timestamp=self._edges.clock())

    def _before_feedback(self, log: Log) -> None:
        self._known.poll(log)
        self.split_counts.poll(log)

    def _count_feedback(self, record: Record) -> None:
        if record.value is None:
            return
        feedback = Feedback.from_record(record.value)
        self.split_counts.add(feedback)
        if not self.tally.add(feedback):
            self.metrics.ignored_feedback.inc()

    def _end_decided_trials(self) -> None:
        for canary in self.live.view.canaries.values():
            trial = current_trial(canary, self.tally)
            verdict = trial.verdict(self._canary.error, self._canary.answers)
            if verdict is not None:
                self._end_trial(canary, trial, verdict)

    def _end_trial(self, canary: Canary, trial: Trial, verdict: Verdict) -> None:
        by, now = f"server {self.instance}", self._edges.clock()
        with closing(self._edges.open_log()) as log:
            try:
                end_trial(log, self.store, canary, trial, verdict, by, now, self._setup_bank)
            except UnavailableError:
                raise
            except LogError as error:
                self._edges.say(f"the trial of {canary.adapter} cannot be ended: {error}")
            except StoreError as error:
                problem = f"{canary.adapter} is worse than its incumbent, which cannot be restored"
                self._edges.say(f"{problem}, so it stays live: {error}")

    def _count_refusal(self, refusal: StoreError) -> None:
        reason = refusal.reason if isinstance(refusal, AdapterRefused) else "unreadable"
        self.metrics.refused_adapters.labels(reason).inc()
        self._edges.say(f"the last good state stays live, a file of the adapters store is refused: {refusal}")


def asked_in_setup(
    setup: SetUp, scorer: Scorer, contexts: Ids, earlier: NDArray[np.int32], since_setup: Ids, existence: Existence
) -> list[Query]:
    """Score windows by the backbone of set-up; see `Ask`."""
    batch = scorer.score(setup.bank, contexts, since_setup, existence)
    return batch.queries(setup.bank, contexts, earlier, since_setup, batch.posterior.stream)


def _texts_in_force(forward: BatchedForward, catalogue: OpenCatalogue) -> TextVectors:
    """Text embeddings of all rows of the catalogue."""
    texts: TextVectors = forward.backbone.items.readable_texts()
    return texts.first(catalogue.rows + 1)


def _prepared_texts(setup: SetUp, config: Config) -> PreparedTexts | None:
    """The text encoder of a set-up, None for items by id alone; raises as `reopen_text_encoder` does."""
    spec, cache = config.items.text_encoder, Path(config.items.cache).expanduser()
    encoder = reopen_text_encoder(setup.catalogue.encoder, spec, cache)
    return None if encoder is None else PreparedTexts(encoder)
