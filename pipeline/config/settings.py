"""The whole configuration: one validated tree, a field a section."""

from typing import Literal

from pydantic import Field

from pipeline.config.model import (
    AdapterSettings,
    BackboneSettings,
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
    LogSettings,
    ServerSettings,
)
from pipeline.config.section import Section
from pipeline.config.stream import (
    EditSettings,
    GateSettings,
    MonitorSettings,
    ReplaySettings,
    TrendSettings,
)


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
