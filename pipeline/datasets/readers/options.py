"""Conversion of the settings of section `data` to the options of a reader."""

from pathlib import Path

from pipeline.config.model import DataSettings
from pipeline.datasets.readers.names import FIELDS
from pipeline.datasets.readers.rows import ReadOptions
from pipeline.errors import ConfigError


def read_options(settings: DataSettings) -> ReadOptions:
    """Turn `data.columns`, `data.items` and `data.repeats` into the options of a reader.

    In `data.columns`, `text` may list several columns, separated by commas.

    Raises:
        ConfigError: a key of `data.columns` is not one of our names.
    """
    columns = settings.columns
    known = [*FIELDS, "text"]
    unknown = [name for name in columns if name not in known]
    if unknown:
        raise ConfigError(
            [f"data.columns.{name}: there is no such column; there are: {', '.join(known)}" for name in unknown]
        )
    named = {name: column for name, column in columns.items() if name != "text"}
    text = tuple(column.strip() for column in columns.get("text", "").split(",") if column.strip())
    items = None if settings.items is None else Path(settings.items).expanduser()
    return ReadOptions(**named, text=text, items=items, keep_repeats=settings.repeats == "keep")
