"""Text encoders: titles and descriptions of items to fixed vectors, deterministically."""

from pipeline.models.text.base import TextEncoder
from pipeline.models.text.factory import open_text_encoder, reopen_text_encoder

__all__ = ["TextEncoder", "open_text_encoder", "reopen_text_encoder"]
