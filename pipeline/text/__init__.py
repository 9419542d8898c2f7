"""Items known by text: turn titles and descriptions into fixed vectors, the same ones every time."""

from pipeline.text.base import TextEncoder
from pipeline.text.opening import open_text_encoder

__all__ = ["TextEncoder", "open_text_encoder"]
