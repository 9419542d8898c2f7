"""Readers of MovieLens, as CSV (since 2014) or with `::` (before), and of MovieTweetings, which uses the latter."""

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.datasets.readers.columns import ALIASES, interaction_rows, item_rows, plain
from pipeline.datasets.readers.delimited import Table, common_width, delimited, guess_delimiter, read_lines
from pipeline.datasets.readers.rows import Reader, ReadOptions, Row, Source

MOVIELENS_POSITIVE_FROM = 4.0
"""Smallest positive rating, of 5 stars."""

MOVIETWEETINGS_POSITIVE_FROM = 7.0
"""Smallest positive rating, of 10."""

CSV_HEADER = "userId,movieId,rating,timestamp"
IMDB_ID = re.compile(r"[0-9]{7,8}")
ABOVE_FIVE = 0.05
"""Share of ratings above 5 from which the scale is taken as 0-10; a few broken rows stay below it."""


def is_movielens_csv(path: Path) -> bool:
    """Return True for a MovieLens folder with CSV files, or its `ratings.csv`."""
    ratings = path / "ratings.csv" if path.is_dir() else path
    if ratings.name != "ratings.csv" or not ratings.is_file():
        return False
    return read_lines(ratings)[0].strip() == CSV_HEADER


def read_movielens_csv(path: Path, options: ReadOptions) -> Source:
    """Read `ratings.csv` and, in a folder, `movies.csv` if it exists."""
    ratings, movies = _files(path, "ratings.csv", "movies.csv")
    items = item_rows(delimited(movies, ","), options) if movies else ()
    return Source(interaction_rows(delimited(ratings, ","), options), items, MOVIELENS_POSITIVE_FROM)


def is_double_colon(path: Path) -> bool:
    """Return True for a folder with a `ratings.dat`, or one file with `::` between its cells."""
    ratings = path / "ratings.dat" if path.is_dir() else path
    if not ratings.is_file() or ratings.suffix not in (".dat", ".txt", ".csv", ".data", ".log"):
        return False
    return guess_delimiter(read_lines(ratings)) == "::"


def read_double_colon(path: Path, options: ReadOptions) -> Source:
    """Read `user::item[::rating]::timestamp` and, in a folder, `movies.dat` (`item::title::genres`)."""
    ratings, movies = _files(path, "ratings.dat", "movies.dat")
    rows = list(interaction_rows(_table(ratings, ("user_id", "item_id", "value", "timestamp")), options))
    items = item_rows(_table(movies, ("item_id", "title", "genres")), options) if movies else ()
    return Source(rows, items, _positive_from(rows))


def _files(path: Path, ratings: str, movies: str) -> tuple[Path, Path | None]:
    if path.is_file():
        return path, None
    beside = path / movies
    return path / ratings, beside if beside.is_file() else None


def _table(path: Path, columns: tuple[str, ...]) -> Table:
    lines = read_lines(path)
    first = next(line for line in lines if line.strip()).split("::")
    if _is_header(first):
        return delimited(path, "::", quoted=False)
    if columns[-1] == "timestamp" and common_width(lines, "::") == 3:
        columns = ("user_id", "item_id", "timestamp")
    return delimited(path, "::", columns, quoted=False)


def _is_header(cells: Sequence[str]) -> bool:
    known = {alias for aliases in ALIASES.values() for alias in aliases}
    return any(plain(cell) in known for cell in cells)


def _positive_from(rows: Sequence[Row]) -> float | None:
    """Return the smallest positive rating of the detected scale; None without ratings."""
    records = [row.record for row in rows if isinstance(row.record, dict)]
    ratings = [_rating(record.get("value")) for record in records]
    if all(rating is None for rating in ratings):
        return None
    above = sum(rating is not None and rating > 5 for rating in ratings)
    imdb = sum(IMDB_ID.fullmatch(str(record["item_id"])) is not None for record in records)
    is_movietweetings = above > ABOVE_FIVE * len(ratings) or imdb > 0.5 * len(records)
    return MOVIETWEETINGS_POSITIVE_FROM if is_movietweetings else MOVIELENS_POSITIVE_FROM


def _rating(cell: object) -> float | None:
    try:
        return float(str(cell))
    except ValueError:
        return None


READERS = (
    Reader("ratings.csv", is_movielens_csv, read_movielens_csv),
    Reader("ratings.dat", is_double_colon, read_double_colon),
)
