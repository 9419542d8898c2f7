"""Items known by text: turn titles and descriptions into fixed vectors, the same ones every time."""

from pipeline.models.text.base import TextEncoder
from pipeline.models.text.factory import open_text_encoder

__all__ = ["TextEncoder", "open_text_encoder"]
