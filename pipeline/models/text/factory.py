"""Text encoder of a configuration."""

from pathlib import Path

from pipeline.errors import BackboneError
from pipeline.models.text.base import Progress, TextEncoder
from pipeline.models.text.cache import CachedEncoder
from pipeline.models.text.hashing import HashingEncoder
from pipeline.models.text.pretrained import MINILM, packaged_minilm


def open_text_encoder(spec: str, cache: Path | None, on_progress: Progress | None = None) -> TextEncoder | None:
    """Open a text encoder.

    Args:
        spec: `auto` (MiniLM where its package is installed, else `hashing`), `none` (items by id
            alone), `hashing`, or the hub id or folder of a Hugging Face encoder.
        cache: folder of the cached vectors of pretrained encoders, or None. `hashing` is not cached: computing a
            vector costs no more than reading it.
        on_progress: called with (done, total) while texts that are not in the cache are encoded.

    Returns:
        The encoder, or None for `none`.

    Raises:
        BackboneError: the encoder cannot be found or loaded; the message names the remedy.
    """
    if spec == "none":
        return None
    if spec == "auto":
        spec = "hashing" if packaged_minilm() is None else MINILM
    if spec == "hashing":
        return HashingEncoder()
    # Imported here: torch and transformers take seconds, and the two specs above need neither.
    from pipeline.models.text.huggingface import TransformerEncoder  # noqa: PLC0415

    encoder = TransformerEncoder(spec)
    return encoder if cache is None else CachedEncoder(encoder, cache, on_progress)


def reopen_text_encoder(identity: str, spec: str, cache: Path | None) -> TextEncoder | None:
    """Open the text encoder that a set-up used, for items that come after it.

    Args:
        identity: of the encoder; "" for items by id alone.
        spec: as of `open_text_encoder`; the shipped `hashing` is found without it.
        cache: as of `open_text_encoder`.

    Raises:
        BackboneError: the encoder of the configuration is another one.
    """
    if not identity or identity == HashingEncoder.identity:
        return HashingEncoder() if identity else None
    encoder = open_text_encoder(spec, cache)
    if encoder is None or encoder.identity != identity:
        raise BackboneError(
            f"item texts of the set-up were encoded by {identity[:16]}, and items.text_encoder {spec!r} is "
            f"{'no encoder' if encoder is None else encoder.identity[:16]}: set items.text_encoder to the one of the "
            "set-up, or install the extra that brings it"
        )
    return encoder
