"""Encoding of windows by the frozen backbone, as the gate sees them."""

from pipeline.events.windows import Windows
from pipeline.models.lora.host import AdapterHost
from pipeline.regions.encoded import Encoded
from pipeline.setup.artifacts import SetUp


def encode(setup: SetUp, host: AdapterHost, windows: Windows) -> Encoded:
    """Return gate features of windows; no adapter has an effect on them."""
    return setup.view(host.states(windows.contexts, None), windows.contexts, windows.since_setup)
