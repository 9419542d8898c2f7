"""Backbones, their training, adapters and texts.

Where torchao is installed, transformers imports it, and torch logs warnings about it that no user can heed: its logger
leaves them out.
"""

import logging

logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
