"""Conversion of the setting `data.columns` to the columns of a reader."""

from collections.abc import Mapping
from dataclasses import fields

from pipeline.datasets.readers.rows import ReadOptions
from pipeline.errors import ConfigError


def read_options(columns: Mapping[str, str]) -> ReadOptions:
    """Turn `data.columns` into the columns of a reader.

    Args:
        columns: our name -> the file's column; `text` may list several, separated by commas.

    Raises:
        ConfigError: a key is not one of our names.
    """
    known = [field.name for field in fields(ReadOptions)]
    problems = [f"data.columns.{name}: there is no such column; there are: {', '.join(known)}" for name in columns]
    unknown = [problem for name, problem in zip(columns, problems, strict=True) if name not in known]
    if unknown:
        raise ConfigError(unknown)
    named = {name: column for name, column in columns.items() if name != "text"}
    text = tuple(column.strip() for column in columns.get("text", "").split(",") if column.strip())
    return ReadOptions(**named, text=text)
