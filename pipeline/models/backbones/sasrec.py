"""SASRec (Kang and McAuley, 2018): causal self-attention over the items of a window."""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.events.windows import PADDING
from pipeline.models.backbones.transformer import SequenceBackbone, SequenceConfig


class SASRec(SequenceBackbone):
    """Causal self-attention: each position sees the items up to itself."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__(config, positions=config.length)

    def inputs(self, windows: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """See `SequenceBackbone.inputs`."""
        present = windows != PADDING
        states = functional.embedding(windows, vectors) * present.unsqueeze(-1)
        causal = torch.ones(windows.shape[1], windows.shape[1], dtype=torch.bool, device=windows.device).tril()
        itself = torch.eye(windows.shape[1], dtype=torch.bool, device=windows.device)
        allowed = (causal & present[:, None, :]) | itself
        return states, allowed[:, None]
