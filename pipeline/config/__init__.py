"""The configuration: one validated tree, documented field by field.

`config.yaml` shows every field with its default. Values come from the file, then from the environment
(`RAIE__GATE__FLOOR=0.1`), then from `--set gate.floor=0.1`; unknown keys are refused, and all problems are
reported at once, including combinations of settings that rule out an edit.
"""

from pipeline.config.access import AccessSettings
from pipeline.config.loading import ENVIRONMENT_PREFIX, load_config
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
    LoggingSettings,
    LogSettings,
    RefreshSettings,
    RetentionSettings,
    ServerSettings,
    TracingSettings,
)
from pipeline.config.section import Section
from pipeline.config.settings import Config
from pipeline.config.stream import (
    EditSettings,
    GateSettings,
    MonitorSettings,
    ReplaySettings,
    TrendSettings,
)

__all__ = [
    "ENVIRONMENT_PREFIX",
    "AccessSettings",
    "AdapterSettings",
    "BackboneSettings",
    "CanarySettings",
    "ComputeSettings",
    "Config",
    "ConsumerSettings",
    "DataSettings",
    "EditSettings",
    "GateSettings",
    "ItemSettings",
    "LogSettings",
    "LoggingSettings",
    "MonitorSettings",
    "RefreshSettings",
    "ReplaySettings",
    "RetentionSettings",
    "Section",
    "ServerSettings",
    "SetupSettings",
    "SoftmaxSettings",
    "TracingSettings",
    "TrainingSettings",
    "TrendSettings",
    "WindowSettings",
    "load_config",
]
