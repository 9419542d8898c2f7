"""An item in words: the text a language model reads."""

from collections.abc import Sequence

NOTHING = ("", "(no genres listed)", "nan", "none", "null", "n/a")
"""Cells that say nothing, in lower case."""


def item_text(title: object, year: object, others: Sequence[object]) -> str:
    """Join what is known of an item, as in `Toy Story (1995). Adventure, Animation`.

    Args:
        title: what it is called, or None.
        year: when it appeared; left out where the title says so already.
        others: further cells; `a|b|c` and lists are read out as `a, b, c`.

    Returns:
        The text, "" when nothing is known.
    """
    name, when = phrase(title), phrase(year)
    if when and when not in name:
        name = f"{name} ({when})" if name else when
    return _sentences([name, *(phrase(cell) for cell in others)])


def phrase(cell: object) -> str:
    """One cell in words, on one line."""
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
