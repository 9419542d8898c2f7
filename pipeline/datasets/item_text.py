"""Item texts for text encoders and language models."""

from collections.abc import Sequence

NOTHING = ("", "(no genres listed)", "nan", "none", "null", "n/a")
"""Cells without information, in lower case."""


def item_text(title: object, year: object, others: Sequence[object]) -> str:
    """Join the descriptive cells of an item, as in `Toy Story (1995). Adventure, Animation`.

    Args:
        title: title, or None.
        year: year of publication; left out where the title contains it.
        others: further cells; `a|b|c` and lists become `a, b, c`.

    Returns:
        The text; "" if all cells are empty.
    """
    name, when = phrase(title), phrase(year)
    if when and when not in name:
        name = f"{name} ({when})" if name else when
    return _sentences([name, *(phrase(cell) for cell in others)])


def phrase(cell: object) -> str:
    """Return the text of one cell, on one line."""
    if isinstance(cell, list | tuple):
        parts = [phrase(part) for part in cell]
    elif isinstance(cell, str) and "|" in cell:
        parts = [phrase(part) for part in cell.split("|")]
    else:
        text = " ".join(str(cell).split()) if cell is not None else ""
        parts = [text if text.lower() not in NOTHING else ""]
    return ", ".join(part for part in parts if part)


def _sentences(parts: Sequence[str]) -> str:
    text = ""
    for part in parts:
        if part and text:
            text += " " if text.endswith((".", "!", "?")) else ". "
        text += part
    return text
