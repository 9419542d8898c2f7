"""RAIE with refreshes: from time to time a new set-up takes the place of the old one, where it answers better.

    serving ──► answers, edits ...                            ──► closed where the new one is better
    windows so far ──► set-up ──► shadow: answers, edits ... ──► serves from then on, else closed

Every set-up has a pipeline of its own. A new one begins with the second stage of the one before, and without edits.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.events.windows import PADDING, Ids, Windows, concatenate
from pipeline.models.backbones.warm_start import begin_from
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up, validation_mask
from pipeline.setup.judgement import Judgement, judge
from pipeline.strategies.base import Scored, StrategyContext
from pipeline.strategies.raie.ablations import RaieNoTrend
from pipeline.strategies.raie.replayed import Raie

REFRESHES = "refreshes.jsonl"
"""File in the folder of the strategy: a line for each refresh."""


@dataclass(frozen=True)
class Refresh:
    """A refresh, as it was decided.

    Attributes:
        at_event: events of the stream before it.
        windows: windows that the new backbone was trained on.
        epochs: passes over them.
        judgement: of the windows with a history that both set-ups answered.
        switched: True where the new set-up took over.
    """

    at_event: int
    windows: int
    epochs: int
    judgement: Judgement
    switched: bool


class Past:
    """Windows of set-up and stream so far, and which of them no backbone is trained on.

    Args:
        learned: windows of the first set-up.
        config: section `setup`.
        seed: of the first set-up.

    Attributes:
        events: number of windows of the stream.
    """

    def __init__(self, learned: Windows, config: Config, seed: int) -> None:
        self._share, self._random = config.setup.validation_share, np.random.default_rng((seed, 1))
        held_out = np.zeros(len(learned), dtype=np.bool_)
        held_out[~learned.cold] = validation_mask(int((~learned.cold).sum()), config, seed)
        self._windows, self._held_out = [learned], [held_out]
        self.events = 0

    def add(self, windows: Windows) -> None:
        """Append windows of the stream."""
        self._windows.append(windows)
        self.events += len(windows)
        self._held_out.append(~windows.cold & (self._random.random(len(windows)) < self._share))

    def newest(self, most: int) -> tuple[Windows, NDArray[np.bool_]]:
        """The newest windows as those of a set-up, and the (n,) mask of those held out.

        A window stays held out for ever, so that a backbone that starts from an earlier one has not seen it.
        """
        self._windows = [concatenate(self._windows)]
        self._held_out = [np.concatenate(self._held_out)]
        windows, held_out = self._windows[0], self._held_out[0]
        last = slice(max(len(windows) - most, 0), None)
        return replace(windows[last], since_setup=np.zeros_like(windows.since_setup[last])), held_out[last]


class Generation:
    """A set-up and its pipeline.

    Args:
        pipeline: starts from the set-up.
        context: of the strategy.
        setup: the set-up.
        first: position of the first event after it.

    Attributes:
        pipeline, setup: as given.
    """

    def __init__(self, pipeline: Raie, context: StrategyContext, setup: SetUp, first: int) -> None:
        self.pipeline, self.setup = pipeline, setup
        self._timeline, self._first = context.timeline, first

    def dated(self, windows: Windows) -> Windows:
        """Windows, of whose items those count as new that came after this set-up."""
        return replace(windows, since_setup=np.minimum(windows.since_setup, self._taken(windows)))

    def taken_since(self, windows: Windows) -> Ids:
        """(n,) number of items of windows, of set-up ones too, that were taken since this set-up."""
        taken: Ids = np.minimum((windows.contexts != PADDING).sum(axis=1), self._taken(windows))
        return taken

    def _taken(self, windows: Windows) -> Ids:
        """(n,) number of items that the users of windows have taken since this set-up."""
        return self._timeline.taken_since(windows.users.tolist(), windows.positions, self._first)


class Shadow:
    """A new set-up on trial beside the one that serves.

    Args:
        generation: of the new set-up.
        began: events of the stream before it.
        trained: windows that its backbone was trained on.

    Attributes:
        generation: as given.
        events: number of events that both have answered.
    """

    def __init__(self, generation: Generation, began: int, trained: int) -> None:
        self.generation = generation
        self.events = 0
        self._began, self._trained = began, trained
        self._ranks: list[NDArray[np.int64]] = [np.zeros((2, 0), dtype=np.int64)]
        self._users: list[NDArray[np.str_]] = [np.zeros(0, dtype=np.str_)]

    def observe(self, windows: Windows, answered: Scored) -> None:
        """Answer windows as well; neither set-up has learned them when it does."""
        ranks, warm = self.generation.pipeline.observe(self.generation.dated(windows)).ranks, ~windows.cold
        self._ranks.append(np.stack([answered.ranks, ranks])[:, warm])
        self._users.append(windows.users[warm])
        self.events += len(windows)

    def judged(self, least_gain: float) -> Refresh:
        """The refresh, with the new set-up in force where it is better by more than the least gain."""
        before, after = np.concatenate(self._ranks, axis=1)
        judgement = judge(before, after, np.concatenate(self._users), least_gain)
        epochs = len(self.generation.setup.recalls)
        return Refresh(self._began, self._trained, epochs, judgement, judgement.passed)


class RaieRefresh:
    """`raie` with refreshes on a schedule of events.

    The windows that the new backbones were trained on count in `trained_windows`, as do the edits of pipelines that
    ran in shadow, whether they took over or not.

    Attributes:
        refreshes: those that were decided.
    """

    name: ClassVar[str] = "raie_refresh"
    make: ClassVar[type[Raie]] = Raie

    def __init__(self, context: StrategyContext) -> None:
        if context.config.backbone.format == "examples":
            # A gate counts dislikes since the new set-up, too; the timeline of a replay knows what was taken alone.
            raise ConfigError([f"{self.name} does not know backbone.format `examples`: leave the strategy out"])
        self._context = context
        self._past = Past(context.learned, context.config, context.seed)
        self._serving = self._generation(context.setup, 0, 0)
        self._shadow: Shadow | None = None
        self._began, self._spent = 0, 0
        self.refreshes: list[Refresh] = []

    @property
    def trained_windows(self) -> int:
        """See `Strategy`."""
        return self._spent + sum(of.pipeline.trained_windows for of in self._running)

    @property
    def memory_bytes(self) -> int:
        """See `Strategy`: those of the pipeline that serves, and its backbone unless it is that of set-up."""
        setup = self._serving.setup
        backbone = 0 if setup is self._context.setup else setup.backbone.weight_bytes
        return self._serving.pipeline.memory_bytes + backbone

    def observe(self, windows: Windows) -> Scored:
        """See `Strategy.observe`."""
        size = self._context.config.gate.batch_size
        return Scored.joined([self._step(windows[slice(i, i + size)]) for i in range(0, len(windows), size)])

    def learn(self) -> None:
        """Do nothing: edits and refreshes follow from events."""

    def score(self, windows: Windows) -> Scored:
        """See `Strategy.score`."""
        return self._serving.pipeline.score(self._serving.dated(windows))

    def close(self) -> None:
        """See `Strategy.close`; refreshes are written, one still on trial as not switched to."""
        if self._shadow:
            self.refreshes.append(replace(self._shadow.judged(self._context.config.refresh.least_gain), switched=False))
        for generation in self._running:
            generation.pipeline.close()
        lines = [json.dumps(asdict(refresh)) for refresh in self.refreshes]
        (self._context.folder / REFRESHES).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    @property
    def _running(self) -> Sequence[Generation]:
        return [self._serving, *([self._shadow.generation] if self._shadow else [])]

    def _step(self, windows: Windows) -> Scored:
        scored = self._serving.pipeline.observe(self._serving.dated(windows))
        self._past.add(windows)
        if self._shadow is not None:
            self._shadow.observe(windows, scored)
            if self._shadow.events >= self._context.config.refresh.judged_events:
                self._decide(self._shadow)
        elif self._past.events - self._began >= self._context.config.refresh.every_events:
            self._shadow = self._refreshed(windows)
        return scored

    def _refreshed(self, last: Windows) -> Shadow:
        """Set up anew from the windows so far, of which these are the last."""
        context, first = self._context, int(last.positions[-1]) + 1
        settings = context.config.refresh
        self._began = self._past.events
        windows, held_out = self._past.newest(settings.learn_events)
        catalogue, number = context.catalogue.first(context.timeline.last_row(first - 1)), len(self.refreshes) + 1
        old, seed = self._serving, context.seed + number
        begin = teacher = None
        if settings.begin_from != "scratch":
            begin = partial(begin_from, catalogue=catalogue, old=old.setup.backbone, known=old.setup.catalogue)
        if settings.begin_from == "distilled":
            teacher = old.pipeline.teacher(last, catalogue, old.taken_since(windows))
        made = set_up(context.config, catalogue, windows, seed, held_out=held_out, begin=begin, teacher=teacher)
        # Held-out windows of the stream are counted by the second stage: it would learn that counts know the target.
        setup = replace(made, events=context.setup.events)
        generation = self._generation(setup, number, first)
        generation.pipeline.take_over(self._serving.pipeline, last.positions)
        trained = int((~held_out & ~windows.cold).sum())
        self._spent += len(made.recalls) * trained
        return Shadow(generation, self._began, trained)

    def _generation(self, setup: SetUp, number: int, first: int) -> Generation:
        context = self._context
        folder = context.folder / f"generation{number}"
        return Generation(self.make(replace(context, setup=setup, folder=folder)), context, setup, first)

    def _decide(self, shadow: Shadow) -> None:
        refresh = shadow.judged(self._context.config.refresh.least_gain)
        self.refreshes.append(refresh)
        left, kept = self._serving, shadow.generation
        if not refresh.switched:
            left, kept = kept, left
        self._spent += left.pipeline.trained_windows
        left.pipeline.close()
        self._serving, self._shadow = kept, None


class RaieRefreshNoTrend(RaieRefresh):
    """`raie_refresh` without the second stage: the model alone answers."""

    name: ClassVar[str] = "raie_refresh_no_trend"
    make: ClassVar[type[Raie]] = RaieNoTrend
