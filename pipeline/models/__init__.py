"""Backbones, their training, adapters and texts.

Where torchao is installed, transformers imports it, and torch logs warnings about its enums that no user can heed: its
logger leaves these out.
"""

import logging

logging.getLogger("torch.utils._pytree").addFilter(lambda record: "is an Enum subclass" not in str(record.msg))
