"""Readers of MovieLens, as CSV (since 2014) or with `::` (before), and of MovieTweetings, which uses the latter."""

import re
from pathlib import Path

import numpy as np

from pipeline.datasets.readers.columns import bind, use_of
from pipeline.datasets.readers.files import visible
from pipeline.datasets.readers.items import read_items
from pipeline.datasets.readers.rows import Reader, ReadOptions, Source, Threshold
from pipeline.datasets.readers.sniff import guess_delimiter, interaction_table
from pipeline.datasets.readers.text import head
from pipeline.events.interactions import Interactions

MOVIELENS_POSITIVE_FROM = 4.0
"""Smallest positive rating, of 5 stars."""

MOVIETWEETINGS_POSITIVE_FROM = 7.0
"""Smallest positive rating, of 10."""

CSV_HEADER = ["userId", "movieId", "rating", "timestamp"]
IMDB_ID = re.compile(r"[0-9]{7,8}")
ABOVE_FIVE = 0.05
"""Share of ratings above 5 from which the scale is taken as 0-10; a few broken rows stay below it."""


def is_movielens_csv(path: Path) -> bool:
    """Return True for a MovieLens folder with CSV files, or its `ratings.csv`."""
    ratings = path / "ratings.csv" if path.is_dir() else path
    if ratings.name != "ratings.csv" or not ratings.is_file():
        return False
    return [cell.strip().strip('"') for cell in head(ratings)[0].split(",")] == CSV_HEADER


def read_movielens_csv(path: Path, options: ReadOptions) -> Source:
    """Read `ratings.csv` and, in a folder, `movies.csv` if it exists."""
    return _read(path, ("ratings.csv", "movies.csv"), ",", options, lambda _: MOVIELENS_POSITIVE_FROM)


def is_double_colon(path: Path) -> bool:
    """Return True for a folder with a `ratings.dat`, or one file with `::` between its cells."""
    ratings = path / "ratings.dat" if path.is_dir() else path
    if not ratings.is_file() or ratings.suffix not in (".dat", ".txt", ".csv", ".data", ".log"):
        return False
    return guess_delimiter(head(ratings)) == "::"


def read_double_colon(path: Path, options: ReadOptions) -> Source:
    """Read `user::item[::rating]::timestamp` and, in a folder, `movies.dat` (`item::title::genres`)."""
    return _read(path, ("ratings.dat", "movies.dat"), "::", options, _positive_from)


def _read(path: Path, names: tuple[str, str], delimiter: str, options: ReadOptions, positive_from: Threshold) -> Source:
    ratings, movies = (path / names[0], path / names[1]) if path.is_dir() else (path, path / names[1])
    has_movies = options.items is None and path.is_dir() and movies in visible(path)
    table = bind(interaction_table(ratings, options, delimiter), options, has_items=has_movies or bool(options.items))
    if not has_movies:
        return Source([table], None, (use_of(table),), positive_from)
    rows, use = read_items(movies, options, delimiter)
    return Source([table], rows, (use_of(table), use), positive_from)


def _positive_from(events: Interactions) -> float | None:
    """Return the smallest positive rating of the detected scale; None without ratings."""
    if np.isnan(events.values).all():
        return None
    above = int((events.values > 5).sum())
    is_imdb = np.array([IMDB_ID.fullmatch(item_id) is not None for item_id in events.item_ids], dtype=np.bool_)
    imdb = int(is_imdb[events.items].sum())
    is_movietweetings = above > ABOVE_FIVE * len(events) or imdb > 0.5 * len(events)
    return MOVIETWEETINGS_POSITIVE_FROM if is_movietweetings else MOVIELENS_POSITIVE_FROM


READERS = (
    Reader("ratings.csv", is_movielens_csv, read_movielens_csv),
    Reader("ratings.dat", is_double_colon, read_double_colon),
)
