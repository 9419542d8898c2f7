"""LiveUpdate: an adapter that is trained continuously where it serves."""

from typing import ClassVar

from pipeline.strategies.baselines.lora import LoraRows
from pipeline.strategies.common.continuous import Continuous


class LiveUpdate(Continuous, LoraRows):
    """Continuous LoRA on the serving side (after Yu et al., 2025), with item rows, without replay.

    The adapter that answers learns the newest `gate.batch_size` events as soon as they were answered, with as many
    passes over each as the other baselines; Adam starts anew each time. The paper adapts embedding tables alone, with a
    rank that follows the singular values of their gradients, and schedules training in the idle time of the servers.
    Rank and layers are those of the other adapters here: what is compared is when they learn.
    """

    name: ClassVar[str] = "live_update"
