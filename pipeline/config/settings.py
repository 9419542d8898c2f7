"""The configuration tree, one field per section."""

from typing import Literal

from pydantic import Field

from pipeline.config.access import AccessSettings
from pipeline.config.model import (
    AdapterSettings,
    BackboneSettings,
    ComputeSettings,
    DataSettings,
    ItemSettings,
    SetupSettings,
    SoftmaxSettings,
    TrainingSettings,
    WindowSettings,
)
from pipeline.config.operation import (
    CanarySettings,
    ConsumerSettings,
    IngestSettings,
    LoggingSettings,
    LogSettings,
    RefreshSettings,
    RetentionSettings,
    ServerSettings,
    TracingSettings,
    UserSettings,
)
from pipeline.config.section import Section
from pipeline.config.stream import (
    EditSettings,
    GateSettings,
    MonitorSettings,
    RankingSettings,
    ReplaySettings,
    TrendSettings,
)


class Config(Section):
    """All settings of the pipeline."""

    protocol: Literal["prequential", "windows"] = Field(
        "prequential",
        description="evaluation protocol of a replay: score every interaction before learning it, or windows in slices",
    )
    windows: WindowSettings = WindowSettings()
    data: DataSettings = DataSettings()
    items: ItemSettings = ItemSettings()
    compute: ComputeSettings = ComputeSettings()
    backbone: BackboneSettings = BackboneSettings()
    setup: SetupSettings = SetupSettings()
    softmax: SoftmaxSettings = SoftmaxSettings()
    adapter: AdapterSettings = AdapterSettings()
    training: TrainingSettings = TrainingSettings()
    gate: GateSettings = GateSettings()
    trend: TrendSettings = TrendSettings()
    ranking: RankingSettings = RankingSettings()
    monitor: MonitorSettings = MonitorSettings()
    edits: EditSettings = EditSettings()
    replay: ReplaySettings = ReplaySettings()
    users: UserSettings = UserSettings()
    server: ServerSettings = ServerSettings()
    ingest: IngestSettings = IngestSettings()
    access: AccessSettings = AccessSettings()
    canary: CanarySettings = CanarySettings()
    consumers: ConsumerSettings = ConsumerSettings()
    retention: RetentionSettings = RetentionSettings()
    refresh: RefreshSettings = RefreshSettings()
    logging: LoggingSettings = LoggingSettings()
    tracing: TracingSettings = TracingSettings()
    log: LogSettings = LogSettings()

    @property
    def most_earlier(self) -> int:
        """Number of items that left the window which the second stage sees."""
        return self.gate.remembered_items
