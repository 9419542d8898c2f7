"""Laws of the readers over generated files: no crash, nothing forged, nothing lost in silence."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.datasets.dataset import Dataset, read_dataset
from pipeline.datasets.readers import text
from pipeline.errors import DataError
from pipeline.events.cells import NO_VALUE

QUICK = settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

HEADER = ("user_id", "item_id", "timestamp", "rating", "text")
FIRST = ("first", "i0", "1500000000", "3", "plain")

plain_ids = st.text("abcXYZ0189-_.é", min_size=1, max_size=8).filter(lambda cell: cell.lower() not in NO_VALUE)
forged = st.builds("mallory,i{},1500000009,5,{}".format, st.integers(0, 9), st.sampled_from(["x", '"', '""', 'a"b']))
reviews = st.lists(st.one_of(forged, st.text("ab,;\"' \t", max_size=12)), max_size=60).map("\n".join)
rows = st.tuples(plain_ids, plain_ids, st.integers(1_500_000_000, 1_600_000_000).map(str), st.just("4"), reviews)
lines = st.one_of(
    st.text(max_size=30).map(lambda line: line.replace("\n", " ").replace("\r", " ")),
    st.sampled_from(["u,i", "u,i,soon,1,x", ",i,1500000000,1,x", 'u,"i,1500000000,1,x', "u,i,1,2,3,4", "NA,i,5,1,x"]),
    st.builds("{},{},{},1,x".format, plain_ids, plain_ids, st.integers(0, 2_000_000_000)),
)
cells = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**70),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["NA", " spaced ", "7.0", "2019-10-01T00:00:00Z", "2019-10-01 00:00:00 UTC", 1.5e9, "x" * 300]),
    st.lists(st.integers(), max_size=2),
)
records = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("user_id", "item_id", "timestamp", "value", "event_id", "more"), cells)
)


def read(path: Path, content: str | bytes) -> Dataset | None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        return read_dataset(path)
    except DataError:
        return None


def written(table: list[tuple[str, ...]], **form: object) -> str:
    out = io.StringIO()
    csv.writer(out, **form).writerows(table)
    return out.getvalue()


@QUICK
@given(
    st.lists(rows, min_size=1, max_size=12, unique_by=lambda row: row[:3]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from([",", ";", "|"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_csv_writer_wrote_is_read_row_by_row(tmp_path, table, quoting, delimiter, end):
    content = written([HEADER, FIRST, *table], quoting=quoting, delimiter=delimiter, lineterminator=end)
    dataset = read(tmp_path / "log.csv", content)
    assert dataset is not None
    expected = {(user, item, float(time)) for user, item, time, *_ in (FIRST, *table)}
    assert {(e.user_id, e.item_id, e.timestamp) for e in dataset.interactions} == expected
    assert len(dataset.interactions) + dataset.refused.total == len(table) + 1
    assert dataset.refused.total == dataset.refused.counts.get("duplicate", 0)


@QUICK
@given(st.lists(lines, max_size=20))
def test_refused_and_accepted_rows_are_all_rows(tmp_path, some):
    # Two stray quotes can enclose the lines between them.
    some = [line for line in some if '"' not in line or line.startswith('u,"i')]
    dataset = read(tmp_path / "log.csv", "\n".join([",".join(HEADER), ",".join(FIRST), *some]))
    assert dataset is not None
    filled = [line for line in some if line.strip()]
    assert len(dataset.interactions) + dataset.refused.total == len(filled) + 1


@QUICK
@given(
    st.binary(max_size=300),
    st.sampled_from(["csv", "tsv", "dat", "json", "jsonl", "parquet", "inter", "csv.gz", "csv.zst", "zip"]),
)
def test_no_content_stops_a_reader_otherwise_than_with_a_message(tmp_path, content, suffix):
    read(tmp_path / f"log.{suffix}", content)
    start = ",".join(HEADER).encode() + b"\n" + ",".join(FIRST).encode() + b"\n"
    read(tmp_path / f"log.{suffix}", start + content)


@QUICK
@given(st.lists(lines, min_size=1, max_size=30))
def test_a_block_parsed_as_a_whole_is_parsed_as_line_by_line(tmp_path, some):
    content = "\n".join([",".join(HEADER), ",".join(FIRST), *some])
    whole = read(tmp_path / "log.csv", content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "parse_block", lambda *_: None)
        single = read(tmp_path / "log.csv", content)
    assert whole is not None
    assert single is not None
    assert whole.interactions == single.interactions
    assert whole.refused == single.refused
    assert (whole.sha256, whole.out_of_order) == (single.sha256, single.out_of_order)


@QUICK
@given(
    st.lists(st.one_of(rows.map(lambda row: written([row])), lines.map(lambda line: line + "\r\n")), max_size=20),
    st.integers(1, 200),
)
def test_the_size_of_blocks_changes_nothing(tmp_path, some, size):
    content = written([HEADER, FIRST]) + "".join(some)
    whole = read(tmp_path / "log.csv", content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "BLOCK", size)
        patch.setattr(text, "ROWS", 3)
        small = read(tmp_path / "log.csv", content)
    assert whole is not None
    assert small is not None
    assert whole.interactions == small.interactions
    assert whole.refused == small.refused
