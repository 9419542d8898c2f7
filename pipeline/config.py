"""The configuration: one validated tree, documented field by field.

`config.yaml` shows every field with its default. Values come from the file, then from the environment
(`RAIE__GATE__FLOOR=0.1`), then from `--set gate.floor=0.1`; unknown keys are refused, and all problems are
reported at once, with those combinations under which one of the edits could never happen.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ConfigError

ENVIRONMENT_PREFIX = "RAIE__"


class Section(BaseModel):
    """A part of the tree: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class WindowSettings(Section):
    """What a window is."""

    length: int = Field(10, ge=1, le=1000, description="items of a window: how much of a user's past is looked at")
    stride: int = Field(5, ge=1, description="protocol `windows`: events between the targets of two scored windows")


class DataSettings(Section):
    """Which interactions count, and how the log is cut."""

    positive_from: float | None = Field(
        None,
        description=(
            "least value of an interaction that counts; null: the reader's default (MovieLens 4, MovieTweetings "
            "7, otherwise every interaction)"
        ),
    )
    finetune_from: float = Field(
        0.5, gt=0, lt=1, description="quantile of the positive interactions' times at which F begins"
    )
    test_from: float = Field(0.8, gt=0, lt=1, description="quantile at which T begins")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="generic logs: our name -> the file's column, e.g. {user_id: customer, timestamp: bought_at}",
    )


class ItemSettings(Section):
    """How items are known by their text."""

    text_encoder: str = Field(
        "auto",
        description=(
            "`auto` (MiniLM if its package is installed, else `hashing`), `hashing`, `none`, or a hub id or "
            "folder of a Hugging Face encoder"
        ),
    )
    cache: str = Field("~/.cache/raie/text", description="folder that keeps text embeddings by content hash")


class BackboneSettings(Section):
    """The frozen sequence model."""

    kind: Literal["sasrec", "bert4rec", "causal_lm"] = Field("sasrec", description="architecture")
    model: str | None = Field(None, description="`causal_lm`: hub id or folder of the language model")
    hidden_size: int = Field(64, ge=4, description="width of item vectors and states (sasrec, bert4rec)")
    blocks: int = Field(2, ge=1, description="transformer blocks (sasrec, bert4rec)")
    heads: int = Field(2, ge=1, description="attention heads (sasrec, bert4rec)")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout in set-up training (sasrec, bert4rec)")


class SetupSettings(Section):
    """What happens once, on the set-up slice."""

    max_epochs: int = Field(30, ge=1, description="most passes over the set-up windows")
    patience: int = Field(5, ge=1, description="epochs without a better held-out recall before training stops")
    batch_size: int = Field(256, ge=1, description="windows of a training step")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam")
    validation_share: float = Field(
        0.1, gt=0, lt=0.5, description="share of set-up windows held out for stopping and for calibrating the gate"
    )
    regions: int = Field(6, ge=1, description="set-up regions")
    radius_quantile: float = Field(0.9, gt=0, lt=1, description="share of a region's windows within its radius")
    reference_windows: int = Field(4096, ge=64, description="set-up windows kept to tell `as set-up` from `as since`")


class SoftmaxSettings(Section):
    """The training loss."""

    full_up_to: int = Field(50_000, ge=1, description="catalogue size up to which the softmax is full")
    negatives: int = Field(8_192, ge=1, description="negatives a step beyond that, with importance correction")


class AdapterSettings(Section):
    """One adapter configuration for all regions of a backbone."""

    rank: int = Field(8, ge=1, description="of the LoRA factors")
    alpha: float = Field(16.0, gt=0, description="LoRA scale: alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="on the input of the LoRA factors in training")
    item_rows: bool = Field(True, description="whether an adapter moves the rows of the items it has met")
    text_projection: bool = Field(True, description="whether an adapter moves the text projection, by a low-rank delta")


class TrainingSettings(Section):
    """How an adapter is trained, in every edit and every baseline alike."""

    epochs: int = Field(2, ge=1, description="passes over the windows of an edit")
    batch_size: int = Field(64, ge=1, description="windows of a training step")
    learning_rate: float = Field(
        1e-3, gt=0, description="of Adam, for the low-rank factors (all weights in `finetune`)"
    )
    row_learning_rate: float = Field(3e-3, gt=0, description="of Adam, for item rows inside adapters")
    epsilon: float = Field(
        1e-3,
        gt=0,
        description="of Adam, beside the root of the mean squared gradient: far smaller gradients move little",
    )


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


class ConsumerSettings(Section):
    """How the long-running stages take their turns."""

    poll_timeout: float = Field(0.5, gt=0, le=60, description="seconds that a poll waits for the first record")
    backoff: float = Field(0.5, gt=0, description="seconds before a log that was out of reach is opened anew")
    longest_backoff: float = Field(30.0, gt=0, description="seconds up to which that pause doubles")
    lockstep: bool = Field(
        False,
        description=(
            "whether gate, monitor and trainers wait for each other, so that the ledger is that of a replay; takes "
            "one gate"
        ),
    )
    snapshot_events: int = Field(
        20_000,
        ge=1,
        description="events after which monitor and gates write their state down; a restart looks at these anew",
    )
    statistics_events: int = Field(
        200,
        ge=1,
        description="events after which the monitor tells the log how each region does: what the server's page draws",
    )
    host: str = Field("127.0.0.1", description="address of /metrics, /healthz and /readyz of a stage")
    port: int = Field(0, ge=0, le=65535, description="port of these; 0: a free one, which the process names")
    stuck_after: float = Field(60.0, gt=0, description="seconds without a turn after which /healthz says so")


class ServerSettings(Section):
    """How `raie serve` answers."""

    host: str = Field("127.0.0.1", description="address to listen on; others than this machine's own need a proxy")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0: a free one")
    batch_size: int = Field(256, ge=1, description="most requests answered in one batch")
    waiting: int = Field(4096, ge=1, description="requests that may wait; one more is answered 503")
    adapter_memory: int = Field(
        512, ge=1, description="MB for adapters that are ready to answer; beyond, the least recently used make room"
    )


class CanarySettings(Section):
    """A new version of a region for some of its users first, until their clicks have said enough."""

    share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of users who are answered by it first; 0: everybody at once. Trainers read it",
    )
    error: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="chance, at most, that one that is clicked as often as the one before is taken for better or worse",
    )
    answers: int = Field(
        10_000, ge=1, description="shown answers of both versions after which one that is not worse is everybody's"
    )


class LogSettings(Section):
    """The log between the stages, and how a Kafka broker is talked to."""

    url: str = Field(
        "sqlite:///raie/log.sqlite",
        description=(
            "`sqlite:///relative/path` or `sqlite:////absolute/path`: a file shared by the processes of one machine; "
            "`kafka://host:port[,host:port]`: a broker"
        ),
    )
    partitions: int = Field(
        8,
        ge=1,
        le=10_000,
        description="how far gates and trainers can spread: partitions of topics that are shared out",
    )
    retention_days: float = Field(
        90.0,
        gt=0,
        description=(
            "Kafka: days for which interactions, gated, feedback and dead-letters are kept; longer than the oldest "
            "window that an edit may train on"
        ),
    )
    prefix: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]*$",
        description="Kafka: put before the names of topics, groups and producers; tells pipelines on one broker apart",
    )
    replication_factor: int = Field(1, ge=1, description="Kafka: copies of each partition; 3 where nodes may be lost")
    max_record_bytes: int = Field(
        1_048_576, ge=1024, description="Kafka: longest record, key and frame included; at most the broker's limit"
    )
    commit_seconds: float = Field(
        30.0, gt=0, description="Kafka: how long a transaction may take to be written and committed"
    )
    close_seconds: float = Field(5.0, gt=0, description="Kafka: how long a producer or consumer may take to let go")
    session_seconds: float = Field(
        10.0,
        gt=0,
        description="Kafka: silence of a consumer after which its partitions go to others; a broker's least is 6",
    )
    poll_seconds: float = Field(
        300.0, gt=0, description="Kafka: time between two polls of a consumer after which its partitions go to others"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Kafka: how the connection is secured"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="Kafka: how a user proves itself, for SASL_PLAINTEXT and SASL_SSL"
    )
    sasl_username: str | None = Field(None, description="Kafka: name of the user")
    sasl_password: str | None = Field(
        None, repr=False, description="Kafka: its password; best given as RAIE__LOG__SASL_PASSWORD, not in a file"
    )
    ssl_cafile: str | None = Field(None, description="Kafka: PEM file of the authorities that brokers are trusted by")
    ssl_certfile: str | None = Field(None, description="Kafka: PEM file of the client's certificate")
    ssl_keyfile: str | None = Field(None, description="Kafka: PEM file of the client's key")


class Config(Section):
    """The whole tree."""

    protocol: Literal["prequential", "windows"] = Field(
        "prequential",
        description="how a replay scores: every interaction before it is learned, or windows inside slices",
    )
    windows: WindowSettings = WindowSettings()
    data: DataSettings = DataSettings()
    items: ItemSettings = ItemSettings()
    backbone: BackboneSettings = BackboneSettings()
    setup: SetupSettings = SetupSettings()
    softmax: SoftmaxSettings = SoftmaxSettings()
    adapter: AdapterSettings = AdapterSettings()
    training: TrainingSettings = TrainingSettings()
    gate: GateSettings = GateSettings()
    trend: TrendSettings = TrendSettings()
    monitor: MonitorSettings = MonitorSettings()
    edits: EditSettings = EditSettings()
    replay: ReplaySettings = ReplaySettings()
    server: ServerSettings = ServerSettings()
    canary: CanarySettings = CanarySettings()
    consumers: ConsumerSettings = ConsumerSettings()
    log: LogSettings = LogSettings()


def load_config(
    path: Path | None = None, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Config:
    """Read and validate the configuration.

    Args:
        path: a YAML file, or None for the defaults.
        overrides: `section.field=value` each, as given to `--set`.
        environment: `RAIE__SECTION__FIELD` variables are read from it.

    Raises:
        ConfigError: lists every problem at once.
    """
    tree = _read(path) if path else {}
    problems: list[str] = []
    for source, key, value in _assignments(overrides, environment or {}, problems):
        _assign(tree, source, key, value, problems)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(problems + [_explain(e) for e in error.errors()]) from None
    problems += unreachable(config)
    if problems:
        raise ConfigError(problems)
    return config


def unreachable(config: Config) -> list[str]:
    """Combinations of settings under which an edit could never happen, one line each."""
    edits, problems = config.edits, []
    if config.data.finetune_from >= config.data.test_from:
        problems.append(
            f"data.finetune_from ({config.data.finetune_from}) must lie before data.test_from "
            f"({config.data.test_from}): F is empty otherwise"
        )
    for name in ("min_windows", "update_windows"):
        if getattr(edits, name) > edits.pool_windows:
            problems.append(
                f"edits.{name} ({getattr(edits, name)}) exceeds edits.pool_windows ({edits.pool_windows}): "
                "the edit can never fire; lower the former or raise the latter"
            )
    trained = config.training.epochs * (1.0 - edits.held_out)
    if trained > edits.passes_per_event * 10:
        problems.append(
            f"edits.passes_per_event ({edits.passes_per_event}) pays for less than a tenth of one edit of "
            f"{config.training.epochs} epochs: Add and Update can hardly fire; raise it to {trained:.3g} or "
            "lower training.epochs"
        )
    if edits.max_regions <= config.setup.regions:
        problems.append(
            f"edits.max_regions ({edits.max_regions}) leaves no room beside the {config.setup.regions} set-up "
            "regions: Add can never fire; raise it or lower setup.regions"
        )
    if not (config.monitor.novelty or config.monitor.loss):
        problems.append("monitor.novelty and monitor.loss are both off: Add can never fire; turn one on")
    if not config.monitor.doubt:
        problems.append("monitor.doubt is off: Expand can never fire between set-up regions; turn it on")
    if config.backbone.kind == "causal_lm" and not config.backbone.model:
        problems.append("backbone.kind is causal_lm: backbone.model must name a language model (hub id or folder)")
    if config.backbone.kind != "causal_lm" and config.backbone.hidden_size % config.backbone.heads:
        problems.append(
            f"backbone.hidden_size ({config.backbone.hidden_size}) must be a multiple of backbone.heads "
            f"({config.backbone.heads})"
        )
    return problems


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path} is not UTF-8: {error}"]) from None
    except yaml.YAMLError as error:
        raise ConfigError([f"{path} is not valid YAML: {error}"]) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError([f"{path} must hold sections with fields, not a {type(tree).__name__}"])
    # A section whose every line is commented out is read as null: it has its defaults.
    return {name: section for name, section in tree.items() if section is not None}


def _assignments(
    overrides: Sequence[str], environment: Mapping[str, str], problems: list[str]
) -> list[tuple[str, list[str], str]]:
    found = [
        (name, name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"), value)
        for name, value in sorted(environment.items())
        if name.startswith(ENVIRONMENT_PREFIX)
    ]
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            problems.append(f"--set {override}: write it as section.field=value")
        else:
            found.append((f"--set {override}", key.strip().split("."), value))
    return found


def _assign(tree: dict[str, Any], source: str, key: list[str], value: str, problems: list[str]) -> None:
    node: Any = tree
    for part in key[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            problems.append(f"{source}: {part} is a field, not a section")
            return
    try:
        node[key[-1]] = yaml.safe_load(value)
    except yaml.YAMLError:
        node[key[-1]] = value
    # YAML 1.1 reads 1e-3 as a string; pydantic turns such strings into numbers.


def _explain(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{where}: there is no such setting (see config.yaml for all of them)"
    return f"{where}: {error['msg']} (it is {error['input']!r})"
