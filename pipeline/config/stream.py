"""Sections of learning from the stream: gate, monitor, edits, decayed popularity and replay."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.section import Section


class GateSettings(Section):
    """Gate: routing of events to regions, and its batches."""

    batch_size: int = Field(128, ge=1, description="interactions per batch; edits take effect between batches")
    floor: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="smallest posterior at which a region contributes to the scores and trains on the window",
    )
    penalty: float = Field(1e-2, gt=0, description="L2 penalty of the origin classifier")
    transaction_events: int = Field(
        1024,
        ge=1,
        description="maximum number of interactions per transaction of a gate; more raise throughput and latency",
    )
    horizon: float = Field(
        0.0,
        ge=0,
        description=(
            "allowed lateness: seconds of event time for which an interaction waits for earlier ones; 0: none. Later "
            "ones are counted as late and processed on arrival"
        ),
    )
    remembered_items: int = Field(
        256,
        ge=0,
        description=(
            "items that left the window kept per user, which the second stage knows as taken before, and `/recommend` "
            "can exclude; they are written with each event of the user; 0: none"
        ),
    )
    remembered_events: int = Field(
        32, ge=1, description="newest event ids kept per user; an event with one of them is a duplicate"
    )
    remembered_ids: int = Field(
        20_000,
        ge=1,
        description=(
            "newest gated events over all users, in addition: a second event of the same user and id is a duplicate "
            "exactly as long as fewer other events were gated in between; a gate that starts reads them from `gated`"
        ),
    )


class MonitorSettings(Section):
    """Drift detection. Each signal of each region has a detector of its own."""

    detector: Literal["conformal", "martingale", "adwin", "page_hinkley", "kswin"] = Field(
        "conformal",
        description=(
            "`conformal` bounds the mean run between false alarms, `martingale` the probability of any before the "
            "first edit; the others are river's, with thresholds measured for `expected_run` (comparison: "
            "docs/decisions/drift.md)"
        ),
    )
    expected_run: float = Field(
        1e6,
        ge=100,
        description="lower bound on the mean number of events between two false alarms of a detector",
    )
    false_alarm: float = Field(
        0.05,
        gt=0,
        lt=1,
        description=(
            "`martingale`: probability of any false alarm before the first edit, over all signals of all set-up regions"
        ),
    )
    novelty: bool = Field(True, description="signal: angle between window state and nearest centroid")
    doubt: bool = Field(True, description="signal: narrow margin between the top two posteriors")
    shift: bool = Field(True, description="signal: users who move from one set-up region to another")
    rarity: bool = Field(True, description="signal: negative log popularity of the item at set-up")
    loss: bool = Field(True, description="signal: loss on the interaction")
    thinning: int = Field(
        0,
        ge=0,
        description=(
            "events of a user between two windows of a detector; 0: the window length, so that windows do not overlap. "
            "Overlapping windows exceed the configured rate of false alarms"
        ),
    )
    telling_windows: int = Field(
        1024,
        ge=0,
        description=(
            "windows of a set-up region between two measurements of their separability from set-up windows, by a "
            "classifier fitted on the older half and tested on the newer; a statistic only; 0: never"
        ),
    )
    visits_window: int = Field(2_000, ge=100, description="events over which a region's visits are counted")


class EditSettings(Section):
    """Edits: required evidence, validation and budget."""

    min_windows: int = Field(
        192, ge=32, description="new windows required to open a stream region or to move a boundary"
    )
    boundary_windows: int = Field(
        48, ge=16, description="windows between two set-up regions required to move their boundary"
    )
    update_windows: int = Field(
        2048,
        ge=32,
        description=(
            "new windows of a stream region required to update its adapter; fewer while the adapter was trained on "
            "fewer"
        ),
    )
    pool_windows: int = Field(
        4096,
        ge=64,
        le=32_768,
        description="newest windows kept per region as evidence: an edit is one record of the log",
    )
    held_out: float = Field(0.1, gt=0, lt=0.5, description="share of an edit's windows held out for its validation")
    confidence: float = Field(
        1.0,
        ge=0,
        description=(
            "standard errors by which Add and Expand must beat the incumbent on held-out windows (an Update: 0)"
        ),
    )
    audit_confidence: float = Field(
        3.0,
        ge=0,
        description="the same for an Expand without an alarm: the trial of a stream region on set-up regions",
    )
    passes_per_event: float = Field(
        2.0,
        gt=0,
        description="training budget: windows, counted once per pass, for each event with a history since set-up",
    )
    add_steps: int = Field(
        100,
        ge=1,
        description="minimum training steps of an Add, even if `training.epochs` gives fewer; the first Add takes as "
        "many as the budget allows, any later one waits until it allows all",
    )
    inject_items: int = Field(
        32,
        ge=0,
        description="items that are new or were taken anew required for an Inject, and one in 64 of all new items; "
        "0: items are never injected",
    )
    cool_down: int = Field(256, ge=0, description="events after an edit before the next one of the same regions")
    max_regions: int = Field(64, ge=2, description="maximum number of live regions, set-up ones included")
    merge_angle: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="two regions merge when their centroids are closer than this share of the smaller radius",
    )
    retire_share: float = Field(
        0.15, gt=0, lt=1, description="a region retires when its visits fall below this share of their earlier level"
    )
    expand_rate: float = Field(
        0.5, gt=0, le=1, description="weight of new windows when an Expand moves a boundary between set-up regions"
    )
    update_rate: float = Field(
        0.3, gt=0, le=1, description="weight of new windows when an Update moves centroid and radius"
    )


class TrendSettings(Section):
    """Online counts: decayed popularity, item transitions, and the origin prior."""

    half_lives: list[Annotated[float, Field(gt=0)]] = Field(
        [200.0, 500.0, 2_000.0, 8_000.0],
        description=(
            "half-lives of the decayed item counts in events, shortest first; []: the model alone answers, without "
            "second stage and origin prior"
        ),
    )
    shrinkage: float = Field(
        50.0,
        gt=0,
        description=(
            "prior strength in events: of the counts of all users in those of a set-up region, and of the set-up "
            "counts in the former"
        ),
    )
    followed_events: int = Field(
        10_000, ge=1, description="newest events counted for the recent item transitions, and as many of set-up"
    )
    held_out: int = Field(
        512,
        ge=0,
        description="held-out set-up windows that the second stage learns beside the stream, so that it forgets less",
    )
    era_learning_rate: float = Field(
        2.0,
        ge=0,
        description=(
            "learning rate per event of the origin prior: log-odds per set-up region between backbone and stream "
            "regions; 0: the origin classifier alone decides"
        ),
    )
    era_half_life: float = Field(500.0, gt=0, description="half-life of the origin prior in events")


class RankingSettings(Section):
    """Second stage: candidates from several sources, ranked by a network that learns from every event."""

    candidates: int = Field(60, ge=1, description="items that each candidate source proposes for a window")
    exact_items: int = Field(
        20_000,
        ge=0,
        description=(
            "items of the largest catalogue that is scored as a whole; in a larger one an index finds the best items, "
            "at a cost that hardly grows with it, and probabilities are estimates"
        ),
    )
    history: int = Field(
        50, ge=1, description="newest distinct items of a user whose neighbours are candidates and are counted"
    )
    events: int = Field(
        50_000, ge=1, description="newest events counted for item neighbours and for the long item transitions"
    )
    batch: int = Field(32, ge=1, description="events per step of the network")
    learning_rate: float = Field(0.003, gt=0, description="learning rate of a step (Adam)")
    retention: int = Field(
        3, ge=0, description="events for each held-out set-up window that is learned beside them; 0: none"
    )


class ReplaySettings(Section):
    """Replay of a log."""

    parts: int = Field(12, ge=1, description="equal parts of F and T after each of which the baselines are updated")
    slice_held_out: float = Field(
        0.1, gt=0, lt=1, description="share of the stream held out for evaluation in a pass with `--slices`"
    )
    score_batch: int = Field(512, ge=1, description="windows per scoring batch")
    half_life: float = Field(500.0, gt=0, description="half-life of `popularity_recent` in events")
    popularity_window: int = Field(1_000, ge=1, description="number of events counted by `popularity_window`")
    retrain_every: int = Field(1, ge=1, description="parts of the stream between two trainings of `retrain`")
