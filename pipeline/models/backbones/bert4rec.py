"""BERT4Rec (Sun et al., 2019): bidirectional self-attention with a mask token at the position to predict."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.events.windows import PADDING
from pipeline.models.backbones.transformer import SequenceBackbone, SequenceConfig


class BERT4Rec(SequenceBackbone):
    """Bidirectional self-attention over the window and a mask token at its end, which predicts the next item."""

    extra_positions = 1

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__(config)
        self.mask = nn.Parameter(torch.zeros(config.hidden_size))
        nn.init.normal_(self.mask, std=0.02)

    def inputs(self, windows: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """See `SequenceBackbone.inputs`; a mask token after the window comes last."""
        present = windows != PADDING
        states = functional.embedding(windows, vectors) * present.unsqueeze(-1)
        states = torch.cat([states, self.mask.expand(len(windows), 1, -1)], dim=1)
        seen = functional.pad(present, (0, 1), value=True)
        itself = torch.eye(seen.shape[1], dtype=torch.bool, device=windows.device)
        allowed = seen[:, None, :] | itself
        return states, allowed[:, None]
