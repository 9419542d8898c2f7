"""The sections of learning from the stream: gate, monitor, edits, decayed popularity and replay."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.section import Section


class GateSettings(Section):
    """Posterior, route, and how many events share a step."""

    batch_size: int = Field(128, ge=1, description="interactions gated together; edits take effect between batches")
    floor: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="least posterior of a region that takes part in an answer, and that trains on the window",
    )
    penalty: float = Field(1e-2, gt=0, description="of the squared weights of the model that tells origins apart")
    transaction_events: int = Field(
        1024,
        ge=1,
        description="most interactions of one transaction of a gate: more of them trade delay for throughput",
    )
    horizon: float = Field(
        0.0,
        ge=0,
        description=(
            "seconds of event time for which an interaction waits for earlier ones; 0: gated as they arrive. What is "
            "older is counted as late, and gated when it arrives"
        ),
    )
    remembered_events: int = Field(
        32, ge=1, description="newest event ids of each user that are remembered: what comes again is a duplicate"
    )


class MonitorSettings(Section):
    """When statistics become an alarm. Each signal of each region has a detector of its own."""

    detector: Literal["conformal", "martingale", "adwin", "page_hinkley", "kswin"] = Field(
        "conformal",
        description=(
            "`conformal` bounds the run between false alarms, `martingale` the chance of any before the first edit; "
            "the others are river's, with thresholds measured for the run (docs/decisions/drift.md compares them)"
        ),
    )
    expected_run: float = Field(
        1e6,
        ge=100,
        description="events without drift between two false alarms of a detector, on average at least",
    )
    false_alarm: float = Field(
        0.05,
        gt=0,
        lt=1,
        description=(
            "`martingale`: chance of any false alarm before the first edit, over all signals of all set-up regions"
        ),
    )
    novelty: bool = Field(True, description="whether the angle to the nearest centroid may raise an alarm")
    doubt: bool = Field(True, description="whether narrow margins may raise an alarm")
    shift: bool = Field(True, description="whether users who move from one set-up region to another may raise an alarm")
    rarity: bool = Field(True, description="whether items that set-up hardly knew may raise an alarm")
    loss: bool = Field(True, description="whether the loss on the interactions that came may raise an alarm")
    thinning: int = Field(
        0,
        ge=0,
        description=(
            "events of a user between two windows that a detector is shown; 0: the window length, so that they do not "
            "overlap. Windows that do raise more false alarms than are asked for"
        ),
    )
    telling_windows: int = Field(
        1024,
        ge=0,
        description=(
            "windows of a set-up region after which it is told how far they can be told from set-up windows, by a gate "
            "fitted on their older half and asked about the newer; it has no vote; 0: never"
        ),
    )
    visits_window: int = Field(2_000, ge=100, description="events over which a region's visits are counted")


class EditSettings(Section):
    """When an edit is worth making, and what it must show."""

    min_windows: int = Field(
        192, ge=32, description="windows of new evidence before a region is opened or a boundary moved"
    )
    boundary_windows: int = Field(
        48, ge=16, description="windows between two set-up regions before their boundary is moved"
    )
    update_windows: int = Field(
        2048,
        ge=32,
        description="new windows of an opened region before its adapter is updated; fewer, while it has learned fewer",
    )
    pool_windows: int = Field(4096, ge=64, description="newest windows of a region that are remembered as evidence")
    held_out: float = Field(
        0.1, gt=0, lt=0.5, description="share of an edit's windows that it is judged on, not trained on"
    )
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
        description="the same for an Expand that no alarm called for: an opened region tried on set-up regions",
    )
    passes_per_event: float = Field(
        2.0, gt=0, description="budget: windows trained on, counting passes, for each event with a history since set-up"
    )
    add_steps: int = Field(
        100,
        ge=1,
        description="steps that an Add trains, where that is more than the usual passes; the first as many as the "
        "budget pays for, any other waits until it pays for all",
    )
    cool_down: int = Field(256, ge=0, description="events after an edit before the same regions raise the next one")
    max_regions: int = Field(64, ge=2, description="live regions, set-up ones included; no Add beyond")
    merge_angle: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="two regions merge when their centroids are closer than this share of the smaller radius",
    )
    retire_share: float = Field(
        0.15, gt=0, lt=1, description="a region retires when its visits fall below this share of what they were"
    )
    expand_rate: float = Field(
        0.5, gt=0, le=1, description="weight of new windows when an Expand moves a boundary between set-up regions"
    )
    update_rate: float = Field(
        0.3, gt=0, le=1, description="weight of new windows when an Update moves centroid and radius"
    )


class TrendSettings(Section):
    """What is taken of late, beside what the model expects."""

    half_lives: list[Annotated[float, Field(gt=0)]] = Field(
        [500.0, 2_000.0, 8_000.0],
        description="events after which a count of items taken is halved, one trend for each; []: no trend, no eras",
    )
    shrinkage: float = Field(
        50.0,
        gt=0,
        description="events' worth of all users' counts in the counts of a taste, of set-up's in theirs, and of what "
        "is taken of late in what followed a window's items",
    )
    followed_events: int = Field(
        10_000,
        ge=1,
        description="newest events that say which items are taken after which, and as many of set-up; 1: hardly any do",
    )
    learning_rate: float = Field(0.02, gt=0, description="of the weights of model and trends, an event")
    held_out: int = Field(
        512, ge=0, description="set-up windows, never trained on, that keep the trend from those who are as in set-up"
    )
    retention: int = Field(
        1, ge=0, description="how many of them the weights learn from for each event; 0: nothing keeps the trend out"
    )
    era_learning_rate: float = Field(
        2.0,
        ge=0,
        description="of how far each taste is in the era of the opened regions, an event; 0: content alone decides",
    )
    era_half_life: float = Field(500.0, gt=0, description="events after which half of that is forgotten")


class ReplaySettings(Section):
    """How a log is replayed."""

    parts: int = Field(12, ge=1, description="equal parts of F and T after each of which the baselines learn")
    slice_held_out: float = Field(
        0.1, gt=0, lt=1, description="share of the stream that a pass with `--slices` judges by and never shows"
    )
    score_batch: int = Field(512, ge=1, description="windows scored together")
    half_life: float = Field(500.0, gt=0, description="of `popularity_recent`, in events")
    popularity_window: int = Field(1_000, ge=1, description="events that `popularity_window` counts")
    retrain_every: int = Field(1, ge=1, description="parts of the stream between two models of `retrain`")
