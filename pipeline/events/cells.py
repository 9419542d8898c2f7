"""Values of single cells: ids, numbers and moments, whatever type the source gives them.

Files, the log of interactions and HTTP share these rules, so one record means the same everywhere.
"""

import math
import re
from datetime import UTC, datetime
from decimal import Decimal

from pipeline.errors import BadEvent

MAX_ID_LENGTH = 256
"""Longest user, item or event id, in characters."""

MILLISECONDS_FROM = 1e11
"""Timestamps from here on (year 5138 in seconds, 1973 in milliseconds) are read as milliseconds."""

TIMESTAMP_BELOW = 1000 * MILLISECONDS_FROM
"""Timestamps from here on are neither seconds nor milliseconds (more likely micro- or nanoseconds)."""

NO_VALUE = frozenset(("na", "n/a", "#n/a", "<na>", "nan", "none", "null", "undefined"))
"""Texts that stand for a missing id, in lower case."""

NUMBER = re.compile(r"\s*[-+]?[0-9.]+([eE][-+]?[0-9]+)?\s*")
_ISO = re.compile(
    r"(?P<year>\d{4})(?P<mark>[-/])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})"
    r"(?:(?:\s+|T)(?P<time>[\d:.,]+))?\s*(?P<zone>UTC|GMT|Z|z|[+-]\d{2}:?\d{2})?"
)
_CALENDAR = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""Formats of dates that are written as one whole number, by number of digits."""


def is_absent(cell: object) -> bool:
    """Return True for an empty cell and for the texts and numbers that stand for one."""
    if isinstance(cell, str):
        return cell.strip() == "" or cell.strip().lower() in NO_VALUE
    return cell is None or (isinstance(cell, float | Decimal) and math.isnan(cell))


def identifier(cell: object, name: str) -> str:
    """Return an id: text without the white space around it, or a whole number.

    Raises:
        BadEvent: `missing_<name>` or `bad_<name>`.
    """
    # Most ids have nothing to strip.
    is_simple = type(cell) is str and cell.isascii() and cell.isalnum() and len(cell) <= MAX_ID_LENGTH
    if is_simple and isinstance(cell, str) and cell.lower() not in NO_VALUE:
        return cell
    if isinstance(cell, bytes):
        cell = _decoded(cell, name)
    if is_absent(cell):
        said = "" if cell in (None, "") else f": {str(cell)[:40]!r} stands for no value"
        raise BadEvent(f"missing_{name}", f"the event has no {name}{said}")
    if isinstance(cell, float | Decimal) and math.isfinite(cell) and cell == int(cell):
        # Column stores turn a column of whole numbers with gaps into floats.
        cell = int(cell)
    if isinstance(cell, bool) or not isinstance(cell, str | int):
        raise BadEvent(f"bad_{name}", f"{name} must be a string or a whole number, not {type(cell).__name__}")
    text = str(cell).strip()
    if len(text) > MAX_ID_LENGTH or "\0" in text or not is_unicode(text):
        raise BadEvent(f"bad_{name}", f"{name} must be at most {MAX_ID_LENGTH} Unicode characters without NUL")
    return text


def _decoded(cell: bytes, name: str) -> str:
    try:
        return cell.decode("utf-8")
    except UnicodeDecodeError:
        raise BadEvent(f"bad_{name}", f"{name} must be text; these bytes are not UTF-8: {cell[:20]!r}") from None


def is_unicode(text: str) -> bool:
    """Return True if the text can be stored: JSON can spell half a surrogate pair, which UTF-8 cannot encode."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def number(cell: object, name: str, form: str = "a number") -> float | None:
    """Return a finite number, None for an empty cell; `form` says in the message what it must be.

    Raises:
        BadEvent: `bad_<name>`.
    """
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool) or not isinstance(cell, str | int | float | Decimal):
        raise BadEvent(f"bad_{name}", f"{name} must be {form}, not {type(cell).__name__}")
    try:
        value = float(cell)
    except (ValueError, OverflowError):
        raise BadEvent(f"bad_{name}", f"{name} must be {form}, not {str(cell)[:40]!r}") from None
    if not math.isfinite(value):
        raise BadEvent(f"bad_{name}", f"{name} must be finite, not {value!r}")
    return value


def moment(cell: object, name: str = "timestamp", *, calendar: bool | None = None) -> float:
    """Return a time in seconds since 1970: from seconds, milliseconds, ISO-8601 or a date such as 20240501.

    A time without a zone is UTC.

    Args:
        cell: the time.
        name: field that it comes from.
        calendar: True if numbers are dates, False if they are seconds or milliseconds; None: each as it looks.

    Raises:
        BadEvent: `missing_<name>` or `bad_<name>`.
    """
    if isinstance(cell, str) and not NUMBER.fullmatch(cell):
        parsed = iso_moment(cell)
        if parsed is not None:
            return seconds(parsed, name)
    value = number(cell, name, "seconds since 1970, or a date such as 2026-12-01T08:00:00Z")
    if value is None:
        raise BadEvent(f"missing_{name}", f"the event has no {name}")
    day = None if calendar is False else calendar_moment(value)
    if day is None and calendar:
        raise BadEvent(f"bad_{name}", f"{value:.0f} is no date, unlike the other times of the file")
    return seconds(value, name) if day is None else day


def seconds(timestamp: float, name: str = "timestamp") -> float:
    """Return seconds since 1970, of seconds or milliseconds.

    Raises:
        BadEvent: `bad_<name>`.
    """
    if not 0 <= timestamp < TIMESTAMP_BELOW:
        raise BadEvent(f"bad_{name}", f"{timestamp!r} is neither seconds nor milliseconds since 1970")
    return timestamp / 1000.0 if timestamp >= MILLISECONDS_FROM else timestamp


def iso_moment(cell: str) -> float | None:
    """Return the seconds since 1970 of an ISO-8601 text, also with `/`, ` UTC` or ` +0100`.

    None for other texts, and from year 5138 on (`9999-12-31` for "never"), whose seconds would pass for milliseconds.
    """
    text = cell.strip()
    try:
        return _since_1970(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        found = _ISO.fullmatch(text)
    if found is None:
        return None
    date = f"{found['year']}-{found['month']:0>2}-{found['day']:0>2}"
    zone = (found["zone"] or "").replace("UTC", "Z").replace("GMT", "Z").upper()
    try:
        return _since_1970(datetime.fromisoformat(f"{date}T{found['time'] or '00:00'}{zone}"))
    except (ValueError, OverflowError):
        return None


def calendar_moment(value: float) -> float | None:
    """Return the seconds since 1970 of a date written as a number, such as 20240501; None for other numbers."""
    if not value.is_integer():
        return None
    digits = str(int(value))
    form = _CALENDAR.get(len(digits))
    if form is None or not "1900" <= digits[:4] < "2101":
        return None
    try:
        return _since_1970(datetime.strptime(digits, form))
    except ValueError:
        return None


def _since_1970(moment: datetime) -> float:
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if since >= MILLISECONDS_FROM:
        raise OverflowError(f"{moment} is as large as milliseconds")
    return since
