"""Conversion of the settings of section `data` to the options of a reader."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.config import DataSettings
from pipeline.datasets.readers.names import EVENT_TYPE, FIELDS
from pipeline.datasets.readers.rows import ReadOptions
from pipeline.errors import ConfigError


def options_of(data: DataSettings) -> ReadOptions:
    """Turn section `data` into the options of a reader; raises as `read_options` does."""
    return read_options(data.columns, data.items, data.repeats, data.event_types)


def read_options(
    columns: Mapping[str, str],
    items: str | None = None,
    repeats: str = "refuse",
    event_types: Mapping[str, bool] | None = None,
) -> ReadOptions:
    """Turn settings into the options of a reader.

    Args:
        columns: `data.columns`: our name -> the file's column; `text` may list several, separated by commas.
        items: `data.items`.
        repeats: `data.repeats`: `refuse` or `keep`.
        event_types: `data.event_types`.

    Raises:
        ConfigError: a key of `columns` is not one of our names.
    """
    known = [*FIELDS, EVENT_TYPE, "text"]
    unknown = [name for name in columns if name not in known]
    if unknown:
        raise ConfigError(
            [f"data.columns.{name}: there is no such column; there are: {', '.join(known)}" for name in unknown]
        )
    named = {name: column for name, column in columns.items() if name != "text"}
    text = tuple(column.strip() for column in columns.get("text", "").split(",") if column.strip())
    file = None if items is None else Path(items).expanduser()
    kinds = event_types or {}
    return ReadOptions(**named, text=text, items=file, keep_repeats=repeats == "keep", event_types=kinds)
