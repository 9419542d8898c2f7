"""SASRec (Kang and McAuley, 2018): causal self-attention over the items of a window."""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.events.windows import PADDING
from pipeline.models.backbones.transformer import SequenceBackbone


class SASRec(SequenceBackbone):
    """Causal self-attention: each position attends to the items up to itself."""

    def inputs(self, windows: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """See `SequenceBackbone.inputs`."""
        present = windows != PADDING
        states = functional.embedding(windows, vectors) * present.unsqueeze(-1)
        causal = torch.ones(windows.shape[1], windows.shape[1], dtype=torch.bool, device=windows.device).tril()
        itself = torch.eye(windows.shape[1], dtype=torch.bool, device=windows.device)
        allowed = (causal & present[:, None, :]) | itself
        return states, allowed[:, None]
